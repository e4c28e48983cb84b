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

/// Where a ready node stands in its lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) rank: u32,
    pub(crate) node: NodeId,
    pub(crate) step: StepId,
}

fn all_steps(id: LaneId) -> std::ops::RangeInclusive<(LaneId, StepId)> {
    (id, StepId(0))..=(id, StepId(u32::MAX))
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
    /// Who waits at the gates of each lane, by step. Only in memory; lanes without gates have nobody here.
    waits: BTreeMap<(LaneId, StepId), Waiters>,
    /// Units taken from each pool.
    pub(crate) used: Vec<u32>,
    /// How often each lane's window of attempts ordered ahead has doubled. Of no account to anything but speed.
    hurry: BTreeMap<LaneId, u8>,
}

/// Ready nodes of one step in a lane with gates.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Waiters {
    /// How many.
    count: u32,
    /// Since when a reading has found some of them with a free slot.
    since: Option<u64>,
}

impl Lanes {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { used: vec![0; plan.pools.len()], ..Self::default() }
    }

    /// The lane of a step's nodes, made when it is first needed.
    pub(crate) fn lane_of(&mut self, plan: &Plan, step: StepId, limit: Option<(ContainerId, u32)>) -> LaneId {
        let step = &plan.steps[step.index()];
        let signature =
            Signature { pools: step.pools.clone(), gates: step.gates.clone(), fan: limit.map(|(fan, _)| fan) };
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

    pub(crate) fn offer(&mut self, id: LaneId, place: Place) {
        let lane = &mut self.lanes[id.0 as usize];
        let new = lane.ready.insert((place.rank, place.node));
        if new && !lane.gates.is_empty() {
            self.waits.entry((id, place.step)).or_default().count += 1;
        }
        self.open.insert(id);
    }

    /// Takes a node out; its step goes on waiting where it only comes back to the same place.
    pub(crate) fn withdraw(&mut self, id: LaneId, place: Place, comes_back: bool) {
        let lane = &mut self.lanes[id.0 as usize];
        let was_there = lane.ready.remove(&(place.rank, place.node));
        if lane.ready.is_empty() {
            self.open.remove(&id);
        }
        if lane.gates.is_empty() {
            return;
        }
        if let Some(waiters) = self.waits.get_mut(&(id, place.step)) {
            waiters.count -= u32::from(was_there);
            if waiters.count == 0 && !comes_back {
                self.waits.remove(&(id, place.step));
            }
        }
    }

    /// A gate was measured: from now on, or from an earlier time on, who has a free slot waits at it. Where the counting
    /// begins `anew`, no earlier time counts.
    pub(crate) fn wait_at(&mut self, plan: &Plan, gate: GateId, now: u64, anew: bool) {
        let mut waits = std::mem::take(&mut self.waits);
        waits.retain(|(lane, _), waiters| {
            if self.get(*lane).gates.contains(&gate) {
                let free = self.free(plan, *lane).is_none_or(|free| free > 0);
                let since = waiters.since.filter(|_| !anew).unwrap_or(now);
                waiters.since = free.then_some(since);
            }
            waiters.count > 0
        });
        self.waits = waits;
    }

    /// A lane without a free slot waits for a slot and not at its gates.
    pub(crate) fn rest_if_full(&mut self, plan: &Plan, id: LaneId) {
        if !self.get(id).gates.is_empty() && self.free(plan, id) == Some(0) {
            for (_, waiters) in self.waits.range_mut(all_steps(id)) {
                waiters.since = None;
            }
        }
    }

    /// Since when nodes of a step have waited at the gates of a lane.
    pub(crate) fn waits_since(&self, id: LaneId, step: StepId) -> Option<u64> {
        self.waits.get(&(id, step))?.since
    }

    /// Since when the first of a lane's steps has waited at its gates.
    pub(crate) fn first_wait(&self, id: LaneId) -> Option<u64> {
        let waits = self.waits.range(all_steps(id));
        waits.filter_map(|(_, waiters)| waiters.since).min()
    }

    /// Takes over from lanes that these replace since when somebody has waited.
    pub(crate) fn keep_waits(&mut self, old: &Self) {
        for (signature, id) in &self.by_signature {
            let Some(old_id) = old.by_signature.get(signature) else {
                continue;
            };
            for ((_, step), waiters) in self.waits.range_mut(all_steps(*id)) {
                waiters.since = old.waits_since(*old_id, *step);
            }
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
        let limit = lane.limit.filter(|_| !planted!(LimitIgnored)).map(|(_, limit)| limit.saturating_sub(lane.taken));
        let pools = lane.pools.iter().map(|(pool, units)| {
            let free = plan.pools[pool.index()].size.saturating_sub(self.used[pool.index()]);
            if planted!(PoolsIgnored) { u32::MAX } else { free / (*units).max(1) }
        });
        pools.chain(limit).min()
    }

    /// How many nodes may be ordered ahead of a free slot: none where a gate must hold at the start itself.
    pub(crate) fn ahead(&self, plan: &Plan, id: LaneId) -> u32 {
        let lane = self.get(id);
        if !lane.gates.is_empty() {
            return 0;
        }
        let sizes = lane.pools.iter().map(|(pool, units)| plan.pools[pool.index()].size / (*units).max(1));
        let size = sizes.chain(lane.limit.map(|(_, limit)| limit)).min().unwrap_or(0);
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
        self.lanes.iter().flat_map(|lane| lane.queued.iter().copied()).collect()
    }

    /// Lanes that a returned slot may help: those with queued nodes.
    pub(crate) fn waiting_lanes(&self) -> Vec<LaneId> {
        self.waiting.iter().copied().collect()
    }
}
