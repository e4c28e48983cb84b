//! Kills at the K-th write, sync and rename, by `strace`, without touching the source; driver and host alike.

use super::strike::{self, recorded};
use super::support::{Live, Place, until};
use super::world::{self, Finished};
use std::process::Command;

/// The processes that a trace says were killed.
fn killed(trace: &std::path::Path) -> usize {
    let text = std::fs::read_to_string(trace).unwrap_or_default();
    text.lines().filter(|line| line.contains("+++ killed by SIGKILL")).count()
}

fn driver_pid(place: &Place) -> Option<i32> {
    std::fs::read_to_string(strike::run_dir(place)?.driver_lock()).ok()?.trim().parse().ok()
}

/// One run that is killed at its K-th call; false: there were not so many.
fn strike_at(calls: &str, number: u32) -> bool {
    let place = Place::new();
    let plan = world::prepare(&place);
    let trace = place.path().join("trace");
    let flowrun = place.command([&plan]);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace);
    command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:signal=SIGKILL:when={number}")]);
    command.arg(flowrun.get_program()).args(flowrun.get_args());
    for (name, value) in flowrun.get_envs() {
        if let Some(value) = value {
            command.env(name, value)
        } else {
            command.env_remove(name)
        };
    }
    command.current_dir(place.path()).stdin(std::process::Stdio::null());
    let mut tracer = Live::start(command, place.path());
    // The tracer lives as long as the host does, so the driver's own end is looked for.
    let dead = |pid: i32| strike::stat(pid).is_none_or(|(state, _)| state == 'Z');
    until("the driver has ended", || {
        let ended = !tracer.runs() || driver_pid(&place).is_some_and(dead);
        ended.then_some(())
    });
    let fired = killed(&trace) > 0;
    let moment = recorded(&place);
    let args = match strike::run_dir(&place).filter(|run| run.journal().exists()) {
        Some(run) => vec!["resume".to_owned(), run.id()],
        None => vec![plan.display().to_string()],
    };
    let mut answer = place.flowrun(&args);
    if answer.code != 0 && strike::run_dir(&place).is_some_and(|run| run.journal().exists()) && args.len() == 1 {
        answer = place.flowrun(["resume"]);
    }
    if answer.code == 6 {
        // A journal that was killed in its making holds no run; the plan is started again.
        answer = place.flowrun([&plan]);
    }
    assert_eq!(answer.code, 0, "{calls} {number}: {answer:?}");
    drop(tracer);
    let verdict = world::judge(&place, &Finished::Recorded(vec![moment]));
    assert!(verdict.is_clean(), "{calls} {number}: {verdict:?}\n{}", world::story(&place));
    fired
}

fn walk(calls: &str, numbers: &[u32]) {
    let fired = numbers.iter().filter(|number| strike_at(calls, **number)).count();
    println!("{calls}: {fired} of {} points fired", numbers.len());
    // The last ones may lie behind the end of the run.
    assert!(fired * 4 >= numbers.len() * 3, "{calls}: only {fired} of {} points fired", numbers.len());
}

#[test]
fn a_kill_at_a_write_loses_and_repeats_nothing() {
    walk("pwrite64", &[1, 2, 3, 5, 9, 14, 20, 27, 35, 44, 60, 80]);
}

#[test]
fn a_kill_at_a_sync_loses_and_repeats_nothing() {
    walk("fsync,fdatasync", &[1, 2, 3, 4, 5, 7, 9, 12, 15, 18]);
}

#[test]
fn a_kill_at_a_rename_loses_and_repeats_nothing() {
    walk("rename,renameat,renameat2", &[1, 2, 3, 4]);
}
