//! Children of a tested step: in process groups of their own, alive until they end, are killed, or the kit goes.
//! Unaware of who waits for them, as the host is.

use super::backend::lock;
use crate::{Command, Exit, Output, StepError, StepResult};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a cancelled child has between TERM and KILL.
const GRACE: Duration = Duration::from_secs(2);
/// How often a group that is waited for as a whole is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What happens to children.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Settings {
    pub(super) timeout: Option<Duration>,
    pub(super) lose_exits: bool,
}

/// The attempt, and which of its children.
type Key = (u32, usize);

/// A child that was started.
#[derive(Clone)]
pub(super) struct Started {
    group: Pid,
    exit: watch::Receiver<Option<Exit>>,
}

/// All children of a step.
#[derive(Default)]
pub(super) struct Children {
    started: Mutex<BTreeMap<Key, Started>>,
    settings: Mutex<Settings>,
}

impl Children {
    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.started).len()
    }

    pub(super) fn find_or_start(&self, key: Key, command: &Command, dir: &Path, log: File) -> io::Result<Started> {
        let mut started = lock(&self.started);
        if let Some(child) = started.get(&key) {
            return Ok(child.clone());
        }
        let settings = *self.settings();
        let child = start(command, dir, log, settings)?;
        started.insert(key, child.clone());
        Ok(child)
    }

    pub(super) async fn wait(&self, child: Started, cancel: &CancellationToken) -> StepResult<Exit> {
        let Started { group, exit } = child;
        if let Some(ended) = cancel.run_until_cancelled(end_of(exit.clone())).await {
            return Ok(ended);
        }
        kill(group, Signal::TERM);
        if tokio::time::timeout(GRACE, end_of(exit)).await.is_err() {
            kill(group, Signal::KILL);
        }
        Err(StepError::cancelled())
    }

    pub(super) fn kill_all(&self) {
        for child in lock(&self.started).values().filter(|child| child.exit.borrow().is_none()) {
            kill(child.group, Signal::KILL);
        }
    }
}

async fn end_of(mut exit: watch::Receiver<Option<Exit>>) -> Exit {
    exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit).unwrap_or(Exit::Unknown)
}

/// A group that is gone already is what was wanted.
fn kill(group: Pid, signal: Signal) {
    let _ = kill_process_group(group, signal);
}

fn start(command: &Command, dir: &Path, log: File, settings: Settings) -> io::Result<Started> {
    let (program, arguments) =
        command.argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program is named"))?;
    let stdout = match &command.stdout {
        Output::Log => log.try_clone()?,
        Output::File(path) => OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?,
    };
    let kept =
        ["PATH", "HOME", "USER", "LANG", "TZ"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    #[expect(clippy::disallowed_methods, reason = "it stands in for the host")]
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(kept)
        .envs(&command.env)
        .current_dir(command.dir.as_deref().unwrap_or(dir))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
        .ok_or_else(|| io::Error::other("the child has no id"))?;
    let (tell, exit) = watch::channel(None);
    let wait_all = command.wait_all;
    tokio::spawn(async move {
        let ended = watch_child(&mut child, group, wait_all, settings).await;
        tell.send_replace(Some(if settings.lose_exits { Exit::Unknown } else { ended }));
    });
    Ok(Started { group, exit })
}

async fn watch_child(child: &mut tokio::process::Child, group: Pid, wait_all: bool, settings: Settings) -> Exit {
    let whole = async {
        let status = child.wait().await;
        while wait_all && test_kill_process_group(group).is_ok() {
            tokio::time::sleep(LOOK).await;
        }
        status
    };
    let status = match settings.timeout {
        None => whole.await,
        Some(after) => match tokio::time::timeout(after, whole).await {
            Ok(status) => status,
            Err(_) => {
                kill(group, Signal::KILL);
                return Exit::TimedOut;
            }
        },
    };
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unknown,
        },
        Err(_) => Exit::Unknown,
    }
}
