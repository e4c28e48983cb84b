//! What the journal holds: decisions, in the order in which they were made.
//! Unaware of how they are stored. Append-only: a journal written once must load for ever, so fields are added with a
//! default and nothing is renamed or removed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A node of the run: a step of an open block or an item of a `for_each`. Numbered in the order in which events make
/// them, so that the same journal always gives the same numbers. Node 0 is the run itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The run itself.
    pub const RUN: Self = Self(0);

    /// The position in the table of nodes.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One try of a step or an item, counted from 1 and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(NodeId, u32)", into = "(NodeId, u32)")]
pub struct AttemptId {
    /// The step or item.
    pub node: NodeId,
    /// Which try.
    pub attempt: u32,
}

impl From<(NodeId, u32)> for AttemptId {
    fn from((node, attempt): (NodeId, u32)) -> Self {
        Self { node, attempt }
    }
}

impl From<AttemptId> for (NodeId, u32) {
    fn from(id: AttemptId) -> Self {
        (id.node, id.attempt)
    }
}

/// A journaled decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The run began: its first event.
    Started,
    /// A later process went on with the run. Failed steps have a new retry budget, steps of `finally` run again.
    Resumed {
        /// When, in milliseconds since the epoch.
        at: u64,
    },
    /// A step's `for_each` was evaluated: its list, keys and order, once and for all.
    FannedOut {
        /// The step.
        node: NodeId,
        /// What names each item, in the order of the list.
        keys: Vec<Box<str>>,
        /// The order in which items are started: positions in the list.
        order: Vec<u32>,
        /// The elements, in the order of the list.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        items: Vec<Value>,
    },
    /// What had to be evaluated before the step or item was; it may start.
    Resolved {
        /// The step or item.
        node: NodeId,
        /// What a sub-plan was called with, or whatever else the runtime needs again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        values: Option<Box<Value>>,
    },
    /// A block began: a group, an item of a group, or a sub-plan.
    Opened {
        /// Its owner.
        node: NodeId,
    },
    /// A block's steps ended and its `finally` begins.
    Closing {
        /// Its owner.
        node: NodeId,
        /// How the steps ended.
        state: RunState,
    },
    /// An attempt may start once this event is on the disk.
    Ordered {
        /// The attempt.
        id: AttemptId,
    },
    /// An attempt that was only ordered ahead runs: an earlier process started it before it had committed the end that
    /// made room for it.
    Begun {
        /// The attempt.
        id: AttemptId,
    },
    /// A background attempt is ready: dependents go on while it runs.
    Ready {
        /// The attempt.
        id: AttemptId,
    },
    /// An attempt's fate cannot be known from here; it is to be reconciled.
    Lost {
        /// The attempt.
        id: AttemptId,
    },
    /// An attempt ended.
    Ended {
        /// The attempt.
        id: AttemptId,
        /// How.
        outcome: Outcome,
        /// When it really started, in milliseconds since the epoch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started: Option<u64>,
    },
    /// A failed or lost attempt will be repeated.
    RetryAt {
        /// The step or item.
        node: NodeId,
        /// Not before, in milliseconds since the epoch.
        at: u64,
    },
    /// An attempt that nobody can judge waits for a person.
    Asked {
        /// The attempt.
        id: AttemptId,
        /// Where the person should look.
        look_at: String,
    },
    /// A step or an item has its final state (until a resume gives failed ones a new chance).
    Settled {
        /// The step or item.
        node: NodeId,
        /// Which.
        state: Final,
        /// Why, where its attempts do not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Box<str>>,
        /// What a group or a sub-plan hands out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outputs: Option<Box<Value>>,
    },
    /// Somebody asked that the run be cancelled.
    CancelRequested,
    /// Nothing new starts until `Unpaused`.
    Paused {
        /// Why, in words.
        reason: Box<str>,
    },
    /// Steps may start again.
    Unpaused,
    /// A person's verdict on a lost or failed step.
    Marked {
        /// The step or item.
        node: NodeId,
        /// The verdict.
        verdict: Verdict,
        /// Their reason.
        because: Box<str>,
    },
    /// The plan changed and the change was accepted: a new graph begins, and these events carry over into it what is
    /// kept, in the numbers of the new graph.
    Replanned {
        /// What is kept.
        kept: Vec<Event>,
    },
    /// The run ended.
    Finished {
        /// How.
        state: RunState,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should, and its own check says so.
    Succeeded {
        /// What it hands out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outputs: Option<Box<Value>>,
    },
    /// It did not.
    Failed(Box<Failure>),
    /// It ended because it was told to.
    Cancelled,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whether another try may help.
    pub class: FailureClass,
    /// The main process's exit code, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// It ran out of its time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// What was attempted, on what, and why it failed; secrets masked.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether another try may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// It may.
    Transient,
    /// It cannot.
    Permanent,
}

/// The final state of a step or an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Final {
    /// Done.
    Succeeded,
    /// Its last attempt failed, or a part of it did.
    Failed,
    /// It was not to be run.
    Skipped,
    /// The run was cancelled before it was done.
    Cancelled,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It goes on.
    Running,
    /// All its steps succeeded.
    Succeeded,
    /// A step failed; a resume goes on from there.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

/// The state of a step or an item, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitState {
    /// A need has not ended yet.
    Pending,
    /// Only a gate, a pool, a pause between attempts or a person holds it back.
    Waiting,
    /// An attempt or an inner step is in flight.
    Running,
    /// Done.
    Succeeded,
    /// Failed for good.
    Failed,
    /// Not to be run.
    Skipped,
    /// Cancelled.
    Cancelled,
    /// Nobody can know what its attempt did.
    Lost,
}

impl UnitState {
    /// All states, in the order in which they are listed.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Waiting,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
        Self::Lost,
    ];

    /// The word used in JSON and on screens.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

/// What looking at the world said about a lost attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Its effect is there.
    Done {
        /// What it hands out.
        outputs: Option<Box<Value>>,
    },
    /// Its effect is not there, and it can no longer come.
    NotDone,
    /// The world does not tell.
    Unknown {
        /// Where a person should look.
        look_at: String,
    },
    /// The lost attempt may still act: it could not be found dead. It must not run again before a person has looked.
    Unfenced {
        /// Where a person should look.
        look_at: String,
    },
}

/// A person's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is done.
    Done,
    /// Leave it out.
    Skip,
    /// Run it again.
    Redo,
}
