//! What `run` and `resume` share: a driver, a screen, signals, and the exit code at the end.
//! Unaware of how a run is prepared.

use super::Stop;
use crate::args::settings::{Settings, Terminal};
use crate::exit::Exit;
use crate::out;
use crate::screen::ending::Names;
use crate::screen::live::{self, Mode};
use flowrun_core::RunState;
use flowrun_core::event::UnitState;
use flowrun_engine::driver::snapshot::Snapshot;
use flowrun_engine::driver::{Conduct, DriverError, End, Handle, Prologue, Signal, Watchers};
use flowrun_engine::paths::RunDir;
use flowrun_engine::plan::{Diagnostic, Loaded, Severity};
use flowrun_engine::store::{Index, LockError, Reader, index};
use std::future::Future;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

impl From<DriverError> for Stop {
    fn from(error: DriverError) -> Self {
        match &error {
            DriverError::Refused(_) => Self::new(Exit::Usage, error.to_string()),
            DriverError::Lock(LockError::Held { .. }) => Self::new(Exit::Driven, error.to_string()),
            DriverError::Lock(LockError::Unusable(state)) => {
                Self::new(Exit::StateDir, error.to_string()).hint(state.hint())
            }
            DriverError::State(state) => Self::new(Exit::StateDir, error.to_string()).hint(state.hint()),
            DriverError::Store(store) => Self::new(Exit::StateDir, error.to_string()).hint(store.hint()),
            DriverError::Host(_) | DriverError::Io { .. } => Self::new(Exit::StateDir, error.to_string()),
        }
    }
}

/// flowrun's surroundings, read once.
pub fn prologue(settings: &Settings) -> Result<Prologue, Stop> {
    let fail = |what: &str, error: std::io::Error| Stop::new(Exit::StateDir, format!("cannot find {what}: {error}"));
    Ok(Prologue {
        state: settings.state_dir.clone(),
        exe: std::env::current_exe().map_err(|error| fail("flowrun's own program", error))?,
        environment: settings.environment.clone(),
        cwd: std::env::current_dir().map_err(|error| fail("the working directory", error))?,
        registry: flowrun_steps::registry(),
    })
}

/// Prints what is wrong or remarkable in a plan, on standard error.
pub fn print_findings(terminal: Terminal, loaded: &Loaded) {
    for diagnostic in &loaded.diagnostics {
        out::say(&rendered(terminal.color_err, diagnostic, loaded));
    }
    let errors = loaded.diagnostics.iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors > 0 {
        let files = loaded.sources.files().first().map(|file| file.name.to_string()).unwrap_or_default();
        out::say(&format!("{files}: {errors} {}", if errors == 1 { "error" } else { "errors" }));
    }
}

/// A finding as the person sees it.
pub fn rendered(color: bool, diagnostic: &Diagnostic, loaded: &Loaded) -> String {
    let text = if color { diagnostic.render_styled(&loaded.sources) } else { diagnostic.render(&loaded.sources) };
    format!("{}\n", text.trim_end())
}

/// Drives a run to an end of this process and shows it.
pub fn drive<F>(settings: &Settings, run: &RunDir, json: bool, prepare: impl FnOnce(Watchers) -> F) -> Result<End, Stop>
where
    F: Future<Output = Result<Conduct, DriverError>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .map_err(|error| Stop::new(Exit::StateDir, format!("cannot start the driver: {error}")))?;
    let names = Names { run: shortest(settings, run), flowrun: called(settings) };
    let end = runtime.block_on(async {
        let (snapshots, watch) = watch::channel(Snapshot::unknown());
        let (notices, told) = mpsc::unbounded_channel();
        let conduct = prepare(Watchers { snapshots, notices }).await?;
        obey_signals(conduct.handle());
        let mode = Mode::of(&settings.terminal, json);
        let (end, ()) = tokio::join!(conduct.drive(), live::show(mode, names, watch, told));
        end
    });
    // The process ends here: whatever still works for an attempt in this process stops with it and is looked after by
    // the next resume.
    runtime.shutdown_background();
    remember(settings, run);
    Ok(end?)
}

/// What the shell sees of an end.
pub fn exit_of(end: End) -> Exit {
    match end {
        End::Finished(RunState::Succeeded) => Exit::Succeeded,
        End::Finished(RunState::Failed | RunState::Cancelled | RunState::Running) => Exit::Failed,
        End::Interrupted(Signal::Interrupt) => Exit::Interrupted,
        End::Interrupted(Signal::Terminate) => Exit::Terminated,
        End::WaitsForAPerson => Exit::WaitsForPerson,
        End::Settled => Exit::Succeeded,
    }
}

/// INT and TERM send the driver away; a lost terminal stops nothing.
fn obey_signals(handle: Handle) {
    let interrupted = handle.clone();
    tokio::spawn(async move {
        let Ok(mut interrupts) = signal(SignalKind::interrupt()) else { return };
        while interrupts.recv().await.is_some() {
            interrupted.interrupt();
        }
    });
    tokio::spawn(async move {
        let Ok(mut terminations) = signal(SignalKind::terminate()) else { return };
        while terminations.recv().await.is_some() {
            handle.terminate();
        }
    });
    tokio::spawn(async move {
        let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
        while hangups.recv().await.is_some() {
            tracing::debug!("the terminal has gone; the run goes on");
        }
    });
}

/// Durations of so many steps and items of a run are kept: enough for estimates.
const REMEMBERED: u32 = 20_000;

/// Brings the index in step with the run. The index is derived, so a failure only costs a look at the journal later.
pub fn remember(settings: &Settings, run: &RunDir) {
    let write = || -> Result<(), flowrun_engine::store::StoreError> {
        let summary = index::summary(run)?;
        let rows = Reader::open(run)?.nodes(0, REMEMBERED)?;
        let took = rows.into_iter().filter(|row| row.state == UnitState::Succeeded);
        let took = took.filter_map(|row| Some((row.address, row.ended?.checked_sub(row.started?)?, row.ended?)));
        let mut index = Index::open(&settings.state_dir)?;
        index.remember(&summary.plan, &took.collect::<Vec<_>>())?;
        index.upsert(&summary)
    };
    if let Err(error) = write() {
        tracing::debug!(%error, "cannot bring the index in step");
    }
}

/// How flowrun is to be called to find this run again.
pub fn called(settings: &Settings) -> String {
    if settings.state_dir_named {
        let dir = settings.state_dir.0.to_string_lossy();
        // A path with a NUL cannot be given to anybody.
        let dir = shlex::try_quote(&dir).unwrap_or(std::borrow::Cow::Borrowed(&dir));
        format!("flowrun --state-dir {dir}")
    } else {
        "flowrun".to_owned()
    }
}

/// The shortest beginning of a run's id, of at least four characters, that names it alone.
pub fn shortest(settings: &Settings, run: &RunDir) -> String {
    let id = run.id();
    let others: Vec<String> = std::fs::read_dir(settings.state_dir.runs())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|other| *other != id)
        .collect();
    (4..id.len())
        .filter_map(|length| id.get(..length))
        .find(|prefix| !others.iter().any(|other| other.starts_with(prefix)))
        .unwrap_or(&id)
        .to_owned()
}
