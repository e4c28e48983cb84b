//! The rules of a run, one by one: a plan of a few lines, a few inputs, the decisions that follow.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may read the clock and its fixtures, and run alone; the core may not"
)]

mod blocks;
mod gates;
mod kit;
mod lists;
mod scale;

use flowrun_core::plan::{Need, NeedKind, OnLost, Plan, Step, StepId};
use flowrun_core::replan::{Kept, carry_over};
use flowrun_core::{AttemptId, Event, Found, Input, NodeId, Outcome, Run, RunState, UnitState, Want};
use kit::{done, fan, flying, list, plan, running, started, step, take};
use std::sync::Arc;

#[test]
fn as_many_items_run_as_the_pool_has_units_and_some_are_ordered_ahead() {
    let (mut run, _) = started(plan(vec![fan("dump")]));
    list(&mut run, NodeId(1), 100, (0..100).collect());
    assert_eq!(run.in_flight().count(), 4);
    let ahead = run.ordered_ahead();
    assert_eq!(ahead.len(), 4);
    let first = flying(&run).expect("four are in flight");
    let events = done(&mut run, first);
    assert!(run.in_flight().any(|id| id == ahead[0]), "the slot goes to the first ordered ahead");
    let orders = |events: &[Event]| events.iter().filter(|e| matches!(e, Event::Ordered { .. })).count();
    assert_eq!(orders(&events), 0, "the window is more than half full");
    let second = flying(&run).expect("four are in flight");
    let events = done(&mut run, second);
    assert_eq!(orders(&events), 2, "a window that is half empty is filled again");
}

#[test]
fn the_largest_item_starts_first() {
    let (mut run, _) = started(plan(vec![fan("dump")]));
    list(&mut run, NodeId(1), 6, vec![5, 3, 1, 0, 2, 4]);
    assert_eq!(running(&run), vec![2, 3, 5, 7], "items 0, 1, 3 and 5");
    let ahead: Vec<u32> = run.ordered_ahead().iter().map(|id| id.node.0).collect();
    assert_eq!(ahead, vec![4, 6], "then items 2 and 4");
}

#[test]
fn a_lost_attempt_that_nobody_can_judge_follows_on_lost() {
    for (on_lost, seen) in
        [(OnLost::Rerun, UnitState::Running), (OnLost::Fail, UnitState::Failed), (OnLost::Ask, UnitState::Lost)]
    {
        let (mut run, _) = started(plan(vec![Step { on_lost, ..step("load") }]));
        let id = flying(&run).expect("it runs");
        take(&mut run, Input::Lost(id));
        assert_eq!(run.want(id.node), Some(Want::Reconcile(id)));
        let look_at = "the server".into();
        let found = Found::Unknown { look_at };
        let mut events = run.handle(Input::Reconciled { id, found }).expect("asked for");
        while !events.is_empty() {
            events.iter().for_each(|event| run.evolve(event));
            run.tell_time(u64::MAX / 2);
            events = run.decide();
        }
        assert_eq!(run.seen(id.node), seen, "{on_lost:?}");
        assert_eq!(run.waits_for_a_person(), on_lost == OnLost::Ask);
    }
}

#[test]
fn a_found_effect_is_taken_and_nothing_runs_again() {
    let (mut run, _) = started(plan(vec![step("load")]));
    let id = flying(&run).expect("it runs");
    take(&mut run, Input::Lost(id));
    let found = Found::Done { outputs: None };
    take(&mut run, Input::Reconciled { id, found });
    assert_eq!(run.state(), RunState::Succeeded);
}

#[test]
fn a_chain_of_ten_thousand_steps_needs_no_deep_stack() {
    let steps = (0..10_000).map(|n| Step {
        needs: (n > 0).then(|| Need { step: StepId(n - 1), kind: NeedKind::Success }).into_iter().collect(),
        ..step(&format!("s{n}"))
    });
    let plan = plan(steps.collect());
    let thread = std::thread::Builder::new().stack_size(192 * 1024);
    let walk = move || {
        let (mut run, _) = started(plan);
        let first = flying(&run).expect("the first runs");
        let failure = flowrun_core::event::Failure {
            class: flowrun_core::event::FailureClass::Permanent,
            exit: Some(1),
            timed_out: false,
            message: "it failed".into(),
            hint: None,
        };
        take(&mut run, Input::Report { id: first, outcome: Outcome::Failed(Box::new(failure)), started: None });
        assert_eq!(run.state(), RunState::Failed);
        take(&mut run, Input::Resume);
        while let Some(id) = flying(&run) {
            done(&mut run, id);
        }
        assert_eq!(run.state(), RunState::Succeeded);
    };
    thread.spawn(walk).expect("a thread").join().expect("no overflow");
}

#[test]
fn a_changed_plan_keeps_what_is_done_and_what_runs() {
    let (mut run, _) = started(plan(vec![step("list"), fan("dump")]));
    let first = AttemptId { node: NodeId(1), attempt: 1 };
    done(&mut run, first);
    list(&mut run, NodeId(2), 3, vec![2, 1, 0]);
    let item = run.find("dump/item1").expect("it is there");
    done(&mut run, AttemptId { node: item, attempt: 1 });
    let new = Arc::new(plan(vec![step("new"), fan("dump"), step("list")]));
    let kept = carry_over(
        &run,
        Arc::clone(&new),
        &Kept { keep: &|_| true, outputs: &|_| None, items: &|_| Vec::new(), values: &|_| None },
    );
    run.replan(new);
    run.evolve(&Event::Replanned { kept });
    take(&mut run, Input::Resume);
    let seen = |address: &str| run.find(address).map(|node| run.seen(node));
    assert_eq!(seen("list"), Some(UnitState::Succeeded));
    assert_eq!(seen("dump/item1"), Some(UnitState::Succeeded));
    assert_eq!(seen("dump/item0"), Some(UnitState::Running));
    assert_eq!(seen("new"), Some(UnitState::Running));
    assert!(run.in_flight().all(|id| id.attempt == 1));
    assert_eq!(run.drift(), None);
}

/// Journals that earlier versions wrote load for ever.
#[test]
fn old_journals_load() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let plan: Plan =
        serde_json::from_str(&std::fs::read_to_string(format!("{folder}/v1.plan.json")).expect("the plan is there"))
            .expect("the plan loads");
    let text = std::fs::read_to_string(format!("{folder}/v1.jsonl")).expect("the journal is there");
    let journal: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).expect("each line loads")).collect();
    let run = Run::replay(Arc::new(plan), &journal);
    assert_eq!(run.state(), RunState::Succeeded);
    assert_eq!(run.drift(), None);
}
