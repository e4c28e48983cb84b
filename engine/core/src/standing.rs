//! How nodes and containers stand: what may begin, what is held back, what is over and how it ended.
//! Unaware of queues; only reads.

use crate::bug::planted;
use crate::event::{NodeId, RunState, UnitState};
use crate::run::Run;
use crate::state::{Container, ContainerId, Kind, Node, State};

impl Run {
    /// A pending node that is to be opened or skipped without anybody's answer.
    pub(crate) fn opens(&self, id: NodeId) -> bool {
        let node = self.node(id);
        if node.missing > 0 || self.idles(id) || !self.begun(id) {
            return false;
        }
        let block = node.opened.is_some() || (self.is_unit(id) && !self.is_leaf(id));
        node.flags.starved || (block && !self.needs_resolving(id))
    }

    /// It must not start: a need has failed, too many of its siblings have, or the run is being cancelled.
    pub(crate) fn idles(&self, id: NodeId) -> bool {
        self.node(id).flags.blocked || self.stopping(id) || self.held(id)
    }

    /// Its evaluation is all it waits for.
    pub(crate) fn needs_resolving(&self, id: NodeId) -> bool {
        let node = self.node(id);
        let Some(step) = self.step_of(id) else {
            return false;
        };
        let asked = if node.item.is_some() { step.resolve_item } else { step.resolve };
        asked && !node.flags.resolved && !(planted!(ItemUnresolved) && node.item.is_some())
    }

    /// Its container is open and has come to it: a step of `finally` waits for the others, an item of a group for its
    /// turn.
    pub(crate) fn begun(&self, id: NodeId) -> bool {
        let node = self.node(id);
        let Some(container) = self.containers.get(node.owner.index()) else {
            return false;
        };
        let open = self.node(container.owner).state == State::Open;
        open && match &container.kind {
            Kind::Block { .. } => self.counts(id, &container.kind),
            Kind::Fan { max_parallel, .. } => max_parallel.is_none() || self.is_leaf(id) || node.flags.turn,
        }
    }

    /// Too many of its siblings have failed, and it has not begun.
    pub(crate) fn held(&self, id: NodeId) -> bool {
        if planted!(HeldFanStarts) {
            return false;
        }
        let mut id = id;
        loop {
            let node = self.node(id);
            let Some(container) = self.containers.get(node.owner.index()) else {
                return false;
            };
            if node.item.is_some() && container.kind.too_many(container.tally.failed, container.count) {
                return !self.has_begun(node);
            }
            id = container.owner;
        }
    }

    /// An attempt of it, or inside it, has started.
    pub(crate) fn has_begun(&self, node: &Node) -> bool {
        match node.opened {
            None => node.has_begun(),
            // What a resume gave a new chance waits for its turn like the others.
            Some(_) if node.state == State::Pending => false,
            Some(container) => self.container(container).started > 0,
        }
    }

    /// The run is being cancelled, and this node with it.
    pub(crate) fn stopping(&self, id: NodeId) -> bool {
        let closing = self.node(id).flags.closing && !planted!(CancelStopsFinally);
        self.cancels > 1 || (self.cancels > 0 && !closing)
    }

    /// Its block is done, well, and has outputs that nobody has evaluated.
    pub(crate) fn awaits_outputs(&self, id: NodeId) -> bool {
        let node = self.node(id);
        let Some(container) = node.opened else {
            return false;
        };
        let inside = self.container(container);
        node.state == State::Open
            && self.step_of(id).is_some_and(|step| step.hands_out)
            && matches!(inside.kind, Kind::Block { .. })
            && self.last_phase(inside)
            && inside.tally.serving == 0
            && self.is_over(container)
            && self.verdict(container) == RunState::Succeeded
    }

    /// How a container that is over ended.
    pub(crate) fn verdict(&self, id: ContainerId) -> RunState {
        let container = self.container(id);
        let closing = match container.kind {
            Kind::Block { closing, .. } => closing,
            Kind::Fan { .. } => None,
        };
        if self.stopping_inside(container) || closing == Some(RunState::Cancelled) {
            RunState::Cancelled
        } else if container.tally.failed > 0 {
            RunState::Failed
        } else if container.tally.seen[UnitState::Cancelled as usize] > 0 {
            RunState::Cancelled
        } else {
            RunState::Succeeded
        }
    }

    /// Nothing in it can get anywhere any more; services do not count.
    pub(crate) fn is_over(&self, id: ContainerId) -> bool {
        let container = self.container(id);
        let tally = &container.tally;
        let held = container.kind.too_many(tally.failed, container.count);
        let stopping = self.stopping_inside(container);
        if stopping {
            tally.busy == 0
        } else if held {
            tally.begun == 0
        } else {
            tally.live == 0
        }
    }

    pub(crate) fn stopping_inside(&self, container: &Container) -> bool {
        let closing = matches!(container.kind, Kind::Block { closing: Some(_), .. });
        self.cancels > 1 || (self.cancels > 0 && !closing && !self.node(container.owner).flags.closing)
    }

    /// Its `finally` has ended or it has none, so its services are to stop.
    pub(crate) fn services_to_stop(&self, id: ContainerId) -> bool {
        let container = self.container(id);
        container.tally.serving > 0 && self.last_phase(container)
    }

    /// A service that has been ready, in a block with nothing left to do.
    pub(crate) fn needless(&self, id: NodeId) -> bool {
        let node = self.node(id);
        !planted!(ServiceKept)
            && node.serves()
            && self
                .containers
                .get(node.owner.index())
                .is_some_and(|container| self.is_over(node.owner) && self.last_phase(container))
    }

    /// No `finally` is still to come.
    pub(crate) fn last_phase(&self, container: &Container) -> bool {
        match &container.kind {
            Kind::Fan { .. } => true,
            Kind::Block { block, closing } => {
                closing.is_some()
                    || self.plan.blocks[block.index()].finally.is_empty()
                    || planted!(FinallyAfterSuccessOnly) && container.tally.failed > 0
            }
        }
    }
}
