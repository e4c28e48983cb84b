//! Which items get lines of their own: those of a big fan-out do not, save the failures.
//! Unaware of the lines' text.

use flowrun_engine::driver::snapshot::Snapshot;
use std::collections::BTreeMap;

/// A fan-out with more items than this is told as a whole.
const BIG: u32 = 20;
/// So many failures of a big fan-out are told in full.
const IN_FULL: u32 = 10;

/// What is known about fan-outs so far.
#[derive(Debug, Default)]
pub struct Folds {
    totals: BTreeMap<String, u32>,
    seen: BTreeMap<String, u32>,
    failures: BTreeMap<String, u32>,
}

impl Folds {
    /// Learns the sizes of fan-outs.
    pub fn learn(&mut self, snapshot: &Snapshot) {
        for fan in &snapshot.fans {
            if self.totals.get(&fan.address) != Some(&fan.total) {
                self.totals.insert(fan.address.clone(), fan.total);
            }
        }
    }

    /// It is one of so many that it gets no line of its own.
    pub fn is_folded(&mut self, address: &str, item: bool) -> bool {
        if let Some(fan) = self.fan_of(address) {
            return self.totals.get(fan).is_some_and(|total| *total > BIG);
        }
        if !item {
            return false;
        }
        // Its fan-out has not been seen (it may begin and end between two snapshots): count instead.
        let seen = self.seen.entry(first_part(address).to_owned()).or_default();
        *seen += 1;
        *seen > BIG
    }

    /// There were not yet too many failures beside this one to tell it in full.
    pub fn in_full(&mut self, address: &str) -> bool {
        let owner = self.fan_of(address).unwrap_or_else(|| first_part(address)).to_owned();
        let failures = self.failures.entry(owner).or_default();
        *failures += 1;
        *failures <= IN_FULL
    }

    /// The innermost known fan-out around an address.
    fn fan_of<'a>(&self, address: &'a str) -> Option<&'a str> {
        let ends = address.rmatch_indices('/').map(|(at, _)| at);
        ends.filter_map(|end| address.get(..end)).find(|part| self.totals.contains_key(*part))
    }
}

fn first_part(address: &str) -> &str {
    address.split('/').next().unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::Folds;
    use crate::screen::samples;

    #[test]
    fn items_of_a_big_fan_out_are_folded_and_steps_are_not() {
        let mut folds = Folds::default();
        folds.learn(&samples::fan());
        assert!(folds.is_folded("dump/acme", true));
        assert!(!folds.is_folded("dump", false));
        assert!(!folds.is_folded("dumper/acme", true));
    }

    #[test]
    fn an_unknown_fan_out_is_folded_once_it_grows_big() {
        let mut folds = Folds::default();
        let folded = (0..30).filter(|item| folds.is_folded(&format!("f/{item}"), true)).count();
        assert_eq!(folded, 10);
    }

    #[test]
    fn only_the_first_failures_are_told_in_full() {
        let mut folds = Folds::default();
        assert_eq!((0..30).filter(|item| folds.in_full(&format!("f/{item}"))).count(), 10);
        assert!(folds.in_full("g/0"));
    }
}
