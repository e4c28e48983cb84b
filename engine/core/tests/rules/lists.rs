//! Lists: what is a list and what is not, a resume of failed items, and pauses.
//! Unaware of where lists come from.

use crate::kit::{done, failed, fan, first, list, plan, running, started, step, take};
use flowrun_core::plan::Step;
use flowrun_core::{AttemptId, Event, Input, NodeId, Refusal, Resolution, RunState, UnitState, Want};
use serde_json::{Value, json};

fn answer(keys: &[&str], order: &[u32], items: &[Value]) -> Input {
    Input::Resolved {
        node: NodeId(1),
        resolution: Resolution::FanOut {
            keys: keys.iter().map(|key| (*key).into()).collect(),
            order: order.to_vec(),
            items: items.to_vec(),
        },
    }
}

#[test]
fn a_list_whose_parts_do_not_fit_together_is_refused() {
    let (run, _) = started(plan(vec![fan("dump")]));
    for (keys, order, items) in [
        (&["a", "b"][..], &[0][..], &[][..]),
        (&["a", "b"], &[0, 0], &[]),
        (&["a", "b"], &[0, 2], &[]),
        (&["a", "b"], &[0, 1, 2], &[]),
        (&["a", "a"], &[0, 1], &[]),
        (&["a", "b"], &[1, 0], &[json!(1)]),
    ] {
        let refused = run.handle(answer(keys, order, items));
        assert_eq!(refused, Err(Refusal::Unfitting), "{keys:?} {order:?}");
    }
    for items in [vec![], vec![json!(1), json!(2)]] {
        assert!(run.handle(answer(&["a", "b"], &[1, 0], &items)).is_ok());
    }
    assert!(run.handle(answer(&[], &[], &[])).is_ok());
}

#[test]
fn only_a_step_with_for_each_is_answered_with_a_list() {
    let (run, _) = started(plan(vec![Step { resolve: true, ..step("load") }]));
    let refused = run.handle(answer(&["a"], &[0], &[]));
    assert_eq!(refused, Err(Refusal::Unfitting));
    let (run, _) = started(plan(vec![fan("dump")]));
    let (node, resolution) = (NodeId(1), Resolution::Run { values: None });
    let refused = run.handle(Input::Resolved { node, resolution });
    assert_eq!(refused, Err(Refusal::Unfitting));
}

#[test]
fn an_empty_list_succeeds() {
    let (mut run, _) = started(plan(vec![fan("dump")]));
    take(&mut run, answer(&[], &[], &[]));
    assert_eq!(run.state(), RunState::Succeeded);
}

#[test]
fn a_resume_runs_the_failed_items_of_a_list_again_and_no_others() {
    let (mut run, _) = started(plan(vec![fan("dump")]));
    list(&mut run, NodeId(1), 3, vec![0, 1, 2]);
    done(&mut run, first(2));
    failed(&mut run, first(3));
    done(&mut run, first(4));
    assert_eq!(run.state(), RunState::Failed);
    let events = take(&mut run, Input::Resume);
    let second = AttemptId { node: NodeId(3), attempt: 2 };
    assert!(events.contains(&Event::Ordered { id: second }));
    assert_eq!(run.desired(), vec![(NodeId(3), Want::Run(second))]);
    done(&mut run, second);
    assert_eq!(run.state(), RunState::Succeeded);
}

#[test]
fn while_a_run_is_paused_what_runs_goes_on_and_nothing_starts() {
    let (mut run, _) = started(plan(vec![fan("dump")]));
    list(&mut run, NodeId(1), 20, (0..20).collect());
    let reason: Box<str> = "a person said so".into();
    let pause = || Input::Pause { reason: reason.clone() };
    take(&mut run, pause());
    assert_eq!(run.paused(), Some(&*reason));
    assert_eq!(run.handle(pause()), Err(Refusal::Already));
    for node in 2..6 {
        done(&mut run, first(node));
    }
    assert_eq!(run.seen(NodeId(2)), UnitState::Succeeded);
    assert_eq!(run.in_flight().count(), 0);
    assert_eq!(run.state(), RunState::Running);
    take(&mut run, Input::Unpause);
    assert_eq!(running(&run), vec![6, 7, 8, 9]);
    assert_eq!(run.handle(Input::Unpause), Err(Refusal::Already));
}
