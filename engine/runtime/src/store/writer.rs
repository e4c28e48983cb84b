//! The one thread that writes a journal: it takes one message, drains what else is there, commits all of it at once,
//! then tells everybody. Unaware of what events mean.
//!
//! Group commit needs no timer: while a commit waits for the disk the next batch gathers, so that the disk's speed
//! sets the batch's size. Nothing is told before the commit that holds it has returned.

use super::error::StoreError;
use super::journal::{Done, Health, Written};
use super::reserve::Reserve;
use super::rows::{Entry, NodeRow, PinnedFile, StoredNote};
use super::{crash, schema, view};
use crate::paths::RunDir;
use flowrun_core::event::Event;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Messages of one commit, beside the first.
const DRAIN: usize = 512;
/// A WAL of so many pages (16 MiB) is folded into the database.
const CHECKPOINT_PAGES: i32 = 4096;
/// Room for the text of an event that is kept from commit to commit.
const KEPT_ROOM: usize = 1 << 16;
/// How often a full disk is tried again, and at most how often the WAL is folded: a reader may keep it from shrinking.
const AGAIN: Duration = Duration::from_secs(1);

/// What the writer is told.
pub(super) enum Message {
    /// Something to make durable.
    Work(Work),
    /// Try again what a full disk stopped.
    Retry,
    /// Finish what was handed over, then end.
    Close,
}

/// Something to make durable.
pub(super) enum Work {
    /// Events, with their views and sometimes new plan files.
    Append { expected: u64, at: u64, entries: Vec<Entry>, pins: Vec<PinnedFile>, done: Done },
    /// A note.
    Note { note: StoredNote, done: Done },
}

impl Work {
    /// Tells whoever waits for it.
    pub(super) fn answer(self, written: Written) {
        match self {
            Self::Append { done, .. } | Self::Note { done, .. } => done(written),
        }
    }
}

/// What looking at all pages said.
pub(super) type Checked = Arc<OnceLock<Result<(), StoreError>>>;

/// What a commit made durable: the answer to each piece of work from the front, and why the next one was refused.
struct Committed {
    answers: Vec<u64>,
    refused: Option<StoreError>,
}

/// The state of the thread.
pub(super) struct Writer {
    connection: Connection,
    run: PathBuf,
    path: PathBuf,
    reserve: Reserve,
    last: u64,
    inbox: Receiver<Message>,
    /// Messages that came while the disk was full.
    backlog: VecDeque<Message>,
    health: watch::Sender<Health>,
    broken: Arc<OnceLock<StoreError>>,
    wal_pages: Arc<AtomicI32>,
    tried: Instant,
    folded: Option<Instant>,
    checked: Checked,
    closing: bool,
    /// The text of the event at hand; kept for its room.
    body: Vec<u8>,
}

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
        run: &RunDir,
        last: u64,
        inbox: Receiver<Message>,
        health: watch::Sender<Health>,
        broken: Arc<OnceLock<StoreError>>,
    ) -> Self {
        let wal_pages = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&wal_pages);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        };
        // Refused only for a connection that somebody else owns. Without it the WAL is folded at the end alone.
        if let Err(error) = connection.wal_hook(Some(hook)) {
            tracing::debug!(%error, "the journal's WAL is not watched");
        }
        Self {
            connection,
            run: run.path().to_path_buf(),
            path: run.journal(),
            reserve: Reserve::of(run.path()),
            last,
            inbox,
            backlog: VecDeque::new(),
            health,
            broken,
            wal_pages,
            tried: Instant::now(),
            folded: None,
            checked: Arc::default(),
            closing: false,
            body: Vec::with_capacity(1024),
        }
    }

    /// What looking at all pages said, as soon as it is known.
    pub(super) fn checked(&self) -> Checked {
        Arc::clone(&self.checked)
    }

    pub(super) fn run(mut self) {
        // Here and not where the journal is opened: the caller replays meanwhile.
        let checked = schema::quick_check(&self.connection, &self.path);
        if let Err(error) = &checked {
            self.break_for_good(error);
        }
        // Set here alone.
        let _ = self.checked.set(checked);
        self.restore_reserve();
        while !self.closing {
            let batch = self.gather();
            self.settle(batch);
            self.fold();
        }
        self.end();
    }

    /// Waits for work and takes what else is there. Empty when there is none to do but to look after the disk.
    fn gather(&mut self) -> Vec<Work> {
        let mut batch = Vec::new();
        let Some(first) = self.first() else { return batch };
        self.take(first, &mut batch);
        while !self.closing && batch.len() <= DRAIN {
            let Some(next) = self.backlog.pop_front().or_else(|| self.inbox.try_recv().ok()) else { break };
            self.take(next, &mut batch);
        }
        batch
    }

    fn first(&mut self) -> Option<Message> {
        if let Some(message) = self.backlog.pop_front() {
            return Some(message);
        }
        if *self.health.borrow() == Health::Low {
            return match self.inbox.recv_timeout(AGAIN) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => Some(Message::Retry),
                Err(RecvTimeoutError::Disconnected) => Some(Message::Close),
            };
        }
        Some(self.inbox.recv().unwrap_or(Message::Close))
    }

    fn take(&mut self, message: Message, batch: &mut Vec<Work>) {
        match message {
            Message::Work(work) => batch.push(work),
            Message::Retry => self.restore_reserve(),
            Message::Close => self.closing = true,
        }
    }

    /// Brings a batch to its end: durable, or refused for ever. A full disk holds it here.
    fn settle(&mut self, batch: Vec<Work>) {
        if batch.is_empty() {
            return;
        }
        if let Some(error) = self.broken.get().cloned() {
            return refuse(batch, &error);
        }
        let committed = loop {
            match self.commit(&batch) {
                Ok(committed) => break committed,
                Err(error) => {
                    if let Err(error) = self.make_room(error) {
                        self.break_for_good(&error);
                        return refuse(batch, &error);
                    }
                }
            }
        };
        if let Some(error) = &committed.refused {
            self.break_for_good(error);
        }
        let mut answers = committed.answers.into_iter();
        let mut left = Vec::new();
        for work in batch {
            match answers.next() {
                Some(last) => work.answer(Ok(last)),
                None => left.push(work),
            }
        }
        if let Some(error) = committed.refused {
            refuse(left, &error);
        } else if *self.health.borrow() != Health::Well && self.tried.elapsed() >= AGAIN {
            self.restore_reserve();
        }
    }

    /// One transaction for the batch. An error means that nothing of it is known to be on the disk.
    fn commit(&mut self, batch: &[Work]) -> Result<Committed, StoreError> {
        let path = self.path.clone();
        let sql = |error: rusqlite::Error| StoreError::from_sql("write", &path, &error);
        let mut body = std::mem::take(&mut self.body);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
        let found = view::last_seq(&transaction).map_err(sql)?;
        if found != self.last {
            return Err(StoreError::SecondDriver { path, expected: self.last, found });
        }
        let mut last = self.last;
        let mut committed = Committed { answers: Vec::with_capacity(batch.len()), refused: None };
        let mut nodes = BTreeMap::new();
        for work in batch {
            if let Work::Append { expected, .. } = work
                && *expected != last
            {
                committed.refused =
                    Some(StoreError::SecondDriver { path: path.clone(), expected: *expected, found: last });
                break;
            }
            last = write(&transaction, work, last, &mut nodes, &mut body).map_err(sql)?;
            committed.answers.push(last);
        }
        for row in nodes.values() {
            view::upsert_node(&transaction, row).map_err(sql)?;
        }
        crash::before_commit();
        transaction.commit().map_err(sql)?;
        crash::after_commit();
        self.last = last;
        // The list of a large fan-out is written once; its room is not kept for ever.
        body.clear();
        body.shrink_to(KEPT_ROOM);
        self.body = body;
        Ok(committed)
    }

    /// Gives the reserve back, or waits for room. An error that room does not mend comes back.
    fn make_room(&mut self, error: StoreError) -> Result<(), StoreError> {
        let error = match error {
            StoreError::Io { .. } if Reserve::is_full(&self.run) => StoreError::Full { path: self.path.clone() },
            other => other,
        };
        if !matches!(error, StoreError::Full { .. }) {
            return Err(error);
        }
        if self.reserve.release() {
            self.tried = Instant::now();
            self.tell(Health::Low);
            return Ok(());
        }
        self.tell(Health::Full(error.clone()));
        let until = Instant::now() + AGAIN;
        loop {
            match self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Message::Retry) | Err(RecvTimeoutError::Timeout) => return Ok(()),
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => {
                    self.closing = true;
                    return Err(error);
                }
                Ok(work @ Message::Work(_)) => self.backlog.push_back(work),
            }
        }
    }

    fn restore_reserve(&mut self) {
        if self.broken.get().is_some() {
            return;
        }
        self.tried = Instant::now();
        match self.reserve.take() {
            Ok(()) => self.tell(Health::Well),
            Err(error) => {
                tracing::debug!(%error, "no room for the journal's reserve");
                self.tell(Health::Low);
            }
        }
    }

    fn tell(&self, health: Health) {
        self.health.send_if_modified(|now| {
            let changed = *now != health;
            *now = health;
            changed
        });
    }

    fn break_for_good(&mut self, error: &StoreError) {
        // The first error is the one that explains; a later one cannot come, since nothing is tried any more.
        let _ = self.broken.set(error.clone());
        self.tell(Health::Broken(error.clone()));
    }

    /// Folds a long WAL into the database. What a reader keeps back, or a full disk, is tried again later.
    fn fold(&mut self) {
        let due = self.folded.is_none_or(|at| at.elapsed() >= AGAIN);
        if !due || self.wal_pages.load(Ordering::Relaxed) < CHECKPOINT_PAGES || self.broken.get().is_some() {
            return;
        }
        match self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)") {
            Ok(()) => {}
            // The WAL holds everything; the database can grow when there is room.
            Err(error @ StoreError::Full { .. }) => tracing::debug!(%error, "the WAL is not folded"),
            Err(error) => self.break_for_good(&error),
        }
        self.wal_pages.store(0, Ordering::Relaxed);
        self.folded = Some(Instant::now());
    }

    fn checkpoint(&self, how: &str) -> Result<(), StoreError> {
        let answer = self
            .connection
            .query_row(how, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)));
        match answer {
            Ok((busy, pages, folded)) => {
                tracing::debug!(busy, pages, folded, "checkpoint");
                Ok(())
            }
            Err(error) => match StoreError::from_sql("checkpoint", &self.path, &error) {
                StoreError::Busy { .. } => Ok(()),
                StoreError::Io { .. } if Reserve::is_full(&self.run) => {
                    Err(StoreError::Full { path: self.path.clone() })
                }
                other => Err(other),
            },
        }
    }

    /// A clean end leaves one file: no reserve, an empty WAL.
    fn end(mut self) {
        let closed = self.broken.get().cloned().unwrap_or(StoreError::Closed { path: self.path.clone() });
        let late = std::mem::take(&mut self.backlog).into_iter().chain(self.inbox.try_iter());
        for message in late.collect::<Vec<_>>() {
            if let Message::Work(work) = message {
                work.answer(Err(closed.clone()));
            }
        }
        self.reserve.release();
        if self.broken.get().is_none()
            && let Err(error) = self.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)")
        {
            // Everything is in the WAL, which the next open reads.
            tracing::debug!(%error, "the WAL stays");
        }
    }
}

fn refuse(batch: Vec<Work>, error: &StoreError) {
    for work in batch {
        work.answer(Err(error.clone()));
    }
}

/// Writes one piece of work; returns the number of the last event. Rows of nodes are gathered: the last one counts.
fn write<'a>(
    transaction: &Transaction<'_>,
    work: &'a Work,
    mut last: u64,
    nodes: &mut BTreeMap<u32, &'a NodeRow>,
    body: &mut Vec<u8>,
) -> rusqlite::Result<u64> {
    match work {
        Work::Note { note, .. } => view::insert_note(transaction, note)?,
        Work::Append { at, entries, pins, .. } => {
            for entry in entries {
                last += 1;
                write_entry(transaction, entry, last, *at, nodes, body)?;
            }
            if !pins.is_empty() {
                view::insert_pins(transaction, pins)?;
            }
        }
    }
    Ok(last)
}

fn write_entry<'a>(
    transaction: &Transaction<'_>,
    entry: &'a Entry,
    seq: u64,
    at: u64,
    nodes: &mut BTreeMap<u32, &'a NodeRow>,
    body: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    body.clear();
    serde_json::to_writer(&mut *body, &entry.event)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let text = std::str::from_utf8(body).map_err(|error| rusqlite::Error::Utf8Error(0, error))?;
    view::insert_event(transaction, seq, at, text)?;
    if matches!(entry.event, Event::Replanned { .. }) {
        // Rows of this commit are not in the table yet, and name what notes may be about.
        for row in std::mem::take(nodes).into_values() {
            view::upsert_node(transaction, row)?;
        }
        view::carry_notes(transaction, &entry.rows)?;
    }
    view::apply_to_run(transaction, &entry.event, at)?;
    nodes.extend(entry.rows.iter().map(|row| (row.node, row)));
    if let Some((id, value)) = &entry.inputs {
        view::insert_inputs(transaction, *id, value)?;
    }
    Ok(())
}
