//! How far a child is, read from what it says.
//! Unaware of who shows it. Best effort throughout: what cannot be read is not shown.

use flowrun_sdk::{Progress, StepCx, StepError, StepResult};
use regex::Regex;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// As much of the end of an output is looked at.
const TAIL: u64 = 4096;
/// No unit needs more characters.
const LONGEST_UNIT: usize = 24;

/// Reads how far a child is.
#[derive(Debug)]
pub struct Meter {
    pattern: Option<Regex>,
    stdout: Option<PathBuf>,
    file: PathBuf,
}

impl Meter {
    /// By this regular expression on its output, and by what it appends to this file.
    pub fn new(pattern: Option<&str>, stdout: Option<PathBuf>, file: PathBuf) -> StepResult<Self> {
        let pattern = pattern.map(compile).transpose()?;
        Ok(Self { pattern, stdout, file })
    }

    /// The newest that is known.
    pub fn read(&self, cx: &StepCx) -> Option<Progress> {
        let mut progress = self.appended().or_else(|| self.matched(cx))?;
        progress.unit = cx.mask(&progress.unit);
        Some(progress)
    }

    fn appended(&self) -> Option<Progress> {
        let tail = tail(&self.file)?;
        let (whole, _) = tail.rsplit_once('\n')?;
        whole.lines().rev().find_map(parse_line)
    }

    fn matched(&self, cx: &StepCx) -> Option<Progress> {
        let pattern = self.pattern.as_ref()?;
        let captured = self.stdout.as_deref().and_then(tail);
        captured.and_then(|text| last_match(pattern, &text)).or_else(|| last_match(pattern, &cx.log_tail(TAIL)))
    }
}

fn compile(pattern: &str) -> StepResult<Regex> {
    let regex = Regex::new(pattern).map_err(|error| {
        StepError::permanent(format!("cannot read `progress`: `{pattern}` is no regular expression: {error}"))
    })?;
    if regex.capture_names().flatten().any(|name| name == "done" || name == "percent") {
        return Ok(regex);
    }
    Err(StepError::permanent(format!("cannot read `progress`: `{pattern}` has no group `done` or `percent`"))
        .hint(r"name the number that tells how far it is, as in `(?<done>\d+) of (?<total>\d+)`"))
}

fn tail(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_match(pattern: &Regex, text: &str) -> Option<Progress> {
    let found = pattern.captures_iter(text).last()?;
    let group = |name| found.name(name).map(|group| group.as_str());
    if let Some(percent) = group("percent").and_then(number) {
        return Some(Progress { done: percent, total: Some(100.0), unit: "%".to_owned() });
    }
    let unit = group("unit").unwrap_or_default().chars().take(LONGEST_UNIT).collect();
    Some(Progress { done: number(group("done")?)?, total: group("total").and_then(number), unit })
}

/// `12/400 tables`, `12 tables`, `3%`.
fn parse_line(line: &str) -> Option<Progress> {
    let line = line.trim();
    let end = line.find(|c: char| !(c.is_ascii_digit() || ".,/% ".contains(c))).unwrap_or(line.len());
    let (amount, unit) = line.split_at_checked(end)?;
    let amount = amount.trim();
    if let Some(percent) = amount.strip_suffix('%') {
        return Some(Progress { done: number(percent)?, total: Some(100.0), unit: "%".to_owned() });
    }
    let unit = unit.trim().chars().take(LONGEST_UNIT).collect();
    match amount.split_once('/') {
        Some((done, total)) => Some(Progress { done: number(done)?, total: Some(number(total)?), unit }),
        None => Some(Progress { done: number(amount)?, total: None, unit }),
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().replace(',', "").parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::{compile, last_match, parse_line};
    use flowrun_sdk::Progress;

    fn progress(done: f64, total: Option<f64>, unit: &str) -> Option<Progress> {
        Some(Progress { done, total, unit: unit.to_owned() })
    }

    #[test]
    fn a_line_tells_how_far_of_how_much_of_what() {
        assert_eq!(parse_line("12/400 tables"), progress(12.0, Some(400.0), "tables"));
        assert_eq!(parse_line("12 / 400"), progress(12.0, Some(400.0), ""));
        assert_eq!(parse_line("7 rows"), progress(7.0, None, "rows"));
        assert_eq!(parse_line(" 3.5% "), progress(3.5, Some(100.0), "%"));
        assert_eq!(parse_line("1,234/5,000"), progress(1234.0, Some(5000.0), ""));
    }

    #[test]
    fn a_line_that_tells_nothing_is_passed_over() {
        for line in ["", "tables", "-3", "3/x", "/", "%", "1e999"] {
            assert_eq!(parse_line(line).filter(|p| p.unit != "e999"), None, "{line}");
        }
    }

    #[test]
    fn the_last_match_counts() {
        let pattern = compile(r"(?<done>\d+) of (?<total>\d+)").unwrap();
        assert_eq!(last_match(&pattern, "1 of 9\n2 of 9\nbye"), progress(2.0, Some(9.0), ""));
        let percent = compile(r"(?<percent>[\d.]+)%").unwrap();
        assert_eq!(last_match(&percent, "at 41.5%\n"), progress(41.5, Some(100.0), "%"));
    }

    #[test]
    fn a_pattern_without_a_number_that_counts_is_refused() {
        assert!(compile(r"(?<total>\d+)").unwrap_err().message.contains("no group `done`"));
        assert!(compile("(").unwrap_err().message.contains("no regular expression"));
    }
}
