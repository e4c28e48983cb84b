//! The host: the small process that owns a run's children and outlives flowrun.
//! Unaware of plans, steps and the journal: it knows keys, commands, logs and exits.
//!
//! One host serves one run. It holds `host.lock` for life, writes every child into its book before the child may go
//! on, and every exit before it is told. [`Host`] is what the driver talks to; [`fate()`] says what became of a child
//! when nobody watched; [`fence()`] makes sure that a lost attempt can no longer act; [`host_main`] is the process.

mod book;
mod children;
mod client;
mod crash;
mod daemon;
mod fate;
mod fence;
mod link;
mod procfs;
mod proto;
mod server;
mod spawn;
mod spool;

pub use client::{Host, HostError, Started};
pub use daemon::host_main;
pub use fate::{Fate, Fates, fate, wait_orphan};
pub use fence::{Fenced, fence};

use crate::paths::RunDir;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// The variable that every child carries and hands on to its descendants: which attempt it belongs to.
pub const ATTEMPT_VAR: &str = "FLOWRUN_ATTEMPT";

/// Names one child of a run: never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildKey {
    /// The node of the run.
    pub node: u32,
    /// Which try of it.
    pub attempt: u32,
    /// Which child of the attempt, counted from 0.
    pub ordinal: u16,
}

impl ChildKey {
    /// The value of [`ATTEMPT_VAR`] for this child: the same for all children of an attempt, and no other attempt's on
    /// this machine. Ids of runs are unique in one state directory only, so the directory itself is part of it: a fence
    /// kills by this value.
    #[must_use]
    pub fn tag(&self, run: &RunDir) -> String {
        let (device, inode) = std::fs::metadata(run.path()).map_or((0, 0), |dir| (dir.dev(), dir.ino()));
        format!("{}@{device:x}.{inode:x}/{}/{}", run.id(), self.node, self.attempt)
    }
}

/// A child to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spawn {
    /// Its name. A key that is in the book already is not started again.
    pub key: ChildKey,
    /// The value of [`ATTEMPT_VAR`]: [`ChildKey::tag`].
    pub tag: String,
    /// The program and its arguments; the program is looked up in the PATH of `env`.
    pub argv: Vec<String>,
    /// The whole environment; the host adds [`ATTEMPT_VAR`] and nothing else.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub dir: PathBuf,
    /// Where its output goes; appended to.
    pub log: PathBuf,
    /// A file of its own for standard output, made anew.
    pub stdout: Option<PathBuf>,
    /// How long it may run.
    pub timeout_ms: Option<u64>,
    /// How long it has between the signal and KILL.
    pub grace_ms: u64,
    /// What asks it to stop.
    pub signal: i32,
    /// It ends when all its processes have ended, not when its main process has.
    pub wait_all: bool,
}

/// What a host needs to know of a run beyond its directory. Told again at each connection; nothing of it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// What must never stand in a log.
    pub secrets: Vec<String>,
    /// The run's private folder. Output waits here to be masked where there are secrets.
    pub private: Option<PathBuf>,
    /// How many bytes of one child's output may wait to be masked; more stop it. None: 1 GiB.
    pub spool_cap: Option<u64>,
    /// For tests of crashes: the host kills itself when it comes to this point for the n-th time, as
    /// `after-fork:3`, or stops itself there, as `stop@after-fork:3`. Counts only for a host that this connection starts.
    pub crash_at: Option<String>,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildExit {
    /// Its main process ended with this code.
    Code(i32),
    /// Its main process was ended by this signal.
    Signal(i32),
    /// It was killed because its time was over.
    TimedOut,
    /// It ended and nobody knows how, or parts of it cannot be killed.
    Unknown,
    /// The connection to the host broke: ask [`fate()`].
    HostGone,
}

/// Why a child was not started. Nothing of it has run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The program is nowhere in the PATH.
    #[error("cannot run `{program}`: no such program in the PATH of the step")]
    NotFound {
        /// As the plan names it.
        program: String,
    },
    /// The program is there and cannot be run.
    #[error("cannot run `{program}`: {why}")]
    NotExecutable {
        /// As the plan names it.
        program: String,
        /// The reason.
        why: String,
    },
    /// The working directory cannot be entered.
    #[error("cannot enter the working directory `{dir}`: {why}")]
    Dir {
        /// Which.
        dir: String,
        /// The reason.
        why: String,
    },
    /// The log or the file for standard output cannot be opened.
    #[error("cannot open `{path}` for output: {why}")]
    Output {
        /// Which.
        path: String,
        /// The reason.
        why: String,
    },
    /// An argument, a variable or a path cannot be handed to a program.
    #[error("cannot hand `{what}` to a program: it holds a zero byte")]
    ZeroByte {
        /// Its beginning.
        what: String,
    },
    /// No process could be made.
    #[error("cannot make a process for `{program}`: {why}")]
    Fork {
        /// As the plan names it.
        program: String,
        /// The reason.
        why: String,
    },
    /// The child could not be written into the book, so it was not let go.
    #[error("cannot write the child into the book of the host: {why}")]
    Book {
        /// The reason.
        why: String,
    },
    /// The connection to the host broke: ask [`fate()`] whether the child was started.
    #[error("the connection to the host broke before it answered")]
    HostGone,
}

/// What the book says of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildRecord {
    /// Its name.
    pub key: ChildKey,
    /// Its process and process group.
    pub pid: i32,
    /// When its process started, in clock ticks since the boot: with `pid` this names a process for ever.
    pub start: u64,
    /// When it was started, in milliseconds since the epoch.
    pub started_ms: u64,
    /// How it ended; none: it had not ended when the record was written.
    pub exit: Option<ChildExit>,
    /// When it ended, in milliseconds since the epoch; 0 while it runs.
    pub ended_ms: u64,
}
