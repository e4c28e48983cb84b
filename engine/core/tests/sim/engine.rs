//! A driver as small as can be around the core: decide, commit, act.
//! Unaware of what the world does with the effects.

use crate::books::{Books, Line};
use crate::spec::Spec;
use crate::world::{Look, World};
use flowrun_core::{AttemptId, Event, Input, NodeId, Plan, Run, Want};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Something to do in the world.
#[derive(Debug, Clone)]
pub enum Effect {
    Resolve(NodeId),
    Outputs(NodeId),
    Start(AttemptId),
    Stop(AttemptId),
    Reconcile(AttemptId),
}

pub struct Engine {
    pub run: Run,
    pub doing: BTreeMap<NodeId, Want>,
    /// Effects, each with the length of the journal that must be committed before.
    pub outbox: VecDeque<(usize, Effect)>,
    /// Where each attempt's order stands in the log.
    pub orders: BTreeMap<AttemptId, usize>,
    pub drained: bool,
    /// Starts of attempts that an earlier process ordered are not new decisions.
    pub inherited: BTreeSet<AttemptId>,
}

/// The log of all that was decided; what lies behind `committed` is lost in a crash.
#[derive(Debug, Default)]
pub struct Log {
    pub lines: Vec<Line>,
    pub committed: usize,
}

impl Log {
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.lines.iter().filter_map(|line| match line {
            Line::Event { event, .. } => Some(event),
            Line::Intent { .. } => None,
        })
    }
}

/// What the engine works with.
pub struct Desk<'a> {
    pub spec: &'a Spec,
    pub log: &'a mut Log,
    pub books: &'a mut Books,
    pub world: &'a mut World,
}

impl Engine {
    pub fn new(plan: Arc<Plan>) -> Self {
        Self::around(Run::new(plan))
    }

    fn around(run: Run) -> Self {
        Self {
            run,
            doing: BTreeMap::new(),
            outbox: VecDeque::new(),
            orders: BTreeMap::new(),
            drained: false,
            inherited: BTreeSet::new(),
        }
    }

    /// The next process: folds the journal, tells what runs already, and goes on.
    pub fn resume(plan: Arc<Plan>, desk: &mut Desk, now: u64) -> Result<Self, String> {
        let mut engine = Self::around(Run::replay(plan, desk.log.events()));
        engine.run.tell_time(now);
        engine.inherited = engine.run.in_flight().collect();
        for id in engine.run.ordered_ahead() {
            engine.inherited.insert(id);
            let addr = engine.run.address(id.node);
            if desk.world.look(&addr, id.attempt) != Look::NoEntry {
                engine.input(Input::Begun(id), desk, now)?;
            }
        }
        engine.inherited = engine.run.in_flight().collect();
        engine.input(Input::Resume, desk, now)?;
        Ok(engine)
    }

    /// Takes one input all the way. A refusal is not an error.
    pub fn input(&mut self, input: Input, desk: &mut Desk, now: u64) -> Result<bool, String> {
        self.run.tell_time(now);
        let what = format!("{input:?}");
        let taken = match self.run.handle(input) {
            Ok(events) => {
                for event in events {
                    self.happen(event, desk, now).map_err(|why| format!("{why} (after {what})"))?;
                }
                true
            }
            Err(_) => false,
        };
        self.decide(desk, now)?;
        Ok(taken)
    }

    /// Decides until there is nothing to decide, and compares what is wanted with what is done.
    pub fn decide(&mut self, desk: &mut Desk, now: u64) -> Result<(), String> {
        self.run.tell_time(now);
        for _ in 0..10_000 {
            let events = self.run.decide();
            if events.is_empty() {
                return self.compare(desk);
            }
            for event in events {
                self.happen(event, desk, now)?;
            }
        }
        Err("the core decides for ever".into())
    }

    fn happen(&mut self, event: Event, desk: &mut Desk, now: u64) -> Result<(), String> {
        let addr = node_of(&event).map_or(String::new(), |node| self.run.address(node));
        let resumed = matches!(event, Event::Resumed { .. });
        let flying = self.run.in_flight().filter(|_| resumed);
        let flying = flying.map(|id| self.run.address(id.node)).collect();
        if let Event::Ordered { id } = &event {
            self.orders.insert(*id, desk.log.lines.len() + 1);
        }
        let line = Line::Event { event: event.clone(), addr, now, flying };
        desk.log.lines.push(line.clone());
        desk.books.take(desk.spec, &line, Some(desk.world))?;
        self.run.evolve(&event);
        Ok(())
    }

    fn compare(&mut self, desk: &mut Desk) -> Result<(), String> {
        for node in self.run.take_changed() {
            let want = self.run.want(node);
            if want == self.doing.get(&node).copied() {
                continue;
            }
            let before = match want {
                None => self.doing.remove(&node),
                Some(want) => self.doing.insert(node, want),
            };
            let Some(want) = want else { continue };
            self.pursue(node, want, before, desk)?;
        }
        let desired: BTreeMap<NodeId, Want> = self.run.desired().into_iter().collect();
        if desired == self.doing {
            Ok(())
        } else {
            let doing = &self.doing;
            Err(format!("the increments of wants are wrong: desired {desired:?}, known {doing:?}"))
        }
    }

    fn pursue(&mut self, node: NodeId, want: Want, before: Option<Want>, desk: &mut Desk) -> Result<(), String> {
        let mut seq = desk.log.lines.len();
        let effect = match want {
            Want::Resolve => Effect::Resolve(node),
            Want::Outputs => Effect::Outputs(node),
            Want::Reconcile(id) => Effect::Reconcile(id),
            Want::Stop(id) => Effect::Stop(id),
            Want::Run(id) if before == Some(Want::Stop(id)) => return Ok(()),
            Want::Run(id) => {
                let addr = self.run.address(node);
                if !self.inherited.contains(&id) {
                    let attempt = id.attempt;
                    let line = Line::Intent { addr, attempt };
                    desk.log.lines.push(line.clone());
                    desk.books.take(desk.spec, &line, Some(desk.world))?;
                }
                if !desk.spec.rates.strict {
                    seq = self.orders.get(&id).copied().unwrap_or(0);
                }
                Effect::Start(id)
            }
        };
        self.outbox.push_back((seq, effect));
        Ok(())
    }

    /// Effects whose events are committed.
    pub fn released(&mut self, committed: usize) -> Vec<Effect> {
        let (free, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.outbox).into_iter().partition(|(seq, _)| *seq <= committed);
        self.outbox = kept.into();
        free.into_iter().map(|(_, effect)| effect).collect()
    }

    /// Nobody waits for this node's answer any more.
    pub fn answered(&mut self, node: NodeId) {
        self.doing.remove(&node);
    }
}

fn node_of(event: &Event) -> Option<NodeId> {
    match event {
        Event::Started
        | Event::Resumed { .. }
        | Event::CancelRequested
        | Event::Paused { .. }
        | Event::Unpaused
        | Event::Replanned { .. }
        | Event::Finished { .. } => None,
        Event::FannedOut { node, .. }
        | Event::Resolved { node, .. }
        | Event::Opened { node }
        | Event::Closing { node, .. }
        | Event::RetryAt { node, .. }
        | Event::Settled { node, .. }
        | Event::Marked { node, .. } => Some(*node),
        Event::Ordered { id }
        | Event::Begun { id }
        | Event::Ready { id }
        | Event::Lost { id }
        | Event::Ended { id, .. }
        | Event::Asked { id, .. } => Some(id.node),
    }
}
