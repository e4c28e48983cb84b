//! `flowrun resume [RUN]`: goes on with an unfinished run where it stood.
//! Unaware of how arguments are read.

use super::drive::{self, called};
use super::{Ending, Stop, which};
use crate::args::Resume;
use crate::args::settings::Settings;
use crate::exit::Exit;
use crate::out;
use flowrun_core::RunState;
use flowrun_engine::driver::{DriverError, Purpose, ResumeRun, history};
use flowrun_engine::store::{DriverLock, Journal, PinnedFile};

/// Goes on with a run.
///
/// # Errors
/// Why it stopped.
pub fn resume(settings: &Settings, args: &Resume) -> Ending {
    let prologue = drive::prologue(settings)?;
    let found = which::unfinished(settings, args.run.as_deref())?;
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
    let plan = history::pinned(&pins, &journal.meta().plan_path, &prologue.registry)?;
    let resume = ResumeRun { run: run.clone(), plan, lock, journal, purpose: Purpose::GoOn(Vec::new()) };
    drive::drive(settings, &run, args.driving.json, |watchers| resume.prepare(&prologue, watchers)).map(drive::exit_of)
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
