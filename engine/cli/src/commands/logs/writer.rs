//! Log lines as a person or a program gets them: bare, under a header for each attempt, with the address in front, or
//! as JSON. Unaware of where they come from.

use super::super::{Stop, json, print};
use super::source::Part;
use std::fs::File;
use std::io::Read as _;

/// Read so many bytes at a time.
const PIECE: usize = 64 << 10;

/// Writes lines.
pub struct Writer {
    json: bool,
    /// All lines are of one step or item.
    one: bool,
    /// There is more than one attempt.
    several: bool,
    header: Option<(String, u32)>,
}

#[derive(serde::Serialize)]
struct JsonLine<'a> {
    address: &'a str,
    attempt: u32,
    line: &'a str,
}

impl Writer {
    /// A writer that tells apart what has to be told apart.
    pub fn new(json: bool, one: bool, several: bool) -> Self {
        Self { json, one, several, header: None }
    }

    /// Writes the whole log of an attempt; false where there is none.
    pub fn whole(&mut self, part: &Part) -> Result<bool, Stop> {
        let Ok(mut file) = File::open(&part.path) else { return Ok(false) };
        let mut pending = Vec::new();
        let mut piece = vec![0; PIECE];
        let mut any = false;
        // A log that cannot be read any further ends here; what was read is shown.
        while let Ok(count @ 1..) = file.read(&mut piece) {
            any = true;
            pending.extend_from_slice(piece.get(..count).unwrap_or_default());
            self.lines(part, &mut pending)?;
        }
        self.rest(part, &mut pending)?;
        Ok(any)
    }

    /// Writes the whole lines of what came, and leaves the beginning of the next one.
    pub fn lines(&mut self, part: &Part, pending: &mut Vec<u8>) -> Result<(), Stop> {
        let Some(end) = pending.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let rest = pending.split_off(end + 1);
        let whole = std::mem::replace(pending, rest);
        self.write(part, &String::from_utf8_lossy(&whole))
    }

    /// Writes a last line that has no end.
    pub fn rest(&mut self, part: &Part, pending: &mut Vec<u8>) -> Result<(), Stop> {
        let rest = std::mem::take(pending);
        if rest.is_empty() { Ok(()) } else { self.write(part, &String::from_utf8_lossy(&rest)) }
    }

    fn write(&mut self, part: &Part, text: &str) -> Result<(), Stop> {
        let mut out = String::with_capacity(text.len() + 64);
        if self.one && self.several && !self.json {
            self.header(part, &mut out);
        }
        for line in text.lines() {
            if self.json {
                out.push_str(&json(&JsonLine { address: &part.address, attempt: part.attempt, line })?);
            } else if self.one {
                out.push_str(line);
                out.push('\n');
            } else {
                let again = if part.attempts > 1 { format!(" (try {})", part.attempt) } else { String::new() };
                out.push_str(&format!("{}{again} | {line}\n", part.address));
            }
        }
        print(&out)
    }

    /// A header where another attempt begins than the one that was written last.
    fn header(&mut self, part: &Part, out: &mut String) {
        let this = (part.address.clone(), part.attempt);
        if self.header.as_ref() == Some(&this) || part.attempts == 1 {
            return;
        }
        if self.header.is_some() {
            out.push('\n');
        }
        out.push_str(&format!("== {}, try {}\n", part.address, part.attempt));
        self.header = Some(this);
    }
}
