//! A resume: what failed has a new chance, and everything derived is derived afresh.
//! Unaware of decisions.

use crate::event::{Final, NodeId};
use crate::lanes::Lanes;
use crate::run::Run;
use crate::state::{ContainerId, Flags, Flight, Kind, Node, State, Tally};

impl Run {
    /// Gives failed nodes a new budget, opens again what they belong to, and lets `finally` run again where its steps
    /// are not all done.
    pub(crate) fn resume(&mut self) {
        if self.cancels > 0
            || self
                .finished
                .is_some_and(|state| state == crate::RunState::Succeeded)
        {
            return;
        }
        self.finished = None;
        for node in &mut self.nodes {
            node.tries = 0;
            if matches!(
                node.state,
                State::Done(Final::Failed | Final::Cancelled) | State::Judged
            ) {
                node.state = if node.opened.is_some() {
                    State::Open
                } else {
                    State::Pending
                };
            }
        }
        for id in (0..self.containers.len()).rev() {
            self.reopen(id);
        }
        self.rebuild();
    }

    /// An open block whose steps are not all done forgets its `finally`, and starts its services again.
    fn reopen(&mut self, id: usize) {
        let container = &self.containers[id];
        let Kind::Block { block, closing } = &container.kind else {
            return;
        };
        if self.node(container.owner).state != State::Open {
            return;
        }
        let first = container.first.index();
        let main = self.plan.blocks[block.index()].steps.len();
        let all = first..first + container.count as usize;
        let done =
            |node: &Node| matches!(node.state, State::Done(Final::Succeeded | Final::Skipped));
        let main_done = self.nodes[first..first + main].iter().all(done);
        let closing_flies = (first + main..all.end).any(|node| self.flies(node));
        if closing.is_some() && !main_done && !closing_flies {
            for index in first + main..all.end {
                self.abandon(index);
                self.nodes[index].state = State::Pending;
            }
            if let Kind::Block { closing, .. } = &mut self.containers[id].kind {
                *closing = None;
            }
        }
        for index in all {
            let node = &self.nodes[index];
            let service = node
                .step
                .is_some_and(|step| self.plan.steps[step.index()].background);
            if service && node.state == State::Done(Final::Succeeded) {
                self.nodes[index].state = State::Pending;
            }
        }
    }

    /// Something is in flight for it or inside it.
    fn flies(&self, index: usize) -> bool {
        let inside = self.nodes[index].opened.map(|id| self.container(id));
        matches!(self.nodes[index].state, State::Flying(_))
            || inside.is_some_and(|c| {
                (c.first.index()..c.first.index() + c.count as usize).any(|n| self.flies(n))
            })
    }

    /// Forgets what a node opened; the nodes inside stay in the table and never act again.
    fn abandon(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.state = State::Done(Final::Skipped);
        node.flags.resolved = false;
        if let Some(id) = node.opened.take() {
            let container = &self.containers[id.index()];
            for inner in container.first.index()..container.first.index() + container.count as usize
            {
                self.abandon(inner);
            }
        }
    }

    /// Derives everything derived afresh.
    pub(crate) fn rebuild(&mut self) {
        self.lanes = Lanes::new(&self.plan);
        self.backoff.clear();
        self.due.clear();
        self.flying.clear();
        self.changed.clear();
        for container in &mut self.containers {
            container.tally = Tally::default();
        }
        for index in 0..self.nodes.len() {
            self.clear_derived(index);
        }
        self.count_all();
        let all = (0..self.nodes.len() as u32).map(NodeId);
        for id in all.clone() {
            if matches!(self.node(id).state, State::Flying(_)) {
                let lane = self.lane(id);
                self.lanes.take(lane);
                self.flying.insert(id);
            }
        }
        for id in all {
            self.change_nothing(id);
        }
        for id in 0..self.containers.len() as u32 {
            self.look_at_container(ContainerId(id));
        }
    }

    fn clear_derived(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let needs = node
            .step
            .filter(|_| node.item.is_none())
            .map(|step| self.plan.steps[step.index()].needs.len());
        node.missing = needs.unwrap_or(0) as u32;
        node.flags = Flags {
            resolved: node.flags.resolved,
            closing: node.flags.closing,
            ..Flags::default()
        };
        match node.state {
            State::Queued => {
                node.attempts = node.attempts.saturating_sub(1);
                node.state = State::Pending;
            }
            State::Ready | State::Backoff(_) => node.state = State::Pending,
            State::Pending
            | State::Flying(Flight::Running | Flight::Serving | Flight::Lost)
            | State::Asked
            | State::Judged
            | State::Open
            | State::Done(_) => {}
        }
    }

    fn count_all(&mut self) {
        for id in 0..self.containers.len() {
            let container = &self.containers[id];
            let mut tally = Tally::default();
            for node in (container.first.0..container.first.0 + container.count).map(NodeId) {
                if self.counts(node, &container.kind) {
                    tally.add(self.node(node).share(self.allowed(node)));
                }
            }
            self.containers[id].tally = tally;
        }
    }

    /// Lets a node's state have its effects on what is derived.
    fn change_nothing(&mut self, id: NodeId) {
        if matches!(self.node(id).state, State::Flying(_)) {
            self.changed.insert(id);
            self.news.push_back(id);
            self.spread();
            return;
        }
        self.change(id, |_| ());
        if self.want(id).is_some() {
            self.changed.insert(id);
        }
        if self.node(id).owner.index() < self.containers.len() {
            self.activate(id);
        }
    }
}
