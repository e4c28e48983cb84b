//! The decisions of flowrun: which attempt starts, what an outcome means, when a run has ended.
//! Unaware of files, clocks, processes and YAML; time and outcomes come in as arguments, decisions go out as events.
//! The rule: `handle` decides and changes nothing, `evolve` obeys and decides nothing.

pub mod address;
pub mod event;
pub mod plan;

pub use event::{Event, Found, Outcome, RunState, UnitState};
pub use plan::{BlockId, GateId, Plan, PoolId, StepId};
