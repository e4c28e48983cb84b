//! What the driver says, as the thread that writes takes it: the newest snapshot, and notices in handfuls.
//! Unaware of what is done with them.

use flowrun_engine::driver::snapshot::{Notice, Snapshot};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::watch;

/// Notices are gathered for so long: waking up for each of ten thousand a second would take time from the run itself.
const GATHER: Duration = Duration::from_millis(20);
/// And so many at most, so that a screen moves while a flood lasts.
const HANDFUL: usize = 4096;

/// The two streams of a run.
#[derive(Debug)]
pub struct Feed {
    watch: watch::Receiver<Snapshot>,
    inbox: Receiver<Notice>,
    snapshot: Snapshot,
}

/// What came.
#[derive(Debug, Default)]
pub struct Handful {
    /// In the order in which it happened.
    pub notices: Vec<Notice>,
    /// Nothing more will come.
    pub closed: bool,
}

impl Feed {
    /// A feed from the driver's two ends.
    #[must_use]
    pub fn new(watch: watch::Receiver<Snapshot>, inbox: Receiver<Notice>) -> Self {
        let snapshot = watch.borrow().clone();
        Self { watch, inbox, snapshot }
    }

    /// Waits for notices, at most for `pause`.
    pub fn next(&mut self, pause: Duration) -> Handful {
        let mut handful = Handful::default();
        match self.inbox.recv_timeout(pause) {
            Ok(first) => {
                if !is_end(&first) {
                    std::thread::sleep(GATHER);
                }
                handful.notices.push(first);
                handful.notices.extend(self.inbox.try_iter().take(HANDFUL));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => handful.closed = true,
        }
        // An error says that the driver is gone: its last snapshot is still there.
        if self.watch.has_changed().unwrap_or(true) {
            self.snapshot.clone_from(&self.watch.borrow_and_update());
        }
        handful
    }

    /// The newest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// The driver ended.
#[must_use]
pub fn is_end(notice: &Notice) -> bool {
    matches!(notice, Notice::Ended { .. })
}
