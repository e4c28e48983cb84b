//! Who is struck and when: the processes of a run, the instants between their effects, and what was known by then.
//! Unaware of what a scenario does.

use super::support::{Live, Place, until};
use super::world::{self, Finished};
use flowrun_engine::host::{ChildExit, Fates};
use flowrun_engine::paths::RunDir;
use flowrun_engine::store::Reader;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The driver.
    Engine,
    /// The host of the run.
    Host,
    /// Both, the driver first.
    Both,
}

/// All of them.
pub const ALL: [Who; 3] = [Who::Engine, Who::Host, Who::Both];

/// An interval between two effects of the life of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// Its attempt is on the disk and no process was made.
    CommitStart,
    /// The process is there and not in the book.
    ForkRecord,
    /// It is in the book and not yet its program.
    RecordExec,
    /// It has ended and the book does not say so.
    ExitBook,
    /// The book says so and the journal does not.
    BookCommit,
}

impl Window {
    /// In the order of a child's life.
    pub const ALL: [Self; 5] =
        [Self::CommitStart, Self::ForkRecord, Self::RecordExec, Self::ExitBook, Self::BookCommit];

    /// The host's crash point inside it.
    pub fn point(self) -> &'static str {
        match self {
            Self::CommitStart => "before-fork",
            Self::ForkRecord => "after-fork",
            Self::RecordExec => "after-record",
            Self::ExitBook => "before-exit-record",
            Self::BookCommit => "after-exit-record",
        }
    }

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::CommitStart => "commit-start",
            Self::ForkRecord => "fork-record",
            Self::RecordExec => "record-exec",
            Self::ExitBook => "exit-book",
            Self::BookCommit => "book-commit",
        }
    }
}

/// The only run of a place, once there is one. A driver that dies before its journal exists leaves an empty folder, and
/// the run that counts is the next one.
pub fn run_dir(place: &Place) -> Option<RunDir> {
    let runs = std::fs::read_dir(place.state().join("runs")).ok()?;
    let mut runs: Vec<_> = runs.filter_map(|run| Some(RunDir(run.ok()?.path()))).collect();
    runs.sort_by_key(|run| run.journal().exists());
    runs.pop()
}

/// The pid in the host's lock.
pub fn host_pid(place: &Place) -> Option<i32> {
    std::fs::read_to_string(run_dir(place)?.host_lock()).ok()?.trim().parse().ok()
}

/// Kills one process as the kernel does when memory runs out; false: it was gone.
pub fn kill(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

/// The state letter and the parent of a process.
pub fn stat(pid: i32) -> Option<(char, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = text.rsplit_once(") ")?.1.split(' ');
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

/// The process that stopped itself at a crash point: the host, or its child that is not yet its program.
pub fn stopped(place: &Place) -> Option<i32> {
    let host = host_pid(place)?;
    let is_stopped =
        |pid: &i32| stat(*pid).is_some_and(|(state, parent)| state == 'T' && (*pid == host || parent == host));
    world::processes().into_iter().find(is_stopped)
}

/// What the journal or the book says has succeeded: nothing of it may run again.
pub fn recorded(place: &Place) -> (usize, BTreeSet<String>) {
    let mut done = BTreeSet::new();
    if let Some(run) = run_dir(place)
        && let Ok(reader) = Reader::open(&run)
    {
        let nodes = reader.nodes(0, 10_000).unwrap_or_default();
        let exits = Fates::look(&run).map(|fates| fates.records().collect::<Vec<_>>()).unwrap_or_default();
        for node in nodes {
            let exited = |record: &flowrun_engine::host::ChildRecord| {
                record.key.node == node.node && record.exit == Some(ChildExit::Code(0))
            };
            if node.state == flowrun_core::event::UnitState::Succeeded || exits.iter().any(exited) {
                done.insert(node.address);
            }
        }
    }
    (world::lines(place).len(), done)
}

/// A scenario that is killed and resumed until it ends.
pub struct Victim {
    /// Where it runs.
    pub place: Place,
    driver: Option<Live>,
    moments: Vec<(usize, BTreeSet<String>)>,
    hosts_died: bool,
    /// Kills so far.
    pub kills: usize,
}

impl Victim {
    /// Starts the scenario, with an order for the first host.
    pub fn begin(order: Option<&str>) -> Self {
        let place = Place::new();
        let plan = world::prepare(&place);
        let mut command = place.command([&plan]);
        if let Some(order) = order {
            command.env("FLOWRUN_CRASH_AT", order);
        }
        let driver = Live::start(command, place.path());
        Self { place, driver: Some(driver), moments: Vec::new(), hosts_died: false, kills: 0 }
    }

    /// Whether the driver still runs.
    pub fn runs(&mut self) -> bool {
        self.driver.as_mut().is_some_and(Live::runs)
    }

    /// Waits until a process has stopped itself at its point; none: the driver ended before.
    pub fn until_stopped(&mut self) -> Option<i32> {
        until("the point is reached", || match stopped(&self.place) {
            Some(pid) => Some(Some(pid)),
            None if !self.runs() => Some(None),
            None => None,
        })
    }

    /// Waits until the first host is dead; false: the driver ended before.
    pub fn until_host_died(&mut self) -> bool {
        let host = until("there is a host", || host_pid(&self.place).or_else(|| (!self.runs()).then_some(0)));
        self.hosts_died = true;
        let died = until("the host dies", || {
            let dead = stat(host).is_none_or(|(state, _)| state == 'Z');
            if dead { Some(true) } else { (!self.runs()).then_some(false) }
        });
        self.note();
        died
    }

    /// Kills somebody now.
    pub fn strike(&mut self, who: Who) {
        self.kills += 1;
        if matches!(who, Who::Engine | Who::Both)
            && let Some(driver) = self.driver.take()
        {
            driver.crash();
        }
        if matches!(who, Who::Host | Who::Both) {
            self.hosts_died = true;
            if let Some(host) = host_pid(&self.place) {
                kill(host);
                until("the host is dead", || stat(host).is_none_or(|(state, _)| state == 'Z').then_some(()));
            }
        }
        self.note();
    }

    /// From here on what is recorded as finished may not run again.
    pub fn note(&mut self) {
        let moment = recorded(&self.place);
        self.moments.push(moment);
    }

    /// Goes on with the run where its driver is dead.
    pub fn resume(&mut self) {
        if self.driver.is_none() {
            let args = match run_dir(&self.place).filter(|run| run.journal().exists()) {
                Some(run) => vec!["resume".to_owned(), run.id()],
                None => vec![self.place.path().join("scenario.yaml").display().to_string()],
            };
            self.driver = Some(self.place.start(args));
        }
    }

    /// Brings the run to its end; the answer is the last driver's.
    pub fn finish(&mut self) -> Result<world::Verdict, String> {
        self.resume();
        let answer = self.driver.take().map(Live::wait);
        let finished =
            if self.hosts_died { Finished::Recorded(std::mem::take(&mut self.moments)) } else { Finished::Ended };
        match answer {
            Some(answer) if answer.code == 0 => Ok(world::judge(&self.place, &finished)),
            answer => Err(format!("{answer:?}\n{}", world::story(&self.place))),
        }
    }
}

/// Lets a stopped process go on; one that is gone needs nothing.
pub fn go_on(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::CONT);
    }
}
