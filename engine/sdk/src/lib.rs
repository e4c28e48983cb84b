//! What the author of a step type sees: the trait, the context of an attempt, errors, secrets and a test kit.
//! Unaware of plans, the store and the driver. The rule: a step type touches flowrun only through [`StepCx`].

pub mod command;
pub mod cx;
pub mod error;
pub mod registry;
pub mod step;
pub mod testkit;

pub use command::{Command, Exit, Output};
pub use cx::{Backend, Note, Progress, StepCx};
pub use error::{StepError, StepResult};
pub use registry::{DynStepType, Registry, StepInfo};
pub use schemars;
pub use step::{Found, StepType};
