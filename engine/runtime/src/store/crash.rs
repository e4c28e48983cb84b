//! Crash points: `FLOWRUN_CRASH_AT=commit:before:N` or `commit:after:N` kills the process at its N-th commit of a journal.
//! Unaware of what is committed. For tests, which walk every point of a scenario; without the variable it costs nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which side of the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Nothing of it is on the disk.
    Before,
    /// All of it is on the disk, and nobody has been told.
    After,
}

static POINT: OnceLock<Option<(Side, u64)>> = OnceLock::new();
static COMMITS: AtomicU64 = AtomicU64::new(0);

/// Counts a commit that is about to happen, and dies there if told to.
pub(super) fn before_commit() {
    let number = COMMITS.fetch_add(1, Ordering::Relaxed) + 1;
    strike(Side::Before, number);
}

/// Dies after the commit that was counted last, if told to.
pub(super) fn after_commit() {
    strike(Side::After, COMMITS.load(Ordering::Relaxed));
}

fn strike(side: Side, number: u64) {
    let point = POINT.get_or_init(|| std::env::var("FLOWRUN_CRASH_AT").ok().and_then(|text| parse(&text)));
    if *point == Some((side, number)) {
        // KILL and not abort: no handler, no flush, no core file, as the OOM killer does it.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

fn parse(text: &str) -> Option<(Side, u64)> {
    let rest = text.strip_prefix("commit:")?;
    let (side, number) = rest.split_once(':')?;
    let side = match side {
        "before" => Side::Before,
        "after" => Side::After,
        _ => return None,
    };
    Some((side, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Side, parse};

    #[test]
    fn a_crash_point_names_a_side_and_a_commit() {
        assert_eq!(parse("commit:before:3"), Some((Side::Before, 3)));
        assert_eq!(parse("commit:after:12"), Some((Side::After, 12)));
    }

    #[test]
    fn points_of_other_parts_and_nonsense_are_left_alone() {
        for other in ["effect:before:3", "commit:3", "commit:during:3", "commit:after:x", ""] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
