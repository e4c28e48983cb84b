//! `flowrun why`: why a step or an item does not run.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Why;
use crate::exit::Exit;

/// Says why.
///
/// # Errors
/// Why it stopped.
pub fn why(settings: &Settings, args: &Why) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`why` is not built yet"))
}
