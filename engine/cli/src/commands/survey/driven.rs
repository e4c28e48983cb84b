//! Whether a run goes on at this moment, and what its driver shows of it.
//! Unaware of the plan.

use super::PAGE;
use crate::tables::views::Driven;
use flowrun_core::event::{RunState, UnitState};
use flowrun_engine::driver::snapshot::Snapshot;
use flowrun_engine::paths::RunDir;
use flowrun_engine::store::{Reader, is_live};
use std::collections::HashSet;

/// What a hold for a person is called in a snapshot.
const PERSON: &str = "a person's verdict";

/// What the live driver showed last; a file that is being replaced or cannot be read shows nothing.
pub fn snapshot(run: &RunDir) -> Option<Snapshot> {
    serde_json::from_slice(&std::fs::read(run.live()).ok()?).ok()
}

/// Nothing goes on and nothing can before a person has spoken.
pub fn awaits_person(snapshot: &Snapshot) -> bool {
    let waits =
        !snapshot.waiting.is_empty() && snapshot.waiting.iter().all(|waiting| waiting.reason.starts_with(PERSON));
    waits && snapshot.running.iter().all(|running| running.serving)
}

/// Whether a run in this state goes on.
pub fn driven(run: &RunDir, state: RunState) -> Driven {
    if is_live(run) {
        let asked = snapshot(run).is_some_and(|snapshot| awaits_person(&snapshot));
        return if asked { Driven::AwaitsPerson } else { Driven::BySomebody };
    }
    Reader::open(run).map_or(Driven::ByNobody, |reader| undriven(&reader, state))
}

/// A run that nobody drives was interrupted, or it stopped because only a person can let it go on.
pub fn undriven(reader: &Reader, state: RunState) -> Driven {
    if state != RunState::Running {
        return Driven::ByNobody;
    }
    let mut lost = false;
    let mut parents = HashSet::new();
    let mut running = Vec::new();
    let mut after = 0;
    while let Ok(page) = reader.nodes(after, PAGE) {
        let Some(last) = page.last() else { break };
        after = last.node;
        for row in &page {
            parents.insert(row.parent);
            lost |= row.state == UnitState::Lost;
            if matches!(row.state, UnitState::Running | UnitState::Waiting) {
                running.push(row.node);
            }
        }
    }
    let busy = running.iter().any(|node| !parents.contains(node));
    if lost && !busy { Driven::AwaitsPerson } else { Driven::ByNobody }
}
