//! The file beside a spool that says how far it is in the log.
//! Unaware of masking.

use crate::host::ChildKey;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"flowspl1";
const FIXED: usize = 64;

/// How far a spool is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Where masking may begin again: nothing was held back there.
    pub(super) safe: u64,
    /// How many masked bytes came out since then, without the piece that is being appended.
    pub(super) out: u64,
    /// Where the piece that is being appended ends in the spool.
    pub(super) end: u64,
    /// How long the log was before that piece.
    pub(super) log_length: u64,
    /// That piece is the last one.
    pub(super) finished: bool,
    /// `safe` as the file has it.
    pub(super) saved_safe: u64,
}

impl State {
    /// A new file for a spool of this log.
    pub(super) fn create(path: &Path, log: &Path) -> io::Result<File> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all_at(log.as_os_str().as_bytes(), FIXED as u64)?;
        Ok(file)
    }

    pub(super) fn save(&mut self, file: &File) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        for value in [self.safe, self.out, self.end, self.log_length, u64::from(self.finished)] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let sum = crate::paths::fnv1a(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        file.write_all_at(&bytes, 0)?;
        self.saved_safe = self.safe;
        Ok(())
    }

    /// Reads it again; also the log that it is about.
    pub(super) fn load(path: &Path) -> io::Result<(Self, PathBuf, File)> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes = std::fs::read(path)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the state of a spool is damaged");
        let (fixed, log) = bytes.split_at_checked(FIXED).ok_or_else(damaged)?;
        let (body, rest) = fixed.split_at_checked(48).ok_or_else(damaged)?;
        if !body.starts_with(MAGIC) || !rest.starts_with(&crate::paths::fnv1a(body).to_le_bytes()) {
            return Err(damaged());
        }
        let at = |index: usize| -> u64 {
            let begin = 8 + index * 8;
            body.get(begin..begin + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
        };
        let state =
            Self { safe: at(0), out: at(1), end: at(2), log_length: at(3), finished: at(4) != 0, saved_safe: at(0) };
        Ok((state, PathBuf::from(std::ffi::OsStr::from_bytes(log)), file))
    }
}

/// The name of a child's files, without an ending.
pub(super) fn name_of(key: ChildKey) -> String {
    format!("{}-{}-{}", key.node, key.attempt, key.ordinal)
}

/// The spools that lie in a folder.
pub(super) fn left_in(folder: &Path) -> Vec<(ChildKey, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "state"))
        .filter_map(|path| Some((key_of(&path)?, path)))
        .collect()
}

fn key_of(path: &Path) -> Option<ChildKey> {
    let mut parts = path.file_stem()?.to_str()?.split('-');
    let key = ChildKey {
        node: parts.next()?.parse().ok()?,
        attempt: parts.next()?.parse().ok()?,
        ordinal: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(key)
}
