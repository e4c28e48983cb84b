//! Ten times the items take about ten times as long, whatever happens to them.
//! Unaware of how fast the machine is: only ratios are judged.
#![expect(clippy::print_stdout, reason = "a test that measures says what it measured")]

use crate::kit::{at, done, failed, fan, flying, list, plan, settle, step, take};
use flowrun_core::event::Verdict;
use flowrun_core::plan::{Block, BlockId, Body, FanOut, Limit, Plan, Pool, Step, StepId};
use flowrun_core::{Event, Input, NodeId, Resolution, Run, RunState};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Runs a fan-out to its end and says how long it took.
fn drive(items: u32) -> (Duration, usize, Vec<Event>, Arc<Plan>) {
    let plan = Arc::new(plan(vec![fan("dump")]));
    let mut run = Run::new(Arc::clone(&plan));
    let begin = Instant::now();
    let mut journal = take(&mut run, Input::Start);
    journal.extend(list(&mut run, NodeId(1), items, (0..items).rev().collect()));
    while let Some(id) = flying(&run) {
        journal.extend(done(&mut run, id));
        run.take_changed();
    }
    assert_eq!(run.state(), RunState::Succeeded);
    (begin.elapsed(), run.len(), journal, plan)
}

#[test]
fn when_all_items_succeed() {
    ratio("success", |items| drive(items).0);
}

#[test]
fn a_journal_is_replayed_in_one_go() {
    let (_, nodes, journal, plan) = drive(130_000);
    assert_eq!(nodes, 130_002);
    let begin = Instant::now();
    let run = Run::replay(plan, &journal);
    let each = begin.elapsed().as_nanos() / journal.len() as u128;
    assert_eq!(run.state(), RunState::Succeeded);
    println!("{} events, {each} ns each at replay", journal.len());
}

/// A run in which a list of so many items has begun.
fn listed(items: u32) -> Run {
    let mut run = Run::new(Arc::new(plan(vec![fan("dump")])));
    take(&mut run, Input::Start);
    list(&mut run, NodeId(1), items, (0..items).rev().collect());
    run
}

/// Asks how many times as long it takes with ten times the items; again where something else took the machine's time.
fn ratio(what: &str, play: impl Fn(u32) -> Duration) {
    let alone = ALONE.lock();
    let mut least = f64::INFINITY;
    for _ in 0..5 {
        let (small, large) = (play(13_000), play(130_000));
        least = least.min(large.as_secs_f64() / small.as_secs_f64());
        println!("{what}: {small:?} and {large:?}, {least:.1} times as long");
        if least < 40.0 {
            break;
        }
    }
    drop(alone);
    assert!(least < 40.0, "{what}: {least} times as long");
}

/// One at a time: they would take each other's time.
static ALONE: Mutex<()> = Mutex::new(());

fn timed(act: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    act();
    begin.elapsed()
}

fn fail_all(run: &mut Run) {
    while let Some(id) = flying(run) {
        failed(run, id);
        run.take_changed();
        let _ = run.holds();
        assert!(!run.waits_for_a_person());
    }
}

#[test]
fn when_all_items_fail() {
    ratio("failures", |items| {
        let mut run = listed(items);
        timed(|| fail_all(&mut run))
    });
}

#[test]
fn when_a_run_with_many_failures_is_resumed() {
    ratio("resume", |items| {
        let mut run = listed(items);
        fail_all(&mut run);
        assert_eq!(run.state(), RunState::Failed);
        timed(|| {
            take(&mut run, Input::Resume);
        })
    });
}

#[test]
fn when_the_run_is_cancelled() {
    ratio("cancel", |items| {
        let mut run = listed(items);
        timed(|| {
            take(&mut run, Input::Cancel);
            while let Some(id) = flying(&run) {
                failed(&mut run, id);
            }
            assert_eq!(run.state(), RunState::Cancelled);
        })
    });
}

#[test]
fn when_the_run_is_paused_and_goes_on() {
    ratio("pause", |items| {
        let mut run = listed(items);
        timed(|| {
            for _ in 0..items / 100 {
                let reason = "a person said so".into();
                take(&mut run, Input::Pause { reason });
                take(&mut run, Input::Unpause);
                let id = flying(&run).expect("four are in flight");
                done(&mut run, id);
            }
        })
    });
}

#[test]
fn when_a_person_judges_one_item() {
    ratio("mark", |items| {
        let mut run = listed(items);
        fail_all(&mut run);
        timed(|| {
            let (node, verdict, because) = (NodeId(7), Verdict::Done, "seen".into());
            take(&mut run, Input::Mark { node, verdict, because });
        })
    });
}

/// A list of groups, each with a list of its own of a hundred items.
fn nested(groups: u32, outer: Option<Limit>, inner: Option<Limit>) -> Run {
    let list_with = |name: &str, max_failures, body| Step {
        fan_out: Some(FanOut { max_parallel: None, max_failures }),
        body,
        ..fan(name)
    };
    let mut tables = list_with("tables", inner, Body::Leaf);
    tables.pools = vec![(flowrun_core::PoolId(0), 1)];
    let mut servers = list_with("servers", outer, Body::Block(BlockId(1)));
    servers.pools = Vec::new();
    let block = |step| Block { steps: vec![StepId(step)], finally: Vec::new() };
    let plan = Plan {
        blocks: vec![block(0), block(1)],
        steps: vec![servers, tables],
        pools: vec![Pool { name: "pool".into(), size: 4 }],
        gates: Vec::new(),
    };
    let mut run = Run::new(Arc::new(plan));
    take(&mut run, Input::Start);
    list(&mut run, NodeId(1), groups, (0..groups).collect());
    run
}

fn list_inside(run: &mut Run, items: u32) {
    let wants: Vec<NodeId> = run.desired().into_iter().map(|(node, _)| node).collect();
    for node in wants {
        let keys = (0..items).map(|n| format!("k{n}").into()).collect();
        let resolution = Resolution::FanOut { keys, order: (0..items).collect(), items: Vec::new() };
        if let Ok(events) = run.handle(Input::Resolved { node, resolution }) {
            events.iter().for_each(|event| run.evolve(event));
        }
    }
    settle(run);
}

#[test]
fn when_each_of_many_lists_has_too_many_failures() {
    ratio("many held lists", |items| {
        let mut run = nested(items / 100, None, Some(Limit::Count(0)));
        list_inside(&mut run, 100);
        timed(|| fail_all(&mut run))
    });
}

#[test]
fn when_a_list_of_large_groups_has_too_many_failures() {
    ratio("held groups", |items| {
        let mut run = nested(3, Some(Limit::Count(0)), Some(Limit::Count(0)));
        list_inside(&mut run, items / 3);
        timed(|| fail_all(&mut run))
    });
}

#[test]
fn when_a_long_list_waits_at_a_shut_gate() {
    ratio("gate", |items| {
        let mut dump = fan("dump");
        dump.gates = vec![flowrun_core::GateId(0)];
        dump.pools = Vec::new();
        let mut late = step("late");
        late.gates.clone_from(&dump.gates);
        let mut plan = plan(vec![dump, late]);
        let mut gate = crate::kit::gate("quiet");
        gate.max_wait_ms = Some(600_000);
        plan.gates = vec![gate];
        let mut run = Run::new(Arc::new(plan));
        take(&mut run, Input::Start);
        list(&mut run, NodeId(1), items, (0..items).collect());
        timed(|| {
            for second in 0..599 {
                at(&mut run, second * 1_000);
                run.measured(flowrun_core::GateId(0), false);
                assert!(settle(&mut run).is_empty());
                let _ = run.holds();
            }
            at(&mut run, 600_000);
            run.measured(flowrun_core::GateId(0), false);
            settle(&mut run);
            assert_eq!(run.state(), RunState::Failed);
        })
    });
}
