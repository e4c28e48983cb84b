//! Decisions that follow from the state and the time: what opens, what ends, and who may start.
//! Unaware of inputs. `decide` is called until it has nothing to say; each answer is bounded by what has changed.

use crate::bug::planted;
use crate::event::{AttemptId, Event, Final, NodeId, RunState};
use crate::evolve::final_of;
use crate::gate::Answer;
use crate::lanes::LaneId;
use crate::plan::{GateId, Otherwise};
use crate::run::Run;
use crate::state::{ContainerId, Kind, State};

/// Decisions at a time, so that a huge plan is journaled in handy pieces.
const BATCH: usize = 512;

impl Run {
    /// Tells the time: pauses that are over end. Not a decision, so nothing is journaled.
    pub fn tell_time(&mut self, now: u64) {
        self.now = now;
        while let Some((at, id)) = self.backoff.first().copied() {
            if at > now {
                break;
            }
            // A service that it needs may be gone by now, for a while or for good.
            let waits = self.node(id).missing > 0 || self.node(id).flags.starved;
            self.set(id, if waits { State::Pending } else { State::Ready });
        }
    }

    /// This process starts nothing new from now on; what runs goes on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// A gate was measured. Not a decision.
    pub fn measured(&mut self, id: GateId, holds: bool) {
        let now = self.now;
        if let (Some(state), Some(gate)) = (self.gates.get_mut(id.index()), self.plan.gates.get(id.index())) {
            let anew = state.read(gate, now, holds);
            self.lanes.wait_at(&self.plan, id, now, anew);
        }
    }

    /// The next decisions, none where there is nothing to decide.
    #[must_use]
    pub fn decide(&self) -> Vec<Event> {
        if self.finished.is_some() || self.containers.is_empty() {
            return Vec::new();
        }
        let due: Vec<_> = self.due.iter().filter_map(|id| self.verdict_on(*id)).take(BATCH).collect();
        if !due.is_empty() {
            return due;
        }
        if (self.paused.is_some() && !planted!(PauseIgnored)) || self.draining { Vec::new() } else { self.admit() }
    }

    fn verdict_on(&self, id: NodeId) -> Option<Event> {
        let node = self.node(id);
        match node.state {
            State::Pending if node.flags.starved => Some(Event::Settled {
                node: id,
                // What failed once and cannot be repeated has failed.
                state: if node.tries > 0 { Final::Failed } else { Final::Skipped },
                reason: Some(self.starved_by(id).into()),
                outputs: None,
            }),
            State::Pending if self.paused.is_some() || self.draining => None,
            State::Pending => self.opens(id).then_some(Event::Opened { node: id }),
            State::Open => node.opened.and_then(|container| self.end_of(id, container)),
            State::Ready
            | State::Backoff(_)
            | State::Queued
            | State::Flying(_)
            | State::Asked
            | State::Judged
            | State::Done(_) => None,
        }
    }

    fn starved_by(&self, id: NodeId) -> String {
        let needs = self.step_of(id).map(|step| step.needs.as_slice()).unwrap_or_default();
        let missing = needs.iter().find(|need| {
            let state = self.node(self.sibling(self.node(id).owner, need.step)).state;
            need.kind == crate::plan::NeedKind::Output && matches!(state, State::Done(Final::Skipped | Final::Failed))
        });
        let name = missing.map_or("a step", |need| &self.plan.steps[need.step.index()].name);
        format!("it takes an output of `{name}`, which has none")
    }

    fn end_of(&self, owner: NodeId, id: ContainerId) -> Option<Event> {
        if !self.is_over(id) {
            return None;
        }
        let container = self.container(id);
        let state = self.verdict(id);
        if !self.last_phase(container) {
            return Some(Event::Closing { node: owner, state });
        }
        if container.tally.serving > 0 {
            return None;
        }
        if owner == NodeId::RUN {
            return Some(Event::Finished { state });
        }
        let failed = container.tally.failed;
        let reason = match container.kind {
            Kind::Fan { .. } if failed > 0 => Some(format!("{failed} of {} items failed", container.count).into()),
            Kind::Fan { .. } | Kind::Block { .. } => None,
        };
        Some(Event::Settled { node: owner, state: final_of(state), reason, outputs: None })
    }

    /// Orders attempts: in each lane as many as there are slots and gates allow, and a few ahead.
    fn admit(&self) -> Vec<Event> {
        let mut room = Room { run: self, used: self.lanes.used.clone(), settling: Vec::new(), events: Vec::new() };
        for lane in &self.lanes.open {
            room.fill(*lane);
            if room.events.len() >= BATCH {
                break;
            }
        }
        room.events
    }
}

/// What is left while one answer is put together.
struct Room<'a> {
    run: &'a Run,
    used: Vec<u32>,
    settling: Vec<GateId>,
    events: Vec<Event>,
}

impl Room<'_> {
    fn fill(&mut self, id: LaneId) {
        let lane = self.run.lanes.get(id);
        let mut taken = lane.taken;
        let window = self.run.lanes.ahead(&self.run.plan, id);
        let queued = lane.queued.len() as u32;
        // Refilled when it is half empty: orders that come together share a commit.
        let mut ahead = if queued.saturating_mul(2) > window { 0 } else { window.saturating_sub(queued) };
        for (_, node) in &lane.ready {
            if self.events.len() >= BATCH {
                return;
            }
            let has_slot = lane.queued.is_empty() && self.has_slot(id, taken);
            if !has_slot && ahead == 0 {
                return;
            }
            match self.gates(id, *node) {
                Gates::Open => {}
                Gates::Shut => return,
                Gates::Early => continue,
                Gates::Overdue(gate) => {
                    if let Some(event) = self.overdue(*node, gate) {
                        self.events.push(event);
                        continue;
                    }
                }
            }
            if has_slot {
                taken += 1;
                for (pool, units) in &lane.pools {
                    self.used[pool.index()] += units;
                }
            } else {
                ahead -= 1;
            }
            self.order(id, *node);
        }
    }

    fn has_slot(&self, id: LaneId, taken: u32) -> bool {
        let lane = self.run.lanes.get(id);
        (lane.limit.is_none_or(|(_, limit)| taken < limit) || planted!(LimitIgnored))
            && lane.pools.iter().all(|(pool, units)| {
                planted!(PoolsIgnored) || self.used[pool.index()] + units <= self.run.plan.pools[pool.index()].size
            })
    }

    fn gates(&self, id: LaneId, node: NodeId) -> Gates {
        let lane = self.run.lanes.get(id);
        let (mut overdue, mut early) = (None, false);
        for gate in &lane.gates {
            if self.settling.contains(gate) {
                return Gates::Shut;
            }
            match self.answer(id, node, *gate) {
                Answer::Admit => {}
                // Of several that are overdue, one that would let it run does not speak for the others.
                Answer::Overdue if overdue.is_none_or(|earlier| self.runs_all_the_same(earlier)) => {
                    overdue = Some(*gate);
                }
                Answer::Overdue => {}
                Answer::Wait if self.is_overdue_for_another(id, *gate) => early = true,
                Answer::Measure | Answer::Wait => return Gates::Shut,
            }
        }
        match overdue {
            _ if early => Gates::Early,
            Some(gate) => Gates::Overdue(gate),
            None => Gates::Open,
        }
    }

    fn answer(&self, id: LaneId, node: NodeId, gate: GateId) -> Answer {
        let step = self.run.node(node).step;
        let since = step.and_then(|step| self.run.lanes.waits_since(id, step));
        self.run.gates[gate.index()].answer(&self.run.plan.gates[gate.index()], self.run.now, since)
    }

    fn is_overdue_for_another(&self, id: LaneId, gate: GateId) -> bool {
        let first = self.run.lanes.first_wait(id);
        let gate_now = &self.run.gates[gate.index()];
        gate_now.answer(&self.run.plan.gates[gate.index()], self.run.now, first) == Answer::Overdue
    }

    fn runs_all_the_same(&self, gate: GateId) -> bool {
        self.run.plan.gates[gate.index()].otherwise == Otherwise::Run
    }

    fn overdue(&self, node: NodeId, gate: GateId) -> Option<Event> {
        let gate = &self.run.plan.gates[gate.index()];
        let reason = Some(format!("gate `{}` was shut for its longest wait", gate.name).into());
        match gate.otherwise {
            Otherwise::Run => None,
            Otherwise::Skip => Some(Event::Settled { node, state: Final::Skipped, reason, outputs: None }),
            Otherwise::Fail => Some(Event::Settled { node, state: Final::Failed, reason, outputs: None }),
        }
    }

    fn order(&mut self, id: LaneId, node: NodeId) {
        for gate in &self.run.lanes.get(id).gates {
            if self.run.plan.gates[gate.index()].settle_ms > 0 {
                self.settling.push(*gate);
            }
        }
        let attempt = match self.run.node(node).attempts {
            1 if planted!(NumberReused) => 1,
            attempts => attempts + 1,
        };
        self.events.push(Event::Ordered { id: AttemptId { node, attempt } });
    }
}

/// What the gates of a lane say to a node.
enum Gates {
    Open,
    /// Shut for all that stand in the lane.
    Shut,
    /// Shut, and only another step has waited its longest.
    Early,
    Overdue(GateId),
}

impl Run {
    /// How the run stands.
    #[must_use]
    pub fn state(&self) -> RunState {
        self.finished.unwrap_or(RunState::Running)
    }

    /// Gates that somebody waits for, each with the time at which it should be measured next.
    #[must_use]
    pub fn gates_to_measure(&self) -> Vec<(GateId, u64)> {
        let mut wanted = Vec::new();
        if self.paused.is_some() || self.draining {
            return wanted;
        }
        for id in &self.lanes.open {
            let lane = self.lanes.get(*id);
            if self.lanes.free(&self.plan, *id).is_some_and(|free| free == 0) {
                continue;
            }
            for gate in &lane.gates {
                let at = self.gates[gate.index()].next_look(&self.plan.gates[gate.index()], self.now);
                wanted.push((*gate, at));
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// When `tell_time` next changes something by itself.
    #[must_use]
    pub fn next_time(&self) -> Option<u64> {
        self.backoff.first().map(|(at, _)| *at)
    }

    /// Nothing goes on and nothing can start before a person gives a verdict.
    #[must_use]
    pub fn waits_for_a_person(&self) -> bool {
        let idle = self.flying.is_empty() && self.lanes.open.is_empty() && self.lanes.waiting.is_empty();
        self.finished.is_none() && idle && self.backoff.is_empty() && self.due.is_empty() && !self.asked.is_empty()
    }
}
