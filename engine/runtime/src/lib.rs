//! Everything of flowrun that touches the world: reading plans, the store, the driver, gates and the host.
//! Unaware of step types and of screens; `cli` brings both together.

pub mod driver;
pub mod gates;
pub mod host;
pub mod mask;
pub mod paths;
pub mod plan;
pub mod store;
