//! Plays a scenario: moves of the world and of the engine in a random order, with faults.
//! Unaware of what is right: the books and the world say so.

use crate::books::{Answer, Books, Line};
use crate::engine::{Desk, Effect, Engine, Log};
use crate::rng::{Rng, about};
use crate::spec::{Spec, compile};
use crate::walk::walk;
use crate::world::{Exit, Look, World, outcome};
use flowrun_core::event::Verdict;
use flowrun_core::{AttemptId, GateId, Input, NodeId, Outcome, Plan, Resolution, Run, RunState};
use std::collections::BTreeMap;
use std::sync::Arc;

const DAY: i64 = 86_400_000;
const MOVES: u32 = 20_000;
/// From so many moves on the world leaves the run in peace: a large plan that is killed all the time, and each time
/// tries again what had failed, would never come to its end.
const PATIENCE: u32 = 4_000;

#[derive(Debug, Clone)]
enum Message {
    Input(Input),
    Answer(NodeId, Resolution),
    Outputs(NodeId, Result<serde_json::Value, String>),
    /// The service is looked at.
    Ready(AttemptId, String),
}

pub struct Play<'a> {
    pub spec: &'a Spec,
    plan: Arc<Plan>,
    rng: Rng,
    t: u64,
    skew: i64,
    log: Log,
    books: Books,
    pub world: World,
    engine: Engine,
    inbox: Vec<(u64, Message)>,
    ids: BTreeMap<(String, u32), AttemptId>,
    pub moves: u32,
    pub faults: BTreeMap<&'static str, u32>,
}

macro_rules! desk {
    ($play:ident) => {
        &mut Desk {
            spec: $play.spec,
            log: &mut $play.log,
            books: &mut $play.books,
            world: &mut $play.world,
        }
    };
}

type Done<T = ()> = Result<T, String>;

/// Plays a scenario to its end.
pub fn play(spec: &Spec) -> Done<Play<'_>> {
    let mut play = begin(spec);
    play.whole()?;
    Ok(play)
}

/// The last lines of a scenario's log.
pub fn last_lines(spec: &Spec, count: usize) -> String {
    let mut play = begin(spec);
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play.whole()));
    let skip = play.log.lines.len().saturating_sub(count);
    let lines = play.log.lines.iter().skip(skip).map(|line| match line {
        Line::Event {
            event, addr, now, ..
        } => format!("{} {addr}: {event:?}", now % 100_000_000),
        Line::Intent { addr, attempt } => format!("start {addr} {attempt}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn begin(spec: &Spec) -> Play<'_> {
    let plan = Arc::new(compile(spec));
    Play {
        spec,
        engine: Engine::new(Arc::clone(&plan)),
        plan,
        rng: Rng::new(spec.seed ^ 0x5eed),
        t: 0,
        skew: 0,
        log: Log::default(),
        books: Books::default(),
        world: World::default(),
        inbox: Vec::new(),
        ids: BTreeMap::new(),
        moves: 0,
        faults: BTreeMap::new(),
    }
}

impl Play<'_> {
    /// The journal, an event a line, and how the run ended.
    pub fn journal(&self) -> String {
        let lines = self
            .log
            .events()
            .map(|event| serde_json::to_string(event).unwrap() + "\n");
        lines.collect()
    }

    fn clock(&self) -> u64 {
        (1_000_000_000_000 + self.t as i64 + self.skew) as u64
    }

    fn whole(&mut self) -> Done {
        self.input(Input::Start)?;
        let mut left = self.rng.range(1, 3);
        for mended in 0.. {
            self.session()?;
            self.at_the_end()?;
            match self.engine.run.state() {
                RunState::Failed if mended < 12 => {
                    left = left.saturating_sub(1);
                    self.world.mended |= left == 0;
                    self.restart("resume")?;
                }
                RunState::Failed => return Err("mended, it still fails".into()),
                RunState::Running => return Err("it has not ended".into()),
                RunState::Succeeded | RunState::Cancelled => break,
            }
        }
        let state = self.engine.run.state();
        self.restart("resume of an ended run")?;
        if self.engine.run.state() != state || !self.engine.doing.is_empty() {
            return Err("an ended run goes on".into());
        }
        Ok(())
    }

    /// Until the run has ended and everything is on the disk.
    fn session(&mut self) -> Done {
        loop {
            self.moves += 1;
            if self.moves > MOVES {
                return Err("it does not come to an end".into());
            }
            self.world.mended |= self.moves > PATIENCE;
            for effect in self.engine.released(self.log.committed) {
                self.act(effect)?;
            }
            if self.moves.is_multiple_of(48) {
                self.compare_histories()?;
            }
            let ended = self.engine.run.state() != RunState::Running;
            if ended && self.log.committed == self.log.lines.len() {
                return Ok(());
            }
            if !self.fault()? && !self.go_on()? {
                self.unstick()?;
            }
        }
    }

    fn go_on(&mut self) -> Done<bool> {
        let behind = self.log.lines.len() - self.log.committed;
        if behind > 0 && !self.rng.percent(self.spec.rates.lag) {
            let some = self.rng.range(1, behind as u64) as usize;
            self.log.committed += if self.rng.percent(50) { some } else { behind };
            return Ok(true);
        }
        if self.measure()? || self.deliver()? {
            return Ok(true);
        }
        if behind > 0 {
            self.log.committed += behind;
            return Ok(true);
        }
        self.pass_time()
    }

    fn measure(&mut self) -> Done<bool> {
        let now = self.clock();
        let due = self.engine.run.gates_to_measure();
        let Some((gate, _)) = due.into_iter().find(|(_, at)| *at <= now) else {
            return Ok(false);
        };
        let holds = self.world.mended || self.gate_holds(gate);
        let books = self.books.gates.entry(gate.0).or_default();
        books.read(now, holds);
        self.engine.run.tell_time(now);
        self.engine.run.measured(gate, holds);
        self.engine.decide(desk!(self), now)?;
        Ok(true)
    }

    fn gate_holds(&self, gate: GateId) -> bool {
        let mut rng = about(self.spec.seed, "gate", u64::from(gate.0));
        let period = *rng.pick(&[3_000, 20_000, 100_000]);
        let share = *rng.pick(&[20, 60, 100]);
        about(self.spec.seed, "gate", self.t / period).percent(share)
    }

    fn deliver(&mut self) -> Done<bool> {
        let due: Vec<usize> = (0..self.inbox.len())
            .filter(|n| self.inbox[*n].0 <= self.t)
            .collect();
        if due.is_empty() {
            return Ok(false);
        }
        let (_, message) = self.inbox.swap_remove(*self.rng.pick(&due));
        match message {
            Message::Input(input) => self.input(input)?,
            Message::Answer(node, resolution) => self.answer(node, resolution)?,
            Message::Outputs(node, outputs) => {
                if outputs.is_err() {
                    let addr = self.engine.run.address(node);
                    self.books.facts.entry(addr).or_default().answer = Some(Answer::NoOutputs);
                }
                self.engine.answered(node);
                self.input(Input::Outputs { node, outputs })?;
            }
            Message::Ready(id, addr) => {
                if self.world.look(&addr, id.attempt) == Look::Alive {
                    self.input(Input::Ready(id))?;
                }
            }
        }
        Ok(true)
    }

    fn answer(&mut self, node: NodeId, resolution: Resolution) -> Done {
        let addr = self.engine.run.address(node);
        let answer = match &resolution {
            Resolution::Run { .. } => Answer::Run,
            Resolution::Skip { .. } => Answer::Skip,
            Resolution::Failed { .. } => Answer::Broken,
            Resolution::FanOut { .. } => Answer::FanOut,
        };
        self.books.facts.entry(addr).or_default().answer = Some(answer);
        self.engine.answered(node);
        self.input(Input::Resolved { node, resolution })
    }

    fn input(&mut self, input: Input) -> Done {
        let now = self.clock();
        self.engine.input(input, desk!(self), now).map(|_| ())
    }

    fn pass_time(&mut self) -> Done<bool> {
        let now = self.clock();
        let told = self.engine.run.next_time();
        let gates = self.engine.run.gates_to_measure();
        let clocks = gates.iter().map(|(_, at)| *at).chain(told);
        let clocks = clocks.map(|at| self.t + at.saturating_sub(now).max(1));
        let inbox = self
            .inbox
            .iter()
            .map(|(at, _)| *at)
            .filter(|at| *at > self.t);
        let next = clocks.chain(inbox).chain(self.world.next(self.t)).min();
        let Some(next) = next else { return Ok(false) };
        self.t = next;
        for (addr, attempt, exit) in self.world.tick(self.t) {
            self.report(&addr, attempt, exit);
        }
        let now = self.clock();
        self.engine.decide(desk!(self), now)?;
        Ok(true)
    }

    fn soon(&mut self, message: Message) {
        let at = self.t + *self.rng.pick(&[0, 0, 10, 400, 2_500]);
        self.inbox.push((at, message));
    }

    fn report(&mut self, addr: &str, attempt: u32, exit: Exit) {
        let id = self.ids[&(addr.to_owned(), attempt)];
        let report = || {
            Message::Input(Input::Report {
                id,
                outcome: outcome(exit),
                started: None,
            })
        };
        self.soon(report());
        if self.rng.percent(self.spec.rates.double) {
            let at = self.t + self.rng.range(1, 60_000);
            self.inbox.push((at, report()));
        }
    }

    fn act(&mut self, effect: Effect) -> Done {
        match effect {
            Effect::Resolve(node) => {
                let resolution = self.evaluate(node)?;
                self.soon(Message::Answer(node, resolution));
            }
            Effect::Outputs(node) => {
                let broken = self.rng.percent(self.spec.rates.broken) && !self.world.mended;
                let outputs = if broken {
                    Err("no such step".into())
                } else {
                    Ok(serde_json::json!({}))
                };
                self.soon(Message::Outputs(node, outputs));
            }
            Effect::Start(id) => self.start(id)?,
            Effect::Stop(id) => self.stop(id),
            Effect::Reconcile(id) => {
                let addr = self.engine.run.address(id.node);
                let found = self.world.reconcile(self.spec, &addr, id.attempt);
                self.soon(Message::Input(Input::Reconciled { id, found }));
            }
        }
        Ok(())
    }

    fn start(&mut self, id: AttemptId) -> Done {
        let addr = self.engine.run.address(id.node);
        self.ids.insert((addr.clone(), id.attempt), id);
        match self.world.look(&addr, id.attempt) {
            Look::NoEntry => {
                self.world.start(self.spec, &addr, id.attempt, self.t)?;
                self.watch(id, addr);
            }
            Look::Alive => self.watch(id, addr),
            Look::Exited(exit) => self.report(&addr, id.attempt, exit),
            Look::Gone => self.soon(Message::Input(Input::Lost(id))),
        }
        Ok(())
    }

    fn watch(&mut self, id: AttemptId, addr: String) {
        let life = &self.world.attempts[&(addr.clone(), id.attempt)];
        if let Some(ready) = life.ready {
            let at = ready.max(self.t + 1);
            self.inbox.push((at, Message::Ready(id, addr)));
        }
    }

    fn stop(&mut self, id: AttemptId) {
        let addr = self.engine.run.address(id.node);
        self.ids.insert((addr.clone(), id.attempt), id);
        match self.world.look(&addr, id.attempt) {
            Look::NoEntry => self.soon(Message::Input(Input::Report {
                id,
                outcome: Outcome::Cancelled,
                started: None,
            })),
            Look::Alive => self.world.stop(self.spec, &addr, id.attempt, self.t),
            Look::Exited(exit) => self.report(&addr, id.attempt, exit),
            Look::Gone => self.soon(Message::Input(Input::Lost(id))),
        }
    }

    fn evaluate(&mut self, node: NodeId) -> Done<Resolution> {
        let addr = self.engine.run.address(node);
        let frames = walk(self.spec, &addr)?;
        let frame = frames.last().unwrap();
        let mut rng = about(self.spec.seed, &addr, 1 << 40);
        if rng.percent(self.spec.rates.skip) {
            let reason = "when is false".into();
            return Ok(Resolution::Skip { reason });
        }
        if !self.world.mended && rng.percent(self.spec.rates.broken) {
            let reason = "there is no such output".into();
            return Ok(Resolution::Failed { reason });
        }
        Ok(match (&frame.step.fan, &frame.item) {
            (Some(fan), None) => Resolution::FanOut {
                keys: (0..fan.items).map(|n| format!("k{n}").into()).collect(),
                order: (0..fan.items).rev().collect(),
                items: Vec::new(),
            },
            _ => Resolution::Run { values: None },
        })
    }

    /// Something goes wrong, or somebody interferes.
    fn fault(&mut self) -> Done<bool> {
        if self.world.mended || self.engine.run.state() != RunState::Running {
            return Ok(false);
        }
        let rates = self.spec.rates.clone();
        if self.rng.rarely(rates.crash) {
            if self.rng.percent(rates.reboot) {
                self.world.reboot(self.spec);
            }
            self.restart("crash")?;
        } else if self.rng.rarely(rates.lose) {
            return self.lose();
        } else if self.rng.rarely(rates.cancel) {
            self.count("cancel");
            self.input(Input::Cancel)?;
        } else if self.rng.rarely(rates.pause) {
            self.count("pause");
            let reason = "a person said so".into();
            self.input(Input::Pause { reason })?;
        } else if self.rng.rarely(rates.drain) {
            self.count("drain");
            self.engine.run.drain();
            self.engine.drained = true;
        } else if self.rng.rarely(rates.jump) {
            self.jump()?;
        } else if self.rng.rarely(rates.mark) {
            return self.mark();
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn count(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
    }

    fn lose(&mut self) -> Done<bool> {
        let flying: Vec<AttemptId> = self.engine.run.in_flight().collect();
        if flying.is_empty() {
            return Ok(false);
        }
        let id = *self.rng.pick(&flying);
        let addr = self.engine.run.address(id.node);
        if self.world.look(&addr, id.attempt) != Look::Alive {
            return Ok(false);
        }
        self.count("lose");
        self.input(Input::Lost(id))?;
        Ok(true)
    }

    fn jump(&mut self) -> Done {
        self.count("jump");
        self.skew += if self.rng.percent(50) { DAY } else { -DAY };
        for door in self.books.gates.values_mut() {
            door.jumped();
        }
        for fact in self.books.facts.values_mut() {
            fact.retry_at = fact.retry_at.map(|_| 0);
        }
        let now = self.clock();
        self.engine.decide(desk!(self), now)
    }

    fn mark(&mut self) -> Done<bool> {
        let places: Vec<&String> = self.books.facts.keys().filter(|a| !a.is_empty()).collect();
        if places.is_empty() {
            return Ok(false);
        }
        let addr = (*self.rng.pick(&places)).clone();
        self.mark_at(&addr)?;
        Ok(true)
    }

    fn mark_at(&mut self, addr: &str) -> Done {
        self.count("mark");
        let Some(node) = self.engine.run.find(addr) else {
            return Ok(());
        };
        let verdicts = [Verdict::Done, Verdict::Skip, Verdict::Redo];
        let verdict = *self.rng.pick(&verdicts);
        let because = "a person looked".into();
        self.input(Input::Mark {
            node,
            verdict,
            because,
        })
    }

    /// The engine dies and another takes over: what was not committed is lost, most of what was on its way too.
    fn restart(&mut self, why: &'static str) -> Done {
        self.count(why);
        self.log.lines.truncate(self.log.committed);
        let answers: Vec<_> = self
            .books
            .facts
            .iter()
            .map(|(a, f)| (a.clone(), f.answer))
            .collect();
        let gates = std::mem::take(&mut self.books.gates);
        self.books = Books::default();
        for line in &self.log.lines {
            self.books.take(self.spec, line, None)?;
        }
        for (addr, answer) in answers {
            self.books.facts.entry(addr).or_default().answer = answer;
        }
        for (gate, door) in gates {
            let mut door = door;
            door.restarted();
            self.books.gates.insert(gate, door);
        }
        let mut rng = self.rng.clone();
        self.inbox.retain(|(_, message)| {
            let Message::Input(Input::Report { outcome, .. }) = message else {
                return false;
            };
            *outcome != Outcome::Cancelled && rng.percent(30)
        });
        self.rng = rng;
        if self.log.lines.is_empty() {
            self.engine = Engine::new(Arc::clone(&self.plan));
            return self.input(Input::Start);
        }
        let now = self.clock();
        self.engine = Engine::resume(Arc::clone(&self.plan), desk!(self), now)?;
        Ok(())
    }

    /// Nothing goes on by itself.
    fn unstick(&mut self) -> Done {
        let asked = self.books.facts.iter().find(|(_, fact)| fact.asked);
        if self.engine.drained {
            self.restart("restart")
        } else if self.books.paused {
            self.input(Input::Unpause)
        } else if let Some((addr, _)) = asked {
            let addr = addr.clone();
            self.mark_at(&addr)
        } else {
            Err("nothing goes on".into())
        }
    }

    /// The memory follows from the journal, and what is kept in step from what is remembered.
    fn compare_histories(&self) -> Done {
        let late = u64::MAX / 2;
        let mut live = self.engine.run.clone();
        if let Some(drift) = live.drift() {
            return Err(format!("the increments are wrong: {drift}"));
        }
        if self.engine.drained {
            return Ok(());
        }
        live.tell_time(late);
        let mut replayed = Run::replay(Arc::clone(&self.plan), self.log.events());
        replayed.tell_time(late);
        match live.difference(&replayed) {
            Some(what) => Err(format!("a replay differs: {what}")),
            None => Ok(()),
        }
    }

    fn at_the_end(&mut self) -> Done {
        self.compare_histories()?;
        if !self.engine.run.decide().is_empty() || !self.engine.doing.is_empty() {
            return Err("an ended run goes on".into());
        }
        for line in &self.log.lines {
            let Line::Event { addr, .. } = line else {
                continue;
            };
            let Some(node) = self.engine.run.find(addr) else {
                continue;
            };
            let seen = self.engine.run.view(node).map(|view| view.state.word());
            let fact = self.books.fact(addr).ended;
            let fact = fact.map(|state| format!("{state:?}").to_lowercase());
            if fact.is_some() && fact.as_deref() != seen {
                return Err(format!("`{addr}` is {fact:?} but seen as {seen:?}"));
            }
        }
        Ok(())
    }
}
