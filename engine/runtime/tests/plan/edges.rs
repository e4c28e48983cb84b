//! What good plans become.

use crate::types::{read, rendered};
use flowrun_core::plan::NeedKind;
use flowrun_engine::plan::model::{Body, CheckedPlan, Step};
use flowrun_engine::plan::{Sizes, codes};

fn good(text: &str) -> CheckedPlan {
    let loaded = read(text);
    let said = rendered(&loaded);
    loaded.plan.unwrap_or_else(|| panic!("the plan has faults:\n{said}"))
}

fn step<'a>(plan: &'a CheckedPlan, name: &str) -> &'a Step {
    plan.steps.iter().find(|step| step.name == name).expect("the step exists")
}

fn needs(plan: &CheckedPlan, name: &str) -> Vec<(String, NeedKind)> {
    step(plan, name).needs.iter().map(|(id, kind)| (plan.steps[id.index()].name.clone(), *kind)).collect()
}

#[test]
fn a_reference_is_a_need_of_the_kind_that_it_uses() {
    let plan = good(
        "steps:\n  a: { run: 'true', outputs: { x: { from: stdout } } }\n  b: { run: 'true' }\n  c:\n    needs: b\n    when: \"{{eq steps.a.state 'succeeded'}}\"\n    run: echo\n  d: { exec: [echo, \"{{steps.a.x}}\", \"{{steps.a.state}}\"] }\n  e: { exec: [echo, \"{{default steps.a.x 7}}\"] }\n",
    );
    let of = |name: &str, kind| vec![(name.to_owned(), kind)];
    assert_eq!(needs(&plan, "c"), [of("b", NeedKind::Success), of("a", NeedKind::End)].concat());
    assert_eq!(needs(&plan, "d"), of("a", NeedKind::Output));
    assert_eq!(needs(&plan, "e"), of("a", NeedKind::Success));
}

#[test]
fn needs_of_inner_steps_are_hoisted_to_the_group() {
    let plan = good(
        "steps:\n  list: { run: 'true', outputs: { names: { from: stdout, as: lines } } }\n  gate_keeper: { run: 'true' }\n  each:\n    for_each: \"{{steps.list.names}}\"\n    steps:\n      dump: { needs: [gate_keeper], exec: [dump, \"{{item}}\"] }\n      load: { needs: [dump], exec: [load, \"{{item}}\"] }\n  after: { needs: [each], run: 'true' }\n",
    );
    assert_eq!(
        needs(&plan, "each"),
        [("list".to_owned(), NeedKind::Output), ("gate_keeper".to_owned(), NeedKind::Success)]
    );
    assert_eq!(needs(&plan, "dump"), []);
    assert_eq!(needs(&plan, "load"), [("dump".to_owned(), NeedKind::Success)]);
}

#[test]
fn a_step_inherits_what_its_gates_need() {
    let plan = good(
        "gates:\n  room: { disk: { path: \"{{steps.make.dir}}\", free_above: 10% } }\nsteps:\n  make: { run: 'echo dir=/x >> $FLOWRUN_OUTPUT' }\n  dump: { gates: room, run: 'true' }\n  hold: { wait: [room] }\n",
    );
    assert_eq!(needs(&plan, "dump"), [("make".to_owned(), NeedKind::Output)]);
    assert_eq!(needs(&plan, "hold"), [("make".to_owned(), NeedKind::Output)]);
    assert!(matches!(step(&plan, "hold").body, Body::Wait));
}

#[test]
fn finally_sees_the_steps_without_waiting_for_them() {
    let plan = good(
        "steps:\n  a: { run: 'true', outputs: { x: { from: stdout } } }\nfinally:\n  mail: { when: \"{{eq run.state 'failed'}}\", exec: [echo, \"{{steps.a.x}}\"] }\n  last: { needs: [mail], run: 'true' }\n",
    );
    assert_eq!(needs(&plan, "mail"), []);
    assert_eq!(needs(&plan, "last"), [("mail".to_owned(), NeedKind::Success)]);
    assert_eq!(plan.blocks[0].finally.len(), 2);
}

#[test]
fn positions_are_the_same_in_the_core() {
    let plan = good(
        "pools: { p: 2 }\nsteps:\n  g:\n    for_each: [1, 2]\n    when: \"{{eq item 1}}\"\n    max_parallel: 1\n    max_failures: 10%\n    steps:\n      a: { pool: p, run: 'true', when: \"{{eq item 2}}\" }\n  z: { run: 'true', when: \"{{eq 1 1}}\" }\n",
    );
    let compiled = plan.compile(&Sizes { pools: vec![2], ..Sizes::default() });
    for (ours, cores) in plan.steps.iter().zip(&compiled.steps) {
        assert_eq!(*ours.name, *cores.name);
    }
    assert!(
        compiled.steps[0].resolve && compiled.steps[0].resolve_item,
        "a `when` about `item` is asked for each item"
    );
    assert_eq!(compiled.pools[0].size, 2);
}

#[test]
fn words_of_yaml_1_1_are_text() {
    let plan = good("name: on\nsteps:\n  a: { run: no, env: { A: 22:30, B: 0644, C: yes, D: 1_000, E: true } }\n");
    assert_eq!(plan.contexts[0].name, "on");
    let env: Vec<&str> = step(&plan, "a").env.iter().map(|(_, value)| value.source()).collect();
    assert_eq!(env, ["22:30", "0644", "yes", "1_000", "true"]);
}

#[test]
fn defaults_stand_behind_the_step() {
    let plan = good(
        "defaults: { timeout: 5m, env: { A: '1', B: '2' }, retry: { attempts: 3 } }\nsteps:\n  a: { run: 'true', timeout: 1h, env: { A: '9' } }\n  b: { run: 'true' }\n",
    );
    assert_eq!(step(&plan, "a").timeout_ms, Some(3_600_000));
    assert_eq!(step(&plan, "b").timeout_ms, Some(300_000));
    assert_eq!(step(&plan, "b").retry.attempts, 3);
    let env: Vec<(&str, &str)> =
        step(&plan, "a").env.iter().map(|(name, value)| (name.as_str(), value.source())).collect();
    assert_eq!(env, [("B", "2"), ("A", "9")]);
}

#[test]
fn a_pinned_plan_is_read_from_its_texts_alone() {
    let text = "steps:\n  a: { run: 'true' }\n";
    let loaded = read(text);
    let root = loaded.sources.files()[0].path.clone();
    let pinned = serde_json::to_string(&loaded.sources).expect("sources are data");
    let sources = serde_json::from_str(&pinned).expect("sources are data");
    let again = flowrun_engine::plan::load_pinned(&sources, &root, &crate::types::registry());
    assert!(again.plan.is_some());
    assert_eq!(again.sources.files()[0].digest, loaded.sources.files()[0].digest);
}

#[test]
fn merged_and_aliased_maps_are_written_out() {
    let plan = good("steps:\n  a: &a { run: 'true', timeout: 5m }\n  b:\n    <<: *a\n    timeout: 6m\n  c: *a\n");
    let times: Vec<Option<u64>> = plan.steps.iter().map(|step| step.timeout_ms).collect();
    assert_eq!(times, [Some(300_000), Some(360_000), Some(300_000)]);
}

#[test]
fn a_plan_that_calls_another_has_its_steps_in_a_block_of_their_own() {
    let plan = good(
        "steps:\n  sub: { uses: ./lib/good.yaml, with: { database: acme } }\n  after: { exec: [echo, \"{{steps.sub.file}}\"] }\n",
    );
    assert_eq!(plan.contexts.len(), 2);
    assert!(matches!(step(&plan, "sub").body, Body::Plan { .. }));
    assert_eq!(needs(&plan, "after"), [("sub".to_owned(), NeedKind::Output)]);
}

#[test]
fn the_sample_of_the_contract_is_matched_to_the_byte() {
    let text = "steps:\n  dump:\n    run: mydumper\n\n\n\n\n\n\n\n\n\n\n\n  restore:\n    needs:\n      - dmup\n    run: myloader\n";
    let said = rendered(&read(text));
    let sample = "error[E0203]: step `restore` needs `dmup`, which does not exist\n  --> plan.yaml:17:9\n   |\n15 |   restore:\n   |   ------- in this step\n16 |     needs:\n17 |       - dmup\n   |         ^^^^ no such step\n   = help: did you mean `dump`?\n";
    assert_eq!(said, sample);
    assert_eq!(codes::UNKNOWN_NEED, "E0203");
}
