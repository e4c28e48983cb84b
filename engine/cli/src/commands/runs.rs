//! `flowrun runs`: the list of runs.
//! Unaware of how arguments are read.

use super::survey::Survey;
use super::{Ending, print, survey};
use crate::args::Listing;
use crate::args::settings::Settings;
use crate::exit::Exit;
use crate::out;
use crate::tables;
use crate::tables::views::{Counts, RunLine, RunWord};
use flowrun_core::event::{RunState, UnitState};
use flowrun_engine::store::{Index, RunSummary};

/// Lists the runs, the newest first. A run that cannot be read hides no other.
///
/// # Errors
/// When the state directory cannot be used.
pub fn runs(settings: &Settings, args: &Listing) -> Ending {
    let index = Index::open(&settings.state_dir)?;
    let lines: Vec<RunLine> = index.list()?.iter().map(|run| line(settings, run)).collect();
    for (id, error) in index.unreadable() {
        out::say(&format!("warning: run {id} cannot be read: {error}\n  = help: {}", error.hint()));
    }
    print(&if args.json { super::json(&lines)? } else { tables::runs(&lines, &survey::look(settings)) })?;
    Ok(Exit::Succeeded)
}

fn line(settings: &Settings, run: &RunSummary) -> RunLine {
    let driven = survey::driven(&settings.state_dir.run(&run.id), run.state);
    RunLine {
        id: run.id.clone(),
        plan: run.plan.clone(),
        state: RunWord::of(run.state, driven),
        started: run.started,
        ended: run.ended,
        steps: counts(settings, run),
    }
}

/// Top-level steps in each state; those that the journal does not know yet stand in the pinned plan only.
fn counts(settings: &Settings, run: &RunSummary) -> Counts {
    let mut counts = Counts::of_words(&run.steps);
    if run.state != RunState::Succeeded
        && let Ok(survey) = Survey::open(&settings.state_dir.run(&run.id))
    {
        counts = survey.counts_as_ended(counts);
        let planned = survey.root().iter().filter(|(_, closing)| !closing).count();
        let missing = u32::try_from(planned).unwrap_or(u32::MAX).saturating_sub(counts.total());
        *counts.0.entry(UnitState::Pending).or_default() += missing;
    }
    counts
}
