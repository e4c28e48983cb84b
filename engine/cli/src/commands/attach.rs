//! `flowrun attach`: follows a run that another process drives.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Attach;
use crate::exit::Exit;

/// Follows a run.
///
/// # Errors
/// Why it stopped.
pub fn attach(settings: &Settings, args: &Attach) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`attach` is not built yet"))
}
