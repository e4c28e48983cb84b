//! `flowrun runs`: the list of runs.
//! Unaware of how arguments are read.

use super::{Ending, Stop};
use crate::args::settings::Settings;
use crate::args::Listing;
use crate::exit::Exit;

/// Lists the runs.
///
/// # Errors
/// Why it stopped.
pub fn runs(settings: &Settings, args: &Listing) -> Ending {
    let _ = (settings, args);
    Err(Stop::new(Exit::Usage, "`runs` is not built yet"))
}
