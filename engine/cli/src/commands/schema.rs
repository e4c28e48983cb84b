//! `flowrun schema`: the JSON Schema of plans.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::exit::Exit;

/// Prints the schema.
///
/// # Errors
/// Why it stopped.
pub fn schema() -> Ending {
    Err(Stop::new(Exit::Usage, "`schema` is not built yet"))
}
