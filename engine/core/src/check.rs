//! Comparisons for tests and debug builds: what is kept as increments must equal what follows from scratch.
//! Unaware of why something differs.

use crate::event::{Final, NodeId};
use crate::lanes::Lane;
use crate::run::Run;
use crate::state::{Container, Kind, Node, State, Tally};

/// What is remembered and what is derived, in a form that does not depend on the order in which it came about.
#[derive(Debug, PartialEq)]
struct Snapshot<'a> {
    nodes: Vec<Node>,
    containers: Vec<Container>,
    lanes: Vec<&'a Lane>,
    used: &'a [u32],
    due: Vec<NodeId>,
    flying: Vec<NodeId>,
    asked: Vec<NodeId>,
    backoff: Vec<(u64, NodeId)>,
}

impl Run {
    /// Derives everything afresh and says the first thing that differs from what was kept in step.
    #[must_use]
    pub fn drift(&self) -> Option<String> {
        let mut fresh = self.clone();
        fresh.derive();
        self.difference(&fresh)
    }

    /// Says the first thing in which two runs differ: their nodes, tallies, queues and pools. Times told do not count.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let (mine, theirs) = (self.snapshot(), other.snapshot());
        if mine == theirs {
            return None;
        }
        for (id, (a, b)) in mine.nodes.iter().zip(&theirs.nodes).enumerate() {
            if a != b {
                let address = self.address(NodeId(id as u32));
                return Some(format!("`{address}`: {a:?} and {b:?}"));
            }
        }
        for (a, b) in mine.containers.iter().zip(&theirs.containers) {
            if a != b {
                return Some(format!("{a:?} and {b:?}"));
            }
        }
        Some(format!(
            "{:?} and {:?}",
            (mine.lanes, mine.used, mine.due, mine.flying, mine.asked, mine.backoff),
            (theirs.lanes, theirs.used, theirs.due, theirs.flying, theirs.asked, theirs.backoff)
        ))
    }

    /// In a container that is not open, what is ready and what is pending mean the same. What was cancelled before it
    /// began has no needs any more: a need of it that was held back then is itself cancelled now.
    fn at_rest(&self, node: &Node) -> Node {
        let container = self.containers.get(node.owner.index());
        let open = container.is_none_or(|c| self.node(c.owner).state == State::Open);
        let mut node = node.clone();
        if !open && node.state == State::Ready {
            node.state = State::Pending;
        }
        if node.state == State::Done(Final::Cancelled) {
            node.missing = 0;
            node.flags.blocked = false;
            node.flags.starved = false;
        }
        node
    }

    fn snapshot(&self) -> Snapshot<'_> {
        let mut containers = self.containers.clone();
        for container in &mut containers {
            if self.node(container.owner).state != State::Open {
                container.tally = Tally::default();
            }
            if let Kind::Fan { cursor, .. } = &mut container.kind {
                *cursor = 0;
            }
        }
        Snapshot {
            nodes: self.nodes.iter().map(|node| self.at_rest(node)).collect(),
            containers,
            lanes: self.lanes.in_use(),
            used: &self.lanes.used,
            due: self.due.iter().copied().collect(),
            flying: self.flying.iter().copied().collect(),
            asked: self.asked.iter().copied().collect(),
            backoff: self.backoff.iter().copied().collect(),
        }
    }
}
