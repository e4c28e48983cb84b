//! What the rules of a run say to a resume and to a person's verdict: who has a new chance.
//! Unaware of the code under test.

use crate::books::{Books, Fact};
use crate::spec::{Block, Spec};
use crate::walk::{join, walk};
use crate::world::World;
use flowrun_core::event::Verdict;
use flowrun_core::{Final, RunState};
use std::collections::BTreeSet;

impl Books {
    pub fn resume(&mut self, spec: &Spec, flying: &BTreeSet<String>, mut world: Option<&mut World>, at: u64) {
        self.sessions += 1;
        if matches!(self.finished, Some(RunState::Succeeded | RunState::Cancelled)) {
            return;
        }
        if self.finished.is_some() {
            self.cancels = 0;
        }
        self.finished = None;
        self.at("").opened = true;
        for (addr, fact) in &mut self.facts {
            fact.fails = 0;
            fact.ready = false;
            fact.flying = flying.contains(addr);
            fact.begun |= fact.flying;
            fact.retry_at = None;
            if !fact.flying {
                fact.last = None;
            }
        }
        // Of several that an earlier process admitted nobody knows which was the last.
        for door in self.gates.values_mut() {
            door.admitted = None;
        }
        if let (1, Some(addr)) = (flying.len(), flying.first()) {
            let attempt = self.fact(addr).ordered;
            self.admit(spec, addr, attempt, at);
        }
        if self.cancels == 0 {
            self.revive_block(spec, "", &spec.root, &mut world);
        }
    }

    pub fn mark(&mut self, spec: &Spec, addr: &str, verdict: Verdict, mut world: Option<&mut World>) {
        let fact = self.at(addr);
        fact.asked = false;
        fact.last = None;
        fact.retry_at = None;
        fact.fails = 0;
        match verdict {
            Verdict::Done => fact.ended = Some(Final::Succeeded),
            Verdict::Skip => fact.ended = Some(Final::Skipped),
            Verdict::Redo => self.revive(spec, addr, &mut world),
        }
        if self.finished.is_some() {
            return;
        }
        for frame in walk(spec, addr).unwrap() {
            let places = [(Some(frame.addr), false), (frame.item, true)];
            for (place, is_item) in places {
                let Some(place) = place else { continue };
                if place != addr && self.fact(&place).ended == Some(Final::Failed) {
                    self.at(&place).ended = None;
                    let limit = frame.step.fan.as_ref().and_then(|fan| fan.max_parallel);
                    self.at(&place).opened = !(is_item && limit.is_some());
                }
            }
        }
    }

    /// What failed here or inside has a new chance.
    fn revive(&mut self, spec: &Spec, addr: &str, world: &mut Option<&mut World>) {
        let fact = self.at(addr);
        if matches!(fact.ended, Some(Final::Succeeded | Final::Skipped)) {
            return;
        }
        let failed = fact.ended.take().is_some();
        if !fact.flying {
            fact.last = None;
            fact.retry_at = None;
        }
        let keys = fact.keys.clone();
        let frames = walk(spec, addr).unwrap();
        let last = frames.last().unwrap();
        let limited = last.item.is_some() && last.step.fan.as_ref().is_some_and(|fan| fan.max_parallel.is_some());
        let parent = match last.item {
            Some(_) => &last.addr,
            None => &last.owner,
        };
        let open = self.fact(parent).opened;
        let fact = self.at(addr);
        fact.opened &= open;
        if failed && (keys.is_some() || fact.was_opened) {
            fact.opened = open && !limited;
        }
        for key in keys.unwrap_or_default() {
            self.revive(spec, &join(addr, &key), world);
        }
        if let Some(block) = self.block_of(spec, addr) {
            self.revive_block(spec, addr, block, world);
        }
    }

    fn flies_inside(&self, addr: &str) -> bool {
        let inside = format!("{addr}/");
        self.facts.iter().any(|(other, fact)| fact.flying && (other == addr || other.starts_with(&inside)))
    }

    fn revive_block(&mut self, spec: &Spec, owner: &str, block: &Block, world: &mut Option<&mut World>) {
        let done = block.steps.iter().all(|step| {
            let fact = self.fact(&join(owner, &step.name));
            matches!(fact.ended, Some(Final::Succeeded | Final::Skipped)) || step.background && fact.ended.is_none()
        });
        let closing = self.fact(owner).closing.is_some();
        if closing && !done {
            let names = block.finally.iter().map(|step| join(owner, &step.name));
            let names: Vec<String> = names.collect();
            if names.iter().any(|name| self.flies_inside(name)) {
                return;
            }
            self.at(owner).closing = None;
            for name in names {
                self.restart(&name, world);
            }
        }
        for step in block.steps.iter().chain(&block.finally) {
            let addr = join(owner, &step.name);
            if step.background && self.fact(&addr).ended == Some(Final::Succeeded) {
                self.at(&addr).ended = None;
            }
            self.revive(spec, &addr, world);
        }
    }

    fn restart(&mut self, addr: &str, world: &mut Option<&mut World>) {
        if let Some(world) = world {
            world.forget(addr);
        }
        let inside = format!("{addr}/");
        for (other, fact) in &mut self.facts {
            if other == addr || other.starts_with(&inside) {
                *fact = Fact {
                    ordered: fact.ordered,
                    resolved: fact.keys.is_some(),
                    keys: fact.keys.take(),
                    ..Fact::default()
                };
            }
        }
    }
}
