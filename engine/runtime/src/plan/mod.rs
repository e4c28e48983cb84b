//! From YAML text to a checked plan, with the place of everything.
//! Unaware of runs. All faults of a plan are found at once.

mod check;
pub mod codes;
mod coerce;
mod compile;
pub mod diagnostic;
pub mod keys;
mod load;
pub mod model;
mod node;
pub mod params;
pub mod quantity;
mod schema;
pub mod seal;
pub mod source;
pub mod template;
mod yaml;

pub use coerce::coerce;
pub use compile::Sizes;
pub use diagnostic::{Diagnostic, Severity};
pub use load::{Loaded, load, load_pinned, load_text};
pub use params::{Given, ParamFault};
pub use schema::{reference_markdown, schema};
pub use source::Sources;
