//! From YAML text to a checked plan, with the place of everything.
//! Unaware of runs. All faults of a plan are found at once.

pub mod model;
pub mod seal;
pub mod template;
