//! `flowrun run PLAN`: checks a plan, runs it and shows it.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Run;
use crate::exit::Exit;

/// Runs a plan.
///
/// # Errors
/// Why it stopped.
pub fn run(settings: &Settings, args: &Run) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`run` is not built yet"))
}
