//! How fast the journal is. Run by hand, in release: `cargo test --release --test store_speed -- --ignored --nocapture`.

use flowrun_core::event::{AttemptId, Event, NodeId, Outcome, UnitState};
use flowrun_engine::paths::RunDir;
use flowrun_engine::store::{Entry, Journal, NodeKind, NodeRow, Reader, RunMeta};
use serde_json::{Value, json};
use std::sync::mpsc;
use std::time::Instant;

const ITEMS: u32 = 132_000;

fn meta() -> RunMeta {
    RunMeta {
        id: "7f3a".to_owned(),
        plan_name: "speed".to_owned(),
        plan_path: "/plans/speed.yaml".to_owned(),
        identity: "0".to_owned(),
        params: Value::Null,
        given: Value::Null,
        env: std::collections::BTreeMap::new(),
        cwd: "/".to_owned(),
        created_ms: 0,
        flowrun_version: "0.1.0".to_owned(),
    }
}

fn row(node: u32, state: UnitState) -> NodeRow {
    NodeRow {
        node,
        parent: 1,
        address: format!("work/{node:06}"),
        kind: NodeKind::Item,
        state,
        attempts: 1,
        started: Some(1_700_000_000_000),
        ended: (state == UnitState::Succeeded).then_some(1_700_000_000_100),
        error: None,
        outputs: None,
        totals: None,
    }
}

fn ordered(node: u32) -> Entry {
    let id = AttemptId { node: NodeId(node), attempt: 1 };
    Entry { event: Event::Ordered { id }, rows: vec![row(node, UnitState::Running)], inputs: None }
}

fn ended(node: u32) -> Entry {
    let id = AttemptId { node: NodeId(node), attempt: 1 };
    let event = Event::Ended { id, outcome: Outcome::Succeeded { outputs: None }, started: Some(1_700_000_000_000) };
    Entry { event, rows: vec![row(node, UnitState::Succeeded)], inputs: None }
}

#[test]
#[ignore = "measures; says nothing about right or wrong"]
fn speed_of_the_journal() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let run = RunDir(directory.path().into());
    let journal = Journal::create(&run, &meta(), &[]).expect("a journal");
    let (tell, told) = mpsc::channel();
    let ahead = std::env::var("AHEAD").ok().and_then(|n| n.parse().ok()).unwrap_or(64);
    let cpu = cpu_seconds();
    let begun = Instant::now();
    let mut seq = 0;
    let mut in_flight = 0;
    // As a driver with 64 slots: an item is ordered and its outcome recorded, at most 64 messages ahead.
    for node in 2..ITEMS + 2 {
        for entry in [ordered(node), ended(node)] {
            let tell = tell.clone();
            let done = Box::new(move |written: Result<u64, _>| {
                tell.send(written.expect("written")).expect("heard");
            });
            journal.append(seq, 1_700_000_000_000, vec![entry], done);
            seq += 1;
            in_flight += 1;
            if in_flight >= ahead {
                told.recv().expect("an answer");
                in_flight -= 1;
            }
        }
    }
    for _ in 0..in_flight {
        told.recv().expect("an answer");
    }
    let took = begun.elapsed();
    println!("{seq} events, {ahead} in flight: {:.0} a second, {took:.2?}", seq as f64 / took.as_secs_f64());
    println!("processor: {:.1} µs an event, with its row", (cpu_seconds() - cpu) * 1e6 / seq as f64);

    let begun = Instant::now();
    for extra in 0..200_u32 {
        let tell = tell.clone();
        journal.append(
            seq,
            0,
            vec![ordered(ITEMS + 10 + extra)],
            Box::new(move |written| tell.send(written.expect("written")).expect("heard")),
        );
        seq = told.recv().expect("an answer");
    }
    println!("one event a commit: {:.2?} each", begun.elapsed() / 200);
    println!("resident: {} KiB", resident());
    let begun = Instant::now();
    journal.close().expect("a clean end");
    println!("close: {:.2?}; file {} KiB", begun.elapsed(), run.journal().metadata().expect("there").len() / 1024);

    let begun = Instant::now();
    let journal = Journal::open(&run).expect("opened");
    println!("open: {:.2?}", begun.elapsed());
    let mut count = 0_u64;
    let last = journal.replay(|_, _, _| count += 1).expect("replayed");
    println!("open, check and replay of {count}: {:.2?}", begun.elapsed());
    assert_eq!(last, seq);
    let begun = Instant::now();
    let reader = Reader::open(&run).expect("opened");
    println!("reader: {:?} in {:.2?}", reader.counts(1).expect("counted"), begun.elapsed());

    let items: Vec<Value> = (0..ITEMS).map(|n| json!({"name": format!("db{n}"), "bytes": n})).collect();
    let keys = (0..ITEMS).map(|n| format!("db{n}").into_boxed_str()).collect();
    let event = Event::FannedOut { node: NodeId(1), keys, order: (0..ITEMS).collect(), items };
    let begun = Instant::now();
    journal.append(seq, 0, vec![Entry::bare(event)], Box::new(move |w| tell.send(w.expect("written")).expect("heard")));
    told.recv().expect("an answer");
    println!("a fan-out of {ITEMS}: {:.2?}; resident {} KiB", begun.elapsed(), resident());
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a line");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    let ticks = |at| fields.split(' ').nth(at).and_then(|n: &str| n.parse::<f64>().ok()).expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}
