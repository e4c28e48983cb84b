//! What the driver talks to: orders out, answers in, many of either in one system call.
//! Unaware of how the host does it. When the connection breaks every waiter is told, and the book knows the rest.

use super::link::{self, Link};
use super::proto::{Answer, Inbox, Order};
use super::{ChildExit, ChildKey, ChildRecord, Setup, Spawn, StartError};
use crate::paths::RunDir;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;

/// Why there is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It could not be started.
    #[error("cannot start the host of run `{run}`: {why}")]
    Start {
        /// The run.
        run: String,
        /// The reason.
        why: String,
    },
    /// It lives and does not answer.
    #[error("the host of run `{run}` lives and does not answer")]
    Silent {
        /// The run.
        run: String,
    },
    /// Another flowrun started it, and its children still run.
    #[error("the host of this run speaks version {version} of its protocol, this flowrun speaks another")]
    Version {
        /// The host's.
        version: u32,
    },
}

/// A child that was started, now or earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Its process and process group.
    pub pid: i32,
    /// When its process started, in clock ticks since the boot.
    pub start: u64,
    /// When it was started, in milliseconds since the epoch.
    pub started_ms: u64,
}

/// The connection to a run's host. A clone is the same connection; it closes when the last one is dropped, and the
/// host's children go on.
#[derive(Debug, Clone)]
pub struct Host {
    shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

#[derive(Debug)]
struct Shared {
    pid: i32,
    known: Vec<ChildRecord>,
    /// Orders that wait to be written.
    out: Mutex<Vec<u8>>,
    written: Notify,
    children: Mutex<Children>,
    lost: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Children {
    slots: HashMap<ChildKey, Slot>,
    /// The connection broke: nothing more is answered.
    gone: bool,
}

#[derive(Debug, Default)]
struct Slot {
    start: Option<Result<Started, StartError>>,
    on_start: Vec<oneshot::Sender<Result<Started, StartError>>>,
    exit: Option<ChildExit>,
    on_exit: Vec<oneshot::Sender<ChildExit>>,
}

/// Ends the connection's tasks with the last handle.
#[derive(Debug)]
struct Tasks([AbortHandle; 2]);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Nothing panics while it holds one of these locks, and their contents are whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// Connects to the run's living host, or starts one with the flowrun at `exe`. A connection that another driver
    /// holds is taken over: whoever calls this holds the driver's lock.
    ///
    /// # Errors
    /// If there is no living host and none can be started, or if it does not answer.
    pub async fn connect(run: &RunDir, exe: &Path, setup: &Setup) -> Result<Self, HostError> {
        let Link { stream, inbox, pid, known } = link::reach(run, exe, setup).await?;
        let mut children = Children::default();
        for child in &known {
            let ChildRecord { key, pid, start, started_ms, exit, .. } = *child;
            let slot = Slot { start: Some(Ok(Started { pid, start, started_ms })), exit, ..Slot::default() };
            children.slots.insert(key, slot);
        }
        let shared = Arc::new(Shared {
            pid,
            known,
            out: Mutex::default(),
            written: Notify::new(),
            children: Mutex::new(children),
            lost: watch::Sender::new(false),
        });
        let (read, write) = stream.into_split();
        let reader = tokio::spawn(listen(Arc::clone(&shared), read, inbox)).abort_handle();
        let writer = tokio::spawn(talk(Arc::clone(&shared), write)).abort_handle();
        Ok(Self { shared, _tasks: Arc::new(Tasks([reader, writer])) })
    }

    /// The host's process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.shared.pid
    }

    /// The children of this host at the time of the connection, also those that have ended and were not forgotten.
    #[must_use]
    pub fn known(&self) -> &[ChildRecord] {
        &self.shared.known
    }

    /// Orders a child. The order is on its way when this returns; the future gives the host's answer and need not be
    /// awaited. The same key is never started twice: the answer is then about the child that was.
    pub fn start(&self, spawn: Spawn) -> impl Future<Output = Result<Started, StartError>> + Send + use<> {
        let answer = self.expect_start(spawn.key);
        if answer.is_some() {
            self.send(&Order::Spawn(Box::new(spawn)));
        }
        async move {
            match answer {
                Some(answer) => answer.await.unwrap_or(Err(StartError::HostGone)),
                None => Err(StartError::HostGone),
            }
        }
    }

    fn expect_start(&self, key: ChildKey) -> Option<oneshot::Receiver<Result<Started, StartError>>> {
        let mut children = lock(&self.shared.children);
        if children.gone {
            return None;
        }
        let (send, receive) = oneshot::channel();
        children.slots.entry(key).or_default().on_start.push(send);
        Some(receive)
    }

    /// How the child ends, or has ended. A child that is neither known nor ordered is `Unknown`.
    pub fn wait(&self, key: ChildKey) -> impl Future<Output = ChildExit> + Send + use<> {
        let answer = self.expect_exit(key);
        async move {
            match answer {
                Ok(exit) => exit,
                Err(answer) => answer.await.unwrap_or(ChildExit::HostGone),
            }
        }
    }

    fn expect_exit(&self, key: ChildKey) -> Result<ChildExit, oneshot::Receiver<ChildExit>> {
        let mut children = lock(&self.shared.children);
        let gone = children.gone;
        let Some(slot) = children.slots.get_mut(&key) else {
            return Ok(if gone { ChildExit::HostGone } else { ChildExit::Unknown });
        };
        match slot.exit {
            Some(exit) => Ok(exit),
            None if gone => Ok(ChildExit::HostGone),
            None => {
                let (send, receive) = oneshot::channel();
                slot.on_exit.push(send);
                Err(receive)
            }
        }
    }

    /// Asks a child to stop: its signal to its group now, KILL to all that is left of it after its grace. Its exit is
    /// told when nothing of it runs any more.
    pub fn stop(&self, key: ChildKey) {
        self.send(&Order::Stop(key));
    }

    /// Stops the child's processes where they stand.
    pub fn freeze(&self, key: ChildKey) {
        self.send(&Order::Freeze(key));
    }

    /// Lets frozen processes go on.
    pub fn thaw(&self, key: ChildKey) {
        self.send(&Order::Thaw(key));
    }

    /// The child's end is in the journal: its record may be used again. Never before, or a crash loses the exit; and of
    /// a lost child never before [`super::fence()`], which needs the record.
    pub fn forget(&self, key: ChildKey) {
        lock(&self.shared.children).slots.remove(&key);
        self.send(&Order::Forget(key));
    }

    /// Every attempt that was in flight before a reboot is judged: from now on a key without a record was never
    /// started.
    pub fn settled(&self) {
        self.send(&Order::Settled);
    }

    /// Returns when the connection is broken. Every waiter is told as well.
    pub async fn lost(&self) {
        let mut lost = self.shared.lost.subscribe();
        // An error would mean that the sender is gone, which `self` holds.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Returns when all orders are written to the socket, or the connection is broken.
    pub async fn flush(&self) {
        while !lock(&self.shared.out).is_empty() && !lock(&self.shared.children).gone {
            tokio::task::yield_now().await;
        }
    }

    fn send(&self, order: &Order) {
        let mut out = lock(&self.shared.out);
        let first = out.is_empty();
        order.write(&mut out);
        drop(out);
        if first {
            self.shared.written.notify_one();
        }
    }
}

/// Writes what has come together since the last write.
async fn talk(shared: Arc<Shared>, mut stream: OwnedWriteHalf) {
    let mut batch = Vec::new();
    loop {
        shared.written.notified().await;
        // Others that are ready now may add to the batch.
        tokio::task::yield_now().await;
        std::mem::swap(&mut batch, &mut *lock(&shared.out));
        if stream.write_all(&batch).await.is_err() {
            // The reader sees the same end and tells.
            return;
        }
        batch.clear();
        batch.shrink_to(1 << 20);
    }
}

async fn listen(shared: Arc<Shared>, mut stream: OwnedReadHalf, mut inbox: Inbox) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        while let Ok(Some(frame)) = inbox.next() {
            if let Some(answer) = Answer::read(frame) {
                shared.take(answer);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => inbox.push(buffer.get(..count).unwrap_or_default()),
        }
    }
    shared.break_off();
}

impl Shared {
    /// A waiter that was dropped is no fault.
    fn take(&self, answer: Answer) {
        match answer {
            Answer::Started { key, pid, start, started_ms } => {
                self.started(key, Ok(Started { pid, start, started_ms }))
            }
            Answer::Refused { key, error } => self.started(key, Err(error)),
            Answer::Exited { key, exit } => self.exited(key, exit),
            // They belong to the greeting.
            Answer::Welcome { .. } | Answer::Known(_) => {}
        }
    }

    fn started(&self, key: ChildKey, result: Result<Started, StartError>) {
        let mut children = lock(&self.children);
        let Some(slot) = children.slots.get_mut(&key) else { return };
        for waiter in std::mem::take(&mut slot.on_start) {
            let _ = waiter.send(result.clone());
        }
        match result {
            Ok(_) => slot.start = Some(result),
            // It may be ordered again.
            Err(_) => drop(children.slots.remove(&key)),
        }
    }

    fn exited(&self, key: ChildKey, exit: ChildExit) {
        let mut children = lock(&self.children);
        let Some(slot) = children.slots.get_mut(&key) else { return };
        slot.exit = Some(exit);
        for waiter in std::mem::take(&mut slot.on_exit) {
            let _ = waiter.send(exit);
        }
        // Only for a key of an earlier host: it ended unseen and will not be started.
        for waiter in std::mem::take(&mut slot.on_start) {
            let _ = waiter.send(Err(StartError::HostGone));
        }
    }

    fn break_off(&self) {
        let mut children = lock(&self.children);
        children.gone = true;
        for slot in children.slots.values_mut() {
            slot.on_start.clear();
            slot.on_exit.clear();
        }
        drop(children);
        self.lost.send_replace(true);
    }
}
