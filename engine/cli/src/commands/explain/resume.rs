//! What a resume of a run would do with each step, without doing it.
//! Unaware of how a resume does it.

use super::super::drive::{self, called};
use super::super::resume::changes::{self, Compared};
use super::super::survey::{Survey, look};
use super::super::{Ending, print, which};
use crate::args::settings::Settings;
use crate::exit::Exit;
use crate::tables;
use crate::tables::views::StepLine;
use flowrun_core::RunState;
use flowrun_core::event::UnitState;
use flowrun_engine::host::{Fate, Fates};
use std::collections::{HashMap, HashSet};

/// Explains a resume.
///
/// # Errors
/// When there is no such run, or it cannot be read.
pub fn explain(settings: &Settings, named: &str) -> Ending {
    let run = which::dir(settings, Some(named))?;
    let survey = Survey::open(&run)?;
    let id = drive::shortest(settings, &run);
    let flowrun = called(settings);
    let mut text = String::new();
    match survey.row.state {
        RunState::Succeeded => text.push_str(&format!("run {id} has succeeded: a resume would do nothing\n")),
        RunState::Cancelled => text.push_str(&format!("run {id} was cancelled: it cannot be resumed\n")),
        RunState::Running if survey.live => text.push_str(&format!(
            "run {id} is driven by another process: a resume would be refused; follow it with `{flowrun} attach {id}`\n"
        )),
        RunState::Running | RunState::Failed => text.push_str(&steps(settings, &survey)?),
    }
    let registry = flowrun_steps::registry();
    if let Compared::Changed(changed) = changes::compare(settings, &survey, &survey.reader.pins()?, &registry)? {
        text.push_str(&format!("\n{}\n", changed.table(settings, &survey)?));
        text.push_str(&format!("it goes on with the plan as it is now by `{flowrun} resume {id} --accept-changes`\n"));
    }
    print(&text)?;
    Ok(Exit::Succeeded)
}

fn steps(settings: &Settings, survey: &Survey) -> Result<String, super::Stop> {
    let view = survey.view(false)?;
    let alive = alive(survey)?;
    let lines: Vec<Vec<String>> =
        view.steps.iter().map(|step| vec![step.id.clone(), step.state.word().to_owned(), what(step, &alive)]).collect();
    let closing = survey.root().iter().any(|(_, closing)| *closing);
    let mut text = tables::plain(&["STEP", "STATE", "ON RESUME"], &lines, &look(settings));
    if closing && !lines.is_empty() {
        text.push_str("`finally` runs at the end, again where it ran already and not all before it is done\n");
    }
    Ok(text)
}

fn what(step: &StepLine, alive: &HashMap<String, u32>) -> String {
    let adopted = match alive.get(step.id.as_str()) {
        None => String::new(),
        Some(1) => "1 process that still runs is adopted; ".to_owned(),
        Some(count) => format!("{count} processes that still run are adopted; "),
    };
    if let Some(items) = step.items.as_ref().filter(|_| step.state != UnitState::Succeeded) {
        let of = |state: UnitState| items.0.0.get(&state).copied().unwrap_or(0);
        let done = of(UnitState::Succeeded) + of(UnitState::Skipped);
        return format!("{adopted}keeps {done} done, goes on with {} of {}", items.0.total() - done, items.0.total());
    }
    let word = match step.state {
        UnitState::Succeeded | UnitState::Skipped => "keep",
        UnitState::Failed | UnitState::Cancelled => "run again",
        UnitState::Lost => "look what it did, then go on or ask",
        UnitState::Running if adopted.is_empty() => "look what it did, then go on or run again",
        UnitState::Running => "go on with it",
        UnitState::Pending | UnitState::Waiting => "run when its turn comes",
    };
    format!("{adopted}{word}")
}

/// How many children live on, by the top-level step that they belong to.
fn alive(survey: &Survey) -> Result<HashMap<String, u32>, super::Stop> {
    let mut counts: HashMap<String, u32> = HashMap::new();
    let Ok(fates) = Fates::look(&survey.run) else { return Ok(counts) };
    let lives = |fate: Fate| matches!(fate, Fate::Alive(_) | Fate::Orphan { .. });
    let nodes: HashSet<u32> =
        fates.records().filter(|record| lives(fates.of(record.key))).map(|r| r.key.node).collect();
    for node in nodes {
        let row = survey.reader.nodes(node.saturating_sub(1), 1)?.into_iter().next().filter(|row| row.node == node);
        if let Some(row) = row {
            let top = row.address.split('/').next().unwrap_or_default().to_owned();
            *counts.entry(top).or_default() += 1;
        }
    }
    Ok(counts)
}
