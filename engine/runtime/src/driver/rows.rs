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
    let ended =
        matches!(view.state, UnitState::Succeeded | UnitState::Failed | UnitState::Skipped | UnitState::Cancelled);
    let outputs = match event {
        Event::Ended { outcome: Outcome::Succeeded { outputs }, .. } | Event::Settled { outputs, .. } => {
            outputs.as_ref().map(|outputs| (**outputs).clone())
        }
        _ if ended => facts.outputs.get(&node).cloned(),
        _ => None,
    };
    let fan = run.items(node).filter(|items| items.fan);
    let totals = fan.map(|items| BTreeMap::from([("total".to_owned(), items.total)]));
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

/// How the nodes stood before an event that changes more than its own.
pub(crate) struct Before(Vec<UnitState>);

impl Before {
    /// Remembers where it is needed: a resume and a verdict give others than their own node a new chance.
    pub(crate) fn of(run: &Run, event: &Event) -> Option<Self> {
        let states = || nodes(run).map(|node| run.seen(node)).collect();
        matches!(event, Event::Resumed { .. } | Event::Marked { .. }).then(|| Self(states()))
    }

    /// The rows of the nodes that stand otherwise after it.
    pub(crate) fn rows(&self, run: &Run, facts: &Facts, event: &Event, now: u64) -> Vec<NodeRow> {
        let changed = |(node, before): (NodeId, &UnitState)| (run.seen(node) != *before).then_some(node);
        nodes(run).zip(&self.0).filter_map(changed).filter_map(|node| row(run, facts, node, event, now)).collect()
    }
}

/// All nodes but the run itself.
pub(crate) fn nodes(run: &Run) -> impl Iterator<Item = NodeId> + use<> {
    (1..u32::try_from(run.len()).unwrap_or(u32::MAX)).map(NodeId)
}
