//! The journal of one run, as its driver uses it: opened once, appended to without waiting, read when a run resumes.
//! Unaware of what events mean. One writer thread owns the connection that writes; a second one reads.

use super::error::StoreError;
use super::rows::{Entry, PinnedFile, RunMeta, StoredNote};
use super::writer::{Checked, Message, Work, Writer};
use super::{reserve, schema, view};
use crate::paths::RunDir;
use flowrun_core::event::{AttemptId, Event};
use rusqlite::Connection;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// What a piece of work got: the number of the last event that its commit made durable.
pub type Written = Result<u64, StoreError>;

/// Told, on the writer thread, once the commit is on the disk or will never be; to be quick.
pub type Done = Box<dyn FnOnce(Written) + Send>;

/// Whether the journal can write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Well,
    /// The disk was full: the reserve has been given back and writes go on inside it. The run should pause.
    Low,
    /// The disk is full: work waits in memory and is tried again each second and at [`Journal::retry`].
    Full(StoreError),
    /// It never will again.
    Broken(StoreError),
}

/// The journal of one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    meta: RunMeta,
    reader: Mutex<Connection>,
    inbox: mpsc::Sender<Message>,
    health: watch::Receiver<Health>,
    broken: Arc<OnceLock<StoreError>>,
    checked: Checked,
    writer: Option<JoinHandle<()>>,
}

impl Journal {
    /// Makes the journal of a new run, whole or not at all, and opens it. The directory exists and its lock is held.
    ///
    /// # Errors
    /// When there is a journal already, or the directory cannot hold one.
    pub fn create(run: &RunDir, meta: &RunMeta, pins: &[PinnedFile]) -> Result<Self, StoreError> {
        schema::refuse_network(run.path())?;
        let path = run.journal();
        if path.exists() {
            return Err(StoreError::Exists { path });
        }
        reserve::Reserve::of(run.path())
            .take()
            .map_err(|error| StoreError::from_io("keep room beside", &path, &error))?;
        let unborn = run.path().join("journal.db.new");
        // Left by a flowrun that died here: nothing was started yet.
        let _ = std::fs::remove_file(&unborn);
        fill(&unborn, meta, pins)?;
        publish(&unborn, &path).map_err(|error| StoreError::from_io("make", &path, &error))?;
        Self::open(run)
    }

    /// Opens the journal of a run whose lock is held; brings an older format up to date.
    ///
    /// The writer looks at every page first; what it finds comes from [`Journal::replay`], and nothing is written.
    ///
    /// # Errors
    /// When it is not there, not ours, newer than this program, no database, read-only, or on a network filesystem.
    pub fn open(run: &RunDir) -> Result<Self, StoreError> {
        let path = run.journal();
        if !path.exists() {
            return Err(StoreError::Missing { path });
        }
        schema::refuse_network(run.path())?;
        let connection = schema::open_writer(&path)?;
        let sql = |error: rusqlite::Error| StoreError::from_sql("read", &path, &error);
        let meta = view::meta(&connection).map_err(sql)?;
        let last = view::last_seq(&connection).map_err(sql)?;
        let reader = schema::open_beside(&path)?;
        let (inbox, messages) = mpsc::channel();
        let (tell, health) = watch::channel(Health::Well);
        let broken = Arc::new(OnceLock::new());
        let writer = Writer::new(connection, run, last, messages, tell, Arc::clone(&broken));
        let checked = writer.checked();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::from_io("start the writer of", &path, &error))?;
        Ok(Self { path, meta, reader: Mutex::new(reader), inbox, health, broken, checked, writer: Some(thread) })
    }

    /// What the run was started with.
    #[must_use]
    pub fn meta(&self) -> &RunMeta {
        &self.meta
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it can write, now and whenever that changes.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// The plan files in force: those of the last accepted change.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn pins(&self) -> Result<Vec<PinnedFile>, StoreError> {
        self.read(|connection| view::pins(connection, view::last_epoch(connection)?))
    }

    /// The plan files of an epoch: 0 is the run's start, and each accepted change adds one.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn pins_of(&self, epoch: u32) -> Result<Vec<PinnedFile>, StoreError> {
        self.read(|connection| view::pins(connection, epoch))
    }

    /// The number of the pins in force.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn epoch(&self) -> Result<u32, StoreError> {
        self.read(view::last_epoch)
    }

    /// Calls back for every event from the first, with its number and its time; returns the last number, 0 for none.
    ///
    /// # Errors
    /// When the journal is damaged in any part, or holds an event that this program does not know.
    pub fn replay(&self, mut each: impl FnMut(u64, u64, Event)) -> Result<u64, StoreError> {
        let reader = self.reader();
        let read = view::each_event(&reader, &self.path, 0, |seq, at, body| {
            let event = serde_json::from_str(body)
                .map_err(|error| StoreError::damaged(&self.path, format!("event {seq} cannot be read: {error}")))?;
            each(seq, at, event);
            Ok(())
        });
        // Reading meets some damage too, but cannot say where it is.
        self.checked.wait().clone().and(read)
    }

    /// Hands events to the writer and returns at once. `expected_seq` is the number of the last event that the caller
    /// knows, those handed over before included; the first entry gets the next number. All of the entries become
    /// durable, or none.
    pub fn append(&self, expected_seq: u64, at: u64, entries: Vec<Entry>, done: Done) {
        self.send(Work::Append { expected: expected_seq, at, entries, pins: Vec::new(), done });
    }

    /// As [`Journal::append`], with the plan files that are in force from here on, in the same transaction.
    pub fn put_pins(&self, expected_seq: u64, at: u64, entries: Vec<Entry>, pins: Vec<PinnedFile>, done: Done) {
        self.send(Work::Append { expected: expected_seq, at, entries, pins, done });
    }

    /// Hands a note to the writer and returns at once; the effect it speaks of waits for `done`.
    pub fn note(&self, id: AttemptId, key: &str, value: Value, at: u64, done: Done) {
        self.send(Work::Note { note: StoredNote { id, key: key.to_owned(), value, at }, done });
    }

    /// The notes of all attempts of a step or an item, oldest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn notes(&self, node: u32) -> Result<Vec<StoredNote>, StoreError> {
        self.read(|connection| view::notes(connection, node))
    }

    /// An attempt's rendered inputs, secrets as references.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn inputs(&self, id: AttemptId) -> Result<Option<Value>, StoreError> {
        self.read(|connection| view::inputs(connection, id))
    }

    /// Tries again now what a full disk stopped.
    pub fn retry(&self) {
        // No writer, nothing to try again: whoever waited has been answered.
        let _ = self.inbox.send(Message::Retry);
    }

    /// Waits until everything handed over is durable or refused, then folds the WAL into the database.
    ///
    /// # Errors
    /// The error that stopped the writer, if one did.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.finish();
        self.broken.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn finish(&mut self) {
        let _ = self.inbox.send(Message::Close);
        if let Some(thread) = self.writer.take() {
            // A panic of the writer has no value of its own: what it did not commit was never acknowledged.
            let _ = thread.join();
        }
    }

    fn send(&self, work: Work) {
        if let Some(error) = self.broken.get() {
            work.answer(Err(error.clone()));
            return;
        }
        if let Err(mpsc::SendError(Message::Work(work))) = self.inbox.send(Message::Work(work)) {
            let error = self.broken.get().cloned().unwrap_or(StoreError::Closed { path: self.path.clone() });
            work.answer(Err(error));
        }
    }

    fn read<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        ask(&self.reader()).map_err(|error| StoreError::from_sql("read", &self.path, &error))
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        // A panic in somebody's callback leaves the connection as it was.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Makes a whole database with no event in it.
fn fill(path: &Path, meta: &RunMeta, pins: &[PinnedFile]) -> Result<(), StoreError> {
    let sql = |error: rusqlite::Error| StoreError::from_sql("make", path, &error);
    let mut connection = schema::open_new(path)?;
    schema::migrate(&mut connection, 0).map_err(sql)?;
    let transaction = connection.transaction().map_err(sql)?;
    view::insert_meta(&transaction, meta).map_err(sql)?;
    view::insert_pins(&transaction, pins).map_err(sql)?;
    transaction.commit().map_err(sql)?;
    connection.close().map_err(|(_, error)| sql(error))
}

/// Moves a file to its place for good.
fn publish(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::File::open(from)?.sync_all()?;
    std::fs::rename(from, to)?;
    if let Some(parent) = to.parent() {
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}
