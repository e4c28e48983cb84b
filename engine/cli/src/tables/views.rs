//! Views of runs for `runs` and `status`, and their JSON.
//! Unaware of the store. Fields of the JSON may be added and are never renamed.

use flowrun_core::event::{RunState, UnitState};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// The state of a run, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunWord {
    /// A driver goes on with it.
    Running,
    /// All its steps succeeded.
    Succeeded,
    /// A step failed.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// It has not ended and nobody drives it.
    Interrupted,
    /// It waits for a person.
    Waiting,
}

impl RunWord {
    /// The word for a run in a state that somebody drives or not.
    #[must_use]
    pub fn of(state: RunState, driven: Driven) -> Self {
        match (state, driven) {
            (RunState::Running, Driven::ByNobody) => Self::Interrupted,
            (RunState::Running, Driven::BySomebody) => Self::Running,
            (RunState::Running, Driven::AwaitsPerson) => Self::Waiting,
            (RunState::Succeeded, _) => Self::Succeeded,
            (RunState::Failed, _) => Self::Failed,
            (RunState::Cancelled, _) => Self::Cancelled,
        }
    }

    /// The word itself.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Waiting => "waiting",
        }
    }
}

/// Whether a run goes on at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driven {
    /// Its lock is free.
    ByNobody,
    /// Its lock is held.
    BySomebody,
    /// Nothing can run before a person has spoken.
    AwaitsPerson,
}

/// Steps or items in each state; in JSON each state has a number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<UnitState, u32>);

impl Counts {
    /// Counts by the words of states; words of other versions of flowrun are left out.
    #[must_use]
    pub fn of_words(words: &BTreeMap<String, u32>) -> Self {
        let count = |state: UnitState| Some((state, *words.get(state.word())?));
        Self(UnitState::ALL.into_iter().filter_map(count).collect())
    }

    fn of(&self, state: UnitState) -> u32 {
        self.0.get(&state).copied().unwrap_or(0)
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.values().sum()
    }

    /// `8/9 done, 1 failed`
    #[must_use]
    pub fn words(&self) -> String {
        let mut out = format!("{}/{} done", self.of(UnitState::Succeeded), self.total());
        for state in UnitState::ALL {
            let count = self.of(state);
            if count > 0 && !matches!(state, UnitState::Succeeded | UnitState::Pending) {
                out.push_str(&format!(", {count} {}", state.word()));
            }
        }
        out
    }

    fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        for state in UnitState::ALL {
            map.serialize_entry(state.word(), &self.of(state))?;
        }
        Ok(())
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entries(&mut map)?;
        map.end()
    }
}

/// The items of a fan-out or a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemCounts(pub Counts);

impl Serialize for ItemCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("total", &self.0.total())?;
        self.0.entries(&mut map)?;
        map.end()
    }
}

/// One run in the list of runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunLine {
    /// Its id.
    pub id: String,
    /// The plan's name.
    pub plan: String,
    /// How it stands.
    pub state: RunWord,
    /// When it first started, in milliseconds since the epoch; in JSON a time as RFC 3339 writes it.
    #[serde(serialize_with = "as_time")]
    pub started: Option<u64>,
    /// When it ended.
    #[serde(serialize_with = "as_time")]
    pub ended: Option<u64>,
    /// Its top-level steps.
    pub steps: Counts,
}

/// One run in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusView {
    /// Its id.
    pub id: String,
    /// The plan's name.
    pub plan: String,
    /// How it stands.
    pub state: RunWord,
    /// Its parameters, secrets masked.
    pub params: Value,
    /// When it first started, in milliseconds since the epoch; in JSON a time as RFC 3339 writes it.
    #[serde(serialize_with = "as_time")]
    pub started: Option<u64>,
    /// When it ended.
    #[serde(serialize_with = "as_time")]
    pub ended: Option<u64>,
    /// Why nothing new starts, if so.
    pub paused: Option<String>,
    /// Its top-level steps, in the order of the plan.
    pub steps: Vec<StepLine>,
    /// All items of fan-outs and all inner steps of groups, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<ItemLine>>,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepLine {
    /// Its id.
    pub id: String,
    /// How it stands.
    #[serde(serialize_with = "as_word")]
    pub state: UnitState,
    /// Attempts so far.
    pub attempts: u32,
    /// When its first attempt started.
    #[serde(serialize_with = "as_time")]
    pub started: Option<u64>,
    /// When it ended.
    #[serde(serialize_with = "as_time")]
    pub ended: Option<u64>,
    /// What it handed out.
    pub outputs: Option<Value>,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// Its items, if it has any.
    pub items: Option<ItemCounts>,
    /// What holds it back, if it waits.
    pub waiting: Option<WaitingLine>,
}

/// What holds a step back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingLine {
    /// The gate, if it is one.
    pub gate: Option<String>,
    /// In words, with the gate's last reading.
    pub reason: String,
}

/// One item, or an inner step of a group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ItemLine {
    /// Its address.
    pub address: String,
    /// How it stands.
    #[serde(serialize_with = "as_word")]
    pub state: UnitState,
    /// Attempts so far.
    pub attempts: u32,
    /// When its first attempt started.
    #[serde(serialize_with = "as_time")]
    pub started: Option<u64>,
    /// When it ended.
    #[serde(serialize_with = "as_time")]
    pub ended: Option<u64>,
    /// What it handed out.
    pub outputs: Option<Value>,
    /// Why it did not succeed.
    pub error: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn as_word<S: Serializer>(state: &UnitState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.word())
}

fn as_time<S: Serializer>(at: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match at.and_then(stamp) {
        Some(stamp) => serializer.collect_str(&format_args!("{stamp:.3}")),
        None => serializer.serialize_none(),
    }
}

/// A time as jiff has it.
#[must_use]
pub fn stamp(at: u64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()
}
