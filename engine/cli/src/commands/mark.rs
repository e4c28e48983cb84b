//! `flowrun mark`: a person's verdict on a step.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Mark;
use crate::exit::Exit;

/// Records a verdict.
///
/// # Errors
/// Why it stopped.
pub fn mark(settings: &Settings, args: &Mark) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`mark` is not built yet"))
}
