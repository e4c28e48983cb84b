//! `flowrun steps`: the catalogue of step types.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Steps;
use crate::exit::Exit;

/// Lists or describes step types.
///
/// # Errors
/// Why it stopped.
pub fn steps(settings: &Settings, args: &Steps) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`steps` is not built yet"))
}
