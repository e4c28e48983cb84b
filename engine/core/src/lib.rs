//! The decisions of flowrun: which attempt starts, what an outcome means, when a run has ended.
//! Unaware of files, clocks, processes and YAML; time and outcomes come in as arguments, decisions go out as events.
//! The rule: `handle` decides and changes nothing, `evolve` obeys and decides nothing.

pub mod address;
#[cfg(not(feature = "planted-bugs"))]
mod bug;
#[cfg(feature = "planted-bugs")]
pub mod bug;
mod check;
mod decide;
mod desired;
pub mod event;
mod evolve;
pub mod gate;
mod handle;
mod lanes;
mod lookup;
mod opening;
pub mod plan;
mod rebuild;
pub mod replan;
mod run;
mod standing;
mod state;
mod turns;
mod view;

pub use desired::Want;
pub use event::{AttemptId, Event, Final, Found, NodeId, Outcome, RunState, UnitState};
pub use handle::{Input, Refusal, Resolution};
pub use plan::{BlockId, GateId, Plan, PoolId, StepId};
pub use run::Run;
pub use view::{Hold, Items, NodeView};
