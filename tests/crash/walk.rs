//! Kills the driver at every commit of a scenario, before it and after it, and compares the world.

use super::support::{Answer, Place};
use super::world::{self, Finished};

/// What SIGKILL looks like.
const KILLED: i32 = -9;
/// No scenario has as many commits, so a walk that comes here does not end.
const AT_MOST: u64 = 400;

/// Resumes the only run, which must end.
pub fn resume(place: &Place) -> Answer {
    place.flowrun(["resume", &place.run_id()])
}

/// One crash at a point; false: the point was not reached and the run succeeded.
fn strike(side: &str, number: u64) -> bool {
    let place = Place::new();
    let plan = world::prepare(&place);
    let mut command = place.command([&plan]);
    command.env("FLOWRUN_CRASH_AT", format!("commit:{side}:{number}"));
    let answer = super::support::Live::start(command, place.path()).wait();
    let fired = answer.code == KILLED;
    assert!(fired || answer.code == 0, "commit:{side}:{number}: {answer:?}");
    if fired {
        let answer = if place.runs().is_empty() { place.flowrun([&plan]) } else { resume(&place) };
        assert_eq!(answer.code, 0, "commit:{side}:{number}: {answer:?}");
    }
    let verdict = world::judge(&place, &Finished::Ended);
    assert!(verdict.is_clean(), "commit:{side}:{number}: {verdict:?}\n{}", world::story(&place));
    fired
}

/// Every point of one side; the points are shared out among a few threads.
fn walk(side: &str) {
    let next = std::sync::atomic::AtomicU64::new(1);
    let last = std::sync::atomic::AtomicU64::new(AT_MOST);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= last.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                    if !strike(side, number) {
                        last.fetch_min(number, std::sync::atomic::Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
    });
    let points = last.into_inner() - 1;
    println!("{side} a commit: {points} points");
    assert!((10..AT_MOST - 1).contains(&points), "the walk had {points} points");
}

#[test]
fn an_undisturbed_run_leaves_what_it_should() {
    let place = Place::new();
    let plan = world::prepare(&place);
    place.ok(0, [&plan]);
    let verdict = world::judge(&place, &Finished::Ended);
    assert!(verdict.is_clean(), "{verdict:?}");
}

#[test]
fn a_driver_killed_before_any_commit_loses_and_repeats_nothing() {
    walk("before");
}

#[test]
fn a_driver_killed_after_any_commit_loses_and_repeats_nothing() {
    walk("after");
}

#[test]
fn two_copies_alive_at_once_are_noticed() {
    let place = Place::new();
    world::prepare(&place);
    let copy = || {
        let mut command = std::process::Command::new("bash");
        command.args(["-c", ". ./work; work 1; done_now"]).current_dir(place.path());
        command.env("WORLD", place.path()).env("FLOWRUN_STEP", "sum");
        super::support::Live::start(command, place.path())
    };
    let (one, two) = (copy(), copy());
    assert_eq!((one.wait().code, two.wait().code), (0, 0));
    let verdict = world::judge(&place, &Finished::Ended);
    assert_eq!((verdict.doubled.len(), verdict.copies()), (1, 2), "{verdict:?}");
    let again = copy();
    assert_eq!(again.wait().code, 0);
    assert_eq!(world::judge(&place, &Finished::Ended).run_again, ["sum"]);
}
