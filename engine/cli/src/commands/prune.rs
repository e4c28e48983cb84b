//! `flowrun prune`: removes old runs and their logs.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Prune;
use crate::exit::Exit;

/// Removes old runs.
///
/// # Errors
/// Why it stopped.
pub fn prune(settings: &Settings, args: &Prune) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`prune` is not built yet"))
}
