//! What `runs` and `status` print: views of runs, as text for people and as JSON for programs.
//! Unaware of the store and of terminals. Fields of the JSON may be added and are never renamed.

use crate::screen::text::{self, Line, Paint};
use flowrun_core::event::{RunState, UnitState};
use jiff::tz::TimeZone;
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

    fn paint(self) -> Paint {
        match self {
            Self::Running => Paint::Busy,
            Self::Succeeded => Paint::Good,
            Self::Failed => Paint::Bad,
            Self::Cancelled | Self::Interrupted | Self::Waiting => Paint::Held,
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

fn stamp(at: u64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()
}

const MINUTE: &str = "%Y-%m-%d %H:%M";
const SECOND: &str = "%Y-%m-%d %H:%M:%S";
/// The year stands above.
const SECOND_OF_YEAR: &str = "%m-%d %H:%M:%S";

/// How a table is written.
#[derive(Debug, Clone)]
pub struct Look {
    /// The terminal's columns; without a terminal nothing is cut.
    pub width: Option<usize>,
    /// Colours may be used.
    pub color: bool,
    /// Characters outside of ASCII are understood.
    pub unicode: bool,
    /// Whose time of day.
    pub zone: TimeZone,
    /// The time, in milliseconds since the epoch, for what has not ended.
    pub now: u64,
}

impl Look {
    fn time(&self, at: Option<u64>, format: &str) -> String {
        let zoned = at.and_then(stamp).map(|stamp| stamp.to_zoned(self.zone.clone()));
        zoned.map_or_else(String::new, |zoned| zoned.strftime(format).to_string())
    }

    /// From its start to its end, or to now while it goes on; nothing where no end is known.
    fn took(&self, started: Option<u64>, ended: Option<u64>, goes_on: bool) -> String {
        let end = ended.or(goes_on.then_some(self.now));
        started.zip(end).map_or_else(String::new, |(started, end)| text::took(end.saturating_sub(started)))
    }

    fn write(&self, lines: &[Line]) -> String {
        lines.iter().map(|line| line.fit(self.width.unwrap_or(usize::MAX), self.unicode, self.color) + "\n").collect()
    }
}

/// A row before its columns are known.
type Row = Vec<(Paint, String)>;

/// Rows in columns as wide as their widest cells, two blanks between them.
fn aligned(rows: &[Row]) -> Vec<Line> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width_of = |row: &Row, at: usize| row.get(at).map_or(0, |(_, text)| text::width(&text::clean(text)));
    let widths: Vec<usize> = (0..columns).map(|at| rows.iter().map(|row| width_of(row, at)).max().unwrap_or_default()).collect();
    let line = |row: &Row| {
        row.iter().zip(&widths).fold(Line::default(), |line, ((paint, cell), width)| {
            let cell = text::clean(cell);
            let gap = " ".repeat(width + 2 - text::width(&cell).min(*width));
            line.add(*paint, cell).add(Paint::Plain, gap)
        })
    };
    rows.iter().map(line).collect()
}

fn titles(words: &[&str]) -> Row {
    words.iter().map(|word| (Paint::Dim, (*word).to_owned())).collect()
}

/// What `runs` prints.
#[must_use]
pub fn runs(runs: &[RunLine], look: &Look) -> String {
    if runs.is_empty() {
        return "no runs yet\n".to_owned();
    }
    let mut rows = vec![titles(&["RUN", "PLAN", "STATE", "STARTED", "TOOK", "STEPS"])];
    for run in runs {
        rows.push(vec![
            (Paint::Strong, run.id.clone()),
            (Paint::Plain, run.plan.clone()),
            (run.state.paint(), run.state.word().to_owned()),
            (Paint::Plain, look.time(run.started, MINUTE)),
            (Paint::Plain, look.took(run.started, run.ended, run.state == RunWord::Running)),
            (Paint::Plain, run.steps.words()),
        ]);
    }
    look.write(&aligned(&rows))
}

/// What `status` prints.
#[must_use]
pub fn status(view: &StatusView, look: &Look) -> String {
    let mut lines = vec![
        Line::default()
            .add(Paint::Strong, format!("run {}", view.id))
            .add(Paint::Plain, format!("  {}  ", view.plan))
            .add(view.state.paint(), view.state.word()),
        Line::default().add(Paint::Dim, times(view, look)),
    ];
    lines.extend(params(&view.params).map(|params| Line::default().add(Paint::Dim, format!("params: {params}"))));
    lines.push(Line::default());
    lines.extend(step_lines(view, look));
    look.write(&lines)
}

fn times(view: &StatusView, look: &Look) -> String {
    let took = look.took(view.started, view.ended, true);
    let started = look.time(view.started, SECOND);
    match (view.started, view.ended) {
        (None, _) => "not started".to_owned(),
        (Some(_), None) => format!("started {started}, {took} ago"),
        (Some(_), Some(_)) => format!("started {started}, ended {}, took {took}", look.time(view.ended, SECOND)),
    }
}

fn params(params: &Value) -> Option<String> {
    let params = params.as_object().filter(|params| !params.is_empty())?;
    let one = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    };
    Some(params.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn step_lines(view: &StatusView, look: &Look) -> Vec<Line> {
    let mut rows = vec![titles(&["STEP", "STATE", "TRIES", "STARTED", "TOOK", ""])];
    let mut errors: BTreeMap<usize, &str> = BTreeMap::new();
    let mut items: BTreeMap<&str, Vec<&ItemLine>> = BTreeMap::new();
    for item in view.items.iter().flatten() {
        items.entry(item.address.split('/').next().unwrap_or_default()).or_default().push(item);
    }
    for step in &view.steps {
        rows.push(step_row(step, look));
        errors.extend(step.error.as_deref().map(|error| (rows.len(), error)));
        for item in items.remove(step.id.as_str()).unwrap_or_default() {
            rows.push(item_row(item, look));
            errors.extend(item.error.as_deref().map(|error| (rows.len(), error)));
        }
    }
    let mut lines = Vec::new();
    for (at, line) in aligned(&rows).into_iter().enumerate() {
        lines.push(line);
        lines.extend(errors.get(&(at + 1)).map(|error| Line::default().add(Paint::Bad, format!("    {error}"))));
    }
    lines
}

fn state_paint(state: UnitState) -> Paint {
    match state {
        UnitState::Pending | UnitState::Skipped => Paint::Dim,
        UnitState::Waiting | UnitState::Cancelled => Paint::Held,
        UnitState::Running => Paint::Busy,
        UnitState::Succeeded => Paint::Good,
        UnitState::Failed | UnitState::Lost => Paint::Bad,
    }
}

fn unit_cells(name: String, state: UnitState, attempts: u32, times: (Option<u64>, Option<u64>), look: &Look) -> Row {
    let tries = if attempts == 0 { String::new() } else { attempts.to_string() };
    vec![
        (Paint::Plain, name),
        (state_paint(state), state.word().to_owned()),
        (Paint::Plain, tries),
        (Paint::Plain, look.time(times.0, SECOND_OF_YEAR)),
        (Paint::Plain, look.took(times.0, times.1, state == UnitState::Running)),
    ]
}

fn step_row(step: &StepLine, look: &Look) -> Row {
    let mut row = unit_cells(step.id.clone(), step.state, step.attempts, (step.started, step.ended), look);
    let items = step.items.as_ref().map(|items| items.0.words());
    let waiting = step.waiting.as_ref().map(|waiting| match &waiting.gate {
        Some(gate) if !waiting.reason.contains(gate.as_str()) => format!("gate {gate}: {}", waiting.reason),
        Some(_) | None => waiting.reason.clone(),
    });
    let rest: Vec<String> = items.into_iter().chain(waiting).collect();
    row.push((Paint::Plain, rest.join("; ")));
    row
}

fn item_row(item: &ItemLine, look: &Look) -> Row {
    unit_cells(format!("  {}", item.address), item.state, item.attempts, (item.started, item.ended), look)
}

#[cfg(test)]
mod tests;
