//! The world's own books: which attempt ran when, what is alive, and what came of it.
//! Unaware of the code under test. It refuses what must never happen: two live copies, a finished unit that runs again,
//! a full pool that is filled further.

use crate::rng::about;
use crate::spec::{Spec, Step};
use crate::walk::walk;
use flowrun_core::event::FailureClass;
use flowrun_core::{Found, Outcome};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Success,
    Fail(FailureClass),
    Stopped,
}

/// What became of one attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub alive: bool,
    pub ends: u64,
    pub then: Exit,
    pub exit: Option<Exit>,
    pub ready: Option<u64>,
    /// It died unseen; whether its effect is there.
    pub gone: Option<bool>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    NoEntry,
    Alive,
    Exited(Exit),
    Gone,
}

#[derive(Debug, Default)]
pub struct World {
    pub attempts: BTreeMap<(String, u32), Attempt>,
    pub alive: BTreeSet<(String, u32)>,
    /// Units whose effect is there; a background step has none.
    pub done: BTreeSet<String>,
    /// Units whose effect is there though nobody could know.
    pub excused: BTreeSet<String>,
    /// From now on everything that is tried succeeds.
    pub mended: bool,
    pub starts: u64,
}

impl World {
    pub fn start(&mut self, spec: &Spec, addr: &str, attempt: u32, now: u64) -> Result<(), String> {
        let frames = walk(spec, addr)?;
        let step = frames.last().ok_or("the run has no attempts")?.step;
        let key = (addr.to_owned(), attempt);
        if self.attempts.contains_key(&key) {
            return Err(format!("attempt {attempt} of `{addr}` starts for the second time"));
        }
        if self.alive.iter().any(|(other, _)| other == addr) {
            return Err(format!("`{addr}` starts while a copy of it lives"));
        }
        if self.done.contains(addr) && !self.excused.contains(addr) {
            return Err(format!("`{addr}` starts though it is done"));
        }
        self.starts += 1;
        let life = self.life(spec, addr, attempt, step, now);
        self.attempts.insert(key.clone(), life);
        self.alive.insert(key);
        self.pools(spec)?;
        self.limits(spec, addr)
    }

    fn life(&self, spec: &Spec, addr: &str, attempt: u32, step: &Step, now: u64) -> Attempt {
        let mut rng = about(spec.seed, addr, u64::from(attempt));
        let fails = rng.percent(spec.rates.fail) && !self.mended;
        let permanent = rng.percent(spec.rates.permanent);
        let long = *rng.pick(&[10, 500, 3_000, 20_000, 70_000]);
        let service = step.background;
        let class = if permanent { FailureClass::Permanent } else { FailureClass::Transient };
        Attempt {
            alive: true,
            ends: match (service, fails) {
                (true, false) => u64::MAX,
                _ => now + rng.range(1, long),
            },
            then: match (fails, rng.percent(50)) {
                (true, true) if service => Exit::Success,
                (true, _) => Exit::Fail(class),
                (false, _) => Exit::Success,
            },
            exit: None,
            ready: service.then(|| now + rng.range(1, 6_000)),
            gone: None,
        }
    }

    fn pools(&self, spec: &Spec) -> Result<(), String> {
        let mut used = vec![0; spec.pools.len()];
        for (addr, _) in &self.alive {
            for (pool, units) in &walk(spec, addr)?.last().unwrap().step.pools {
                used[*pool as usize] += units;
            }
        }
        match used.iter().zip(&spec.pools).position(|(u, size)| u > size) {
            Some(pool) => Err(format!("pool {pool} is overfull: {:?}", self.alive)),
            None => Ok(()),
        }
    }

    fn limits(&self, spec: &Spec, addr: &str) -> Result<(), String> {
        for frame in walk(spec, addr)? {
            let Some(limit) = frame.step.fan.as_ref().and_then(|fan| fan.max_parallel) else {
                continue;
            };
            let prefix = format!("{}/", frame.addr);
            let items: BTreeSet<&str> =
                self.alive.iter().filter_map(|(other, _)| other.strip_prefix(&prefix)?.split('/').next()).collect();
            if items.len() as u32 > limit {
                return Err(format!("more than {limit} items of `{}` run", frame.addr));
            }
        }
        Ok(())
    }

    /// The next time at which something happens by itself.
    pub fn next(&self, now: u64) -> Option<u64> {
        let lives = self.alive.iter().map(|key| &self.attempts[key]);
        lives.flat_map(|life| [Some(life.ends), life.ready]).flatten().filter(|at| *at > now && *at < u64::MAX).min()
    }

    /// Attempts that have ended by now, with their exits.
    pub fn tick(&mut self, now: u64) -> Vec<(String, u32, Exit)> {
        let due: Vec<_> = self.alive.iter().filter(|key| self.attempts[*key].ends <= now).cloned().collect();
        let mut ended = Vec::new();
        for (addr, attempt) in due {
            let life = self.attempts.get_mut(&(addr.clone(), attempt)).unwrap();
            life.alive = false;
            life.exit = Some(life.then);
            let exit = life.then;
            let service = life.ready.is_some();
            self.alive.remove(&(addr.clone(), attempt));
            if exit == Exit::Success && !service {
                self.done.insert(addr.clone());
            }
            ended.push((addr, attempt, exit));
        }
        ended
    }

    pub fn stop(&mut self, spec: &Spec, addr: &str, attempt: u32, now: u64) {
        let service = self.attempts.get(&(addr.to_owned(), attempt));
        let service = service.is_some_and(|life| life.ready.is_some());
        if let Some(life) = self.attempts.get_mut(&(addr.to_owned(), attempt))
            && life.alive
        {
            let mut rng = about(spec.seed ^ 7, addr, u64::from(attempt));
            life.ends = life.ends.min(now + rng.range(1, 3_000));
            if service || rng.percent(70) {
                life.then = Exit::Stopped;
            }
        }
    }

    pub fn look(&self, addr: &str, attempt: u32) -> Look {
        match self.attempts.get(&(addr.to_owned(), attempt)) {
            None => Look::NoEntry,
            Some(life) if life.alive => Look::Alive,
            Some(Attempt { exit: Some(exit), .. }) => Look::Exited(*exit),
            Some(_) => Look::Gone,
        }
    }

    /// The machine goes down and comes up: nothing lives on.
    pub fn reboot(&mut self, spec: &Spec) {
        for key in std::mem::take(&mut self.alive) {
            self.die(spec, key);
        }
    }

    fn die(&mut self, spec: &Spec, key: (String, u32)) {
        let effect = about(spec.seed ^ 3, &key.0, u64::from(key.1)).percent(40);
        let life = self.attempts.get_mut(&key).unwrap();
        let effect = effect && life.ready.is_none();
        life.alive = false;
        life.gone = Some(effect);
        if effect {
            self.done.insert(key.0);
        }
    }

    /// First makes the attempt unable to act, then looks.
    pub fn reconcile(&mut self, spec: &Spec, addr: &str, attempt: u32) -> Found {
        let key = (addr.to_owned(), attempt);
        if self.alive.remove(&key) {
            self.die(spec, key.clone());
        }
        let unknown = about(spec.seed ^ 5, addr, u64::from(attempt)).percent(spec.rates.unknown);
        let done = self
            .attempts
            .get(&key)
            .is_some_and(|life| life.gone == Some(true) || life.exit == Some(Exit::Success) && life.ready.is_none());
        if unknown {
            if done {
                self.excused.insert(addr.to_owned());
            }
            Found::Unknown { look_at: "the server".into() }
        } else if done {
            Found::Done { outputs: None }
        } else {
            Found::NotDone
        }
    }

    /// What is inside runs again from the start.
    pub fn forget(&mut self, addr: &str) {
        let inside = format!("{addr}/");
        self.done.retain(|other| other != addr && !other.starts_with(&inside));
    }
}

pub fn outcome(exit: Exit) -> Outcome {
    let failure = |class| {
        Outcome::Failed(Box::new(flowrun_core::event::Failure {
            class,
            exit: Some(1),
            timed_out: false,
            message: "it failed".into(),
            hint: None,
        }))
    };
    match exit {
        Exit::Success => Outcome::Succeeded { outputs: None },
        Exit::Fail(class) => failure(class),
        Exit::Stopped => Outcome::Cancelled,
    }
}
