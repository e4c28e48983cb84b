//! What stands behind a context in a test: notes, progress and the log of one step.
//! Unaware of which step type is tested.

use super::Crash;
use super::children::{Children, Settings};
use crate::cx::BoxFuture;
use crate::{Backend, Command, Exit, Note, Progress, StepError, StepResult};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What outlives every crash: the world as the step sees it.
pub(super) struct World {
    notes: Mutex<Vec<Note>>,
    progress: Mutex<Vec<Progress>>,
    secrets: Mutex<Vec<String>>,
    children: Children,
    log_path: PathBuf,
    log: Mutex<File>,
    crash: Mutex<(Option<Crash>, CancellationToken)>,
    stirred: watch::Sender<bool>,
}

/// A lock whose holder panicked is as good as any other here: the test fails anyway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(log_path: PathBuf) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(&log_path)?;
        Ok(Self {
            notes: Mutex::default(),
            progress: Mutex::default(),
            secrets: Mutex::default(),
            children: Children::default(),
            log_path,
            log: Mutex::new(log),
            crash: Mutex::new((None, CancellationToken::new())),
            stirred: watch::Sender::new(false),
        })
    }

    pub(super) fn arm(&self, crash: Option<Crash>) -> CancellationToken {
        let died = CancellationToken::new();
        *lock(&self.crash) = (crash, died.clone());
        died
    }

    /// Flowrun is dead from here on: what it was about to do never happens.
    async fn die_at(&self, here: Crash) {
        let (armed, died) = lock(&self.crash).clone();
        if armed == Some(here) {
            died.cancel();
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.children.settings()
    }

    pub(super) fn add_secret(&self, secret: &str) {
        lock(&self.secrets).push(secret.to_owned());
    }

    pub(super) fn notes(&self) -> Vec<Note> {
        lock(&self.notes).clone()
    }

    pub(super) fn progress(&self) -> Vec<Progress> {
        lock(&self.progress).clone()
    }

    pub(super) fn children(&self) -> usize {
        self.children.count()
    }

    pub(super) fn kill_all(&self) {
        self.children.kill_all();
    }

    pub(super) async fn stirred(&self) {
        // The sender lives as long as this world, so waiting cannot fail.
        let waited = self.stirred.subscribe().wait_for(|stirred| *stirred).await.is_ok();
        debug_assert!(waited);
    }

    fn stir(&self) {
        self.stirred.send_replace(true);
    }

    fn mask(&self, text: &str) -> String {
        lock(&self.secrets).iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }

    pub(super) fn log_tail(&self, bytes: u64) -> String {
        let raw = std::fs::read(&self.log_path).unwrap_or_default();
        let text = self.mask(&String::from_utf8_lossy(&raw));
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if text.len() <= bytes {
            return text;
        }
        let mut start = text.len() - bytes;
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let tail = text.get(start..).unwrap_or_default();
        tail.split_once('\n').map(|(_, whole)| whole).unwrap_or_default().to_owned()
    }

    fn log(&self, line: &str) {
        // Best effort: a line that cannot be written is missed by the test that looks for it.
        drop(writeln!(lock(&self.log), "{line}"));
    }
}

/// One process of flowrun at one attempt.
pub(super) struct Attempt {
    world: Arc<World>,
    attempt: u32,
    dir: PathBuf,
    cancel: CancellationToken,
    ordinal: AtomicUsize,
}

impl Attempt {
    pub(super) fn new(world: Arc<World>, attempt: u32, dir: PathBuf, cancel: CancellationToken) -> Self {
        Self { world, attempt, dir, cancel, ordinal: AtomicUsize::new(0) }
    }

    async fn add_note(&self, key: &str, value: Value) {
        let count = lock(&self.world.notes).len() + 1;
        self.world.die_at(Crash::BeforeNote(count)).await;
        lock(&self.world.notes).push(Note { attempt: self.attempt, key: key.to_owned(), value });
        self.world.stir();
        self.world.die_at(Crash::AfterNote(count)).await;
    }

    async fn wait_child(&self, command: Command) -> StepResult<Exit> {
        if self.cancel.is_cancelled() {
            return Err(StepError::cancelled());
        }
        let ordinal = self.ordinal.fetch_add(1, Ordering::Relaxed);
        let log = lock(&self.world.log).try_clone();
        let child = log
            .and_then(|log| self.world.children.find_or_start((self.attempt, ordinal), &command, &self.dir, log))
            .map_err(|error| {
                let program = command.argv.first().map(String::as_str).unwrap_or_default();
                StepError::permanent(format!("cannot start `{program}`: {error}"))
            })?;
        self.world.stir();
        self.world.die_at(Crash::AfterChild(self.world.children())).await;
        self.world.children.wait(child, &self.cancel).await
    }
}

impl Backend for Attempt {
    fn note<'a>(&'a self, key: &'a str, value: Value) -> BoxFuture<'a, StepResult<()>> {
        Box::pin(async move {
            self.add_note(key, value).await;
            Ok(())
        })
    }

    fn notes(&self) -> Vec<Note> {
        self.world.notes()
    }

    fn progress(&self, progress: Progress) {
        lock(&self.world.progress).push(progress);
        self.world.stir();
    }

    fn log(&self, line: &str) {
        self.world.log(line);
    }

    fn child<'a>(&'a self, command: Command) -> BoxFuture<'a, StepResult<Exit>> {
        Box::pin(self.wait_child(command))
    }

    fn log_tail(&self, bytes: u64) -> String {
        self.world.log_tail(bytes)
    }

    fn mask(&self, text: &str) -> String {
        self.world.mask(text)
    }
}
