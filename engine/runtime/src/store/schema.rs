//! The journal's tables, how a database is opened, and what is refused before it is touched.
//! Unaware of what the rows mean.
//!
//! [`MIGRATIONS`] is the history of the format: entries are added at its end and none is ever changed. `user_version`
//! counts those that a file has seen.

use super::error::StoreError;
use super::filesystem;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// "flow": a database with another number is not ours.
pub(super) const APPLICATION_ID: i64 = 0x666c_6f77;

/// The history of the journal's format.
pub(super) const MIGRATIONS: [&str; 1] = [FIRST];

const FIRST: &str = "
CREATE TABLE meta (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    body TEXT NOT NULL CHECK (json_valid(body))
) STRICT;
CREATE TABLE pins (
    epoch  INTEGER NOT NULL CHECK (epoch >= 0),
    place  INTEGER NOT NULL CHECK (place >= 0),
    path   TEXT NOT NULL,
    text   TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (epoch, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
    seq  INTEGER PRIMARY KEY CHECK (seq > 0),
    at   INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE TABLE run (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    state   TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
    started INTEGER,
    ended   INTEGER,
    paused  TEXT
) STRICT;
INSERT INTO run (one, state) VALUES (1, 'running');
CREATE TABLE nodes (
    node     INTEGER PRIMARY KEY CHECK (node >= 0),
    parent   INTEGER NOT NULL CHECK (parent >= 0),
    address  TEXT NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('step', 'item', 'inner')),
    state    TEXT NOT NULL CHECK (state IN ('pending', 'waiting', 'running', 'succeeded', 'failed', 'skipped',
                                            'cancelled', 'lost')),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    started  INTEGER,
    ended    INTEGER,
    error    TEXT,
    outputs  TEXT,
    totals   TEXT
) STRICT;
CREATE INDEX nodes_of_parent ON nodes (parent, node);
CREATE TABLE notes (
    id      INTEGER PRIMARY KEY,
    node    INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    key     TEXT NOT NULL,
    value   TEXT NOT NULL CHECK (json_valid(value)),
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX notes_of_node ON notes (node, id);
CREATE TABLE inputs (
    node    INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (node, attempt)
) STRICT, WITHOUT ROWID;
";

/// Refuses a directory on a network filesystem.
pub(super) fn refuse_network(directory: &Path) -> Result<(), StoreError> {
    match filesystem::network(directory) {
        Ok(None) => Ok(()),
        Ok(Some(kind)) => Err(StoreError::Network { path: directory.to_path_buf(), kind }),
        Err(error) => Err(StoreError::from_io("look at", directory, &error)),
    }
}

/// Opens for writing a database that exists. Nothing is written before the guards have passed.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    // SQLite would only say that it cannot open the file.
    if let Err(error) = rustix::fs::access(path, rustix::fs::Access::WRITE_OK) {
        return Err(StoreError::from_io("write", path, &error.into()));
    }
    let mut connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let version = guard(&connection, path)?;
    let sql = |error: rusqlite::Error| StoreError::from_sql("open", path, &error);
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(sql)? {
        return Err(StoreError::ReadOnly { path: path.to_path_buf(), detail: "opened for reading only".to_owned() });
    }
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(sql)?;
    if mode != "wal" {
        let detail = format!("journal mode is `{mode}` and not `wal`");
        return Err(StoreError::Io { doing: "prepare".to_owned(), path: path.to_path_buf(), detail });
    }
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864;
             PRAGMA foreign_keys = ON;",
        )
        .map_err(sql)?;
    migrate(&mut connection, version).map_err(|error| StoreError::from_sql("migrate", path, &error))?;
    Ok(connection)
}

/// A second connection of the process that writes. It writes nothing, but may: the last connection to close folds the
/// WAL and takes it away, whichever that is.
pub(super) fn open_beside(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection
        .execute_batch("PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0;")
        .map_err(|error| StoreError::from_sql("open", path, &error))?;
    Ok(connection)
}

/// Opens for reading a database that exists; says so when its format is older than this program's.
pub(super) fn open_reader(path: &Path) -> Result<(Connection, i64), StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let version = guard(&connection, path)?;
    Ok((connection, version))
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let sql = |error: rusqlite::Error| StoreError::from_sql("open", path, &error);
    if let Err(error) = std::fs::metadata(path) {
        return Err(StoreError::from_io("open", path, &error));
    }
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(sql)?;
    settle(&connection).map_err(sql)?;
    Ok(connection)
}

/// What every connection is set to. The cache is small: with the page cache of the kernel below it, a large one only
/// costs memory.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -1024;",
    )
}

/// Whose database it is and of which format.
fn guard(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let sql = |error: rusqlite::Error| StoreError::from_sql("read", path, &error);
    let application_id = pragma(connection, "application_id").map_err(sql)?;
    if application_id != APPLICATION_ID {
        return Err(StoreError::NotOurs { path: path.to_path_buf(), application_id });
    }
    let found = pragma(connection, "user_version").map_err(sql)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::TooNew { path: path.to_path_buf(), found, known });
    }
    Ok(found)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Refuses a database with damaged pages.
pub(super) fn quick_check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let answer: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| StoreError::from_sql("check", path, &error))?;
    if answer == "ok" { Ok(()) } else { Err(StoreError::damaged(path, answer.replace('\n', ": "))) }
}

/// Brings a database of format `from` to the newest, all or nothing.
pub(super) fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let from = usize::try_from(from).unwrap_or(0);
    let Some(missing) = MIGRATIONS.get(from..).filter(|missing| !missing.is_empty()) else { return Ok(()) };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))?;
    transaction.commit()
}

/// Makes a file that only its owner may read, which must not exist. SQLite gives its `-wal` and `-shm` the same mode.
pub(super) fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a new, empty database; whoever calls fills it and moves it to its place.
pub(super) fn open_new(path: &Path) -> Result<Connection, StoreError> {
    private_file(path).map_err(|error| StoreError::from_io("make", path, &error))?;
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        .map_err(|error| StoreError::from_sql("make", path, &error))?;
    Ok(connection)
}
