//! `flowrun schema`: the JSON Schema of plans.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::exit::Exit;

/// Prints the schema.
///
/// # Errors
/// Why it stopped.
pub fn schema(settings: &Settings) -> Ending {
    let _ = settings;
    Err(Stop::new(Exit::Usage, "`schema` is not built yet"))
}
