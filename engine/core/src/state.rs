//! What a run remembers: nodes, the containers they belong to, and how each stands.
//! Unaware of why anything changes. Wrong combinations cannot be written down: data lives in the state it belongs to.

use crate::bug::planted;
use crate::event::{Final, NodeId, RunState, UnitState};
use crate::plan::{BlockId, Limit, StepId};

/// A step of an open block, or an item of a `for_each`.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The step it is an instance of. The run itself has none.
    pub(crate) step: Option<StepId>,
    /// What it counts for.
    pub(crate) owner: ContainerId,
    /// The container that it opened, if it did.
    pub(crate) opened: Option<ContainerId>,
    /// Position in the list of its `for_each`, for items.
    pub(crate) item: Option<u32>,
    /// Smaller starts earlier among those that wait for the same.
    pub(crate) rank: u32,
    /// Attempts ordered so far.
    pub(crate) attempts: u32,
    /// Attempts of this budget that failed or were lost.
    pub(crate) tries: u32,
    /// Needs that have not been met yet.
    pub(crate) missing: u32,
    /// Small facts.
    pub(crate) flags: Flags,
    /// How it stands.
    pub(crate) state: State,
}

/// Small facts about a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// A step it needs has failed: it cannot run before a resume.
    pub(crate) blocked: bool,
    /// Its `when`, `for_each` or params have been evaluated.
    pub(crate) resolved: bool,
    /// Its dependents have been told that it ended.
    pub(crate) told: bool,
    /// It belongs to a `finally`, at whatever depth.
    pub(crate) closing: bool,
    /// A need whose output it uses has none.
    pub(crate) starved: bool,
    /// A background node that has been ready once: nobody waits for it any more.
    pub(crate) served: bool,
    /// An item of a limited fan-out of groups whose turn has come.
    pub(crate) turn: bool,
    /// An attempt of it, or inside it, has been ordered.
    pub(crate) begun: bool,
}

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not decided yet; what it waits for are its needs, its evaluation or its opening.
    Pending,
    /// Needs are met: a gate, a pool or a free slot is all it waits for.
    Ready,
    /// A pause between attempts, until this time.
    Backoff(u64),
    /// Its next attempt is ordered ahead and starts as soon as a slot is free.
    Queued,
    /// Its last attempt is in flight.
    Flying(Flight),
    /// Nobody can judge its last attempt; a person will.
    Asked,
    /// Its attempt failed and the next event says what follows.
    Judged,
    /// A container of its own is open.
    Open,
    /// It has ended.
    Done(Final),
}

/// What is known of an attempt in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flight {
    /// It starts or runs.
    Running,
    /// A background attempt that is ready.
    Serving,
    /// Its fate is unknown.
    Lost,
}

/// A position in the table of containers; 0 is the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub u32);

impl ContainerId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What nodes count for: an open block or a fan-out.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// The node that opened it.
    pub(crate) owner: NodeId,
    /// Its first node; the others follow without a gap.
    pub(crate) first: NodeId,
    /// How many nodes it has.
    pub(crate) count: u32,
    /// What it is.
    pub(crate) kind: Kind,
    /// Tallies of its nodes.
    pub(crate) tally: Tally,
    /// Nodes of it that have begun, or inside which something has.
    pub(crate) started: u32,
}

/// What a container is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// An open block.
    Block {
        /// Which.
        block: BlockId,
        /// How its steps ended, once its `finally` has begun.
        closing: Option<RunState>,
    },
    /// A fan-out.
    Fan {
        /// At most so many items at once.
        max_parallel: Option<u32>,
        /// More failures than this hold back what has not begun.
        max_failures: Option<Limit>,
        /// Node offsets in the order in which they start.
        order: Vec<u32>,
        /// Items before this position of `order` have had their turn (only counted for groups with `max_parallel`).
        cursor: u32,
        /// Items whose turn it is and that have not ended.
        turns: u32,
        /// What names each item.
        keys: Vec<Box<str>>,
    },
}

/// Tallies of a container's nodes, kept in step by one function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Nodes that can still get somewhere.
    pub(crate) live: u32,
    /// Nodes with something in flight.
    pub(crate) busy: u32,
    /// Nodes that have begun in this session and have not ended.
    pub(crate) begun: u32,
    /// Background nodes that serve.
    pub(crate) serving: u32,
    /// Nodes that failed and were not allowed to.
    pub(crate) failed: u32,
    /// Nodes in each state as people see it.
    pub(crate) seen: [u32; 8],
}

/// One node's part in the tally of its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) live: bool,
    pub(crate) busy: bool,
    pub(crate) begun: bool,
    pub(crate) serving: bool,
    pub(crate) failed: bool,
    pub(crate) seen: UnitState,
}

impl Node {
    pub(crate) fn share(&self, allow_failure: bool) -> Share {
        let serving = self.serves();
        let done = matches!(self.state, State::Done(_));
        let forgotten = self.state == State::Asked && planted!(AskedIsOver);
        Share {
            live: !(done || serving || self.is_blocked() || forgotten),
            busy: !serving && matches!(self.state, State::Flying(_) | State::Judged | State::Open),
            begun: !(done || serving || self.is_blocked()) && (self.has_begun() || self.state == State::Open),
            serving,
            failed: self.is_blocked() || (self.state == State::Done(Final::Failed) && !allow_failure),
            seen: self.seen(),
        }
    }

    /// A service in flight that has been ready once: its block's end does not wait for it, but stops it.
    pub(crate) fn serves(&self) -> bool {
        match self.state {
            State::Flying(Flight::Serving) => true,
            State::Flying(Flight::Running | Flight::Lost) => self.flags.served,
            State::Pending
            | State::Ready
            | State::Backoff(_)
            | State::Queued
            | State::Asked
            | State::Judged
            | State::Open
            | State::Done(_) => false,
        }
    }

    /// A need of it has failed and it had not started: it cannot start before a resume. What had started goes on.
    pub(crate) fn is_blocked(&self) -> bool {
        self.flags.blocked && self.waits()
    }

    /// Nothing of it is in flight, and it has not ended.
    pub(crate) fn waits(&self) -> bool {
        match self.state {
            State::Pending | State::Ready | State::Backoff(_) | State::Queued => true,
            State::Flying(_) | State::Asked | State::Judged | State::Open | State::Done(_) => false,
        }
    }

    /// An attempt of it has started since the last resume, or it is done.
    pub(crate) fn has_begun(&self) -> bool {
        match self.state {
            State::Pending | State::Ready | State::Backoff(_) | State::Queued => self.tries > 0,
            State::Flying(_) | State::Asked | State::Judged => true,
            State::Done(state) => state == Final::Succeeded || self.tries > 0,
            State::Open => false,
        }
    }

    /// An attempt that was ordered ahead and never started gives its number back.
    pub(crate) fn unorder(&mut self) {
        if self.state == State::Queued {
            self.attempts = self.attempts.saturating_sub(1);
        }
    }

    /// The state as people see it.
    pub(crate) fn seen(&self) -> UnitState {
        match self.state {
            State::Pending => UnitState::Pending,
            State::Ready | State::Backoff(_) | State::Queued => UnitState::Waiting,
            // Opened, and nothing inside has had a chance yet: to a person it has not begun.
            State::Open if !self.flags.begun => UnitState::Waiting,
            State::Flying(Flight::Lost) | State::Asked => UnitState::Lost,
            State::Flying(Flight::Running | Flight::Serving) | State::Judged | State::Open => UnitState::Running,
            State::Done(Final::Succeeded) => UnitState::Succeeded,
            State::Done(Final::Failed) => UnitState::Failed,
            State::Done(Final::Skipped) => UnitState::Skipped,
            State::Done(Final::Cancelled) => UnitState::Cancelled,
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, share: Share) {
        self.live += u32::from(share.live);
        self.busy += u32::from(share.busy);
        self.begun += u32::from(share.begun);
        self.serving += u32::from(share.serving);
        self.failed += u32::from(share.failed);
        self.seen[share.seen as usize] += 1;
    }

    pub(crate) fn remove(&mut self, share: Share) {
        self.live -= u32::from(share.live);
        self.busy -= u32::from(share.busy);
        self.begun -= u32::from(share.begun);
        self.serving -= u32::from(share.serving);
        self.failed -= u32::from(share.failed);
        self.seen[share.seen as usize] -= 1;
    }
}

impl Kind {
    /// So many failures are too many.
    pub(crate) fn too_many(&self, failed: u32, count: u32) -> bool {
        match self {
            Self::Fan { max_failures: Some(Limit::Count(limit)), .. } => failed > *limit,
            Self::Fan { max_failures: Some(Limit::Percent(percent)), .. } => {
                u64::from(failed) * 100 > u64::from(*percent) * u64::from(count)
            }
            Self::Fan { max_failures: None, .. } | Self::Block { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Node;

    #[test]
    fn a_node_is_small() {
        assert!(size_of::<Node>() <= 96, "{}", size_of::<Node>());
    }
}
