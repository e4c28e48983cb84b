//! Blocks: what groups hand out, `finally` after a resume, services; and what became of lost attempts.
//! Unaware of what steps do.

use crate::kit::{at, done, failed, first, plan, started, step, take};
use flowrun_core::event::Verdict;
use flowrun_core::plan::{Block, BlockId, Body, OnLost, Plan, Step, StepId};
use flowrun_core::{AttemptId, Event, Found, Input, NodeId, Refusal, Run, RunState, UnitState, Want};
use serde_json::json;

/// A group that hands something out, with one step inside.
fn group() -> Plan {
    let group = Step { body: Body::Block(BlockId(1)), hands_out: true, ..step("group") };
    let mut plan = plan(vec![group, step("inner")]);
    plan.blocks = [0, 1].map(|step| Block { steps: vec![StepId(step)], finally: Vec::new() }).to_vec();
    plan
}

/// A step, and another that runs at the end.
fn with_finally(main: Step) -> Plan {
    let mut plan = plan(vec![main, step("cleanup")]);
    plan.blocks = vec![Block { steps: vec![StepId(0)], finally: vec![StepId(1)] }];
    plan
}

fn second(node: u32) -> AttemptId {
    AttemptId { attempt: 2, ..first(node) }
}

#[test]
fn a_group_ends_once_its_outputs_are_there() {
    for (outputs, state) in
        [(Ok(json!({ "rows": 3 })), RunState::Succeeded), (Err("no such step".to_owned()), RunState::Failed)]
    {
        let (mut run, _) = started(group());
        done(&mut run, first(2));
        assert_eq!(run.desired(), vec![(NodeId(1), Want::Outputs)]);
        let node = NodeId(1);
        take(&mut run, Input::Outputs { node, outputs });
        assert_eq!(run.state(), state);
    }
}

#[test]
fn a_group_that_failed_hands_nothing_out() {
    let (mut run, _) = started(group());
    failed(&mut run, first(2));
    assert_eq!(run.state(), RunState::Failed);
    let (node, outputs) = (NodeId(1), Ok(json!({})));
    let refused = run.handle(Input::Outputs { node, outputs });
    assert_eq!(refused, Err(Refusal::Unasked));
}

#[test]
fn a_cancel_takes_back_the_outputs_that_it_makes_needless() {
    let (mut run, _) = started(group());
    done(&mut run, first(2));
    assert!(run.take_changed().contains(&NodeId(1)));
    take(&mut run, Input::Cancel);
    assert_eq!(run.want(NodeId(1)), None);
    assert!(run.take_changed().contains(&NodeId(1)));
    assert_eq!(run.state(), RunState::Cancelled);
}

#[test]
fn after_a_resume_finally_waits_for_the_steps_and_runs_again() {
    let (mut run, _) = started(with_finally(step("work")));
    failed(&mut run, first(1));
    assert_eq!(run.seen(NodeId(2)), UnitState::Running);
    done(&mut run, first(2));
    assert_eq!(run.state(), RunState::Failed);
    take(&mut run, Input::Resume);
    assert_eq!(run.desired(), vec![(NodeId(1), Want::Run(second(1)))], "only the step itself");
    done(&mut run, second(1));
    assert_eq!(run.desired(), vec![(NodeId(2), Want::Run(second(2)))]);
    done(&mut run, second(2));
    assert_eq!(run.state(), RunState::Succeeded);
}

#[test]
fn a_resume_after_a_failed_finally_repeats_only_that() {
    let (mut run, _) = started(with_finally(step("work")));
    done(&mut run, first(1));
    failed(&mut run, first(2));
    assert_eq!(run.state(), RunState::Failed);
    take(&mut run, Input::Resume);
    assert_eq!(run.desired(), vec![(NodeId(2), Want::Run(second(2)))]);
}

/// A lost attempt of a step with this rule, after somebody found this.
fn reconciled(on_lost: OnLost, found: Found) -> Run {
    let (mut run, _) = started(plan(vec![Step { on_lost, ..step("load") }]));
    let id = first(1);
    take(&mut run, Input::Lost(id));
    take(&mut run, Input::Reconciled { id, found });
    at(&mut run, 1);
    run
}

#[test]
fn what_was_found_of_a_lost_attempt_says_what_follows() {
    let look_at = || "the server".to_owned();
    let (done, again) = (UnitState::Succeeded, UnitState::Running);
    let (failed, asks) = (UnitState::Failed, UnitState::Lost);
    for (on_lost, unknown) in [(OnLost::Rerun, again), (OnLost::Fail, failed), (OnLost::Ask, asks)] {
        for (found, seen) in [
            (Found::Done { outputs: None }, done),
            (Found::NotDone, again),
            (Found::Unknown { look_at: look_at() }, unknown),
            // It may still act, so that nothing but a person can let it run again.
            (Found::Unfenced { look_at: look_at() }, asks),
        ] {
            let what = format!("{on_lost:?}, {found:?}");
            let run = reconciled(on_lost, found);
            assert_eq!(run.seen(NodeId(1)), seen, "{what}");
            assert_eq!(run.waits_for_a_person(), seen == asks, "{what}");
            assert_eq!(run.want(NodeId(1)).is_some(), seen == again, "{what}");
        }
    }
}

#[test]
fn a_person_can_judge_a_lost_service_while_finally_runs() {
    let (mut run, _) = started(with_finally(Step { background: true, on_lost: OnLost::Ask, ..step("server") }));
    let id = first(1);
    take(&mut run, Input::Ready(id));
    assert_eq!(run.seen(NodeId(2)), UnitState::Running);
    take(&mut run, Input::Lost(id));
    let look_at = "the server".into();
    let found = Found::Unfenced { look_at };
    take(&mut run, Input::Reconciled { id, found });
    done(&mut run, first(2));
    assert!(run.waits_for_a_person());
    let events = take(&mut run, Input::Mark { node: NodeId(1), verdict: Verdict::Done, because: "it is gone".into() });
    let state = RunState::Succeeded;
    assert_eq!(events.last(), Some(&Event::Finished { state }));
}

#[test]
fn a_service_that_may_still_act_is_for_a_person_even_when_it_is_to_stop() {
    let (mut run, _) = started(plan(vec![Step { background: true, ..step("server") }, step("work")]));
    let id = first(1);
    take(&mut run, Input::Ready(id));
    done(&mut run, first(2));
    assert_eq!(run.want(id.node), Some(Want::Stop(id)));
    take(&mut run, Input::Lost(id));
    let look_at = "the server".into();
    let found = Found::Unfenced { look_at };
    take(&mut run, Input::Reconciled { id, found });
    assert_eq!(run.seen(id.node), UnitState::Lost);
    assert_eq!(run.state(), RunState::Running);
}
