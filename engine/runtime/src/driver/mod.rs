//! The driver: the loop around the core.
//! Unaware of what steps do and of how the run is shown.

pub mod snapshot;
