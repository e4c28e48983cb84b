//! Every way to end: driver, host, both, child, reboot, a damaged book; and two drivers at once.

use crate::common::{Place, exe, key, kill, process, runs, until};
use flowrun_engine::host::{ChildExit, Fate, Fenced, Host, Setup, StartError, fate, fence, wait_orphan};
use std::io::BufRead as _;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, Stdio};

/// A driver of its own process with one child: that process, the host's pid, the child's pid and start time.
fn driver(place: &Place, script: &str) -> (Child, i32, i32, u64) {
    let mut driver = Command::new(exe())
        .arg("driver")
        .arg(place.run.path())
        .arg(script)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a driver");
    let mut line = String::new();
    std::io::BufReader::new(driver.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let mut words = line.split_whitespace().map(|word| word.parse::<u64>().expect("a number"));
    let mut next = || words.next().expect("three numbers");
    let (host, pid, start) = (next(), next(), next());
    (driver, i32::try_from(host).expect("a pid"), i32::try_from(pid).expect("a pid"), start)
}

fn end(mut driver: Child) {
    driver.kill().expect("killed");
    driver.wait().expect("collected");
}

const UNTIL_FLAG: &str = "echo begun; while ! test -e /proc/$PPID/cwd/flag; do sleep 0.01; done; echo ended; exit 11";

#[tokio::test(flavor = "multi_thread")]
async fn a_child_outlives_its_driver_and_is_adopted_by_the_next_one() {
    let place = Place::new();
    let (process_of_driver, host_pid, pid, start) = driver(&place, UNTIL_FLAG);
    end(process_of_driver);
    let found = fate(&place.run, key(1));
    assert!(matches!(found, Fate::Alive(child) if (child.pid, child.start) == (pid, start)), "{found:?}");
    let host = place.host().await;
    assert_eq!((host.pid(), host.known().len(), host.known()[0].pid), (host_pid, 1, pid));
    assert_eq!(process(pid).map(|(_, start)| start), Some(start));
    std::fs::write(place.run.path().join("flag"), "").expect("written");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(11));
    assert_eq!(place.read(&place.run.log("n1", 1)), "begun\nended\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_that_nobody_saw_is_in_the_book() {
    let place = Place::new();
    let (process_of_driver, host_pid, pid, _) = driver(&place, UNTIL_FLAG);
    end(process_of_driver);
    std::fs::write(place.run.path().join("flag"), "").expect("written");
    until("the child and its host have ended", || !runs(pid) && !runs(host_pid)).await;
    assert_eq!(fate(&place.run, key(1)), Fate::Exited(ChildExit::Code(11)));
    // The next host neither loses it nor starts the key again.
    let host = place.host().await;
    assert_ne!(host.pid(), host_pid);
    assert!(host.start(place.sh(1, "echo twice")).await.is_err());
    assert_eq!(fate(&place.run, key(1)), Fate::Exited(ChildExit::Code(11)));
    host.forget(key(1));
    host.start(place.sh(2, "exit 0")).await.expect("it starts");
    assert_eq!(fate(&place.run, key(1)), Fate::NeverStarted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_leaves_an_orphan_that_is_waited_for_or_fenced() {
    let place = Place::new();
    let host = place.host().await;
    let child =
        host.start(place.sh(1, "(setsid sleep 1000 & echo $!); sleep 1001 & echo $!; wait")).await.expect("it starts");
    until("it is up", || place.read(&place.log(1)).lines().count() == 2).await;
    let waiter = host.wait(key(1));
    kill(host.pid());
    assert_eq!(waiter.await, ChildExit::HostGone);
    host.lost().await;
    assert_eq!(host.start(place.sh(2, "")).await, Err(StartError::HostGone));
    until("the lock is free", || fate(&place.run, key(1)) == Fate::Orphan { pid: child.pid, start: child.start }).await;
    let orphan = tokio::spawn(wait_orphan(child.pid, child.start));
    // Its key is not started a second time by a new host either.
    let second = place.host().await;
    assert!(second.start(place.sh(1, "echo twice")).await.is_err());
    let run = place.run.clone();
    let fenced = tokio::task::spawn_blocking(move || fence(&run, key(1))).await.expect("no panic");
    assert_eq!(fenced, Fenced::Clear);
    orphan.await.expect("no panic").expect("it is watched");
    for pid in place.read(&place.log(1)).lines() {
        assert!(!runs(pid.parse().expect("a pid")), "{pid} lives");
    }
    assert_eq!(fate(&place.run, key(1)), Fate::Lost);
    assert!(matches!(fate(&place.run, key(2)), Fate::NeverStarted));
}

#[tokio::test(flavor = "multi_thread")]
async fn driver_and_host_killed_together_leave_the_same_orphan() {
    let place = Place::new();
    let (process_of_driver, host_pid, pid, start) = driver(&place, "sleep 1000");
    kill(host_pid);
    end(process_of_driver);
    until("the orphan is known", || fate(&place.run, key(1)) == Fate::Orphan { pid, start }).await;
    let run = place.run.clone();
    assert_eq!(tokio::task::spawn_blocking(move || fence(&run, key(1))).await.expect("no panic"), Fenced::Clear);
    until("it is dead", || !runs(pid)).await;
    assert_eq!(fate(&place.run, key(1)), Fate::Lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_somebody_kills_is_told_as_such() {
    let place = Place::new();
    let host = place.host().await;
    let child = host.start(place.sh(1, "sleep 1000")).await.expect("it starts");
    kill(child.pid);
    assert_eq!(host.wait(key(1)).await, ChildExit::Signal(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_leaves_other_attempts_alone() {
    let place = Place::new();
    let host = place.host().await;
    let one = host.start(place.sh(1, "sleep 1000")).await.expect("it starts");
    let other = host.start(place.sh(11, "sleep 1000")).await.expect("it starts");
    // A run of the same name in another state directory is another run.
    let namesake = Place::new();
    let second = namesake.host().await;
    second.start(namesake.sh(1, "exit 0")).await.expect("it starts");
    let same_key = second.start(namesake.sh(2, "sleep 1000")).await.expect("it starts");
    let run = place.run.clone();
    let fenced = tokio::task::spawn_blocking(move || fence(&run, key(2))).await.expect("no panic");
    assert!(fenced == Fenced::Clear && runs(same_key.pid));
    second.stop(key(2));
    assert_eq!(second.wait(key(2)).await, ChildExit::Signal(15));
    let run = place.run.clone();
    assert_eq!(tokio::task::spawn_blocking(move || fence(&run, key(1))).await.expect("no panic"), Fenced::Clear);
    assert_eq!(host.wait(key(1)).await, ChildExit::Signal(9));
    assert!(!runs(one.pid) && runs(other.pid));
    host.stop(key(11));
    assert_eq!(host.wait(key(11)).await, ChildExit::Signal(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_ignores_what_a_terminal_sends_and_holds_no_terminal() {
    let place = Place::new();
    let host = place.host().await;
    let pid = rustix::process::Pid::from_raw(host.pid()).expect("a pid");
    use rustix::process::Signal;
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::TSTP, Signal::PIPE, Signal::USR1] {
        rustix::process::kill_process(pid, signal).expect("sent");
    }
    host.start(place.sh(1, "exit 2")).await.expect("it starts");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(2));
    let environ = std::fs::read(format!("/proc/{}/environ", host.pid())).expect("readable");
    assert!(environ.is_empty(), "{}", String::from_utf8_lossy(&environ));
    let second = Command::new(exe()).arg("__host").arg(place.run.path()).output().expect("it runs");
    assert_eq!(second.stdout, b"busy");
    let host_pid = host.pid();
    drop(host);
    until("a host with nothing to do ends", || !runs(host_pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers_that_start_a_host_at_once_end_with_one() {
    let place = Place::new();
    let connects: Vec<_> = (0..8)
        .map(|_| {
            let run = place.run.clone();
            tokio::spawn(
                async move { Host::connect(&run, &exe(), &Setup::default()).await.map(|host| (host.pid(), host)) },
            )
        })
        .collect();
    let mut hosts = Vec::new();
    for connect in connects {
        hosts.push(connect.await.expect("no panic").expect("a host"));
    }
    assert!(hosts.iter().all(|(pid, _)| *pid == hosts[0].0), "{hosts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_between_its_lock_and_its_socket_is_replaced() {
    let place = Place::new();
    let host = place.host_with(Setup { crash_at: Some("before-listen".into()), ..Setup::default() }).await;
    host.start(place.sh(1, "exit 8")).await.expect("it starts");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(8));
}

/// Boot ids stand at these places: in the header behind magic, version and flag; in a record behind its fields.
const BOOT_OF_HEADER: u64 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reboot_an_exit_counts_and_everything_else_is_lost() {
    let place = Place::new();
    let host = place.host().await;
    host.start(place.sh(1, "exit 5")).await.expect("it starts");
    host.wait(key(1)).await;
    let child = host.start(place.sh(2, "sleep 1000")).await.expect("it starts");
    kill(host.pid());
    until("the lock is free", || matches!(fate(&place.run, key(2)), Fate::Orphan { .. })).await;
    kill(child.pid);
    reboot(&place);
    assert_eq!(fate(&place.run, key(1)), Fate::Exited(ChildExit::Code(5)));
    assert_eq!(fate(&place.run, key(2)), Fate::LostInReboot);
    assert_eq!(fate(&place.run, key(3)), Fate::LostInReboot, "a power loss may have taken its record");
    // A host of this boot changes nothing about that before the driver has judged what was in flight.
    let host = place.host().await;
    assert_eq!((fate(&place.run, key(2)), fate(&place.run, key(3))), (Fate::LostInReboot, Fate::LostInReboot));
    host.settled();
    host.start(place.sh(4, "exit 0")).await.expect("it starts");
    assert_eq!((fate(&place.run, key(2)), fate(&place.run, key(3))), (Fate::LostInReboot, Fate::NeverStarted));
}

/// Makes the book one of another boot: the id is changed wherever it stands, and the check sums with it.
fn reboot(place: &Place) {
    let mut bytes = std::fs::read(place.run.book()).expect("readable");
    let boot: Vec<u8> = bytes[usize::try_from(BOOT_OF_HEADER).expect("small")..][..16].to_vec();
    let header = &mut bytes[..128];
    header[16..32].fill(7);
    let sum = crc32(&header[..52]).to_le_bytes();
    header[52..56].copy_from_slice(&sum);
    for record in bytes[4096..].chunks_mut(128) {
        if let Some(at) = record.windows(16).position(|window| window == boot) {
            record[at..at + 16].fill(7);
            let sum = crc32(&record[..124]).to_le_bytes();
            record[124..].copy_from_slice(&sum);
        }
    }
    std::fs::write(place.run.book(), bytes).expect("written");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_or_missing_book_makes_fates_lost_and_never_unstarted() {
    let place = Place::new();
    let host = place.host().await;
    host.start(place.sh(1, "exit 5")).await.expect("it starts");
    host.wait(key(1)).await;
    let host_pid = host.pid();
    drop(host);
    until("the host has ended", || !runs(host_pid)).await;
    assert_eq!(fate(&place.run, key(2)), Fate::NeverStarted);
    let book = std::fs::OpenOptions::new().write(true).open(place.run.book()).expect("writable");
    book.write_all_at(&[0xff; 20], 4096 + 40).expect("written");
    assert_eq!((fate(&place.run, key(1)), fate(&place.run, key(2))), (Fate::Lost, Fate::Lost));
    book.write_all_at(&[0xff; 20], 20).expect("written");
    assert_eq!(fate(&place.run, key(2)), Fate::Lost);
    std::fs::remove_file(place.run.book()).expect("removed");
    assert_eq!(fate(&place.run, key(2)), Fate::Lost);
    assert_eq!(fate(&Place::new().run, key(2)), Fate::NeverStarted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_killed_at_any_point_of_a_start_or_an_end_leaves_a_true_book() {
    for point in ["before-fork", "after-fork", "after-record", "after-exec", "before-exit-record", "after-exit-record"]
    {
        let place = Place::new();
        let crash_at = Some(format!("{point}:3"));
        let host = place.host_with(Setup { crash_at, ..Setup::default() }).await;
        let run_it = |node| place.sh(node, &format!("echo ran >>ran{node}; exit 1{node}"));
        for node in 1..=2 {
            host.start(run_it(node)).await.expect("it starts");
            assert_eq!(host.wait(key(node)).await, ChildExit::Code(10 + i32::try_from(node).expect("small")));
        }
        let started = host.start(run_it(3)).await;
        assert!(started.is_err() || point.ends_with("exit-record"), "{point}");
        assert_eq!(host.wait(key(3)).await, ChildExit::HostGone, "the fault fired at {point}");
        until("the host is dead", || !runs(host.pid())).await;
        let settled = |fate: Fate| !matches!(fate, Fate::Orphan { .. } | Fate::Alive(_));
        until("the child has ended", || settled(fate(&place.run, key(3)))).await;
        let ran = place.path("ran3").exists();
        let is_true = match (point, fate(&place.run, key(3)), ran) {
            // A child that sees in time that its host is dead strikes its record out again; else it is known and runs.
            ("before-fork" | "after-fork" | "after-record", Fate::NeverStarted, false)
            | ("after-fork" | "after-record" | "after-exec" | "before-exit-record", Fate::Lost, true)
            | ("after-exit-record", Fate::Exited(ChildExit::Code(13)), true) => true,
            _ => false,
        };
        assert!(is_true, "{point}: {:?}, ran: {ran}", fate(&place.run, key(3)));
        assert_eq!(fate(&place.run, key(1)), Fate::Exited(ChildExit::Code(11)), "{point}");
    }
}
