//! Output with secrets: masked on its way, whole, and never doubled, whoever dies.

use crate::common::{Place, key, kill, runs, until};
use flowrun_engine::host::{ChildExit, Setup};

const SECRET: &str = "hunter2-hunter2";

fn setup(place: &Place) -> Setup {
    Setup { secrets: vec![SECRET.into()], private: Some(place.path("private")), ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_does_not_reach_the_log_even_if_it_is_written_in_two_pieces() {
    let place = Place::new();
    let host = place.host_with(setup(&place)).await;
    host.start(place.sh(1, "printf 'a hunter2-'; sleep 0.3; printf 'hunter2 b\\nhunter2-'; exit 1"))
        .await
        .expect("it starts");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(1));
    assert_eq!(place.read(&place.log(1)), "a *** b\nhunter2-");
    assert_eq!(std::fs::read_dir(place.path("private/spools")).expect("there").count(), 0, "spools are removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_whole_and_masked_before_the_exit_is_told() {
    let place = Place::new();
    let host = place.host_with(setup(&place)).await;
    let script = format!("i=0; while test $i -lt 20000; do echo \"line $i {SECRET}\"; i=$((i+1)); done");
    host.start(place.sh(1, &script)).await.expect("it starts");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(0));
    let expected: String = (0..20000).map(|line| format!("line {line} ***\n")).collect();
    assert!(place.read(&place.log(1)) == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn masking_goes_on_under_a_new_host_without_a_lost_or_doubled_byte() {
    let place = Place::new();
    // Now and then it rests, so that hosts are killed at work and at rest.
    let rest = "test $((i % 300)) = 0 && sleep 0.02";
    let script =
        format!("i=0; while test $i -lt 30000; do echo \"line $i {SECRET}\"; i=$((i+1)); {rest}; done; touch flag");
    let mut host = place.host_with(setup(&place)).await;
    let child = host.start(place.sh(1, &script)).await.expect("it starts");
    let mut kills = 0;
    while runs(child.pid) && kills < 8 {
        let before = place.read(&place.log(1)).len();
        until("the log goes on", || place.read(&place.log(1)).len() > before || !runs(child.pid)).await;
        kill(host.pid());
        kills += 1;
        host = place.host_with(setup(&place)).await;
    }
    assert!(kills > 1, "it was too fast to be a test");
    until("all is masked", || {
        place.path("flag").exists() && std::fs::read_dir(place.path("private/spools")).expect("there").count() == 0
    })
    .await;
    let expected: String = (0..30000).map(|line| format!("line {line} ***\n")).collect();
    assert!(place.read(&place.log(1)) == expected, "after {kills} kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_host_left_is_in_the_log_once_the_next_one_answers() {
    let place = Place::new();
    let host = place.host_with(setup(&place)).await;
    let script = format!("echo begin; while ! test -e go; do sleep 0.01; done; echo {SECRET} end");
    let child = host.start(place.sh(1, &script)).await.expect("it starts");
    kill(host.pid());
    host.lost().await;
    std::fs::write(place.path("go"), "").expect("written");
    until("the orphan has ended", || !runs(child.pid)).await;
    // Without the secrets nothing is masked, so nothing may leave the spool.
    let stranger = place.host().await;
    assert!(!place.read(&place.log(1)).contains("end"));
    drop(stranger);
    let _host = place.host_with(setup(&place)).await;
    assert_eq!(place.read(&place.log(1)), "begin\n*** end\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_masked_is_freed_behind() {
    use std::os::unix::fs::MetadataExt as _;
    let place = Place::new();
    let host = place.host_with(setup(&place)).await;
    host.start(place.sh(1, "head -c 8000000 /dev/zero; touch flag1; while ! test -e go; do sleep 0.01; done"))
        .await
        .expect("it starts");
    let spool = place.path("private/spools/1-1-0.spool");
    until("it is masked", || std::fs::metadata(place.log(1)).is_ok_and(|log| log.len() == 8_000_000)).await;
    let blocks = std::fs::metadata(&spool).expect("there").blocks() * 512;
    assert!(blocks < 1 << 20, "{blocks} bytes are kept");
    std::fs::write(place.path("go"), "").expect("written");
    assert_eq!(host.wait(key(1)).await, ChildExit::Code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_whose_output_cannot_be_written_is_stopped_at_its_cap() {
    let place = Place::new();
    let host = place.host_with(Setup { spool_cap: Some(1 << 20), ..setup(&place) }).await;
    // A log that takes nothing: everything waits.
    std::fs::create_dir_all(place.log(2).parent().expect("a folder")).expect("made");
    std::os::unix::fs::symlink("/dev/full", place.log(2)).expect("made");
    host.start(place.sh(2, "yes")).await.expect("it starts");
    assert_eq!(host.wait(key(2)).await, ChildExit::Signal(15));
}
