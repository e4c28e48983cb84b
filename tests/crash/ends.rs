//! Every other way to end: what happens, which message, and how the run goes on.
//! Each test says what a person sees and does.

use super::strike;
use super::support::{Place, until};
use std::time::{Duration, Instant};

/// A plan with one step that runs until the file `go` is there, and one after it.
fn waiting(place: &Place, more: &str) -> std::path::PathBuf {
    place.plan(
        "waits.yaml",
        &format!(
            "name: waits\nsteps:\n  first:\n    {more}\n    run: |\n      echo start >> '@/starts'\n      \
             for i in 1 2 3; do echo line $i; done\n      until [ -e '@/go' ]; do sleep 0.05; done\n      echo last\n  \
             second:\n    needs: [first]\n    run: touch '@/after'\n"
        ),
    )
}

fn starts(place: &Place) -> usize {
    std::fs::read_to_string(place.path().join("starts")).unwrap_or_default().lines().count()
}

fn begun(place: &Place) {
    until("the step has begun", || (starts(place) > 0).then_some(()));
}

/// A finished run whose journal can be damaged: it has failed, so it can be resumed.
fn failed(place: &Place) -> std::path::PathBuf {
    let plan = place.plan("fails.yaml", "name: fails\nsteps:\n  no: { run: exit 1 }\n");
    assert_eq!(place.flowrun([&plan]).code, 1);
    strike::run_dir(place).expect("a run").journal()
}

fn patch(path: &std::path::Path, at: usize, bytes: &[u8]) {
    let mut all = std::fs::read(path).expect("the journal");
    all[at..at + bytes.len()].copy_from_slice(bytes);
    std::fs::write(path, all).expect("the journal");
}

#[test]
fn a_resume_while_the_first_driver_runs_gives_4_and_starts_nothing() {
    let place = Place::new();
    let first = place.start([waiting(&place, "")]);
    begun(&place);
    let answer = place.flowrun(["resume"]);
    assert_eq!(answer.code, 4, "{answer:?}");
    assert!(answer.err.contains("another process drives this run"), "{}", answer.err);
    place.touch("go");
    assert_eq!((first.wait().code, starts(&place)), (0, 1));
}

#[test]
fn of_two_resumes_at_once_one_drives_and_the_other_gives_4() {
    let place = Place::new();
    let first = place.start([waiting(&place, "")]);
    begun(&place);
    first.crash();
    let both = [place.start(["resume"]), place.start(["resume"])];
    let [mut one, mut two] = both;
    until("one of them has ended", || (!one.runs() || !two.runs()).then_some(()));
    place.touch("go");
    let mut codes = [one.wait().code, two.wait().code];
    codes.sort_unstable();
    assert_eq!((codes, starts(&place)), ([0, 4], 1));
}

#[test]
fn a_journal_of_a_newer_flowrun_gives_6_and_is_left_alone() {
    let place = Place::new();
    let journal = failed(&place);
    // The header of SQLite: `user_version` stands at 60.
    patch(&journal, 60, &999_u32.to_be_bytes());
    let before = std::fs::read(&journal).unwrap();
    let answer = place.flowrun(["resume", &strike::run_dir(&place).unwrap().id()]);
    assert_eq!(answer.code, 6, "{answer:?}");
    assert!(answer.err.contains("newer"), "{}", answer.err);
    assert!(before == std::fs::read(&journal).unwrap(), "the journal was written to");
}

#[test]
fn a_foreign_database_gives_6_and_is_left_alone() {
    let place = Place::new();
    let journal = failed(&place);
    // `application_id` stands at 68.
    patch(&journal, 68, &0x1234_5678_u32.to_be_bytes());
    let answer = place.flowrun(["resume", &strike::run_dir(&place).unwrap().id()]);
    assert_eq!(answer.code, 6, "{answer:?}");
    assert!(answer.err.contains("not"), "{}", answer.err);
}

#[test]
fn a_wal_torn_in_the_middle_of_a_frame_is_resumed_from_what_was_committed() {
    for cut in [100, 5000] {
        let place = Place::new();
        let first = place.start([waiting(&place, "")]);
        begun(&place);
        first.crash();
        let journal = strike::run_dir(&place).expect("a run").journal();
        let wal = std::path::PathBuf::from(format!("{}-wal", journal.display()));
        let length = std::fs::metadata(&wal).expect("a WAL").len();
        assert!(length > 8192, "the WAL is short: {length}");
        std::fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(length - cut).unwrap();
        place.touch("go");
        let answer = place.flowrun(["resume"]);
        assert_eq!(answer.code, 0, "{answer:?}");
        assert_eq!(starts(&place), 1, "what was torn off had begun, and the host knew");
    }
}

#[test]
fn a_terminal_that_is_closed_stops_nothing() {
    let place = Place::new();
    let first = place.start([waiting(&place, "")]);
    begun(&place);
    first.signal("HUP");
    place.touch("go");
    assert_eq!((first.wait().code, starts(&place)), (0, 1));
    assert!(place.path().join("after").exists(), "the next step did not start");
}

#[test]
fn a_first_interrupt_waits_for_what_runs_and_a_resume_goes_on() {
    let place = Place::new();
    let first = place.start([waiting(&place, "")]);
    begun(&place);
    first.signal("INT");
    until("it says what it waits for", || first.err().contains("waited for").then_some(()));
    place.touch("go");
    assert_eq!(first.wait().code, 130);
    assert!(!place.path().join("after").exists(), "a step started after the interrupt");
    place.ok(0, ["resume"]);
    assert_eq!(starts(&place), 1);
}

#[test]
fn a_second_interrupt_leaves_what_runs_and_a_resume_adopts_it() {
    let place = Place::new();
    let first = place.start([waiting(&place, "")]);
    begun(&place);
    first.signal("INT");
    until("it says what it waits for", || first.err().contains("waited for").then_some(()));
    first.signal("INT");
    assert_eq!(first.wait().code, 130);
    let second = place.start(["resume"]);
    place.touch("go");
    assert_eq!((second.wait().code, starts(&place)), (0, 1));
}

#[test]
fn a_polite_kill_leaves_what_runs_and_a_resume_adopts_it() {
    let place = Place::new();
    let first = place.start([waiting(&place, "")]);
    begun(&place);
    first.signal("TERM");
    assert_eq!(first.wait().code, 143);
    place.touch("go");
    place.ok(0, ["resume"]);
    assert_eq!(starts(&place), 1);
}

/// A child of so many seconds whose driver is killed early and followed by another one.
fn child(seconds: u32, killed_at: f64, resumed_at: f64) {
    let place = Place::new();
    let script = format!("for i in $(seq {seconds}); do echo second $i; sleep 1; done; echo whole");
    let plan = place.plan("child.yaml", &format!("name: child\nsteps:\n  long: {{ run: '{script}' }}\n"));
    let began = Instant::now();
    let first = place.start([plan]);
    let until_second = |at: f64| std::thread::sleep(Duration::from_secs_f64(at).saturating_sub(began.elapsed()));
    until_second(killed_at);
    first.crash();
    until_second(resumed_at);
    let asked = Instant::now();
    let second = place.start(["resume"]);
    let answer = second.wait();
    assert_eq!(answer.code, 0, "{answer:?}");
    if resumed_at > f64::from(seconds) {
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "the child had ended, and the resume took {:?}",
            asked.elapsed()
        );
    } else {
        assert!(answer.err.contains("adopt") || answer.err.contains("goes on"), "{}", answer.err);
        assert!(began.elapsed() >= Duration::from_secs(u64::from(seconds)), "it ended before its child");
    }
    let log = place.ok(0, ["logs"]);
    for line in (1..=seconds).map(|i| format!("second {i}")).chain(["whole".to_owned()]) {
        assert_eq!(log.lines().filter(|found| found.ends_with(&line)).count(), 1, "{line}:\n{log}");
    }
}

#[test]
fn a_child_that_ended_while_nobody_watched_is_a_success_at_once_with_its_log() {
    child(3, 0.8, 5.0);
}

#[test]
fn a_living_child_is_adopted_and_its_output_goes_on() {
    child(4, 0.8, 2.0);
}

#[test]
#[ignore = "takes more than two minutes: `make crash-report` runs it"]
fn a_child_of_a_minute_outlives_its_driver() {
    std::thread::scope(|scope| {
        scope.spawn(|| child(60, 10.0, 80.0));
        scope.spawn(|| child(60, 10.0, 30.0));
    });
}

#[test]
fn after_a_reboot_what_ran_is_lost_and_runs_again() {
    let place = Place::new();
    reboot(&place, "");
    place.touch("go");
    let answer = place.flowrun(["resume"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(starts(&place), 2, "it ran when the machine died, so it ran again");
}

#[test]
fn after_a_reboot_a_step_that_asks_waits_for_a_person() {
    let place = Place::new();
    reboot(&place, "on_lost: ask");
    let answer = place.flowrun(["resume"]);
    assert_eq!(answer.code, 5, "{answer:?}");
    let run = strike::run_dir(&place).unwrap().id();
    place.ok(0, ["mark", &run, "first", "done", "--because", "the dump is whole"]);
    let answer = place.flowrun(["resume"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!((starts(&place), place.path().join("after").exists()), (1, true));
}

/// Everything dies, and the book is of another boot.
fn reboot(place: &Place, more: &str) {
    let first = place.start([waiting(place, more)]);
    begun(place);
    let host = strike::host_pid(place).expect("a host");
    first.crash();
    strike::kill(host);
    super::world::alive(place).into_iter().for_each(|pid| drop(strike::kill(pid)));
    until("all is dead", || {
        (super::world::alive(place).is_empty() && strike::stat(host).is_none_or(|stat| stat.0 == 'Z')).then_some(())
    });
    let book = strike::run_dir(place).unwrap().book();
    let mut bytes = std::fs::read(&book).unwrap();
    // The header: magic, version, unsettled, boot id; its CRC follows the host's 36 bytes.
    bytes[16..32].fill(7);
    let crc = crc32(&bytes[..52]);
    bytes[52..56].copy_from_slice(&crc.to_le_bytes());
    let mut patched = 0;
    for record in bytes[4096..].chunks_exact_mut(128).filter(|record| record.starts_with(b"C1")) {
        record[48..64].fill(7);
        let crc = crc32(&record[..124]);
        record[124..].copy_from_slice(&crc.to_le_bytes());
        patched += 1;
    }
    assert!(patched > 0, "the book holds no child");
    std::fs::write(&book, bytes).unwrap();
}

fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc: u32, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}
