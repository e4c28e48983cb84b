//! What the rules of a run say to each event: a second, slow and simple reading of the plan language.
//! Unaware of the code under test; it sees events and addresses. An event that breaks a rule is an error.

use crate::spec::{Block, Spec, Step};
use crate::walk::{Frame, join, walk};
use crate::world::World;
use flowrun_core::event::FailureClass;
use flowrun_core::plan::{Limit, NeedKind};
use flowrun_core::{Event, Final, Outcome, RunState};
use std::collections::{BTreeMap, BTreeSet};

/// What has been said about a step, an item, or (under the empty address) the run.
#[derive(Debug, Clone, Default)]
pub struct Fact {
    pub ordered: u32,
    pub ended: Option<Final>,
    pub fails: u32,
    pub last: Option<Last>,
    pub retry_at: Option<u64>,
    pub opened: bool,
    pub was_opened: bool,
    pub closing: Option<RunState>,
    pub asked: bool,
    pub flying: bool,
    pub lost: bool,
    pub ready: bool,
    pub begun: bool,
    pub keys: Option<Vec<String>>,
    pub resolved: bool,
    pub answer: Option<Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    pub class: FailureClass,
    pub lost: bool,
}

/// What the world said when it was asked to evaluate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Run,
    Skip,
    Broken,
    FanOut,
    NoOutputs,
}

#[derive(Debug, Clone, Default)]
pub struct Books {
    pub facts: BTreeMap<String, Fact>,
    pub cancels: u32,
    pub paused: bool,
    pub finished: Option<RunState>,
    pub gates: BTreeMap<u32, crate::doors::Door>,
    pub sessions: u32,
}

/// How a step stands in its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    Ended(Final),
    Blocked,
    Waiting,
}

/// A line of the log: an event, or that an attempt is to be started now.
#[derive(Debug, Clone)]
pub enum Line {
    Event {
        event: Event,
        addr: String,
        now: u64,
        /// Attempts in flight before it, for `Resumed`.
        flying: BTreeSet<String>,
    },
    Intent {
        addr: String,
        attempt: u32,
    },
}

impl Fact {
    /// Attempts of it led to success.
    fn is_done(&self) -> bool {
        self.ended == Some(Final::Succeeded) && self.keys.is_none() && !self.was_opened
    }
}

type Checked = Result<(), String>;

impl Books {
    pub fn fact(&self, addr: &str) -> Fact {
        self.facts.get(addr).cloned().unwrap_or_default()
    }

    pub fn at(&mut self, addr: &str) -> &mut Fact {
        self.facts.entry(addr.to_owned()).or_default()
    }

    /// Takes a line in, after checking it where a world to check with is given.
    pub fn take(&mut self, spec: &Spec, line: &Line, world: Option<&mut World>) -> Checked {
        match line {
            Line::Intent { addr, attempt } => {
                if world.is_some() {
                    self.check_begin(spec, addr)?;
                }
                let fact = self.at(addr);
                fact.flying = true;
                fact.begun = true;
                if fact.ordered != *attempt {
                    return Err(format!("`{addr}` starts attempt {attempt} out of order"));
                }
                Ok(())
            }
            Line::Event { event, addr, now, flying } => {
                if let Some(world) = &world {
                    self.check(spec, event, addr, *now, world)
                        .map_err(|why| format!("{event:?} of `{addr}`: {why}"))?;
                }
                self.fold(spec, event, addr, *now, flying, world);
                Ok(())
            }
        }
    }

    fn fold(
        &mut self,
        spec: &Spec,
        event: &Event,
        addr: &str,
        now: u64,
        flying: &BTreeSet<String>,
        world: Option<&mut World>,
    ) {
        match event {
            Event::Started => self.at("").opened = true,
            Event::Resumed { at } => self.resume(spec, flying, world, *at),
            Event::FannedOut { keys, .. } => {
                let fact = self.at(addr);
                fact.keys = Some(keys.iter().map(ToString::to_string).collect());
                fact.opened = true;
                fact.resolved = true;
            }
            Event::Resolved { .. } => self.at(addr).resolved = true,
            Event::Opened { .. } => {
                self.at(addr).opened = true;
                self.at(addr).was_opened = true;
            }
            Event::Closing { state, .. } => self.at(addr).closing = Some(*state),
            Event::Ordered { id } => {
                let fact = self.at(addr);
                fact.ordered = id.attempt;
                fact.retry_at = None;
                fact.last = None;
                self.admit(spec, addr, id.attempt, now);
            }
            Event::Begun { .. } => {
                self.at(addr).flying = true;
                self.at(addr).begun = true;
            }
            Event::Ready { .. } => self.at(addr).ready = true,
            Event::Lost { .. } => {
                self.at(addr).lost = true;
                self.at(addr).ready = false;
            }
            Event::Ended { outcome, .. } => self.end(addr, outcome),
            Event::RetryAt { at, .. } => self.at(addr).retry_at = Some(*at),
            Event::Asked { .. } => {
                let fact = self.at(addr);
                fact.asked = true;
                fact.flying = false;
                fact.lost = false;
                fact.ready = false;
            }
            Event::Settled { state, .. } => self.at(addr).ended = Some(*state),
            Event::CancelRequested => self.cancels += 1,
            Event::Paused { .. } => self.paused = true,
            Event::Unpaused => self.paused = false,
            Event::Marked { verdict, .. } => self.mark(spec, addr, *verdict, world),
            Event::Replanned { .. } => {}
            Event::Finished { state } => {
                self.finished = Some(*state);
                self.at("").opened = false;
            }
        }
    }

    fn end(&mut self, addr: &str, outcome: &Outcome) {
        for door in self.gates.values_mut() {
            door.ended(addr);
        }
        let fact = self.at(addr);
        let lost = fact.lost;
        fact.flying = false;
        fact.lost = false;
        fact.ready = false;
        match outcome {
            Outcome::Succeeded { .. } => fact.ended = Some(Final::Succeeded),
            Outcome::Cancelled => fact.ended = Some(Final::Cancelled),
            Outcome::Failed(failure) => {
                fact.fails += 1;
                fact.last = Some(Last { class: failure.class, lost });
            }
        }
    }

    /// The steps of a plan's block and of its `finally` at this owner.
    pub fn block_of<'a>(&self, spec: &'a Spec, owner: &str) -> Option<&'a Block> {
        if owner.is_empty() {
            return Some(&spec.root);
        }
        let frames = walk(spec, owner).ok()?;
        let last = frames.last()?;
        (last.step.fan.is_none() || last.item.is_some()).then_some(last.step.body.as_ref()).flatten()
    }

    pub fn stand(&self, owner: &str, block: &Block, step: &Step) -> Stand {
        let fact = self.fact(&join(owner, &step.name));
        match fact.ended {
            Some(state) => Stand::Ended(state),
            None if self.blocked(owner, block, step) => Stand::Blocked,
            None => Stand::Waiting,
        }
    }

    fn blocked(&self, owner: &str, block: &Block, step: &Step) -> bool {
        let fact = self.fact(&join(owner, &step.name));
        if fact.flying || fact.asked || fact.opened || fact.last.is_some() && fact.retry_at.is_none() {
            return false;
        }
        step.needs.iter().any(|(name, kind)| {
            let need = sibling(block, name);
            let failed = match self.stand(owner, block, need) {
                Stand::Blocked => true,
                Stand::Ended(Final::Failed | Final::Cancelled) => !need.allow_failure,
                Stand::Ended(Final::Succeeded | Final::Skipped) | Stand::Waiting => false,
            };
            failed && *kind != NeedKind::End
        })
    }

    /// Takes an output that it will not get.
    fn starved(&self, owner: &str, step: &Step) -> bool {
        step.needs.iter().any(|(name, kind)| {
            let ended = self.fact(&join(owner, name)).ended;
            *kind == NeedKind::Output && matches!(ended, Some(Final::Skipped | Final::Failed))
        })
    }

    fn need_met(&self, frame: &Frame, name: &str, kind: NeedKind) -> bool {
        let need = sibling(frame.block, name);
        let fact = self.fact(&join(&frame.owner, name));
        if need.background && fact.ready {
            return true;
        }
        match self.stand(&frame.owner, frame.block, need) {
            Stand::Waiting => false,
            Stand::Blocked => kind == NeedKind::End,
            Stand::Ended(Final::Succeeded) => true,
            Stand::Ended(Final::Skipped) => kind != NeedKind::Output,
            Stand::Ended(Final::Failed) => kind == NeedKind::End || need.allow_failure && kind == NeedKind::Success,
            Stand::Ended(Final::Cancelled) => kind == NeedKind::End,
        }
    }

    pub fn failed_items(&self, frame: &Frame) -> u64 {
        let keys = self.fact(&frame.addr).keys.unwrap_or_default();
        let failed = |key: &&String| self.fact(&join(&frame.addr, key)).ended == Some(Final::Failed);
        keys.iter().filter(failed).count() as u64
    }

    /// More items failed than the fan-out's limit allows.
    fn too_many(&self, frame: &Frame) -> bool {
        let failed = self.failed_items(frame);
        let total = self.fact(&frame.addr).keys.map_or(0, |keys| keys.len()) as u64;
        match frame.step.fan.as_ref().and_then(|fan| fan.max_failures) {
            None => false,
            Some(Limit::Count(count)) => failed > u64::from(count),
            Some(Limit::Percent(percent)) => failed * 100 > u64::from(percent) * total,
        }
    }

    fn has_begun(&self, addr: &str) -> bool {
        let inside = format!("{addr}/");
        if self.fact(addr).was_opened && !self.fact(addr).opened {
            return false;
        }
        self.facts
            .iter()
            .filter(|(_, fact)| fact.flying || fact.asked || fact.fails > 0 || fact.is_done())
            .filter(|(other, _)| *other == addr || other.starts_with(&inside))
            .any(|(other, _)| self.is_in_open(addr, other))
    }

    /// All between the two places is open, or was when it ended.
    fn is_in_open(&self, addr: &str, inner: &str) -> bool {
        let mut ends = inner.match_indices('/').map(|(at, _)| &inner[..at]);
        ends.all(|place| {
            let fact = self.fact(place);
            place.len() <= addr.len() || fact.opened || !(fact.was_opened || fact.keys.is_some())
        })
    }

    pub fn stopping(&self, frames: &[Frame]) -> bool {
        self.cancels > 1 || self.cancels > 0 && !frames.iter().any(|frame| frame.closing)
    }

    /// All that must be so before anything of a unit begins.
    pub fn check_begin(&self, spec: &Spec, addr: &str) -> Checked {
        let frames = walk(spec, addr)?;
        if self.finished.is_some() {
            return Err("the run has ended".into());
        }
        if self.stopping(&frames) {
            return Err("it starts though the run is being cancelled".into());
        }
        for frame in &frames {
            self.check_frame(frame, addr)?;
        }
        Ok(())
    }

    fn check_frame(&self, frame: &Frame, addr: &str) -> Checked {
        let owner = self.fact(&frame.owner);
        if !owner.opened || owner.ended.is_some() {
            return Err(format!("`{addr}` starts though `{}` is not open", frame.owner));
        }
        let serves_on = frame.step.background && !frame.closing;
        if frame.closing != owner.closing.is_some() && !serves_on {
            return Err(format!("`{addr}` starts in the wrong phase"));
        }
        // What is open goes on when a service that it needs is gone for a while.
        let open = self.fact(&frame.addr).opened;
        for (name, kind) in &frame.step.needs {
            if !open && !self.need_met(frame, name, *kind) {
                return Err(format!("`{addr}` starts before its need `{name}`"));
            }
        }
        for place in [Some(&frame.addr), frame.item.as_ref()].into_iter().flatten() {
            if self.fact(place).ended.is_some() {
                return Err(format!("`{addr}` starts though `{place}` has ended"));
            }
        }
        if let Some(item) = &frame.item
            && self.too_many(frame)
            && !self.has_begun(item)
        {
            return Err(format!("`{addr}` starts after too many failures"));
        }
        Ok(())
    }

    fn check(&self, spec: &Spec, event: &Event, addr: &str, now: u64, world: &World) -> Checked {
        let fact = self.fact(addr);
        match event {
            Event::FannedOut { .. } | Event::Resolved { .. } => {
                if fact.resolved {
                    return Err("it is evaluated twice".into());
                }
                self.check_begin(spec, addr)
            }
            Event::Opened { .. } => self.check_begin(spec, addr),
            Event::Ordered { id } => {
                if self.paused {
                    return Err("it is ordered while the run is paused".into());
                }
                self.check_begin(spec, addr)?;
                self.check_order(spec, addr, id.attempt, now, world)
            }
            Event::Ended { id, outcome, .. } => self.check_end(spec, addr, id.attempt, outcome, world),
            Event::RetryAt { at, .. } => self.check_retry(spec, addr, *at, now),
            Event::Closing { state, .. } => {
                if fact.closing.is_some() {
                    return Err("it closes twice".into());
                }
                self.check_block(spec, addr, *state, Phase::Main, world)
            }
            Event::Settled { state, .. } => self.check_settled(spec, addr, *state, world),
            Event::Finished { state } => {
                if !world.alive.is_empty() {
                    return Err(format!("attempts live on: {:?}", world.alive));
                }
                self.check_block(spec, "", *state, Phase::All, world)
            }
            Event::Started
            | Event::Resumed { .. }
            | Event::Begun { .. }
            | Event::Ready { .. }
            | Event::Lost { .. }
            | Event::Asked { .. }
            | Event::CancelRequested
            | Event::Paused { .. }
            | Event::Unpaused
            | Event::Marked { .. }
            | Event::Replanned { .. } => Ok(()),
        }
    }

    fn check_order(&self, spec: &Spec, addr: &str, n: u32, now: u64, world: &World) -> Checked {
        let frames = walk(spec, addr)?;
        let step = frames.last().unwrap().step;
        let fact = self.fact(addr);
        let unused = fact.ordered > 0 && !world.attempts.contains_key(&(addr.to_owned(), n));
        if n != fact.ordered + 1 && !(n == fact.ordered && unused) {
            return Err(format!("attempt {n} follows attempt {}", fact.ordered));
        }
        if fact.flying || fact.asked {
            return Err("its last attempt is still in flight".into());
        }
        let last = frames.last().unwrap();
        let resolves = if last.item.is_some() { step.resolve_item } else { step.resolve };
        if resolves && !fact.resolved {
            return Err("it is ordered before it was evaluated".into());
        }
        match (fact.last, fact.retry_at) {
            (Some(_), None) => return Err("a failed attempt is repeated unasked".into()),
            (_, Some(at)) if now < at => return Err("it is ordered before its pause ended".into()),
            _ => {}
        }
        for gate in &step.gates {
            let door = self.gates.get(gate).cloned().unwrap_or_default();
            door.check(&spec.gates[*gate as usize], now).map_err(|why| format!("gate {gate}: {why}"))?;
        }
        Ok(())
    }

    pub fn admit(&mut self, spec: &Spec, addr: &str, attempt: u32, now: u64) {
        let frames = walk(spec, addr).unwrap();
        for gate in &frames.last().unwrap().step.gates {
            let settle = spec.gates[*gate as usize].settle_ms;
            let door = self.gates.entry(*gate).or_default();
            door.admitted(addr, attempt, now, settle);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Only the steps.
    Main,
    /// The steps and `finally`.
    All,
}

pub fn sibling<'a>(block: &'a Block, name: &str) -> &'a Step {
    let all = block.steps.iter().chain(&block.finally);
    all.into_iter().find(|step| step.name == name).unwrap()
}

impl Books {
    /// Says a unit's items or block.
    pub fn block_at<'a>(&self, spec: &'a Spec, owner: &str) -> Option<&'a Block> {
        self.block_of(spec, owner)
    }

    pub fn is_starved(&self, owner: &str, step: &Step) -> bool {
        self.starved(owner, step)
    }

    pub fn is_over_limit(&self, frame: &Frame) -> bool {
        self.too_many(frame)
    }

    pub fn begun_at(&self, addr: &str) -> bool {
        self.has_begun(addr)
    }
}
