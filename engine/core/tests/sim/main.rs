//! The core against seeded worlds: random plans, crashes, lost and doubled reports, jumps of the clock.
//! `FLOWRUN_SIM_SEEDS` sets how many seeds are played, `FLOWRUN_SIM_SEED` plays one and prints it.

mod books;
mod doors;
mod ends;
mod engine;
mod play;
mod rng;
mod spec;
mod walk;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Plays one scenario; a panic is a failure like any other.
fn failure(spec: &spec::Spec) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| play::play(spec).map(|_| ()))) {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(panic) => Some(
            panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
                .unwrap_or_default(),
        ),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_seeded_world_is_survived() {
    let first = number("FLOWRUN_SIM_SEED");
    let count = number("FLOWRUN_SIM_SEEDS").unwrap_or(2_000);
    let mut bad = Vec::new();
    for seed in first.map_or(0..count, |seed| seed..seed + 1) {
        let spec = spec::random(seed);
        if let Some(why) = failure(&spec) {
            bad.push((seed, why));
        }
    }
    for (seed, why) in bad.iter().take(12) {
        println!("seed {seed}: {why}");
    }
    assert!(bad.is_empty(), "{} bad", bad.len());
}
