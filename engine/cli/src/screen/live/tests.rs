use super::{Live, Mode, plain, show};
use crate::screen::canvas::Terminal;
use crate::screen::ending::Names;
use crate::screen::feed::Feed;
use crate::screen::samples::{self, NOW};
use flowrun_core::event::{Final, RunState};
use flowrun_engine::driver::snapshot::{Notice, Snapshot};
use std::io;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

fn names() -> Names {
    Names { run: "7f3a".into(), flowrun: "flowrun".into() }
}

fn settled(address: &str, took: u64) -> Notice {
    Notice::Settled {
        address: address.into(),
        item: address.contains('/'),
        state: Final::Succeeded,
        attempts: 1,
        took: Some(took),
        reason: None,
        failure: None,
        tail: None,
        log: None,
        at: NOW,
    }
}

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<String>>);

impl Terminal for Paper {
    fn size(&self) -> (usize, usize) {
        (60, 12)
    }

    fn write(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap().push_str(text);
        Ok(())
    }
}

struct Gone;

impl Terminal for Gone {
    fn size(&self) -> (usize, usize) {
        (80, 24)
    }

    fn write(&self, _: &str) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(5))
    }
}

#[test]
fn lines_that_stay_are_written_once_and_end_with_a_line_feed() {
    let paper = Paper::default();
    let mut live = Live::new(Box::new(paper.clone()), names(), false, true);
    live.turn(&samples::services(), &[settled("install", 3000)], NOW);
    live.turn(&samples::services(), &[settled("configure", 4000)], NOW + 250);
    let ended = Notice::Ended { state: RunState::Succeeded, interrupted: false, took: 9000, at: NOW };
    live.turn(&samples::services(), &[ended], NOW + 500);
    let (_, watch) = watch::channel(Snapshot { state: RunState::Succeeded, ..samples::services() });
    let (sender, inbox) = channel();
    drop(sender);
    live.run(Feed::new(watch, inbox));
    let text = paper.0.lock().unwrap().clone();
    assert_eq!(text.matches("✓ install  3s").count(), 1, "{text:?}");
    assert_eq!(text.matches("✓ configure  4s").count(), 1, "{text:?}");
    assert!(text.ends_with("run 7f3a succeeded in 9s: 4 of 12 steps done\r\n"), "{text:?}");
}

#[test]
fn a_dead_terminal_ends_the_drawing_and_nothing_else() {
    let (_keep, watch) = watch::channel(samples::fan());
    let (sender, inbox) = channel();
    sender.send(settled("install", 1)).unwrap();
    Live::new(Box::new(Gone), names(), true, true).run(Feed::new(watch, inbox));
    assert!(sender.send(settled("more", 1)).is_err(), "nobody is there any more");
}

#[test]
fn plain_lines_stop_when_nobody_reads_them() {
    let (_keep, watch) = watch::channel(samples::fan());
    let (sender, inbox) = channel();
    sender.send(settled("install", 1)).unwrap();
    let mut writes = 0;
    plain(names(), Feed::new(watch, inbox), |_| {
        writes += 1;
        Err(io::ErrorKind::BrokenPipe.into())
    });
    assert_eq!(writes, 1);
}

#[test]
fn programs_get_every_event_in_order() {
    let (_keep, watch) = watch::channel(samples::unknown());
    let (sender, inbox) = channel();
    for item in 0..10_000 {
        sender.send(settled(&format!("f/{item}"), item)).unwrap();
    }
    drop(sender);
    let mut text = String::new();
    super::objects(Feed::new(watch, inbox), |part| {
        text.push_str(part);
        Ok(())
    });
    let took = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["took"].as_u64();
    assert!(text.lines().map(took).eq((0..10_000).map(Some)));
}

#[tokio::test]
async fn showing_ends_when_the_last_sender_is_gone() {
    let (_keep, watch) = watch::channel(samples::fan());
    let (sender, inbox) = mpsc::unbounded_channel();
    drop(sender);
    tokio::time::timeout(Duration::from_secs(5), show(Mode::Json, names(), watch, inbox)).await.unwrap();
}

/// A show for a person: `cargo test -p flowrun demo -- --ignored --nocapture` on a terminal.
#[tokio::test]
#[ignore = "draws on the terminal for half a minute, to be looked at"]
async fn demo() {
    let began = super::now();
    let (to_watch, watch) = watch::channel(samples::unknown());
    let (to_notices, notices) = mpsc::unbounded_channel();
    let shown = tokio::spawn(show(Mode::Live { color: true, unicode: true }, names(), watch, notices));
    to_notices
        .send(Notice::Began { run: "7f3a2c".into(), plan: "dump-restore".into(), resumed: false, adopted: 0 })
        .unwrap();
    for tick in 0..150_u64 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        to_watch.send_replace(samples::played(began, tick));
        if tick % 10 == 0 {
            to_notices.send(settled(&format!("prepare_{}", tick / 10), 2000)).unwrap();
        }
        if tick == 60 {
            for notice in samples::failures() {
                to_notices.send(notice).unwrap();
            }
        }
    }
    to_notices
        .send(Notice::Ended { state: RunState::Failed, interrupted: false, took: 30_000, at: super::now() })
        .unwrap();
    drop(to_notices);
    shown.await.unwrap();
}
