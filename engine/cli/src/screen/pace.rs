//! How fast fan-outs go, as this watcher has seen it, and what that says about their end.
//! Unaware of screens. A fan-out's own start is no measure: between it and now the run may have been interrupted for
//! a weekend.

use super::estimate::{count, ended, scale};
use super::text;
use flowrun_engine::driver::snapshot::{Fan, Snapshot};
use std::collections::BTreeMap;

/// What was seen of each fan-out first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pace(BTreeMap<String, Seen>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    at: u64,
    worked: u32,
    weight: f64,
}

/// So many items must have ended under the watcher's eyes, and so long must it have watched, in milliseconds.
const ENOUGH: u32 = 5;
const LONG_ENOUGH: u64 = 10_000;

impl Pace {
    /// Looks at the fan-outs in a snapshot; those that are gone are forgotten.
    pub fn see(&mut self, snapshot: &Snapshot, now: u64) {
        self.0.retain(|address, _| snapshot.fans.iter().any(|fan| fan.address == *address));
        for fan in &snapshot.fans {
            if !self.0.contains_key(&fan.address) {
                let weight = fan.weight.map_or(0.0, |(done, _)| done);
                self.0.insert(fan.address.clone(), Seen { at: now, worked: worked(fan), weight });
            }
        }
    }

    /// How long a fan-out may still take: only when so many items ended that those in flight weigh little.
    #[must_use]
    pub fn left(&self, fan: &Fan, now: u64) -> Option<String> {
        let seen = self.0.get(&fan.address)?;
        let watched = now.saturating_sub(seen.at);
        let items = worked(fan).saturating_sub(seen.worked);
        if items < ENOUGH || items < count(fan, "running").saturating_mul(2) || watched < LONG_ENOUGH {
            return None;
        }
        let (done, left) = match fan.weight {
            Some((done, total)) if total > 0.0 => (done - seen.weight, total - done),
            // Items that were skipped cost nothing and say nothing about the others.
            Some(_) | None => (f64::from(items), f64::from(fan.total.saturating_sub(ended(fan)))),
        };
        let sound = done.is_finite() && left.is_finite() && done > 0.0 && left >= 0.0;
        sound.then(|| format!("{} left", text::estimate(scale(watched, left / done))))
    }
}

/// Items that took time.
fn worked(fan: &Fan) -> u32 {
    count(fan, "succeeded").saturating_add(count(fan, "failed"))
}

#[cfg(test)]
impl Pace {
    /// Of a watcher that has been there since every fan-out began.
    pub fn from_the_start(snapshot: &Snapshot) -> Self {
        let seen = |fan: &Fan| (fan.address.clone(), Seen { at: fan.started, worked: 0, weight: 0.0 });
        Self(snapshot.fans.iter().map(seen).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use crate::screen::samples;
    use flowrun_engine::driver::snapshot::{Fan, Snapshot};
    use std::collections::BTreeMap;

    fn fan(succeeded: u32, running: u32, weight: Option<(f64, f64)>) -> Fan {
        let counts = BTreeMap::from([("succeeded".to_owned(), succeeded), ("running".to_owned(), running)]);
        Fan { address: "f".into(), total: 100, counts, started: 0, weight }
    }

    fn with(fan: Fan) -> Snapshot {
        Snapshot { fans: vec![fan], ..samples::services() }
    }

    #[test]
    fn a_fan_out_is_estimated_only_after_enough_items_and_time() {
        let mut pace = Pace::default();
        pace.see(&with(fan(0, 8, None)), 0);
        assert_eq!(pace.left(&fan(4, 1, None), 60_000), None);
        assert_eq!(pace.left(&fan(10, 8, None), 60_000), None);
        assert_eq!(pace.left(&fan(20, 8, None), 9_000), None);
        assert_eq!(pace.left(&fan(20, 8, None), 60_000).as_deref(), Some("~4m left"));
        assert_eq!(pace.left(&fan(20, 8, Some((50.0, 100.0))), 60_000).as_deref(), Some("~1m left"));
    }

    #[test]
    fn what_happened_before_an_interruption_is_no_measure() {
        let weekend = 3 * 86_400_000;
        let mut pace = Pace::default();
        pace.see(&with(fan(50, 8, None)), weekend);
        assert_eq!(pace.left(&fan(52, 8, None), weekend + 60_000), None);
        assert_eq!(pace.left(&fan(75, 8, None), weekend + 60_000).as_deref(), Some("~1m left"));
    }

    #[test]
    fn a_fan_out_that_is_gone_is_forgotten() {
        let mut pace = Pace::default();
        pace.see(&with(fan(0, 8, None)), 0);
        pace.see(&samples::services(), 1);
        assert_eq!(pace, Pace::default());
    }
}
