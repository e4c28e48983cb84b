//! The store: the journal of a run, the views beside it, and the index of runs. The only place with SQL.
//! Unaware of what events mean: it keeps what it is given, in order, and says so only after the disk has it.
//!
//! The rule that must not be broken: `done` is called after the commit that holds the work, never before.

mod crash;
mod error;
pub mod filesystem;
pub mod index;
mod journal;
pub mod lock;
pub mod reader;
mod reserve;
mod rows;
mod schema;
pub mod statedir;
mod view;
mod writer;

pub use error::StoreError;
pub use index::{FindError, Index, RunSummary};
pub use journal::{Done, Health, Journal, Written};
pub use lock::{DriverLock, LockError, is_live};
pub use reader::Reader;
pub use rows::{Entry, NodeKind, NodeRow, PinnedFile, RunMeta, RunRow, StoredNote};
pub use statedir::StateError;
