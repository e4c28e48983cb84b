//! The living children of a host: their time limits, how each is stopped, and which processes are theirs.
//! Unaware of the socket, the book and the logs.

use super::procfs::{self, Carries, Stat};
use super::{ATTEMPT_VAR, ChildExit, ChildKey, ChildRecord, Spawn};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::time::{ClockId, clock_gettime};
use std::collections::{BTreeSet, HashMap};

/// How often what should be dead is looked for again.
const LOOK_AGAIN_MS: u64 = 50;
/// How often a child whose main process has ended is looked at besides at each SIGCHLD.
const LINGER_MS: u64 = 1000;
/// What KILL has not ended after this long hangs in the kernel; its attempt's fate is unknown.
const GIVE_UP_MS: u64 = 10_000;

/// Milliseconds of a clock that neither jumps nor stops while the machine sleeps.
pub(super) fn boot_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.cast_unsigned() * 1000 + now.tv_nsec.cast_unsigned() / 1_000_000
}

/// How far a child is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Runs,
    /// It was asked to stop; KILL follows at its deadline.
    Asked,
    /// KILL was sent.
    Killed {
        give_up: u64,
    },
}

/// A child that has not ended, or whose exit could not be written yet.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) record: ChildRecord,
    tag: String,
    grace_ms: u64,
    signal: Signal,
    wait_all: bool,
    stage: Stage,
    timed_out: bool,
    frozen: bool,
    /// When its time is over.
    limit: Option<u64>,
    deadline: Option<u64>,
    /// How its main process ended; the rest of it may still run.
    main: Option<ChildExit>,
    /// How often its exit could not be written into the book.
    pub(super) unwritten: u32,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Children {
    host: i32,
    by_key: HashMap<ChildKey, Child>,
    by_pid: HashMap<i32, ChildKey>,
    deadlines: BTreeSet<(u64, ChildKey)>,
    lingering: BTreeSet<ChildKey>,
}

impl Children {
    /// `host` is the subreaper's own pid.
    pub(super) fn new(host: i32) -> Self {
        Self {
            host,
            by_key: HashMap::new(),
            by_pid: HashMap::new(),
            deadlines: BTreeSet::new(),
            lingering: BTreeSet::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(super) fn get(&self, key: ChildKey) -> Option<&Child> {
        self.by_key.get(&key)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = ChildRecord> + '_ {
        self.by_key.values().map(|child| child.record)
    }

    /// Takes a child that was just made.
    pub(super) fn add(&mut self, record: ChildRecord, spawn: &Spawn) {
        let child = Child {
            record,
            tag: spawn.tag.clone(),
            grace_ms: spawn.grace_ms,
            signal: Signal::from_named_raw(spawn.signal).unwrap_or(Signal::TERM),
            wait_all: spawn.wait_all,
            stage: Stage::Runs,
            timed_out: false,
            frozen: false,
            limit: spawn.timeout_ms.map(|limit| boot_ms().saturating_add(limit)),
            deadline: None,
            main: None,
            unwritten: 0,
        };
        self.by_pid.insert(record.pid, record.key);
        let limit = child.limit;
        self.by_key.insert(record.key, child);
        self.set_deadline(record.key, limit);
    }

    /// When the next deadline is, on the clock of [`boot_ms`].
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(when, _)| *when)
    }

    fn set_deadline(&mut self, key: ChildKey, when: Option<u64>) {
        let Some(child) = self.by_key.get_mut(&key) else { return };
        if let Some(old) = child.deadline.take() {
            self.deadlines.remove(&(old, key));
        }
        child.deadline = when;
        self.deadlines.extend(when.map(|when| (when, key)));
    }

    /// The exit of a process was collected. True: it was a child's main process and nothing else is waited for.
    pub(super) fn main_ended(&mut self, pid: i32, exit: ChildExit) -> Option<ChildKey> {
        let key = self.by_pid.remove(&pid)?;
        let child = self.by_key.get_mut(&key)?;
        child.main = Some(exit);
        if child.stage == Stage::Runs && !child.wait_all {
            return Some(key);
        }
        self.lingering.insert(key);
        if child.deadline.is_none() {
            self.set_deadline(key, Some(boot_ms() + LINGER_MS));
        }
        None
    }

    /// Of the children whose main process has ended, those of which nothing is left.
    pub(super) fn emptied(&self) -> Vec<ChildKey> {
        if self.lingering.is_empty() {
            return Vec::new();
        }
        let Ok(all) = procfs::all() else { return Vec::new() };
        let mut ended: Vec<ChildKey> = self.lingering.iter().copied().collect();
        ended.retain(|key| self.members(*key, &all).is_empty());
        ended
    }

    /// How a child ended, all of it.
    pub(super) fn end(&self, key: ChildKey) -> Option<ChildExit> {
        let child = self.by_key.get(&key)?;
        let exit = match (child.main, child.timed_out) {
            (None, _) => ChildExit::Unknown,
            (Some(_), true) => ChildExit::TimedOut,
            (Some(exit), false) => exit,
        };
        Some(if self.lingering.contains(&key) && self.gave_up(key) { ChildExit::Unknown } else { exit })
    }

    /// Forgets a child whose exit is written.
    pub(super) fn remove(&mut self, key: ChildKey) {
        self.set_deadline(key, None);
        self.lingering.remove(&key);
        if let Some(child) = self.by_key.remove(&key) {
            self.by_pid.remove(&child.record.pid);
        }
    }

    /// The exit could not be written: try again soon.
    pub(super) fn retry_end(&mut self, key: ChildKey, after_ms: u64) {
        if let Some(child) = self.by_key.get_mut(&key) {
            child.unwritten += 1;
        }
        self.set_deadline(key, Some(boot_ms() + after_ms));
    }

    fn gave_up(&self, key: ChildKey) -> bool {
        self.by_key
            .get(&key)
            .is_some_and(|child| matches!(child.stage, Stage::Killed { give_up } if boot_ms() >= give_up))
    }

    /// Asks a child to stop: its signal now, KILL after its grace.
    pub(super) fn stop(&mut self, key: ChildKey) {
        let Some(child) = self.by_key.get_mut(&key) else { return };
        if child.stage != Stage::Runs {
            return;
        }
        child.stage = Stage::Asked;
        child.frozen = false;
        let (signal, grace) = (child.signal, child.grace_ms);
        self.signal(key, signal);
        // A stopped process takes no other signal before it goes on.
        self.signal(key, Signal::CONT);
        self.set_deadline(key, Some(boot_ms().saturating_add(grace)));
    }

    /// Stops or continues the processes of a child where they stand. Its time limit goes on.
    pub(super) fn freeze(&mut self, key: ChildKey, frozen: bool) {
        let Some(child) = self.by_key.get_mut(&key) else { return };
        if child.stage == Stage::Runs && child.frozen != frozen {
            child.frozen = frozen;
            self.signal(key, if frozen { Signal::STOP } else { Signal::CONT });
        }
    }

    /// The children whose deadline has come, each dealt with; those that are over are given back.
    pub(super) fn pass_deadlines(&mut self, now: u64) -> Vec<ChildKey> {
        let mut over = Vec::new();
        while let Some((when, key)) = self.deadlines.first().copied()
            && when <= now
        {
            self.set_deadline(key, None);
            if self.pass_deadline(key, now) {
                over.push(key);
            }
        }
        over
    }

    fn pass_deadline(&mut self, key: ChildKey, now: u64) -> bool {
        let Some(child) = self.by_key.get_mut(&key) else { return false };
        if child.unwritten > 0 {
            return true;
        }
        match child.stage {
            Stage::Runs if child.main.is_some() && child.limit.is_none_or(|limit| now < limit) => {
                let again = child.limit.map_or(now + LINGER_MS, |limit| limit.min(now + LINGER_MS));
                self.set_deadline(key, Some(again));
            }
            Stage::Runs => {
                child.timed_out = true;
                self.stop(key);
            }
            Stage::Asked => {
                child.stage = Stage::Killed { give_up: now + GIVE_UP_MS };
                self.kill(key);
                self.set_deadline(key, Some(now + LOOK_AGAIN_MS));
            }
            Stage::Killed { give_up } => {
                let ended = child.main.is_some();
                if ended && (now >= give_up || self.kill(key) == 0) {
                    return true;
                }
                self.set_deadline(key, Some(now + LOOK_AGAIN_MS));
            }
        }
        false
    }

    fn signal(&self, key: ChildKey, signal: Signal) {
        let Some(child) = self.by_key.get(&key) else { return };
        if let (Some(group), None) = (Pid::from_raw(child.record.pid), child.main) {
            // Not collected yet, so the number is still its own.
            let _ = kill_process_group(group, signal);
            return;
        }
        let Ok(all) = procfs::all() else { return };
        for member in self.members(key, &all) {
            procfs::signal(&member, signal);
        }
    }

    /// Kills everything of a child and says how many processes there were.
    fn kill(&self, key: ChildKey) -> usize {
        let Some(child) = self.by_key.get(&key) else { return 0 };
        if let (Some(group), None) = (Pid::from_raw(child.record.pid), child.main) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let Ok(all) = procfs::all() else { return usize::MAX };
        let members = self.members(key, &all);
        for member in &members {
            procfs::signal(member, Signal::KILL);
        }
        members.len()
    }

    /// The processes of a child that have not ended: its group, its descendants, and what was left to the subreaper
    /// and carries its tag.
    fn members(&self, key: ChildKey, all: &[Stat]) -> Vec<Stat> {
        let Some(child) = self.by_key.get(&key) else { return Vec::new() };
        let parents: HashMap<i32, i32> = all.iter().map(|stat| (stat.pid, stat.ppid)).collect();
        let tag = format!("{ATTEMPT_VAR}={}", child.tag);
        let mine = |stat: &Stat| match self.owner(stat, &parents, child) {
            Owner::Child(pid) => pid == child.record.pid,
            Owner::Host => procfs::carries(stat.pid, tag.as_bytes()) == Carries::Yes,
            Owner::Nobody => false,
        };
        all.iter().filter(|stat| mine(stat)).copied().collect()
    }

    fn owner(&self, stat: &Stat, parents: &HashMap<i32, i32>, child: &Child) -> Owner {
        let is_child = |pid: &i32| self.by_pid.contains_key(pid) || *pid == child.record.pid;
        let mut pid = stat.pid;
        // A snapshot of a changing tree may hold a loop; no tree is as deep as this.
        for _ in 0..4096 {
            if is_child(&pid) {
                return Owner::Child(pid);
            }
            match parents.get(&pid) {
                Some(parent) if *parent == self.host && is_child(&stat.pgrp) => return Owner::Child(stat.pgrp),
                Some(parent) if *parent == self.host => return Owner::Host,
                Some(parent) if *parent > 1 => pid = *parent,
                Some(_) | None => return Owner::Nobody,
            }
        }
        Owner::Nobody
    }
}

/// Whose descendant a process is.
enum Owner {
    Child(i32),
    /// It was left to the subreaper: what it carries tells whose it is.
    Host,
    Nobody,
}
