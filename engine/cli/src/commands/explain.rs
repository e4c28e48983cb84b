//! `flowrun explain`: what a run or a resume would do.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Explain;
use crate::exit::Exit;

/// Explains a plan or a resume.
///
/// # Errors
/// Why it stopped.
pub fn explain(settings: &Settings, args: &Explain) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`explain` is not built yet"))
}
