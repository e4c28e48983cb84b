//! What a live run shows of itself: the screen's, the socket's and `live.json`'s only source.
//! Unaware of terminals. Lossy: a new snapshot replaces the last one, and nobody waits for a reader.

use flowrun_core::event::{Failure, Final, RunState};
use flowrun_sdk::Progress;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The run as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The run's id.
    pub run: String,
    /// The plan's name.
    pub plan: String,
    /// The run's state.
    pub state: RunState,
    /// When the run first started, in milliseconds since the epoch.
    pub started: u64,
    /// When this was taken, in milliseconds since the epoch.
    pub now: u64,
    /// Nothing new starts, for this reason.
    pub paused: Option<String>,
    /// Top-level steps in each state, by the state's word.
    pub counts: BTreeMap<String, u32>,
    /// Attempts in flight, oldest first, at most [`MAX_LINES`].
    pub running: Vec<Running>,
    /// In-flight attempts that `running` leaves out.
    pub running_more: u32,
    /// Fan-outs that have begun and not ended.
    pub fans: Vec<Fan>,
    /// What waits, and for what; those that wait for the same are one entry.
    pub waiting: Vec<Waiting>,
}

impl Snapshot {
    /// A run of which nothing is known yet.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            run: String::new(),
            plan: String::new(),
            state: RunState::Running,
            started: 0,
            now: 0,
            paused: None,
            counts: BTreeMap::new(),
            running: Vec::new(),
            running_more: 0,
            fans: Vec::new(),
            waiting: Vec::new(),
        }
    }
}

/// How many lines of one kind a snapshot holds.
pub const MAX_LINES: usize = 64;

/// An attempt in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// `step`, `step/KEY`, `group/KEY/inner`
    pub address: String,
    /// Which try.
    pub attempt: u32,
    /// When it started, in milliseconds since the epoch.
    pub started: u64,
    /// How far it says it is.
    pub progress: Option<Progress>,
    /// A service that is ready: it runs until the end and has no bar.
    pub serving: bool,
    /// How long it took in earlier runs, in milliseconds.
    pub expected: Option<u64>,
}

/// A fan-out in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fan {
    /// The step.
    pub address: String,
    /// All items.
    pub total: u32,
    /// Items in each state, by the state's word.
    pub counts: BTreeMap<String, u32>,
    /// When its first item started, in milliseconds since the epoch.
    pub started: u64,
    /// Weight (`largest_first`) of the items that ended, and of all; none without weights.
    pub weight: Option<(f64, f64)>,
}

/// Steps or items that wait for the same thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The first of them.
    pub address: String,
    /// How many there are.
    pub count: u32,
    /// The gate, if it is one.
    pub gate: Option<String>,
    /// E.g. `load 5.31, needs < 2`, `pool dumpers is full (4 of 4)`, `retry in 8s`.
    pub reason: String,
    /// Since when, in milliseconds since the epoch.
    pub since: u64,
}

/// Something that happened, for the screen's scroll-back, plain lines and `--json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Notice {
    /// The run began or goes on.
    Began {
        /// The run's id.
        run: String,
        /// The plan's name.
        plan: String,
        /// It is a resume.
        resumed: bool,
        /// Attempts that were found alive and are watched again.
        adopted: u32,
    },
    /// An attempt started.
    Started {
        /// Which step or item.
        address: String,
        /// Which try.
        attempt: u32,
        /// When.
        at: u64,
    },
    /// A step or an item has its final state.
    Settled {
        /// Which.
        address: String,
        /// It is an item of a fan-out or inside one: many of them are folded into their fan's line.
        item: bool,
        /// How.
        state: Final,
        /// Attempts used.
        attempts: u32,
        /// From its first start to now, in milliseconds.
        took: Option<u64>,
        /// Why, where it did not succeed.
        reason: Option<String>,
        /// Why its last attempt failed.
        failure: Option<Failure>,
        /// The end of the failing attempt's log.
        tail: Option<String>,
        /// Where that log is.
        log: Option<PathBuf>,
        /// When.
        at: u64,
    },
    /// An attempt failed and will be repeated.
    Retrying {
        /// Which.
        address: String,
        /// The try that failed.
        attempt: u32,
        /// When the next one starts, in milliseconds since the epoch.
        at: u64,
        /// Why it failed.
        failure: Option<Failure>,
    },
    /// A sentence for the person: a warning, what is waited for after an interrupt.
    Said {
        /// The sentence.
        text: String,
    },
    /// The driver ended.
    Ended {
        /// How the run stands.
        state: RunState,
        /// It was interrupted and not ended.
        interrupted: bool,
        /// From the run's first start to now, in milliseconds.
        took: u64,
        /// When.
        at: u64,
    },
}
