//! The loop around the core: take what happened, decide, commit, and only then act.
//! Unaware of step types and screens. Level-triggered: what is wanted is compared with what is in flight, so start, live
//! and resume are one path.

use super::attempt::{self, Job};
use super::backend::AttemptBackend;
use super::clock::Clock;
use super::facts::Facts;
use super::gatekeeper::Gatekeeper;
use super::hosting::Hosting;
use super::message::{Answer, Ending, Message, Request};
use super::prepare::{Prepared, prepare};
use super::probe;
use super::publish::Publisher;
use super::resolve::Resolver;
use super::world::World;
use super::{DriverError, End};
use crate::host::{ChildKey, Fates};
use crate::store::{Entry, Health, Journal};
use flowrun_core::event::{Failure, FailureClass, Outcome, UnitState};
use flowrun_core::{AttemptId, Event, Input, NodeId, Run, Want};
use flowrun_sdk::Progress;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
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

/// The longest that a decision nobody waits for is kept from the disk.
const GATHER_MS: u64 = 5;

/// How far this process is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
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
    gathering: Option<u64>,
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
    answers: BTreeMap<u64, Vec<(Answer, String)>>,
    /// Children whose end is known, by the event that says so: the host may forget them once it is on the disk.
    forgets: BTreeMap<u64, Vec<ChildKey>>,
    /// Attempts whose end is known, likewise: before it is on the disk a resume still needs what their children handed
    /// out.
    over: BTreeMap<u64, Vec<AttemptId>>,
    /// When attempts started that an earlier process started.
    pub(crate) known_starts: HashMap<AttemptId, u64>,
    /// Every attempt of an earlier boot is judged once this event is on the disk.
    pub(crate) settled_at: Option<u64>,
    paused_by_disk: bool,
    /// Nothing new is to start: it ends when what runs has ended.
    pub(crate) settles: bool,
    leaving: Leaving,
    failed: Option<DriverError>,
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

    /// Keeps an attempt from being started: something else watches it.
    pub(crate) fn hold(&mut self, id: AttemptId) -> CancellationToken {
        let cancel = CancellationToken::new();
        let task = Task {
            attempt: id.attempt,
            cancel: cancel.clone(),
            started: self.clock.now(),
            progress: None,
            serving: false,
            announced: true,
            reconciles: false,
        };
        self.tasks.insert(id.node, task);
        cancel
    }

    /// Lets the core decide what an input means. A refusal is a value: a stale report is nobody's fault.
    pub(crate) fn input(&mut self, input: Input) {
        match self.run.handle(input) {
            Ok(events) => events.into_iter().for_each(|event| self.record(event)),
            Err(refusal) => tracing::debug!(%refusal, "an input changed nothing"),
        }
    }

    fn written(&mut self, written: crate::store::Written) {
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
                        remove_scratch(&self.scratch(id));
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
    fn around(&self, event: &Event) -> Vec<(NodeId, UnitState)> {
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

    fn learn_gates_of(&mut self, node: NodeId) {
        match probe::of_call(&self.resolver(), node) {
            Ok(probes) => self.gates.learn(probes),
            Err(fault) => self.publisher.say(format!("what waits for this gate waits for ever: {fault}")),
        }
    }

    pub(crate) fn resolver(&self) -> Resolver<'_> {
        Resolver { world: &self.world, run: &self.run, facts: &self.facts }
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            self.gathering = None;
            return;
        }
        let now = self.clock.now();
        let since = *self.gathering.get_or_insert(now);
        // As long as attempts that are on the disk keep every slot busy, a commit may gather some company.
        let nobody_waits = self.releases.is_empty() && self.leaving == Leaving::No && self.tasks.len() > 1;
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

    /// Brings what is in flight for a node in line with what is wanted.
    fn adjust(&mut self, node: NodeId) {
        match self.run.want(node) {
            Some(Want::Resolve) => {
                let resolution = self.resolver().resolve(node);
                self.input(Input::Resolved { node, resolution });
            }
            Some(Want::Outputs) => {
                let outputs = self.resolver().outputs(node);
                self.input(Input::Outputs { node, outputs });
            }
            Some(Want::Run(id)) if self.leaving == Leaving::No || self.tasks.contains_key(&node) => {
                self.release(id, false);
            }
            Some(Want::Run(_)) => {}
            Some(Want::Reconcile(id)) => self.release(id, true),
            Some(Want::Stop(id)) => self.stop(id),
            None => {}
        }
    }

    /// Starts what is wanted once the event that wants it is on the disk.
    fn release(&mut self, id: AttemptId, reconcile: bool) {
        if self.tasks.get(&id.node).is_some_and(|task| task.attempt == id.attempt) {
            return;
        }
        let ordered = self.ordered.get(&id.node).copied();
        let at = if reconcile { self.seq } else { ordered.unwrap_or(self.seq) };
        if at > self.committed {
            self.releases.entry(at).or_default().push(id.node);
            return;
        }
        self.ordered.remove(&id.node);
        self.start(id, reconcile);
    }

    fn stop(&mut self, id: AttemptId) {
        // It may have a process that an earlier flowrun started: it is taken up, so that there is something to stop.
        if !self.tasks.contains_key(&id.node) && self.known_starts.contains_key(&id) {
            self.start(id, false);
        }
        match self.tasks.get(&id.node) {
            Some(task) => task.cancel.cancel(),
            None => {
                self.prepared.remove(&id.node);
                self.input(Input::Report { id, outcome: Outcome::Cancelled, started: None });
            }
        }
    }

    pub(crate) fn start(&mut self, id: AttemptId, reconcile: bool) {
        let prepared = self.prepared.remove(&id.node).unwrap_or_else(|| prepare(&self.resolver(), id.node));
        let started = self.known_starts.remove(&id).unwrap_or_else(|| self.clock.now());
        self.facts.started.entry(id.node).or_insert(started);
        let job = match prepared {
            Ok(prepared) => self.job(id, prepared, started),
            Err(reason) => Err(reason),
        };
        let job = match job {
            Ok(job) => job,
            Err(message) => {
                let message = self.world.masker.mask(&message);
                let class = FailureClass::Permanent;
                let failure = Failure { class, exit: None, timed_out: false, message, hint: None };
                let outcome = Outcome::Failed(Box::new(failure));
                return self.input(Input::Report { id, outcome, started: Some(started) });
            }
        };
        self.tasks.insert(
            id.node,
            Task {
                attempt: id.attempt,
                cancel: job.backend.cancel.clone(),
                started,
                progress: None,
                serving: false,
                announced: false,
                reconciles: reconcile,
            },
        );
        if reconcile {
            tokio::spawn(attempt::reconcile(job));
        } else {
            tokio::spawn(attempt::run(job, started));
        }
    }

    fn job(&self, id: AttemptId, prepared: Prepared, now: u64) -> Result<Job, String> {
        let address = self.run.address(id.node);
        let Some((_, step)) = self.resolver().step(id.node) else { return Err("there is no such step".into()) };
        let background = step.background.is_some();
        let scratch = self.scratch(id);
        let env = super::environment::of(&self.world, &prepared, &address, id.attempt)?;
        Ok(Job {
            backend: Arc::new(AttemptBackend {
                world: Arc::clone(&self.world),
                host: self.host.clone(),
                journal: Arc::clone(&self.journal),
                driver: self.driver.clone(),
                id,
                log: self.world.run.log(&address, id.attempt),
                env,
                dir: prepared.dir.clone(),
                timeout_ms: step.timeout_ms,
                grace_ms: step.grace_ms,
                signal: step.signal,
                background,
                cancel: CancellationToken::new(),
                children: AtomicU16::new(0),
                now,
            }),
            prepared,
            address,
            scratch,
            background,
        })
    }

    /// Files of an attempt may hold secrets, so they lie in memory where there are any.
    fn scratch(&self, id: AttemptId) -> PathBuf {
        let name = format!("{}-{}", id.node.0, id.attempt);
        if self.world.masker.is_empty() {
            self.world.run.scratch().join(name)
        } else {
            self.world.private.join("scratch").join(name)
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

/// Best effort: an attempt's folder that stays costs room and nothing else.
fn remove_scratch(path: &std::path::Path) {
    // Nearly always it is empty or was never made, and then one call does.
    let removed = match std::fs::remove_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => std::fs::remove_dir_all(path),
        other => other,
    };
    if let Err(error) = removed
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "cannot remove a scratch folder");
    }
}

/// The children of an attempt that the host's book knows.
pub(crate) fn children_of(fates: &Fates, id: AttemptId) -> Vec<ChildKey> {
    let keys = fates.records().map(|record| record.key);
    keys.filter(|key| key.node == id.node.0 && key.attempt == id.attempt).collect()
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
