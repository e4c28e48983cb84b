//! The loop around the core: take what happened, decide, commit, and only then act.
//! Unaware of step types and screens. Level-triggered: what is wanted is compared with what is in flight, so start, live
//! and resume are one path.

use super::clock::Clock;
use super::commit::GATHER_MS;
use super::facts::Facts;
use super::flight::children_of;
use super::gatekeeper::Gatekeeper;
use super::hosting::Hosting;
use super::message::{Answer, Ending, Message, Request};
use super::prepare::Prepared;
use super::publish::Publisher;
use super::world::World;
use super::{DriverError, End};
use crate::host::{ChildKey, Fates};
use crate::store::{Entry, Health, Journal};
use flowrun_core::{AttemptId, Input, NodeId, Run};
use flowrun_sdk::Progress;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// An attempt in flight in this process.
pub(crate) struct Task {
    pub(crate) attempt: u32,
    pub(crate) cancel: CancellationToken,
    pub(crate) started: u64,
    pub(crate) progress: Option<Progress>,
    pub(crate) serving: bool,
    pub(crate) announced: bool,
    /// It finds out what became of the attempt.
    pub(crate) reconciles: bool,
}

/// Why a full disk pauses a run, as it stands in the journal.
pub(crate) const FULL_DISK: &str = "the disk of the state directory is full";

/// How far this process is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    /// Waits for what runs.
    Draining,
    /// Leaves what runs to the host.
    Now(Signal),
}

/// Who sent this process away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// INT.
    Interrupt,
    /// TERM.
    Terminate,
}

pub(crate) struct Engine {
    pub(crate) world: Arc<World>,
    pub(crate) run: Run,
    pub(crate) facts: Facts,
    pub(crate) journal: Arc<Journal>,
    pub(crate) host: Hosting,
    pub(crate) clock: Clock,
    /// The number of the last event in memory.
    pub(crate) seq: u64,
    /// The number of the last event on the disk.
    pub(crate) committed: u64,
    pub(crate) batch: Vec<Entry>,
    /// Since when a batch waits for company.
    pub(super) gathering: Option<u64>,
    pub(crate) driver: mpsc::UnboundedSender<Message>,
    pub(crate) tasks: HashMap<NodeId, Task>,
    /// Nodes to look at again when this event is on the disk.
    pub(crate) releases: BTreeMap<u64, Vec<NodeId>>,
    /// The events that ordered attempts which have not started.
    pub(crate) ordered: HashMap<NodeId, u64>,
    pub(crate) prepared: HashMap<NodeId, Result<Prepared, String>>,
    pub(crate) gates: Gatekeeper,
    pub(crate) publisher: Publisher,
    /// Answers to those who asked for something, by the event that does it.
    pub(super) answers: BTreeMap<u64, Vec<(Answer, String)>>,
    /// Children whose end is known, by the event that says so: the host may forget them once it is on the disk.
    pub(super) forgets: BTreeMap<u64, Vec<ChildKey>>,
    /// Attempts whose end is known, likewise: before it is on the disk a resume still needs what their children handed
    /// out.
    pub(super) over: BTreeMap<u64, Vec<AttemptId>>,
    /// When attempts started that an earlier process started.
    pub(crate) known_starts: HashMap<AttemptId, u64>,
    /// Every attempt of an earlier boot is judged once this event is on the disk.
    pub(crate) settled_at: Option<u64>,
    pub(super) paused_by_disk: bool,
    /// Empty folders that attempts have left.
    pub(super) spare: Vec<std::path::PathBuf>,
    /// Nothing new is to start: it ends when what runs has ended.
    pub(crate) settles: bool,
    pub(super) leaving: Leaving,
    pub(super) failed: Option<DriverError>,
}

impl Engine {
    #[expect(clippy::too_many_arguments, reason = "the parts of one thing, put together in one place")]
    pub(crate) fn new(
        world: Arc<World>,
        run: Run,
        facts: Facts,
        journal: Arc<Journal>,
        host: Hosting,
        seq: u64,
        driver: mpsc::UnboundedSender<Message>,
        gates: Gatekeeper,
        publisher: Publisher,
    ) -> Self {
        Self {
            world,
            run,
            facts,
            journal,
            host,
            clock: Clock::start(),
            seq,
            committed: seq,
            batch: Vec::new(),
            driver,
            tasks: HashMap::new(),
            releases: BTreeMap::new(),
            ordered: HashMap::new(),
            prepared: HashMap::new(),
            gates,
            publisher,
            answers: BTreeMap::new(),
            forgets: BTreeMap::new(),
            over: BTreeMap::new(),
            known_starts: HashMap::new(),
            settled_at: None,
            gathering: None,
            paused_by_disk: false,
            spare: Vec::new(),
            settles: false,
            leaving: Leaving::No,
            failed: None,
        }
    }

    /// Drives the run to an end of this process.
    pub(crate) async fn drive(&mut self, inbox: &mut mpsc::UnboundedReceiver<Message>) -> Result<End, DriverError> {
        loop {
            self.turn();
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if let Some(end) = self.end() {
                if end == End::Finished(flowrun_core::RunState::Succeeded) {
                    self.say_outputs();
                }
                self.publish(true);
                return Ok(end);
            }
            tokio::select! {
                message = inbox.recv() => if let Some(message) = message { self.take(message) },
                () = tokio::time::sleep(self.pause()) => {}
            }
            for _ in 0..1024 {
                let Ok(message) = inbox.try_recv() else { break };
                self.take(message);
            }
        }
    }

    /// What the plan hands out is what the person wanted to know.
    fn say_outputs(&self) {
        match self.resolver().outputs(NodeId::RUN) {
            Ok(outputs) => {
                for (name, value) in outputs.as_object().into_iter().flatten() {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    self.publisher.say(format!("{name}: {value}"));
                }
            }
            Err(fault) => self.publisher.say(format!("the plan's outputs cannot be shown: {fault}")),
        }
    }

    /// Decides until there is nothing to decide, hands the decisions to the writer, and acts on what is on the disk.
    fn turn(&mut self) {
        self.run.tell_time(self.clock.now());
        loop {
            let events = self.run.decide();
            for event in events.iter().cloned() {
                self.record(event);
            }
            let changed = self.run.take_changed();
            for node in &changed {
                self.adjust(*node);
            }
            if events.is_empty() && changed.is_empty() {
                break;
            }
        }
        self.flush();
        self.gates.look(&self.run, &self.driver);
        self.publish(false);
    }

    /// How long nothing happens by itself.
    fn pause(&self) -> Duration {
        let now = self.clock.now();
        let gates = self.gates.next_look(&self.run);
        let gathered = self.gathering.map(|since| since.saturating_add(GATHER_MS));
        let next = [self.run.next_time(), gates, self.publisher.next(now), gathered].into_iter().flatten().min();
        Duration::from_millis(next.map_or(60_000, |at| at.saturating_sub(now).clamp(1, 60_000)))
    }

    fn end(&self) -> Option<End> {
        let flushed = self.committed == self.seq && self.batch.is_empty();
        if let Leaving::Now(signal) = self.leaving
            && flushed
        {
            return Some(End::Interrupted(signal));
        }
        if !flushed {
            return None;
        }
        let state = self.run.state();
        if state != flowrun_core::RunState::Running {
            return self.tasks.is_empty().then_some(End::Finished(state));
        }
        let busy = self.tasks.values().any(|task| !task.serving);
        if self.leaving == Leaving::Draining && !busy {
            return Some(End::Interrupted(Signal::Interrupt));
        }
        if self.settles && !busy && self.releases.is_empty() {
            return Some(End::Settled);
        }
        let idle = self.tasks.values().all(|task| task.serving) && self.releases.is_empty();
        (idle && self.run.waits_for_a_person()).then_some(End::WaitsForAPerson)
    }

    pub(crate) fn take(&mut self, message: Message) {
        match message {
            Message::Ended { id, ending, started, children } => self.ended(id, ending, started, children),
            Message::Ready(id) => {
                if let Some(task) = self.tasks.get_mut(&id.node).filter(|task| task.attempt == id.attempt) {
                    task.serving = true;
                }
                self.input(Input::Ready(id));
            }
            Message::Reconciled { id, found } => {
                self.tasks.remove(&id.node);
                self.input(Input::Reconciled { id, found });
                let keys = Fates::look(&self.world.run).map(|fates| children_of(&fates, id)).unwrap_or_default();
                self.forgets.entry(self.seq).or_default().extend(keys);
                self.over.entry(self.seq).or_default().push(id);
            }
            Message::Progress(id, progress) => {
                if let Some(task) = self.tasks.get_mut(&id.node).filter(|task| task.attempt == id.attempt) {
                    task.progress = Some(progress);
                }
            }
            Message::Written(written) => self.written(written),
            Message::Health(health) => self.disk(&health),
            Message::Measured(gate, mut reading) => {
                reading.text = self.world.masker.mask(&reading.text);
                self.run.tell_time(self.clock.now());
                self.run.measured(gate, reading.holds);
                self.gates.measured(gate, reading, self.clock.now());
            }
            Message::HostChanged => self.publisher.say("the host of the run died; another one has taken over".into()),
            Message::HostLost(error) => drop(self.failed.get_or_insert(DriverError::Host(error))),
            Message::Asked(request, answer) => match self.asked(request) {
                // What was decided is done once it is on the disk.
                Ok(text) => self.answers.entry(self.seq).or_default().push((answer, text)),
                // Who asked may have gone.
                Err(why) => drop(answer.send(Err(why))),
            },
            Message::Interrupt => self.interrupt(),
            Message::Terminate => self.leaving = Leaving::Now(Signal::Terminate),
        }
    }

    /// A full disk pauses the run: what runs goes on, nothing new starts before there is room.
    fn disk(&mut self, health: &Health) {
        match health {
            Health::Low | Health::Full(_) if !self.paused_by_disk => {
                self.paused_by_disk = true;
                self.publisher.say(format!(
                    "the disk of the state directory is full: nothing new starts, what runs goes on; make room on the \
                     filesystem of {} and the run goes on by itself",
                    self.world.run.path().display()
                ));
                self.input(Input::Pause { reason: FULL_DISK.into() });
            }
            Health::Well if self.paused_by_disk => {
                self.paused_by_disk = false;
                self.publisher.say("there is room on the disk again: the run goes on".into());
                self.input(Input::Unpause);
            }
            // What is broken is told by the answer to the next append.
            Health::Low | Health::Well | Health::Full(_) | Health::Broken(_) => {}
        }
    }

    fn interrupt(&mut self) {
        if self.leaving != Leaving::No {
            self.leaving = Leaving::Now(Signal::Interrupt);
            return;
        }
        self.leaving = Leaving::Draining;
        self.run.drain();
        let busy = self.tasks.values().filter(|task| !task.serving).count();
        if busy > 0 {
            self.publisher.say(format!(
                "interrupted: nothing new starts; {busy} running {} waited for; interrupt again to leave them running \
                 and go (the next `flowrun resume` takes them up again), or `flowrun cancel {}` to stop them",
                if busy == 1 { "step is" } else { "steps are" },
                self.world.id
            ));
        }
    }

    pub(crate) fn asked(&mut self, request: Request) -> Result<String, String> {
        let input = match request {
            Request::Input(input) => input,
            Request::Mark { address, verdict, because } => {
                let node = self.run.find(&address).ok_or_else(|| format!("there is no step or item `{address}`"))?;
                Input::Mark { node, verdict, because: because.into() }
            }
        };
        self.run.tell_time(self.clock.now());
        let events = self.run.handle(input).map_err(|refusal| refusal.to_string())?;
        for event in events {
            self.record(event);
        }
        Ok("done".into())
    }

    fn ended(&mut self, id: AttemptId, ending: Ending, started: u64, children: u16) {
        self.tasks.remove(&id.node);
        self.run.tell_time(self.clock.now());
        match ending {
            Ending::Outcome(outcome) => {
                self.input(Input::Report { id, outcome, started: Some(started) });
                let (node, attempt) = (id.node.0, id.attempt);
                let keys = (0..children).map(|ordinal| ChildKey { node, attempt, ordinal });
                self.forgets.entry(self.seq).or_default().extend(keys);
                self.over.entry(self.seq).or_default().push(id);
            }
            Ending::Lost => self.input(Input::Lost(id)),
        }
    }

    /// Lets the core decide what an input means. A refusal is a value: a stale report is nobody's fault.
    pub(crate) fn input(&mut self, input: Input) {
        match self.run.handle(input) {
            Ok(events) => events.into_iter().for_each(|event| self.record(event)),
            Err(refusal) => tracing::debug!(%refusal, "an input changed nothing"),
        }
    }

    fn publish(&mut self, last: bool) {
        let now = self.clock.now();
        if last || self.publisher.due(now) {
            let view = super::publish::View {
                world: &self.world,
                run: &self.run,
                facts: &self.facts,
                tasks: &mut self.tasks,
                gates: &self.gates,
            };
            self.publisher.publish(view, now);
        }
    }
}
