//! What the journal says beyond the core's decisions: outputs, elements, params of sub-plans, times and failures.
//! Unaware of templates. A fold of the same events as the core's, so a resume has it all again.

use flowrun_core::event::{Event, Failure, NodeId, Outcome};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// What the journal says beyond the core's decisions.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// What a step or an item hands out.
    pub(crate) outputs: HashMap<NodeId, Value>,
    /// The elements of a `for_each`.
    pub(crate) items: HashMap<NodeId, Vec<Value>>,
    /// What a sub-plan was called with: `{"params": …, "secrets": …}`, sealed.
    pub(crate) values: HashMap<NodeId, Value>,
    /// When the first attempt of an unfinished node started, or its block opened.
    pub(crate) started: HashMap<NodeId, u64>,
    /// Why the last attempt of an unfinished node failed.
    pub(crate) failures: HashMap<NodeId, Failure>,
    /// Fan-outs that have begun and not ended.
    pub(crate) fans: BTreeSet<NodeId>,
    /// The plan's epoch: how often an accepted change replaced it.
    pub(crate) epoch: u32,
}

impl Facts {
    /// Takes an event in, after the core has.
    pub(crate) fn fold(&mut self, at: u64, event: &Event) {
        match event {
            Event::FannedOut { node, items, .. } => {
                self.items.insert(*node, items.clone());
                self.fans.insert(*node);
                self.started.entry(*node).or_insert(at);
            }
            Event::Resolved { node, values: Some(values) } => {
                self.values.insert(*node, (**values).clone());
            }
            Event::Opened { node } => {
                self.started.entry(*node).or_insert(at);
            }
            Event::Ended { id, outcome, .. } => self.ended(id.node, outcome),
            Event::Settled { node, outputs, .. } => {
                self.fans.remove(node);
                if let Some(outputs) = outputs {
                    self.outputs.insert(*node, (**outputs).clone());
                }
            }
            Event::Replanned { kept } => {
                *self = Self { epoch: self.epoch + 1, ..Self::default() };
                for event in kept {
                    self.fold(at, event);
                }
            }
            Event::Resumed { .. } => self.failures.clear(),
            Event::Started
            | Event::Ordered { .. }
            | Event::Resolved { values: None, .. }
            | Event::Closing { .. }
            | Event::Begun { .. }
            | Event::Ready { .. }
            | Event::Lost { .. }
            | Event::RetryAt { .. }
            | Event::Asked { .. }
            | Event::CancelRequested
            | Event::Paused { .. }
            | Event::Unpaused
            | Event::Marked { .. }
            | Event::Finished { .. } => {}
        }
    }

    fn ended(&mut self, node: NodeId, outcome: &Outcome) {
        match outcome {
            Outcome::Succeeded { outputs } => {
                self.failures.remove(&node);
                if let Some(outputs) = outputs {
                    self.outputs.insert(node, (**outputs).clone());
                }
            }
            Outcome::Failed(failure) => {
                self.failures.insert(node, (**failure).clone());
            }
            Outcome::Cancelled => {}
        }
    }
}
