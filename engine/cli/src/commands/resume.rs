//! `flowrun resume`: goes on with an unfinished run.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Resume;
use crate::exit::Exit;

/// Goes on with a run.
///
/// # Errors
/// Why it stopped.
pub fn resume(settings: &Settings, args: &Resume) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`resume` is not built yet"))
}
