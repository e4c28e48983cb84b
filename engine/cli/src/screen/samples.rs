//! Situations of a run, for the tests of screens.
//! Unaware of how they are drawn.

use flowrun_core::event::{Failure, FailureClass, Final, RunState};
use flowrun_engine::driver::snapshot::{Fan, Notice, Running, Snapshot, Waiting};
use flowrun_sdk::Progress;
use std::collections::BTreeMap;

/// The time of every sample.
pub const NOW: u64 = 1_760_000_000_000;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

fn counts(of: &[(&str, u32)]) -> BTreeMap<String, u32> {
    of.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
}

fn run(ago: u64, of: &[(&str, u32)]) -> Snapshot {
    Snapshot {
        run: "7f3a2c".into(),
        plan: "dump-restore".into(),
        state: RunState::Running,
        started: NOW - ago,
        now: NOW,
        paused: None,
        counts: counts(of),
        running: Vec::new(),
        running_more: 0,
        fans: Vec::new(),
        waiting: Vec::new(),
    }
}

fn running(address: &str, ago: u64) -> Running {
    Running { address: address.into(), attempt: 1, started: NOW - ago, progress: None, serving: false, expected: None }
}

fn with(address: &str, ago: u64, done: f64, total: f64, unit: &str) -> Running {
    Running { progress: Some(Progress { done, total: Some(total), unit: unit.into() }), ..running(address, ago) }
}

fn waiting(address: &str, count: u32, reason: &str, ago: u64) -> Waiting {
    Waiting { address: address.into(), count, gate: None, reason: reason.into(), since: NOW - ago }
}

/// All situations, by name.
pub fn all() -> Vec<(&'static str, Snapshot)> {
    vec![
        ("single_step", single()),
        (
            "single_step_that_knows_nothing",
            Snapshot {
                running: vec![running("install", 8 * SECOND)],
                ..run(9 * SECOND, &[("running", 1), ("pending", 3)])
            },
        ),
        ("fan_of_400", fan()),
        ("waiting_on_gates", gates()),
        ("retry", retry()),
        ("failure", failure()),
        ("background_services", services()),
        ("paused", Snapshot { paused: Some("flowrun pause by ada".into()), ..fan() }),
        (
            "ended",
            Snapshot { state: RunState::Failed, ..run(26 * HOUR, &[("succeeded", 7), ("failed", 1), ("skipped", 1)]) },
        ),
        ("many_fans_and_groups", many()),
        ("wide_names", wide()),
    ]
}

fn single() -> Snapshot {
    Snapshot {
        running: vec![with("archive", 3 * MINUTE + 12 * SECOND, 4.2e9, 9.1e9, "bytes")],
        ..run(4 * MINUTE, &[("succeeded", 2), ("running", 1), ("pending", 1)])
    }
}

/// 400 items.
pub fn fan() -> Snapshot {
    let mut items: Vec<Running> = vec![
        with("dump/acme", 72 * MINUTE, 46.0, 100.0, "%"),
        with("dump/customers_of_the_north", 41 * MINUTE, 212.0, 1310.0, "tables"),
        running("dump/globex", 12 * MINUTE + 3 * SECOND),
        Running { expected: Some(9 * MINUTE), ..running("dump/hooli", 6 * MINUTE) },
        Running { expected: Some(2 * MINUTE), ..running("dump/initech", 4 * MINUTE) },
        running("dump/umbrella", 59 * SECOND),
    ];
    items.push(running("dump/new_1", SECOND));
    items.push(running("dump/new_2", SECOND / 2));
    Snapshot {
        running: items,
        fans: vec![Fan {
            address: "dump".into(),
            total: 400,
            counts: counts(&[("succeeded", 112), ("failed", 3), ("running", 8), ("waiting", 2), ("pending", 275)]),
            started: NOW - 72 * MINUTE,
            weight: Some((360.0, 1000.0)),
        }],
        ..run(73 * MINUTE, &[("succeeded", 5), ("running", 1), ("pending", 3)])
    }
}

fn gates() -> Snapshot {
    Snapshot {
        running: vec![with("dump/acme", 3 * MINUTE, 3.0, 120.0, "tables")],
        fans: vec![Fan {
            address: "dump".into(),
            total: 20,
            counts: counts(&[("running", 1), ("waiting", 19)]),
            started: NOW - 3 * MINUTE,
            weight: None,
        }],
        waiting: vec![
            waiting("dump/beta", 19, "load 5.31, needs < 2", 2 * MINUTE + 50 * SECOND),
            waiting("verify", 1, "window opens at 22:00", 11 * HOUR),
            waiting("upload", 4, "pool uplink is full (4 of 4)", 30 * HOUR),
        ],
        ..run(30 * HOUR, &[("succeeded", 1), ("running", 1), ("waiting", 5), ("pending", 2)])
    }
}

fn retry() -> Snapshot {
    Snapshot {
        running: vec![Running { attempt: 3, ..with("copy", 20 * SECOND, 1.0, 12.0, "files") }],
        waiting: vec![waiting("import", 1, "retry in 8s", 52 * SECOND)],
        ..run(10 * MINUTE, &[("succeeded", 1), ("running", 1), ("waiting", 1)])
    }
}

/// A fan-out of 12 items of which some failed.
pub fn failure() -> Snapshot {
    Snapshot {
        running: vec![running("restore/acme", 90 * SECOND)],
        fans: vec![Fan {
            address: "restore".into(),
            total: 12,
            counts: counts(&[("succeeded", 6), ("failed", 2), ("lost", 1), ("running", 1), ("pending", 2)]),
            started: NOW - 10 * MINUTE,
            weight: None,
        }],
        ..run(HOUR, &[("succeeded", 3), ("failed", 1), ("running", 1), ("lost", 1), ("skipped", 2)])
    }
}

/// Two services and a step.
pub fn services() -> Snapshot {
    let serving = |address: &str| Running { serving: true, ..running(address, 40 * MINUTE) };
    Snapshot {
        running: vec![serving("source"), serving("target"), running("fill", 4 * MINUTE)],
        ..run(41 * MINUTE, &[("succeeded", 4), ("running", 3), ("pending", 5)])
    }
}

fn many() -> Snapshot {
    let mut snapshot = run(2 * HOUR, &[("running", 6), ("pending", 2)]);
    for group in 0..6 {
        let address = format!("region_{group}");
        snapshot.fans.push(Fan {
            address: address.clone(),
            total: 30,
            counts: counts(&[("succeeded", 10 + group), ("running", 10), ("pending", 10)]),
            started: NOW - 2 * HOUR,
            weight: None,
        });
        for item in 0_u32..10 {
            let progress = Some(Progress { done: f64::from(item * 7), total: Some(70.0), unit: String::new() });
            snapshot.running.push(Running {
                progress,
                ..running(&format!("{address}/db{item}/restore"), HOUR - u64::from(item) * MINUTE)
            });
        }
    }
    snapshot.running_more = 36;
    snapshot.running.sort_by_key(|running| running.started);
    for pool in 0..8 {
        snapshot.waiting.push(waiting(
            &format!("region_{pool}/x"),
            3,
            &format!("pool p{pool} is full (4 of 4)"),
            MINUTE,
        ));
    }
    snapshot
}

fn wide() -> Snapshot {
    Snapshot {
        plan: "夜間バックアップ".into(),
        running: vec![
            with("dump/顧客データベース_東京_本番", 5 * MINUTE, 5.0, 10.0, "テーブル"),
            with("dump/naïve\x1b[31m_café", 5 * MINUTE, 5.0, 10.0, "x"),
        ],
        waiting: vec![waiting("dump/日本", 1, "ロード 5.31\nneeds < 2", MINUTE)],
        ..run(HOUR, &[("running", 1)])
    }
}

/// A run as it goes on: 150 ticks of 200 ms.
pub fn played(began: u64, tick: u64) -> Snapshot {
    let mut snapshot = run(0, &[("succeeded", 2), ("running", 3), ("pending", 4)]);
    let now = began + tick * 200;
    snapshot.started = began;
    let done = u32::try_from(tick).unwrap_or(u32::MAX) * 2;
    snapshot.fans.push(Fan {
        address: "dump".into(),
        total: 400,
        counts: counts(&[("succeeded", done), ("running", 8), ("failed", done / 90)]),
        started: began,
        weight: None,
    });
    for item in 0..8_u32 {
        let turn = 20 + u64::from(item) * 7;
        let progress = Progress { done: f64::from(item * 13) + 10.0, total: Some(120.0), unit: "tables".into() };
        let started = began + tick / turn * turn * 200;
        let address = format!(
            "dump/{}",
            ["acme", "globex", "hooli", "initech", "umbrella", "wayne", "stark_industries", "x"][item as usize]
        );
        snapshot.running.push(Running {
            progress: (item % 2 == 0).then_some(progress),
            started,
            ..running(&address, 0)
        });
    }
    let total = Progress { done: 30e6 * f64::from(done), total: Some(9.1e9), unit: "bytes".into() };
    snapshot.running.push(Running { progress: Some(total), started: began, ..running("archive", 0) });
    snapshot.running.push(Running { serving: true, started: began, ..running("source", 0) });
    if tick % 60 > 20 {
        let reason = format!("load {:.2}, needs < 2", 5.31 - f64::from(done % 60) / 30.0);
        snapshot.waiting.push(Waiting { since: now - tick % 60 * 200, ..waiting("restore/acme", 18, &reason, 0) });
    }
    snapshot.running.sort_by_key(|running| running.started);
    snapshot
}

/// An item that failed, as it is told.
pub fn failures() -> Vec<Notice> {
    vec![Notice::Settled {
        address: "dump/acme".into(),
        item: true,
        state: Final::Failed,
        attempts: 3,
        took: Some(192_000),
        reason: None,
        failure: Some(Failure {
            class: FailureClass::Permanent,
            exit: Some(1),
            timed_out: false,
            message: "`mydumper` ended with exit code 1".into(),
            hint: Some("grant `RELOAD` to the user of the dump".into()),
        }),
        tail: Some("** Message: connected\n** CRITICAL: Access denied; you need the RELOAD privilege for this operation, which is a rather long line that wraps\n".into()),
        log: Some("/var/lib/flowrun/runs/7f3a2c/logs/dump/acme.3.log".into()),
        at: NOW,
    }]
}

/// Before the driver has said anything.
pub fn unknown() -> Snapshot {
    Snapshot { run: String::new(), plan: String::new(), started: 0, now: 0, ..run(0, &[]) }
}
