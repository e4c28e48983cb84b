//! From the tree of a plan file to a checked plan: names resolved, edges found, every fault reported.
//! Unaware of runs and of the YAML parser.

mod body;
mod build;
mod cycles;
mod gates;
mod head;
mod inputs;
mod names;
mod needs;
mod policy;
mod secrets;
mod shape;
mod step;
mod subplan;
mod texts;

pub(super) use build::{Builder, Reader};
pub(super) use inputs::resolve_ref;
