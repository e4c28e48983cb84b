//! The hidden host mode: the small process that owns a run's children and outlives flowrun.
//! Unaware of settings: nothing of flowrun is set up in it.

use std::ffi::OsString;
use std::process::ExitCode;

/// Becomes the host; the arguments are what stood behind the host word.
#[must_use]
pub fn host(args: &[OsString]) -> ExitCode {
    flowrun_engine::host::host_main(args)
}
