//! The book: which children a run's hosts have started, who they are and how they ended.
//! Unaware of sockets and of how processes are made.
//!
//! A preallocated file of fixed records, each with a CRC, written in place by one `pwrite`. Growing is the only thing
//! that needs space on the disk, and it happens before a child is made: a full disk cannot hide a child or its exit.
//! Nothing here is synced. The book answers for a host that died, and the page cache outlives every process; after a
//! power loss the boot id differs, and then only what is whole counts: a missing record says nothing any more
//! (`unsettled`), until the driver has judged all attempts of the old boot.

use super::{ChildExit, ChildKey, ChildRecord, procfs};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

const MAGIC: &[u8; 8] = b"flowbook";
/// Raised when the records' layout changes; a book of another version is refused.
const VERSION: u32 = 1;
const HEADER: u64 = 4096;
const RECORD: usize = 128;
/// How many records the file grows by.
const CHUNK: u32 = 1024;

/// What a host is known by: its process, the boot and the pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostId {
    pub(super) boot: [u8; 16],
    pub(super) namespace: u64,
    pub(super) pid: i32,
    pub(super) start: u64,
}

impl HostId {
    /// This process.
    pub(super) fn own() -> io::Result<Self> {
        let pid = std::process::id().cast_signed();
        let start = procfs::stat(pid).ok_or_else(|| io::Error::other("/proc is not readable"))?.start;
        Ok(Self { boot: procfs::boot_id()?, namespace: procfs::pid_namespace()?, pid, start })
    }

    /// Its process runs.
    pub(super) fn lives(&self) -> io::Result<bool> {
        Ok(self.is_near()? && procfs::alive(self.pid, self.start))
    }

    /// Of this boot and this pid namespace: its pids mean something here.
    pub(super) fn is_near(&self) -> io::Result<bool> {
        Ok(self.boot == procfs::boot_id()? && self.namespace == procfs::pid_namespace()?)
    }
}

/// A record with the host that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) child: ChildRecord,
    pub(super) host: HostId,
}

/// All that a book says.
#[derive(Debug)]
pub(super) struct Contents {
    /// The last host that opened it.
    pub(super) host: HostId,
    /// A boot passed since attempts were last judged: a missing record proves nothing.
    pub(super) unsettled: bool,
    /// Records that are neither whole nor empty.
    pub(super) torn: u32,
    pub(super) entries: HashMap<ChildKey, (u32, Entry)>,
    free: Vec<u32>,
    records: u32,
}

/// The book as its host writes it.
#[derive(Debug)]
pub(super) struct Book {
    file: File,
    host: HostId,
    unsettled: bool,
    slots: HashMap<ChildKey, u32>,
    free: Vec<u32>,
    records: u32,
}

impl Book {
    /// Opens or makes the book at `path` for this host. Also gives what it held.
    pub(super) fn open(path: &Path, host: HostId) -> io::Result<(Self, Vec<Entry>)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let fresh = file.metadata()?.len() < HEADER;
        let held = if fresh { None } else { Some(read(&file)?) };
        let mut book = Self { file, host, unsettled: false, slots: HashMap::new(), free: Vec::new(), records: 0 };
        let mut entries = Vec::new();
        if let Some(held) = held {
            book.unsettled = held.unsettled || held.host.boot != host.boot;
            book.slots = held.entries.iter().map(|(key, (slot, _))| (*key, *slot)).collect();
            book.free = held.free;
            book.records = held.records;
            entries = held.entries.into_values().map(|(_, entry)| entry).collect();
        }
        book.write_header()?;
        if book.free.is_empty() {
            book.grow()?;
        }
        // So that a power loss finds the header: it is what tells one boot from the next.
        book.file.sync_all()?;
        Ok((book, entries))
    }

    /// The child was started at some time, by this or an earlier host.
    pub(super) fn knows(&self, key: ChildKey) -> bool {
        self.slots.contains_key(&key)
    }

    /// Makes room for one more child, before it is made.
    pub(super) fn reserve(&mut self) -> io::Result<()> {
        if self.free.is_empty() { self.grow() } else { Ok(()) }
    }

    /// Writes the child down; after this it may go on.
    pub(super) fn write(&mut self, child: &ChildRecord) -> io::Result<()> {
        let slot = match self.slots.get(&child.key) {
            Some(slot) => *slot,
            None => *self.free.last().ok_or_else(|| io::Error::other("no record was reserved"))?,
        };
        let record = encode(&Entry { child: *child, host: self.host });
        self.file.write_all_at(&record, offset(slot))?;
        if self.slots.insert(child.key, slot).is_none() {
            self.free.pop();
        }
        Ok(())
    }

    /// The driver has journaled the child's end: its record may be used again.
    pub(super) fn forget(&mut self, key: ChildKey) -> io::Result<()> {
        let Some(slot) = self.slots.get(&key).copied() else { return Ok(()) };
        self.file.write_all_at(&[0; RECORD], offset(slot))?;
        self.slots.remove(&key);
        self.free.push(slot);
        Ok(())
    }

    /// The driver has judged all attempts of earlier boots.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.unsettled = false;
        self.write_header()
    }

    fn write_header(&self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(RECORD);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.unsettled).to_le_bytes());
        put_host(&mut bytes, &self.host);
        bytes.extend_from_slice(&crc32(&bytes).to_le_bytes());
        bytes.resize(RECORD, 0);
        self.file.write_all_at(&bytes, 0)
    }

    /// Zeros are written, not only reserved: a filesystem may need space to turn a reservation into data.
    fn grow(&mut self) -> io::Result<()> {
        let bytes = vec![0; CHUNK as usize * RECORD];
        self.file.write_all_at(&bytes, offset(self.records))?;
        self.free.extend((self.records..self.records + CHUNK).rev());
        self.records += CHUNK;
        Ok(())
    }
}

fn offset(slot: u32) -> u64 {
    HEADER + u64::from(slot) * RECORD as u64
}

/// What the book at `path` says; none: no host has ever made one.
pub(super) fn look(path: &Path) -> io::Result<Option<Contents>> {
    match File::open(path) {
        Ok(file) if file.metadata()?.len() < HEADER => Ok(None),
        Ok(file) => read(&file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(file: &File) -> io::Result<Contents> {
    let mut header = [0; RECORD];
    file.read_exact_at(&mut header, 0)?;
    let (host, unsettled) = decode_header(&header)?;
    let length = file.metadata()?.len().saturating_sub(HEADER);
    let records = u32::try_from(length / RECORD as u64).map_err(io::Error::other)?;
    let mut held = Contents { host, unsettled, torn: 0, entries: HashMap::new(), free: Vec::new(), records };
    let mut chunk = vec![0; CHUNK as usize * RECORD];
    for first in (0..records).step_by(CHUNK as usize) {
        let count = CHUNK.min(records - first);
        let part = chunk.get_mut(..count as usize * RECORD).unwrap_or_default();
        file.read_exact_at(part, offset(first))?;
        for (slot, record) in (first..).zip(part.chunks_exact(RECORD)) {
            held.take(slot, record);
        }
    }
    held.free.reverse();
    Ok(held)
}

impl Contents {
    fn take(&mut self, slot: u32, record: &[u8]) {
        if record.iter().all(|byte| *byte == 0) {
            self.free.push(slot);
        } else if let Some(entry) = decode(record) {
            self.entries.insert(entry.child.key, (slot, entry));
        } else {
            self.torn += 1;
        }
    }
}

fn put_host(bytes: &mut Vec<u8>, host: &HostId) {
    bytes.extend_from_slice(&host.boot);
    bytes.extend_from_slice(&host.namespace.to_le_bytes());
    bytes.extend_from_slice(&host.pid.to_le_bytes());
    bytes.extend_from_slice(&host.start.to_le_bytes());
}

/// The first byte is never 0: an empty record is all zeros.
fn encode(entry: &Entry) -> Vec<u8> {
    let child = &entry.child;
    let (kind, value) = exit_to_wire(child.exit);
    let mut bytes = Vec::with_capacity(RECORD);
    bytes.extend_from_slice(b"C1");
    bytes.extend_from_slice(&child.key.ordinal.to_le_bytes());
    bytes.extend_from_slice(&child.key.node.to_le_bytes());
    bytes.extend_from_slice(&child.key.attempt.to_le_bytes());
    bytes.extend_from_slice(&child.pid.to_le_bytes());
    bytes.extend_from_slice(&child.start.to_le_bytes());
    bytes.extend_from_slice(&child.started_ms.to_le_bytes());
    bytes.extend_from_slice(&child.ended_ms.to_le_bytes());
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&value.to_le_bytes());
    put_host(&mut bytes, &entry.host);
    bytes.resize(RECORD - 4, 0);
    bytes.extend_from_slice(&crc32(&bytes).to_le_bytes());
    bytes
}

fn decode(record: &[u8]) -> Option<Entry> {
    let (body, crc) = record.split_at_checked(RECORD - 4)?;
    if crc32(body).to_le_bytes() != crc || !body.starts_with(b"C1") {
        return None;
    }
    let mut at = Cursor(body.get(2..)?);
    let ordinal = u16::from_le_bytes(at.take()?);
    let node = u32::from_le_bytes(at.take()?);
    let attempt = u32::from_le_bytes(at.take()?);
    let pid = i32::from_le_bytes(at.take()?);
    let start = u64::from_le_bytes(at.take()?);
    let started_ms = u64::from_le_bytes(at.take()?);
    let ended_ms = u64::from_le_bytes(at.take()?);
    let exit = exit_from_wire(u32::from_le_bytes(at.take()?), i32::from_le_bytes(at.take()?))?;
    let host = at.host()?;
    let key = ChildKey { node, attempt, ordinal };
    Some(Entry { child: ChildRecord { key, pid, start, started_ms, exit, ended_ms }, host })
}

fn decode_header(header: &[u8]) -> io::Result<(HostId, bool)> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "this is not the book of a host, or its header is damaged");
    let mut at = Cursor(header);
    if at.take::<8>().ok_or_else(bad)? != *MAGIC {
        return Err(bad());
    }
    let version = u32::from_le_bytes(at.take().ok_or_else(bad)?);
    if version != VERSION {
        let text = format!("the book has version {version}, this flowrun reads version {VERSION}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let unsettled = u32::from_le_bytes(at.take().ok_or_else(bad)?) != 0;
    let host = at.host().ok_or_else(bad)?;
    let body = header.get(..header.len() - at.0.len()).unwrap_or_default();
    let crc = u32::from_le_bytes(at.take().ok_or_else(bad)?);
    if crc32(body) == crc { Ok((host, unsettled)) } else { Err(bad()) }
}

/// Reads fixed fields one after the other.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn host(&mut self) -> Option<HostId> {
        let boot = self.take()?;
        let namespace = u64::from_le_bytes(self.take()?);
        let pid = i32::from_le_bytes(self.take()?);
        Some(HostId { boot, namespace, pid, start: u64::from_le_bytes(self.take()?) })
    }
}

/// How an exit stands in the book and on the socket.
pub(super) fn exit_to_wire(exit: Option<ChildExit>) -> (u32, i32) {
    match exit {
        None | Some(ChildExit::HostGone) => (0, 0),
        Some(ChildExit::Code(code)) => (1, code),
        Some(ChildExit::Signal(signal)) => (2, signal),
        Some(ChildExit::TimedOut) => (3, 0),
        Some(ChildExit::Unknown) => (4, 0),
    }
}

/// The outer option is none for what no version has ever written.
pub(super) fn exit_from_wire(kind: u32, value: i32) -> Option<Option<ChildExit>> {
    match kind {
        0 => Some(None),
        1 => Some(Some(ChildExit::Code(value))),
        2 => Some(Some(ChildExit::Signal(value))),
        3 => Some(Some(ChildExit::TimedOut)),
        4 => Some(Some(ChildExit::Unknown)),
        _ => None,
    }
}

/// CRC-32 as in gzip.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        let index = (crc ^ u32::from(*byte)) & 0xff;
        TABLE.get(index as usize).copied().unwrap_or_default() ^ (crc >> 8)
    })
}

static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{Book, CHUNK, HEADER, HostId, RECORD, crc32, look, offset};
    use crate::host::{ChildExit, ChildKey, ChildRecord};
    use std::os::unix::fs::FileExt as _;
    use std::path::PathBuf;

    fn child(node: u32, exit: Option<ChildExit>) -> ChildRecord {
        let key = ChildKey { node, attempt: 1, ordinal: 3 };
        ChildRecord { key, pid: 4711, start: 99, started_ms: 5, exit, ended_ms: 7 }
    }

    fn host() -> HostId {
        HostId::own().expect("/proc is there")
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("book");
        (dir, path)
    }

    #[test]
    fn the_check_sum_is_the_one_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn what_is_written_is_read_again_and_what_is_forgotten_is_not() {
        let (_dir, path) = place();
        let (mut book, held) = Book::open(&path, host()).expect("a new book");
        assert!(held.is_empty());
        let exits = [None, Some(ChildExit::Code(-7)), Some(ChildExit::Signal(9)), Some(ChildExit::TimedOut)];
        for (node, exit) in (1..).zip(exits) {
            book.reserve().expect("room");
            book.write(&child(node, exit)).expect("written");
        }
        book.forget(child(2, None).key).expect("forgotten");
        let held = look(&path).expect("readable").expect("there");
        let mut nodes: Vec<_> =
            held.entries.values().map(|(_, entry)| (entry.child.key.node, entry.child.exit)).collect();
        nodes.sort_by_key(|(node, _)| *node);
        assert_eq!(nodes, [(1, exits[0]), (3, exits[2]), (4, exits[3])]);
        assert_eq!((held.torn, held.unsettled, held.host), (0, false, host()));
    }

    #[test]
    fn records_are_used_again_and_the_file_grows_only_when_all_are_taken() {
        let (_dir, path) = place();
        let (mut book, _) = Book::open(&path, host()).expect("a new book");
        for node in 0..10 * CHUNK {
            book.reserve().expect("room");
            book.write(&child(node, None)).expect("written");
            book.forget(child(node, None).key).expect("forgotten");
        }
        let size = || std::fs::metadata(&path).expect("it is there").len();
        assert_eq!(size(), HEADER + u64::from(CHUNK) * RECORD as u64);
        for node in 0..=CHUNK {
            book.reserve().expect("room");
            book.write(&child(node, None)).expect("written");
        }
        assert_eq!(size(), HEADER + 2 * u64::from(CHUNK) * RECORD as u64);
        assert_eq!(look(&path).expect("readable").expect("there").entries.len(), CHUNK as usize + 1);
    }

    #[test]
    fn a_torn_record_is_counted_and_never_taken_for_an_empty_one() {
        let (_dir, path) = place();
        let (mut book, _) = Book::open(&path, host()).expect("a new book");
        for node in 1..=2 {
            book.write(&child(node, None)).expect("written");
        }
        book.file.write_all_at(&[0; 60], offset(0) + 64).expect("torn");
        let held = look(&path).expect("readable").expect("there");
        assert_eq!((held.torn, held.entries.len()), (1, 1));
        let (mut book, _) = Book::open(&path, host()).expect("it opens again");
        book.write(&child(9, None)).expect("written");
        assert_eq!(look(&path).expect("readable").expect("there").torn, 1);
    }

    #[test]
    fn a_book_of_another_boot_is_unsettled_until_the_driver_settles_it() {
        let (_dir, path) = place();
        let old = HostId { boot: [1; 16], ..host() };
        let (mut book, _) = Book::open(&path, old).expect("a new book");
        book.write(&child(1, Some(ChildExit::Code(0)))).expect("written");
        let (mut book, held) = Book::open(&path, host()).expect("it opens again");
        assert_eq!(held.first().map(|entry| entry.host), Some(old));
        assert!(look(&path).expect("readable").expect("there").unsettled);
        book.settle().expect("settled");
        assert!(!look(&path).expect("readable").expect("there").unsettled);
    }

    #[test]
    fn a_foreign_file_and_a_newer_book_are_refused() {
        let (_dir, path) = place();
        std::fs::write(&path, vec![7; 8192]).expect("written");
        assert!(look(&path).is_err());
        std::fs::remove_file(&path).expect("removed");
        let (book, _) = Book::open(&path, host()).expect("a new book");
        book.file.write_all_at(&2u32.to_le_bytes(), 8).expect("written");
        let text = look(&path).expect_err("refused").to_string();
        assert!(text.contains("version 2"), "{text}");
    }
}
