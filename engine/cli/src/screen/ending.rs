//! The last lines of a run: how it stands and how to go on.
//! Unaware of terminals.

use super::text;
use flowrun_core::event::RunState;
use std::collections::BTreeMap;

/// What the person is called by and may type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The shortest beginning of the run's id that names it alone.
    pub run: String,
    /// How flowrun is called: `flowrun`, or with the `--state-dir` that was given.
    pub flowrun: String,
}

/// How a run stands.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// Its state.
    pub state: RunState,
    /// It was interrupted and not ended.
    pub interrupted: bool,
    /// From its first start to now, in milliseconds.
    pub took: u64,
    /// Top-level steps in each state.
    pub counts: &'a BTreeMap<String, u32>,
    /// What failed first, at most [`NAMED`].
    pub failed: &'a [String],
    /// How many failed.
    pub failures: usize,
}

/// So many of those that failed are named.
pub const NAMED: usize = 3;

/// The last line.
#[must_use]
pub fn last_line(ending: &Ending<'_>, names: &Names) -> String {
    let Names { run, flowrun } = names;
    let took = text::took(ending.took);
    if ending.interrupted {
        return format!("run {run} interrupted after {took}: {}; go on with: {flowrun} resume {run}", done(ending));
    }
    match ending.state {
        RunState::Succeeded => format!("run {run} succeeded in {took}: {}", done(ending)),
        RunState::Failed => {
            format!(
                "run {run} failed after {took}: {}; mend the cause, then: {flowrun} resume {run}",
                what_failed(ending)
            )
        }
        RunState::Cancelled => format!("run {run} cancelled after {took}: {}", done(ending)),
        RunState::Running => {
            format!("run {run} waits for a person: {}; see for what: {flowrun} status {run}", done(ending))
        }
    }
}

fn total(ending: &Ending<'_>) -> String {
    match ending.counts.values().copied().fold(0, u32::saturating_add) {
        1 => "1 step".to_owned(),
        total => format!("{total} steps"),
    }
}

fn done(ending: &Ending<'_>) -> String {
    let count = |word: &str| ending.counts.get(word).copied().unwrap_or(0);
    let mut out = format!("{} of {} done", count("succeeded"), total(ending));
    for word in ["failed", "skipped"] {
        if count(word) > 0 {
            out.push_str(&format!(", {} {word}", count(word)));
        }
    }
    out
}

fn what_failed(ending: &Ending<'_>) -> String {
    let count = ending.counts.get("failed").copied().unwrap_or(0);
    let steps = if count == 0 { "a step failed".to_owned() } else { format!("{count} of {} failed", total(ending)) };
    if ending.failed.is_empty() {
        return steps;
    }
    let named: Vec<String> = ending.failed.iter().map(|address| text::clean(address)).collect();
    let more = match ending.failures.saturating_sub(named.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{steps} ({}{more})", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{Ending, NAMED, Names, last_line};
    use flowrun_core::event::RunState;
    use std::collections::BTreeMap;

    fn said(state: RunState, interrupted: bool, counts: &[(&str, u32)], failed: &[&str]) -> String {
        let counts: BTreeMap<String, u32> = counts.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect();
        let failed: Vec<String> = failed.iter().map(|address| (*address).to_owned()).collect();
        let named = failed.get(..NAMED).unwrap_or(&failed);
        let names = Names { run: "7f3a".into(), flowrun: "flowrun".into() };
        last_line(
            &Ending { state, interrupted, took: 4_320_000, counts: &counts, failed: named, failures: failed.len() },
            &names,
        )
    }

    #[test]
    fn a_failed_run_says_what_failed_and_how_to_go_on() {
        assert_eq!(
            said(RunState::Failed, false, &[("failed", 1), ("succeeded", 8)], &["restore/acme"]),
            "run 7f3a failed after 1h 12m: 1 of 9 steps failed (restore/acme); mend the cause, then: flowrun resume 7f3a"
        );
        let many = said(RunState::Failed, false, &[("failed", 1)], &["f/a", "f/b", "f/c", "f/d", "f/e"]);
        assert!(many.contains("1 of 1 step failed (f/a, f/b, f/c and 2 more)"), "{many}");
    }

    #[test]
    fn each_other_end_has_its_own_words() {
        let counts = [("succeeded", 8), ("skipped", 1)];
        let cases = [
            (RunState::Succeeded, false, "run 7f3a succeeded in 1h 12m: 8 of 9 steps done, 1 skipped"),
            (RunState::Cancelled, false, "run 7f3a cancelled after 1h 12m: 8 of 9 steps done, 1 skipped"),
            (
                RunState::Running,
                true,
                "run 7f3a interrupted after 1h 12m: 8 of 9 steps done, 1 skipped; go on with: flowrun resume 7f3a",
            ),
            (
                RunState::Running,
                false,
                "run 7f3a waits for a person: 8 of 9 steps done, 1 skipped; see for what: flowrun status 7f3a",
            ),
        ];
        for (state, interrupted, text) in cases {
            assert_eq!(said(state, interrupted, &counts, &[]), text);
        }
    }
}
