//! Consoles that documents show: what a command prints, compared with what is written, times and ids aside.
//! Unaware of where the text stands. Lines may come in another order, since steps run side by side.

use regex::Regex;
use std::collections::BTreeSet;

/// Whether documents are to be renewed.
pub fn bless() -> bool {
    std::env::var_os("FLOWRUN_BLESS").is_some()
}

/// Whether two consoles tell the same.
pub fn same(written: &str, real: &str) -> bool {
    told(written) == told(real)
}

/// The lines of a console without what differs from run to run, sorted but for the first and the last.
pub fn told(text: &str) -> Vec<String> {
    let mut text = text.to_owned();
    for id in ids(&text) {
        text = text.replace(&id, "ID");
        let short = Regex::new(&format!(r"\b{}\b", &id[..4])).expect("an id is plain");
        text = short.replace_all(&text, "ID").into_owned();
    }
    for (pattern, name) in [
        (r"\b(\d{4}-)?\d\d-\d\d \d\d:\d\d(:\d\d)?\b", "DATE"),
        (r"\b\d\d:\d\d:\d\d\b", "TIME"),
        (r"\b(\d+m ?)?\d+(\.\d+)?m?s\b", "LONG"),
        (r"\bpid \d+\b", "pid PID"),
        (r" +", " "),
        (r"-{4,}", "----"),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, name).into_owned();
    }
    // Whether a short step is seen to start, and whether it is time to say how far all is, is chance.
    let chance = Regex::new(r"^TIME (\S+ started( \(try \d+\))?$|\d+ of \d+ steps done; )").expect("a pattern");
    let lines = text.trim_end().lines().map(|line| line.trim_end().to_owned());
    let mut lines: Vec<String> = lines.filter(|line| !chance.is_match(line)).collect();
    let last = lines.len().saturating_sub(1);
    if last > 1 {
        lines[1..last].sort();
    }
    lines
}

/// The ids of runs that a text names.
fn ids(text: &str) -> BTreeSet<String> {
    let named = Regex::new(r"(?m)\brun ([a-z0-9]{8})\b|^([a-z0-9]{8})  ").expect("a pattern");
    named
        .captures_iter(text)
        .filter_map(|found| found.get(1).or_else(|| found.get(2)))
        .map(|id| id.as_str().to_owned())
        .collect()
}
