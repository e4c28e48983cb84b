//! The rows that readers see, made from the core's state right after each event.
//! Unaware of SQL.

use super::facts::Facts;
use crate::store::{NodeKind, NodeRow};
use flowrun_core::event::UnitState;
use flowrun_core::{Event, NodeId, Outcome, Run};
use std::collections::BTreeMap;

/// The row of a node after an event.
pub(crate) fn row(run: &Run, facts: &Facts, node: NodeId, event: &Event, now: u64) -> Option<NodeRow> {
    let view = run.view(node)?;
    let ended = matches!(
        view.state,
        UnitState::Succeeded | UnitState::Failed | UnitState::Skipped | UnitState::Cancelled
    );
    let outputs = match event {
        Event::Ended { outcome: Outcome::Succeeded { outputs }, .. } | Event::Settled { outputs, .. } => {
            outputs.as_ref().map(|outputs| (**outputs).clone())
        }
        _ => None,
    };
    let totals = match event {
        Event::FannedOut { keys, .. } => Some(BTreeMap::from([("total".to_owned(), keys.len() as u32)])),
        _ => None,
    };
    Some(NodeRow {
        node: node.0,
        parent: view.parent.0,
        address: run.address(node),
        kind: match (view.item, view.parent) {
            (Some(_), _) => NodeKind::Item,
            (None, NodeId::RUN) => NodeKind::Step,
            (None, _) => NodeKind::Inner,
        },
        state: view.state,
        attempts: view.attempts,
        started: started(facts, node, event),
        ended: ended.then_some(now),
        error: error(facts, node, event),
        outputs,
        totals,
    })
}

fn started(facts: &Facts, node: NodeId, event: &Event) -> Option<u64> {
    match event {
        Event::Ended { started, .. } => facts.started.get(&node).copied().or(*started),
        _ => facts.started.get(&node).copied(),
    }
}

fn error(facts: &Facts, node: NodeId, event: &Event) -> Option<String> {
    match event {
        Event::Settled { reason: Some(reason), .. } => Some(reason.to_string()),
        _ => facts.failures.get(&node).map(|failure| failure.message.clone()),
    }
}
