//! An accepted change of the plan: what the new graph keeps of the old one, as events in the new graph's numbers.
//! Unaware of what changed; the caller says what is kept. A resume follows, which gives what is not done a new chance.

use crate::event::{AttemptId, Event, Failure, FailureClass, Final, NodeId, Outcome};
use crate::plan::{Body, Plan};
use crate::run::Run;
use crate::state::{Flight, Kind, Node, State};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the caller knows of the old run, by its nodes.
pub struct Kept<'a> {
    /// Whether the step or item at an address is as it was.
    pub keep: &'a dyn Fn(&str) -> bool,
    /// What a finished node handed out.
    pub outputs: &'a dyn Fn(NodeId) -> Option<Value>,
    /// The elements of a fan-out.
    pub items: &'a dyn Fn(NodeId) -> Vec<Value>,
    /// What a node was resolved to.
    pub values: &'a dyn Fn(NodeId) -> Option<Value>,
}

/// The events for [`Event::Replanned`]: finished nodes with their outputs, fan-outs with their keys and order, open
/// blocks, attempts in flight, and the numbers of all attempts, so that none is used twice. What is not done is left
/// failed or pending; the `Resumed` that has to follow gives it a new chance.
#[must_use]
pub fn carry_over(old: &Run, plan: Arc<Plan>, kept: &Kept<'_>) -> Vec<Event> {
    let mut carrier = Carrier { old, new: Run::new(plan), kept, events: Vec::new() };
    if !old.is_empty() {
        carrier.happen(Event::Started);
        carrier.block(NodeId::RUN, NodeId::RUN, true);
    }
    carrier.events
}

/// Attempts in flight in the old run that have no place in the new one: somebody has to see to them.
#[must_use]
pub fn orphans(old: &Run, new: &Run) -> Vec<AttemptId> {
    let places: BTreeSet<String> = new.in_flight().map(|id| new.address(id.node)).collect();
    old.in_flight().filter(|id| !places.contains(&old.address(id.node))).collect()
}

struct Carrier<'a> {
    old: &'a Run,
    new: Run,
    kept: &'a Kept<'a>,
    events: Vec<Event>,
}

impl Carrier<'_> {
    fn happen(&mut self, event: Event) {
        self.new.evolve(&event);
        self.events.push(event);
    }

    /// Carries one step or item over.
    fn carry(&mut self, old: NodeId, new: NodeId, done_counts: bool) {
        let node = self.old.node(old).clone();
        let kept = done_counts && (self.kept.keep)(&self.old.address(old));
        match node.opened.map(|id| &self.old.container(id).kind) {
            Some(Kind::Fan { keys, order, .. }) => {
                let (keys, order) = (keys.clone(), order.clone());
                self.fan(old, new, kept, keys, order);
            }
            Some(Kind::Block { .. }) => self.group(old, new, kept),
            None if self.new.is_leaf(new) => self.leaf(old, new, &node, kept),
            None => self.unopened(new, &node, kept),
        }
    }

    fn unopened(&mut self, new: NodeId, node: &Node, kept: bool) {
        if kept && matches!(node.state, State::Done(Final::Succeeded | Final::Skipped)) {
            self.settle(new, node.state, None);
        }
    }

    fn settle(&mut self, new: NodeId, state: State, outputs: Option<Value>) {
        let State::Done(state) = state else { return };
        self.happen(Event::Settled { node: new, state, reason: None, outputs: outputs.map(Box::new) });
    }

    fn resolve(&mut self, old: NodeId, new: NodeId) {
        if self.old.node(old).flags.resolved && self.new.needs_resolving(new) {
            let values = (self.kept.values)(old).map(Box::new);
            self.happen(Event::Resolved { node: new, values });
        }
    }

    fn leaf(&mut self, old: NodeId, new: NodeId, node: &Node, kept: bool) {
        let attempt = node.attempts - u32::from(node.state == State::Queued).min(node.attempts);
        if attempt == 0 {
            self.unopened(new, node, kept);
            return;
        }
        let id = AttemptId { node: new, attempt };
        match node.state {
            State::Flying(flight) => self.flight(old, id, flight),
            State::Asked => {
                self.flight(old, id, Flight::Lost);
                let look_at = "what was said before the plan changed".into();
                self.happen(Event::Asked { id, look_at });
            }
            State::Done(Final::Succeeded) if kept => {
                let outputs = (self.kept.outputs)(old).map(Box::new);
                self.ended(id, Outcome::Succeeded { outputs });
            }
            State::Done(Final::Skipped) if kept => {
                self.used_up(id);
                self.settle(new, State::Done(Final::Skipped), None);
            }
            State::Pending
            | State::Ready
            | State::Backoff(_)
            | State::Queued
            | State::Judged
            | State::Open
            | State::Done(_) => {
                self.used_up(id);
                self.settle(new, State::Done(Final::Failed), None);
            }
        }
    }

    fn ended(&mut self, id: AttemptId, outcome: Outcome) {
        self.happen(Event::Ordered { id });
        self.happen(Event::Ended { id, outcome, started: None });
    }

    /// The number of an attempt is not used again.
    fn used_up(&mut self, id: AttemptId) {
        let failure = Failure {
            class: FailureClass::Transient,
            exit: None,
            timed_out: false,
            message: "it was not done when the plan changed".into(),
            hint: None,
        };
        self.ended(id, Outcome::Failed(Box::new(failure)));
    }

    fn flight(&mut self, old: NodeId, id: AttemptId, flight: Flight) {
        self.resolve(old, id.node);
        self.happen(Event::Ordered { id });
        self.happen(Event::Begun { id });
        match flight {
            Flight::Running => {}
            Flight::Serving => self.happen(Event::Ready { id }),
            Flight::Lost => self.happen(Event::Lost { id }),
        }
    }

    fn group(&mut self, old: NodeId, new: NodeId, kept: bool) {
        let is_block = matches!(self.new.step_of(new).map(|step| step.body), Some(Body::Block(_)));
        if !is_block || !self.new.is_unit(new) {
            return;
        }
        self.resolve(old, new);
        self.happen(Event::Opened { node: new });
        self.block(old, new, kept);
        self.end_of(old, new, kept);
    }

    /// A list with anything done or in flight is kept even where the step was changed: nothing is done twice.
    fn fan(&mut self, old: NodeId, new: NodeId, kept: bool, keys: Vec<Box<str>>, order: Vec<u32>) {
        let is_fan = self.new.step_of(new).is_some_and(|step| step.fan_out.is_some());
        let started = |id: &NodeId| self.old.node(*id).attempts > 0 || self.old.node(*id).opened.is_some();
        if !is_fan || !(kept || self.old.children(old).iter().any(started)) {
            return;
        }
        self.happen(Event::FannedOut { node: new, keys, order, items: (self.kept.items)(old) });
        let pairs = self.old.children(old).into_iter().zip(self.new.children(new));
        for (old, new) in pairs.collect::<Vec<_>>() {
            self.carry(old, new, kept);
        }
        self.end_of(old, new, kept);
    }

    /// Steps by their names; `finally` is done only where all before it is.
    fn block(&mut self, old: NodeId, new: NodeId, kept: bool) {
        let pairs = self.pairs(old, new);
        let main = pairs.iter().filter(|(_, _, closing)| !closing);
        for (old, new, _) in main.copied().collect::<Vec<_>>() {
            self.carry(old, new, true);
        }
        let closes = kept && self.closes(old, new);
        if let (true, Some(Kind::Block { closing: Some(state), .. })) = (closes, self.kind(old)) {
            self.happen(Event::Closing { node: new, state });
        }
        for (old, new, _) in pairs.into_iter().filter(|(_, _, closing)| *closing) {
            self.carry(old, new, closes);
        }
    }

    fn kind(&self, old: NodeId) -> Option<Kind> {
        let id = self.old.node(old).opened?;
        Some(self.old.container(id).kind.clone())
    }

    /// The old block had come to its `finally`, and nothing before it is left to do in the new one.
    fn closes(&self, old: NodeId, new: NodeId) -> bool {
        let children = self.old.children(old);
        let flies = |node: &NodeId| self.in_finally(self.old, *node) && self.old.flies(*node);
        children.iter().any(flies) || self.new.node(new).opened.is_some_and(|id| self.new.main_done(id))
    }

    fn pairs(&self, old: NodeId, new: NodeId) -> Vec<(NodeId, NodeId, bool)> {
        let name = |run: &Run, id: NodeId| run.step_of(id).map(|step| step.name.clone());
        let new = self.new.children(new).into_iter();
        new.filter_map(|new| {
            let closing = self.in_finally(&self.new, new);
            let old = self.old.children(old).into_iter().find(|old| {
                name(self.old, *old) == name(&self.new, new) && self.in_finally(self.old, *old) == closing
            })?;
            Some((old, new, closing))
        })
        .collect()
    }

    fn in_finally(&self, run: &Run, id: NodeId) -> bool {
        let container = run.container(run.node(id).owner);
        match &container.kind {
            Kind::Block { block, .. } => run.position(id) >= run.plan.blocks[block.index()].steps.len(),
            Kind::Fan { .. } => false,
        }
    }

    /// A finished group or fan-out is finished in the new graph too, where all in it is.
    fn end_of(&mut self, old: NodeId, new: NodeId, kept: bool) {
        let state = self.old.node(old).state;
        let Some(container) = self.new.node(new).opened else {
            return;
        };
        let tally = &self.new.container(container).tally;
        let over = tally.live == 0 && tally.failed == 0 && self.new.last_phase(self.new.container(container));
        if kept && over && matches!(state, State::Done(Final::Succeeded | Final::Skipped)) {
            let outputs = (self.kept.outputs)(old);
            self.settle(new, state, outputs);
        }
    }
}
