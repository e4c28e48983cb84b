//! The index of runs: what `runs` lists, and how long steps took in the past. Derived from the journals: it is rebuilt
//! when it is missing, damaged or another version's, and kept in memory where the disk cannot be written.
//! Unaware of whether a process drives a run.
//!
//! A row is believed only while the journal's files have the times they had when the row was made, so that nothing
//! depends on who wrote the index last.

use super::error::StoreError;
use super::reader::Reader;
use super::view;
use crate::paths::{RunDir, StateDir};
use flowrun_core::event::{RunState, UnitState};
use rusqlite::{Connection, OpenFlags, Row, params};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run's id.
    pub id: String,
    /// The plan's name.
    pub plan: String,
    /// Equal for two starts of the same work.
    pub identity: String,
    /// Its state in the journal. Whether it is interrupted, the lock tells.
    pub state: RunState,
    /// When it was made, in milliseconds since the epoch.
    pub created: u64,
    /// When it first started.
    pub started: Option<u64>,
    /// When it ended.
    pub ended: Option<u64>,
    /// Top-level steps in each state, by the state's word.
    pub steps: BTreeMap<String, u32>,
}

/// Why no single run answers to a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// No run begins so.
    #[error("there is no run `{prefix}`")]
    None {
        /// What was asked for.
        prefix: String,
    },
    /// More than one does.
    #[error("`{prefix}` may be any of {}: say more of the id", runs.join(", "))]
    Many {
        /// What was asked for.
        prefix: String,
        /// The runs that begin so.
        runs: Vec<String>,
    },
    /// The index cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The journal's number and one: an index is not a journal.
const APPLICATION_ID: i64 = 0x666c_6f78;
const FORMAT: i64 = 1;
const SCHEMA: &str = "
BEGIN EXCLUSIVE;
CREATE TABLE IF NOT EXISTS runs (
    id       TEXT PRIMARY KEY,
    plan     TEXT NOT NULL,
    identity TEXT NOT NULL,
    state    TEXT NOT NULL,
    created  INTEGER NOT NULL,
    started  INTEGER,
    ended    INTEGER,
    steps    TEXT NOT NULL,
    stamp    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS past (
    plan    TEXT NOT NULL,
    address TEXT NOT NULL,
    took    INTEGER NOT NULL,
    ended   INTEGER NOT NULL,
    PRIMARY KEY (plan, address)
) STRICT, WITHOUT ROWID;
PRAGMA application_id = 0x666c6f78;
PRAGMA user_version = 1;
COMMIT;";

/// Durations read from one run when the index is rebuilt: enough for estimates.
const REMEMBERED: u32 = 20_000;

/// The index of a state directory.
#[derive(Debug)]
pub struct Index {
    state: StateDir,
    path: PathBuf,
    connection: Connection,
}

impl Index {
    /// Opens the index; a damaged one is made anew, and one that cannot be written is made in memory.
    ///
    /// # Errors
    /// Only when SQLite cannot make a database in memory.
    pub fn open(state: &StateDir) -> Result<Self, StoreError> {
        let path = state.index();
        let connection = match open_file(&path) {
            Ok(connection) => Ok(connection),
            Err(error) => {
                tracing::debug!(%error, "the index of runs is made anew");
                if error.sqlite_error_code().is_some_and(is_damage) {
                    remove(&path);
                }
                open_file(&path).or_else(|_| open_memory())
            }
        };
        let connection = connection.map_err(|error| StoreError::from_sql("open", &path, &error))?;
        Ok(Self { state: state.clone(), path, connection })
    }

    /// All runs, the newest first. Runs whose journal cannot be read are left out; [`Index::unreadable`] names them.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn list(&self) -> Result<Vec<RunSummary>, StoreError> {
        let mut known = self.rows().map_err(|error| self.sql(&error))?;
        let mut runs: Vec<_> = self.ids().iter().filter_map(|id| self.current(id, known.remove(id))).collect();
        for gone in known.keys() {
            self.keep("a pruned run", || self.connection.execute("DELETE FROM runs WHERE id = ?1", [gone]).map(drop));
        }
        runs.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
        Ok(runs)
    }

    /// Runs whose journal cannot be read, and why.
    #[must_use]
    pub fn unreadable(&self) -> Vec<(String, StoreError)> {
        let failed = |id: String| summary(&self.state.run(&id)).err().map(|error| (id, error));
        self.ids().into_iter().filter_map(failed).collect()
    }

    /// The run whose id is or begins with a text.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(&self, prefix: &str) -> Result<RunSummary, FindError> {
        let mut ids = self.ids();
        if !ids.iter().any(|id| id == prefix) {
            ids.retain(|id| id.starts_with(prefix));
        } else {
            ids.retain(|id| id == prefix);
        }
        match ids.as_slice() {
            [] => Err(FindError::None { prefix: prefix.to_owned() }),
            [id] => Ok(summary(&self.state.run(id))?),
            _ => Err(FindError::Many { prefix: prefix.to_owned(), runs: ids }),
        }
    }

    /// Unfinished runs of the same work, the newest first: those that run, were interrupted, or failed.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn unfinished(&self, identity: &str) -> Result<Vec<RunSummary>, StoreError> {
        let mut runs = self.list()?;
        runs.retain(|run| run.identity == identity && matches!(run.state, RunState::Running | RunState::Failed));
        Ok(runs)
    }

    /// Writes a run's row.
    ///
    /// # Errors
    /// When the index cannot be written: a run goes on without.
    pub fn upsert(&self, run: &RunSummary) -> Result<(), StoreError> {
        let stamp = stamp(&self.state.run(&run.id)).unwrap_or(0);
        self.insert(run, stamp).map_err(|error| self.sql(&error))
    }

    /// Remembers how long steps and items of a plan took: `(address, milliseconds, ended)`.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn remember(&mut self, plan: &str, took: &[(String, u64, u64)]) -> Result<(), StoreError> {
        let path = &self.path;
        remember(&mut self.connection, plan, took).map_err(|error| StoreError::from_sql("write", path, &error))
    }

    /// How long the steps and items of a plan took when they last succeeded, in milliseconds.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn durations(&self, plan: &str) -> Result<HashMap<String, u64>, StoreError> {
        let ask = || -> rusqlite::Result<HashMap<String, u64>> {
            self.connection
                .prepare_cached("SELECT address, took FROM past WHERE plan = ?1")?
                .query_map([plan], |row| Ok((row.get(0)?, view::unsigned(row.get(1)?))))?
                .collect()
        };
        ask().map_err(|error| self.sql(&error))
    }

    /// A run's line: the row, or the journal where it has changed since the row was made.
    fn current(&self, id: &str, row: Option<(RunSummary, i64)>) -> Option<RunSummary> {
        let run = self.state.run(id);
        let now = stamp(&run)?;
        let known = row.is_some();
        if let Some((row, _)) = row.filter(|(_, stamp)| *stamp == now) {
            return Some(row);
        }
        match summary(&run) {
            Ok(row) => {
                self.keep("a run", || self.insert(&row, now));
                if !known {
                    self.recall(&run, &row.plan);
                }
                Some(row)
            }
            Err(error) => {
                tracing::debug!(run = %id, %error, "left out of the list");
                None
            }
        }
    }

    /// Writes what can be read again from the journals: a full disk or a busy index harms nothing.
    fn keep(&self, what: &str, write: impl FnOnce() -> rusqlite::Result<()>) {
        if let Err(error) = write() {
            tracing::debug!(path = %self.path.display(), %error, "the index does not keep {what}");
        }
    }

    /// Durations of a run that the index has never seen; without them there is no estimate, which harms nothing.
    fn recall(&self, run: &RunDir, plan: &str) {
        let Ok(nodes) = Reader::open(run).and_then(|reader| reader.nodes(0, REMEMBERED)) else { return };
        let took: Vec<_> = nodes
            .into_iter()
            .filter(|node| node.state == UnitState::Succeeded)
            .filter_map(|node| Some((node.address, node.ended?.checked_sub(node.started?)?, node.ended?)))
            .collect();
        self.keep("durations", || {
            let transaction = self.connection.unchecked_transaction()?;
            insert_past(&transaction, plan, &took)?;
            transaction.commit()
        });
    }

    /// The ids of runs that have a journal, in order.
    fn ids(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.state.runs()) else { return Vec::new() };
        let mut ids: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|id| self.state.run(id).journal().exists())
            .collect();
        ids.sort_unstable();
        ids
    }

    fn rows(&self) -> rusqlite::Result<HashMap<String, (RunSummary, i64)>> {
        self.connection
            .prepare_cached("SELECT id, plan, identity, state, created, started, ended, steps, stamp FROM runs")?
            .query_map([], |row| {
                let run = summary_row(row)?;
                Ok((run.id.clone(), (run, row.get(8)?)))
            })?
            .collect()
    }

    fn insert(&self, run: &RunSummary, stamp: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO runs (id, plan, identity, state, created, started, ended, steps, stamp)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                run.id,
                run.plan,
                run.identity,
                view::run_word(run.state),
                view::signed(run.created),
                run.started.map(view::signed),
                run.ended.map(view::signed),
                view::json(&run.steps)?,
                stamp,
            ])?;
        Ok(())
    }

    fn sql(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::from_sql("use", &self.path, error)
    }
}

/// A run's line in the list, from its journal.
///
/// # Errors
/// When the journal cannot be read.
pub fn summary(run: &RunDir) -> Result<RunSummary, StoreError> {
    let reader = Reader::open(run)?;
    let (meta, row) = (reader.meta()?, reader.run()?);
    Ok(RunSummary {
        id: run.id(),
        plan: meta.plan_name,
        identity: meta.identity,
        state: row.state,
        created: meta.created_ms,
        started: row.started,
        ended: row.ended,
        steps: reader.counts(0)?,
    })
}

fn summary_row(row: &Row<'_>) -> rusqlite::Result<RunSummary> {
    Ok(RunSummary {
        id: row.get(0)?,
        plan: row.get(1)?,
        identity: row.get(2)?,
        state: view::run_state(3, row.get_ref(3)?.as_str()?)?,
        created: view::unsigned(row.get(4)?),
        started: view::time(row, 5)?,
        ended: view::time(row, 6)?,
        steps: view::parse_column(row, 7)?,
    })
}

/// When the journal's files last changed, in nanoseconds; none without a journal.
fn stamp(run: &RunDir) -> Option<i64> {
    let changed = |path: &Path| {
        let since = std::fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.as_nanos()).ok()
    };
    let journal = run.journal();
    Some(changed(&journal)?.max(changed(&journal.with_extension("db-wal")).unwrap_or(0)))
}

fn open_file(path: &Path) -> rusqlite::Result<Connection> {
    // Made first, so that SQLite's other files get its mode; where it cannot be made, opening says why.
    let _ = super::schema::private_file(path);
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -512;",
    )?;
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (owner, format) = (pragma("application_id")?, pragma("user_version")?);
    if !matches!((owner, format), (0, 0) | (APPLICATION_ID, FORMAT)) {
        // Another program's, or another version's: left alone.
        return Err(rusqlite::Error::InvalidQuery);
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // A lost row is read again from its journal.
    connection.execute_batch("PRAGMA synchronous = NORMAL;")?;
    if format == 0 {
        connection.execute_batch(SCHEMA)?;
    }
    connection.query_row("PRAGMA quick_check(1)", [], |row| {
        let answer: String = row.get(0)?;
        if answer == "ok" { Ok(()) } else { Err(damage(&answer)) }
    })?;
    Ok(connection)
}

fn open_memory() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

fn damage(answer: &str) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(answer.to_owned()))
}

fn is_damage(code: rusqlite::ErrorCode) -> bool {
    matches!(code, rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
}

/// A process that has the old file open goes on with it; what it writes there is read from the journals again.
fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::remove_file(name);
    }
}

fn remember(connection: &mut Connection, plan: &str, took: &[(String, u64, u64)]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    insert_past(&transaction, plan, took)?;
    transaction.commit()
}

/// Of two durations of the same step the later one counts.
fn insert_past(connection: &Connection, plan: &str, took: &[(String, u64, u64)]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO past (plan, address, took, ended) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (plan, address) DO UPDATE SET took = ?3, ended = ?4 WHERE ended <= ?4",
    )?;
    for (address, took, ended) in took {
        statement.execute(params![plan, address, view::signed(*took), view::signed(*ended)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{FindError, Index, RunSummary};
    use crate::paths::{RunDir, StateDir};
    use crate::store::rows::{Entry, NodeKind, NodeRow, RunMeta};
    use crate::store::{Journal, statedir};
    use flowrun_core::event::{Event, RunState, UnitState};
    use serde_json::Value;

    fn state() -> (tempfile::TempDir, StateDir) {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDir(directory.path().join("state"));
        statedir::prepare(&state).expect("it can be made");
        (directory, state)
    }

    fn make(state: &StateDir, id: &str, created_ms: u64) -> (RunDir, Journal) {
        let run = statedir::create_run(state, id).expect("a run");
        let meta = RunMeta {
            id: id.to_owned(),
            plan_name: "dump".to_owned(),
            plan_path: "/p/dump.yaml".to_owned(),
            identity: "same".to_owned(),
            params: Value::Null,
            given: Value::Null,
            env: std::collections::BTreeMap::new(),
            cwd: "/".to_owned(),
            created_ms,
            flowrun_version: "0.1.0".to_owned(),
        };
        let journal = Journal::create(&run, &meta, &[]).expect("a journal");
        (run, journal)
    }

    fn finish(journal: Journal, state: RunState) {
        let row = NodeRow {
            node: 1,
            parent: 0,
            address: "dump".to_owned(),
            kind: NodeKind::Step,
            state: UnitState::Succeeded,
            attempts: 1,
            started: Some(1000),
            ended: Some(4000),
            error: None,
            outputs: None,
            totals: None,
        };
        let first = Entry { event: Event::Started, rows: vec![row], inputs: None };
        let last = Entry::bare(Event::Finished { state });
        journal.append(0, 5000, vec![first, last], Box::new(|written| assert_eq!(written, Ok(2))));
        journal.close().expect("a clean end");
    }

    #[test]
    fn runs_are_listed_from_their_journals_newest_first() {
        let (_directory, state) = state();
        let index = Index::open(&state).expect("an index");
        finish(make(&state, "7f3a", 1).1, RunState::Succeeded);
        finish(make(&state, "9b00", 2).1, RunState::Failed);
        let list = index.list().expect("a list");
        assert_eq!(list.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), ["9b00", "7f3a"]);
        assert_eq!(list[1].steps.get("succeeded"), Some(&1));
        assert_eq!((list[1].started, list[1].ended), (Some(5000), Some(5000)));
        assert_eq!(index.unfinished("same").expect("read").len(), 1, "failed is unfinished, succeeded is not");
        assert_eq!(index.durations("dump").expect("read").get("dump"), Some(&3000));
    }

    #[test]
    fn a_row_that_the_journal_has_overtaken_is_read_again() {
        let (_directory, state) = state();
        let index = Index::open(&state).expect("an index");
        let (_, journal) = make(&state, "7f3a", 1);
        assert_eq!(index.list().expect("a list")[0].state, RunState::Running);
        finish(journal, RunState::Failed);
        assert_eq!(index.list().expect("a list")[0].state, RunState::Failed);
    }

    #[test]
    fn a_run_that_is_pruned_leaves_the_list() {
        let (_directory, state) = state();
        let index = Index::open(&state).expect("an index");
        let (run, journal) = make(&state, "7f3a", 1);
        finish(journal, RunState::Succeeded);
        assert_eq!(index.list().expect("a list").len(), 1);
        std::fs::remove_dir_all(run.path()).expect("pruned");
        assert_eq!(index.list().expect("a list"), Vec::<RunSummary>::new());
    }

    #[test]
    fn many_processes_may_open_and_write_the_index_at_once() {
        let (_directory, state) = state();
        finish(make(&state, "7f3a", 1).1, RunState::Succeeded);
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let state = &state;
                scope.spawn(move || {
                    for round in 0..10 {
                        let mut index = Index::open(state).expect("an index");
                        assert_eq!(index.list().expect("a list").len(), 1);
                        let took = [(format!("step{thread}"), round, round)];
                        index.remember("other", &took).expect("remembered");
                    }
                });
            }
        });
        let index = Index::open(&state).expect("an index");
        let took = index.durations("other").expect("read");
        assert_eq!(took.len(), 8);
        assert!(took.values().all(|took| *took == 9), "{took:?}");
    }

    #[test]
    fn a_damaged_index_is_made_anew() {
        let (_directory, state) = state();
        finish(make(&state, "7f3a", 1).1, RunState::Succeeded);
        Index::open(&state).expect("an index").list().expect("a list");
        std::fs::write(state.index(), b"not a database at all, but long enough to look at").expect("damaged");
        let index = Index::open(&state).expect("made anew");
        assert_eq!(index.list().expect("a list").len(), 1);
        assert_eq!(Index::open(&state).expect("on the disk").durations("dump").expect("read").len(), 1);
    }

    #[test]
    fn a_newer_index_is_left_alone_and_one_in_memory_serves() {
        let (_directory, state) = state();
        finish(make(&state, "7f3a", 1).1, RunState::Succeeded);
        drop(Index::open(&state).expect("an index"));
        let newer = rusqlite::Connection::open(state.index()).expect("opened");
        newer.pragma_update(None, "user_version", 99).expect("newer");
        let index = Index::open(&state).expect("in memory");
        assert_eq!(index.list().expect("a list").len(), 1);
        let version: i64 = newer.pragma_query_value(None, "user_version", |row| row.get(0)).expect("read");
        assert_eq!(version, 99);
    }

    #[test]
    fn a_prefix_finds_one_run_or_says_which_there_are() {
        let (_directory, state) = state();
        let index = Index::open(&state).expect("an index");
        for (id, created) in [("7f3a", 1), ("7f3b", 2), ("7f3", 3)] {
            finish(make(&state, id, created).1, RunState::Succeeded);
        }
        assert_eq!(index.find("7f3a").expect("one").id, "7f3a");
        assert_eq!(index.find("7f3").expect("an id wins over a prefix").id, "7f3");
        match index.find("7f") {
            Err(FindError::Many { runs, .. }) => assert_eq!(runs, ["7f3", "7f3a", "7f3b"]),
            other => panic!("{other:?}"),
        }
        assert!(matches!(index.find("x"), Err(FindError::None { .. })));
    }

    #[test]
    fn a_run_with_a_damaged_journal_is_named_and_hides_no_other() {
        let (_directory, state) = state();
        finish(make(&state, "7f3a", 1).1, RunState::Succeeded);
        let (run, journal) = make(&state, "9b00", 2);
        finish(journal, RunState::Succeeded);
        std::fs::write(run.journal(), [7_u8; 4096]).expect("damaged");
        let index = Index::open(&state).expect("an index");
        assert_eq!(index.list().expect("a list").len(), 1);
        let unreadable = index.unreadable();
        assert_eq!(unreadable.len(), 1);
        assert_eq!(unreadable[0].0, "9b00");
    }
}
