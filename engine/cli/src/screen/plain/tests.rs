use super::{Manner, Teller};
use crate::screen::ending::Names;
use crate::screen::pace::Pace;
use crate::screen::samples::{self, NOW};
use flowrun_core::event::{Failure, FailureClass, Final, RunState};
use flowrun_engine::driver::snapshot::Notice;
use jiff::tz::TimeZone;

fn names() -> Names {
    Names { run: "7f3a".into(), flowrun: "flowrun".into() }
}

fn settled(address: &str, item: bool, state: Final) -> Notice {
    Notice::Settled {
        address: address.into(),
        item,
        state,
        attempts: 1,
        took: Some(192_000),
        reason: None,
        failure: None,
        tail: None,
        log: None,
        at: NOW,
    }
}

fn failed(address: &str, item: bool) -> Notice {
    Notice::Settled {
        address: address.into(),
        item,
        state: Final::Failed,
        attempts: 3,
        took: Some(192_000),
        reason: None,
        failure: Some(Failure {
            class: FailureClass::Transient,
            exit: Some(1),
            timed_out: false,
            message: "`myloader` ended with exit code 1".into(),
            hint: Some("the target's disk is full; make room".into()),
        }),
        tail: Some("loading 1%\rloading 9%\n** (myloader:12): \x1b[31mCRITICAL\x1b[0m: no space left\n\n".into()),
        log: Some("/var/lib/flowrun/runs/7f3a2c/logs/restore/acme.3.log".into()),
        at: NOW,
    }
}

fn story() -> Vec<Notice> {
    vec![
        Notice::Began { run: "7f3a2c".into(), plan: "dump-restore".into(), resumed: true, adopted: 3 },
        Notice::Started { address: "install".into(), attempt: 1, at: NOW },
        settled("install", false, Final::Succeeded),
        Notice::Started { address: "copy".into(), attempt: 2, at: NOW },
        Notice::Retrying {
            address: "copy".into(),
            attempt: 2,
            at: NOW + 8_000,
            failure: Some(Failure {
                class: FailureClass::Transient,
                exit: None,
                timed_out: true,
                message: "`copy` took longer than 10m".into(),
                hint: None,
            }),
        },
        settled("dump/acme", true, Final::Succeeded),
        Notice::Settled {
            address: "verify".into(),
            item: false,
            state: Final::Skipped,
            attempts: 0,
            took: None,
            reason: Some("`restore` failed".into()),
            failure: None,
            tail: None,
            log: None,
            at: NOW,
        },
        failed("restore/acme", true),
        Notice::Said { text: "waiting for 2 attempts to end; a second INT leaves them running".into() },
        Notice::Ended { state: RunState::Failed, interrupted: false, took: 4_320_000, at: NOW },
    ]
}

fn told(manner: Manner, notices: &[Notice]) -> String {
    let mut teller = Teller::new(manner, names());
    teller.learn(&samples::failure(), NOW);
    notices.iter().flat_map(|notice| teller.tell(notice, NOW)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_story_above_a_screen() {
    insta::assert_snapshot!(told(Manner::Above { color: false, unicode: true }, &story()));
}

#[test]
fn a_story_above_an_ascii_screen() {
    let text = told(Manner::Above { color: false, unicode: false }, &story());
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_story_without_a_terminal() {
    insta::assert_snapshot!(told(Manner::Stamped { zone: TimeZone::UTC }, &story()));
}

#[test]
fn items_of_a_big_fan_out_are_not_told_but_for_their_failures() {
    let mut teller = Teller::new(Manner::Stamped { zone: TimeZone::UTC }, names());
    teller.learn(&samples::fan(), NOW);
    let mut lines = Vec::new();
    for item in 0..400 {
        let address = format!("dump/db{item}");
        lines.extend(teller.tell(&Notice::Started { address: address.clone(), attempt: 1, at: NOW }, NOW));
        lines.extend(teller.tell(&settled(&address, true, Final::Succeeded), NOW));
    }
    assert_eq!(lines, Vec::<String>::new());
    for item in 0..40 {
        lines.extend(teller.tell(&failed(&format!("dump/bad{item}"), true), NOW));
    }
    assert_eq!(lines.iter().filter(|line| line.contains("/bad")).count(), 40);
    assert_eq!(lines.iter().filter(|line| line.contains("CRITICAL")).count(), 10);
}

#[test]
fn summaries_come_often_at_first_and_seldom_later() {
    let mut teller = Teller::new(Manner::Stamped { zone: TimeZone::UTC }, names());
    let snapshot = samples::fan();
    let day: Vec<u64> =
        (0..86_400_u64).filter(|second| teller.summary(&snapshot, NOW + second * 1000).is_some()).collect();
    assert_eq!(day.first(), Some(&30));
    assert!(day.len() > 100 && day.len() < 250, "{}", day.len());
    let mut above = Teller::new(Manner::Above { color: false, unicode: true }, names());
    assert_eq!(above.summary(&snapshot, NOW + 60_000), None);
}

#[test]
fn a_summary_names_what_matters() {
    let mut lines = Vec::new();
    for (name, snapshot) in samples::all() {
        let mut teller = Teller::new(Manner::Stamped { zone: TimeZone::UTC }, names());
        teller.pace = Pace::from_the_start(&snapshot);
        assert_eq!(teller.summary(&snapshot, NOW), None);
        lines.push(format!("{name}: {}", teller.summary(&snapshot, NOW + 30_000).unwrap_or_default()));
    }
    insta::assert_snapshot!(lines.join("\n"));
}
