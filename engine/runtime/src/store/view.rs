//! The statements on the tables of a journal, each in one function, for the writer and for readers.
//! Unaware of transactions: the caller holds one or does not need one.

use super::error::StoreError;
use super::rows::{NodeKind, NodeRow, PinnedFile, RunMeta, RunRow, StoredNote};
use flowrun_core::event::{AttemptId, Event, NodeId, RunState, UnitState};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

type Result<T> = rusqlite::Result<T>;

/// SQLite's integers are signed. Times in milliseconds and numbers of events stay far below the limit.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// JSON of our own types: maps with text keys only, so that it cannot fail.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn parse<T: DeserializeOwned>(column: usize, text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

pub(super) fn parse_column<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T> {
    parse(column, row.get_ref(column)?.as_str()?)
}

fn parse_optional<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<Option<T>> {
    row.get_ref(column)?.as_str_or_null()?.map(|text| parse(column, text)).transpose()
}

fn unknown_word(column: usize, word: &str) -> rusqlite::Error {
    let error = FromSqlError::Other(format!("`{word}` is not a word that flowrun writes").into());
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(unsigned))
}

// Meta and pins.

pub(super) fn insert_meta(connection: &Connection, meta: &RunMeta) -> Result<()> {
    connection.execute("INSERT INTO meta (one, body) VALUES (1, ?1)", [json(meta)?])?;
    Ok(())
}

pub(super) fn meta(connection: &Connection) -> Result<RunMeta> {
    connection.query_row("SELECT body FROM meta", [], |row| parse_column(row, 0))
}

/// Adds a set of pinned files; returns its epoch. Earlier ones are kept.
pub(super) fn insert_pins(connection: &Connection, pins: &[PinnedFile]) -> Result<u32> {
    let epoch: u32 = connection.query_row("SELECT coalesce(max(epoch) + 1, 0) FROM pins", [], |row| row.get(0))?;
    let mut statement =
        connection.prepare("INSERT INTO pins (epoch, place, path, text, digest) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (place, pin) in (0_u32..).zip(pins) {
        statement.execute(params![epoch, place, pin.path, pin.text, pin.digest])?;
    }
    Ok(epoch)
}

/// The number of the newest set of pinned files.
pub(super) fn last_epoch(connection: &Connection) -> Result<u32> {
    connection.query_row("SELECT coalesce(max(epoch), 0) FROM pins", [], |row| row.get(0))
}

pub(super) fn pins(connection: &Connection, epoch: u32) -> Result<Vec<PinnedFile>> {
    let mut statement = connection.prepare("SELECT path, text, digest FROM pins WHERE epoch = ?1 ORDER BY place")?;
    let rows = statement
        .query_map([epoch], |row| Ok(PinnedFile { path: row.get(0)?, text: row.get(1)?, digest: row.get(2)? }))?;
    rows.collect()
}

// Events.

/// The number of the last event; 0 for none.
pub(super) fn last_seq(connection: &Connection) -> Result<u64> {
    let last: Option<i64> =
        connection.prepare_cached("SELECT max(seq) FROM events")?.query_row([], |row| row.get(0))?;
    Ok(last.map_or(0, unsigned))
}

pub(super) fn insert_event(connection: &Connection, seq: u64, at: u64, body: &str) -> Result<()> {
    connection.prepare_cached("INSERT INTO events (seq, at, body) VALUES (?1, ?2, ?3)")?.execute(params![
        signed(seq),
        signed(at),
        body
    ])?;
    Ok(())
}

/// Calls back for each event after `after`, in order, with the text as it is stored. A gap in the numbers is damage.
pub(super) fn each_event(
    connection: &Connection,
    path: &Path,
    after: u64,
    mut each: impl FnMut(u64, u64, &str) -> std::result::Result<(), StoreError>,
) -> std::result::Result<u64, StoreError> {
    let sql = |error: rusqlite::Error| StoreError::from_sql("read", path, &error);
    let mut statement =
        connection.prepare_cached("SELECT seq, at, body FROM events WHERE seq > ?1 ORDER BY seq").map_err(sql)?;
    let mut rows = statement.query([signed(after)]).map_err(sql)?;
    let mut last = after;
    while let Some(row) = rows.next().map_err(sql)? {
        let seq = unsigned(row.get(0).map_err(sql)?);
        let at = unsigned(row.get(1).map_err(sql)?);
        if seq != last + 1 {
            return Err(StoreError::damaged(path, format!("event {} is not there, event {seq} is", last + 1)));
        }
        let body = row.get_ref(2).map_err(sql)?.as_str().map_err(|error| sql(error.into()))?;
        each(seq, at, body)?;
        last = seq;
    }
    Ok(last)
}

// The run.

/// Keeps the run's row in step with an event.
pub(super) fn apply_to_run(connection: &Connection, event: &Event, at: u64) -> Result<()> {
    match event {
        Event::Started => {
            connection.execute("UPDATE run SET state = 'running', started = coalesce(started, ?1)", [signed(at)])?;
        }
        Event::Resumed { .. } => {
            connection.execute("UPDATE run SET state = 'running', ended = NULL", [])?;
        }
        Event::Paused { reason } => {
            connection.execute("UPDATE run SET paused = ?1", [reason])?;
        }
        Event::Unpaused => {
            connection.execute("UPDATE run SET paused = NULL", [])?;
        }
        Event::Finished { state } => {
            connection.execute("UPDATE run SET state = ?1, ended = ?2", params![run_word(*state), signed(at)])?;
        }
        // The nodes of the new plan have new numbers; the driver gives all their rows with this event.
        Event::Replanned { .. } => {
            connection.execute("DELETE FROM nodes", [])?;
        }
        Event::FannedOut { .. }
        | Event::Resolved { .. }
        | Event::Opened { .. }
        | Event::Closing { .. }
        | Event::Ordered { .. }
        | Event::Begun { .. }
        | Event::Ready { .. }
        | Event::Lost { .. }
        | Event::Ended { .. }
        | Event::RetryAt { .. }
        | Event::Asked { .. }
        | Event::Settled { .. }
        | Event::CancelRequested
        | Event::Marked { .. } => {}
    }
    Ok(())
}

pub(super) fn run(connection: &Connection) -> Result<RunRow> {
    let last_seq = last_seq(connection)?;
    connection.query_row("SELECT state, started, ended, paused FROM run", [], |row| {
        Ok(RunRow {
            state: run_state(0, row.get_ref(0)?.as_str()?)?,
            started: time(row, 1)?,
            ended: time(row, 2)?,
            paused: row.get(3)?,
            last_seq,
        })
    })
}

/// The word that is stored for a run's state.
pub(super) fn run_word(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
    }
}

/// Undoes [`run_word`].
pub(super) fn run_state(column: usize, word: &str) -> Result<RunState> {
    [RunState::Running, RunState::Succeeded, RunState::Failed, RunState::Cancelled]
        .into_iter()
        .find(|state| run_word(*state) == word)
        .ok_or_else(|| unknown_word(column, word))
}

// Nodes.

pub(super) fn upsert_node(connection: &Connection, row: &NodeRow) -> Result<()> {
    let outputs = row.outputs.as_ref().map(json).transpose()?;
    let totals = row.totals.as_ref().map(json).transpose()?;
    connection
        .prepare_cached(
            "INSERT INTO nodes (node, parent, address, kind, state, attempts, started, ended, error, outputs, totals)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (node) DO UPDATE SET state = ?5, attempts = ?6, started = ?7, ended = ?8, error = ?9,
                                              outputs = ?10, totals = ?11",
        )?
        .execute(params![
            row.node,
            row.parent,
            row.address,
            row.kind.word(),
            row.state.word(),
            row.attempts,
            row.started.map(signed),
            row.ended.map(signed),
            row.error,
            outputs,
            totals,
        ])?;
    Ok(())
}

const NODE: &str =
    "SELECT node, parent, address, kind, state, attempts, started, ended, error, outputs, totals FROM nodes";

fn node_row(row: &Row<'_>) -> Result<NodeRow> {
    let (kind, state) = (row.get_ref(3)?.as_str()?, row.get_ref(4)?.as_str()?);
    Ok(NodeRow {
        node: row.get(0)?,
        parent: row.get(1)?,
        address: row.get(2)?,
        kind: NodeKind::from_word(kind).ok_or_else(|| unknown_word(3, kind))?,
        state: UnitState::ALL.into_iter().find(|s| s.word() == state).ok_or_else(|| unknown_word(4, state))?,
        attempts: row.get(5)?,
        started: time(row, 6)?,
        ended: time(row, 7)?,
        error: row.get(8)?,
        outputs: parse_optional::<Value>(row, 9)?,
        totals: parse_optional(row, 10)?,
    })
}

/// Children of a node with a number above `after`, at most `limit`.
pub(super) fn children(connection: &Connection, parent: u32, after: u32, limit: u32) -> Result<Vec<NodeRow>> {
    connection
        .prepare_cached(&format!("{NODE} WHERE parent = ?1 AND node > ?2 ORDER BY node LIMIT ?3"))?
        .query_map([parent, after, limit], node_row)?
        .collect()
}

/// All nodes with a number above `after`, at most `limit`.
pub(super) fn all_nodes(connection: &Connection, after: u32, limit: u32) -> Result<Vec<NodeRow>> {
    connection
        .prepare_cached(&format!("{NODE} WHERE node > ?1 ORDER BY node LIMIT ?2"))?
        .query_map([after, limit], node_row)?
        .collect()
}

/// The node of an address: a scan, for one question of a person.
pub(super) fn node_at(connection: &Connection, address: &str) -> Result<Option<NodeRow>> {
    connection.query_row(&format!("{NODE} WHERE address = ?1"), [address], node_row).optional()
}

/// Children of a node in each state, by the state's word.
pub(super) fn counts(connection: &Connection, parent: u32) -> Result<BTreeMap<String, u32>> {
    connection
        .prepare_cached("SELECT state, count(*) FROM nodes WHERE parent = ?1 GROUP BY state")?
        .query_map([parent], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

// Notes and inputs.

pub(super) fn insert_note(connection: &Connection, note: &StoredNote) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO notes (node, attempt, key, value, at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![note.id.node.0, note.id.attempt, note.key, json(&note.value)?, signed(note.at)])?;
    Ok(())
}

pub(super) fn notes(connection: &Connection, node: u32) -> Result<Vec<StoredNote>> {
    connection
        .prepare_cached("SELECT attempt, key, value, at FROM notes WHERE node = ?1 ORDER BY id")?
        .query_map([node], |row| {
            Ok(StoredNote {
                id: AttemptId { node: NodeId(node), attempt: row.get(0)? },
                key: row.get(1)?,
                value: parse_column(row, 2)?,
                at: unsigned(row.get(3)?),
            })
        })?
        .collect()
}

/// The nodes of a new plan have new numbers: notes move with the address that they are about, those of a step that is
/// gone go, and what attempts were given belongs to numbers that are used again. To be called while the old nodes are
/// still there, with the rows of the new ones.
pub(super) fn carry_notes(connection: &Connection, rows: &[NodeRow]) -> Result<()> {
    let new: BTreeMap<&str, u32> = rows.iter().map(|row| (row.address.as_str(), row.node)).collect();
    let old: Vec<(u32, String)> = connection
        .prepare("SELECT DISTINCT notes.node, nodes.address FROM notes JOIN nodes ON nodes.node = notes.node")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    // Below zero first: a new number may be another node's old one.
    let mut statement = connection.prepare("UPDATE notes SET node = -1 - ?2 WHERE node = ?1")?;
    for (node, address) in old {
        if let Some(new) = new.get(address.as_str()) {
            statement.execute([node, *new])?;
        }
    }
    connection.execute("DELETE FROM notes WHERE node >= 0", [])?;
    connection.execute("UPDATE notes SET node = -1 - node", [])?;
    connection.execute("DELETE FROM inputs", [])?;
    Ok(())
}

pub(super) fn insert_inputs(connection: &Connection, id: AttemptId, value: &Value) -> Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO inputs (node, attempt, value) VALUES (?1, ?2, ?3)")?
        .execute(params![id.node.0, id.attempt, json(value)?])?;
    Ok(())
}

pub(super) fn inputs(connection: &Connection, id: AttemptId) -> Result<Option<Value>> {
    connection
        .prepare_cached("SELECT value FROM inputs WHERE node = ?1 AND attempt = ?2")?
        .query_row([id.node.0, id.attempt], |row| parse_column(row, 0))
        .optional()
}
