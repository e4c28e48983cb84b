//! Kills the host, the driver and both at every point of a child's life, and compares the world.

use super::strike::{self, ALL, Victim, Who, Window};
use super::world::Verdict;

/// One strike in a window, at the n-th child that comes there. None: so many never came.
pub fn strike_in(window: Window, who: Who, number: u32) -> Option<Result<Verdict, String>> {
    let mut victim = Victim::begin(Some(&format!("host:stop@{}:{number}", window.point())));
    // It stands still inside the window: whoever is killed now is struck there.
    let Some(pid) = victim.until_stopped() else {
        drop(victim.finish());
        return None;
    };
    victim.strike(who);
    strike::go_on(pid);
    Some(victim.finish())
}

/// The host kills itself at a point, and the driver lives on or is killed after it.
fn host_dies_at(point: &str, number: u32, with_engine: bool) -> bool {
    let mut victim = Victim::begin(Some(&format!("host:{point}:{number}")));
    let fired = victim.until_host_died();
    if fired && with_engine {
        victim.strike(Who::Engine);
    }
    let verdict = victim.finish().unwrap_or_else(|error| panic!("{point}:{number}: {error}"));
    assert!(
        verdict.is_clean(),
        "{point}:{number}, engine killed: {with_engine}: {verdict:?}\n{}",
        super::world::story(&victim.place)
    );
    fired
}

fn walk(point: &'static str) {
    std::thread::scope(|scope| {
        for with_engine in [false, true] {
            scope.spawn(move || {
                for number in [1, 3, 8, 14] {
                    assert!(host_dies_at(point, number, with_engine), "{point}:{number} did not fire");
                }
            });
        }
    });
}

#[test]
fn a_host_that_dies_before_it_makes_a_child_loses_nothing() {
    walk("before-fork");
}

#[test]
fn a_host_that_dies_before_a_child_is_recorded_loses_nothing() {
    walk("after-fork");
}

#[test]
fn a_host_that_dies_before_a_child_is_its_program_loses_nothing() {
    walk("after-record");
}

#[test]
fn a_host_that_dies_before_it_tells_of_a_child_loses_nothing() {
    walk("after-exec");
}

#[test]
fn a_host_that_dies_before_an_exit_is_recorded_loses_nothing() {
    walk("before-exit-record");
}

#[test]
fn a_host_that_dies_before_an_exit_is_told_loses_nothing() {
    walk("after-exit-record");
}

#[test]
fn a_host_that_dies_before_it_listens_is_replaced() {
    assert!(host_dies_at("before-listen", 1, false));
}

#[test]
fn a_kill_in_any_window_of_a_childs_life_loses_and_repeats_nothing() {
    std::thread::scope(|scope| {
        for who in ALL {
            scope.spawn(move || {
                for window in Window::ALL {
                    for number in [2, 9] {
                        let verdict = strike_in(window, who, number).expect("the point is reached");
                        let verdict = verdict.unwrap_or_else(|error| panic!("{who:?} in {window:?}: {error}"));
                        assert!(verdict.is_clean(), "{who:?} in {window:?} of child {number}: {verdict:?}");
                    }
                }
            });
        }
    });
}
