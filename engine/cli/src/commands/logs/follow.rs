//! Following logs while they grow: each is read from where it was left, and new attempts are taken up as they start.
//! Unaware of how lines are written out.

use super::super::Stop;
use super::super::survey::Survey;
use super::source::{self, Part, Scope};
use super::writer::Writer;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::{Duration, Instant};

/// Looks this often where looking is quick.
const PAUSE: Duration = Duration::from_millis(250);
/// Never takes in more of one log at once.
const PIECE: u64 = 1 << 20;

/// Where each log was left.
pub struct Follower {
    writer: Writer,
    cursors: BTreeMap<(String, u32), Cursor>,
}

#[derive(Default)]
struct Cursor {
    at: u64,
    pending: Vec<u8>,
    /// It was read to its end after the attempt had ended.
    done: bool,
    part: Option<Part>,
}

/// A run with very many items is looked at less often.
pub fn pause(took: Duration) -> Duration {
    PAUSE.max(took.saturating_mul(4))
}

impl Follower {
    /// Nothing was read yet.
    pub fn new(writer: Writer) -> Self {
        Self { writer, cursors: BTreeMap::new() }
    }

    /// Shows what is new; says how long it took.
    pub fn look(&mut self, survey: &Survey, scope: &Scope) -> Result<Duration, Stop> {
        let began = Instant::now();
        for part in source::parts(survey, scope)? {
            let cursor = self.cursors.entry((part.address.clone(), part.attempt)).or_default();
            if cursor.done {
                continue;
            }
            while cursor.read(&part) {
                self.writer.lines(&part, &mut cursor.pending)?;
            }
            if part.over {
                self.writer.rest(&part, &mut cursor.pending)?;
                cursor.done = true;
            }
            cursor.part = Some(part);
        }
        Ok(began.elapsed())
    }

    /// Shows last lines that have no end.
    pub fn finish(&mut self) -> Result<(), Stop> {
        for cursor in self.cursors.values_mut() {
            if let Some(part) = &cursor.part {
                self.writer.rest(part, &mut cursor.pending)?;
            }
        }
        Ok(())
    }
}

impl Cursor {
    /// Takes in what was written since; false where there was nothing. A log that is not there has not begun.
    fn read(&mut self, part: &Part) -> bool {
        let before = self.pending.len();
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&part.path)?;
            file.seek(SeekFrom::Start(self.at))?;
            let mut bytes = Vec::new();
            file.take(PIECE).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().unwrap_or_default();
        self.at += bytes.len() as u64;
        self.pending.extend(bytes);
        self.pending.len() > before
    }
}
