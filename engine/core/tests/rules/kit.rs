//! What the rules are tested with: plans of a few lines, and inputs taken all the way.
//! Unaware of what is tested.

use flowrun_core::event::{Failure, FailureClass};
use flowrun_core::plan::{Block, Body, FanOut, Gate, OnLost, Otherwise, Plan, Pool, PoolId, Retry, Step, StepId};
use flowrun_core::{AttemptId, Event, Input, NodeId, Outcome, Resolution, Run, Want};
use std::sync::Arc;

pub fn step(name: &str) -> Step {
    Step {
        name: name.into(),
        needs: Vec::new(),
        body: Body::Leaf,
        fan_out: None,
        resolve: false,
        resolve_item: false,
        retry: Retry::default(),
        gates: Vec::new(),
        pools: Vec::new(),
        on_lost: OnLost::Rerun,
        allow_failure: false,
        hands_out: false,
        background: false,
    }
}

pub fn plan(steps: Vec<Step>) -> Plan {
    let all = (0..steps.len() as u32).map(StepId).collect();
    Plan {
        blocks: vec![Block { steps: all, finally: Vec::new() }],
        steps,
        pools: vec![Pool { name: "pool".into(), size: 4 }],
        gates: Vec::new(),
    }
}

pub fn fan(name: &str) -> Step {
    Step { fan_out: Some(FanOut::default()), resolve: true, pools: vec![(PoolId(0), 1)], ..step(name) }
}

/// Takes an input and decides until there is nothing to decide; gives the events.
pub fn take(run: &mut Run, input: Input) -> Vec<Event> {
    let mut all = Vec::new();
    let mut events = run.handle(input).expect("the input is taken");
    while !events.is_empty() {
        for event in &events {
            run.evolve(event);
        }
        all.append(&mut events);
        events = run.decide();
    }
    all
}

pub fn started(plan: Plan) -> (Run, Vec<Event>) {
    let mut run = Run::new(Arc::new(plan));
    let events = take(&mut run, Input::Start);
    (run, events)
}

pub fn list(run: &mut Run, node: NodeId, items: u32, order: Vec<u32>) -> Vec<Event> {
    let keys = (0..items).map(|n| format!("item{n}").into()).collect();
    take(run, Input::Resolved { node, resolution: Resolution::FanOut { keys, order, items: Vec::new() } })
}

pub fn done(run: &mut Run, id: AttemptId) -> Vec<Event> {
    let outcome = Outcome::Succeeded { outputs: None };
    let started = None;
    take(run, Input::Report { id, outcome, started })
}

/// The first attempt in flight.
pub fn flying(run: &Run) -> Option<AttemptId> {
    run.in_flight().next()
}

pub fn running(run: &Run) -> Vec<u32> {
    let desired = run.desired();
    desired
        .iter()
        .filter_map(|(_, want)| match want {
            Want::Run(id) => Some(id.node.0),
            _ => None,
        })
        .collect()
}

/// It could succeed another time.
pub fn failure() -> Outcome {
    Outcome::Failed(Box::new(Failure {
        class: FailureClass::Transient,
        exit: Some(1),
        timed_out: false,
        message: "it failed".into(),
        hint: None,
    }))
}

pub fn failed(run: &mut Run, id: AttemptId) -> Vec<Event> {
    let outcome = failure();
    let started = None;
    take(run, Input::Report { id, outcome, started })
}

/// Decides until there is nothing to decide; gives the events.
pub fn settle(run: &mut Run) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let events = run.decide();
        if events.is_empty() {
            return all;
        }
        events.iter().for_each(|event| run.evolve(event));
        all.extend(events);
    }
}

/// The clock goes on.
pub fn at(run: &mut Run, now: u64) -> Vec<Event> {
    run.tell_time(now);
    settle(run)
}

/// The first attempt of a node.
pub fn first(node: u32) -> AttemptId {
    AttemptId { node: NodeId(node), attempt: 1 }
}

/// A gate that is measured every second.
pub fn gate(name: &str) -> Gate {
    Gate { name: name.into(), settle_ms: 0, hold_ms: 0, every_ms: 1_000, max_wait_ms: None, otherwise: Otherwise::Fail }
}
