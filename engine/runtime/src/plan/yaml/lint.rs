//! Faults that a YAML parser would misread or stop at, found line by line before it sees the text.
//! Unaware of plans. What is found is patched by text of the same length, so that all places stay true.

use crate::plan::codes;
use crate::plan::diagnostic::Diagnostic;
use crate::plan::source::{FileId, Span};
use std::collections::BTreeSet;

/// A text that the parser can read, as far as these faults go.
pub(super) struct Linted {
    /// As long as the text that was given.
    pub(super) text: String,
    /// What was found.
    pub(super) faults: Vec<Diagnostic>,
    /// The first bytes of patched values.
    pub(super) broken: BTreeSet<u32>,
    /// A quote runs to the end of the text: whatever the parser says of it is a consequence.
    pub(super) runs_away: bool,
}

/// Looks at a text.
pub(super) fn lint(file: FileId, text: &str) -> Linted {
    let mut scan = Scan {
        bytes: text.as_bytes(),
        text,
        at: 0,
        patches: Vec::new(),
        tabs: Vec::new(),
        nested: None,
        unclosed: None,
    };
    scan.run();
    let Scan { patches, tabs, unclosed, .. } = scan;
    let mut bytes = text.as_bytes().to_vec();
    let mut faults = Vec::new();
    let mut broken = BTreeSet::new();
    for at in tabs {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = b' ';
        }
        let fault = Diagnostic::error(codes::TAB, Span::new(file, at, at + 1), "a tab stands where YAML wants blanks");
        faults.push(fault.label("a tab").help("indent by blanks"));
    }
    for (start, end) in patches {
        let quoted: Vec<u8> = (start..end).map(|at| if at == start || at + 1 == end { b'"' } else { b'x' }).collect();
        if let Some(range) = bytes.get_mut(start..end) {
            range.copy_from_slice(&quoted);
        }
        broken.insert(u32::try_from(start).unwrap_or(u32::MAX));
        faults.push(unquoted(Span::new(file, start, end), text.get(start..end).unwrap_or("")));
    }
    if let Some(at) = unclosed {
        let fault = Diagnostic::error(codes::SYNTAX, Span::new(file, at, at + 1), "a quote is opened and never closed");
        faults.push(fault.label("opened here").help("close it, or take it away"));
    }
    Linted {
        runs_away: unclosed.is_some(),
        text: String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned()),
        faults,
        broken,
    }
}

fn unquoted(span: Span, value: &str) -> Diagnostic {
    let help = if value.contains('"') { format!("quote it: `'{value}'`") } else { format!("quote it: `\"{value}\"`") };
    Diagnostic::error(codes::UNQUOTED, span, "a template without quotes, which YAML reads as a map")
        .label("`{{` begins a map here")
        .help(help)
}

/// A text that goes on over lines which are deeper than this column.
type Nested = Option<i64>;

struct Scan<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    patches: Vec<(usize, usize)>,
    tabs: Vec<usize>,
    nested: Nested,
    unclosed: Option<usize>,
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(b'\n')
    }

    fn line_end(&self) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        self.at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
    }

    fn run(&mut self) {
        while self.at < self.bytes.len() {
            self.line();
            // `line` stops at the line's end, or past it where a quote or a bracket spans lines.
            self.at = self.line_end() + 1;
        }
    }

    fn line(&mut self) {
        let start = self.at;
        while self.peek(0) == b' ' && self.at < self.bytes.len() {
            self.at += 1;
        }
        let indent = i64::try_from(self.at - start).unwrap_or(i64::MAX);
        let blank = self.text.get(self.at..self.line_end()).is_none_or(|rest| rest.trim().is_empty());
        if blank || self.nested.is_some_and(|parent| indent > parent) {
            return;
        }
        self.nested = None;
        while self.peek(0) == b'\t' {
            self.tabs.push(self.at);
            self.at += 1;
        }
        self.values(start);
    }

    /// The keys and values of one line in block style.
    fn values(&mut self, line: usize) {
        let mut parent = -1;
        let mut begins = true;
        let mut first = self.at;
        while self.at < self.bytes.len() && self.peek(0) != b'\n' {
            let column = i64::try_from(self.at - line).unwrap_or(i64::MAX);
            let next_blank = matches!(self.peek(1), b' ' | b'\n' | b'\r' | b'\t');
            match self.peek(0) {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'#' if self.at == line || matches!(self.bytes.get(self.at - 1), Some(b' ' | b'\t')) => return,
                b'-' | b'?' if begins && next_blank => {
                    parent = column;
                    self.at += 1;
                    first = self.at + 1;
                }
                b'{' if begins && self.peek(1) == b'{' => self.template_to_line_end(),
                b'"' | b'\'' if begins => {
                    first = self.at;
                    self.quoted();
                    begins = false;
                }
                b'[' | b'{' if begins => {
                    self.flow();
                    begins = false;
                }
                b'|' | b'>' if begins => {
                    self.nested = Some(parent);
                    return;
                }
                b'&' | b'!' | b'*' if begins => self.word(),
                b':' if next_blank => {
                    parent = i64::try_from(first.saturating_sub(line)).unwrap_or(0);
                    begins = true;
                    self.at += 1;
                }
                _ => {
                    if begins {
                        first = self.at;
                        self.nested = Some(parent);
                        begins = false;
                    }
                    self.at += 1;
                }
            }
            if begins {
                self.nested = None;
            }
        }
    }

    fn word(&mut self) {
        while !matches!(self.peek(0), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// A template at the start of a value takes the rest of the line, up to a colon that makes it a key.
    fn template_to_line_end(&mut self) {
        let end = self.line_end();
        let line = self.text.get(self.at..end).unwrap_or("");
        let closed = line.rfind("}}").map_or(2, |at| at + 2).min(line.len());
        let rest = line.get(closed..).unwrap_or("");
        let stop = rest
            .find(" #")
            .into_iter()
            .chain(rest.find(": "))
            .chain(rest.trim_end().strip_suffix(':').map(str::len))
            .min();
        let value = line.get(..closed + stop.unwrap_or(rest.len())).unwrap_or(line).trim_end();
        self.patches.push((self.at, self.at + value.len()));
        self.at += value.len().max(1);
    }

    /// From an opening quote to behind the closing one.
    fn quoted(&mut self) {
        let quote = self.peek(0);
        let start = self.at;
        self.at += 1;
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'\\' if quote == b'"' => self.at += 2,
                byte if byte == quote && quote == b'\'' && self.peek(1) == b'\'' => self.at += 2,
                byte if byte == quote => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(self.bytes.len());
        self.unclosed = self.unclosed.or(Some(start));
    }

    /// From an opening bracket to behind the closing one.
    fn flow(&mut self) {
        let mut depth = 0_u32;
        let mut value = self.at;
        let mut begins = true;
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'{' if self.peek(1) == b'{' => {
                    let start = if begins { self.at } else { value };
                    self.template_in_flow(start);
                    begins = false;
                    continue;
                }
                b'[' | b'{' => {
                    depth += 1;
                    begins = true;
                }
                b']' | b'}' if depth <= 1 => {
                    self.at += 1;
                    return;
                }
                b']' | b'}' => depth -= 1,
                b',' => begins = true,
                b':' if matches!(self.peek(1), b' ' | b'\n' | b'\r' | b'{' | b'[') => begins = true,
                b'"' | b'\'' if begins => {
                    self.quoted();
                    begins = false;
                    continue;
                }
                b'#' if matches!(self.bytes.get(self.at.wrapping_sub(1)), Some(b' ' | b'\t' | b'\n')) => {
                    self.at = self.line_end()
                }
                b' ' | b'\n' | b'\r' | b'\t' => {}
                _ if begins => {
                    value = self.at;
                    begins = false;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    fn template_in_flow(&mut self, start: usize) {
        let end = self.line_end();
        let mut inside = 0_u32;
        while self.at < end {
            match (self.peek(0), self.peek(1)) {
                (b'{', b'{') => {
                    inside += 1;
                    self.at += 2;
                }
                (b'}', b'}') if inside > 0 => {
                    inside -= 1;
                    self.at += 2;
                }
                (b',' | b']' | b'}', _) if inside == 0 => break,
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(end);
        let trimmed = self.text.get(start..self.at).unwrap_or("").trim_end().len();
        self.patches.push((start, start + trimmed));
    }
}
