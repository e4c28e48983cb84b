//! The driver: the loop around the core.
//! Unaware of what steps do and of how the run is shown.

mod attempt;
mod backend;
mod change;
pub mod clock;
mod commit;
pub mod control;
mod engine;
mod environment;
mod facts;
mod flight;
mod gatekeeper;
pub mod history;
mod hosting;
mod message;
pub mod offline;
mod prepare;
pub mod preview;
mod private;
mod probe;
mod publish;
mod resolve;
mod restore;
mod resume;
mod rows;
mod scope;
mod secrets;
pub mod snapshot;
mod start;
mod world;

pub use change::Change;
pub use engine::Signal;
pub use publish::Watchers;
pub use resume::{Purpose, ResumeRun};
pub use start::{Conduct, Handle, NewRun, Prologue, identity, new_id};
pub use world::Machine;

use crate::host::HostError;
use crate::store::{LockError, StateError, StoreError};
use flowrun_core::RunState;

/// Why this process stopped driving the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The run ended.
    Finished(RunState),
    /// A signal sent the process away; the run can be resumed.
    Interrupted(Signal),
    /// Only a person's verdict can let it go on.
    WaitsForAPerson,
    /// What was running when it was resumed has ended, and nothing else was to start.
    Settled,
}

/// Why a run cannot be driven.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The plan, the params or the secrets do not allow a start; nothing was started.
    #[error("{}", .0.join("\n"))]
    Refused(Vec<String>),
    /// Another process drives it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The journal cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host cannot be started or reached.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The run's own files cannot be used.
    #[error("cannot {doing}: {error}")]
    Io {
        /// What was attempted.
        doing: String,
        /// Why it failed.
        error: std::io::Error,
    },
}
