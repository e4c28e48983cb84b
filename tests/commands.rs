//! Every command against real runs: what it prints, what it changes, and its exit code.

mod support;

use serde_json::Value;
use support::{Place, keys, text, until};

/// Two steps that end at once.
const QUICK: &str = "
name: quick
steps:
  first:
    run: |
      echo one; echo \"name=value\" >> \"$FLOWRUN_OUTPUT\"
  second: { needs: [first], run: echo two }
";

/// A step that fails until a file is there.
const FRAGILE: &str = "
name: fragile
steps:
  before: { run: echo before >> @/before.txt }
  middle: { needs: [before], run: test -e @/mended }
  after: { needs: [middle], run: echo after }
";

/// A step that runs until a file is there; it tells its process.
const LONG: &str = "
name: long
steps:
  long: { run: 'echo $$ > @/pid.new; mv @/pid.new @/pid; until test -e @/go; do sleep 0.05; done' }
  next: { needs: [long], run: echo next }
finally:
  tidy: { run: touch @/tidied }
";

fn lives(pid: &str) -> bool {
    std::path::Path::new("/proc").join(pid.trim()).join("exe").exists()
        && std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_run_is_listed_and_shown_with_the_keys_that_programs_rely_on() {
    let place = Place::new();
    let plan = place.plan("quick.yaml", QUICK);
    place.ok(0, [plan.as_os_str()]);
    let runs = place.json(["runs", "--json"]);
    assert_eq!(keys(&runs[0]), ["ended", "id", "plan", "started", "state", "steps"]);
    let states = ["cancelled", "failed", "lost", "pending", "running", "skipped", "succeeded", "waiting"];
    assert_eq!(keys(&runs[0]["steps"]), states);
    assert_eq!((text(&runs[0]["plan"]), text(&runs[0]["state"])), ("quick".into(), "succeeded".into()));
    let status = place.status();
    assert_eq!(keys(&status), ["ended", "id", "params", "paused", "plan", "started", "state", "steps"]);
    let step = ["attempts", "ended", "error", "id", "items", "outputs", "started", "state", "waiting"];
    assert_eq!(keys(&status["steps"][0]), step);
    assert_eq!(text(&status["steps"][0]["outputs"]["name"]), "value");
    let id = place.run_id();
    let table = place.ok(0, ["status", &id[..5]]);
    assert!(table.contains("first") && table.contains("succeeded"), "{table}");
    assert!(place.ok(0, ["runs"]).contains(&id));
}

#[test]
fn items_are_counted_and_listed() {
    let place = Place::new();
    let text = "
name: fan
steps:
  fan:
    for_each: [a, 'b c', d]
    max_parallel: 1
    max_failures: 0
    run: '[ \"$FLOWRUN_STEP\" = fan/a ]'
  group:
    steps: { inner: { run: 'true' }, other: { needs: [inner], run: 'true' } }
";
    let plan = place.plan("fan.yaml", text);
    place.ok(1, [plan.as_os_str()]);
    let status = place.json(["status", "--json", "--items"]);
    let counts = &status["steps"][0]["items"];
    assert_eq!((counts["total"].as_u64(), counts["succeeded"].as_u64()), (Some(3), Some(1)), "{counts}");
    assert_eq!(status["steps"][1]["items"]["total"].as_u64(), Some(2));
    let items = status["items"].as_array().expect("a list");
    let item = ["address", "attempts", "ended", "error", "outputs", "started", "state"];
    assert_eq!(keys(&items[0]), item);
    let find = |address: &str| items.iter().find(|item| item["address"] == address).expect(address);
    assert_eq!(find("fan/b%20c")["state"], "failed");
    assert_eq!(find("fan/d")["state"], "pending", "an item whose turn has not come");
    assert_eq!(find("group/inner")["state"], "succeeded");
    let table = place.ok(0, ["status", "--items"]);
    assert!(table.contains("fan/b%20c") && table.contains("1/3 done"), "{table}");
}

#[test]
fn a_failed_run_gives_1_and_a_second_start_3_and_a_resume_goes_on() {
    let place = Place::new();
    let plan = place.plan("fragile.yaml", FRAGILE);
    place.ok(1, [plan.as_os_str()]);
    let again = place.flowrun([plan.as_os_str()]);
    assert_eq!(again.code, 3);
    assert!(again.err.contains("resume") && again.err.contains("cancel"), "{}", again.err);
    let why = place.ok(0, ["why", &place.run_id(), "after"]);
    assert!(why.contains("needs `middle`") && why.contains("failed"), "{why}");
    let explained = place.ok(0, ["explain", "--run", &place.run_id()]);
    assert!(explained.contains("keep") && explained.contains("run again"), "{explained}");
    place.touch("mended");
    place.ok(0, ["resume"]);
    assert_eq!(place.until_file("before.txt"), "before\n", "what is done is not done again");
    let resumed = place.flowrun(["resume", &place.run_id()]);
    assert_eq!(resumed.code, 0);
    assert!(resumed.err.contains("nothing to resume"), "{}", resumed.err);
    assert_eq!(place.flowrun(["resume"]).code, 2, "nothing is unfinished");
}

#[test]
fn a_skipped_step_lets_a_resume_go_on_without_it() {
    let place = Place::new();
    let plan = place.plan("fragile.yaml", FRAGILE);
    place.ok(1, [plan.as_os_str()]);
    let done = place.flowrun(["resume", "--skip", "before"]);
    assert_eq!(done.code, 2, "{}", done.err);
    place.ok(0, ["resume", "--skip", "middle"]);
    assert_eq!((place.state_of("middle"), place.state_of("after")), ("skipped".into(), "succeeded".into()));
}

#[test]
fn finished_steps_run_again_only_when_a_person_says_so() {
    let place = Place::new();
    let plan = place.plan("fragile.yaml", FRAGILE);
    place.touch("mended");
    place.ok(0, [plan.as_os_str()]);
    place.ok(0, ["resume", &place.run_id(), "--rerun", "before"]);
    assert_eq!(place.until_file("before.txt").lines().count(), 2);
    let steps = place.status()["steps"].clone();
    assert_eq!((steps[0]["attempts"].as_u64(), steps[1]["attempts"].as_u64()), (Some(2), Some(1)));
    place.ok(0, ["resume", &place.run_id(), "--from", "middle"]);
    let steps = place.status()["steps"].clone();
    assert_eq!((steps[0]["attempts"].as_u64(), steps[1]["attempts"].as_u64()), (Some(2), Some(2)));
    assert_eq!(steps[2]["attempts"].as_u64(), Some(2), "what comes after it");
    assert_eq!(place.flowrun(["resume", &place.run_id(), "--rerun", "nothing"]).code, 2);
}

#[test]
fn a_changed_plan_stops_a_resume_with_a_table_until_it_is_accepted() {
    let place = Place::new();
    let plan = place.plan("fragile.yaml", FRAGILE);
    place.ok(1, [plan.as_os_str()]);
    let changed = FRAGILE.replace("echo before", "echo otherwise").replace("test -e @/mended", "'true'");
    place.plan(
        "fragile.yaml",
        &format!("{}  new: {{ needs: [later], run: echo new }}\n", changed.replace("after", "later")),
    );
    let refused = place.flowrun(["resume"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    for row in
        ["before  changed", "--rerun before", "middle  changed", "later   new", "after   removed", "--accept-changes"]
    {
        assert!(refused.err.contains(row), "`{row}` in\n{}", refused.err);
    }
    assert_eq!(place.status()["state"], "failed", "nothing was started");
    let explained = place.ok(0, ["explain", "--run", &place.run_id()]);
    assert!(explained.contains("--accept-changes"), "{explained}");
}

#[test]
fn an_accepted_change_keeps_what_is_done_and_runs_the_rest_as_now_written() {
    let place = Place::new();
    let plan = place.plan("fragile.yaml", FRAGILE);
    place.ok(1, [plan.as_os_str()]);
    let changed = FRAGILE.replace("echo before", "echo otherwise").replace("test -e @/mended", "echo mended");
    place.plan("fragile.yaml", &changed);
    place.ok(0, ["resume", "--accept-changes"]);
    assert_eq!(place.until_file("before.txt"), "before\n", "it was done, so it is kept");
    assert!(place.ok(0, ["logs", &place.run_id(), "middle"]).contains("mended"));
    assert_eq!(place.status()["state"], "succeeded");
    // The journal with two plans in it is read again.
    place.ok(0, ["resume", &place.run_id(), "--rerun", "before"]);
    assert_eq!(place.until_file("before.txt"), "before\notherwise\n");
}

#[test]
fn what_still_runs_is_waited_for_before_a_changed_plan_goes_on() {
    let place = Place::new();
    let plan = place.plan("long.yaml", LONG);
    let driver = place.start([plan.as_os_str()]);
    let pid = place.until_file("pid");
    driver.crash();
    place.plan("long.yaml", &LONG.replace("echo next", "touch @/next"));
    let resumed = place.start(["resume", "--accept-changes"]);
    until("it says that it waits", || resumed.err().contains("is waited for").then_some(()));
    assert!(lives(&pid), "it was adopted");
    place.touch("go");
    let answer = resumed.wait();
    assert_eq!(answer.code, 0, "{}", answer.err);
    place.until_file("next");
    assert_eq!(place.status()["steps"][0]["attempts"].as_u64(), Some(1), "it was not run again");
}

#[test]
fn a_live_run_is_cancelled_by_its_driver() {
    let place = Place::new();
    let plan = place.plan("long.yaml", LONG);
    let driver = place.start([plan.as_os_str()]);
    let pid = place.until_file("pid");
    let second = place.flowrun(["resume", &place.run_id()]);
    assert_eq!(second.code, 4, "{}", second.err);
    assert_eq!(place.flowrun([plan.as_os_str()]).code, 4, "the same work is running");
    place.ok(0, ["cancel"]);
    assert_eq!(driver.wait().code, 1);
    assert!(!lives(&pid));
    place.until_file("tidied");
    assert_eq!(place.status()["state"], "cancelled");
    assert_eq!(place.flowrun(["resume", &place.run_id()]).code, 1);
    assert_eq!(place.flowrun(["cancel"]).code, 2, "it is cancelled already");
}

#[test]
fn an_interrupted_run_is_cancelled_with_what_lives_on() {
    let place = Place::new();
    let plan = place.plan("long.yaml", LONG);
    let driver = place.start([plan.as_os_str()]);
    let pid = place.until_file("pid");
    driver.crash();
    assert!(lives(&pid), "the host keeps it alive");
    until("it counts as interrupted", || (place.status()["state"] == "interrupted").then_some(()));
    place.ok(0, ["cancel"]);
    assert!(!lives(&pid));
    place.until_file("tidied");
    assert_eq!(place.status()["state"], "cancelled");
}

#[test]
fn a_run_that_waits_for_a_person_gives_5_and_goes_on_after_the_verdict() {
    let place = Place::new();
    let plan = place.plan("long.yaml", &LONG.replace("  long: {", "  long: { on_lost: ask,"));
    let driver = place.start([plan.as_os_str()]);
    let pid = place.until_file("pid");
    driver.crash();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).expect("it lives");
    let host = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).expect("its parent").to_owned();
    for process in [host.as_str(), pid.trim()] {
        let kill = std::process::Command::new("kill").args(["-9", process]).status();
        assert!(kill.expect("kill runs").success());
    }
    until("it is gone", || (!lives(&pid)).then_some(()));
    let resumed = place.flowrun(["resume"]);
    assert_eq!(resumed.code, 5, "{}", resumed.err);
    assert_eq!((place.status()["state"].clone(), place.state_of("long")), ("waiting".into(), "lost".into()));
    let id = place.run_id();
    let why = place.ok(0, ["why", &id, "long"]);
    assert!(why.contains("mark"), "{why}");
    place.ok(0, ["mark", &id, "long", "done", "--because", "looked at it"]);
    place.ok(0, ["resume"]);
    assert_eq!((place.state_of("long"), place.state_of("next")), ("succeeded".into(), "succeeded".into()));
}

#[test]
fn a_failed_run_is_given_up_by_cancel() {
    let place = Place::new();
    let plan = place.plan("fragile.yaml", FRAGILE);
    place.ok(1, [plan.as_os_str()]);
    place.ok(0, ["cancel"]);
    assert_eq!(place.status()["state"], "cancelled");
    place.touch("mended");
    place.ok(0, [plan.as_os_str()]);
}

#[test]
fn a_paused_run_starts_nothing_new_until_it_is_unpaused() {
    let place = Place::new();
    let plan = place.plan("long.yaml", LONG);
    let driver = place.start([plan.as_os_str()]);
    place.until_file("pid");
    place.ok(0, ["pause", "--because", "lunch"]);
    until("it is said", || (place.status()["paused"] == "lunch").then_some(()));
    assert_eq!(place.flowrun(["pause"]).code, 2, "it is paused already");
    place.touch("go");
    place.until_state("long", "succeeded");
    let why = place.ok(0, ["why", &place.run_id(), "next"]);
    assert!(why.contains("paused (lunch)"), "{why}");
    assert_ne!(place.state_of("next"), "succeeded");
    place.ok(0, ["unpause"]);
    assert_eq!(driver.wait().code, 0);
}

#[test]
fn a_run_that_nobody_drives_is_paused_and_marked_in_its_journal() {
    let place = Place::new();
    let plan = place.plan("fragile.yaml", FRAGILE);
    place.ok(1, [plan.as_os_str()]);
    let id = place.run_id();
    place.ok(0, ["pause", &id]);
    place.ok(0, ["unpause", &id]);
    assert_eq!(place.flowrun(["unpause", &id]).code, 2, "it is not paused");
    let marked = place.flowrun(["mark", &id, "middle", "done", "--because", "did it by hand"]);
    assert_eq!(marked.code, 0, "{}", marked.err);
    assert!(marked.err.contains("resume"), "{}", marked.err);
    assert_eq!(place.state_of("middle"), "succeeded");
    assert_eq!(place.flowrun(["mark", &id, "none", "done", "--because", "x"]).code, 2);
    place.ok(0, ["resume"]);
    assert_eq!(place.state_of("after"), "succeeded");
}

#[test]
fn logs_show_all_attempts_and_say_why_there_are_none() {
    let place = Place::new();
    let text = "
name: logs
steps:
  twice: { run: 'echo try $FLOWRUN_TRY; test $FLOWRUN_TRY = 2', retry: { attempts: 2, delay: 10ms } }
  fan: { for_each: ['a b'], run: echo item }
  skipped: { when: '{{eq 1 2}}', run: echo never }
  silent: { run: 'true' }
";
    let plan = place.plan("logs.yaml", text);
    place.ok(0, [plan.as_os_str()]);
    let id = place.run_id();
    assert_eq!(place.ok(0, ["logs", &id, "twice"]), "== twice, try 1\ntry 1\n\n== twice, try 2\ntry 2\n");
    for address in ["fan/a%20b", "fan/a b"] {
        assert_eq!(place.ok(0, ["logs", &id, address]), "item\n");
    }
    let all = place.ok(0, ["logs"]);
    assert!(all.contains("twice (try 2) | try 2\n") && all.contains("fan/a%20b | item\n"), "{all}");
    let json = place.ok(0, ["logs", &id, "fan/a%20b", "--json"]);
    let line: Value = serde_json::from_str(json.trim()).expect("JSON");
    assert_eq!((keys(&line), &line["line"]), (vec!["address".into(), "attempt".into(), "line".into()], &"item".into()));
    for (address, why) in [("skipped", "was skipped"), ("silent", "wrote nothing")] {
        let answer = place.flowrun(["logs", &id, address]);
        assert_eq!(answer.code, 0);
        assert!(answer.err.contains(why), "{address}: {}", answer.err);
    }
    let unknown = place.flowrun(["logs", &id, "twise"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("did you mean `twice`?"), "{}", unknown.err);
}

#[test]
fn logs_are_followed_across_steps_until_the_run_ends() {
    let place = Place::new();
    let plan = place.plan("long.yaml", &LONG.replace("echo $$", "echo begun; echo $$"));
    let driver = place.start([plan.as_os_str()]);
    place.until_file("pid");
    let mut logs = place.start(["logs", "-f"]);
    until("the first line is there", || logs.out().contains("long | begun").then_some(()));
    assert!(logs.runs(), "it goes on");
    place.touch("go");
    assert_eq!(driver.wait().code, 0);
    let answer = logs.wait();
    assert_eq!(answer.code, 0);
    assert_eq!(answer.out, "long | begun\nnext | next\n");
}

#[test]
fn a_run_is_left_to_the_background_and_attached_to() {
    let place = Place::new();
    let plan = place.plan("long.yaml", LONG);
    let id = place.ok(0, ["run".as_ref(), plan.as_os_str(), "--detach".as_ref()]);
    assert_eq!(id.trim(), place.run_id());
    place.until_file("pid");
    let attached = place.start(["attach", "--json"]);
    until("it has begun", || attached.out().contains("\"event\":\"began\"").then_some(()));
    place.touch("go");
    let answer = attached.wait();
    assert_eq!(answer.code, 0, "{}", answer.err);
    assert!(
        answer.out.contains("\"address\":\"next\"") && answer.out.contains("\"event\":\"ended\""),
        "{}",
        answer.out
    );
    assert_eq!(place.status()["state"], "succeeded");
    assert_eq!(place.flowrun(["attach"]).code, 2, "nobody drives it any more");
    let bad = place.plan("bad.yaml", "name: bad\nsteps: { a: { run: 'true', needs: [b] } }\n");
    let refused = place.flowrun(["run".as_ref(), bad.as_os_str(), "--detach".as_ref()]);
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    assert_eq!(place.runs().len(), 1, "nothing was started");
}

#[test]
fn a_resume_is_left_to_the_background() {
    let place = Place::new();
    let plan = place.plan("fragile.yaml", FRAGILE);
    place.ok(1, [plan.as_os_str()]);
    place.touch("mended");
    assert_eq!(place.ok(0, ["resume", "--detach"]).trim(), place.run_id());
    until("it has succeeded", || (place.status()["state"] == "succeeded").then_some(()));
    let nothing = place.flowrun(["resume", "--detach"]);
    assert_eq!(nothing.code, 2, "{}", nothing.err);
}

#[test]
fn a_waiting_step_names_its_gate_and_those_that_hold_its_pool() {
    let place = Place::new();
    let text = "
name: waits
pools: { one: 1 }
gates: { open: { file: '@/open', every: 1s } }
steps:
  gated: { gates: [open], run: 'true' }
  holder: { pool: one, run: 'touch @/held; until test -e @/go; do sleep 0.05; done' }
  queued: { pool: one, needs: [early], run: 'true' }
  early: { run: 'true' }
";
    let plan = place.plan("waits.yaml", text);
    let driver = place.start([plan.as_os_str()]);
    place.until_file("held");
    place.until_state("gated", "waiting");
    let steps = place.status()["steps"].clone();
    assert_eq!(steps[0]["waiting"]["gate"], "open", "{steps}");
    let why = until("the gate was measured", || {
        Some(place.ok(0, ["why", &place.run_id(), "gated"])).filter(|why| why.contains("does not exist"))
    });
    assert!(why.contains("gate `open`"), "{why}");
    let why = until("it waits for the pool", || {
        Some(place.ok(0, ["why", &place.run_id(), "queued"])).filter(|why| why.contains("hold"))
    });
    assert!(why.contains("pool `one`") && why.contains("`holder`"), "{why}");
    place.touch("open");
    place.touch("go");
    assert_eq!(driver.wait().code, 0);
}

#[test]
fn explain_shows_waves_and_commands_and_never_a_secret() {
    let place = Place::new();
    let text = "
name: explained
params: { who: { type: string, default: world } }
secrets: { key: { env: KEY } }
steps:
  second: { needs: [first], exec: [echo, '{{params.who}} {{steps.first.x}}'] }
  first: { run: 'echo \"$K\" x={{sh params.who}}', env: { K: '{{secrets.key}}' }, outputs: { x: { from: stdout, as: text } } }
  third: { uses: exec, with: { argv: [cat, '{{secrets.key}}'] } }
";
    let plan = place.plan("explained.yaml", text);
    let mut command = place.command(["explain".as_ref(), plan.as_os_str(), "--set".as_ref(), "who=you".as_ref()]);
    let output = command.env("KEY", "very-secret").output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    for part in ["wave 1:\n  first", "x=you", "wave 2:\n  second", "you {{steps.first.x}}", "{{secrets.key}}"] {
        assert!(said.contains(part), "`{part}` in\n{said}");
    }
    assert!(!said.contains("very-secret"), "{said}");
    assert!(!said.contains("last time"), "there is no past");
    assert!(!place.state().join("runs").exists(), "nothing was started");
}

#[test]
fn explain_estimates_by_past_runs() {
    let place = Place::new();
    let plan = place.plan("quick.yaml", QUICK);
    place.ok(0, [plan.as_os_str()]);
    let said = place.ok(0, ["explain".as_ref(), plan.as_os_str()]);
    assert!(said.contains("first  (took ~10s last time)"), "{said}");
}

#[test]
fn prune_removes_what_has_ended_and_nothing_that_can_be_gone_on_with() {
    let place = Place::new();
    let quick = place.plan("quick.yaml", QUICK);
    let fragile = place.plan("fragile.yaml", FRAGILE);
    place.ok(0, [quick.as_os_str()]);
    place.ok(1, [fragile.as_os_str()]);
    assert!(place.ok(0, ["prune", "--keep", "30d"]).contains("removed 0 runs"));
    assert_eq!(place.runs().len(), 2);
    let pruned = place.flowrun(["prune", "--keep", "0s"]);
    assert!(pruned.out.contains("removed 1 run, freed"), "{}", pruned.out);
    assert!(pruned.err.contains("kept 1 run"), "{}", pruned.err);
    assert_eq!(place.status()["plan"], "fragile");
}

#[test]
fn commands_that_keep_no_runs_need_no_home() {
    let place = Place::new();
    let plan = place.plan("quick.yaml", QUICK);
    let bare = |args: &[&std::ffi::OsStr]| {
        let mut command = place.command(args);
        command.env_remove("HOME").env_remove("FLOWRUN_STATE_DIR").env_remove("XDG_STATE_HOME");
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(bare(&["steps".as_ref()]).contains("shell"));
    assert!(bare(&["steps".as_ref(), "shell".as_ref()]).contains("script"));
    assert!(bare(&["completions".as_ref(), "bash".as_ref()]).contains("accept-changes"));
    assert!(serde_json::from_str::<Value>(&bare(&["schema".as_ref()])).expect("JSON").is_object());
    bare(&["check".as_ref(), plan.as_os_str()]);
    assert_eq!(place.flowrun(["steps", "shel"]).code, 2);
}

#[test]
fn a_check_gives_its_findings_as_json() {
    let place = Place::new();
    let plan = place.plan("bad.yaml", "name: bad\nsteps: { a: { run: 'true', needs: [b] } }\n");
    let answer = place.flowrun(["check".as_ref(), plan.as_os_str(), "--json".as_ref()]);
    assert_eq!(answer.code, 2);
    let findings: Value = serde_json::from_str(&answer.out).expect("JSON");
    assert_eq!(keys(&findings[0]), ["code", "column", "file", "help", "line", "message", "severity"]);
    assert_eq!(place.flowrun([plan.as_os_str()]).code, 2);
    assert_eq!(place.flowrun(["status"]).code, 2, "there is no run");
}

#[test]
fn a_state_directory_that_cannot_be_used_gives_6() {
    let place = Place::new();
    let plan = place.plan("quick.yaml", QUICK);
    std::fs::write(place.path().join("state"), "a file").expect("written");
    let answer = place.flowrun([plan.as_os_str()]);
    assert_eq!(answer.code, 6, "{}", answer.err);
    std::fs::remove_file(place.path().join("state")).expect("removed");
    place.ok(0, [plan.as_os_str()]);
    let id = place.run_id();
    std::fs::write(place.run_dir(&id).join("journal.db"), [7_u8; 8192]).expect("damaged");
    assert_eq!(place.flowrun(["status", &id]).code, 6);
    let listed = place.flowrun(["runs"]);
    assert_eq!(listed.code, 0);
    assert!(listed.err.contains(&id), "{}", listed.err);
}

#[test]
fn the_state_directory_is_named_as_a_shell_takes_it() {
    let place = Place::new();
    let plan = place.plan("fragile.yaml", FRAGILE);
    let state = place.path().join("a state");
    let args = ["--state-dir".as_ref(), state.as_os_str(), plan.as_os_str()];
    let answer = place.flowrun(args);
    assert_eq!(answer.code, 1);
    let quoted = format!("flowrun --state-dir '{}' resume", state.display());
    assert!(answer.err.contains(&quoted), "{}", answer.err);
}

#[test]
fn a_run_on_a_disk_that_cannot_be_written_is_shown() {
    let place = Place::new();
    let plan = place.plan("quick.yaml", QUICK);
    place.ok(0, [plan.as_os_str()]);
    // Root may write whatever the modes say; for it this is a plain reading.
    let modes = |mode: &str| {
        let chmod = std::process::Command::new("chmod").args(["-R", mode]).arg(place.state()).status();
        assert!(chmod.expect("chmod runs").success());
    };
    modes("a-w");
    let answer = place.flowrun(["status", "--json"]);
    modes("u+w");
    assert_eq!(answer.code, 0, "{}", answer.err);
}
