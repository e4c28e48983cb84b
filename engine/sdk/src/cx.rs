//! The context of an attempt: all that a step type may ask of flowrun.
//! Unaware of who stands behind it: the driver in a run, the test kit in a test.

use crate::{Command, Exit, StepResult};
use serde_json::Value;
use std::future::Future;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;

/// A future that a [`Backend`] gives back.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A durable remark that a step makes in mid-attempt, before an effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// The attempt that made it.
    pub attempt: u32,
    /// What it is about.
    pub key: String,
    /// What it says; secrets never.
    pub value: Value,
}

/// How far an attempt is. Lossy: only the newest is shown.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// So much is done.
    pub done: f64,
    /// Of so much, where it is known.
    pub total: Option<f64>,
    /// Of what: `bytes`, `tables`, `%` …
    pub unit: String,
}

/// What stands behind a [`StepCx`].
pub trait Backend: Send + Sync {
    /// Makes a note durable; when it returns, the note survives every crash.
    fn note<'a>(&'a self, key: &'a str, value: Value) -> BoxFuture<'a, StepResult<()>>;
    /// The notes of all attempts of this step or item, oldest first.
    fn notes(&self) -> Vec<Note>;
    /// Shows how far the attempt is.
    fn progress(&self, progress: Progress);
    /// Adds a line to the attempt's log; secrets are masked.
    fn log(&self, line: &str);
    /// Starts a child, or finds the one that this attempt started before a crash, and waits for its end.
    fn child<'a>(&'a self, command: Command) -> BoxFuture<'a, StepResult<Exit>>;
    /// The end of the attempt's log, masked, at most so many bytes of whole lines.
    fn log_tail(&self, bytes: u64) -> String;
    /// Replaces every secret in a text by `***`.
    fn mask(&self, text: &str) -> String;
}

/// Facts about an attempt.
#[derive(Debug, Clone, Default)]
pub struct AttemptInfo {
    /// `step`, `step/KEY`, `group/KEY/inner` …
    pub address: String,
    /// Which try, from 1.
    pub attempt: u32,
    /// The same for every attempt of this step or item in this run: names, tags and client tokens come from it.
    pub idempotency_key: String,
    /// Where relative paths start and children run.
    pub dir: PathBuf,
    /// An empty folder of this attempt, mode 0700, in memory where the run has secrets; gone after its end.
    pub scratch: PathBuf,
}

/// The context of an attempt.
#[derive(Clone)]
pub struct StepCx {
    info: Arc<AttemptInfo>,
    /// Whether `scratch` has been asked for, and so made.
    scratch: Arc<OnceLock<()>>,
    cancel: CancellationToken,
    backend: Arc<dyn Backend>,
}

impl StepCx {
    /// For the driver and the test kit.
    #[must_use]
    pub fn new(info: AttemptInfo, cancel: CancellationToken, backend: Arc<dyn Backend>) -> Self {
        Self { info: Arc::new(info), scratch: Arc::default(), cancel, backend }
    }

    /// `step`, `step/KEY`, `group/KEY/inner` …
    #[must_use]
    pub fn address(&self) -> &str {
        &self.info.address
    }

    /// Which try, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.info.attempt
    }

    /// The same for every attempt of this step or item in this run: names, tags and client tokens come from it.
    #[must_use]
    pub fn idempotency_key(&self) -> &str {
        &self.info.idempotency_key
    }

    /// Where relative paths start and children run.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.info.dir
    }

    /// A folder of this attempt for small files, mode 0700, made when it is first asked for and removed when the attempt's
    /// end is on the disk. In memory where the run has secrets.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch.get_or_init(|| {
            // Whoever then cannot write into it says so, with the path.
            let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.info.scratch);
        });
        &self.info.scratch
    }

    /// Ends when the attempt is to stop. Children are stopped by the engine; a step that works in this process watches it.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Makes a note durable, before the effect it speaks of.
    ///
    /// # Errors
    /// When the store cannot take it: then the effect must not happen.
    pub async fn note(&self, key: &str, value: Value) -> StepResult<()> {
        self.backend.note(key, value).await
    }

    /// The notes of all attempts of this step or item, oldest first.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        self.backend.notes()
    }

    /// Shows how far the attempt is.
    pub fn progress(&self, progress: Progress) {
        self.backend.progress(progress);
    }

    /// Adds a line to the attempt's log; secrets are masked.
    pub fn log(&self, line: &str) {
        self.backend.log(line);
    }

    /// Starts a child in the host and waits for its end. In an attempt that is adopted after a crash, the n-th call
    /// finds the n-th child of the attempt instead of starting another.
    ///
    /// # Errors
    /// When the child cannot be started, or the attempt was cancelled.
    pub async fn child(&self, command: Command) -> StepResult<Exit> {
        self.backend.child(command).await
    }

    /// The end of the attempt's log, masked, at most so many bytes of whole lines.
    #[must_use]
    pub fn log_tail(&self, bytes: u64) -> String {
        self.backend.log_tail(bytes)
    }

    /// Replaces every secret in a text by `***`.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        self.backend.mask(text)
    }
}
