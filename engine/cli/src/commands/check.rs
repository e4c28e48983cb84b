//! `flowrun check`: all that can be known about plans without running them.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Check;
use crate::exit::Exit;

/// Checks plans.
///
/// # Errors
/// Why it stopped.
pub fn check(settings: &Settings, args: &Check) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`check` is not built yet"))
}
