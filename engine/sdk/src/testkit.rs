//! What a step type is tested with: a backend that keeps notes in memory and spawns children itself.
//! Unaware of the driver. The same contract as in a run, so that a test here means something there.

mod backend;
mod children;
mod conformance;

pub use conformance::{SECRET, Sample, conformance};

use crate::cx::AttemptInfo;
use crate::{DynStepType, Note, Progress, StepCx, StepResult};
use backend::{Attempt, World};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// One step of an imagined run: its folder, its notes, its log, its children, over all its attempts.
/// Children that still live are killed when it goes.
pub struct Kit {
    world: Arc<World>,
    root: tempfile::TempDir,
    attempt: AtomicU32,
    cancel: CancellationToken,
}

/// Where flowrun dies in mid-attempt. Counts are from 1 and over all attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Before the n-th note is durable.
    BeforeNote(usize),
    /// After the n-th note is durable, before the step hears of it.
    AfterNote(usize),
    /// After the n-th child was started; it lives on.
    AfterChild(usize),
    /// After the step's end, before its report is durable.
    BeforeReport,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// It ended and its report was heard.
    Ended(StepResult<Value>),
    /// Flowrun died meanwhile.
    Crashed,
}

impl Kit {
    /// A step in an empty folder.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn new() -> io::Result<Self> {
        let root = tempfile::Builder::new().prefix("flowrun-kit-").tempdir()?;
        std::fs::create_dir(root.path().join("dir"))?;
        let world = Arc::new(World::new(root.path().join("log"))?);
        Ok(Self { world, root, attempt: AtomicU32::new(1), cancel: CancellationToken::new() })
    }

    /// A text that nobody may see.
    pub fn secret(&self, secret: &str) {
        self.world.add_secret(secret);
    }

    /// Every child started from now on is killed after so long and counts as timed out.
    pub fn timeout(&self, after: Duration) {
        self.world.settings().timeout = Some(after);
    }

    /// The exit codes of children that end from now on are lost.
    pub fn lose_exits(&self) {
        self.world.settings().lose_exits = true;
    }

    /// Where relative paths start and children run.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.root.path().join("dir")
    }

    /// The context of the present attempt. Each call is a new process of flowrun: its first child is the attempt's first.
    #[must_use]
    pub fn cx(&self) -> StepCx {
        let attempt = self.attempt.load(Ordering::Relaxed);
        let scratch = self.root.path().join(format!("scratch-{attempt}"));
        make_private(&scratch);
        let info = AttemptInfo {
            address: "kit".to_owned(),
            attempt,
            idempotency_key: "k1t0k1t0-kit".to_owned(),
            dir: self.dir(),
            scratch,
        };
        let backend = Attempt::new(Arc::clone(&self.world), attempt, self.dir(), self.cancel.clone());
        StepCx::new(info, self.cancel.clone(), Arc::new(backend))
    }

    /// The next attempt begins.
    pub fn next_attempt(&self) {
        self.attempt.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells the attempt to stop.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Runs the present attempt, or goes on with it, until it ends or flowrun dies.
    pub async fn run(&self, step: &dyn DynStepType, input: Value, crash: Option<Crash>) -> Fate {
        let died = self.world.arm(crash);
        let cx = self.cx();
        tokio::select! {
            biased;
            () = died.cancelled() => Fate::Crashed,
            result = step.run(&cx, input) => match crash {
                Some(Crash::BeforeReport) => Fate::Crashed,
                _ => Fate::Ended(result),
            },
        }
    }

    /// The notes of all attempts, oldest first.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        self.world.notes()
    }

    /// Everything that was shown of how far it is, oldest first.
    #[must_use]
    pub fn progress(&self) -> Vec<Progress> {
        self.world.progress()
    }

    /// The log, masked.
    #[must_use]
    pub fn log(&self) -> String {
        self.world.log_tail(u64::MAX)
    }

    /// How many children were started.
    #[must_use]
    pub fn children(&self) -> usize {
        self.world.children()
    }

    /// Waits until the attempt has made a note, started a child or shown how far it is.
    pub async fn stirred(&self) {
        self.world.stirred().await;
    }
}

/// Best effort: a folder that cannot be made shows in the step's own first use of it.
fn make_private(path: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    drop(made);
}

impl Drop for Kit {
    fn drop(&mut self) {
        self.world.kill_all();
    }
}
