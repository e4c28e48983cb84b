//! The memory of a run: the nodes and all that is derived from them.
//! Unaware of decisions; `evolve` calls in here. One function, `set`, makes every transition and keeps the tallies, the
//! lanes, the queues and the list of changed wants in step, so that no caller can forget one.

use crate::bug::planted;
use crate::desired::Want;
use crate::event::{AttemptId, Final, NodeId, RunState, UnitState};
use crate::gate::GateState;
use crate::lanes::{LaneId, Lanes, Place};
use crate::plan::{Body, NeedKind, Plan, Step, StepId};
use crate::state::{Container, ContainerId, Flags, Flight, Kind, Node, State, Tally};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// A run: the fold of its journal, and what follows from it.
#[derive(Debug, Clone)]
pub struct Run {
    pub(crate) plan: Arc<Plan>,
    /// For each step, who needs it and how.
    pub(crate) dependents: Arc<Vec<Vec<(StepId, NeedKind)>>>,
    /// For each step, its position in its block.
    pub(crate) positions: Arc<Vec<u32>>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) containers: Vec<Container>,
    pub(crate) lanes: Lanes,
    pub(crate) gates: Vec<GateState>,
    /// Pauses between attempts, by their end.
    pub(crate) backoff: BTreeSet<(u64, NodeId)>,
    /// Nodes that a decision is due on.
    pub(crate) due: BTreeSet<NodeId>,
    /// Nodes with an attempt in flight.
    pub(crate) flying: BTreeSet<NodeId>,
    /// Nodes that wait for a person.
    pub(crate) asked: BTreeSet<NodeId>,
    /// Nodes whose want has changed since they were last taken.
    pub(crate) changed: BTreeSet<NodeId>,
    /// How often somebody asked to cancel.
    pub(crate) cancels: u32,
    /// Why nothing new starts, if so.
    pub(crate) paused: Option<Box<str>>,
    /// This process starts nothing new; not journaled.
    pub(crate) draining: bool,
    pub(crate) finished: Option<RunState>,
    /// The newest time that was told.
    pub(crate) now: u64,
    /// Nodes whose dependents are still to be told that they ended.
    pub(crate) news: VecDeque<NodeId>,
    pub(crate) telling: bool,
}

impl Run {
    /// A run whose first event is still to come.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        let mut dependents = vec![Vec::new(); plan.steps.len()];
        for (id, step) in plan.steps.iter().enumerate() {
            for need in &step.needs {
                dependents[need.step.index()].push((StepId(id as u32), need.kind));
            }
        }
        let mut positions = vec![0; plan.steps.len()];
        for block in &plan.blocks {
            for (position, step) in block.steps.iter().chain(&block.finally).enumerate() {
                positions[step.index()] = position as u32;
            }
        }
        let root = Node {
            step: None,
            owner: ContainerId(u32::MAX),
            opened: None,
            item: None,
            rank: 0,
            attempts: 0,
            tries: 0,
            missing: 0,
            flags: Flags::default(),
            state: State::Pending,
        };
        Self {
            lanes: Lanes::new(&plan),
            gates: vec![GateState::default(); plan.gates.len()],
            dependents: Arc::new(dependents),
            positions: Arc::new(positions),
            plan,
            nodes: vec![root],
            containers: Vec::new(),
            backoff: BTreeSet::new(),
            due: BTreeSet::new(),
            flying: BTreeSet::new(),
            asked: BTreeSet::new(),
            changed: BTreeSet::new(),
            cancels: 0,
            paused: None,
            draining: false,
            finished: None,
            now: 0,
            news: VecDeque::new(),
            telling: false,
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    pub(crate) fn container(&self, id: ContainerId) -> &Container {
        &self.containers[id.index()]
    }

    pub(crate) fn step_of(&self, id: NodeId) -> Option<&Step> {
        self.node(id).step.map(|step| &self.plan.steps[step.index()])
    }

    /// A node that attempts are made of: a step without `for_each`, or an item.
    pub(crate) fn is_unit(&self, id: NodeId) -> bool {
        let node = self.node(id);
        self.step_of(id).is_some_and(|step| node.item.is_some() || step.fan_out.is_none())
    }

    /// A unit whose attempts are a step type's; the other units open a block.
    pub(crate) fn is_leaf(&self, id: NodeId) -> bool {
        self.is_unit(id) && self.step_of(id).is_some_and(|step| step.body == Body::Leaf)
    }

    pub(crate) fn allowed(&self, id: NodeId) -> bool {
        self.step_of(id).is_some_and(|step| step.allow_failure && self.node(id).item.is_none())
            && !planted!(AllowedFails)
    }

    /// Adds nodes to a new container.
    pub(crate) fn open(&mut self, owner: NodeId, kind: Kind, nodes: impl Iterator<Item = Node>) -> ContainerId {
        let id = ContainerId(self.containers.len() as u32);
        let first = NodeId(self.nodes.len() as u32);
        self.nodes.extend(nodes.map(|node| Node { owner: id, ..node }));
        let count = self.nodes.len() as u32 - first.0;
        let mut tally = Tally::default();
        for node in first.0..first.0 + count {
            let node = NodeId(node);
            if self.counts(node, &kind) {
                tally.add(self.node(node).share(self.allowed(node)));
            }
        }
        self.containers.push(Container { owner, first, count, kind, tally, started: 0 });
        self.nodes[owner.index()].opened = Some(id);
        id
    }

    /// Steps of a `finally` count only once it has begun.
    pub(crate) fn counts(&self, id: NodeId, kind: &Kind) -> bool {
        match kind {
            Kind::Fan { .. } => true,
            Kind::Block { block, closing } => {
                closing.is_some() || self.position(id) < self.plan.blocks[block.index()].steps.len()
            }
        }
    }

    pub(crate) fn position(&self, id: NodeId) -> usize {
        self.node(id).step.map_or(0, |step| self.positions[step.index()] as usize)
    }

    /// The node of a sibling step.
    pub(crate) fn sibling(&self, container: ContainerId, step: StepId) -> NodeId {
        NodeId(self.container(container).first.0 + self.positions[step.index()])
    }

    /// Makes a transition and keeps everything derived in step with it.
    pub(crate) fn set(&mut self, id: NodeId, state: State) {
        self.change(id, |node| node.state = state);
    }

    /// Changes a node and keeps everything derived in step with it.
    pub(crate) fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let before = self.node(id).clone();
        let want = self.want(id);
        change(&mut self.nodes[id.index()]);
        let after = self.node(id).clone();
        self.count_started(&before, &after);
        // Only these states put a node into queues that more than the state decides on.
        let same = before.state == after.state && !matches!(after.state, State::Pending | State::Ready);
        if !same {
            self.leave(id, &before, &after);
            self.enter(id);
        }
        self.count(id, &before, &after);
        if self.want(id) != want && !planted!(WantUntold) {
            self.changed.insert(id);
        }
        let down = !matches!(after.state, State::Flying(Flight::Serving) | State::Done(_));
        if before.state == State::Flying(Flight::Serving) && after.flags.told && down && !planted!(ServiceGoneUnnoticed)
        {
            self.take_back(id);
        }
        self.news.push_back(id);
        self.spread();
        self.look_at_container(after.owner);
    }

    /// Works off the news. A queue and not a recursion: a chain of 10,000 steps must not need 10,000 stack frames.
    pub(crate) fn spread(&mut self) {
        if self.telling {
            return;
        }
        self.telling = true;
        while let Some(id) = self.news.pop_front() {
            self.tell(id);
        }
        self.telling = false;
    }

    /// A service that had been ready is gone: what depends on it and has not started waits for it again.
    fn take_back(&mut self, id: NodeId) {
        let node = self.node(id);
        let (owner, step) = (node.owner, node.step);
        self.nodes[id.index()].flags.told = false;
        let dependents = Arc::clone(&self.dependents);
        for (dependent, _) in step.and_then(|step| dependents.get(step.index())).into_iter().flatten() {
            let dependent = self.sibling(owner, *dependent);
            self.change(dependent, |node| {
                node.missing += 1;
                // A pause goes on; whoever ends it sees that a need is missing.
                if node.waits() && !matches!(node.state, State::Backoff(_)) {
                    node.unorder();
                    node.state = State::Pending;
                }
            });
        }
    }

    fn count(&mut self, id: NodeId, before: &Node, after: &Node) {
        let Some(container) = self.containers.get(after.owner.index()) else {
            return;
        };
        if !self.counts(id, &container.kind) {
            return;
        }
        let allowed = self.allowed(id);
        let tally = &mut self.containers[after.owner.index()].tally;
        tally.remove(before.share(allowed));
        tally.add(after.share(allowed));
    }

    /// Counts what has begun in the container of a node, and in those around it as far as that makes a difference.
    fn count_started(&mut self, before: &Node, after: &Node) {
        let mut change = (self.has_begun(before), self.has_begun(after));
        let mut owner = after.owner;
        while change.0 != change.1
            && let Some(container) = self.containers.get(owner.index())
        {
            let around = container.owner;
            let had_begun = self.has_begun(self.node(around));
            let started = &mut self.containers[owner.index()].started;
            *started = if change.1 { *started + 1 } else { started.saturating_sub(1) };
            change = (had_begun, self.has_begun(self.node(around)));
            owner = self.node(around).owner;
        }
    }

    /// Takes a node out of the queues that its state put it in.
    fn leave(&mut self, id: NodeId, before: &Node, after: &Node) {
        match before.state {
            State::Ready => {
                let lane = self.lane(id);
                let comes_back = after.state == State::Ready;
                self.lanes.withdraw(lane, place(id, before), comes_back);
            }
            State::Backoff(at) => {
                self.backoff.remove(&(at, id));
            }
            State::Queued => {
                let lane = self.lane(id);
                self.lanes.unqueue(lane, id);
            }
            State::Flying(_) => {
                let lane = self.lane(id);
                if !planted!(SlotKept) {
                    self.lanes.give_back(lane);
                }
                self.flying.remove(&id);
            }
            State::Asked => {
                self.asked.remove(&id);
            }
            State::Pending | State::Judged | State::Open | State::Done(_) => {}
        }
        self.due.remove(&id);
    }

    /// Puts a node into the queues of its state.
    fn enter(&mut self, id: NodeId) {
        let node = self.node(id).clone();
        match node.state {
            State::Ready if !self.idles(id) => {
                let lane = self.lane(id);
                self.lanes.offer(lane, place(id, &node));
            }
            State::Backoff(at) => {
                self.backoff.insert((at, id));
            }
            State::Queued => {
                let lane = self.lane(id);
                self.lanes.queue(lane, id);
            }
            State::Flying(_) => {
                let lane = self.lane(id);
                self.lanes.take(lane);
                self.flying.insert(id);
            }
            State::Pending if self.opens(id) => {
                self.due.insert(id);
            }
            State::Asked => {
                self.asked.insert(id);
            }
            State::Ready | State::Pending | State::Judged | State::Open | State::Done(_) => {}
        }
    }

    pub(crate) fn lane(&mut self, id: NodeId) -> LaneId {
        let node = &self.nodes[id.index()];
        let step = node.step.expect("only units, which have a step, stand in lanes");
        let limit = node.item.and(self.containers.get(node.owner.index())).and_then(|fan| match fan.kind {
            Kind::Fan { max_parallel, .. } => max_parallel.map(|limit| (node.owner, limit)),
            Kind::Block { .. } => None,
        });
        self.lanes.lane_of(&self.plan, step, limit)
    }

    /// Tells the dependents that a node has ended, once.
    fn tell(&mut self, id: NodeId) {
        let node = self.node(id);
        let (owner, step) = (node.owner, node.step);
        let ended = matches!(node.state, State::Done(_) | State::Flying(Flight::Serving))
            || node.is_blocked()
            || planted!(NeedMetAtStart) && matches!(node.state, State::Flying(_));
        if node.flags.told || !ended || node.item.is_some() {
            return;
        }
        let Some(step) = step else { return };
        self.nodes[id.index()].flags.told = true;
        let dependents = Arc::clone(&self.dependents);
        for (dependent, kind) in dependents.get(step.index()).into_iter().flatten() {
            let dependent = self.sibling(owner, *dependent);
            self.hear(dependent, id, *kind);
        }
    }

    fn hear(&mut self, dependent: NodeId, ended: NodeId, kind: NeedKind) {
        let node = self.node(ended);
        let failed = node.is_blocked()
            || planted!(SkipIsFailure) && node.state == State::Done(Final::Skipped)
            || matches!(node.state, State::Done(Final::Failed | Final::Cancelled)) && !self.allowed(ended);
        let without_output = node.state != State::Done(Final::Succeeded);
        let serving = node.state == State::Flying(Flight::Serving);
        match kind {
            NeedKind::Success | NeedKind::Output if failed && !planted!(FailureMeetsNeed) => {
                if !self.node(dependent).flags.blocked {
                    self.change(dependent, |n| {
                        n.flags.blocked = true;
                        if n.state == State::Queued {
                            n.unorder();
                            n.state = State::Ready;
                        }
                    });
                }
            }
            NeedKind::Output if without_output && !serving && !planted!(StarvedRuns) => {
                self.change(dependent, |n| {
                    n.missing -= 1;
                    n.flags.starved = true;
                });
                self.activate(dependent);
            }
            NeedKind::End if failed && planted!(EndIsSuccess) => {}
            NeedKind::Success | NeedKind::Output | NeedKind::End => {
                self.change(dependent, |n| n.missing -= 1);
                self.activate(dependent);
            }
        }
    }

    /// Moves a pending unit that nothing holds back but gates and pools into its lane.
    pub(crate) fn activate(&mut self, id: NodeId) {
        let node = self.node(id);
        let idle = node.state == State::Pending && node.missing == 0 && !node.flags.blocked && !node.flags.starved;
        if idle && self.begun(id) && !self.needs_resolving(id) && self.is_leaf(id) {
            self.set(id, State::Ready);
        }
    }

    /// A container with nothing left to do is due; one that only its services keep open stops them.
    pub(crate) fn look_at_container(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get(id.index()) else {
            return;
        };
        let owner = container.owner;
        if self.node(owner).state != State::Open {
            return;
        }
        if self.is_over(id) {
            if self.services_to_stop(id) {
                let (first, count) = (container.first.0, container.count);
                let serving = (first..first + count).map(NodeId);
                let serving: Vec<_> = serving.filter(|n| self.node(*n).serves()).collect();
                self.changed.extend(serving);
            } else if self.awaits_outputs(owner) {
                self.due.remove(&owner);
                self.changed.insert(owner);
            } else {
                self.due.insert(owner);
            }
        } else {
            self.due.remove(&owner);
        }
    }

    /// Lets queued attempts have the slots that are free.
    pub(crate) fn promote(&mut self) {
        if self.paused.is_some() || self.draining {
            return;
        }
        for lane in self.lanes.waiting_lanes() {
            while self.lanes.free(&self.plan, lane).is_none_or(|free| free > 0) {
                let candidates = &self.lanes.get(lane).queued;
                let Some(next) = candidates.front().copied() else {
                    break;
                };
                self.set(next, State::Flying(Flight::Running));
            }
        }
    }

    /// The attempt that a node's number stands for now.
    pub(crate) fn current(&self, id: NodeId) -> AttemptId {
        AttemptId { node: id, attempt: self.node(id).attempts }
    }

    /// What should be in flight for a node.
    #[must_use]
    pub fn want(&self, id: NodeId) -> Option<Want> {
        crate::desired::want(self, id)
    }

    /// The state of a node as people see it.
    #[must_use]
    pub fn seen(&self, id: NodeId) -> UnitState {
        self.node(id).seen()
    }
}

fn place(id: NodeId, node: &Node) -> Place {
    Place { rank: node.rank, node: id, step: node.step.expect("only units, which have a step, stand in lanes") }
}
