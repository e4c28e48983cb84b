//! Containers begin and end: blocks open and close, lists fan out, items have their turn.
//! Unaware of decisions; only events come here.

use crate::event::{Final, NodeId, RunState};
use crate::plan::{BlockId, Body, StepId};
use crate::run::Run;
use crate::state::{ContainerId, Flags, Kind, Node, State};
use std::sync::Arc;

impl Run {
    pub(crate) fn start(&mut self) {
        if self.containers.is_empty() {
            self.open_block(NodeId::RUN);
        }
    }

    pub(crate) fn open_block(&mut self, owner: NodeId) {
        if let Some(container) = self.node(owner).opened {
            self.open_again(owner, container);
            return;
        }
        let block = match self.step_of(owner).map(|step| step.body) {
            None => BlockId(0),
            Some(Body::Block(block)) => block,
            Some(Body::Leaf) => return,
        };
        let plan = Arc::clone(&self.plan);
        let Some(body) = plan.blocks.get(block.index()) else {
            return;
        };
        let (rank, closing) = (self.node(owner).rank, self.node(owner).flags.closing);
        let main = body.steps.len();
        let nodes = body.steps.iter().chain(&body.finally).enumerate().map(|(position, step)| Node {
            missing: plan.steps[step.index()].needs.len() as u32,
            flags: Flags { closing: closing || position >= main, ..Flags::default() },
            ..blank(*step, rank)
        });
        let kind = Kind::Block { block, closing: None };
        let container = self.open(owner, kind, nodes);
        self.set(owner, State::Open);
        self.wake(container);
    }

    /// What a resume gave a new chance has its turn.
    fn open_again(&mut self, owner: NodeId, container: ContainerId) {
        if self.node(owner).state == State::Pending {
            self.set(owner, State::Open);
            self.wake(container);
            self.offer(container);
        }
    }

    /// Looks at every node of a container.
    fn wake(&mut self, id: ContainerId) {
        let (first, count) = (self.container(id).first.0, self.container(id).count);
        for node in (first..first + count).map(NodeId) {
            self.look_at(node);
        }
        self.look_at_container(id);
    }

    /// Lets what has changed around a node have its effects on it.
    pub(crate) fn look_at(&mut self, id: NodeId) {
        self.change(id, |_| ());
        if self.want(id).is_some() {
            self.changed.insert(id);
        }
        self.activate(id);
    }

    pub(crate) fn fan_out(&mut self, owner: NodeId, keys: &[Box<str>], order: &[u32]) {
        let Some(step) = self.node(owner).step else {
            return;
        };
        if self.is_unit(owner) || self.node(owner).opened.is_some() {
            return;
        }
        let limits = self.plan.steps[step.index()].fan_out.unwrap_or_default();
        let mut ranks = vec![0; keys.len()];
        for (rank, item) in order.iter().enumerate() {
            if let Some(slot) = ranks.get_mut(*item as usize) {
                *slot = rank as u32;
            }
        }
        let closing = self.node(owner).flags.closing;
        let nodes = ranks.iter().enumerate().map(|(item, rank)| Node {
            item: Some(item as u32),
            flags: Flags { closing, ..Flags::default() },
            ..blank(step, *rank)
        });
        let kind = Kind::Fan {
            max_parallel: limits.max_parallel,
            max_failures: limits.max_failures,
            order: order.to_vec(),
            cursor: 0,
            turns: 0,
            keys: keys.to_vec(),
        };
        self.nodes[owner.index()].flags.resolved = true;
        let container = self.open(owner, kind, nodes);
        self.set(owner, State::Open);
        self.wake(container);
        self.offer(container);
    }

    /// Steps that a cancel kept from starting will not start any more, so that `finally` does not wait for them.
    fn leave_out(&mut self, nodes: std::ops::Range<u32>) {
        for node in nodes.map(NodeId) {
            if self.node(node).waits() || self.node(node).state == State::Asked {
                self.change(node, |n| {
                    n.unorder();
                    n.state = State::Done(Final::Cancelled);
                });
            }
        }
    }

    pub(crate) fn close(&mut self, owner: NodeId, state: RunState) {
        let Some(id) = self.node(owner).opened else {
            return;
        };
        let container = &mut self.containers[id.index()];
        let Kind::Block { block, closing } = &mut container.kind else {
            return;
        };
        if closing.is_some() {
            return;
        }
        *closing = Some(state);
        let main = self.plan.blocks[block.index()].steps.len() as u32;
        let (start, first, count) = (container.first.0, container.first.0 + main, container.count - main);
        if state == RunState::Cancelled {
            self.leave_out(start..first);
        }
        for node in (first..first + count).map(NodeId) {
            let share = self.node(node).share(self.step_of(node).is_some_and(|step| step.allow_failure));
            self.containers[id.index()].tally.add(share);
        }
        for node in (first..first + count).map(NodeId) {
            self.look_at(node);
        }
        self.look_at_container(id);
    }
}

fn blank(step: StepId, rank: u32) -> Node {
    Node {
        step: Some(step),
        owner: ContainerId(0),
        opened: None,
        item: None,
        rank,
        attempts: 0,
        tries: 0,
        missing: 0,
        flags: Flags::default(),
        state: State::Pending,
    }
}
