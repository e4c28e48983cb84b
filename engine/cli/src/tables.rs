//! What `runs` and `status` print, as text for people.
//! Unaware of the store and of terminals.

pub mod views;

use self::views::{ItemLine, RunLine, RunWord, StatusView, StepLine, stamp};
use crate::screen::text::{self, Line, Paint};
use flowrun_core::event::UnitState;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::collections::BTreeMap;

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
    let widths: Vec<usize> =
        (0..columns).map(|at| rows.iter().map(|row| width_of(row, at)).max().unwrap_or_default()).collect();
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
            (run_paint(run.state), run.state.word().to_owned()),
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
            .add(run_paint(view.state), view.state.word()),
        Line::default().add(Paint::Dim, times(view, look)),
    ];
    lines.extend(params(&view.params).map(|params| Line::default().add(Paint::Dim, format!("params: {params}"))));
    lines.extend(view.paused.iter().map(|why| Line::default().add(Paint::Held, format!("paused: {why}"))));
    lines.push(Line::default());
    lines.extend(step_lines(view, look));
    look.write(&lines)
}

/// A table of words under titles.
#[must_use]
pub fn plain(head: &[&str], rows: &[Vec<String>], look: &Look) -> String {
    let cells = |row: &Vec<String>| row.iter().map(|cell| (Paint::Plain, cell.clone())).collect();
    let rows: Vec<Row> = std::iter::once(titles(head)).chain(rows.iter().map(cells)).collect();
    look.write(&aligned(&rows))
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

fn run_paint(state: RunWord) -> Paint {
    match state {
        RunWord::Running => Paint::Busy,
        RunWord::Succeeded => Paint::Good,
        RunWord::Failed => Paint::Bad,
        RunWord::Cancelled | RunWord::Interrupted | RunWord::Waiting => Paint::Held,
    }
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
