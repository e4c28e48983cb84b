//! What the store is given and gives back: the rows of a journal as values.
//! Unaware of SQL and of what a plan is.

use flowrun_core::event::{AttemptId, Event, RunState, UnitState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a run was started with; written once, with the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunMeta {
    /// The run's id.
    pub id: String,
    /// The plan's name.
    pub plan_name: String,
    /// The plan's file as the person named it, made absolute.
    pub plan_path: String,
    /// A digest of the plan's name and the params as given: equal for two starts of the same work.
    pub identity: String,
    /// Params as resolved, without secrets.
    pub params: Value,
    /// Params as given.
    pub given: Value,
    /// The variables of the environment that the plan reads, as they were at the start.
    pub env: BTreeMap<String, String>,
    /// Where flowrun was started.
    pub cwd: String,
    /// When, in milliseconds since the epoch.
    pub created_ms: u64,
    /// The flowrun that made the run.
    pub flowrun_version: String,
}

/// A plan file as it was when the run began, or when a change of it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedFile {
    /// Its path.
    pub path: String,
    /// Its text.
    pub text: String,
    /// The text's digest.
    pub digest: String,
}

/// What a node is to a person who reads the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// A step of the plan's own block.
    Step,
    /// An item of a fan-out.
    Item,
    /// A step inside a group, an item or a sub-plan.
    Inner,
}

impl NodeKind {
    /// The word that is stored.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Item => "item",
            Self::Inner => "inner",
        }
    }

    /// Undoes [`NodeKind::word`].
    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Step, Self::Item, Self::Inner].into_iter().find(|kind| kind.word() == word)
    }
}

/// A node as `status` shows it: a view that the driver writes in the transaction of the events that changed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeRow {
    /// The node's number.
    pub node: u32,
    /// The node it belongs to; 0 is the run.
    pub parent: u32,
    /// `step`, `step/KEY`, `group/KEY/inner`
    pub address: String,
    /// What it is.
    pub kind: NodeKind,
    /// Its state.
    pub state: UnitState,
    /// Attempts used.
    pub attempts: u32,
    /// When its first attempt started, in milliseconds since the epoch.
    pub started: Option<u64>,
    /// When it ended, in milliseconds since the epoch.
    pub ended: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
    /// What it hands out.
    pub outputs: Option<Value>,
    /// Of a fan-out: items in each state, by the state's word.
    pub totals: Option<BTreeMap<String, u32>>,
}

/// An event with what goes into the same transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The decision.
    pub event: Event,
    /// Nodes as they are after it. Of several rows for one node in a commit the last one is kept.
    pub rows: Vec<NodeRow>,
    /// An attempt's rendered inputs, secrets as references.
    pub inputs: Option<(AttemptId, Value)>,
}

impl Entry {
    /// An event alone.
    #[must_use]
    pub fn bare(event: Event) -> Self {
        Self { event, rows: Vec::new(), inputs: None }
    }
}

/// The run as the last committed event left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// Its state in the journal. Whether a process drives it, the lock tells.
    pub state: RunState,
    /// When it first started, in milliseconds since the epoch; none: not yet.
    pub started: Option<u64>,
    /// When it ended, in milliseconds since the epoch.
    pub ended: Option<u64>,
    /// Why nothing new starts.
    pub paused: Option<String>,
    /// The number of the last event.
    pub last_seq: u64,
}

/// A note of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredNote {
    /// Whose.
    pub id: AttemptId,
    /// What it is about.
    pub key: String,
    /// What it says.
    pub value: Value,
    /// When it was written, in milliseconds since the epoch.
    pub at: u64,
}
