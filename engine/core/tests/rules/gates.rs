//! Gates: how long they must hold, how they settle, and what becomes of who waits too long.
//! Unaware of what gates measure.

use crate::kit::{at, done, fan, first, gate, list, plan, settle, started, step, take};
use flowrun_core::plan::{Gate, Need, NeedKind, Otherwise, Plan, Step, StepId};
use flowrun_core::{Event, GateId, Input, NodeId, Run, RunState, UnitState};

const QUIET: GateId = GateId(0);

fn gated(steps: Vec<Step>, gate: Gate) -> Plan {
    let at_gate = |step| Step { gates: vec![QUIET], ..step };
    Plan { gates: vec![gate], ..plan(steps.into_iter().map(at_gate).collect()) }
}

/// The gate is measured.
fn read(run: &mut Run, now: u64, holds: bool) -> Vec<Event> {
    let mut events = at(run, now);
    run.measured(QUIET, holds);
    events.extend(settle(run));
    events
}

/// It is measured every second, up to and including the last.
fn read_until(run: &mut Run, seconds: std::ops::RangeInclusive<u64>, holds: bool) -> Vec<Event> {
    seconds.flat_map(|second| read(run, second * 1_000, holds)).collect()
}

fn ordered(events: &[Event]) -> usize {
    let orders = events.iter().filter(|e| matches!(e, Event::Ordered { .. }));
    orders.count()
}

fn patient(max_wait_ms: u64, otherwise: Otherwise) -> Gate {
    Gate { max_wait_ms: Some(max_wait_ms), otherwise, ..gate("quiet") }
}

#[test]
fn nothing_starts_before_the_gate_has_held_for_long_enough() {
    let hold = Gate { hold_ms: 5_000, ..gate("quiet") };
    let (mut run, _) = started(gated(vec![step("load")], hold));
    assert!(read_until(&mut run, 0..=3, true).is_empty());
    assert!(read(&mut run, 4_000, false).is_empty(), "it begins to count anew");
    assert!(read_until(&mut run, 5..=9, true).is_empty());
    assert_eq!(ordered(&read(&mut run, 10_000, true)), 1);
}

#[test]
fn an_old_reading_admits_nobody() {
    let mut plan = gated(vec![step("first"), step("load")], gate("quiet"));
    plan.steps[0].gates.clear();
    plan.steps[1].needs = vec![Need { step: StepId(0), kind: NeedKind::Success }];
    let (mut run, _) = started(plan);
    assert!(run.gates_to_measure().is_empty(), "nobody waits for it");
    run.measured(QUIET, true);
    at(&mut run, 1_000);
    assert_eq!(ordered(&done(&mut run, first(1))), 0);
    assert_eq!(run.gates_to_measure(), vec![(QUIET, 1_000)]);
    assert_eq!(ordered(&read(&mut run, 1_000, true)), 1);
}

#[test]
fn after_an_admission_the_gate_settles_unless_the_attempt_ends() {
    let settles = Gate { settle_ms: 10_000, ..gate("quiet") };
    let steps = vec![step("a"), step("b"), step("c")];
    let (mut run, _) = started(gated(steps, settles));
    assert_eq!(ordered(&read(&mut run, 0, true)), 1, "one at a time");
    assert_eq!(ordered(&read(&mut run, 9_999, true)), 0);
    assert_eq!(ordered(&read(&mut run, 10_000, true)), 1);
    assert_eq!(ordered(&read(&mut run, 10_500, true)), 0);
    assert_eq!(ordered(&done(&mut run, first(2))), 1, "it has ended");
}

#[test]
fn who_has_waited_too_long_fails_runs_or_is_skipped() {
    for (otherwise, seen) in [
        (Otherwise::Fail, UnitState::Failed),
        (Otherwise::Run, UnitState::Running),
        (Otherwise::Skip, UnitState::Skipped),
    ] {
        let (mut run, _) = started(gated(vec![step("load")], patient(3_000, otherwise)));
        assert!(read_until(&mut run, 0..=2, false).is_empty());
        read(&mut run, 3_000, false);
        assert_eq!(run.seen(NodeId(1)), seen, "{otherwise:?}");
    }
}

#[test]
fn of_two_gates_that_are_overdue_the_stricter_one_counts() {
    for order in [[Otherwise::Run, Otherwise::Fail], [Otherwise::Fail, Otherwise::Run]] {
        let mut plan = gated(vec![step("load")], patient(3_000, order[0]));
        plan.gates.push(patient(3_000, order[1]));
        plan.steps[0].gates.push(GateId(1));
        let (mut run, _) = started(plan);
        for second in 0..4 {
            run.tell_time(second * 1_000);
            run.measured(GateId(1), false);
            read(&mut run, second * 1_000, false);
        }
        assert_eq!(run.state(), RunState::Failed, "{order:?}");
    }
}

#[test]
fn a_step_that_comes_late_to_a_shut_gate_has_its_whole_wait() {
    let steps = vec![step("first"), step("early"), step("late")];
    let mut plan = gated(steps, patient(10_000, Otherwise::Fail));
    plan.steps[0].gates.clear();
    plan.steps[2].needs = vec![Need { step: StepId(0), kind: NeedKind::Success }];
    let (mut run, _) = started(plan);
    read_until(&mut run, 0..=7, false);
    done(&mut run, first(1));
    read_until(&mut run, 8..=10, false);
    assert_eq!(run.seen(NodeId(2)), UnitState::Failed);
    assert_eq!(run.seen(NodeId(3)), UnitState::Waiting);
    read_until(&mut run, 11..=17, false);
    assert_eq!(run.seen(NodeId(3)), UnitState::Waiting);
    read(&mut run, 18_000, false);
    assert_eq!(run.seen(NodeId(3)), UnitState::Failed);
}

#[test]
fn a_wait_for_a_slot_is_no_wait_at_the_gate() {
    let mut plan = gated(vec![fan("load")], patient(3_000, Otherwise::Run));
    plan.pools[0].size = 1;
    let (mut run, _) = started(plan);
    list(&mut run, NodeId(1), 2, vec![0, 1]);
    read_until(&mut run, 0..=3, false);
    assert_eq!(run.seen(NodeId(2)), UnitState::Running);
    done(&mut run, first(2));
    read_until(&mut run, 4..=6, false);
    assert_eq!(run.seen(NodeId(3)), UnitState::Waiting);
    read(&mut run, 7_000, false);
    assert_eq!(run.seen(NodeId(3)), UnitState::Running);
}

#[test]
fn nobody_measures_for_a_run_that_is_paused() {
    let (mut run, _) = started(gated(vec![step("load")], patient(3_000, Otherwise::Fail)));
    read(&mut run, 0, false);
    let reason = "a person said so".into();
    take(&mut run, Input::Pause { reason });
    assert!(run.gates_to_measure().is_empty());
    at(&mut run, 100_000);
    take(&mut run, Input::Unpause);
    read(&mut run, 100_000, false);
    assert_eq!(run.seen(NodeId(1)), UnitState::Waiting, "it waits anew");
}
