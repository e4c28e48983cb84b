//! How far something is and how long it may still take.
//! Unaware of screens. The rule: where it is not known, nothing is said, and nothing in flight is ever complete.

use super::text;
use flowrun_engine::driver::snapshot::{Fan, Running};
use flowrun_sdk::Progress;

/// The share that is done, from 0 to less than 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(f64);

impl Share {
    /// None where the numbers make no sense: an estimate from them would be a lie.
    fn of(done: f64, total: f64) -> Option<Self> {
        let sound = done.is_finite() && total.is_finite() && total > 0.0 && (0.0..=total).contains(&done);
        sound.then(|| Self((done / total).min(0.999)))
    }

    /// Whole percents, at most 99.
    #[must_use]
    pub fn percent(self) -> u32 {
        self.scaled(100)
    }

    /// So many of `cells` are full; at least one is not.
    #[must_use]
    pub fn cells(self, cells: usize) -> usize {
        self.scaled(u32::try_from(cells).unwrap_or(u32::MAX)) as usize
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the value lies between 0 and `parts`")]
    fn scaled(self, parts: u32) -> u32 {
        ((self.0 * f64::from(parts)) as u32).min(parts.saturating_sub(1))
    }

    /// What is left, when so much time brought it here: only once it says something.
    fn left(self, elapsed: u64) -> Option<u64> {
        (self.0 >= 0.03 && elapsed >= 10_000).then(|| scale(elapsed, (1.0 - self.0) / self.0))
    }
}

/// A duration times a factor.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "estimates are coarse; `as` saturates"
)]
pub fn scale(ms: u64, factor: f64) -> u64 {
    (ms as f64 * factor) as u64
}

/// How far an attempt says it is, where its total is known.
#[must_use]
pub fn share(running: &Running) -> Option<Share> {
    let progress = running.progress.as_ref()?;
    Share::of(progress.done, progress.total?)
}

/// How much of a fan-out has ended: by weight where there are weights.
#[must_use]
pub fn fan_share(fan: &Fan) -> Option<Share> {
    match fan.weight {
        Some((done, total)) if total > 0.0 => Share::of(done, total),
        Some(_) | None => Share::of(f64::from(ended(fan)), f64::from(fan.total)),
    }
}

/// How many items of a fan-out are in a state.
#[must_use]
pub fn count(fan: &Fan, word: &str) -> u32 {
    fan.counts.get(word).copied().unwrap_or(0)
}

/// Items that ended, one way or another.
#[must_use]
pub fn ended(fan: &Fan) -> u32 {
    let counts = ["succeeded", "failed", "skipped", "cancelled"].map(|word| count(fan, word));
    counts.into_iter().fold(0, u32::saturating_add).min(fan.total)
}

/// How long an attempt may still take, in words.
#[must_use]
pub fn left(running: &Running, now: u64) -> Option<String> {
    let elapsed = now.saturating_sub(running.started);
    let measured = share(running).and_then(|share| share.left(elapsed));
    if let Some(ms) = measured {
        return Some(format!("{} left", text::estimate(ms)));
    }
    let usual = running.expected.filter(|usual| *usual > 0)?;
    match usual.checked_sub(elapsed) {
        Some(ms) if ms > usual / 20 => Some(format!("{} left", text::estimate(ms))),
        // It takes longer than it used to: how much longer, nobody knows.
        Some(_) | None => Some(format!("usually {}", text::estimate(usual).trim_start_matches('~'))),
    }
}

/// `4.2/9.1 GiB`, `12/400 tables`; nothing for percents, which the bar tells.
#[must_use]
pub fn amount(progress: &Progress) -> Option<String> {
    let sound = |value: f64| value.is_finite() && value >= 0.0;
    if !sound(progress.done) || progress.unit == "%" {
        return None;
    }
    let total = progress.total.filter(|total| sound(*total) && progress.done <= *total);
    let (size, unit) = match progress.unit.as_str() {
        "bytes" => text::bytes(total.unwrap_or(progress.done)),
        other => (1.0, other),
    };
    let written = |value: f64| if size > 1.0 { text::measure(value / size) } else { text::number(value) };
    let mut out = written(progress.done);
    if let Some(total) = total {
        out.push('/');
        out.push_str(&written(total));
    } else if progress.done == 0.0 {
        return None;
    }
    if !unit.is_empty() {
        out.push(' ');
        out.push_str(text::head(unit, 16));
    }
    Some(out)
}

/// `112/400 done, 3 failed, 8 running, ~2h 10m left`, and shorter ways to say it.
#[must_use]
pub fn fan_words(fan: &Fan, left: Option<String>) -> Vec<String> {
    let done = format!("{}/{}", count(fan, "succeeded"), fan.total);
    let part = |word: &str| match count(fan, word) {
        0 => String::new(),
        count => format!(", {count} {word}"),
    };
    let left = left.map_or_else(String::new, |left| format!(", {left}"));
    let (failed, lost) = (part("failed"), part("lost"));
    vec![
        format!("{done} done{failed}{lost}{}{}{}{left}", part("skipped"), part("cancelled"), part("running")),
        format!("{done} done{failed}{lost}{}{left}", part("running")),
        format!("{done} done{failed}{lost}{left}"),
        format!("{done}{failed}{lost}{left}"),
        format!("{done}{failed}{lost}"),
        done,
    ]
}

/// What stands behind an attempt's bar, and shorter ways to say it.
#[must_use]
pub fn running_words(running: &Running, now: u64) -> Vec<String> {
    let try_no = (running.attempt > 1).then(|| format!("try {}", running.attempt));
    let percent = share(running).map(|share| format!("{:>2}%", share.percent()));
    let amount = running.progress.as_ref().and_then(amount);
    let left = left(running, now);
    let join = |parts: &[&Option<String>]| {
        let parts: Vec<&str> = parts.iter().filter_map(|part| part.as_deref()).collect();
        parts.join(", ").replacen("%, ", "%  ", 1)
    };
    vec![
        join(&[&percent, &amount, &left, &try_no]),
        join(&[&percent, &left, &try_no]),
        join(&[&percent, &left]),
        join(&[&percent]),
        join(&[&left]),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Share, amount, left, share};
    use flowrun_engine::driver::snapshot::Running;
    use flowrun_sdk::Progress;

    fn at(done: f64, total: Option<f64>) -> Running {
        Running {
            address: "a".into(),
            attempt: 1,
            started: 0,
            progress: Some(Progress { done, total, unit: "tables".into() }),
            serving: false,
            expected: None,
        }
    }

    #[test]
    fn nothing_in_flight_is_complete() {
        for done in [10.0, 9.999_999] {
            let share = share(&at(done, Some(10.0))).unwrap();
            assert_eq!((share.percent(), share.cells(20)), (99, 19));
        }
        assert_eq!(Share::of(0.0, 1.0).map(|share| (share.percent(), share.cells(0))), Some((0, 0)));
    }

    #[test]
    fn numbers_without_sense_give_no_bar_and_no_estimate() {
        let cases = [
            (11.0, 10.0),
            (-1.0, 10.0),
            (f64::NAN, 10.0),
            (1.0, 0.0),
            (1.0, f64::INFINITY),
            (f64::INFINITY, f64::INFINITY),
        ];
        for (done, total) in cases {
            assert_eq!(share(&at(done, Some(total))), None, "{done} of {total}");
            assert_eq!(left(&at(done, Some(total)), 100_000), None);
        }
        assert_eq!(
            amount(&Progress { done: 11.0, total: Some(10.0), unit: "tables".into() }).as_deref(),
            Some("11 tables")
        );
    }

    #[test]
    fn an_estimate_waits_until_it_says_something() {
        assert_eq!(left(&at(5.0, Some(10.0)), 9_000), None);
        assert_eq!(left(&at(0.1, Some(10.0)), 90_000), None);
        assert_eq!(left(&at(5.0, Some(10.0)), 60_000).as_deref(), Some("~1m left"));
    }

    #[test]
    fn what_takes_longer_than_usual_is_not_said_to_end_soon() {
        let running = Running { expected: Some(60_000), ..at(0.0, None) };
        assert_eq!(left(&running, 20_000).as_deref(), Some("~40s left"));
        assert_eq!(left(&running, 61_000).as_deref(), Some("usually 1m"));
    }
}
