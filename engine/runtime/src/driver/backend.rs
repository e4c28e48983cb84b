//! What stands behind a step's context in a run: the host for children, the journal for notes, the log for lines.
//! Unaware of what the step does.

use super::hosting::Hosting;
use super::message::Message;
use super::world::World;
use crate::host::{ChildExit, ChildKey, Fate, Host, Spawn, StartError, fate, wait_orphan};
use crate::store::Journal;
use flowrun_core::AttemptId;
use flowrun_sdk::cx::BoxFuture;
use flowrun_sdk::{Backend, Command, Exit, Note, Output, Progress, StepError, StepResult};
use serde_json::Value;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// What one attempt asks flowrun for.
pub(crate) struct AttemptBackend {
    pub(crate) world: Arc<World>,
    pub(crate) host: Hosting,
    pub(crate) journal: Arc<Journal>,
    pub(crate) driver: mpsc::UnboundedSender<Message>,
    pub(crate) id: AttemptId,
    pub(crate) log: PathBuf,
    /// The whole environment of children.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) dir: PathBuf,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) grace_ms: u64,
    pub(crate) signal: i32,
    /// It is a service: it has no end to wait for.
    pub(crate) background: bool,
    pub(crate) cancel: CancellationToken,
    pub(crate) children: AtomicU16,
    pub(crate) now: u64,
}

impl AttemptBackend {
    fn spawn(&self, key: ChildKey, command: Command) -> Spawn {
        let mut env = self.env.clone();
        env.extend(command.env);
        Spawn {
            key,
            tag: key.tag(&self.world.run),
            argv: command.argv,
            env,
            dir: command.dir.unwrap_or_else(|| self.dir.clone()),
            log: self.log.clone(),
            stdout: match command.stdout {
                Output::Log => None,
                Output::File(path) => Some(path),
            },
            timeout_ms: self.timeout_ms,
            grace_ms: self.grace_ms,
            signal: self.signal,
            wait_all: command.wait_all,
        }
    }

    async fn watch(&self, command: Command) -> StepResult<Exit> {
        let ordinal = self.children.fetch_add(1, Ordering::Relaxed);
        let key = ChildKey { node: self.id.node.0, attempt: self.id.attempt, ordinal };
        let mut hosting = self.host.clone();
        let mut host = hosting.see();
        // A child that was started before must be taken up to be stopped.
        if self.cancel.is_cancelled() && !host.known().iter().any(|child| child.key == key) {
            return Err(StepError::cancelled());
        }
        loop {
            if let Some(exit) = self.through(&host, key, command.clone()).await {
                return exit;
            }
            // Dead, or not the one that started it.
            if let Some(exit) = self.without_host(key).await {
                return exit;
            }
            let gone = || StepError::uncertain("the host of the run died while the process ran");
            host = hosting.next().await.ok_or_else(gone)?;
            if self.cancel.is_cancelled() {
                return Err(StepError::cancelled());
            }
        }
    }

    /// The end of a child that this host starts or has started; none: the host died, or an earlier one started it.
    async fn through(&self, host: &Host, key: ChildKey, command: Command) -> Option<StepResult<Exit>> {
        match host.start(self.spawn(key, command)).await {
            Ok(_) => {}
            Err(StartError::HostGone) => return None,
            Err(error) => return Some(Err(StepError::permanent(error.to_string()))),
        }
        let mut told = false;
        loop {
            let exit = tokio::select! {
                exit = host.wait(key) => exit,
                () = self.cancel.cancelled(), if !told => {
                    told = true;
                    host.stop(key);
                    continue;
                }
            };
            return match exit {
                ChildExit::HostGone => None,
                _ if told => Some(Err(StepError::cancelled())),
                exit => Some(Ok(exit_of(exit))),
            };
        }
    }

    /// The book and the kernel say what became of the child; none: it never was, so the next host may start it.
    async fn without_host(&self, key: ChildKey) -> Option<StepResult<Exit>> {
        let lost = |text: &str| Some(Err(StepError::uncertain(text)));
        match fate(&self.world.run, key) {
            Fate::NeverStarted | Fate::Alive(_) => None,
            Fate::Exited(ChildExit::Unknown | ChildExit::HostGone) | Fate::LostInReboot | Fate::Lost => {
                lost("the host of the run died while the process ran")
            }
            Fate::Exited(exit) => Some(Ok(exit_of(exit))),
            // A service has no end to wait for.
            Fate::Orphan { .. } if self.background => lost("its host died; the service is started again"),
            Fate::Orphan { pid, start } => {
                tokio::select! {
                    waited = wait_orphan(pid, start) => if let Err(error) = waited {
                        tracing::debug!(%error, pid, "cannot wait for a process");
                    },
                    // Without a host nobody can ask it to stop; the fence of a lost attempt ends it.
                    () = self.cancel.cancelled() => {}
                }
                lost("its host died, and nobody saw how the process ended")
            }
        }
    }
}

fn exit_of(exit: ChildExit) -> Exit {
    match exit {
        ChildExit::Code(code) => Exit::Code(code),
        ChildExit::Signal(signal) => Exit::Signal(signal),
        ChildExit::TimedOut => Exit::TimedOut,
        ChildExit::Unknown | ChildExit::HostGone => Exit::Unknown,
    }
}

impl Backend for AttemptBackend {
    fn note<'a>(&'a self, key: &'a str, value: Value) -> BoxFuture<'a, StepResult<()>> {
        Box::pin(async move {
            let (tx, rx) = oneshot::channel();
            let done = Box::new(move |written: crate::store::Written| {
                // The step may have been cancelled meanwhile; then nobody listens.
                let _ = tx.send(written.map(|_| ()).map_err(|error| error.to_string()));
            });
            self.journal.note(self.id, key, value, self.now, done);
            match rx.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(StepError::uncertain(format!("cannot write a note: {error}"))),
                Err(_) => Err(StepError::uncertain("cannot write a note: the store has ended")),
            }
        })
    }

    fn notes(&self) -> Vec<Note> {
        let stored = self.journal.notes(self.id.node.0).unwrap_or_default();
        stored.into_iter().map(|n| Note { attempt: n.id.attempt, key: n.key, value: n.value }).collect()
    }

    fn progress(&self, progress: Progress) {
        // Lossy by contract: a driver that has ended shows nothing.
        let _ = self.driver.send(Message::Progress(self.id, progress));
    }

    fn log(&self, line: &str) {
        let line = self.world.masker.mask(line);
        if let Err(error) = append(&self.log, &line) {
            tracing::debug!(log = %self.log.display(), %error, "cannot write to a log");
        }
    }

    fn child<'a>(&'a self, command: Command) -> BoxFuture<'a, StepResult<Exit>> {
        Box::pin(self.watch(command))
    }

    fn log_tail(&self, bytes: u64) -> String {
        self.world.masker.mask(&tail(&self.log, bytes))
    }

    fn mask(&self, text: &str) -> String {
        self.world.masker.mask(text)
    }
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// The last whole lines of a file, at most so many bytes; empty where there is none.
pub(crate) fn tail(path: &Path, bytes: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        let from = length.saturating_sub(bytes);
        file.seek(SeekFrom::Start(from))?;
        let mut end = Vec::new();
        file.take(bytes).read_to_end(&mut end)?;
        let text = String::from_utf8_lossy(&end).into_owned();
        Ok(match (from, text.split_once('\n')) {
            (0, _) | (_, None) => text,
            (_, Some((_, whole))) => whole.to_owned(),
        })
    };
    read().unwrap_or_default()
}
