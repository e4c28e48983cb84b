//! Reading a run without driving it: beside a live writer, after a crash, and on a disk that cannot be written.
//! Unaware of whether a process drives the run; the lock tells that.

use super::error::StoreError;
use super::rows::{NodeRow, PinnedFile, RunMeta, RunRow, StoredNote};
use super::{schema, view};
use crate::paths::RunDir;
use flowrun_core::event::AttemptId;
use rusqlite::Connection;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A run's journal, for reading. Each question sees the last commit.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Connection,
    /// Where the copy lies that is read instead of a journal which cannot be read in place.
    copy: Option<Copy>,
}

impl Reader {
    /// Opens the journal of a run.
    ///
    /// # Errors
    /// When it is not there, not ours, newer than this program, or damaged.
    pub fn open(run: &RunDir) -> Result<Self, StoreError> {
        let path = run.journal();
        let known = i64::try_from(schema::MIGRATIONS.len()).unwrap_or(i64::MAX);
        match schema::open_reader(&path) {
            // Opening proves nothing: the first read meets a WAL that cannot be mapped.
            Ok((connection, version)) if version == known && view::meta(&connection).is_ok() => {
                Ok(Self { path, connection, copy: None })
            }
            Err(error @ (StoreError::Missing { .. } | StoreError::NotOurs { .. } | StoreError::TooNew { .. })) => {
                Err(error)
            }
            Ok(_) | Err(_) => Self::open_copy(path),
        }
    }

    /// A read-only disk has no place for the index of the WAL, and an older journal is not migrated by a reader: both
    /// are read as a copy.
    fn open_copy(path: PathBuf) -> Result<Self, StoreError> {
        let copy = Copy::of(&path).map_err(|error| StoreError::from_io("copy", &path, &error))?;
        let rename = |error: StoreError| at_original(error, &path);
        let connection = schema::open_writer(&copy.file()).map_err(rename)?;
        view::meta(&connection).map_err(|error| StoreError::from_sql("read", &path, &error))?;
        Ok(Self { path, connection, copy: Some(copy) })
    }

    /// Whether a copy is read, which later commits do not reach.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// What the run was started with.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn meta(&self) -> Result<RunMeta, StoreError> {
        self.ask(view::meta)
    }

    /// The run as the last committed event left it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn run(&self) -> Result<RunRow, StoreError> {
        self.ask(view::run)
    }

    /// The plan files in force.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn pins(&self) -> Result<Vec<PinnedFile>, StoreError> {
        self.ask(|connection| view::pins(connection, view::last_epoch(connection)?))
    }

    /// All top-level steps.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn steps(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.children(0, 0, u32::MAX)
    }

    /// Items or inner steps of a node, those with a number above `after`, at most `limit`.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn children(&self, parent: u32, after: u32, limit: u32) -> Result<Vec<NodeRow>, StoreError> {
        self.ask(|connection| view::children(connection, parent, after, limit))
    }

    /// All nodes of the run with a number above `after`, at most `limit`.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn nodes(&self, after: u32, limit: u32) -> Result<Vec<NodeRow>, StoreError> {
        self.ask(|connection| view::all_nodes(connection, after, limit))
    }

    /// The node of an address.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn node(&self, address: &str) -> Result<Option<NodeRow>, StoreError> {
        self.ask(|connection| view::node_at(connection, address))
    }

    /// Children of a node in each state, by the state's word; 0 is the run.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn counts(&self, parent: u32) -> Result<BTreeMap<String, u32>, StoreError> {
        self.ask(|connection| view::counts(connection, parent))
    }

    /// The notes of all attempts of a step or an item, oldest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn notes(&self, node: u32) -> Result<Vec<StoredNote>, StoreError> {
        self.ask(|connection| view::notes(connection, node))
    }

    /// An attempt's rendered inputs, secrets as references.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn inputs(&self, id: AttemptId) -> Result<Option<Value>, StoreError> {
        self.ask(|connection| view::inputs(connection, id))
    }

    /// Calls back for every event after `after` with its number, its time and its JSON; returns the last number.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn events(&self, after: u64, mut each: impl FnMut(u64, u64, &str)) -> Result<u64, StoreError> {
        view::each_event(&self.connection, &self.path, after, |seq, at, body| {
            each(seq, at, body);
            Ok(())
        })
    }

    /// Looks at every page and index: what `doctor` asks.
    ///
    /// # Errors
    /// When something is damaged.
    pub fn check(&self) -> Result<(), StoreError> {
        schema::quick_check(&self.connection, &self.path)
    }

    fn ask<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        question(&self.connection).map_err(|error| StoreError::from_sql("read", &self.path, &error))
    }
}

/// An error about the copy is about the journal.
fn at_original(error: StoreError, original: &Path) -> StoreError {
    let path = original.to_path_buf();
    match error {
        StoreError::NotOurs { application_id, .. } => StoreError::NotOurs { path, application_id },
        StoreError::TooNew { found, known, .. } => StoreError::TooNew { path, found, known },
        StoreError::Damaged { detail, .. } => StoreError::Damaged { path, detail },
        other => other,
    }
}

/// A directory of our own that is gone with this value.
#[derive(Debug)]
struct Copy(PathBuf);

impl Copy {
    fn of(journal: &Path) -> std::io::Result<Self> {
        let copy = Self::make()?;
        std::fs::copy(journal, copy.file())?;
        let wal = journal.with_extension("db-wal");
        if wal.exists() {
            std::fs::copy(wal, copy.file().with_extension("db-wal"))?;
        }
        // A copy of a read-only file is read-only, and this one is opened for writing.
        std::fs::set_permissions(copy.file(), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(copy)
    }

    fn make() -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("flowrun-read-{}-{number}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                // Somebody's leftover: never read what another user may have laid there.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.0.join("journal.db")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
