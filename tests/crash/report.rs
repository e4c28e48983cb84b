//! The report of crashes: every window of a child's life for each victim, and storms of random kills, in one table.
//! Unaware of how a strike is made.

use super::points::strike_in;
use super::storm::{self, Row};
use super::strike::{ALL, Who, Window};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Each window must be struck so often for each victim.
const STRIKES: usize = 20;

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn windows(strikes: usize, threads: usize) -> Vec<(String, Row)> {
    let jobs: Vec<(Window, Who)> = Window::ALL.into_iter().flat_map(|window| ALL.map(|who| (window, who))).collect();
    let rows: Vec<Mutex<Row>> = jobs.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let (Some((window, who)), Some(row)) = (jobs.get(at % jobs.len()), rows.get(at % jobs.len()))
                    else {
                        return;
                    };
                    if at / jobs.len() >= strikes {
                        return;
                    }
                    // Another child each time; a run has at least this many.
                    let child = 1 + (at / jobs.len()) % 15;
                    let Some(end) = strike_in(*window, *who, child as u32) else { continue };
                    row.lock().unwrap_or_else(std::sync::PoisonError::into_inner).count(1, end);
                }
            });
        }
    });
    let name = |(window, who): (Window, Who)| format!("{who:?} killed in {}", window.name()).to_lowercase();
    jobs.into_iter().map(name).zip(rows.into_iter().map(|row| row.into_inner().unwrap_or_default())).collect()
}

#[test]
#[ignore = "takes minutes: `make crash-report` runs it"]
fn table() {
    let threads = number("FLOWRUN_CRASH_THREADS", 4) as usize;
    let strikes = number("FLOWRUN_CRASH_STRIKES", STRIKES as u64) as usize;
    let kills = number("FLOWRUN_CRASH_KILLS", 1000) as usize;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let struck = windows(strikes, threads);
    let storm = storm::storm(kills, number("FLOWRUN_CRASH_SEED", now), threads);
    let mut missed = Vec::new();
    for (name, row) in &struck {
        if row.kills < STRIKES {
            missed.push(format!("{name}: struck {} times, and {STRIKES} are needed", row.kills));
        }
    }
    let random: usize = storm.values().map(|row| row.kills).sum();
    if random < 1000 {
        missed.push(format!("{random} random kills, and 1000 are needed"));
    }
    let storm = storm.into_iter().map(|(target, row)| (format!("{target} killed at random"), row));
    println!("\n| fault | kills | runs | finished steps re-run | copies alive at once | runs not resumed |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (name, row) in struck.into_iter().chain(storm) {
        println!("| {name} | {} | {} | {} | {} | {} |", row.kills, row.runs, row.run_again, row.copies, row.lost);
        if !row.is_good() {
            missed.push(format!("{name}: {}", row.stories.join("\n")));
        }
    }
    assert!(missed.is_empty(), "the goals are missed:\n{}", missed.join("\n"));
}
