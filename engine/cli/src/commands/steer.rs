//! `flowrun cancel`, `pause`, `unpause` and `mark`: what a person asks of a run, whether it is driven or not.
//! Unaware of how arguments are read. A live driver is asked; else this process takes the run's lock and writes.

use super::drive::{self, called};
use super::logs::source;
use super::survey::Survey;
use super::{Ending, Stop, which};
use crate::args::settings::Settings;
use crate::args::{Mark, OneRun, Pause, VerdictWord};
use crate::exit::Exit;
use crate::out;
use flowrun_core::RunState;
use flowrun_core::event::Verdict;
use flowrun_engine::driver::control::{self, AskError, Control};
use flowrun_engine::driver::{DriverError, Purpose, ResumeRun, history, offline};
use flowrun_engine::paths::RunDir;
use flowrun_engine::store::{DriverLock, Journal, LockError, Reader, is_live};
use std::time::Duration;

/// A driver that begins or ends has its lock and no socket for a moment.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// A driver answers between two turns of its loop.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of the request.
enum Told {
    /// The live driver did it.
    Driver,
    /// Nobody drives the run, and its lock was free a moment ago.
    Nobody,
}

/// Cancels a run: what runs is stopped, also what lives on without a driver.
///
/// # Errors
/// When the run has ended, or cannot be taken up.
pub fn cancel(settings: &Settings, args: &OneRun) -> Ending {
    let run = which::dir(settings, args.run.as_deref())?;
    let id = drive::shortest(settings, &run);
    match Reader::open(&run)?.run()?.state {
        RunState::Succeeded => return Err(Stop::new(Exit::Usage, format!("run {id} has succeeded already"))),
        RunState::Cancelled => return Err(Stop::new(Exit::Usage, format!("run {id} is cancelled already"))),
        RunState::Running | RunState::Failed => {}
    }
    for _ in 0..TRIES {
        if let Told::Driver = ask(&run, &Control::Cancel)? {
            out::say(&format!(
                "run {id} is being cancelled: what runs is stopped, `finally` runs; see it with `{} status {id}`",
                called(settings)
            ));
            return Ok(Exit::Succeeded);
        }
        match take_up(settings, &run) {
            Err(Stop { exit: Exit::Driven, .. }) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    Err(unreachable(&id))
}

/// A short driver of our own stops what still lives, and runs `finally`.
fn take_up(settings: &Settings, run: &RunDir) -> Ending {
    let prologue = drive::prologue(settings)?;
    let lock = DriverLock::take(run).map_err(DriverError::from)?;
    let journal = Journal::open(run)?;
    let plan = history::pinned(&journal.pins()?, &journal.meta().plan_path, &prologue.registry)?;
    let resume = ResumeRun { run: run.clone(), plan, lock, journal, purpose: Purpose::Cancel };
    let end = drive::drive(settings, run, false, |watchers| resume.prepare(&prologue, watchers))?;
    let cancelled = Reader::open(run)?.run()?.state == RunState::Cancelled;
    Ok(if cancelled { Exit::Succeeded } else { drive::exit_of(end) })
}

/// Pauses a run.
///
/// # Errors
/// When it has ended or is paused already.
pub fn pause(settings: &Settings, args: &Pause) -> Ending {
    let run = which::dir(settings, args.run.as_deref())?;
    let id = drive::shortest(settings, &run);
    let reason = args.because.clone().unwrap_or_else(|| "somebody asked for it".to_owned());
    tell(settings, &run, &Control::Pause { reason })?;
    out::say(&format!(
        "run {id} is paused: what runs goes on, nothing new starts before `{} unpause {id}`",
        called(settings)
    ));
    Ok(Exit::Succeeded)
}

/// Lets a paused run start steps again.
///
/// # Errors
/// When it is not paused.
pub fn unpause(settings: &Settings, args: &OneRun) -> Ending {
    let run = which::dir(settings, args.run.as_deref())?;
    let id = drive::shortest(settings, &run);
    let told = tell(settings, &run, &Control::Unpause)?;
    out::say(&format!("run {id} may start steps again{}", and_then(settings, &id, &told)));
    Ok(Exit::Succeeded)
}

/// Records a person's verdict.
///
/// # Errors
/// When there is no such step, it runs, or it is done.
pub fn mark(settings: &Settings, args: &Mark) -> Ending {
    let run = which::dir(settings, Some(&args.run))?;
    let survey = Survey::open(&run)?;
    let address = match source::row_of(&survey, &args.address)? {
        Some(row) => row.address,
        None if survey.is_planned(&args.address) => args.address.clone(),
        None => return Err(source::unknown(&survey, &args.address)),
    };
    let verdict = Verdict::from(args.verdict);
    let told =
        tell(settings, &run, &Control::Mark { address: address.clone(), verdict, because: args.because.clone() })?;
    let words = match args.verdict {
        VerdictWord::Done => "counts as done",
        VerdictWord::Skip => "is left out",
        VerdictWord::Redo => "is run again",
    };
    let id = drive::shortest(settings, &run);
    out::say(&format!("`{address}` of run {id} {words}{}", and_then(settings, &id, &told)));
    Ok(Exit::Succeeded)
}

/// Who has to act next.
fn and_then(settings: &Settings, id: &str, told: &Told) -> String {
    match told {
        Told::Driver => String::new(),
        Told::Nobody => format!("; go on with it: `{} resume {id}`", called(settings)),
    }
}

/// Asks the driver, or writes where there is none.
fn tell(settings: &Settings, run: &RunDir, control: &Control) -> Result<Told, Stop> {
    let prologue = drive::prologue(settings)?;
    match Reader::open(run)?.run()?.state {
        RunState::Succeeded | RunState::Cancelled => {
            return Err(Stop::new(Exit::Usage, format!("run {} has ended", drive::shortest(settings, run))));
        }
        RunState::Running | RunState::Failed => {}
    }
    for _ in 0..TRIES {
        if let Told::Driver = ask(run, control)? {
            return Ok(Told::Driver);
        }
        match offline::apply(&prologue, run, control.clone()) {
            Ok(()) => {
                drive::remember(settings, run);
                return Ok(Told::Nobody);
            }
            Err(DriverError::Lock(LockError::Held { .. })) => std::thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Err(unreachable(&run.id()))
}

/// Asks the live driver, if there is one.
fn ask(run: &RunDir, control: &Control) -> Result<Told, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::new(Exit::StateDir, format!("cannot talk to the driver: {error}")))?;
    for _ in 0..TRIES {
        if !is_live(run) {
            return Ok(Told::Nobody);
        }
        let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, control::ask(run, control)).await });
        match answer {
            Ok(Ok(_)) => return Ok(Told::Driver),
            Ok(Err(AskError::Refused(why))) => return Err(Stop::new(Exit::Usage, why)),
            Ok(Err(AskError::Unreachable(why))) => tracing::debug!(why, "asked in vain"),
            Err(_) => break,
        }
        std::thread::sleep(PAUSE);
    }
    Err(unreachable(&run.id()))
}

fn unreachable(id: &str) -> Stop {
    Stop::new(Exit::Driven, format!("another process drives run {id} and does not answer"))
        .hint("look at the process that `driver.lock` in the run's directory names")
}
