use super::views::{Counts, Driven, ItemCounts, ItemLine, RunLine, RunWord, StatusView, StepLine, WaitingLine};
use super::{Look, runs, status};
use flowrun_core::event::{RunState, UnitState};
use jiff::tz::TimeZone;
use serde_json::json;

const START: u64 = 1_760_000_000_000;

fn look(width: Option<usize>) -> Look {
    Look { width, color: false, unicode: true, zone: TimeZone::UTC, now: START + 7_500_000 }
}

fn counts(of: &[(UnitState, u32)]) -> Counts {
    Counts(of.iter().copied().collect())
}

fn some_runs() -> Vec<RunLine> {
    let run = |id: &str, plan: &str, state, ended, steps: &[(UnitState, u32)]| RunLine {
        id: id.into(),
        plan: plan.into(),
        state,
        started: Some(START),
        ended,
        steps: counts(steps),
    };
    vec![
        run(
            "7f3a2c",
            "dump-restore",
            RunWord::Running,
            None,
            &[(UnitState::Succeeded, 5), (UnitState::Running, 1), (UnitState::Pending, 3)],
        ),
        run(
            "41bb07",
            "夜間バックアップ",
            RunWord::Failed,
            Some(START + 4_320_000),
            &[(UnitState::Succeeded, 8), (UnitState::Failed, 1)],
        ),
        run("0c9d11", "tiny", RunWord::Succeeded, Some(START + 420), &[(UnitState::Succeeded, 1)]),
    ]
}

fn step(id: &str, state: UnitState) -> StepLine {
    StepLine {
        id: id.into(),
        state,
        attempts: 1,
        started: Some(START),
        ended: Some(START + 192_000),
        outputs: None,
        error: None,
        items: None,
        waiting: None,
    }
}

fn item(address: &str, state: UnitState, error: Option<&str>) -> ItemLine {
    ItemLine {
        address: address.into(),
        state,
        attempts: 3,
        started: Some(START),
        ended: None,
        outputs: Some(json!({"bytes": 12})),
        error: error.map(str::to_owned),
    }
}

fn view(items: bool) -> StatusView {
    let restored = counts(&[(UnitState::Succeeded, 6), (UnitState::Failed, 2), (UnitState::Pending, 4)]);
    StatusView {
        id: "7f3a2c".into(),
        plan: "dump-restore".into(),
        state: RunWord::of(RunState::Running, Driven::ByNobody),
        params: json!({"host": "db1", "threads": 4}),
        started: Some(START),
        ended: None,
        paused: None,
        steps: vec![
            step("install", UnitState::Succeeded),
            StepLine {
                items: Some(ItemCounts(restored)),
                error: Some("2 of 12 items failed".into()),
                ended: None,
                ..step("restore", UnitState::Failed)
            },
            StepLine {
                attempts: 0,
                started: None,
                ended: None,
                waiting: Some(WaitingLine { gate: Some("quiet".into()), reason: "load 5.31, needs < 2".into() }),
                ..step("verify", UnitState::Waiting)
            },
            StepLine { attempts: 0, started: None, ended: None, ..step("report", UnitState::Pending) },
        ],
        items: items.then(|| {
            vec![
                item("restore/acme", UnitState::Failed, Some("`myloader` ended with exit code 1")),
                item("restore/globex", UnitState::Running, None),
            ]
        }),
    }
}

#[test]
fn the_list_of_runs() {
    insta::assert_snapshot!(
        [None, Some(80), Some(40), Some(5)].map(|width| runs(&some_runs(), &look(width))).join("---\n")
    );
}

#[test]
fn no_runs_are_said_to_be_none() {
    assert_eq!(runs(&[], &look(None)), "no runs yet\n");
}

#[test]
fn the_status_of_a_run() {
    insta::assert_snapshot!(
        [None, Some(80), Some(40), Some(5)].map(|width| status(&view(false), &look(width))).join("---\n")
    );
}

#[test]
fn the_status_of_a_run_with_items() {
    insta::assert_snapshot!(status(&view(true), &look(None)));
}

#[test]
fn the_json_of_runs() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&some_runs()).unwrap());
}

#[test]
fn the_json_of_a_status() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&view(true)).unwrap());
    assert!(!serde_json::to_string(&view(false)).unwrap().contains("restore/acme"));
}

#[test]
fn a_run_that_nobody_drives_is_interrupted() {
    let cases = [
        (RunState::Running, Driven::ByNobody, "interrupted"),
        (RunState::Running, Driven::BySomebody, "running"),
        (RunState::Running, Driven::AwaitsPerson, "waiting"),
        (RunState::Failed, Driven::ByNobody, "failed"),
        (RunState::Succeeded, Driven::ByNobody, "succeeded"),
        (RunState::Cancelled, Driven::ByNobody, "cancelled"),
    ];
    for (state, driven, word) in cases {
        assert_eq!(RunWord::of(state, driven).word(), word);
        assert_eq!(serde_json::to_value(RunWord::of(state, driven)).unwrap(), word);
    }
}
