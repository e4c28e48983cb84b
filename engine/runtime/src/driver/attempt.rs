//! One attempt, from its first child to its outcome.
//! Unaware of retries and of the run. It ends with a report, and nothing it does is decided here.

use super::backend::{AttemptBackend, tail};
use super::message::{Ending, Message};
use super::prepare::{Prepared, Ready};
use super::probe;
use crate::gates;
use crate::host::{ChildKey, Fenced, fence};
use crate::plan::{coerce, seal};
use flowrun_core::AttemptId;
use flowrun_core::event::{Failure, FailureClass, Found, Outcome};
use flowrun_sdk::cx::AttemptInfo;
use flowrun_sdk::error::ErrorKind;
use flowrun_sdk::{Backend as _, Command, DynStepType, Exit, StepCx, StepError, StepResult};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// All that an attempt's task needs.
pub(crate) struct Job {
    pub(crate) backend: Arc<AttemptBackend>,
    pub(crate) prepared: Prepared,
    pub(crate) address: String,
    pub(crate) scratch: PathBuf,
    pub(crate) background: bool,
}

impl Job {
    fn id(&self) -> AttemptId {
        self.backend.id
    }

    fn context(&self) -> StepCx {
        let info = AttemptInfo {
            address: self.address.clone(),
            attempt: self.id().attempt,
            idempotency_key: format!("{}-{}", self.backend.world.id, self.address),
            dir: self.prepared.dir.clone(),
            scratch: self.scratch.clone(),
        };
        StepCx::new(info, self.backend.cancel.clone(), Arc::clone(&self.backend) as Arc<dyn flowrun_sdk::Backend>)
    }

    fn step_type(&self) -> StepResult<Option<(Arc<dyn DynStepType>, Value)>> {
        let Some(uses) = &self.prepared.uses else { return Ok(None) };
        let world = &self.backend.world;
        let step = world.registry.get(uses);
        let step = step.ok_or_else(|| StepError::permanent(format!("there is no step type `{uses}`")))?;
        let input = seal::unseal(&self.prepared.input, &world.secrets);
        let mut input = input.map_err(|fault| StepError::permanent(fault.message))?;
        coerce(&step.info().input, &mut input);
        Ok(Some((Arc::clone(step), input)))
    }
}

/// Runs an attempt and tells the driver how it ended.
pub(crate) async fn run(job: Job, started: u64) {
    let id = job.id();
    let driver = job.backend.driver.clone();
    let ending = match attempt(&job).await {
        Ok(outputs) => Ending::Outcome(Outcome::Succeeded { outputs }),
        Err(error) => ending_of(error, &job),
    };
    // A driver that has ended finds the outcome in the book at the next resume.
    let children = job.backend.children.load(Ordering::Relaxed);
    let _ = driver.send(Message::Ended { id, ending, started, children });
}

async fn attempt(job: &Job) -> StepResult<Option<Box<Value>>> {
    if job.id().attempt > 1 {
        end_the_last(job).await?;
    }
    if let Some(test) = &job.prepared.unless
        && already_done(job, test).await?
    {
        return Ok(None);
    }
    let Some((step, input)) = job.step_type()? else { return Ok(None) };
    let cx = job.context();
    let run = step.run(&cx, input);
    let outputs = match &job.prepared.ready {
        Some(ready) if job.background => serve(job, ready, run).await?,
        Some(_) | None if step.info().adoptable => run.await?,
        Some(_) | None => in_time(job, run).await?,
    };
    if outputs.is_null() || outputs.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(None);
    }
    Ok(Some(Box::new(mask_value(job, outputs))))
}

/// What an attempt that has failed left running must not work beside the next one.
async fn end_the_last(job: &Job) -> StepResult<()> {
    let world = Arc::clone(&job.backend.world);
    let key = ChildKey { node: job.id().node.0, attempt: job.id().attempt - 1, ordinal: 0 };
    match tokio::task::spawn_blocking(move || fence(&world.run, key)).await {
        Ok(Fenced::Clear) => Ok(()),
        Ok(Fenced::Unsure { why }) => {
            Err(StepError::uncertain(format!("the attempt before this one may still run: {why}")))
        }
        Err(error) => {
            Err(StepError::uncertain(format!("cannot look for what the attempt before this one left: {error}")))
        }
    }
}

/// A step that works in this process has its time kept here; children have theirs kept by the host.
async fn in_time(job: &Job, run: flowrun_sdk::cx::BoxFuture<'_, StepResult<Value>>) -> StepResult<Value> {
    let Some(limit) = job.backend.timeout_ms else { return run.await };
    tokio::pin!(run);
    tokio::select! {
        result = &mut run => result,
        () = tokio::time::sleep(Duration::from_millis(limit)) => {
            job.backend.cancel.cancel();
            // It is told to stop and given its grace; what it says then no longer counts.
            let _ = tokio::time::timeout(Duration::from_millis(job.backend.grace_ms), run).await;
            let mut error = StepError::transient(format!("ran out of its time ({} s)", limit / 1000));
            error.timed_out = true;
            Err(error)
        }
    }
}

/// A service: ready as soon as its probe holds, and never done by itself.
async fn serve(job: &Job, ready: &Ready, run: flowrun_sdk::cx::BoxFuture<'_, StepResult<Value>>) -> StepResult<Value> {
    tokio::pin!(run);
    let until = tokio::time::sleep(Duration::from_millis(ready.within_ms));
    tokio::pin!(until);
    let mut last = String::from("it was not measured");
    if let Some(probe) = &ready.probe {
        let world = &job.backend.world;
        let probe = probe::ground(probe.clone(), &job.prepared.dir, job.backend.env.clone(), &world.secrets);
        let probe = probe.map_err(StepError::permanent)?;
        loop {
            tokio::select! {
                biased;
                result = &mut run => return result,
                () = &mut until => {
                    job.backend.cancel.cancel();
                    // It is told to stop; what it says then no longer counts.
                    let _ = run.await;
                    return Err(StepError::transient(format!("was not ready within {} s: {last}", ready.within_ms / 1000)));
                }
                reading = gates::measure(&probe) => {
                    if reading.holds {
                        break;
                    }
                    last = job.backend.mask(&reading.text);
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    let _ = job.backend.driver.send(Message::Ready(job.id()));
    run.await
}

async fn already_done(job: &Job, test: &str) -> StepResult<bool> {
    let test = seal::unseal_text(test, &job.backend.world.secrets);
    let test = test.map_err(|fault| StepError::permanent(fault.message))?;
    let command = Command::new(["bash", "-euo", "pipefail", "-c", test.as_str()]);
    match job.backend.child(command).await? {
        Exit::Code(0) => {
            job.backend.log("`unless` says that it is done already");
            Ok(true)
        }
        Exit::Code(_) => Ok(false),
        Exit::Signal(signal) => Err(StepError::transient(format!("the test of `unless` was ended by signal {signal}"))),
        Exit::TimedOut => Err(StepError::transient("the test of `unless` ran out of the step's time")),
        Exit::Unknown => Err(StepError::uncertain("nobody saw how the test of `unless` ended")),
    }
}

/// Outputs are stored, so a secret in one is masked, and a person is told.
fn mask_value(job: &Job, value: Value) -> Value {
    if job.backend.world.masker.is_empty() {
        return value;
    }
    let text = value.to_string();
    let masked = job.backend.mask(&text);
    if masked == text {
        return value;
    }
    job.backend.log("flowrun: an output of this step holds a secret; it is stored masked");
    serde_json::from_str(&masked).unwrap_or(Value::Null)
}

fn ending_of(error: StepError, job: &Job) -> Ending {
    let class = match error.kind {
        ErrorKind::Uncertain => return Ending::Lost,
        ErrorKind::Cancelled => return Ending::Outcome(Outcome::Cancelled),
        ErrorKind::Transient => FailureClass::Transient,
        ErrorKind::Permanent => FailureClass::Permanent,
    };
    Ending::Outcome(Outcome::Failed(Box::new(Failure {
        class,
        exit: error.exit,
        timed_out: error.timed_out,
        message: job.backend.mask(&error.message),
        hint: error.hint.map(|hint| job.backend.mask(&hint)),
    })))
}

/// Makes sure that a lost attempt can no longer act, then asks its type what it did.
pub(crate) async fn reconcile(job: Job) {
    let id = job.id();
    let found = found(&job).await;
    let _ = job.backend.driver.send(Message::Reconciled { id, found });
}

async fn found(job: &Job) -> Found {
    let world = Arc::clone(&job.backend.world);
    let key = ChildKey { node: job.id().node.0, attempt: job.id().attempt, ordinal: 0 };
    let fenced = tokio::task::spawn_blocking(move || fence(&world.run, key)).await;
    match fenced {
        Ok(Fenced::Clear) => {}
        Ok(Fenced::Unsure { why }) => return Found::Unfenced { look_at: why },
        Err(error) => return Found::Unfenced { look_at: error.to_string() },
    }
    let look_at = |error: StepError| Found::Unknown { look_at: job.backend.mask(&error.to_string()) };
    let (step, input) = match job.step_type() {
        Ok(Some(step)) => step,
        Ok(None) => return Found::NotDone,
        Err(error) => return look_at(error),
    };
    job.backend.children.store(u16::MAX / 2, Ordering::Relaxed);
    match step.reconcile(&job.context(), input).await {
        Ok(flowrun_sdk::Found::Done(outputs)) => Found::Done { outputs: Some(Box::new(mask_value(job, outputs))) },
        Ok(flowrun_sdk::Found::NotDone) => Found::NotDone,
        Ok(flowrun_sdk::Found::Unknown { look_at }) => Found::Unknown { look_at: job.backend.mask(&look_at) },
        Err(error) => look_at(error),
    }
}

/// Makes a folder that only this user can read.
pub(crate) fn make_private_dir(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The last lines of a failed attempt's log, for the person.
pub(crate) fn last_lines(log: &std::path::Path, lines: usize) -> Option<String> {
    let text = tail(log, 4096);
    let all: Vec<_> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    let end = all.get(from..).unwrap_or_default().join("\n");
    (!end.trim().is_empty()).then_some(end)
}
