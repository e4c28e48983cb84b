//! Ends of nodes and what they do to their siblings: turns of items, too many failures, a cancel.
//! Unaware of decisions; only events come here.

use crate::bug::planted;
use crate::event::{Final, NodeId};
use crate::run::Run;
use crate::state::{ContainerId, Kind, State};

impl Run {
    pub(crate) fn settle(&mut self, id: NodeId, state: Final) {
        let fan = self.node(id).owner;
        let is_item = self.node(id).item.is_some();
        let held = |run: &Self| {
            let container = run.container(fan);
            container.kind.too_many(container.tally.failed, container.count)
        };
        let held_before = is_item && held(self);
        let had_turn = is_item && self.node(id).flags.turn;
        self.change(id, |node| {
            node.flags.turn = false;
            node.state = State::Done(state);
        });
        if had_turn {
            self.end_turn(fan);
        }
        if is_item && !held_before && held(self) {
            self.withdraw_idle(fan);
        }
    }

    fn end_turn(&mut self, fan: ContainerId) {
        if let Kind::Fan { turns, .. } = &mut self.containers[fan.index()].kind {
            *turns = turns.saturating_sub(u32::from(!planted!(TurnKept)));
        }
        self.offer(fan);
    }

    /// Gives the next items of a limited fan-out of groups their turn.
    pub(crate) fn offer(&mut self, fan: ContainerId) {
        while let Some(next) = self.next_turn(fan) {
            self.change(next, |node| node.flags.turn = true);
        }
    }

    fn next_turn(&mut self, fan: ContainerId) -> Option<NodeId> {
        let first = self.container(fan).first;
        if self.container(fan).count == 0 || self.is_leaf(first) {
            return None;
        }
        let container = &mut self.containers[fan.index()];
        let Kind::Fan { max_parallel: Some(limit), order, cursor, turns, .. } = &mut container.kind else {
            return None;
        };
        while *turns < *limit {
            let item = *order.get(*cursor as usize)?;
            *cursor += 1;
            let id = NodeId(first.0.saturating_add(item));
            let node = self.nodes.get(id.index()).filter(|_| item < container.count)?;
            if !matches!(node.state, State::Done(_)) && !node.flags.turn {
                *turns += 1;
                return Some(id);
            }
        }
        None
    }

    pub(crate) fn cancel(&mut self) {
        // Outputs that somebody is evaluating are not wanted any more.
        let handing_out = self.containers.iter().map(|container| container.owner);
        let handing_out: Vec<_> = handing_out.filter(|id| self.awaits_outputs(*id)).collect();
        self.changed.extend(handing_out);
        self.cancels += 1;
        if !planted!(CancelForgetsQueues) {
            self.withdraw_idle(ContainerId(0));
        }
        self.changed.extend(self.flying.iter().copied());
        for id in 0..self.containers.len() as u32 {
            self.look_at_container(ContainerId(id));
        }
    }

    /// Takes out of the queues what must not start any more, in a container and all inside it. Rare, so it may look at
    /// all of that; each fan-out does it once for itself.
    pub(crate) fn withdraw_idle(&mut self, within: ContainerId) {
        let mut containers = vec![within];
        while let Some(container) = containers.pop().and_then(|id| self.containers.get(id.index())) {
            let (first, count) = (container.first.0, container.count);
            for id in (first..first + count).map(NodeId) {
                self.withdraw_if_idle(id);
                containers.extend(self.node(id).opened);
            }
        }
    }

    fn withdraw_if_idle(&mut self, id: NodeId) {
        let node = self.node(id);
        // An item that was opened, but in which nothing has started, waits again.
        let untouched = node.item.is_some() && node.state == State::Open;
        if !(node.waits() || untouched && self.is_unit(id)) || !self.idles(id) {
            return;
        }
        if untouched && self.stopping(id) {
            return;
        }
        if self.needs_resolving(id) {
            self.changed.insert(id);
        }
        self.change(id, |node| {
            if node.state == State::Queued {
                node.unorder();
                node.state = State::Ready;
            }
            if untouched {
                node.state = State::Pending;
            }
        });
    }
}
