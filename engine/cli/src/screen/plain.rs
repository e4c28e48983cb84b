//! What happened, as lines that stay: the scroll-back above a live screen, and all there is without a terminal.
//! Unaware of where the lines go. Failures are always told; of a big fan-out nothing else is told item by item.

use super::ending::{Ending, NAMED, Names, last_line};
use super::fold::Folds;
use super::pace::Pace;
use super::text::{self, Line, Paint};
use super::{estimate, waiting_name};
use flowrun_core::event::{Failure, Final, RunState};
use flowrun_engine::driver::snapshot::{Notice, Running, Snapshot};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::path::Path;

/// How lines are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// Above a live screen: what ended, with a mark.
    Above {
        /// Colours may be used.
        color: bool,
        /// Characters outside of ASCII are understood.
        unicode: bool,
    },
    /// Each line with its time of day; also what started, and from time to time how far all is.
    Stamped {
        /// Whose time of day.
        zone: TimeZone,
    },
}

/// Tells what happens.
#[derive(Debug)]
pub struct Teller {
    manner: Manner,
    names: Names,
    folds: Folds,
    pace: Pace,
    counts: BTreeMap<String, u32>,
    failed: Vec<String>,
    failures: usize,
    next_summary: Option<u64>,
    began: Option<u64>,
}

/// A failing attempt's output is shown up to so many lines, and each up to so many columns.
const TAIL_LINES: usize = 20;
const TAIL_COLUMNS: usize = 400;
/// The shortest and the longest pause between two summaries, in milliseconds.
const SUMMARY: (u64, u64) = (30_000, 600_000);

/// The parts of [`Notice::Settled`].
struct Settled<'a> {
    address: &'a str,
    state: Final,
    attempts: u32,
    took: Option<u64>,
    reason: Option<&'a str>,
    failure: Option<&'a Failure>,
    tail: Option<&'a str>,
    log: Option<&'a Path>,
}

impl Teller {
    /// A teller for one run.
    #[must_use]
    pub fn new(manner: Manner, names: Names) -> Self {
        Self {
            manner,
            names,
            folds: Folds::default(),
            pace: Pace::default(),
            counts: BTreeMap::new(),
            failed: Vec::new(),
            failures: 0,
            next_summary: None,
            began: None,
        }
    }

    /// Learns how the run stands.
    pub fn learn(&mut self, snapshot: &Snapshot, now: u64) {
        self.folds.learn(snapshot);
        self.pace.see(snapshot, now);
        self.counts.clone_from(&snapshot.counts);
    }

    /// How fast fan-outs go.
    #[must_use]
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The lines about one thing that happened.
    pub fn tell(&mut self, notice: &Notice, now: u64) -> Vec<String> {
        match notice {
            Notice::Began { run, plan, resumed, adopted } => {
                self.one(now, Paint::Plain, began(run, plan, *resumed, *adopted))
            }
            Notice::Started { address, attempt, at } => self.started(address, *attempt, *at),
            Notice::Settled { address, item, state, attempts, took, reason, failure, tail, log, at } => {
                let settled = Settled {
                    address,
                    state: *state,
                    attempts: *attempts,
                    took: *took,
                    reason: reason.as_deref(),
                    failure: failure.as_ref(),
                    tail: tail.as_deref(),
                    log: log.as_deref(),
                };
                self.settled(&settled, *item, *at)
            }
            Notice::Retrying { address, attempt, at, failure } => {
                self.retrying(address, *attempt, *at, failure.as_ref(), now)
            }
            Notice::Said { text } => self.one(now, Paint::Held, text.clone()),
            Notice::Ended { state, interrupted, took, at } => self.ended(*state, *interrupted, *took, *at),
        }
    }

    fn started(&mut self, address: &str, attempt: u32, at: u64) -> Vec<String> {
        if matches!(self.manner, Manner::Above { .. }) || self.folds.is_folded(address, false) {
            return Vec::new();
        }
        let again = if attempt > 1 { format!(" (try {attempt})") } else { String::new() };
        self.one(at, Paint::Plain, format!("{address} started{again}"))
    }

    fn settled(&mut self, settled: &Settled<'_>, item: bool, at: u64) -> Vec<String> {
        let folded = self.folds.is_folded(settled.address, item);
        if settled.state != Final::Failed {
            return if folded { Vec::new() } else { vec![self.settled_line(settled, at)] };
        }
        // A step that failed because its items did names nothing that a person could mend.
        if settled.failure.is_some() {
            self.failures += 1;
            if self.failed.len() < NAMED {
                self.failed.push(settled.address.to_owned());
            }
        }
        let mut lines = vec![self.settled_line(settled, at)];
        if self.folds.in_full(settled.address) {
            lines.extend(self.evidence(settled));
        }
        lines
    }

    fn settled_line(&self, settled: &Settled<'_>, at: u64) -> String {
        let why = why(settled);
        let took = settled.took.map(text::took);
        match &self.manner {
            Manner::Above { unicode, .. } => {
                let (mark, paint) = mark(settled.state, *unicode);
                let mut line = Line::default().add(paint, format!("{mark} ")).add(Paint::Plain, settled.address);
                // The mark tells these two apart from the others, but not from each other.
                if matches!(settled.state, Final::Skipped | Final::Cancelled) {
                    line = line.add(Paint::Dim, format!("  {}", word(settled.state)));
                }
                if let Some(took) = took {
                    line = line.add(Paint::Dim, format!("  {took}"));
                }
                if !why.is_empty() {
                    line = line.add(Paint::Plain, format!("  {why}"));
                }
                self.finish(&line)
            }
            Manner::Stamped { .. } => {
                let mut line = format!("{} {}", settled.address, word(settled.state));
                if let Some(took) = took {
                    let join = if settled.state == Final::Succeeded { "in" } else { "after" };
                    line.push_str(&format!(" {join} {took}"));
                }
                if !why.is_empty() {
                    line.push_str(&format!(": {why}"));
                }
                self.stamped(at, Paint::Plain, line)
            }
        }
    }

    /// What the failing attempt said last, where all of it is, and what to do.
    fn evidence(&self, settled: &Settled<'_>) -> Vec<String> {
        let bar = if matches!(self.manner, Manner::Above { unicode: true, .. }) { "│" } else { "|" };
        let mut lines = Vec::new();
        let all: Vec<&str> = settled.tail.unwrap_or_default().trim_end().lines().collect();
        for line in all.iter().skip(all.len().saturating_sub(TAIL_LINES)) {
            let text = text::clean(line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default());
            let cut = text::head(&text, TAIL_COLUMNS);
            lines.push(self.finish(&Line::default().add(Paint::Bad, format!("  {bar} ")).add(Paint::Plain, cut)));
        }
        if let Some(log) = settled.log {
            lines.push(self.finish(&Line::default().add(Paint::Dim, format!("    log: {}", log.display()))));
        }
        if let Some(hint) = settled.failure.and_then(|failure| failure.hint.as_ref()) {
            lines.push(self.finish(&Line::default().add(Paint::Plain, format!("    hint: {hint}"))));
        }
        lines
    }

    fn retrying(&mut self, address: &str, attempt: u32, at: u64, failure: Option<&Failure>, now: u64) -> Vec<String> {
        if self.folds.is_folded(address, false) && !self.folds.in_full(address) {
            return Vec::new();
        }
        let cause = failure.map_or_else(String::new, |failure| format!(": {}", failure.message));
        let pause = text::duration(at.saturating_sub(now));
        let mark = if matches!(self.manner, Manner::Above { .. }) { "! " } else { "" };
        self.one(now, Paint::Held, format!("{mark}{address}  try {attempt} failed{cause}; again in {pause}"))
    }

    fn ended(&self, state: RunState, interrupted: bool, took: u64, at: u64) -> Vec<String> {
        let ending =
            Ending { state, interrupted, took, counts: &self.counts, failed: &self.failed, failures: self.failures };
        let paint = match (interrupted, state) {
            (true, _) | (false, RunState::Cancelled | RunState::Running) => Paint::Held,
            (false, RunState::Succeeded) => Paint::Good,
            (false, RunState::Failed) => Paint::Bad,
        };
        self.one(at, paint, last_line(&ending, &self.names))
    }

    /// From time to time, how far all is: often at first, seldom in a run of days. Only without a terminal.
    pub fn summary(&mut self, snapshot: &Snapshot, now: u64) -> Option<String> {
        if matches!(self.manner, Manner::Above { .. }) || snapshot.state != RunState::Running || snapshot.run.is_empty()
        {
            return None;
        }
        let began = *self.began.get_or_insert(now);
        let due = *self.next_summary.get_or_insert(now + SUMMARY.0);
        if now < due {
            return None;
        }
        self.next_summary = Some(now + (now.saturating_sub(began) / 20).clamp(SUMMARY.0, SUMMARY.1));
        Some(self.stamped(now, Paint::Plain, summary_text(snapshot, &self.pace, now)))
    }

    fn one(&self, at: u64, paint: Paint, line: String) -> Vec<String> {
        vec![self.stamped(at, paint, line)]
    }

    fn stamped(&self, at: u64, paint: Paint, line: String) -> String {
        match &self.manner {
            Manner::Above { .. } => self.finish(&Line::default().add(paint, line)),
            Manner::Stamped { zone } => {
                self.finish(&Line::default().add(Paint::Plain, format!("{} {line}", clock(at, zone))))
            }
        }
    }

    fn finish(&self, line: &Line) -> String {
        match self.manner {
            Manner::Above { color, unicode } => line.fit(usize::MAX, unicode, color),
            Manner::Stamped { .. } => line.fit(usize::MAX, true, false),
        }
    }
}

fn began(run: &str, plan: &str, resumed: bool, adopted: u32) -> String {
    match (resumed, adopted) {
        (false, _) => format!("run {run} of {plan} begins"),
        (true, 0) => format!("run {run} of {plan} goes on"),
        (true, 1) => format!("run {run} of {plan} goes on; 1 attempt still runs and was adopted"),
        (true, adopted) => format!("run {run} of {plan} goes on; {adopted} attempts still run and were adopted"),
    }
}

fn why(settled: &Settled<'_>) -> String {
    let cause = settled.failure.map(|failure| failure.message.as_str()).or(settled.reason).unwrap_or_default();
    match (settled.state, settled.attempts) {
        (Final::Succeeded, 0 | 1) => String::new(),
        (Final::Succeeded, attempts) => format!("try {attempts}"),
        (Final::Failed, attempts) if attempts > 1 => format!("{cause} ({attempts} tries)"),
        (Final::Failed | Final::Skipped | Final::Cancelled, _) => cause.to_owned(),
    }
}

fn word(state: Final) -> &'static str {
    match state {
        Final::Succeeded => "succeeded",
        Final::Failed => "failed",
        Final::Skipped => "skipped",
        Final::Cancelled => "cancelled",
    }
}

fn mark(state: Final, unicode: bool) -> (&'static str, Paint) {
    match (state, unicode) {
        (Final::Succeeded, true) => ("✓", Paint::Good),
        (Final::Succeeded, false) => ("ok", Paint::Good),
        (Final::Failed, true) => ("✗", Paint::Bad),
        (Final::Failed, false) => ("FAILED", Paint::Bad),
        (Final::Skipped, _) => ("-", Paint::Dim),
        (Final::Cancelled, _) => ("-", Paint::Held),
    }
}

fn clock(at: u64, zone: &TimeZone) -> String {
    let stamp = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    stamp.map_or_else(|| "--:--:--".to_owned(), |stamp| stamp.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string())
}

fn summary_text(snapshot: &Snapshot, pace: &Pace, now: u64) -> String {
    let done = snapshot.counts.get("succeeded").copied().unwrap_or(0);
    let total = snapshot.counts.values().copied().fold(0, u32::saturating_add);
    let mut parts = vec![format!("{done} of {total} steps done")];
    if let Some(reason) = &snapshot.paused {
        parts.push(format!("paused: {reason}"));
    }
    for fan in snapshot.fans.iter().take(3) {
        let words = estimate::fan_words(fan, pace.left(fan, now).filter(|_| snapshot.paused.is_none()));
        parts.push(format!("{}: {}", fan.address, words.first().map_or("", String::as_str)));
    }
    let in_fan = |running: &Running| snapshot.fans.iter().any(|fan| super::rows::is_in(&running.address, &fan.address));
    for running in snapshot.running.iter().filter(|running| !running.serving && !in_fan(running)).take(3) {
        let words = estimate::running_words(running, now);
        let words = words.first().map_or("", String::as_str);
        let time = text::duration(now.saturating_sub(running.started));
        parts.push(format!("{}: {time} {words}", running.address).trim_end().to_owned());
    }
    for waiting in snapshot.waiting.iter().take(2) {
        parts.push(format!("{} waiting: {}", waiting_name(waiting), waiting.reason));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests;
