//! The texts of the plan files of a run, and where a byte of them stands.
//! Unaware of YAML. A run pins its sources: what was read at the start is what every resume reads.

use super::model::Place;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A position in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A stretch of a plan file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Which file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// From byte `start` to before byte `end`.
    #[must_use]
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        let cut = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { file, start: cut(start), end: cut(end.max(start)) }
    }
}

/// One plan file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Source {
    /// As the person named it; for a sub-plan, seen from there.
    pub name: Arc<str>,
    /// Where it lies, absolute.
    pub path: PathBuf,
    /// What it says.
    pub text: Arc<str>,
    /// Of the text: tells at a glance whether a file changed.
    pub digest: String,
    #[serde(skip)]
    lines: OnceLock<Vec<u32>>,
}

impl Source {
    fn lines(&self) -> &[u32] {
        self.lines.get_or_init(|| {
            let breaks = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            let starts = breaks.map(|(at, _)| u32::try_from(at + 1).unwrap_or(u32::MAX));
            std::iter::once(0).chain(starts).collect()
        })
    }

    /// Line and column of a byte, both from 1, the column in characters.
    #[must_use]
    pub fn position(&self, byte: u32) -> (u32, u32) {
        let lines = self.lines();
        let line = lines.partition_point(|start| *start <= byte).max(1);
        let start = lines.get(line - 1).copied().unwrap_or(0) as usize;
        let end = self.floor(byte as usize);
        let column = self.text.get(start..end).map_or(0, |before| before.chars().count());
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column + 1).unwrap_or(u32::MAX))
    }

    /// The first byte of a line, counted from 1; the text's length after the last.
    #[must_use]
    pub fn line_start(&self, line: u32) -> usize {
        self.lines().get(line.saturating_sub(1) as usize).map_or(self.text.len(), |start| *start as usize)
    }

    /// The nearest character boundary at or before a byte.
    #[must_use]
    pub fn floor(&self, byte: usize) -> usize {
        let mut at = byte.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    /// The text of a span; empty where it does not fit.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(self.floor(span.start as usize)..self.floor(span.end as usize)).unwrap_or("")
    }
}

/// All plan files that take part; the first is the run's own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// Adds a file, or finds it where the same path was added before.
    pub fn add(&mut self, name: &str, path: &Path, text: &str) -> FileId {
        if let Some(id) = self.find(path) {
            return id;
        }
        self.files.push(Source {
            name: Arc::from(name),
            path: path.to_owned(),
            text: Arc::from(text),
            digest: digest(text),
            lines: OnceLock::new(),
        });
        FileId(u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX))
    }

    /// The file at an absolute path.
    #[must_use]
    pub fn find(&self, path: &Path) -> Option<FileId> {
        let at = self.files.iter().position(|file| file.path == path)?;
        u32::try_from(at).ok().map(FileId)
    }

    /// A file.
    #[must_use]
    pub fn get(&self, id: FileId) -> Option<&Source> {
        self.files.get(id.0 as usize)
    }

    /// All files, the run's own first.
    #[must_use]
    pub fn files(&self) -> &[Source] {
        &self.files
    }

    /// The text of a span.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.get(span.file).map_or("", |file| file.slice(span))
    }

    /// Where a span begins, for messages at run time.
    #[must_use]
    pub fn place(&self, span: Span) -> Place {
        match self.get(span.file) {
            Some(file) => {
                let (line, column) = file.position(span.start);
                Place { file: Arc::clone(&file.name), line, column }
            }
            None => Place { file: Arc::from(""), line: 1, column: 1 },
        }
    }
}

/// FNV-1a of 128 bits: enough to tell an edit; the text itself is pinned beside it.
fn digest(text: &str) -> String {
    let start = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let prime = 0x0000_0000_0100_0000_0000_0000_0000_013b_u128;
    let hash = text.bytes().fold(start, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(prime));
    format!("{hash:032x}")
}
