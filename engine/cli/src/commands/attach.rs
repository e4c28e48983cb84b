//! `flowrun attach`: follows a run that another process drives.
//! Unaware of how arguments are read. It only reads what the driver publishes and commits, so the driver never waits
//! for it, and its own end is nobody else's.

mod tail;

use self::tail::Tail;
use super::drive::{self, called};
use super::survey::{self, Survey};
use super::{Ending, Stop, which};
use crate::args::Attach;
use crate::args::settings::Settings;
use crate::exit::Exit;
use crate::screen::ending::Names;
use crate::screen::live::{self, Mode};
use crate::tables::views::RunWord;
use flowrun_engine::driver::snapshot::{Notice, Snapshot};
use flowrun_engine::paths::RunDir;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Looks so often.
const PAUSE: Duration = Duration::from_millis(250);

/// Follows a run to its end, or to that of its driver.
///
/// # Errors
/// When nobody drives it.
pub fn attach(settings: &Settings, args: &Attach) -> Ending {
    let run = which::dir(settings, args.run.as_deref())?;
    let names = Names { run: drive::shortest(settings, &run), flowrun: called(settings) };
    let survey = Survey::open(&run)?;
    if !survey.live {
        let state = survey.word().word();
        let hint = match survey.word() {
            RunWord::Succeeded | RunWord::Cancelled => format!("see it with `{} status {}`", names.flowrun, names.run),
            RunWord::Running | RunWord::Failed | RunWord::Interrupted | RunWord::Waiting => {
                format!("go on with it: `{} resume {}`", names.flowrun, names.run)
            }
        };
        return Err(Stop::new(Exit::Usage, format!("nobody drives run {} ({state})", names.run)).hint(hint));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::new(Exit::StateDir, format!("cannot follow the run: {error}")))?;
    let mode = Mode::of(&settings.terminal, args.json);
    runtime.block_on(async {
        let (snapshots, watch) = watch::channel(survey.snapshot.clone().unwrap_or_else(Snapshot::unknown));
        let (notices, told) = mpsc::unbounded_channel();
        let (followed, ()) =
            tokio::join!(follow(&run, survey, snapshots, notices), live::show(mode, names, watch, told));
        followed
    })
}

/// Feeds the screen until nobody drives the run any more, or this process is sent away.
async fn follow(
    run: &RunDir,
    mut survey: Survey,
    snapshots: watch::Sender<Snapshot>,
    notices: mpsc::UnboundedSender<Notice>,
) -> Ending {
    let mut tail = Tail::new(&survey);
    loop {
        // The lock before the events: all that a driver committed before it let go is told.
        let live = survey.live;
        for notice in tail.next(&survey)? {
            // A screen that has gone is no reason to stop looking.
            let _ = notices.send(notice);
        }
        if let Some(snapshot) = &survey.snapshot {
            snapshots.send_replace(snapshot.clone());
        }
        if !live {
            if let Some(last) = survey::snapshot(run) {
                snapshots.send_replace(last);
            }
            let _ = notices.send(tail.ended(&survey));
            return Ok(exit_of(survey.word()));
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            // The run goes on.
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        }
        survey.refresh()?;
    }
}

fn exit_of(word: RunWord) -> Exit {
    match word {
        RunWord::Succeeded => Exit::Succeeded,
        RunWord::Failed | RunWord::Cancelled => Exit::Failed,
        RunWord::Waiting => Exit::WaitsForPerson,
        RunWord::Running | RunWord::Interrupted => Exit::Interrupted,
    }
}
