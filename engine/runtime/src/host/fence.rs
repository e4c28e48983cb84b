//! Makes sure that a lost attempt can no longer act, before anything is decided about it.
//! Unaware of what the attempt did. What it cannot read or kill makes the answer unsure, never clear.

use super::fate::Fates;
use super::procfs::{self, Carries, Stat};
use super::{ATTEMPT_VAR, ChildKey};
use crate::paths::RunDir;
use rustix::process::Signal;
use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

/// How long KILL may take to work.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks: what was about to fork has forked.
const AGAIN: Duration = Duration::from_millis(5);

/// Whether an attempt can still act.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Fenced {
    /// Nothing of it runs any more.
    Clear,
    /// Something of it may still run: it must not be run again.
    Unsure {
        /// What, and why it cannot be known or ended.
        why: String,
    },
}

/// What there is to know about the attempt.
struct Search {
    assignment: String,
    /// Groups of its children and when each began, with their host's session.
    groups: Vec<(i32, u64, i32)>,
    /// Groups of other children of the run.
    others: HashSet<i32>,
}

/// One look at all processes.
struct Seen {
    found: Vec<Stat>,
    /// In the sessions of the run's hosts, in none of its groups, and not readable.
    unreadable: Vec<Stat>,
}

/// Kills whatever is left of the attempt that `key` belongs to: its groups, and what carries its tag anywhere on the
/// machine. Blocks for a few milliseconds, and for seconds if something does not die: not for a thread that serves others.
pub fn fence(run: &RunDir, key: ChildKey) -> Fenced {
    match search_of(run, key).and_then(|search| search.clear()) {
        Ok(fenced) => fenced,
        Err(error) => Fenced::Unsure { why: format!("cannot look for what is left of it: {error}") },
    }
}

fn search_of(run: &RunDir, key: ChildKey) -> io::Result<Search> {
    let fates = Fates::look(run)?;
    let mut groups = Vec::new();
    let mut others = HashSet::new();
    for record in fates.records() {
        let Some(entry) = fates.entry(record.key) else { continue };
        if (record.key.node, record.key.attempt) != (key.node, key.attempt) {
            others.insert(record.pid);
        } else if entry.host.is_near()? {
            groups.push((record.pid, record.start, entry.host.pid));
        }
    }
    Ok(Search { assignment: format!("{ATTEMPT_VAR}={}", key.tag(run)), groups, others })
}

impl Search {
    fn clear(&self) -> io::Result<Fenced> {
        let until = Instant::now() + PATIENCE;
        let mut quiet = 0;
        loop {
            let seen = self.look()?;
            if seen.found.is_empty() {
                quiet += 1;
            } else {
                quiet = 0;
                for stat in &seen.found {
                    // Whether it worked is seen at the next look.
                    procfs::signal(stat, Signal::KILL);
                }
            }
            // Twice, since a process may have left a child behind a look that had passed it.
            if quiet == 2 {
                return Ok(seen
                    .unreadable
                    .first()
                    .map_or(Fenced::Clear, |stat| unsure(stat, "its environment may not be read")));
            }
            if let Some(stat) = seen.found.first().filter(|_| Instant::now() > until) {
                return Ok(unsure(stat, "it cannot be killed"));
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn look(&self) -> io::Result<Seen> {
        let own = std::process::id().cast_signed();
        let mut seen = Seen { found: Vec::new(), unreadable: Vec::new() };
        for stat in procfs::all()?.into_iter().filter(|stat| stat.pid != own) {
            if self.groups.iter().any(|group| in_group(&stat, *group)) {
                seen.found.push(stat);
                continue;
            }
            match procfs::carries(stat.pid, self.assignment.as_bytes()) {
                Carries::Yes => seen.found.push(stat),
                Carries::Unreadable if self.may_be(&stat) => seen.unreadable.push(stat),
                Carries::Unreadable | Carries::No => {}
            }
        }
        Ok(seen)
    }

    /// Of the host's session, young enough, and in no group of another child.
    fn may_be(&self, stat: &Stat) -> bool {
        let of_session = |(_, start, session): &(i32, u64, i32)| stat.session == *session && stat.start >= *start;
        self.groups.iter().any(of_session) && !self.others.contains(&stat.pgrp)
    }
}

/// The number of a group is not given again while it has members; the session says that it is not a later one.
fn in_group(stat: &Stat, (group, start, session): (i32, u64, i32)) -> bool {
    stat.pgrp == group && stat.session == session && stat.start >= start
}

fn unsure(stat: &Stat, why: &str) -> Fenced {
    Fenced::Unsure { why: format!("process {} may belong to it: {why}", stat.pid) }
}
