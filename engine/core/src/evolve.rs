//! `evolve`: an event happens, and the run obeys.
//! Unaware of clocks and of reasons. Total: an event that does not fit changes nothing, since a journal must load for ever.

use crate::bug::planted;
use crate::event::{AttemptId, Event, Final, NodeId, Outcome, RunState};
use crate::plan::Plan;
use crate::run::Run;
use crate::state::{Flight, State};
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
            // A failure may hold back who would have the slot, once all that follows from it is decided.
            let follows = matches!(event, Event::Ended { outcome: Outcome::Failed(_), .. });
            if !follows && self.due.is_empty() {
                self.promote();
            }
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
            | Event::Begun { id }
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
            Event::Resumed { at } => self.resume(*at),
            Event::FannedOut { node, keys, order, .. } => self.fan_out(*node, keys, order),
            Event::Resolved { node, .. } => {
                self.change(*node, |n| n.flags.resolved = true);
                self.activate(*node);
            }
            Event::Opened { node } => self.open_block(*node),
            Event::Closing { node, state } => self.close(*node, *state),
            Event::Ordered { id } => self.order(*id),
            Event::Begun { id } => self.begin(*id),
            Event::Ready { id } => self.serve(*id),
            Event::Lost { id } => self.lose(*id),
            Event::Ended { id, outcome, .. } => self.end(*id, outcome),
            Event::RetryAt { node, at } => self.pause_until(*node, *at),
            Event::Asked { id, .. } => self.ask(*id),
            Event::Settled { node, state, .. } => self.settle(*node, *state),
            Event::CancelRequested => self.cancel(),
            Event::Paused { reason } => self.paused = Some(reason.clone()),
            Event::Unpaused => self.paused = None,
            Event::Marked { node, verdict, .. } => self.mark(*node, *verdict),
            Event::Replanned { kept } => {
                self.replan(Arc::clone(&self.plan));
                kept.iter().for_each(|event| self.evolve(event));
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

    fn order(&mut self, id: AttemptId) {
        let startable = self.node(id.node).waits() && self.is_leaf(id.node);
        if !startable || id.attempt <= self.node(id.node).attempts {
            return;
        }
        let plan = Arc::clone(&self.plan);
        self.admit_through_gates(id);
        self.nodes[id.node.index()].attempts = id.attempt;
        let lane = self.lane(id.node);
        let free = self.lanes.free(&plan, lane).is_none_or(|free| free > 0);
        self.set(id.node, if free { State::Flying(Flight::Running) } else { State::Queued });
        self.lanes.rest_if_full(&plan, lane);
        self.mark_begun(id.node);
    }

    /// What is around a node has begun with it.
    fn mark_begun(&mut self, id: NodeId) {
        let mut id = id;
        while id != NodeId::RUN && !self.node(id).flags.begun {
            self.change(id, |node| node.flags.begun = true);
            id = self.parent(id);
        }
    }

    pub(crate) fn admit_through_gates(&mut self, id: AttemptId) {
        let plan = Arc::clone(&self.plan);
        let step = self.node(id.node).step;
        for gate in step.map_or(&[][..], |step| plan.steps[step.index()].gates.as_slice()) {
            self.gates[gate.index()].admitted(&plan.gates[gate.index()], self.now, id);
        }
    }

    fn begin(&mut self, id: AttemptId) {
        if self.is_current(id) && self.node(id.node).state == State::Queued && !planted!(BegunIgnored) {
            self.set(id.node, State::Flying(Flight::Running));
        }
    }

    fn serve(&mut self, id: AttemptId) {
        if self.is_flying(id) {
            self.change(id.node, |node| {
                node.flags.served = true;
                node.state = State::Flying(Flight::Serving);
            });
        }
    }

    fn lose(&mut self, id: AttemptId) {
        if self.is_flying(id) {
            self.set(id.node, State::Flying(Flight::Lost));
        }
    }

    fn ask(&mut self, id: AttemptId) {
        if self.is_flying(id) {
            self.set(id.node, State::Asked);
        }
    }

    fn pause_until(&mut self, id: NodeId, at: u64) {
        if self.node(id).state == State::Judged {
            self.set(id, State::Backoff(at));
        }
    }

    fn end(&mut self, id: AttemptId, outcome: &Outcome) {
        if !self.is_current(id) {
            return;
        }
        let lane = self.lane(id.node);
        self.lanes.starved(lane);
        match outcome {
            Outcome::Succeeded { .. } => self.settle(id.node, Final::Succeeded),
            Outcome::Cancelled => self.settle(id.node, Final::Cancelled),
            Outcome::Failed(_) => self.change(id.node, |node| {
                node.tries += 1;
                node.state = State::Judged;
            }),
        }
        for gate in self.step_of(id.node).map(|step| step.gates.clone()).unwrap_or_default() {
            self.gates[gate.index()].ended(id);
        }
    }

    fn is_flying(&self, id: AttemptId) -> bool {
        self.is_current(id) && matches!(self.node(id.node).state, State::Flying(_))
    }

    /// The attempt is this node's last, and in flight.
    pub(crate) fn is_current(&self, id: AttemptId) -> bool {
        self.nodes.get(id.node.index()).is_some_and(|node| {
            node.attempts == id.attempt && matches!(node.state, State::Flying(_) | State::Asked | State::Queued)
        })
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
