//! Children through the host: how they start, end, are stopped and what they inherit.

use crate::common::{Place, key, process, runs, until};
use flowrun_engine::host::{ChildExit, Setup, StartError};

#[tokio::test(flavor = "multi_thread")]
async fn a_child_ends_with_its_own_code_or_signal_and_writes_to_its_log() {
    let place = Place::new();
    let host = place.host().await;
    host.start(place.sh(1, "echo out; echo err >&2; exit 7")).await.expect("it starts");
    host.start(place.sh(2, "kill -9 $$")).await.expect("it starts");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(7));
    assert_eq!(host.wait(key(2)).await, ChildExit::Signal(9));
    assert_eq!(place.read(&place.log(1)), "out\nerr\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_is_refused_with_its_reason_and_makes_no_process() {
    let place = Place::new();
    let host = place.host().await;
    let mut spawn = place.sh(1, "");
    spawn.argv = vec!["no-such-program".into()];
    let error = host.start(spawn).await.expect_err("refused");
    assert_eq!(error, StartError::NotFound { program: "no-such-program".into() });
    let mut spawn = place.sh(2, "");
    spawn.argv = vec!["/etc/passwd".into()];
    assert!(matches!(host.start(spawn).await, Err(StartError::NotExecutable { .. })));
    let mut spawn = place.sh(3, "");
    spawn.dir = place.path("nowhere");
    assert!(matches!(host.start(spawn).await, Err(StartError::Dir { .. })));
    let mut spawn = place.sh(4, "a\0b");
    spawn.log = place.log(4);
    assert_eq!(host.start(spawn).await, Err(StartError::ZeroByte { what: "a".into() }));
    // A refused key may be ordered again.
    host.start(place.sh(1, "exit 3")).await.expect("it starts");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_never_started_twice() {
    let place = Place::new();
    let host = place.host().await;
    let first = host.start(place.sh(1, "echo once; exit 4")).await.expect("it starts");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(4));
    let second = host.start(place.sh(1, "echo twice")).await.expect("the answer is about the first");
    assert_eq!((first, host.wait(key(1)).await), (second, ChildExit::Code(4)));
    assert_eq!(place.read(&place.log(1)), "once\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_children_at_once_all_come_back() {
    let place = Place::new();
    let host = place.host().await;
    for node in 0..1000 {
        drop(host.start(place.sh(node, &format!("exit {}", node % 200))));
    }
    for node in 0..1000 {
        assert_eq!(host.wait(key(node)).await, ChildExit::Code(i32::try_from(node % 200).expect("small")));
        host.forget(key(node));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_eight_children_keeps_under_five_mebibytes_for_itself() {
    let place = Place::new();
    let host = place.host().await;
    for node in 0..8 {
        host.start(place.sh(node, "sleep 1000")).await.expect("it starts");
    }
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", host.pid())).expect("readable");
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kib: u64 = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum();
    assert!(kib > 0 && kib < 5 * 1024, "{kib} KiB");
    for node in 0..8 {
        host.stop(key(node));
        assert_eq!(host.wait(key(node)).await, ChildExit::Signal(15));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_has_its_own_group_clean_signals_its_environment_and_nothing_of_the_host() {
    let place = Place::new();
    let host = place.host().await;
    let mut spawn = place.sh(
        1,
        "tr '\\0' '\\n' </proc/$$/environ; ls -l /proc/$$/fd; grep -E '^Sig(Blk|Ign)' /proc/self/status; \
         cat /proc/$$/oom_score_adj; cut -d' ' -f5 /proc/$$/stat; echo $$",
    );
    spawn.env.push(("FLOWRUN_ATTEMPT".into(), "forged".into()));
    host.start(spawn).await.expect("it starts");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(0));
    let log = place.read(&place.log(1));
    assert!(log.contains(&format!("FLOWRUN_ATTEMPT={}\n", key(1).tag(&place.run))) && !log.contains("forged"), "{log}");
    assert!(!log.contains("host.lock") && !log.contains("socket:") && !log.contains("pipe:"), "{log}");
    assert!(log.contains("SigBlk:\t0000000000000000"), "{log}");
    // Signals 32 and 33 are the C library's own.
    let ignored = log.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).expect("it is shown");
    assert_eq!(u64::from_str_radix(ignored, 16).expect("hex") & !0x1_8000_0000, 0, "{log}");
    let tail: Vec<&str> = log.lines().rev().take(3).collect();
    assert_eq!((tail[0], tail[2]), (tail[1], "300"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_output_may_have_a_file_of_its_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let host = place.host().await;
    let mut spawn = place.sh(1, "echo out; echo err >&2");
    let file = place.path("answer");
    std::fs::write(&file, "something older and longer").expect("written");
    spawn.stdout = Some(file.clone());
    host.start(spawn).await.expect("it starts");
    host.wait(key(1)).await;
    assert_eq!((place.read(&file).as_str(), place.read(&place.log(1)).as_str()), ("out\n", "err\n"));
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(place.log(1)).expect("there").permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_asks_first_and_kills_what_does_not_listen_with_all_it_left() {
    let place = Place::new();
    let host = place.host().await;
    host.start(place.sh(1, "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done"))
        .await
        .expect("it starts");
    let mut deaf = place.sh(2, "trap '' TERM; (setsid sleep 1000 & echo $!) ; sleep 1001 & echo $! ; wait");
    deaf.grace_ms = 100;
    host.start(deaf).await.expect("it starts");
    until("both are up", || place.read(&place.log(1)).contains("up") && place.read(&place.log(2)).lines().count() == 2)
        .await;
    host.stop(key(1));
    host.stop(key(2));
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(5));
    assert_eq!(host.wait(key(2)).await, ChildExit::Signal(9));
    for pid in place.read(&place.log(2)).lines() {
        assert!(!runs(pid.parse().expect("a pid")), "{pid} lives");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_ends_with_its_main_process_unless_it_waits_for_all() {
    let place = Place::new();
    let host = place.host().await;
    let flag = place.path("flag");
    let script = format!("(setsid sh -c 'while ! test -e {}; do sleep 0.01; done') & echo $!; exit 6", flag.display());
    host.start(place.sh(1, &script)).await.expect("it starts");
    let mut all = place.sh(2, &script);
    all.wait_all = true;
    host.start(all).await.expect("it starts");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(6));
    let left = host.wait(key(2));
    tokio::pin!(left);
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), &mut left).await;
    assert!(early.is_err(), "it was told to have ended while a process of it ran");
    std::fs::write(&flag, "").expect("written");
    assert_eq!(left.await, ChildExit::Code(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_holds_also_when_nobody_is_connected() {
    let place = Place::new();
    let host = place.host().await;
    let mut spawn = place.sh(1, "sleep 1000");
    spawn.timeout_ms = Some(300);
    let started = host.start(spawn).await.expect("it starts");
    let mut other = place.sh(2, "sleep 1000");
    other.timeout_ms = Some(100);
    other.grace_ms = 0;
    host.start(other).await.expect("it starts");
    assert_eq!(host.wait(key(2)).await, ChildExit::TimedOut);
    drop(host);
    until("it is killed", || !runs(started.pid)).await;
    // The host that had nothing left to do is gone; its book is not.
    until("the exit is in the book", || {
        flowrun_engine::host::fate(&place.run, key(1)) == flowrun_engine::host::Fate::Exited(ChildExit::TimedOut)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_child_stands_and_goes_on() {
    let place = Place::new();
    let host = place.host().await;
    // No command of its own: a shell that is stopped between vfork and exec of one does not show as stopped.
    let started = host.start(place.sh(1, "while ! test -e flag; do :; done")).await.expect("it starts");
    host.freeze(key(1));
    until("it stands", || process(started.pid).is_some_and(|(state, _)| state == 'T')).await;
    host.thaw(key(1));
    std::fs::write(place.path("flag"), "").expect("written");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_may_lie_deeper_than_a_socket_path_is_long() {
    let place = Place::below(&format!("{}/{}/r", "x".repeat(120), "y".repeat(120)));
    let host = place.host().await;
    host.start(place.sh(1, "exit 9")).await.expect("it starts");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_goes_on_at_full_speed_when_nobody_reads_it() {
    let place = Place::new();
    let host = place.host_with(Setup::default()).await;
    host.start(place.sh(1, "head -c 20000000 /dev/zero; echo done >flag")).await.expect("it starts");
    drop(host);
    until("all is written", || place.read(&place.path("flag")) == "done\n").await;
    assert_eq!(std::fs::metadata(place.log(1)).expect("there").len(), 20_000_000);
}
