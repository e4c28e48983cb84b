//! An accepted change of the plan: the old run's last words, and what the new graph keeps of it, in one transaction.
//! Unaware of which steps changed; whoever compares the plans says what is to run again.

use super::DriverError;
use super::history::Past;
use super::rows;
use super::start::Prologue;
use crate::host::{ChildKey, Fate, Fates, Fenced, Host, Setup, fence};
use crate::paths::RunDir;
use crate::plan::model::CheckedPlan;
use crate::store::{Entry, Journal, NodeRow, PinnedFile, Reader, StoreError};
use flowrun_core::event::{Failure, FailureClass, Outcome};
use flowrun_core::{AttemptId, Event, NodeId, Plan, Run, UnitState, replan};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A plan that replaces the one in force.
#[derive(Debug)]
pub struct Change {
    /// The plan.
    pub plan: CheckedPlan,
    /// The texts of its files.
    pub pins: Vec<PinnedFile>,
    /// Steps and items that are to run again although they are done, with all inside them.
    pub again: BTreeSet<String>,
}

/// What one change needs.
pub(super) struct Step<'a> {
    pub(super) pins: Vec<PinnedFile>,
    pub(super) again: &'a BTreeSet<String>,
    /// The new plan.
    pub(super) core: &'a Arc<Plan>,
    pub(super) secrets: Vec<String>,
}

/// Goes over to the new plan; when this returns, the journal has it.
pub(super) async fn take(
    past: Past,
    step: Step<'_>,
    run: &RunDir,
    journal: &Journal,
    prologue: &Prologue,
) -> Result<Past, DriverError> {
    let Past { run: mut old, mut facts, seq } = past;
    let now = super::clock::Clock::start().now();
    let mut entries = Vec::new();
    for id in old.in_flight().collect::<Vec<_>>() {
        stop(run, id, prologue, &step.secrets).await?;
        let ended = Event::Ended { id, outcome: Outcome::Failed(Box::new(replaced())), started: None };
        old.evolve(&ended);
        facts.fold(now, &ended);
        entries.push(Entry::bare(ended));
    }
    forget_all(run, prologue, &step.secrets).await?;
    let kept = replan::carry_over(
        &old,
        Arc::clone(step.core),
        &replan::Kept {
            keep: &|address| !step.again.iter().any(|again| is_at_or_in(address, again)),
            outputs: &|node| facts.outputs.get(&node).cloned(),
            items: &|node| facts.items.get(&node).cloned().unwrap_or_default(),
            values: &|node| facts.values.get(&node).cloned(),
        },
    );
    let event = Event::Replanned { kept };
    old.replan(Arc::clone(step.core));
    old.evolve(&event);
    facts.fold(now, &event);
    let rows = all_rows(&old, &facts, &event, now, &times(run)?);
    entries.push(Entry { event, rows, inputs: None });
    let last = seq + entries.len() as u64;
    let (tell, told) = tokio::sync::oneshot::channel();
    let done = Box::new(move |written| {
        // Whoever waits for it cannot have gone: it is the next line.
        let _ = tell.send(written);
    });
    journal.put_pins(seq, now, entries, step.pins, done);
    told.await.unwrap_or(Err(StoreError::Closed { path: journal.path().to_path_buf() }))?;
    Ok(Past { run: old, facts, seq: last })
}

fn is_at_or_in(address: &str, above: &str) -> bool {
    address.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn replaced() -> Failure {
    Failure {
        class: FailureClass::Transient,
        exit: None,
        timed_out: false,
        message: "it was stopped because the plan changed".into(),
        hint: None,
    }
}

async fn connect(run: &RunDir, prologue: &Prologue, secrets: &[String]) -> Result<Host, DriverError> {
    let setup = Setup { secrets: secrets.to_vec(), ..Setup::default() };
    Ok(Host::connect(run, &prologue.exe, &setup).await?)
}

/// A service of the old plan is stopped, and what cannot be stopped stops the change.
async fn stop(run: &RunDir, id: AttemptId, prologue: &Prologue, secrets: &[String]) -> Result<(), DriverError> {
    let fates = look(run)?;
    let keys: Vec<ChildKey> = fates.records().map(|record| record.key).filter(|key| belongs(*key, id)).collect();
    for key in &keys {
        if matches!(fates.of(*key), Fate::Alive(_)) {
            let host = connect(run, prologue, secrets).await?;
            host.stop(*key);
            host.wait(*key).await;
        }
    }
    let (own, key) = (run.clone(), ChildKey { node: id.node.0, attempt: id.attempt, ordinal: 0 });
    match tokio::task::spawn_blocking(move || fence(&own, key)).await {
        Ok(Fenced::Clear) => Ok(()),
        Ok(Fenced::Unsure { why }) => Err(DriverError::Refused(vec![why])),
        Err(error) => Err(DriverError::Refused(vec![error.to_string()])),
    }
}

fn belongs(key: ChildKey, id: AttemptId) -> bool {
    key.node == id.node.0 && key.attempt == id.attempt
}

/// The nodes of the new graph have the numbers of the old one's. Nothing is in flight, so the journal has every end that
/// the book has, and a record that stayed would answer for another step's child.
async fn forget_all(run: &RunDir, prologue: &Prologue, secrets: &[String]) -> Result<(), DriverError> {
    let keys: Vec<ChildKey> = look(run)?.records().map(|record| record.key).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let host = connect(run, prologue, secrets).await?;
    keys.into_iter().for_each(|key| host.forget(key));
    host.flush().await;
    Ok(())
}

fn look(run: &RunDir) -> Result<Fates, DriverError> {
    Fates::look(run).map_err(|error| DriverError::Io { doing: "read the host's book".into(), error })
}

type Times = HashMap<String, (Option<u64>, Option<u64>)>;

/// When steps and items started and ended, which the new graph's events do not say.
fn times(run: &RunDir) -> Result<Times, StoreError> {
    let rows = Reader::open(run)?.nodes(0, u32::MAX)?;
    Ok(rows.into_iter().map(|row| (row.address, (row.started, row.ended))).collect())
}

fn all_rows(run: &Run, facts: &super::facts::Facts, event: &Event, now: u64, times: &Times) -> Vec<NodeRow> {
    let begun = |node: &NodeId| run.seen(*node) != UnitState::Pending;
    let row = |node: NodeId| {
        let mut row = rows::row(run, facts, node, event, now)?;
        let (started, ended) = times.get(&row.address).copied().unwrap_or_default();
        (row.started, row.ended) = (started, ended.filter(|_| row.ended.is_some()));
        Some(row)
    };
    rows::nodes(run).filter(begun).filter_map(row).collect()
}
