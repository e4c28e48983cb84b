//! Questions about a run that screens, readers and the driver ask.
//! Unaware of how answers are shown.

use crate::address;
use crate::event::{AttemptId, NodeId, UnitState};
use crate::gate::Answer;
use crate::plan::{GateId, PoolId, StepId};
use crate::run::Run;
use crate::state::Kind;

/// What there is to know of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeView {
    /// Its step; none for the run itself.
    pub step: Option<StepId>,
    /// Its position in the list, for items.
    pub item: Option<u32>,
    /// The node that it belongs to.
    pub parent: NodeId,
    /// Its state.
    pub state: UnitState,
    /// Attempts so far.
    pub attempts: u32,
    /// It is a fan-out or a block that is open or was.
    pub opened: bool,
}

/// Items of a fan-out, or steps of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Items {
    /// How many.
    pub total: u32,
    /// How many in each state, in the order of [`UnitState::ALL`].
    pub seen: [u32; 8],
    /// They are items of a `for_each`.
    pub fan: bool,
}

/// What holds a waiting node back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A gate that does not let it pass now.
    Gate(GateId),
    /// A pool with too few free units.
    Pool(PoolId),
    /// The fan-out's own `max_parallel`.
    Parallel(u32),
    /// The pause between attempts, until then.
    Until(u64),
    /// The run is paused.
    Paused,
    /// A person's verdict.
    Person,
}

impl Run {
    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing has begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// What there is to know of a node.
    #[must_use]
    pub fn view(&self, id: NodeId) -> Option<NodeView> {
        let node = self.nodes.get(id.index())?;
        Some(NodeView {
            step: node.step,
            item: node.item,
            parent: self.parent(id),
            state: node.seen(),
            attempts: node.attempts,
            opened: node.opened.is_some(),
        })
    }

    /// The node that it belongs to; the run belongs to itself.
    #[must_use]
    pub fn parent(&self, id: NodeId) -> NodeId {
        let owner = self.nodes.get(id.index()).map(|node| node.owner);
        owner.and_then(|owner| self.containers.get(owner.index())).map_or(NodeId::RUN, |container| container.owner)
    }

    /// The key of an item.
    #[must_use]
    pub fn key(&self, id: NodeId) -> Option<&str> {
        let node = self.nodes.get(id.index())?;
        match &self.containers.get(node.owner.index())?.kind {
            Kind::Fan { keys, .. } => keys.get(node.item? as usize).map(AsRef::as_ref),
            Kind::Block { .. } => None,
        }
    }

    /// `step`, `step/KEY`, `group/inner`, `group/KEY/inner`; empty for the run.
    #[must_use]
    pub fn address(&self, id: NodeId) -> String {
        let mut parts = Vec::new();
        let mut id = id;
        while id != NodeId::RUN {
            match self.key(id) {
                Some(key) => parts.push(address::encode(key)),
                None => parts.push(self.step_of(id).map(|step| step.name.to_string()).unwrap_or_default()),
            }
            id = self.parent(id);
        }
        parts.reverse();
        parts.join("/")
    }

    /// The node at an address; none where nothing stands there (yet).
    #[must_use]
    pub fn find(&self, address: &str) -> Option<NodeId> {
        let mut id = NodeId::RUN;
        for part in address.split('/') {
            let key = address::decode(part)?;
            id = self.children(id).into_iter().find(|child| match self.key(*child) {
                Some(other) => other == key,
                None => self.step_of(*child).is_some_and(|step| *step.name == *part),
            })?;
        }
        Some(id)
    }

    /// The steps of its block or the items of its fan-out, in order.
    #[must_use]
    pub fn children(&self, id: NodeId) -> Vec<NodeId> {
        let container = self.nodes.get(id.index()).and_then(|node| node.opened).map(|c| self.container(c));
        container.map(|c| (c.first.0..c.first.0 + c.count).map(NodeId).collect()).unwrap_or_default()
    }

    /// How its items or inner steps stand.
    #[must_use]
    pub fn items(&self, id: NodeId) -> Option<Items> {
        let container = self.container(self.nodes.get(id.index())?.opened?);
        let fan = matches!(container.kind, Kind::Fan { .. });
        Some(Items { total: container.count, seen: container.tally.seen, fan })
    }

    /// Failures of this budget, so that a message can say which try of how many failed.
    #[must_use]
    pub fn tries(&self, id: NodeId) -> u32 {
        self.nodes.get(id.index()).map_or(0, |node| node.tries)
    }

    /// Attempts that the journal has ordered and that have not ended.
    pub fn in_flight(&self) -> impl Iterator<Item = AttemptId> {
        self.flying.iter().map(|id| self.current(*id))
    }

    /// Attempts that are ordered and wait for a slot. After a crash some of them may run all the same, as an end that
    /// made room for them may not have been committed: ask the host, and tell by [`crate::Input::Begun`] before
    /// [`crate::Input::Resume`].
    #[must_use]
    pub fn ordered_ahead(&self) -> Vec<AttemptId> {
        let queued = self.lanes.queued();
        queued.into_iter().map(|id| self.current(id)).collect()
    }

    /// Why nothing new starts, if so.
    #[must_use]
    pub fn paused(&self) -> Option<&str> {
        self.paused.as_deref()
    }

    /// Somebody asked to cancel.
    #[must_use]
    pub fn cancelling(&self) -> bool {
        self.cancels > 0
    }

    /// One entry for each lane in which somebody waits: the first of them, how many, and what holds them.
    #[must_use]
    pub fn holds(&self) -> Vec<(NodeId, u32, Hold)> {
        let mut holds = Vec::new();
        let lanes = self.lanes.open.iter().chain(self.lanes.waiting.difference(&self.lanes.open));
        for id in lanes {
            let lane = self.lanes.get(*id);
            let first = lane.queued.front().copied().or_else(|| lane.ready.first().map(|(_, node)| *node));
            let count = lane.queued.len() + lane.ready.len();
            if let Some(first) = first {
                holds.extend(self.hold(lane).map(|hold| (first, count as u32, hold)));
            }
        }
        holds.extend(self.backoff.iter().take(64).map(|(at, id)| (*id, 1, Hold::Until(*at))));
        let asked = self.asked.iter().take(64);
        holds.extend(asked.map(|id| (*id, 1, Hold::Person)));
        holds
    }

    fn hold(&self, lane: &crate::lanes::Lane) -> Option<Hold> {
        if self.paused.is_some() || self.draining {
            return Some(Hold::Paused);
        }
        let full = lane
            .pools
            .iter()
            .find(|(pool, units)| self.lanes.used[pool.index()] + units > self.plan.pools[pool.index()].size);
        if let Some((pool, _)) = full {
            return Some(Hold::Pool(*pool));
        }
        if let Some((_, limit)) = lane.limit.filter(|(_, limit)| lane.taken >= *limit) {
            return Some(Hold::Parallel(limit));
        }
        let answer = |gate: &GateId| self.gates[gate.index()].answer(&self.plan.gates[gate.index()], self.now, None);
        let shut = lane.gates.iter().find(|gate| matches!(answer(gate), Answer::Wait | Answer::Overdue));
        let unknown = || lane.gates.iter().find(|gate| answer(gate) == Answer::Measure);
        shut.or_else(unknown).map(|gate| Hold::Gate(*gate))
    }

    /// Units taken from a pool, and its size.
    #[must_use]
    pub fn pool(&self, id: PoolId) -> (u32, u32) {
        let used = self.lanes.used.get(id.index()).copied().unwrap_or(0);
        (used, self.plan.pools.get(id.index()).map_or(0, |pool| pool.size))
    }
}
