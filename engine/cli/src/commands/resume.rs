//! `flowrun resume [RUN]`: goes on with an unfinished run where it stood.
//! Unaware of how arguments are read. A plan that changed since is never taken up silently, and neither is a finished
//! step run again.

pub mod again;
pub mod changes;

use self::changes::Compared;
use super::drive::{self, called};
use super::logs::source;
use super::survey::Survey;
use super::{Ending, Stop, detach, which};
use crate::args::Resume;
use crate::args::settings::Settings;
use crate::exit::Exit;
use crate::out;
use flowrun_core::RunState;
use flowrun_core::event::{UnitState, Verdict};
use flowrun_engine::driver::control::Control;
use flowrun_engine::driver::{Change, DriverError, End, Prologue, Purpose, ResumeRun, history};
use flowrun_engine::paths::RunDir;
use flowrun_engine::store::{DriverLock, Journal, PinnedFile};
use std::collections::HashSet;

/// Goes on with a run.
///
/// # Errors
/// Why it stopped.
pub fn resume(settings: &Settings, args: &Resume) -> Ending {
    detach::leave_terminal(&args.driving);
    let found = which::unfinished(settings, args.run.as_deref())?;
    let run = settings.state_dir.run(&found.id);
    let id = drive::shortest(settings, &run);
    let again = !args.rerun.is_empty() || args.from.is_some();
    match found.state {
        RunState::Succeeded if !again => {
            out::say(&format!("run {id} has succeeded; there is nothing to resume"));
            return Ok(Exit::Succeeded);
        }
        RunState::Cancelled => {
            out::say(&format!("run {id} was cancelled; start its plan again"));
            return Ok(Exit::Failed);
        }
        RunState::Running | RunState::Failed | RunState::Succeeded => {}
    }
    if args.driving.detach {
        return detach::resume(settings, args, &run);
    }
    let prologue = drive::prologue(settings)?;
    let mut told = false;
    loop {
        let (purpose, opened) = plan_ahead(settings, args, &run, &prologue, &mut told)?;
        let settles = matches!(purpose, Purpose::Settle);
        let resume = opened.for_purpose(&run, purpose);
        let end = drive::drive(settings, &run, args.driving.json, |watchers| resume.prepare(&prologue, watchers))?;
        if !(settles && end == End::Settled) {
            return Ok(drive::exit_of(end));
        }
    }
}

/// A run whose lock is ours.
struct Opened {
    lock: DriverLock,
    journal: Journal,
    plan: flowrun_engine::plan::model::CheckedPlan,
}

impl Opened {
    fn new(settings: &Settings, run: &RunDir, prologue: &Prologue) -> Result<(Self, Vec<PinnedFile>), Stop> {
        let id = drive::shortest(settings, run);
        let lock = DriverLock::take(run).map_err(|error| {
            Stop::from(DriverError::from(error)).hint(format!("see it with `{} status {id}`", called(settings)))
        })?;
        let journal = Journal::open(run)?;
        let pins = journal.pins()?;
        let plan = history::pinned(&pins, &journal.meta().plan_path, &prologue.registry)?;
        Ok((Self { lock, journal, plan }, pins))
    }

    fn for_purpose(self, run: &RunDir, purpose: Purpose) -> ResumeRun {
        ResumeRun { run: run.clone(), plan: self.plan, lock: self.lock, journal: self.journal, purpose }
    }
}

/// What the run is to be taken up for. The table of changes is shown once.
fn plan_ahead(
    settings: &Settings,
    args: &Resume,
    run: &RunDir,
    prologue: &Prologue,
    told: &mut bool,
) -> Result<(Purpose, Opened), Stop> {
    let (opened, pins) = Opened::new(settings, run, prologue)?;
    let survey = Survey::open(run)?;
    let compared = changes::compare(settings, &survey, &pins, &prologue.registry)?;
    if let Compared::Changed(changed) = &compared
        && !std::mem::replace(told, true)
    {
        out::say(&changed.table(settings, &survey)?);
    }
    let asks = skips(&survey, &args.skip)?;
    let (plan, pins, mut again) = match compared {
        Compared::Same => (opened.plan.clone(), pins, HashSet::new()),
        Compared::Changed(changed) if args.accept_changes => changed.accepted(&survey)?,
        Compared::Changed(_) => {
            let id = drive::shortest(settings, run);
            let text = format!("the plan of run {id} has changed since it started");
            return Err(Stop::new(Exit::Usage, text).hint(format!(
                "go on with it as it is now: `{} resume {id} --accept-changes`; or put it back",
                called(settings)
            )));
        }
    };
    let changed = pins.iter().any(|pin| !survey_has(&opened, pin));
    again.extend(again::addresses(&survey, &plan, &args.rerun, args.from.as_deref())?);
    if !changed && again.is_empty() {
        return Ok((Purpose::GoOn(asks), opened));
    }
    if still_runs(&survey)? {
        out::say("what still runs is waited for, as it was written when it started");
        return Ok((Purpose::Settle, opened));
    }
    let change = Change { plan, pins, again: again.into_iter().collect() };
    Ok((Purpose::Replan(Box::new(change), asks), opened))
}

/// Whether a file is pinned with this text already.
fn survey_has(opened: &Opened, pin: &PinnedFile) -> bool {
    opened.journal.pins().is_ok_and(|pins| pins.iter().any(|old| old.path == pin.path && old.text == pin.text))
}

fn skips(survey: &Survey, named: &[String]) -> Result<Vec<Control>, Stop> {
    let skip = |named: &String| {
        let address = match source::row_of(survey, named)? {
            Some(row) if row.state == UnitState::Succeeded => {
                return Err(Stop::new(Exit::Usage, format!("`{named}` is done already, so it cannot be left out")));
            }
            Some(row) => row.address,
            None if survey.is_planned(named) => named.clone(),
            None => return Err(source::unknown(survey, named)),
        };
        Ok(Control::Mark { address, verdict: Verdict::Skip, because: "`flowrun resume --skip`".to_owned() })
    };
    named.iter().map(skip).collect()
}

/// Whether an attempt that is no service is in flight.
fn still_runs(survey: &Survey) -> Result<bool, Stop> {
    let rows = survey.rows()?;
    let parents: HashSet<u32> = rows.iter().map(|row| row.parent).collect();
    Ok(rows.iter().any(|row| {
        let service = survey.planned(&row.address).is_some_and(|step| step.background.is_some());
        row.state == UnitState::Running && !parents.contains(&row.node) && row.attempts > 0 && !service
    }))
}
