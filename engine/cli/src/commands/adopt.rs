//! `flowrun adopt`: takes a process that somebody started by hand into a run.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Adopt;
use crate::exit::Exit;

/// Adopts a process.
///
/// # Errors
/// Why it stopped.
pub fn adopt(settings: &Settings, args: &Adopt) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`adopt` is not built yet"))
}
