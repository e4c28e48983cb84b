//! `flowrun cancel`, `pause` and `unpause`: what a person asks of a run that goes on.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::{Mark, OneRun, Pause};
use crate::exit::Exit;

/// Cancels a run.
///
/// # Errors
/// Why it stopped.
pub fn cancel(settings: &Settings, args: &OneRun) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`cancel` is not built yet"))
}

/// Pauses a run.
///
/// # Errors
/// Why it stopped.
pub fn pause(settings: &Settings, args: &Pause) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`pause` is not built yet"))
}

/// Lets a paused run go on.
///
/// # Errors
/// Why it stopped.
pub fn unpause(settings: &Settings, args: &OneRun) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`unpause` is not built yet"))
}

/// Marks.
///
/// # Errors
/// Why it stopped.
pub fn mark(settings: &Settings, args: &Mark) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`mark` is not built yet"))
}
