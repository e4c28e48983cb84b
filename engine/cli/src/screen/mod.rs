//! The screen of a live run: a function from a snapshot, a style and the time to lines of text.
//! Unaware of terminals and of how often it is called. The rule: a bar or an estimate never says more than is known.

pub mod canvas;
pub mod columns;
pub mod ending;
pub mod estimate;
pub mod feed;
pub mod fold;
pub mod json;
pub mod live;
pub mod pace;
pub mod plain;
pub mod rows;
#[cfg(test)]
pub mod samples;
pub mod text;

use self::pace::Pace;
use self::rows::{Kind, Rows};
use self::text::{Line, Paint};
use flowrun_core::event::RunState;
use flowrun_engine::driver::snapshot::{Snapshot, Waiting};

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns.
    pub width: usize,
    /// Rows; the screen leaves one of them free.
    pub height: usize,
    /// Colours may be used.
    pub color: bool,
    /// Characters outside of ASCII are understood.
    pub unicode: bool,
}

/// More rows than this are not read.
const MAX_ROWS: usize = 32;

/// The screen, as a watcher of this pace sees it: no line wider than `style.width` and fewer lines than `style.height`.
#[must_use]
pub fn lines(snapshot: &Snapshot, pace: &Pace, style: &Style, now: u64) -> Vec<String> {
    let room = style.height.saturating_sub(1).clamp(1, MAX_ROWS);
    let mut out = vec![head(snapshot, style, now)];
    if let Some(reason) = &snapshot.paused {
        out.push(Line::default().add(Paint::Held, format!("paused: {reason}")));
    }
    out.truncate(room);
    let rows = Rows::new(snapshot, pace, now);
    let shown = rows.shares(room - out.len());
    rows.draw(&shown, style, now, &mut out);
    out.iter().map(|line| line.fit(style.width, style.unicode, style.color)).collect()
}

/// The plan, the run, its time and its counts: as much of it as there is room for.
fn head(snapshot: &Snapshot, style: &Style, now: u64) -> Line {
    let plan = || Line::default().add(Paint::Strong, snapshot.plan.clone());
    let since = text::duration(now.saturating_sub(snapshot.started));
    let (word, time) = match snapshot.state {
        RunState::Running => (since.clone(), since),
        RunState::Succeeded => ("succeeded".to_owned(), format!("succeeded after {since}")),
        RunState::Failed => ("failed".to_owned(), format!("failed after {since}")),
        RunState::Cancelled => ("cancelled".to_owned(), format!("cancelled after {since}")),
    };
    let (done, total) = done_of(snapshot);
    let steps = if total == 1 { "step" } else { "steps" };
    let id = format!(" {}", short_id(&snapshot.run));
    let long = plan().add(Paint::Dim, id).add(Paint::Plain, format!("  {time}  {done} of {total} {steps} done"));
    let short = plan().add(Paint::Plain, format!("  {word}  {done}/{total} done"));
    let least = Line::default().add(Paint::Strong, format!("{done}/{total} ")).add(Paint::Plain, snapshot.plan.clone());
    let ways = [add_counts(long, snapshot), add_counts(short.clone(), snapshot), short];
    ways.into_iter().find(|line| line.width() <= style.width).unwrap_or(least)
}

/// The id as a person would type it: all of it where it is short.
fn short_id(id: &str) -> &str {
    if id.len() <= 12 { id } else { text::head(id, 8) }
}

fn done_of(snapshot: &Snapshot) -> (u32, u32) {
    let of = |word: &str| snapshot.counts.get(word).copied().unwrap_or(0);
    (of("succeeded"), snapshot.counts.values().copied().fold(0, u32::saturating_add))
}

fn add_counts(mut line: Line, snapshot: &Snapshot) -> Line {
    let others = [("failed", Paint::Bad), ("lost", Paint::Bad), ("cancelled", Paint::Held), ("skipped", Paint::Dim)];
    for (word, paint) in others {
        if let Some(count) = snapshot.counts.get(word).filter(|count| **count > 0) {
            line = line.add(Paint::Plain, ", ").add(paint, format!("{count} {word}"));
        }
    }
    line
}

/// Which of the things in flight has which figure in front.
fn glyph(kind: Kind, style: &Style, now: u64) -> &'static str {
    const BRAILLE: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
    const ASCII: [&str; 4] = ["|", "/", "-", "\\"];
    let frames: &[&'static str] = if style.unicode { &BRAILLE } else { &ASCII };
    let frame = usize::try_from(now / 250 % frames.len() as u64).unwrap_or_default();
    match kind {
        Kind::Busy => frames.get(frame).copied().unwrap_or_default(),
        Kind::Waiting if style.unicode => "◦",
        Kind::Serving if style.unicode => "●",
        Kind::Waiting => ".",
        Kind::Serving => "*",
    }
}

/// What the name column says of those that wait.
fn waiting_name(waiting: &Waiting) -> String {
    match waiting.count {
        0 | 1 => waiting.address.clone(),
        count => format!("{} +{}", waiting.address, count - 1),
    }
}

#[cfg(test)]
mod tests;
