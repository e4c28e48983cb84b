//! What became of a child when nobody watched: read from the lock, the book and /proc.
//! Unaware of the journal. It never guesses: what cannot be known is lost.

use super::book::{self, Contents, Entry};
use super::{ChildExit, ChildKey, ChildRecord, link, procfs};
use crate::paths::RunDir;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

/// How long a lock may be in doubt.
const SETTLING: Duration = Duration::from_secs(3);

/// What became of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its host lives and watches it: connect and wait.
    Alive(ChildRecord),
    /// It ended, and this is how.
    Exited(ChildExit),
    /// No process was ever let go for this key.
    NeverStarted,
    /// The machine or the container was started anew since; it ended at some point before.
    LostInReboot,
    /// Its host is gone and it still runs: its end can be waited for, its exit is lost.
    Orphan {
        /// Its process and process group.
        pid: i32,
        /// When its process started, in clock ticks since the boot.
        start: u64,
    },
    /// It was started, perhaps; it does not run any more, and nobody saw its end.
    Lost,
}

/// The fates of all children of a run at one moment.
#[derive(Debug)]
pub struct Fates {
    contents: Option<Contents>,
    host_lives: bool,
    /// There was a book, and it is gone.
    bereft: bool,
}

impl Fates {
    /// Looks at the lock first and at the book afterwards: when the lock is free, nothing is written any more. A lock
    /// that is held while the host of the book is dead is about to be free, or a new host's: a dead host's last child
    /// holds it until it is written down. That lasts microseconds, and is waited for.
    ///
    /// # Errors
    /// If the book is there and cannot be read, is damaged, or is a newer flowrun's.
    pub fn look(run: &RunDir) -> io::Result<Self> {
        let until = Instant::now() + SETTLING;
        let (contents, host_lives) = loop {
            let locked = link::is_locked(run)?;
            let contents = book::look(&run.book())?;
            let lives = contents.as_ref().map_or(Ok(false), |held| held.host.lives())?;
            if !locked || lives {
                break (contents, locked);
            }
            if Instant::now() > until {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, "a host that is not in the book holds its lock"));
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let marked = std::fs::metadata(run.host_lock()).is_ok_and(|lock| lock.len() > 0);
        Ok(Self { bereft: contents.is_none() && marked, contents, host_lives })
    }

    /// Whether the run's host lives.
    #[must_use]
    pub fn host_lives(&self) -> bool {
        self.host_lives
    }

    /// All that is written down, also of hosts that are gone.
    pub fn records(&self) -> impl Iterator<Item = ChildRecord> + '_ {
        self.contents.iter().flat_map(|held| held.entries.values().map(|(_, entry)| entry.child))
    }

    pub(super) fn entry(&self, key: ChildKey) -> Option<&Entry> {
        self.contents.as_ref().and_then(|held| held.entries.get(&key)).map(|(_, entry)| entry)
    }

    /// What became of one child.
    #[must_use]
    pub fn of(&self, key: ChildKey) -> Fate {
        match self.entry(key) {
            Some(entry) => self.of_entry(entry),
            None => self.of_missing(),
        }
    }

    fn of_entry(&self, entry: &Entry) -> Fate {
        let child = entry.child;
        if let Some(exit) = child.exit {
            return Fate::Exited(exit);
        }
        if self.host_lives && self.contents.as_ref().is_some_and(|held| held.host == entry.host) {
            return Fate::Alive(child);
        }
        match entry.host.is_near() {
            Ok(false) => Fate::LostInReboot,
            Ok(true) if procfs::alive(child.pid, child.start) => Fate::Orphan { pid: child.pid, start: child.start },
            Ok(true) | Err(_) => Fate::Lost,
        }
    }

    /// Without a record it was never let go, provided that the book can be trusted to have had one.
    fn of_missing(&self) -> Fate {
        match &self.contents {
            None if self.bereft => Fate::Lost,
            None => Fate::NeverStarted,
            Some(held) if held.unsettled => Fate::LostInReboot,
            Some(held) => match procfs::boot_id() {
                Ok(boot) if boot != held.host.boot => Fate::LostInReboot,
                Ok(_) if held.torn == 0 => Fate::NeverStarted,
                Ok(_) | Err(_) => Fate::Lost,
            },
        }
    }
}

/// What became of one child; lost, if the book cannot be read.
#[must_use]
pub fn fate(run: &RunDir, key: ChildKey) -> Fate {
    Fates::look(run).map_or(Fate::Lost, |fates| fates.of(key))
}

/// Returns when the process that started then has ended. How it ended only its parent could know.
///
/// # Errors
/// If the process cannot be watched.
pub async fn wait_orphan(pid: i32, start: u64) -> io::Result<()> {
    let Some(id) = Pid::from_raw(pid) else { return Ok(()) };
    let fd = match pidfd_open(id, PidfdFlags::NONBLOCK) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // Now the descriptor names one process for ever: is it the right one?
    if !procfs::alive(pid, start) {
        return Ok(());
    }
    // SAFETY: an owned descriptor stays the same and open until it is dropped, after its registration.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
    fd.ready(Interest::READABLE).await.map(|mut guard| guard.clear_ready_matching(Ready::READABLE))
}
