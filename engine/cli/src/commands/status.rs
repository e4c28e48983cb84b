//! `flowrun status`: one run's steps and items.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Status;
use crate::exit::Exit;

/// Shows a run.
///
/// # Errors
/// Why it stopped.
pub fn status(settings: &Settings, args: &Status) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`status` is not built yet"))
}
