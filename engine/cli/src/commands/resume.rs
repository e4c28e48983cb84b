//! `flowrun resume [RUN]`: goes on with an unfinished run where it stood.
//! Unaware of how arguments are read.

use super::drive::{self, called};
use super::{Ending, Stop};
use crate::args::Resume;
use crate::args::settings::Settings;
use crate::exit::Exit;
use crate::out;
use flowrun_core::RunState;
use flowrun_engine::driver::{DriverError, ResumeRun};
use flowrun_engine::plan::model::CheckedPlan;
use flowrun_engine::plan::{self, Sources};
use flowrun_engine::store::{DriverLock, FindError, Index, Journal, PinnedFile, RunSummary, is_live};
use flowrun_sdk::Registry;
use std::path::Path;

/// Goes on with a run.
///
/// # Errors
/// Why it stopped.
pub fn resume(settings: &Settings, args: &Resume) -> Ending {
    let prologue = drive::prologue(settings)?;
    let found = find(settings, args.run.as_deref())?;
    let run = settings.state_dir.run(&found.id);
    let id = drive::shortest(settings, &run);
    match found.state {
        RunState::Succeeded => {
            out::say(&format!("run {id} has succeeded; there is nothing to resume"));
            return Ok(Exit::Succeeded);
        }
        RunState::Cancelled => {
            out::say(&format!("run {id} was cancelled; start its plan again"));
            return Ok(Exit::Failed);
        }
        RunState::Running | RunState::Failed => {}
    }
    let lock = DriverLock::take(&run).map_err(|error| {
        Stop::from(DriverError::from(error)).hint(format!("see it with `{} status {id}`", called(settings)))
    })?;
    let journal = Journal::open(&run).map_err(|error| Stop::from(DriverError::from(error)))?;
    let pins = journal.pins().map_err(|error| Stop::from(DriverError::from(error)))?;
    refuse_changes(settings, &id, &pins)?;
    let plan = pinned_plan(&pins, &journal.meta().plan_path, &prologue.registry)?;
    let resume = ResumeRun { run: run.clone(), plan, lock, journal };
    drive::drive(settings, &run, args.driving.json, |watchers| resume.prepare(&prologue, watchers))
}

/// The run that the person means: the latest unfinished one where they say nothing.
fn find(settings: &Settings, named: Option<&str>) -> Result<RunSummary, Stop> {
    let index = Index::open(&settings.state_dir).map_err(|error| Stop::from(DriverError::from(error)))?;
    if let Some(named) = named {
        return index.find(named).map_err(Stop::from);
    }
    let runs = index.list().map_err(|error| Stop::from(DriverError::from(error)))?;
    let unfinished = |run: &RunSummary| matches!(run.state, RunState::Running | RunState::Failed);
    let idle = runs.iter().find(|run| unfinished(run) && !is_live(&settings.state_dir.run(&run.id)));
    idle.or_else(|| runs.iter().find(|run| unfinished(run))).cloned().ok_or_else(|| {
        Stop::new(Exit::Usage, "there is no unfinished run").hint(format!("list the runs with `{} runs`", called(settings)))
    })
}

impl From<FindError> for Stop {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Store(error) => DriverError::from(error).into(),
            FindError::None { .. } | FindError::Many { .. } => Self::new(Exit::Usage, error.to_string()),
        }
    }
}

/// The plan as the run pinned it.
pub fn pinned_plan(pins: &[PinnedFile], root: &str, registry: &Registry) -> Result<CheckedPlan, Stop> {
    let mut sources = Sources::default();
    for pin in pins {
        sources.add(&pin.path, Path::new(&pin.path), &pin.text);
    }
    let loaded = plan::load_pinned(&sources, Path::new(root), registry);
    let faults: Vec<_> = loaded.diagnostics.iter().map(|finding| finding.message.clone()).collect();
    loaded.plan.ok_or_else(|| {
        Stop::new(Exit::Usage, format!("this flowrun cannot read the plan that the run has pinned: {}", faults.join("; ")))
            .hint("resume it with the version of flowrun that started it")
    })
}

/// A plan that changed since is never taken up silently.
fn refuse_changes(settings: &Settings, id: &str, pins: &[PinnedFile]) -> Result<(), Stop> {
    let changed: Vec<_> = pins
        .iter()
        .filter(|pin| std::fs::read_to_string(&pin.path).is_ok_and(|text| text != pin.text))
        .map(|pin| format!("  {}", pin.path))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    Err(Stop::new(Exit::Usage, format!("the plan of run {id} has changed since it started:\n{}", changed.join("\n"))).hint(
        format!("put it back, or give the run up with `{} cancel {id}` and start again", called(settings)),
    ))
}
