//! Kills at random moments: the driver, the host, both, or a child, several times in the life of one run.
//! Unaware of what is going on at that moment; the strikes at points know that.

use super::strike::{self, Victim, Who};
use super::world::{self, Verdict};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a row of the report counts.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Kills that struck.
    pub kills: usize,
    /// Runs in which they did.
    pub runs: usize,
    /// Finished steps that ran again.
    pub run_again: usize,
    /// The most copies of one step alive at once.
    pub copies: usize,
    /// Runs that could not be resumed, or left something out or behind.
    pub lost: usize,
    /// What went wrong, for the person.
    pub stories: Vec<String>,
}

impl Row {
    /// Counts a run that came to its end, or did not.
    pub fn count(&mut self, kills: usize, end: Result<Verdict, String>) {
        self.kills += kills;
        self.runs += 1;
        match end {
            Ok(verdict) => {
                self.run_again += verdict.run_again.len();
                self.copies = self.copies.max(verdict.copies());
                let whole = verdict.left_out.is_empty() && verdict.left_alive.is_empty();
                self.lost += usize::from(!whole);
                if !verdict.is_clean() {
                    self.stories.push(format!("{verdict:?}"));
                }
            }
            Err(story) => {
                self.lost += 1;
                self.stories.push(story);
            }
        }
    }

    /// Nothing ran twice, nothing was lost.
    pub fn is_good(&self) -> bool {
        self.run_again == 0 && self.copies <= 1 && self.lost == 0
    }
}

/// A small generator of numbers that look random; its seed is printed, so that a storm can be raised again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Whom a run of the storm is after.
pub const TARGETS: [&str; 4] = ["engine", "host", "both", "child"];

/// One run that is killed up to five times; how often it was, and its end.
fn run_of(target: usize, dice: &mut Dice) -> (usize, Result<Verdict, String>, String) {
    let mut victim = Victim::begin(None);
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(30 + dice.below(350)));
        if !victim.runs() {
            break;
        }
        match TARGETS[target] {
            "engine" => victim.strike(Who::Engine),
            "host" => victim.strike(Who::Host),
            "both" => victim.strike(Who::Both),
            _ => {
                let children = world::alive(&victim.place);
                if let Some(child) = children.get(dice.below(children.len().max(1) as u64) as usize)
                    && strike::kill(*child)
                {
                    victim.kills += 1;
                }
            }
        }
        victim.resume();
    }
    let kills = victim.kills;
    let end = victim.finish();
    (kills, end, world::story(&victim.place))
}

/// Kills until there were so many; a row for each target.
pub fn storm(kills: usize, seed: u64, threads: usize) -> BTreeMap<&'static str, Row> {
    println!("a storm of {kills} kills with seed {seed}");
    let rows = Mutex::new(BTreeMap::<&'static str, Row>::new());
    let (struck, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while struck.load(Ordering::Relaxed) < kills || !every_target_struck(&rows) {
                    let run = runs.fetch_add(1, Ordering::Relaxed);
                    let mut dice = Dice((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(run as u64 * 2 + 1) | 1);
                    let (count, end, story) = run_of(run % TARGETS.len(), &mut dice);
                    struck.fetch_add(count, Ordering::Relaxed);
                    let mut rows = rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let row = rows.entry(TARGETS[run % TARGETS.len()]).or_default();
                    let before = row.stories.len();
                    row.count(count, end);
                    if row.stories.len() > before {
                        row.stories.push(format!("run {run} of the storm:\n{story}"));
                    }
                }
            });
        }
    });
    rows.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Some targets are hard to hit: a storm goes on until each was.
fn every_target_struck(rows: &Mutex<BTreeMap<&'static str, Row>>) -> bool {
    let rows = rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    TARGETS.iter().all(|target| rows.get(target).is_some_and(|row| row.kills > 0))
}

#[test]
fn kills_at_random_moments_lose_and_repeat_nothing() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs());
    for (target, row) in storm(40, seed, 3) {
        assert!(row.is_good(), "{target}: {row:?}\n{}", row.stories.join("\n"));
        assert!(row.kills > 0, "nobody struck: {target}");
    }
}
