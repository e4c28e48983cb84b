//! The hidden host mode: the small process that owns a run's children and outlives flowrun.
//! Unaware of settings: nothing of flowrun is set up in it.

use crate::exit::Exit;
use std::ffi::OsString;

/// Becomes the host; the arguments are what stood behind the host word.
#[must_use]
pub fn host(args: &[OsString]) -> Exit {
    let _ = args;
    Exit::Usage
}
