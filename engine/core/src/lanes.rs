//! Who may start next: ready nodes in lanes, each with the pools, gates and limit that its nodes share.
//! Unaware of what a node is. A full pool closes its lanes as a whole, so nobody looks at 130,000 items one by one.

use crate::bug::planted;
use crate::event::NodeId;
use crate::plan::{GateId, Plan, PoolId, StepId};
use crate::state::ContainerId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A position in the table of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneId(pub(crate) u32);

/// What the nodes of a lane take and wait for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Signature {
    pools: Vec<(PoolId, u32)>,
    gates: Vec<GateId>,
    fan: Option<ContainerId>,
}

/// Nodes that share pools, gates and limit.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lane {
    pub(crate) pools: Vec<(PoolId, u32)>,
    pub(crate) gates: Vec<GateId>,
    /// A fan-out's own limit: its container and how many at once.
    pub(crate) limit: Option<(ContainerId, u32)>,
    /// Ordered nodes of a limited fan-out that hold a slot.
    pub(crate) taken: u32,
    /// Nodes that are ready, by rank.
    pub(crate) ready: BTreeSet<(u32, NodeId)>,
    /// Nodes ordered ahead of a free slot, first come first served.
    pub(crate) queued: VecDeque<NodeId>,

}

/// How many attempts are ordered ahead of free slots, at most. A lane begins with one for each slot, so that a larger
/// item or a repeated one is not kept waiting behind long work; it doubles whenever a slot found nothing ordered,
/// because the attempts are shorter than a commit.
const AHEAD: u32 = 256;

/// All lanes, and what is taken from the pools.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    by_signature: BTreeMap<Signature, LaneId>,
    /// Lanes with ready nodes.
    pub(crate) open: BTreeSet<LaneId>,
    /// Lanes with queued nodes.
    pub(crate) waiting: BTreeSet<LaneId>,
    /// Units taken from each pool.
    pub(crate) used: Vec<u32>,
    /// How often each lane's window of attempts ordered ahead has doubled. Of no account to anything but speed.
    hurry: BTreeMap<LaneId, u8>,
}

impl Lanes {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            used: vec![0; plan.pools.len()],
            ..Self::default()
        }
    }

    /// The lane of a step's nodes, made when it is first needed.
    pub(crate) fn lane_of(
        &mut self,
        plan: &Plan,
        step: StepId,
        limit: Option<(ContainerId, u32)>,
    ) -> LaneId {
        let step = &plan.steps[step.index()];
        let signature = Signature {
            pools: step.pools.clone(),
            gates: step.gates.clone(),
            fan: limit.map(|(fan, _)| fan),
        };
        if let Some(lane) = self.by_signature.get(&signature) {
            return *lane;
        }
        let id = LaneId(self.lanes.len() as u32);
        self.lanes.push(Lane {
            pools: signature.pools.clone(),
            gates: signature.gates.clone(),
            limit,
            ..Lane::default()
        });
        self.by_signature.insert(signature, id);
        id
    }

    pub(crate) fn get(&self, id: LaneId) -> &Lane {
        &self.lanes[id.0 as usize]
    }

    pub(crate) fn offer(&mut self, id: LaneId, rank: u32, node: NodeId) {
        self.lanes[id.0 as usize].ready.insert((rank, node));
        self.open.insert(id);
    }

    pub(crate) fn withdraw(&mut self, id: LaneId, rank: u32, node: NodeId) {
        let lane = &mut self.lanes[id.0 as usize];
        lane.ready.remove(&(rank, node));
        if lane.ready.is_empty() {
            self.open.remove(&id);
        }
    }

    pub(crate) fn queue(&mut self, id: LaneId, node: NodeId) {
        self.lanes[id.0 as usize].queued.push_back(node);
        self.waiting.insert(id);
    }

    pub(crate) fn unqueue(&mut self, id: LaneId, node: NodeId) {
        let lane = &mut self.lanes[id.0 as usize];
        if lane.queued.front() == Some(&node) {
            lane.queued.pop_front();
        } else {
            lane.queued.retain(|n| *n != node);
        }
        if lane.queued.is_empty() {
            self.waiting.remove(&id);
        }
    }

    pub(crate) fn take(&mut self, id: LaneId) {
        let lane = &mut self.lanes[id.0 as usize];
        lane.taken += 1;
        for (pool, units) in &lane.pools {
            self.used[pool.index()] += units;
        }
    }

    pub(crate) fn give_back(&mut self, id: LaneId) {
        let lane = &mut self.lanes[id.0 as usize];
        lane.taken -= 1;
        for (pool, units) in &lane.pools {
            self.used[pool.index()] -= units;
        }
    }

    /// How many more nodes of the lane have a slot now; none: no limit.
    pub(crate) fn free(&self, plan: &Plan, id: LaneId) -> Option<u32> {
        let lane = self.get(id);
        let limit = lane
            .limit
            .filter(|_| !planted!(LimitIgnored))
            .map(|(_, limit)| limit.saturating_sub(lane.taken));
        let pools = lane.pools.iter().map(|(pool, units)| {
            let free = plan.pools[pool.index()]
                .size
                .saturating_sub(self.used[pool.index()]);
            if planted!(PoolsIgnored) {
                u32::MAX
            } else {
                free / (*units).max(1)
            }
        });
        pools.chain(limit).min()
    }

    /// How many nodes may be ordered ahead of a free slot: none where a gate must hold at the start itself.
    pub(crate) fn ahead(&self, plan: &Plan, id: LaneId) -> u32 {
        let lane = self.get(id);
        if !lane.gates.is_empty() {
            return 0;
        }
        let sizes = lane
            .pools
            .iter()
            .map(|(pool, units)| plan.pools[pool.index()].size / (*units).max(1));
        let size = sizes
            .chain(lane.limit.map(|(_, limit)| limit))
            .min()
            .unwrap_or(0);
        size.saturating_mul(1 << self.hurry.get(&id).copied().unwrap_or(0)).min(AHEAD)
    }

    /// A slot became free and nothing was ordered for it, although something is ready.
    pub(crate) fn starved(&mut self, id: LaneId) {
        let lane = self.get(id);
        if lane.gates.is_empty() && lane.queued.is_empty() && !lane.ready.is_empty() {
            let hurry = self.hurry.entry(id).or_default();
            *hurry = (*hurry + 1).min(8);
        }
    }

    /// The lanes in which something stands, in the order of what their nodes share.
    pub(crate) fn in_use(&self) -> Vec<&Lane> {
        self.by_signature
            .values()
            .map(|id| self.get(*id))
            .filter(|lane| lane.taken > 0 || !lane.ready.is_empty() || !lane.queued.is_empty())
            .collect()
    }

    /// All nodes ordered ahead, in the order of each lane.
    pub(crate) fn queued(&self) -> Vec<NodeId> {
        self.lanes
            .iter()
            .flat_map(|lane| lane.queued.iter().copied())
            .collect()
    }

    /// Lanes that a returned slot may help: those with queued nodes.
    pub(crate) fn waiting_lanes(&self) -> Vec<LaneId> {
        self.waiting.iter().copied().collect()
    }
}
