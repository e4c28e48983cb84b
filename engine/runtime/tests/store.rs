//! The journal against the world: killed writers, torn and foreign files, a second driver, a full and a read-only disk.
//!
//! Faults that need another process or another mount run this test binary again, as `child`; each test proves that its
//! fault fired.
#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "children tell their test on stdout; a test stops at what it did not expect"
)]

use flowrun_core::event::{AttemptId, Event, NodeId, Outcome, RunState, UnitState};
use flowrun_engine::paths::{RunDir, StateDir};
use flowrun_engine::store::{
    DriverLock, Entry, Health, Index, Journal, NodeKind, NodeRow, PinnedFile, Reader, RunMeta, StateError, StoreError,
    Written, is_live, statedir,
};
use serde_json::{Value, json};
use std::io::{BufRead as _, Read as _, Seek as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn meta() -> RunMeta {
    RunMeta {
        id: "7f3a".to_owned(),
        plan_name: "dump".to_owned(),
        plan_path: "/plans/dump.yaml".to_owned(),
        identity: "d1".to_owned(),
        params: json!({"threads": 4}),
        given: json!({}),
        env: [("HOME".to_owned(), "/root".to_owned())].into(),
        cwd: "/".to_owned(),
        created_ms: 17,
        flowrun_version: "0.1.0".to_owned(),
    }
}

fn pin(text: &str) -> PinnedFile {
    PinnedFile { path: "/plans/dump.yaml".to_owned(), text: text.to_owned(), digest: format!("of {text}") }
}

fn id(node: u32) -> AttemptId {
    AttemptId { node: NodeId(node), attempt: 1 }
}

fn row(node: u32, parent: u32, state: UnitState) -> NodeRow {
    NodeRow {
        node,
        parent,
        address: format!("step{node}"),
        kind: if parent == 0 { NodeKind::Step } else { NodeKind::Item },
        state,
        attempts: 1,
        started: Some(5),
        ended: None,
        error: None,
        outputs: Some(json!({"rows": node})),
        totals: None,
    }
}

fn ordered(node: u32) -> Entry {
    Entry {
        event: Event::Ordered { id: id(node) },
        rows: vec![row(node, 0, UnitState::Running)],
        inputs: Some((id(node), json!({"run": "true"}))),
    }
}

fn ended(node: u32) -> Entry {
    let event = Event::Ended { id: id(node), outcome: Outcome::Succeeded { outputs: None }, started: None };
    Entry { event, rows: vec![row(node, 0, UnitState::Succeeded)], inputs: None }
}

fn directory() -> (tempfile::TempDir, RunDir) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let run = RunDir(directory.path().into());
    (directory, run)
}

/// Appends and waits for the answer.
fn append(journal: &Journal, expected: u64, entries: Vec<Entry>) -> Written {
    let (tell, told) = mpsc::channel();
    journal.append(expected, 9, entries, Box::new(move |written| tell.send(written).expect("heard")));
    told.recv().expect("an answer")
}

fn events(journal: &Journal) -> Vec<(u64, Event)> {
    let mut events = Vec::new();
    let last = journal.replay(|seq, _, event| events.push((seq, event))).expect("replayed");
    assert_eq!(last, events.last().map_or(0, |(seq, _)| *seq));
    events
}

// A journal's life.

#[test]
fn what_was_appended_comes_back_in_order_after_a_reopening() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[pin("a")]).expect("made");
    assert_eq!(append(&journal, 0, vec![Entry::bare(Event::Started), ordered(1)]), Ok(2));
    assert_eq!(append(&journal, 2, vec![ended(1)]), Ok(3));
    journal.close().expect("a clean end");
    let journal = Journal::open(&run).expect("opened");
    let expected = [Event::Started, ordered(1).event, ended(1).event];
    assert_eq!(events(&journal), (1..).zip(expected).collect::<Vec<_>>());
    assert_eq!((journal.meta(), journal.pins()), (&meta(), Ok(vec![pin("a")])));
    assert_eq!(journal.inputs(id(1)), Ok(Some(json!({"run": "true"}))));
}

#[test]
fn a_clean_end_leaves_one_private_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let (directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[]).expect("made");
    append(&journal, 0, vec![Entry::bare(Event::Started)]).expect("written");
    let modes = |path: &Path| -> Vec<(String, u32)> {
        let mut files: Vec<_> = std::fs::read_dir(path)
            .expect("listed")
            .flatten()
            .map(|f| {
                let mode = f.metadata().expect("there").permissions().mode() & 0o777;
                (f.file_name().to_string_lossy().into_owned(), mode)
            })
            .collect();
        files.sort();
        files
    };
    assert!(modes(directory.path()).iter().all(|(_, mode)| *mode == 0o600), "{:?}", modes(directory.path()));
    journal.close().expect("a clean end");
    assert_eq!(modes(directory.path()), [("journal.db".to_owned(), 0o600)]);
}

#[test]
fn notes_are_kept_in_the_order_in_which_they_were_made() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[]).expect("made");
    let (tell, told) = mpsc::channel();
    for (attempt, key) in [(1, "connection"), (2, "connection"), (2, "file")] {
        let (tell, id) = (tell.clone(), AttemptId { node: NodeId(3), attempt });
        journal.note(id, key, json!(attempt), 8, Box::new(move |written| tell.send(written).expect("heard")));
        assert_eq!(told.recv().expect("an answer"), Ok(0), "a note is no event");
    }
    let notes: Vec<_> = journal.notes(3).expect("read").into_iter().map(|n| (n.id.attempt, n.key, n.value)).collect();
    let expected = [(1, "connection", 1), (2, "connection", 2), (2, "file", 2)];
    assert_eq!(notes, expected.map(|(attempt, key, value)| (attempt, key.to_owned(), json!(value))));
    assert_eq!(journal.notes(4), Ok(Vec::new()));
}

#[test]
fn an_accepted_change_brings_its_plan_files_in_the_transaction_of_its_event() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[pin("a")]).expect("made");
    append(&journal, 0, vec![Entry::bare(Event::Started), ordered(1), ordered(2)]).expect("written");
    let (tell, told) = mpsc::channel();
    let change =
        Entry { event: Event::Replanned { kept: Vec::new() }, rows: vec![row(7, 0, UnitState::Pending)], inputs: None };
    journal.put_pins(3, 9, vec![change], vec![pin("b")], Box::new(move |w| tell.send(w).expect("heard")));
    assert_eq!(told.recv().expect("an answer"), Ok(4));
    assert_eq!(journal.epoch(), Ok(1));
    assert_eq!((journal.pins(), journal.pins_of(0)), (Ok(vec![pin("b")]), Ok(vec![pin("a")])));
    let steps = Reader::open(&run).expect("opened").steps().expect("read");
    assert_eq!(steps, [row(7, 0, UnitState::Pending)], "the old plan's nodes are gone");
}

#[test]
fn notes_move_with_their_addresses_when_the_plan_changes() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[pin("a")]).expect("made");
    append(&journal, 0, vec![Entry::bare(Event::Started), ordered(1), ordered(2), ordered(3)]).expect("written");
    let (tell, told) = mpsc::channel();
    for node in 1..=3 {
        let (tell, id) = (tell.clone(), AttemptId { node: NodeId(node), attempt: 1 });
        journal.note(id, "key", json!(node), 8, Box::new(move |written| tell.send(written).expect("heard")));
        told.recv().expect("an answer").expect("written");
    }
    // The first two change their numbers, the third is gone.
    let moved = |to: u32, from: u32| NodeRow { node: to, ..row(from, 0, UnitState::Failed) };
    let change =
        Entry { event: Event::Replanned { kept: Vec::new() }, rows: vec![moved(2, 1), moved(1, 2)], inputs: None };
    journal.put_pins(4, 9, vec![change], vec![pin("b")], Box::new(move |w| tell.send(w).expect("heard")));
    told.recv().expect("an answer").expect("written");
    let notes = |node| journal.notes(node).expect("read").into_iter().map(|note| note.value).collect::<Vec<_>>();
    assert_eq!((notes(1), notes(2), notes(3)), (vec![json!(2)], vec![json!(1)], vec![]));
}

#[test]
fn the_last_row_of_a_node_in_a_commit_is_the_one_that_counts() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[]).expect("made");
    append(&journal, 0, vec![ordered(1), ended(1), ordered(2)]).expect("written");
    let reader = Reader::open(&run).expect("opened");
    assert_eq!(reader.steps(), Ok(vec![row(1, 0, UnitState::Succeeded), row(2, 0, UnitState::Running)]));
    assert_eq!(reader.counts(0).expect("counted"), [("running".to_owned(), 1), ("succeeded".to_owned(), 1)].into());
    assert_eq!(reader.node("step2"), Ok(Some(row(2, 0, UnitState::Running))));
}

#[test]
fn a_reader_beside_a_live_writer_sees_each_commit() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[]).expect("made");
    let reader = Reader::open(&run).expect("opened");
    assert_eq!(reader.run().map(|row| (row.started, row.last_seq)), Ok((None, 0)));
    append(&journal, 0, vec![Entry::bare(Event::Started)]).expect("written");
    append(&journal, 1, vec![Entry::bare(Event::Paused { reason: "disk".into() })]).expect("written");
    let seen = reader.run().expect("read");
    assert_eq!((seen.state, seen.started, seen.paused.as_deref()), (RunState::Running, Some(9), Some("disk")));
    append(&journal, 2, vec![Entry::bare(Event::Finished { state: RunState::Failed })]).expect("written");
    let seen = reader.run().expect("read");
    assert_eq!((seen.state, seen.ended, seen.last_seq), (RunState::Failed, Some(9), 3));
    append(&journal, 3, vec![Entry::bare(Event::Resumed { at: 9 })]).expect("written");
    let seen = reader.run().expect("read");
    assert_eq!((seen.state, seen.ended), (RunState::Running, None));
    let mut texts = Vec::new();
    assert_eq!(reader.events(2, |seq, _, body| texts.push((seq, body.to_owned()))), Ok(4));
    assert_eq!(
        texts,
        [(3, "{\"finished\":{\"state\":\"failed\"}}".to_owned()), (4, "{\"resumed\":{\"at\":9}}".to_owned())]
    );
    assert!(!reader.is_copy());
}

#[test]
fn items_are_read_by_the_page() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[]).expect("made");
    let rows = (2..12).map(|node| row(node, 1, UnitState::Pending)).collect();
    append(&journal, 0, vec![Entry { event: Event::Started, rows, inputs: None }]).expect("written");
    let reader = Reader::open(&run).expect("opened");
    let page =
        |after| -> Vec<u32> { reader.children(1, after, 4).expect("read").into_iter().map(|row| row.node).collect() };
    assert_eq!((page(0), page(5), page(9)), (vec![2, 3, 4, 5], vec![6, 7, 8, 9], vec![10, 11]));
}

#[test]
fn a_long_wal_is_folded_while_the_run_goes_on() {
    let (directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[]).expect("made");
    let big = Value::String("x".repeat(1 << 20));
    for seq in 0..40 {
        let entry = Entry { event: Event::Started, rows: Vec::new(), inputs: Some((id(1), big.clone())) };
        append(&journal, seq, vec![entry]).expect("written");
    }
    // 40 MiB went through it; without a checkpoint all of it would be there.
    let wal = directory.path().join("journal.db-wal").metadata().expect("there").len();
    assert!(wal < 24 << 20, "{wal}");
}

// Who may write.

#[test]
fn a_second_driver_is_refused_and_nothing_of_it_is_written() {
    let (_directory, run) = directory();
    let first = Journal::create(&run, &meta(), &[]).expect("made");
    let second = Journal::open(&run).expect("the lock is somebody else's affair");
    assert_eq!(append(&first, 0, vec![Entry::bare(Event::Started)]), Ok(1));
    let refused = append(&second, 0, vec![Entry::bare(Event::CancelRequested)]);
    assert_eq!(refused, Err(StoreError::SecondDriver { path: run.journal(), expected: 0, found: 1 }));
    assert_eq!(append(&second, 1, vec![ordered(1)]), refused, "it never writes again, whatever it says it knows");
    assert_eq!(second.close(), refused.map(drop));
    assert_eq!(append(&first, 1, vec![ordered(1)]), Ok(2), "the first goes on");
    assert_eq!(events(&first), [(1, Event::Started), (2, ordered(1).event)]);
}

#[test]
fn of_a_batch_the_part_before_a_wrong_number_is_kept() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[]).expect("made");
    let (tell, told) = mpsc::channel();
    for expected in [0, 1, 7, 2] {
        let tell = tell.clone();
        let entry = vec![Entry::bare(Event::Started)];
        journal.append(expected, 9, entry, Box::new(move |written| tell.send(written).expect("heard")));
    }
    let answers: Vec<_> = (0..4).map(|_| told.recv().expect("an answer")).collect();
    let refused = Err(StoreError::SecondDriver { path: run.journal(), expected: 7, found: 2 });
    assert_eq!(answers, [Ok(1), Ok(2), refused.clone(), refused]);
    assert_eq!(events(&journal).len(), 2);
}

#[test]
fn a_run_gets_one_journal() {
    let (_directory, run) = directory();
    let _first = Journal::create(&run, &meta(), &[]).expect("made");
    let refused = Journal::create(&run, &meta(), &[]).expect_err("there is one");
    assert_eq!(refused, StoreError::Exists { path: run.journal() });
}

#[test]
fn a_lock_is_free_as_soon_as_its_holder_is_killed() {
    let (_directory, run) = directory();
    let mut child = child("hold_lock", run.path());
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert!(is_live(&run), "held by the child: {line}");
    assert!(DriverLock::take(&run).is_err());
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(!is_live(&run));
    let _lock = DriverLock::take(&run).expect("free");
}

// Files that are not what they should be.

#[test]
fn a_missing_journal_is_said_to_be() {
    let (_directory, run) = directory();
    let missing = StoreError::Missing { path: run.journal() };
    assert_eq!(Journal::open(&run).expect_err("nothing there"), missing);
    assert_eq!(Reader::open(&run).expect_err("nothing there"), missing);
}

fn set(run: &RunDir, pragma: &str, value: i64) {
    let connection = rusqlite::Connection::open(run.journal()).expect("opened");
    connection.pragma_update(None, pragma, value).expect("set");
}

#[test]
fn a_newer_journal_is_refused_and_left_as_it_is() {
    let (_directory, run) = directory();
    Journal::create(&run, &meta(), &[]).expect("made").close().expect("a clean end");
    set(&run, "user_version", 99);
    let before = std::fs::read(run.journal()).expect("read");
    let Err(StoreError::TooNew { found: 99, .. }) = Journal::open(&run) else { panic!("it is newer") };
    let Err(StoreError::TooNew { found: 99, .. }) = Reader::open(&run) else { panic!("it is newer") };
    assert_eq!(std::fs::read(run.journal()).expect("read"), before);
}

#[test]
fn another_programs_database_is_refused_and_left_as_it_is() {
    let (_directory, run) = directory();
    let other = rusqlite::Connection::open(run.journal()).expect("made");
    other.execute_batch("CREATE TABLE t (x); PRAGMA application_id = 7").expect("filled");
    drop(other);
    let before = std::fs::read(run.journal()).expect("read");
    let refused = StoreError::NotOurs { path: run.journal(), application_id: 7 };
    assert_eq!(Journal::open(&run).expect_err("not ours"), refused);
    assert_eq!(Reader::open(&run).expect_err("not ours"), refused);
    assert_eq!(std::fs::read(run.journal()).expect("read"), before);
}

#[test]
fn garbage_is_refused_as_damaged() {
    let (_directory, run) = directory();
    std::fs::write(run.journal(), "not a database, but long enough for SQLite to have a look at it".repeat(99))
        .expect("written");
    assert!(matches!(Journal::open(&run), Err(StoreError::Damaged { .. })));
    assert!(matches!(Reader::open(&run), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_damaged_page_anywhere_is_found_before_anything_is_written() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[]).expect("made");
    append(&journal, 0, (1..3000).map(ordered).collect()).expect("written");
    journal.close().expect("a clean end");
    let mut file = std::fs::OpenOptions::new().write(true).open(run.journal()).expect("opened");
    let middle = file.metadata().expect("there").len() / 2 / 4096 * 4096;
    file.seek(std::io::SeekFrom::Start(middle)).expect("found");
    file.write_all(&[0xaa; 4096]).expect("damaged");
    let before = std::fs::read(run.journal()).expect("read");
    let journal = Journal::open(&run).expect("its first page is whole");
    let error = journal.replay(|_, _, _| {}).expect_err("damaged");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.hint().contains("backup"), "{}", error.hint());
    assert_eq!(append(&journal, 2999, vec![ordered(1)]), Err(error.clone()));
    assert_eq!(journal.close(), Err(error));
    assert_eq!(std::fs::read(run.journal()).expect("read"), before);
}

#[test]
fn a_gap_in_the_events_is_damage() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[]).expect("made");
    append(&journal, 0, (1..5).map(ordered).collect()).expect("written");
    journal.close().expect("a clean end");
    let connection = rusqlite::Connection::open(run.journal()).expect("opened");
    connection.execute("DELETE FROM events WHERE seq = 2", []).expect("deleted");
    drop(connection);
    let error = Journal::open(&run).expect("it opens").replay(|_, _, _| {}).expect_err("a gap");
    assert!(error.to_string().ends_with("is damaged: event 2 is not there, event 3 is"), "{error}");
}

#[test]
fn an_event_of_the_future_is_named() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[]).expect("made");
    append(&journal, 0, vec![Entry::bare(Event::Started)]).expect("written");
    journal.close().expect("a clean end");
    let connection = rusqlite::Connection::open(run.journal()).expect("opened");
    connection.execute("INSERT INTO events VALUES (2, 0, '{\"teleported\":{}}')", []).expect("inserted");
    drop(connection);
    let error = Journal::open(&run).expect("it opens").replay(|_, _, _| {}).expect_err("unknown");
    assert!(error.to_string().contains("event 2 cannot be read"), "{error}");
}

/// A journal as an earlier flowrun left it must load for ever.
#[test]
fn the_first_format_still_loads() {
    let (_directory, run) = directory();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal-1.db");
    std::fs::copy(fixture, run.journal()).expect("copied");
    let reader = Reader::open(&run).expect("a reader");
    assert_eq!(reader.steps().expect("read").len(), 2);
    let journal = Journal::open(&run).expect("opened");
    assert_eq!(journal.meta(), &meta());
    assert_eq!(journal.pins(), Ok(vec![pin("name: dump\n")]));
    assert_eq!(events(&journal), (1..).zip(every_event()).collect::<Vec<_>>());
    assert_eq!(journal.notes(1).expect("read").len(), 1);
}

/// One of each, so that the fixture holds every kind. The last one is `Finished`.
fn every_event() -> Vec<Event> {
    use flowrun_core::event::{Failure, FailureClass, Final, Verdict};
    let failure = Failure {
        class: FailureClass::Transient,
        exit: Some(1),
        timed_out: true,
        message: "cannot dump `acme`: exit 1".to_owned(),
        hint: Some("look at the log".to_owned()),
    };
    let kept = Event::Settled {
        node: NodeId(1),
        state: Final::Succeeded,
        reason: None,
        outputs: Some(Box::new(json!({"n": 1}))),
    };
    vec![
        Event::Started,
        Event::Resumed { at: 5 },
        Event::FannedOut {
            node: NodeId(1),
            keys: vec!["acme".into(), "b c".into()],
            order: vec![1, 0],
            items: vec![json!("acme"), json!({"name": "b c"})],
        },
        Event::Resolved { node: NodeId(1), values: Some(Box::new(json!({"p": 1}))) },
        Event::Opened { node: NodeId(1) },
        Event::Closing { node: NodeId(1), state: RunState::Failed },
        Event::Ordered { id: id(1) },
        Event::Ready { id: id(1) },
        Event::Lost { id: id(1) },
        Event::Ended { id: id(1), outcome: Outcome::Succeeded { outputs: Some(Box::new(json!(1))) }, started: Some(4) },
        Event::Ended { id: id(1), outcome: Outcome::Failed(Box::new(failure)), started: None },
        Event::Ended { id: id(2), outcome: Outcome::Cancelled, started: None },
        Event::RetryAt { node: NodeId(1), at: 7 },
        Event::Asked { id: id(1), look_at: "the target".to_owned() },
        Event::Settled { node: NodeId(1), state: Final::Failed, reason: Some("because".into()), outputs: None },
        Event::CancelRequested,
        Event::Paused { reason: "disk full".into() },
        Event::Unpaused,
        Event::Marked { node: NodeId(1), verdict: Verdict::Redo, because: "looked".into() },
        Event::Replanned { kept: vec![kept] },
        Event::Finished { state: RunState::Cancelled },
    ]
}

/// Makes the fixture of the newest format. Run once for each format, then never again for that one.
#[test]
#[ignore = "makes a fixture"]
fn make_fixture() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[pin("name: dump\n")]).expect("made");
    let mut entries: Vec<_> = every_event().into_iter().map(Entry::bare).collect();
    let last = entries.last_mut().expect("there are some");
    last.rows = vec![row(1, 0, UnitState::Succeeded), row(2, 0, UnitState::Cancelled)];
    last.inputs = Some((id(1), json!({"run": "true"})));
    append(&journal, 0, entries).expect("written");
    journal.note(id(1), "connection", json!(7), 8, Box::new(|written| assert_eq!(written, Ok(21))));
    journal.close().expect("a clean end");
    let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal-1.db");
    std::fs::create_dir_all(to.parent().expect("a parent")).expect("made");
    std::fs::copy(run.journal(), to).expect("copied");
}

// Crashes.

/// Runs this binary again in a role; what the role does stands in [`child_of_a_test`].
fn command(role: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["child_of_a_test", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("STORE_ROLE", role).env("STORE_DIRECTORY", directory).env_remove("FLOWRUN_CRASH_AT");
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

fn child(role: &str, directory: &Path) -> Child {
    let mut child = command(role, directory).spawn().expect("started");
    // The harness writes its own lines first.
    let stdout = child.stdout.as_mut().expect("piped");
    let mut seen = Vec::new();
    while !seen.ends_with(b"child begins\n") {
        let mut byte = [0_u8];
        stdout.read_exact(&mut byte).expect("it begins");
        seen.push(byte[0]);
    }
    child
}

#[test]
#[ignore = "started by other tests"]
fn child_of_a_test() {
    let Some(directory) = std::env::var_os("STORE_DIRECTORY") else { return };
    let run = RunDir(directory.into());
    println!("\nchild begins");
    match std::env::var("STORE_ROLE").expect("a role").as_str() {
        "write" => write_for_ever(&run),
        "twenty" => write_twenty(&run),
        "hold_lock" => {
            let _lock = DriverLock::take(&run).expect("taken");
            println!("held");
            std::thread::park();
        }
        "fill_disk" => fill_disk(&run),
        "read_only" => read_only(&run),
        other => panic!("no role {other}"),
    }
}

/// Appends as fast as it can, a few ahead, and writes each acknowledged number to standard output.
fn write_for_ever(run: &RunDir) {
    let journal = Journal::open(run).expect("opened");
    let mut seq = journal.replay(|_, _, _| {}).expect("replayed");
    let (tell, told) = mpsc::channel();
    let mut out = std::io::stdout().lock();
    let mut in_flight = 0;
    loop {
        let tell = tell.clone();
        let entries = vec![ordered(u32::try_from(seq).expect("small")), ended(u32::try_from(seq).expect("small"))];
        journal.append(seq, 9, entries, Box::new(move |written| tell.send(written).expect("heard")));
        seq += 2;
        in_flight += 1;
        while in_flight >= 8 {
            writeln!(out, "{}", told.recv().expect("an answer").expect("written")).expect("told");
            in_flight -= 1;
        }
    }
}

/// Twenty commits, each waited for and told.
fn write_twenty(run: &RunDir) {
    let journal = Journal::open(run).expect("opened");
    let mut seq = journal.replay(|_, _, _| {}).expect("replayed");
    for _ in 0..20 {
        seq = append(&journal, seq, vec![ordered(1), ended(1)]).expect("written");
        println!("{seq}");
    }
}

fn last_number(text: &str) -> u64 {
    // A line that the kill cut short is no acknowledgement.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().rev().find_map(|line| line.trim().parse().ok()).unwrap_or(0)
}

#[test]
fn nothing_acknowledged_is_lost_in_a_storm_of_kills() {
    let (_directory, run) = directory();
    Journal::create(&run, &meta(), &[]).expect("made").close().expect("a clean end");
    let mut told_in_all = 0;
    let mut struck_while_writing = 0;
    for round in 0..30_u64 {
        let mut child = child("write", run.path());
        let mut stdout = child.stdout.take().expect("piped");
        // Lets it acknowledge a varying amount, then strikes in the middle of what comes next.
        let mut said = vec![0_u8; usize::try_from(20 + round * 37 % 900).expect("small")];
        stdout.read_exact(&mut said).expect("it writes");
        std::thread::sleep(Duration::from_micros(round * 211 % 2000));
        child.kill().expect("killed");
        assert_eq!(child.wait().expect("ended").signal(), Some(9), "it died of the kill and of nothing else");
        stdout.read_to_end(&mut said).expect("the rest");
        let told = last_number(&String::from_utf8_lossy(&said));
        let journal = Journal::open(&run).expect("it opens after each kill");
        let last = journal.replay(|_, _, _| {}).expect("replayed");
        assert!(last >= told, "round {round}: {told} was acknowledged, {last} is there");
        assert_eq!(last % 2, 0, "both events of a message or none");
        struck_while_writing += u64::from(last > told);
        told_in_all = told;
        // Left as a crash leaves it: the next child finds a WAL. Closing would fold it.
        std::mem::forget(journal);
    }
    assert!(told_in_all > 100, "{told_in_all}");
    assert!(struck_while_writing > 0, "no kill fell between a commit and its acknowledgement");
}

#[test]
fn every_crash_point_leaves_the_commits_before_it_and_no_other() {
    for side in ["before", "after"] {
        for number in 1..=20_u64 {
            let (_directory, run) = directory();
            Journal::create(&run, &meta(), &[]).expect("made").close().expect("a clean end");
            let crashed = command("twenty", run.path())
                .env("FLOWRUN_CRASH_AT", format!("commit:{side}:{number}"))
                .output()
                .expect("started");
            assert_eq!(crashed.status.signal(), Some(9), "it struck at {side} {number}");
            assert_eq!(last_number(&String::from_utf8_lossy(&crashed.stdout)), (number - 1) * 2);
            let durable = if side == "before" { number - 1 } else { number };
            let journal = Journal::open(&run).expect("opened");
            assert_eq!(journal.replay(|_, _, _| {}), Ok(durable * 2), "{side} {number}");
            assert_eq!(append(&journal, durable * 2, vec![ordered(9)]), Ok(durable * 2 + 1), "it goes on");
        }
    }
}

/// Copies a journal with its WAL, as it is while its writer lives.
fn copy_live(run: &RunDir, to: &RunDir) -> std::path::PathBuf {
    std::fs::copy(run.journal(), to.journal()).expect("copied");
    let wal = to.path().join("journal.db-wal");
    std::fs::copy(run.path().join("journal.db-wal"), &wal).expect("copied");
    wal
}

#[test]
fn a_wal_torn_in_the_middle_of_a_frame_loses_the_torn_commit_alone() {
    let (_directory, run) = directory();
    let journal = Journal::create(&run, &meta(), &[]).expect("made");
    let mut lengths = vec![0];
    for seq in 0..8 {
        append(&journal, seq, vec![ordered(1)]).expect("written");
        lengths.push(run.path().join("journal.db-wal").metadata().expect("there").len());
    }
    let whole = *lengths.last().expect("some");
    let mut cuts = 0;
    for cut in (1..whole).step_by(1777).chain([whole - 1, whole - 4096, whole - 4097]) {
        let (_other, copy) = directory();
        let wal = copy_live(&run, &copy);
        std::fs::OpenOptions::new().write(true).open(wal).expect("opened").set_len(cut).expect("torn");
        let kept = lengths.iter().rposition(|length| *length <= cut).expect("0 is");
        let torn = Journal::open(&copy).expect("it opens");
        assert_eq!(torn.replay(|_, _, _| {}), Ok(kept as u64), "cut at {cut}");
        assert_eq!(append(&torn, kept as u64, vec![ordered(2)]), Ok(kept as u64 + 1), "it goes on");
        cuts += usize::from(!lengths.contains(&cut));
    }
    assert!(cuts > 10, "most cuts fall inside a frame");
}

// Disks.

/// A mount of its own, in a namespace of its own: gone with the process. Needs root, or user namespaces.
fn in_namespace(role: &str, script: &str) -> String {
    let (_directory, run) = directory();
    let inner = command(role, run.path());
    let mut outer = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        outer.args(["--user", "--map-root-user"]);
    }
    outer.args(["--mount", "bash", "-euc", &format!("{script}\nexec \"$0\" \"$@\"")]);
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = outer.output().expect("unshare is there (package util-linux)");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("child begins"), "the child ran: {said}");
    said
}

#[test]
fn a_full_disk_pauses_the_journal_and_loses_nothing() {
    let said = in_namespace("fill_disk", "mount -t tmpfs -o size=16m tmpfs \"$STORE_DIRECTORY\"");
    assert!(said.contains("was low"), "the reserve was used: {said}");
    assert!(said.contains("was full"), "the disk was full: {said}");
    assert!(said.contains("all there"), "{said}");
}

/// Fills the rest of a small filesystem, writes until even the reserve is used, then makes room.
fn fill_disk(run: &RunDir) {
    let journal = Journal::create(run, &meta(), &[]).expect("made");
    let health = journal.health();
    let ballast = run.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).expect("made");
    let full = (0..).find_map(|_| file.write_all(&[1_u8; 1 << 12]).err()).expect("it ends");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "the fault fired");
    let other = RunDir(run.path().join("other"));
    std::fs::create_dir(other.path()).expect("made");
    let refused = Journal::create(&other, &meta(), &[]).expect_err("a run does not begin on a full disk");
    assert_eq!(refused, StoreError::Full { path: other.journal() });
    let (tell, told) = mpsc::channel();
    let (mut sent, mut answered, mut low) = (0_u64, 0, false);
    let begun = Instant::now();
    while !matches!(*health.borrow(), Health::Full(_)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never was full");
        low |= *health.borrow() == Health::Low;
        let tell = tell.clone();
        let padding = Value::String("x".repeat(20_000));
        let entry = Entry { event: Event::Started, rows: Vec::new(), inputs: Some((id(1 + sent as u32), padding)) };
        journal.append(sent, 9, vec![entry], Box::new(move |written| tell.send(written).expect("heard")));
        sent += 1;
        // A few ahead, as a driver is: what waits in memory must find room later.
        while sent - answered > 8 && !matches!(*health.borrow(), Health::Full(_)) {
            answered +=
                told.try_iter().inspect(|written| assert!(written.is_ok(), "no error while it waits")).count() as u64;
            std::thread::yield_now();
        }
    }
    println!("was {}", if low { "low" } else { "never low" });
    println!("was full after {sent}");
    answered += told.try_iter().inspect(|written| assert!(written.is_ok(), "no error while it waits")).count() as u64;
    assert!(answered < sent, "something waits");
    assert_eq!(Reader::open(run).expect("it can be read").run().expect("read").last_seq, answered);
    drop(file);
    std::fs::remove_file(ballast).expect("room");
    journal.retry();
    let mut last = answered;
    while last < sent {
        last = told.recv_timeout(Duration::from_secs(30)).expect("an answer").expect("written");
    }
    journal.close().expect("a clean end");
    let journal = Journal::open(run).expect("opened");
    assert_eq!(journal.replay(|_, _, _| {}), Ok(sent));
    println!("all there");
}

#[test]
fn a_read_only_disk_is_read_as_a_copy_and_refused_for_writing() {
    let script = "mount -t tmpfs -o size=40m tmpfs \"$STORE_DIRECTORY\"";
    let said = in_namespace("read_only", script);
    assert!(said.contains("read all"), "{said}");
}

/// A run that crashed, on a disk that is then mounted read-only: database and WAL are both needed.
fn read_only(run: &RunDir) {
    let journal = Journal::create(run, &meta(), &[]).expect("made");
    append(&journal, 0, vec![Entry::bare(Event::Started), ordered(1)]).expect("written");
    let crashed = RunDir(run.path().join("crashed"));
    std::fs::create_dir(crashed.path()).expect("made");
    let wal = copy_live(run, &crashed);
    assert!(wal.metadata().expect("there").len() > 0, "the events are in the WAL");
    journal.close().expect("a clean end");
    let state = StateDir(run.path().join("state"));
    statedir::prepare(&state).expect("prepared");
    let listed = statedir::create_run(&state, "7f3a").expect("made");
    Journal::create(&listed, &meta(), &[]).expect("made").close().expect("a clean end");
    let mounted = Command::new("mount").args(["-o", "remount,ro"]).arg(run.path()).status().expect("mount");
    assert!(mounted.success());
    let refused = std::fs::write(run.path().join("probe"), "x").expect_err("the fault fired");
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    for run in [run, &crashed] {
        let reader = Reader::open(run).expect("opened");
        assert_eq!(reader.run().expect("read").last_seq, 2);
        assert_eq!(reader.steps().expect("read").len(), 1);
        match Journal::open(run) {
            Err(StoreError::ReadOnly { path, .. }) => assert_eq!(path, run.journal()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(Index::open(&state).expect("in memory").list().expect("a list").len(), 1);
    assert!(matches!(statedir::prepare(&state), Err(StateError::ReadOnly { .. })));
    println!("read all");
}
