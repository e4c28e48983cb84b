//! `flowrun logs`: what the attempts wrote.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Logs;
use crate::exit::Exit;

/// Shows logs.
///
/// # Errors
/// Why it stopped.
pub fn logs(settings: &Settings, args: &Logs) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`logs` is not built yet"))
}
