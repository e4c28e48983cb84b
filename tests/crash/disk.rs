//! Full, read-only and vanished state directories, on filesystems of the tests' own.

use super::support::{Answer, Live, Place};
use std::process::Command;

/// A script in a mount namespace of its own, with `$FLOWRUN` and the place as working directory.
fn apart(place: &Place, script: &str) -> Answer {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command
        .args(["--mount", "bash", "-euo", "pipefail", "-c", script])
        .env("FLOWRUN", env!("CARGO_BIN_EXE_flowrun"))
        .env("FLOWRUN_STATE_DIR", place.state())
        .current_dir(place.path());
    std::fs::create_dir_all(place.state()).expect("a folder");
    Live::start(command, place.path()).wait()
}

const PLAN: &str = "name: full\nsteps:\n  first:\n    run: |\n      touch '@/begun'\n      until [ -e '@/go' ]; do sleep 0.05; done\n  \
    second: { needs: [first], run: \"touch '@/second'\" }\n";

#[test]
fn a_full_disk_pauses_the_run_and_room_lets_it_go_on() {
    let place = Place::new();
    place.plan("full.yaml", PLAN);
    let answer = apart(
        &place,
        r#"
        mount -t tmpfs -o size=16m none "$FLOWRUN_STATE_DIR"
        timeout 100 "$FLOWRUN" full.yaml 2> said & run=$!
        until [ -e begun ]; do sleep 0.05; done
        head -c 64M /dev/zero > "$FLOWRUN_STATE_DIR/fill" 2> /dev/null || true
        touch go
        until grep -q "is full" said; do sleep 0.05; done
        sleep 1
        [ ! -e second ] || { echo "a step started on a full disk"; exit 1; }
        rm "$FLOWRUN_STATE_DIR/fill"
        wait "$run"
        cat said
        "#,
    );
    assert_eq!(answer.code, 0, "{answer:?}\n{:?}", std::fs::read_to_string(place.path().join("said")));
    assert!(answer.out.contains("there is room on the disk again"), "{answer:?}");
    assert!(place.path().join("second").exists());
}

#[test]
fn a_state_directory_that_became_read_only_gives_6_and_loses_nothing() {
    let place = Place::new();
    place.plan("fails.yaml", "name: fails\nsteps:\n  no: { run: exit 1 }\n");
    let answer = apart(
        &place,
        r#"
        "$FLOWRUN" fails.yaml || [ $? = 1 ]
        mount --bind "$FLOWRUN_STATE_DIR" "$FLOWRUN_STATE_DIR"
        mount -o remount,ro,bind "$FLOWRUN_STATE_DIR"
        code=0; "$FLOWRUN" resume || code=$?
        [ "$code" = 6 ] || { echo "resume gave $code"; exit 1; }
        "$FLOWRUN" status
        "#,
    );
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(answer.err.contains("read-only") || answer.err.contains("Read-only"), "{answer:?}");
}

#[test]
fn a_state_directory_that_is_gone_gives_6() {
    let place = Place::new();
    let plan = place.plan("full.yaml", PLAN);
    let first = place.start([plan]);
    place.until_file("begun");
    std::fs::rename(place.state(), place.path().join("elsewhere")).expect("moved away");
    std::fs::write(place.state(), "a file, no folder").expect("a file");
    let answer = place.flowrun(["resume"]);
    assert_eq!(answer.code, 6, "{answer:?}");
    std::fs::remove_file(place.state()).expect("removed");
    std::fs::rename(place.path().join("elsewhere"), place.state()).expect("moved back");
    place.touch("go");
    assert_eq!(first.wait().code, 0, "what runs does not need the name of its directory");
}
