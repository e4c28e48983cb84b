//! From a decision to the disk: every event goes through `record`, and what it allows is released by its commit.
//! Unaware of what attempts do.

use super::DriverError;
use super::engine::{Engine, Leaving};
use super::message::Message;
use super::prepare::prepare;
use super::probe;
use super::resolve::Resolver;
use crate::store::Entry;
use flowrun_core::event::UnitState;
use flowrun_core::{Event, NodeId};

/// The longest that a decision nobody waits for is kept from the disk.
pub(super) const GATHER_MS: u64 = 5;

impl Engine {
    pub(super) fn written(&mut self, written: crate::store::Written) {
        match written {
            Ok(seq) => {
                self.committed = self.committed.max(seq);
                while let Some(entry) = self.releases.first_entry().filter(|entry| *entry.key() <= seq) {
                    for node in entry.remove() {
                        self.adjust(node);
                    }
                }
                if self.settled_at.is_some_and(|at| at <= seq) {
                    self.settled_at = None;
                    self.host.now().settled();
                }
                while let Some(entry) = self.answers.first_entry().filter(|entry| *entry.key() <= seq) {
                    // Who asked may have gone.
                    entry.remove().into_iter().for_each(|(answer, text)| drop(answer.send(Ok(text))));
                }
                while let Some(entry) = self.forgets.first_entry().filter(|entry| *entry.key() <= seq) {
                    let host = self.host.now();
                    entry.remove().into_iter().for_each(|key| host.forget(key));
                }
                while let Some(entry) = self.over.first_entry().filter(|entry| *entry.key() <= seq) {
                    for id in entry.remove() {
                        self.recycle(id);
                    }
                }
            }
            Err(error) => {
                self.failed.get_or_insert(DriverError::Store(error));
            }
        }
    }

    /// Obeys an event in memory and puts it into the next commit.
    pub(crate) fn record(&mut self, event: Event) {
        let now = self.clock.now();
        let node = event_node(&event);
        let around = self.around(&event);
        let many = super::rows::Before::of(&self.run, &event);
        self.run.evolve(&event);
        self.facts.fold(now, &event);
        self.seq += 1;
        let mut entry = Entry::bare(event);
        if let Event::Ordered { id } = &entry.event {
            self.ordered.insert(id.node, self.seq);
            if self.run.seen(id.node) == UnitState::Running {
                self.facts.started.entry(id.node).or_insert(now);
            }
            let prepared = prepare(&self.resolver(), id.node);
            entry.inputs = prepared.as_ref().ok().map(|prepared| (*id, prepared.stored()));
            self.prepared.insert(id.node, prepared);
        }
        if let Event::Resolved { node, values: Some(_) } = &entry.event {
            self.learn_gates_of(*node);
        }
        let begun = around.into_iter().filter(|(node, before)| self.run.seen(*node) != *before).map(|(node, _)| node);
        for node in begun.chain(node) {
            entry.rows.extend(super::rows::row(&self.run, &self.facts, node, &entry.event, now));
        }
        entry.rows.extend(many.iter().flat_map(|many| many.rows(&self.run, &self.facts, &entry.event, now)));
        self.publisher.notice(&self.world, &self.run, &mut self.facts, &entry.event, now);
        self.batch.push(entry);
    }

    /// The groups and fan-outs around an attempt that is ordered: the first one lets them begin too.
    pub(super) fn around(&self, event: &Event) -> Vec<(NodeId, UnitState)> {
        let Event::Ordered { id } = event else { return Vec::new() };
        let mut around = Vec::new();
        let mut node = self.run.parent(id.node);
        while node != NodeId::RUN && self.run.seen(node) == UnitState::Waiting {
            around.push((node, UnitState::Waiting));
            node = self.run.parent(node);
        }
        around
    }

    /// The gates of sub-plans that have been called.
    pub(crate) fn learn_gates(&mut self) {
        let called: Vec<_> = self.facts.values.keys().copied().collect();
        for node in called {
            self.learn_gates_of(node);
        }
    }

    pub(super) fn learn_gates_of(&mut self, node: NodeId) {
        match probe::of_call(&self.resolver(), node) {
            Ok(probes) => self.gates.learn(probes),
            Err(fault) => self.publisher.say(format!("what waits for this gate waits for ever: {fault}")),
        }
    }

    pub(crate) fn resolver(&self) -> Resolver<'_> {
        Resolver { world: &self.world, run: &self.run, facts: &self.facts }
    }

    pub(super) fn flush(&mut self) {
        if self.batch.is_empty() {
            self.gathering = None;
            return;
        }
        let now = self.clock.now();
        let since = *self.gathering.get_or_insert(now);
        // Outcomes may gather some company as long as nobody waits for them. Orders never: a slot may soon want them.
        let orders = self.batch.iter().any(|entry| matches!(entry.event, Event::Ordered { .. }));
        let nobody_waits = !orders && self.releases.is_empty() && self.leaving == Leaving::No && self.tasks.len() > 1;
        if nobody_waits && self.batch.len() < 256 && now.saturating_sub(since) < GATHER_MS {
            return;
        }
        self.gathering = None;
        let entries = std::mem::take(&mut self.batch);
        let expected = self.seq - entries.len() as u64;
        let driver = self.driver.clone();
        let done = Box::new(move |written| {
            // The loop may have ended because of an earlier error.
            let _ = driver.send(Message::Written(written));
        });
        self.journal.append(expected, self.clock.now(), entries, done);
    }
}

/// The node that an event is about.
pub(crate) fn event_node(event: &Event) -> Option<NodeId> {
    match event {
        Event::FannedOut { node, .. }
        | Event::Resolved { node, .. }
        | Event::Opened { node }
        | Event::RetryAt { node, .. }
        | Event::Settled { node, .. }
        | Event::Marked { node, .. } => Some(*node),
        Event::Ordered { id }
        | Event::Begun { id }
        | Event::Ready { id }
        | Event::Lost { id }
        | Event::Ended { id, .. }
        | Event::Asked { id, .. } => Some(id.node),
        Event::Started
        | Event::Resumed { .. }
        | Event::Closing { .. }
        | Event::CancelRequested
        | Event::Paused { .. }
        | Event::Unpaused
        | Event::Replanned { .. }
        | Event::Finished { .. } => None,
    }
}
