//! Gates hold real steps of real runs back, say so with the value, and let them pass one by one.

mod support;

use serde_json::Value;
use support::{Place, until};

/// What `status` says; none while there is no run yet.
fn status(place: &Place, more: &[&str]) -> Option<Value> {
    let answer = place.flowrun(["status", "--json"].iter().chain(more));
    (answer.code == 0).then(|| serde_json::from_str(&answer.out).ok()).flatten()
}

fn starts(place: &Place, step: &str) -> Vec<String> {
    let status = status(place, &["--items"]).unwrap_or_default();
    let prefix = format!("{step}/");
    let items = status["items"].as_array().into_iter().flatten();
    let mut starts: Vec<String> = items
        .filter(|item| item["address"].as_str().is_some_and(|address| address.starts_with(&prefix)))
        .filter_map(|item| item["started"].as_str().map(str::to_owned))
        .collect();
    starts.sort();
    starts
}

fn waiting(place: &Place, step: &str) -> Option<String> {
    let status = status(place, &[])?;
    let step = status["steps"].as_array()?.iter().find(|found| found["id"] == step)?;
    step["waiting"]["reason"].as_str().map(str::to_owned)
}

#[test]
fn a_step_waits_for_the_load_and_says_its_value() {
    let place = Place::new();
    // No machine has so little load that it is below nothing.
    let plan = place.plan(
        "load.yaml",
        "name: load\ngates:\n  quiet: { load: { below: 0.000001 }, every: 1s }\n\
         steps:\n  held: { gates: [quiet], run: 'echo never' }\n",
    );
    let run = place.start([plan.as_os_str()]);
    place.run_id();
    let reason = until("the step says what it waits for", || waiting(&place, "held").filter(|r| r.contains("load")));
    assert!(reason.contains("needs <"), "{reason}");
    let value: Option<f64> = reason.split([' ', ',']).find_map(|word| word.parse().ok());
    assert!(value.is_some(), "the value now is named: {reason}");
    run.signal("INT");
    assert_eq!(run.wait().code, 130);
}

#[test]
fn a_gate_that_opens_lets_the_step_start() {
    let place = Place::new();
    let flag = place.path().join("flag");
    let plan = place.plan(
        "file.yaml",
        &format!(
            "name: file\ngates:\n  flag: {{ file: {}, every: 200ms }}\n\
             steps:\n  held: {{ gates: [flag], run: 'echo now' }}\n",
            flag.display()
        ),
    );
    let run = place.start([plan.as_os_str()]);
    place.run_id();
    until("the step says what it waits for", || waiting(&place, "held").filter(|reason| reason.contains("flag")));
    assert_eq!(place.state_of("held"), "waiting");
    place.touch("flag");
    assert_eq!(run.wait().code, 0);
}

#[test]
fn ready_items_pass_a_settling_gate_one_by_one() {
    let place = Place::new();
    let plan = place.plan(
        "settle.yaml",
        "name: settle\ngates:\n  calm: { load: { below: 100000 }, settle: 1s }\n\
         steps:\n  all:\n    for_each: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]\n    \
         max_parallel: 20\n    gates: [calm]\n    run: sleep 60\n",
    );
    let run = place.start([plan.as_os_str()]);
    place.run_id();
    let three = until("three items have started", || Some(starts(&place, "all")).filter(|starts| starts.len() >= 3));
    let seconds: Vec<jiff::Timestamp> = three.iter().filter_map(|at| at.parse().ok()).collect();
    for pair in seconds.windows(2) {
        let apart = pair[1].duration_since(pair[0]);
        assert!(apart >= jiff::SignedDuration::from_millis(950), "{three:?}");
    }
    assert!(three.len() < 20, "not all of 20 start at once");
    drop(run);
    place.flowrun(["cancel"]);
}
