//! `evolve`: an event happens, and the run obeys.
//! Unaware of clocks and of reasons. Total: an event that does not fit changes nothing, since a journal must load for ever.

use crate::event::{AttemptId, Event, Final, NodeId, Outcome, RunState, Verdict};
use crate::plan::{BlockId, Body, Plan, StepId};
use crate::run::Run;
use crate::state::{ContainerId, Flags, Flight, Kind, Node, State};
use std::sync::Arc;

impl Run {
    /// Folds a journal.
    pub fn replay<'a>(plan: Arc<Plan>, journal: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut run = Self::new(plan);
        for event in journal {
            run.evolve(event);
        }
        run
    }

    /// Obeys one event.
    pub fn evolve(&mut self, event: &Event) {
        if self.fits(event) {
            self.obey(event);
        }
    }

    /// Nodes that an event names exist.
    fn fits(&self, event: &Event) -> bool {
        let node = match event {
            Event::Started
            | Event::Resumed { .. }
            | Event::CancelRequested
            | Event::Paused { .. }
            | Event::Unpaused
            | Event::Replanned { .. }
            | Event::Finished { .. } => return true,
            Event::FannedOut { node, .. }
            | Event::Resolved { node, .. }
            | Event::Opened { node }
            | Event::Closing { node, .. }
            | Event::RetryAt { node, .. }
            | Event::Settled { node, .. }
            | Event::Marked { node, .. } => *node,
            Event::Ordered { id }
            | Event::Ready { id }
            | Event::Lost { id }
            | Event::Ended { id, .. }
            | Event::Asked { id, .. } => id.node,
        };
        node.index() < self.nodes.len()
    }

    fn obey(&mut self, event: &Event) {
        match event {
            Event::Started => self.start(),
            Event::Resumed { .. } => self.resume(),
            Event::FannedOut {
                node, keys, order, ..
            } => self.fan_out(*node, keys, order),
            Event::Resolved { node, .. } => {
                self.change(*node, |n| n.flags.resolved = true);
                self.activate(*node);
            }
            Event::Opened { node } => self.open_block(*node),
            Event::Closing { node, state } => self.close(*node, *state),
            Event::Ordered { id } => self.order(*id),
            Event::Ready { id } => self.fly(*id, Flight::Serving),
            Event::Lost { id } => self.fly(*id, Flight::Lost),
            Event::Ended { id, outcome, .. } => self.end(*id, outcome),
            Event::RetryAt { node, at } => self.set(*node, State::Backoff(*at)),
            Event::Asked { id, .. } => self.set(id.node, State::Asked),
            Event::Settled { node, state, .. } => self.settle(*node, *state),
            Event::CancelRequested => self.cancel(),
            Event::Paused { reason } => self.paused = Some(reason.clone()),
            Event::Unpaused => {
                self.paused = None;
                self.promote();
            }
            Event::Marked { node, verdict, .. } => self.mark(*node, *verdict),
            Event::Replanned { kept } => {
                for event in kept {
                    self.evolve(event);
                }
            }
            Event::Finished { state } => {
                self.finished = Some(*state);
                self.set(NodeId::RUN, State::Done(final_of(*state)));
            }
        }
    }

    /// Forgets everything and goes on with another plan; the `Replanned` event that follows brings back what is kept.
    pub fn replan(&mut self, plan: Arc<Plan>) {
        let (paused, now) = (self.paused.take(), self.now);
        *self = Self::new(plan);
        self.paused = paused;
        self.now = now;
    }

    fn start(&mut self) {
        if self.containers.is_empty() {
            self.open_block(NodeId::RUN);
        }
    }

    fn open_block(&mut self, owner: NodeId) {
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
        let nodes = body
            .steps
            .iter()
            .chain(&body.finally)
            .enumerate()
            .map(|(position, step)| Node {
                missing: plan.steps[step.index()].needs.len() as u32,
                flags: Flags {
                    closing: closing || position >= main,
                    ..Flags::default()
                },
                ..blank(*step, rank)
            });
        let kind = Kind::Block {
            block,
            closing: None,
        };
        let container = self.open(owner, kind, nodes);
        self.set(owner, State::Open);
        self.wake(container);
    }

    /// Looks at every node of a new container.
    fn wake(&mut self, id: ContainerId) {
        let (first, count) = (self.container(id).first.0, self.container(id).count);
        for node in (first..first + count).map(NodeId) {
            self.change(node, |_| ());
            if self.want(node).is_some() {
                self.changed.insert(node);
            }
            self.activate(node);
        }
        self.look_at_container(id);
    }

    fn fan_out(&mut self, owner: NodeId, keys: &[Box<str>], order: &[u32]) {
        let Some(step) = self.node(owner).step else {
            return;
        };
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
            flags: Flags {
                closing,
                ..Flags::default()
            },
            ..blank(step, *rank)
        });
        let kind = Kind::Fan {
            max_parallel: limits.max_parallel,
            max_failures: limits.max_failures,
            order: order.to_vec(),
            offered: limits.max_parallel.unwrap_or(u32::MAX),
            keys: keys.to_vec(),
        };
        self.nodes[owner.index()].flags.resolved = true;
        let container = self.open(owner, kind, nodes);
        self.set(owner, State::Open);
        self.wake(container);
    }

    fn close(&mut self, owner: NodeId, state: RunState) {
        let Some(id) = self.node(owner).opened else {
            return;
        };
        let container = &mut self.containers[id.index()];
        let Kind::Block { block, closing } = &mut container.kind else {
            return;
        };
        *closing = Some(state);
        let main = self.plan.blocks[block.index()].steps.len() as u32;
        let (first, count) = (container.first.0 + main, container.count - main);
        for node in (first..first + count).map(NodeId) {
            let share = self
                .node(node)
                .share(self.step_of(node).is_some_and(|step| step.allow_failure));
            self.containers[id.index()].tally.add(share);
        }
        for node in (first..first + count).map(NodeId) {
            self.change(node, |_| ());
            if self.want(node).is_some() {
                self.changed.insert(node);
            }
            self.activate(node);
        }
        self.look_at_container(id);
    }

    fn order(&mut self, id: AttemptId) {
        let now = self.now;
        let plan = Arc::clone(&self.plan);
        for gate in self
            .step_of(id.node)
            .map(|step| step.gates.clone())
            .unwrap_or_default()
        {
            self.gates[gate.index()].admitted(&plan.gates[gate.index()], now, id);
        }
        self.nodes[id.node.index()].attempts = id.attempt;
        let lane = self.lane(id.node);
        let free = self.lanes.free(&plan, lane).is_none_or(|free| free > 0);
        self.set(
            id.node,
            if free {
                State::Flying(Flight::Running)
            } else {
                State::Queued
            },
        );
    }

    fn fly(&mut self, id: AttemptId, flight: Flight) {
        if self.is_current(id) {
            self.set(id.node, State::Flying(flight));
        }
    }

    fn end(&mut self, id: AttemptId, outcome: &Outcome) {
        if !self.is_current(id) {
            return;
        }
        match outcome {
            Outcome::Succeeded { .. } => self.settle(id.node, Final::Succeeded),
            Outcome::Cancelled => self.settle(id.node, Final::Cancelled),
            Outcome::Failed(_) => self.change(id.node, |node| {
                node.tries += 1;
                node.state = State::Judged;
            }),
        }
        for gate in self
            .step_of(id.node)
            .map(|step| step.gates.clone())
            .unwrap_or_default()
        {
            self.gates[gate.index()].ended(id);
        }
        self.promote();
    }

    /// The attempt is this node's last, and in flight.
    pub(crate) fn is_current(&self, id: AttemptId) -> bool {
        self.nodes.get(id.node.index()).is_some_and(|node| {
            node.attempts == id.attempt
                && matches!(node.state, State::Flying(_) | State::Asked | State::Queued)
        })
    }

    fn settle(&mut self, id: NodeId, state: Final) {
        self.set(id, State::Done(state));
        let owner = self.node(id).owner;
        if self.node(id).item.is_none() {
            return;
        }
        self.offer_next(owner);
        let container = self.container(owner);
        if state == Final::Failed
            && container
                .kind
                .too_many(container.tally.failed, container.count)
        {
            self.withdraw_held();
        }
    }

    /// An item of a limited group ended: the next one has its turn.
    fn offer_next(&mut self, fan: ContainerId) {
        let container = &mut self.containers[fan.index()];
        let first = container.first.0;
        let Kind::Fan {
            max_parallel: Some(_),
            order,
            offered,
            ..
        } = &mut container.kind
        else {
            return;
        };
        let next = order
            .get(*offered as usize)
            .map(|item| NodeId(first + item));
        *offered = offered.saturating_add(1);
        if let Some(next) = next {
            self.change(next, |_| ());
            if self.want(next).is_some() {
                self.changed.insert(next);
            }
            self.activate(next);
        }
    }

    fn cancel(&mut self) {
        self.cancels += 1;
        self.withdraw_held();
        let due: Vec<_> = self.due.iter().copied().collect();
        for node in due {
            self.change(node, |_| ());
        }
        self.changed.extend(self.flying.iter().copied());
        for id in 0..self.containers.len() as u32 {
            self.look_at_container(ContainerId(id));
        }
    }

    /// Takes out of the lanes what must not start any more. Rare, so it may look at everything.
    fn withdraw_held(&mut self) {
        for id in (0..self.nodes.len() as u32).map(NodeId) {
            if self.node(id).state == State::Ready && (self.stopping(id) || self.held(id)) {
                let (lane, rank) = (self.lane(id), self.node(id).rank);
                self.lanes.withdraw(lane, rank, id);
            }
        }
    }

    fn mark(&mut self, id: NodeId, verdict: Verdict) {
        match verdict {
            Verdict::Done => self.nodes[id.index()].state = State::Done(Final::Succeeded),
            Verdict::Skip => self.nodes[id.index()].state = State::Done(Final::Skipped),
            Verdict::Redo => {
                self.nodes[id.index()].state = State::Pending;
                self.nodes[id.index()].tries = 0;
            }
        }
        self.rebuild();
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

/// How a node ends whose block ended so.
pub(crate) fn final_of(state: RunState) -> Final {
    match state {
        RunState::Succeeded => Final::Succeeded,
        RunState::Failed | RunState::Running => Final::Failed,
        RunState::Cancelled => Final::Cancelled,
    }
}
