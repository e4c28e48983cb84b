//! Attempts in flight: starts what is wanted and on the disk, stops what is wanted no more.
//! Unaware of why. What is wanted is the core's answer alone.

use super::attempt::{self, Job};
use super::backend::AttemptBackend;
use super::engine::{Engine, Leaving, Task};
use super::prepare::{Prepared, prepare};
use crate::host::{ChildKey, Fates};
use flowrun_core::event::{Failure, FailureClass, Outcome};
use flowrun_core::{AttemptId, Input, NodeId, Want};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use tokio_util::sync::CancellationToken;

impl Engine {
    /// Keeps an attempt from being started: something else watches it.
    pub(crate) fn hold(&mut self, id: AttemptId) -> CancellationToken {
        let cancel = CancellationToken::new();
        let task = Task {
            attempt: id.attempt,
            cancel: cancel.clone(),
            started: self.clock.now(),
            progress: None,
            serving: false,
            announced: true,
            reconciles: false,
        };
        self.tasks.insert(id.node, task);
        cancel
    }

    /// Brings what is in flight for a node in line with what is wanted.
    pub(super) fn adjust(&mut self, node: NodeId) {
        match self.run.want(node) {
            Some(Want::Resolve) => {
                let resolution = self.resolver().resolve(node);
                self.input(Input::Resolved { node, resolution });
            }
            Some(Want::Outputs) => {
                let outputs = self.resolver().outputs(node);
                self.input(Input::Outputs { node, outputs });
            }
            Some(Want::Run(id)) if self.leaving == Leaving::No || self.tasks.contains_key(&node) => {
                self.release(id, false);
            }
            Some(Want::Run(_)) => {}
            Some(Want::Reconcile(id)) => self.release(id, true),
            Some(Want::Stop(id)) => self.stop(id),
            None => {}
        }
    }

    /// Starts what is wanted once the event that wants it is on the disk.
    fn release(&mut self, id: AttemptId, reconcile: bool) {
        if self.tasks.get(&id.node).is_some_and(|task| task.attempt == id.attempt) {
            return;
        }
        let ordered = self.ordered.get(&id.node).copied();
        let at = if reconcile { self.seq } else { ordered.unwrap_or(self.seq) };
        if at > self.committed {
            self.releases.entry(at).or_default().push(id.node);
            return;
        }
        self.ordered.remove(&id.node);
        self.start(id, reconcile);
    }

    fn stop(&mut self, id: AttemptId) {
        // It may have a process that an earlier flowrun started: it is taken up, so that there is something to stop.
        if !self.tasks.contains_key(&id.node) && self.known_starts.contains_key(&id) {
            self.start(id, false);
        }
        match self.tasks.get(&id.node) {
            Some(task) => task.cancel.cancel(),
            None => {
                self.prepared.remove(&id.node);
                self.input(Input::Report { id, outcome: Outcome::Cancelled, started: None });
            }
        }
    }

    pub(crate) fn start(&mut self, id: AttemptId, reconcile: bool) {
        let prepared = self.prepared.remove(&id.node).unwrap_or_else(|| prepare(&self.resolver(), id.node));
        let started = self.known_starts.remove(&id).unwrap_or_else(|| self.clock.now());
        self.facts.started.entry(id.node).or_insert(started);
        self.reuse(id);
        let job = match prepared {
            Ok(prepared) => self.job(id, prepared, started),
            Err(reason) => Err(reason),
        };
        let job = match job {
            Ok(job) => job,
            Err(message) => {
                let message = self.world.masker.mask(&message);
                let class = FailureClass::Permanent;
                let failure = Failure { class, exit: None, timed_out: false, message, hint: None };
                let outcome = Outcome::Failed(Box::new(failure));
                return self.input(Input::Report { id, outcome, started: Some(started) });
            }
        };
        self.tasks.insert(
            id.node,
            Task {
                attempt: id.attempt,
                cancel: job.backend.cancel.clone(),
                started,
                progress: None,
                serving: false,
                announced: false,
                reconciles: reconcile,
            },
        );
        if reconcile {
            tokio::spawn(attempt::reconcile(job));
        } else {
            tokio::spawn(attempt::run(job, started));
        }
    }

    fn job(&self, id: AttemptId, prepared: Prepared, now: u64) -> Result<Job, String> {
        let address = self.run.address(id.node);
        let Some((_, step)) = self.resolver().step(id.node) else { return Err("there is no such step".into()) };
        let background = step.background.is_some();
        let scratch = self.scratch(id);
        let env = super::environment::of(&self.world, &prepared, &address, id.attempt)?;
        Ok(Job {
            backend: Arc::new(AttemptBackend {
                world: Arc::clone(&self.world),
                host: self.host.clone(),
                journal: Arc::clone(&self.journal),
                driver: self.driver.clone(),
                id,
                log: self.world.run.log(&address, id.attempt),
                env,
                dir: prepared.dir.clone(),
                timeout_ms: step.timeout_ms,
                grace_ms: step.grace_ms,
                signal: step.signal,
                background,
                cancel: CancellationToken::new(),
                children: AtomicU16::new(0),
                now,
            }),
            prepared,
            address,
            scratch,
            background,
        })
    }

    /// Files of an attempt may hold secrets, so they lie in memory where there are any.
    pub(super) fn scratch(&self, id: AttemptId) -> PathBuf {
        let name = format!("{}-{}", id.node.0, id.attempt);
        if self.world.masker.is_empty() {
            self.world.run.scratch().join(name)
        } else {
            self.world.private.join("scratch").join(name)
        }
    }
}

/// Empty folders kept for later attempts, at most.
const SPARE: usize = 64;

impl Engine {
    /// An attempt's folder is not needed any more. An empty one is kept for a later attempt: a filesystem that has lost
    /// thousands of folders makes new ones slowly for a while. Best effort: one that stays costs room and nothing else.
    pub(super) fn recycle(&mut self, id: AttemptId) {
        let path = self.scratch(id);
        let Ok(mut entries) = std::fs::read_dir(&path) else { return };
        if entries.next().is_none() && self.spare.len() < SPARE {
            self.spare.push(path);
        } else if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::debug!(path = %path.display(), %error, "cannot remove a scratch folder");
        }
    }

    /// Gives an attempt that has no folder yet one that another has left.
    fn reuse(&mut self, id: AttemptId) {
        let path = self.scratch(id);
        if path.exists() {
            return;
        }
        if let Some(spare) = self.spare.pop()
            && let Err(error) = std::fs::rename(&spare, &path)
        {
            tracing::debug!(path = %spare.display(), %error, "cannot use a scratch folder again");
        }
    }
}

/// The children of an attempt that the host's book knows.
pub(crate) fn children_of(fates: &Fates, id: AttemptId) -> Vec<ChildKey> {
    let keys = fates.records().map(|record| record.key);
    keys.filter(|key| key.node == id.node.0 && key.attempt == id.attempt).collect()
}
