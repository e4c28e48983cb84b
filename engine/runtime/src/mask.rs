//! Replaces secrets in texts and streams by `***`, in every form in which tools are known to write them.
//! Unaware of where secrets come from and of where the text goes.
//! The rule that must not be broken: how a stream is cut into pieces never changes what comes out.

mod forms;

use aho_corasick::{AhoCorasick, Input, MatchKind, Span};
use std::fmt;
use std::sync::Arc;

/// What stands in a text instead of a secret.
pub const MASK: &str = "***";

/// Knows the forms of a set of secrets. A clone shares them.
#[derive(Clone, Default)]
pub struct Masker {
    patterns: Option<Arc<Patterns>>,
}

struct Patterns {
    search: AhoCorasick,
    /// Sorted, so that "is this the beginning of one" is a binary search.
    sorted: Vec<Vec<u8>>,
    /// Whether any pattern begins with the byte.
    first: [bool; 256],
    longest: usize,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").field("empty", &self.is_empty()).finish_non_exhaustive()
    }
}

impl Masker {
    /// Prepares the search. Empty secrets are left out.
    #[must_use]
    pub fn new(secrets: &[String]) -> Self {
        let mut sorted: Vec<Vec<u8>> =
            secrets.iter().flat_map(|secret| forms::of(secret)).map(String::into_bytes).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let longest = sorted.iter().map(Vec::len).max().unwrap_or(0);
        if longest == 0 {
            return Self::default();
        }
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&sorted)
            .expect("the search fails only above 2 GiB of secrets");
        let mut first = [false; 256];
        for byte in sorted.iter().filter_map(|pattern| pattern.first()) {
            if let Some(slot) = first.get_mut(usize::from(*byte)) {
                *slot = true;
            }
        }
        Self { patterns: Some(Arc::new(Patterns { search, sorted, first, longest })) }
    }

    /// There is nothing to hide.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_none()
    }

    /// The text without its secrets.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        let Some(patterns) = &self.patterns else { return text.to_owned() };
        if !patterns.search.is_match(text) {
            return text.to_owned();
        }
        let mut stream = self.stream();
        let mut out = Vec::with_capacity(text.len());
        stream.push(text.as_bytes(), &mut out);
        stream.finish(&mut out);
        // Forms are whole texts, so what is cut out ends at character boundaries.
        String::from_utf8(out).unwrap_or_else(|fault| String::from_utf8_lossy(fault.as_bytes()).into_owned())
    }

    /// A new stream.
    #[must_use]
    pub fn stream(&self) -> MaskStream {
        MaskStream { patterns: self.patterns.clone(), held: Vec::new(), covered: 0 }
    }
}

/// Masks a stream that arrives in pieces. Holds back only what may be the beginning of a secret, at most as many
/// bytes as the longest form has.
pub struct MaskStream {
    patterns: Option<Arc<Patterns>>,
    held: Vec<u8>,
    /// So many bytes at the beginning of `held` belong to a secret whose mask is out already; they matter only as the
    /// beginning of another one that overlaps it.
    covered: usize,
}

impl fmt::Debug for MaskStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskStream").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl MaskStream {
    /// Takes the next piece and appends to `out` what is certain by now.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let Some(patterns) = self.patterns.clone() else {
            out.extend_from_slice(piece);
            return;
        };
        if self.held.is_empty() {
            // The common case: nothing pending, so the piece is searched where it lies.
            let open = patterns.open_from(piece);
            self.covered = patterns.emit(piece, open, 0, out);
            self.held.extend_from_slice(piece.get(open..).unwrap_or_default());
            return;
        }
        self.held.extend_from_slice(piece);
        let open = patterns.open_from(&self.held);
        self.covered = patterns.emit(&self.held, open, self.covered, out);
        self.held.drain(..open);
    }

    /// Nothing more comes: what was held back is no beginning of a secret, or part of one that ends here.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        if let Some(patterns) = &self.patterns {
            patterns.emit(&held, held.len(), self.covered, out);
        }
        self.covered = 0;
    }

    /// How many bytes are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

impl Patterns {
    /// The first position from which the rest of `text` is the beginning of a longer form. What starts before it is decided.
    fn open_from(&self, text: &[u8]) -> usize {
        let earliest = text.len().saturating_sub(self.longest.saturating_sub(1));
        (earliest..text.len()).find(|at| self.begins(text.get(*at..).unwrap_or_default())).unwrap_or(text.len())
    }

    /// Whether some form begins with `part` and goes on.
    fn begins(&self, part: &[u8]) -> bool {
        if !part.first().and_then(|byte| self.first.get(usize::from(*byte))).is_some_and(|known| *known) {
            return false;
        }
        let after = self.sorted.partition_point(|pattern| pattern.as_slice() <= part);
        self.sorted.get(after).is_some_and(|pattern| pattern.starts_with(part))
    }

    /// Writes `text[..open]` with every secret that starts there masked; overlapping ones share a mask, so that no rest
    /// of either is left over. `covered`: the beginning that is masked already. Returns the same for `text[open..]`.
    fn emit(&self, text: &[u8], open: usize, mut covered: usize, out: &mut Vec<u8>) -> usize {
        let mut from = 0;
        while from < open {
            let input = Input::new(text).span(Span { start: from, end: text.len() });
            let Some(found) = self.search.find(input).filter(|found| found.start() < open) else { break };
            if found.start() >= covered {
                out.extend_from_slice(text.get(covered..found.start()).unwrap_or_default());
                out.extend_from_slice(MASK.as_bytes());
            }
            covered = covered.max(found.end());
            from = found.start() + 1;
        }
        out.extend_from_slice(text.get(covered..open).unwrap_or_default());
        covered.saturating_sub(open)
    }
}

#[cfg(test)]
mod tests;
