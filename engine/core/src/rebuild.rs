//! A resume, a person's verdict: what failed has a new chance, and everything derived is derived afresh.
//! Unaware of decisions.

use crate::bug::planted;
use crate::desired::Want;
use crate::event::{AttemptId, Final, NodeId, RunState, Verdict};
use crate::lanes::Lanes;
use crate::run::Run;
use crate::state::{ContainerId, Flags, Flight, Kind, State, Tally};

/// What a resume does for the failed nodes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chance {
    /// They run again.
    New,
    /// They stay failed; only what a torn journal left undecided is mended.
    None,
}

impl Run {
    /// Gives failed nodes a new budget, opens again what they belong to, and lets `finally` run again where its steps
    /// are not all done.
    pub(crate) fn resume(&mut self, at: u64) {
        self.now = at;
        match self.finished {
            Some(RunState::Succeeded | RunState::Cancelled) => return,
            Some(RunState::Failed | RunState::Running) => self.cancels = 0,
            None => {}
        }
        self.finished = None;
        self.afresh(|run| {
            for node in &mut run.nodes {
                if !planted!(BudgetKept) {
                    node.tries = 0;
                }
                if planted!(FlightForgotten) && matches!(node.state, State::Flying(_)) {
                    node.state = State::Pending;
                }
                if node.state == State::Flying(Flight::Serving) {
                    node.state = State::Flying(Flight::Running);
                }
            }
            let chance = if run.cancels > 0 { Chance::None } else { Chance::New };
            run.revive(NodeId::RUN, chance);
        });
        self.settle_gates_after_flights();
    }

    /// The admissions of an earlier process count from now on: its clock is not in the journal.
    fn settle_gates_after_flights(&mut self) {
        let flying: Vec<AttemptId> = self.in_flight().collect();
        for id in flying {
            self.admit_through_gates(id);
        }
    }

    /// A person's verdict. What the node belongs to goes on, unless the run has ended.
    pub(crate) fn mark(&mut self, id: NodeId, verdict: Verdict) {
        if matches!(self.node(id).state, State::Flying(_) | State::Open) {
            return;
        }
        self.afresh(|run| {
            let node = &mut run.nodes[id.index()];
            node.tries = 0;
            node.unorder();
            node.state = match verdict {
                Verdict::Done => State::Done(Final::Succeeded),
                Verdict::Skip => State::Done(Final::Skipped),
                // What waits for its needs, goes on waiting; what had ended is opened again at once.
                Verdict::Redo if node.opened.is_some() && node.state != State::Pending => State::Done(Final::Failed),
                Verdict::Redo => State::Pending,
            };
            if verdict == Verdict::Redo {
                run.revive(id, Chance::New);
            }
            if run.finished.is_none() {
                run.reopen_above(id);
            }
        });
    }

    /// From the outermost inwards, as what belongs to something that waits would wait too.
    fn reopen_above(&mut self, id: NodeId) {
        let mut around = Vec::new();
        let mut id = id;
        while id != NodeId::RUN {
            id = self.parent(id);
            around.push(id);
        }
        for id in around.into_iter().rev() {
            if self.node(id).state == State::Done(Final::Failed) {
                self.nodes[id.index()].state = self.opened_again(id);
            }
        }
    }

    /// Gives what failed in a node, or in what it opened, a new chance.
    fn revive(&mut self, id: NodeId, chance: Chance) {
        let node = &mut self.nodes[id.index()];
        let Some(container) = node.opened else {
            let again = match node.state {
                State::Done(Final::Failed | Final::Cancelled) => chance == Chance::New,
                State::Ready | State::Backoff(_) | State::Queued => true,
                State::Judged => !planted!(JudgedLeft),
                State::Pending | State::Flying(_) | State::Asked | State::Open | State::Done(Final::Skipped) => false,
                State::Done(Final::Succeeded) => planted!(DoneRunsAgain),
            };
            if again {
                node.unorder();
                node.state = State::Pending;
            }
            return;
        };
        match node.state {
            State::Pending => {}
            State::Open => self.nodes[id.index()].state = self.opened_again(id),
            State::Done(Final::Failed | Final::Cancelled) if chance == Chance::New => {
                self.nodes[id.index()].state = self.opened_again(id);
            }
            State::Ready
            | State::Backoff(_)
            | State::Queued
            | State::Flying(_)
            | State::Asked
            | State::Judged
            | State::Done(_) => return,
        }
        self.revive_inside(container, chance);
    }

    /// What belongs to something that waits, waits too; so does an item of a limited fan-out without a turn.
    fn opened_again(&self, id: NodeId) -> State {
        let node = self.node(id);
        let Some(container) = self.containers.get(node.owner.index()) else {
            return State::Open;
        };
        let limited = matches!(container.kind, Kind::Fan { max_parallel: Some(_), .. });
        let open = self.node(container.owner).state == State::Open;
        if open && (!limited || node.flags.turn) { State::Open } else { State::Pending }
    }

    fn revive_inside(&mut self, id: ContainerId, chance: Chance) {
        let (main, all) = self.parts(id);
        let chance = if chance == Chance::New && self.finishes_first(id) { Chance::None } else { chance };
        if chance == Chance::New {
            self.begin_again(id);
        }
        for index in main.start..all.end {
            self.revive(NodeId(index), chance);
        }
    }

    /// The nodes of a container's steps, and all its nodes with those of its `finally`.
    fn parts(&self, id: ContainerId) -> (std::ops::Range<u32>, std::ops::Range<u32>) {
        let container = self.container(id);
        let (first, end) = (container.first.0, container.first.0 + container.count);
        let main = match &container.kind {
            Kind::Block { block, .. } => self.plan.blocks[block.index()].steps.len() as u32,
            Kind::Fan { .. } => container.count,
        };
        (first..first + main, first..end)
    }

    /// Its steps are not all done, but its `finally` is in flight: that ends first, and the next resume does the rest.
    fn finishes_first(&self, id: ContainerId) -> bool {
        let (main, all) = self.parts(id);
        self.is_closing(id) && !self.main_done(id) && (main.end..all.end).any(|node| self.flies(NodeId(node)))
    }

    fn is_closing(&self, id: ContainerId) -> bool {
        matches!(self.container(id).kind, Kind::Block { closing: Some(_), .. })
    }

    pub(crate) fn main_done(&self, id: ContainerId) -> bool {
        self.parts(id).0.map(NodeId).all(|id| {
            // A service is stopped and started again all the time; only its failure counts.
            let service = self.step_of(id).is_some_and(|step| step.background);
            match self.node(id).state {
                State::Done(state) => matches!(state, Final::Succeeded | Final::Skipped),
                State::Pending
                | State::Ready
                | State::Backoff(_)
                | State::Queued
                | State::Flying(_)
                | State::Asked
                | State::Judged
                | State::Open => service,
            }
        })
    }

    /// A block whose steps are not all done forgets its `finally`, and starts its services again.
    fn begin_again(&mut self, id: ContainerId) {
        let (main, all) = self.parts(id);
        if self.is_closing(id) && !self.main_done(id) && !planted!(FinallyOnce) {
            for node in main.end..all.end {
                self.restart(NodeId(node));
            }
            if let Kind::Block { closing, .. } = &mut self.containers[id.index()].kind {
                *closing = None;
            }
        }
        for index in all {
            let node = NodeId(index);
            let service = self.step_of(node).is_some_and(|step| step.background);
            if service && self.node(node).state == State::Done(Final::Succeeded) {
                self.nodes[node.index()].state = State::Pending;
                self.nodes[node.index()].flags.served = false;
            }
        }
    }

    /// Something is in flight for it or inside it.
    pub(crate) fn flies(&self, id: NodeId) -> bool {
        let inside = self.node(id).opened.map(|inside| self.parts(inside).1);
        matches!(self.node(id).state, State::Flying(_))
            || inside.is_some_and(|mut nodes| nodes.any(|node| self.flies(NodeId(node))))
    }

    /// Lets a node and all inside it run again from the start, with its lists as they are.
    fn restart(&mut self, id: NodeId) {
        let is_fan = !self.is_unit(id);
        let node = &mut self.nodes[id.index()];
        node.unorder();
        node.state = State::Pending;
        node.flags.resolved &= is_fan && node.opened.is_some();
        node.flags.turn = false;
        node.flags.served = false;
        let Some(inside) = node.opened else { return };
        for node in self.parts(inside).1 {
            self.restart(NodeId(node));
        }
        if let Kind::Block { closing, .. } = &mut self.containers[inside.index()].kind {
            *closing = None;
        }
    }

    /// Changes states and derives everything derived afresh.
    fn afresh(&mut self, change: impl FnOnce(&mut Self)) {
        let wants: Vec<Option<Want>> = self.all().map(|id| self.want(id)).collect();
        change(self);
        self.derive();
        for (id, before) in self.all().zip(wants) {
            if self.want(id) != before {
                self.changed.insert(id);
            }
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// Derives everything derived afresh.
    pub(crate) fn derive(&mut self) {
        let lanes = std::mem::replace(&mut self.lanes, Lanes::new(&self.plan));
        self.backoff.clear();
        self.due.clear();
        self.flying.clear();
        self.asked.clear();
        for id in self.all() {
            self.clear_derived(id);
        }
        self.count_all();
        for id in self.all() {
            match self.node(id).state {
                State::Flying(_) => {
                    let lane = self.lane(id);
                    self.lanes.take(lane);
                    self.flying.insert(id);
                }
                State::Backoff(at) => {
                    self.backoff.insert((at, id));
                }
                State::Asked => {
                    self.asked.insert(id);
                }
                State::Pending | State::Ready | State::Queued | State::Judged | State::Open | State::Done(_) => {}
            }
        }
        for id in lanes.queued() {
            if self.node(id).state == State::Queued {
                let lane = self.lane(id);
                self.lanes.queue(lane, id);
            }
        }
        for id in self.all() {
            self.take_effect(id);
        }
        for id in 0..self.containers.len() as u32 {
            self.offer(ContainerId(id));
            self.look_at_container(ContainerId(id));
        }
        self.withdraw_idle(ContainerId(0));
        self.unqueue_early();
        self.lanes.keep_waits(&lanes);
    }

    fn clear_derived(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.index()];
        let needs = node.step.filter(|_| node.item.is_none()).map(|step| self.plan.steps[step.index()].needs.len());
        node.missing = needs.unwrap_or(0) as u32;
        let flags = node.flags;
        let ended = matches!(node.state, State::Done(_));
        node.flags = Flags {
            resolved: flags.resolved,
            closing: flags.closing,
            served: flags.served,
            begun: flags.begun,
            turn: flags.turn && !ended,
            ..Flags::default()
        };
        if node.state == State::Ready {
            node.state = State::Pending;
        }
    }

    fn count_all(&mut self) {
        // What is inside was opened later: the innermost come first.
        for id in (0..self.containers.len()).rev() {
            let container = &self.containers[id];
            let mut tally = Tally::default();
            let mut having_turn = 0;
            let mut started = 0;
            for node in (container.first.0..container.first.0 + container.count).map(NodeId) {
                if self.counts(node, &container.kind) {
                    tally.add(self.node(node).share(self.allowed(node)));
                }
                having_turn += u32::from(self.node(node).flags.turn);
                started += u32::from(self.has_begun(self.node(node)));
            }
            let container = &mut self.containers[id];
            container.tally = tally;
            container.started = started;
            if let Kind::Fan { cursor, turns, .. } = &mut container.kind {
                *cursor = 0;
                *turns = having_turn;
            }
        }
    }

    /// Lets a node's state have its effects on what is derived.
    fn take_effect(&mut self, id: NodeId) {
        if matches!(self.node(id).state, State::Flying(_) | State::Queued) {
            self.news.push_back(id);
            self.spread();
        } else {
            self.change(id, |_| ());
            self.activate(id);
        }
    }

    /// What was ordered ahead and has a need again that has not ended waits again.
    fn unqueue_early(&mut self) {
        for id in self.lanes.queued() {
            if self.node(id).missing > 0 {
                self.change(id, |node| {
                    node.unorder();
                    node.state = State::Pending;
                });
            }
        }
    }
}
