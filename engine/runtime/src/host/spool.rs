//! Output that must be masked: it waits in a private file, and goes into the log without its secrets.
//! Unaware of children's lives; the server says when one has ended.
//!
//! A child writes into its spool and never waits for anybody. What was masked is freed behind it. Before a piece is
//! appended to the log, a small state file says which piece and how long the log was, so that any later host goes on
//! with neither a lost nor a doubled byte.

mod state;

use super::book::Entry;
use super::{ChildKey, ChildRecord, Spawn, StartError, procfs};
use crate::mask::{MaskStream, Masker};
use rustix::fs::{FallocateFlags, fallocate};
use state::State;
use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How long a quiet spool is left alone, at first and at most.
const PAUSE_MS: u64 = 50;
const PAUSE_MOST_MS: u64 = 400;
/// How much of one spool is masked before others have their turn.
const PIECE: usize = 64 << 10;
/// Space is given back in steps of this.
const FREED: u64 = 256 << 10;
/// How long an exit waits for a log that cannot be written.
const STUCK_MS: u64 = 5000;

/// All spools of a host.
#[derive(Debug)]
pub(super) struct Spools {
    masker: Masker,
    folder: Option<PathBuf>,
    cap: u64,
    spools: HashMap<ChildKey, Spool>,
    due: BTreeSet<(u64, ChildKey)>,
    /// Children of earlier hosts: their spools are followed while they live.
    earlier: HashMap<ChildKey, Entry>,
    drained: Vec<ChildRecord>,
    piece: Vec<u8>,
}

#[derive(Debug)]
struct Spool {
    path: PathBuf,
    file: File,
    log: PathBuf,
    stream: MaskStream,
    state: State,
    state_file: Option<File>,
    /// So far the spool was read.
    read: u64,
    /// Masked and not yet in the log: a log that takes nothing now.
    pending: Vec<u8>,
    freed: u64,
    due: u64,
    pause: u64,
    life: Life,
    over_cap: bool,
}

/// Whether more may come.
#[derive(Debug, Clone, Copy)]
enum Life {
    /// A child of this host.
    Own,
    /// A child of an earlier host that still runs.
    Orphan(Entry),
    /// Ended; its exit is told when all is in the log, or after this time.
    Ended { record: Option<ChildRecord>, stuck: u64 },
}

/// How a look at a spool ended.
enum Look {
    /// Nothing new.
    Quiet,
    /// There may be more.
    Busy,
    /// The log takes nothing now.
    Blocked,
    /// All is in the log and nothing more comes.
    Over,
}

impl Spools {
    /// `held`: what the book held when this host began.
    pub(super) fn new(held: Vec<Entry>) -> Self {
        Self {
            masker: Masker::default(),
            folder: None,
            cap: u64::MAX,
            spools: HashMap::new(),
            due: BTreeSet::new(),
            earlier: held.into_iter().map(|entry| (entry.child.key, entry)).collect(),
            drained: Vec::new(),
            piece: vec![0; PIECE],
        }
    }

    /// Takes the secrets of a driver, and goes on with what earlier hosts left. Without secrets what is left stays: it
    /// waits for a driver that knows them.
    pub(super) fn set_up(&mut self, secrets: &[String], private: Option<PathBuf>, cap: u64) {
        self.masker = Masker::new(secrets);
        self.cap = cap;
        if self.masker.is_empty() {
            self.folder = None;
            return;
        }
        // The host stands in the run's directory.
        let folder = private.unwrap_or_else(|| PathBuf::from(".")).join("spools");
        // A failure is found and told when the first child needs the folder.
        let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        self.folder = Some(folder.clone());
        for (key, state_path) in state::left_in(&folder) {
            if !self.spools.contains_key(&key) {
                // One that cannot be opened is left for the next host.
                let _ = self.go_on(key, &state_path);
            }
        }
    }

    /// Brings what ended children of earlier hosts left into their logs, so that a driver that reads one finds it whole;
    /// what takes longer than `until` follows later.
    pub(super) fn drain_left(&mut self, until: u64) {
        loop {
            let now = super::children::boot_ms();
            let left = |spool: &Spool| spool.due <= now && matches!(spool.life, Life::Ended { record: None, .. });
            let keys: Vec<ChildKey> =
                self.spools.iter().filter(|(_, spool)| left(spool)).map(|(key, _)| *key).collect();
            if keys.is_empty() || now >= until {
                return;
            }
            for key in keys {
                // Nothing of it runs any more, so too much of it stops nobody.
                self.look_at(key, now);
            }
        }
    }

    fn go_on(&mut self, key: ChildKey, state_path: &Path) -> io::Result<()> {
        let (state, log, state_file) = State::load(state_path)?;
        let path = state_path.with_extension("spool");
        let file = open_spool(&path)?;
        let life = match self.earlier.get(&key) {
            Some(entry) if entry.child.exit.is_none() && procfs::alive(entry.child.pid, entry.child.start) => {
                Life::Orphan(*entry)
            }
            Some(_) | None => Life::Ended { record: None, stuck: u64::MAX },
        };
        let mut spool = Spool::new(path, file, log, self.masker.stream(), life);
        spool.state_file = Some(state_file);
        spool.recover(state, &mut self.piece)?;
        self.insert(key, spool);
        Ok(())
    }

    /// Where the child's output is to go: its log, or a spool where there are secrets.
    pub(super) fn output_of(&mut self, spawn: &Spawn) -> Result<PathBuf, StartError> {
        let Some(folder) = &self.folder else { return Ok(spawn.log.clone()) };
        let path = folder.join(state::name_of(spawn.key)).with_extension("spool");
        let failed = |path: &Path, error: io::Error| StartError::Output {
            path: path.display().to_string(),
            why: error.to_string(),
        };
        let file = open_spool(&path).map_err(|error| failed(&path, error))?;
        append_to(&spawn.log).map_err(|error| failed(&spawn.log, error))?;
        let mut spool = Spool::new(path.clone(), file, spawn.log.clone(), self.masker.stream(), Life::Own);
        // Before the child writes: a spool that a later host finds without its state has no log to go to.
        let begin = State::create(&path.with_extension("state"), &spawn.log).and_then(|file| {
            spool.state.save(&file)?;
            Ok(file)
        });
        spool.state_file = Some(begin.map_err(|error| failed(&path, error))?);
        self.insert(spawn.key, spool);
        Ok(path)
    }

    fn insert(&mut self, key: ChildKey, spool: Spool) {
        self.due.insert((spool.due, key));
        self.spools.insert(key, spool);
    }

    /// The child was not started after all.
    pub(super) fn abandon(&mut self, key: ChildKey) {
        if let Some(spool) = self.spools.remove(&key) {
            self.due.remove(&(spool.due, key));
            spool.remove_files();
        }
    }

    /// Nothing is left that this host could do.
    pub(super) fn is_empty(&self) -> bool {
        self.spools
            .values()
            .all(|spool| matches!(spool.life, Life::Ended { record: None, .. }) && !spool.pending.is_empty())
    }

    /// When the next spool is to be looked at.
    pub(super) fn next_look(&self) -> Option<u64> {
        self.due.first().map(|(when, _)| *when)
    }

    /// The child ended. True: its exit is told by [`Self::drained`], when its log is whole.
    pub(super) fn close(&mut self, record: &ChildRecord) -> bool {
        let Some(spool) = self.spools.get_mut(&record.key) else { return false };
        spool.life = Life::Ended { record: Some(*record), stuck: super::children::boot_ms() + STUCK_MS };
        self.due.remove(&(spool.due, record.key));
        spool.due = 0;
        self.due.insert((0, record.key));
        true
    }

    /// Children whose exit may be told now.
    pub(super) fn drained(&mut self) -> Vec<ChildRecord> {
        std::mem::take(&mut self.drained)
    }

    /// Looks at the spools that are due. Gives the children that have more output waiting than is allowed.
    pub(super) fn look(&mut self, now: u64) -> Vec<ChildKey> {
        let mut over_cap = Vec::new();
        let due: Vec<ChildKey> = self.due.iter().take_while(|(when, _)| *when <= now).map(|(_, key)| *key).collect();
        for key in due {
            if self.look_at(key, now) {
                over_cap.push(key);
            }
        }
        over_cap
    }

    fn look_at(&mut self, key: ChildKey, now: u64) -> bool {
        let Some(spool) = self.spools.get_mut(&key) else { return false };
        self.due.remove(&(spool.due, key));
        // The log may be on a full disk or gone: the spool waits for it.
        let look = spool.pump(&mut self.piece).unwrap_or(Look::Blocked);
        if let Life::Ended { record: record @ Some(_), stuck } = &mut spool.life
            && (matches!(look, Look::Over) || *stuck <= now)
        {
            self.drained.extend(record.take());
        }
        spool.pause = match look {
            Look::Busy => 0,
            Look::Quiet | Look::Blocked => (spool.pause * 2).clamp(PAUSE_MS, PAUSE_MOST_MS),
            Look::Over => {
                if let Some(spool) = self.spools.remove(&key) {
                    spool.remove_files();
                }
                return false;
            }
        };
        spool.due = now + spool.pause;
        self.due.insert((spool.due, key));
        spool.exceeds(self.cap)
    }
}

impl Spool {
    fn new(path: PathBuf, file: File, log: PathBuf, stream: MaskStream, life: Life) -> Self {
        Self {
            path,
            file,
            log,
            stream,
            state: State::default(),
            state_file: None,
            read: 0,
            pending: Vec::new(),
            freed: 0,
            due: 0,
            pause: PAUSE_MS,
            life,
            over_cap: false,
        }
    }

    /// Moves one piece from the spool into the log.
    fn pump(&mut self, piece: &mut [u8]) -> io::Result<Look> {
        if !self.pending.is_empty() {
            self.append()?;
        }
        // Looked at before the read: what an ended child wrote is all there.
        let over = match self.life {
            Life::Own => false,
            Life::Orphan(entry) => !procfs::alive(entry.child.pid, entry.child.start),
            Life::Ended { .. } => true,
        };
        let count = self.file.read_at(piece, self.read)?;
        if count == 0 {
            return if over { self.finish() } else { Ok(Look::Quiet) };
        }
        let mut masked = Vec::new();
        self.stream.push(piece.get(..count).unwrap_or_default(), &mut masked);
        self.read += count as u64;
        self.put(masked)?;
        Ok(Look::Busy)
    }

    /// The child has ended and all was read: what the mask held back is no secret.
    fn finish(&mut self) -> io::Result<Look> {
        if !self.state.finished {
            let mut rest = Vec::new();
            self.stream.finish(&mut rest);
            self.state.finished = true;
            self.put(rest)?;
        }
        Ok(Look::Over)
    }

    /// Says what is about to be appended, and appends it.
    fn put(&mut self, masked: Vec<u8>) -> io::Result<()> {
        self.pending = masked;
        if self.pending.is_empty() {
            return Ok(());
        }
        self.state.end = self.read;
        self.state.log_length = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        if let Some(file) = &self.state_file {
            self.state.save(file)?;
        }
        self.append()
    }

    fn append(&mut self) -> io::Result<()> {
        let mut log = append_to(&self.log)?;
        while !self.pending.is_empty() {
            let count = log.write(&self.pending)?;
            self.pending.drain(..count);
            self.state.out += count as u64;
        }
        self.advance();
        Ok(())
    }

    /// Where nothing is held back, a later host may begin; what lies before is freed.
    fn advance(&mut self) {
        if self.stream.held() > 0 {
            return;
        }
        self.state.safe = self.read;
        self.state.out = 0;
        // Only what the saved state no longer needs, in whole pages.
        let until = self.state.saved_safe & !4095;
        if until >= self.freed + FREED {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Where a filesystem cannot do it the file only grows up to its cap.
            let _ = fallocate(&self.file, hole, self.freed, until - self.freed);
            self.freed = until;
        }
    }

    /// Goes on where another host stopped: masks again from the last safe place, without a trace, and finds out how
    /// much of its last piece reached the log.
    fn recover(&mut self, state: State, piece: &mut [u8]) -> io::Result<()> {
        self.read = state.safe;
        self.freed = state.safe & !4095;
        let mut masked = Vec::new();
        while self.read < state.end {
            let want = usize::try_from(state.end - self.read).unwrap_or(usize::MAX).min(piece.len());
            let count = self.file.read_at(piece.get_mut(..want).unwrap_or_default(), self.read)?;
            if count == 0 {
                break;
            }
            self.stream.push(piece.get(..count).unwrap_or_default(), &mut masked);
            self.read += count as u64;
        }
        if state.finished {
            self.stream.finish(&mut masked);
        }
        let out = usize::try_from(state.out).unwrap_or(usize::MAX);
        let last = masked.split_off(out.min(masked.len()));
        let there = already_there(&self.log, state.log_length, &last);
        self.state = state;
        self.state.out = state.out + there as u64;
        self.pending = last.get(there..).unwrap_or_default().to_vec();
        Ok(())
    }

    /// True once: more waits than may.
    fn exceeds(&mut self, cap: u64) -> bool {
        let waits = self.file.metadata().map_or(0, |file| file.len()).saturating_sub(self.read);
        if waits <= cap || self.over_cap {
            return false;
        }
        self.over_cap = true;
        let note = format!("\nflowrun: stopped: {waits} bytes of output wait to be written to this log, {cap} may\n");
        // The log may be what is full; the reason is then seen from the spool's size.
        let _ = append_to(&self.log).and_then(|mut log| log.write_all(note.as_bytes()));
        true
    }

    fn remove_files(&self) {
        // The state first: a spool without one is not gone on with.
        let _ = std::fs::remove_file(self.path.with_extension("state"));
        let _ = std::fs::remove_file(&self.path);
    }
}

/// How many bytes at the beginning of `piece` are in the log behind `length`. Others append to the log too, but each
/// piece is one write, so it stands there whole, or cut off at the end.
fn already_there(log: &Path, length: u64, piece: &[u8]) -> usize {
    let tail = || {
        let file = File::open(log)?;
        let more = file.metadata()?.len().saturating_sub(length);
        let mut tail = vec![0; usize::try_from(more).unwrap_or(0).min(4 * PIECE)];
        file.read_exact_at(&mut tail, length)?;
        io::Result::Ok(tail)
    };
    let tail = tail().unwrap_or_default();
    if piece.is_empty() || tail.windows(piece.len()).any(|window| window == piece) {
        return piece.len();
    }
    (1..=tail.len()).rev().find(|count| piece.get(..*count).is_some_and(|part| tail.ends_with(part))).unwrap_or(0)
}

fn open_spool(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

fn append_to(log: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(log);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = log.parent().unwrap_or(Path::new("."));
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            open()
        }
        other => other,
    }
}
