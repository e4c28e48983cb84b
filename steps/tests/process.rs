//! `shell` and `exec` with real children.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use flowrun_sdk::error::ErrorKind;
use flowrun_sdk::testkit::{Crash, Fate, Kit};
use flowrun_sdk::{Found, StepError};
use serde_json::{Value, json};
use std::time::Duration;

async fn run_in(kit: &Kit, name: &str, input: Value) -> Result<Value, StepError> {
    let registry = flowrun_steps::registry();
    match kit.run(registry.get(name).unwrap().as_ref(), input, None).await {
        Fate::Ended(result) => result,
        Fate::Crashed => panic!("nobody asked for a crash"),
    }
}

async fn run(name: &str, input: Value) -> Result<Value, StepError> {
    run_in(&Kit::new().unwrap(), name, input).await
}

fn stdout(kind: &str) -> Value {
    json!({ "x": { "from": "stdout", "as": kind } })
}

#[tokio::test]
async fn an_exit_code_that_is_not_ok_fails_and_another_try_may_help() {
    let error = run("shell", json!({ "script": "exit 3" })).await.unwrap_err();
    assert_eq!((error.kind, error.exit), (ErrorKind::Transient, Some(3)));
    assert_eq!(error.message, "the script ended with exit code 3");
    let error = run("exec", json!({ "argv": ["/bin/false"] })).await.unwrap_err();
    assert_eq!(error.message, "`false` ended with exit code 1");
}

#[tokio::test]
async fn exit_codes_that_mean_success_are_the_plan_s_to_say() {
    let input = json!({ "script": "exit 3", "ok_exit": [0, 3] });
    assert_eq!(run("shell", input).await.unwrap(), json!({}));
}

#[tokio::test]
async fn a_script_stops_at_its_first_failure_and_at_an_unset_name() {
    assert_eq!(run("shell", json!({ "script": "false | true\nexit 0" })).await.unwrap_err().exit, Some(1));
    assert!(run("shell", json!({ "script": "echo $no_such_name" })).await.is_err());
}

#[tokio::test]
async fn another_shell_may_be_named_with_its_options() {
    for shell in [json!(["sh", "-e"]), json!(["sh", "-e", "-c"])] {
        let input = json!({ "script": "echo $-", "shell": shell, "outputs": stdout("text") });
        let output = run("shell", input).await.unwrap();
        assert!(output["x"].as_str().unwrap().contains('e'), "{output}");
    }
    assert!(run("shell", json!({ "script": "true", "shell": ["-c"] })).await.is_err());
}

#[tokio::test]
async fn a_signal_is_named() {
    let error = run("shell", json!({ "script": "kill -KILL $$" })).await.unwrap_err();
    assert_eq!(error.message, "the script was ended by signal KILL");
    assert_eq!(error.kind, ErrorKind::Transient);
}

#[tokio::test]
async fn running_out_of_time_is_told_apart() {
    let kit = Kit::new().unwrap();
    kit.timeout(Duration::from_millis(50));
    let error = run_in(&kit, "exec", json!({ "argv": ["sleep", "60"] })).await.unwrap_err();
    assert!(error.timed_out && error.kind == ErrorKind::Transient, "{error:?}");
}

#[tokio::test]
async fn a_lost_exit_code_is_uncertain_and_nobody_can_know() {
    let kit = Kit::new().unwrap();
    kit.lose_exits();
    let input = json!({ "argv": ["true"] });
    assert_eq!(run_in(&kit, "exec", input.clone()).await.unwrap_err().kind, ErrorKind::Uncertain);
    let registry = flowrun_steps::registry();
    let found = registry.get("exec").unwrap().reconcile(&kit.cx(), input).await.unwrap();
    assert!(matches!(found, Found::Unknown { look_at } if look_at.contains("`kit`")));
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_an_error_of_its_own() {
    let error = run("exec", json!({ "argv": ["/no/such/program"] })).await.unwrap_err();
    assert!(error.message.contains("cannot start `/no/such/program`"), "{error}");
    assert!(run("exec", json!({ "argv": [] })).await.unwrap_err().message.contains("names none"));
}

#[tokio::test]
async fn standard_output_becomes_text_lines_numbers_and_json() {
    for (kind, script, value) in [
        ("text", "printf 'a b\\n\\n'", json!("a b")),
        ("lines", "printf 'a\\nb\\n'", json!(["a", "b"])),
        ("lines", "true", json!([])),
        ("number", "echo 42", json!(42)),
        ("number", "echo 18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("number", "echo ' 1.5 '", json!(1.5)),
        ("json", "echo '[{\"name\": \"acme\"}]'", json!([{ "name": "acme" }])),
    ] {
        let output = run("shell", json!({ "script": script, "outputs": stdout(kind) })).await.unwrap();
        assert_eq!(output["x"], value, "{script}");
    }
}

#[tokio::test]
async fn a_match_picks_its_first_group_or_the_whole() {
    let outputs = json!({
        "rows": { "from": "stdout", "as": "number", "match": "rows: (\\d+)" },
        "word": { "from": "stdout", "match": "r[a-z]+" },
    });
    let output = run("shell", json!({ "script": "echo 'rows: 12'", "outputs": outputs })).await.unwrap();
    assert_eq!(output, json!({ "rows": 12, "word": "rows" }));
}

#[tokio::test]
async fn a_script_hands_out_more_through_its_file() {
    let script = "echo a=1=2 >> $FLOWRUN_OUTPUT\necho '{\"b\": [1], \"c\": null}' >> $FLOWRUN_OUTPUT";
    assert_eq!(run("shell", json!({ "script": script })).await.unwrap(), json!({ "a": "1=2", "b": [1], "c": null }));
}

#[tokio::test]
async fn an_output_that_is_not_what_it_should_be_is_refused_though_the_exit_code_is_0() {
    for (script, outputs, says) in [
        ("echo '{\"rows\": 12'", stdout("json"), "output `x`: standard output is not JSON"),
        ("echo twelve", stdout("number"), "is not a number; it is `twelve`"),
        ("echo inf", stdout("number"), "is not a number"),
        ("true", stdout("json"), "it is empty"),
        ("echo a", json!({ "x": { "from": "stdout", "match": "b+" } }), "nothing that matches `b+`"),
        ("printf '\\377'", stdout("text"), "byte 0 is not UTF-8"),
        ("head -c 1100000 /dev/zero | tr '\\0' x", stdout("text"), "output `x` is too large"),
        ("head -c 9000000 /dev/zero | tr '\\0' x", stdout("text"), "larger than 8 MiB"),
        ("echo a=1 >> $FLOWRUN_OUTPUT; echo a=2 >> $FLOWRUN_OUTPUT", json!({}), "output `a` is handed out twice"),
        ("echo x=1 >> $FLOWRUN_OUTPUT", stdout("text"), "output `x` is handed out twice"),
        ("echo one >> $FLOWRUN_OUTPUT", json!({}), "line 1 of `$FLOWRUN_OUTPUT`: it has no `=`"),
        ("echo '{\"a\": ' >> $FLOWRUN_OUTPUT", json!({}), "is not a JSON object"),
        ("echo 'a b=1' >> $FLOWRUN_OUTPUT", json!({}), "cannot hand out `a b`"),
        ("echo 'state=1' >> $FLOWRUN_OUTPUT", json!({}), "cannot hand out `state`"),
    ] {
        let error = run("shell", json!({ "script": script, "outputs": outputs })).await.unwrap_err();
        assert!(error.message.contains(says), "{script}: {error}");
        assert_eq!(error.kind, ErrorKind::Permanent, "{script}");
        assert!(error.hint.is_some(), "{script}");
    }
}

#[tokio::test]
async fn a_bad_pattern_is_told_before_anything_starts() {
    let registry = flowrun_steps::registry();
    for (input, says) in [
        (json!({ "script": "true", "progress": "(" }), "cannot read `progress`"),
        (json!({ "script": "true", "outputs": { "x": { "from": "stdout", "match": "(" } } }), "`match` of output `x`"),
        (json!({ "script": "true", "outputs": { "1x": { "from": "stdout" } } }), "cannot hand out `1x`"),
    ] {
        let kit = Kit::new().unwrap();
        let step = registry.get("shell").unwrap();
        let error = step.preflight(&kit.cx(), input.clone()).await.unwrap_err();
        assert!(error.message.contains(says), "{error}");
        assert!(run_in(&kit, "shell", input).await.is_err());
        assert_eq!(kit.children(), 0);
    }
}

#[tokio::test]
async fn captured_output_reaches_the_log_without_secrets_and_not_whole_where_it_is_long() {
    let kit = Kit::new().unwrap();
    kit.secret("s3cr3t-word");
    let script = "echo begin s3cr3t-word; head -c 200000 /dev/zero | tr '\\0' x | fold -w 100; echo; echo end; exit 1";
    let error = run_in(&kit, "shell", json!({ "script": script, "outputs": stdout("text") })).await.unwrap_err();
    assert_eq!(error.exit, Some(1));
    let log = kit.log();
    assert!(log.contains("begin ***") && log.ends_with("end\n"), "{}", &log[log.len() - 200..]);
    assert!(log.contains("bytes of standard output are not shown") && log.len() < 100_000);
}

#[tokio::test]
async fn an_error_about_an_output_shows_no_secret() {
    let kit = Kit::new().unwrap();
    kit.secret("s3cr3t-word");
    let input = json!({ "script": "echo key s3cr3t-word", "outputs": stdout("json") });
    let error = run_in(&kit, "shell", input).await.unwrap_err();
    assert!(error.message.contains("`key ***`"), "{error}");
}

#[tokio::test]
async fn a_script_with_a_secret_is_not_an_argument_and_a_long_one_need_not_fit_into_one() {
    let kit = Kit::new().unwrap();
    kit.secret("s3cr3t-word");
    let script = "tr '\\0' ' ' < /proc/$$/cmdline; test s3cr3t-word = s3cr3t-wor\"d\"";
    let output = run_in(&kit, "shell", json!({ "script": script, "outputs": stdout("text") })).await.unwrap();
    assert!(!output["x"].as_str().unwrap().contains("s3cr3t"), "{output}");
    let script = format!("# {}\nexit 7", "x".repeat(200_000));
    assert_eq!(run("shell", json!({ "script": script })).await.unwrap_err().exit, Some(7));
}

#[tokio::test]
async fn a_child_that_lives_on_after_a_crash_is_adopted_and_starts_no_second_time() {
    let kit = Kit::new().unwrap();
    kit.secret("s3cr3t-word");
    let registry = flowrun_steps::registry();
    let step = registry.get("shell").unwrap();
    let script = ": s3cr3t-word; echo start >> starts\nuntil [ -e go ]; do sleep 0.02; done\n\
                  echo rows=5 >> $FLOWRUN_OUTPUT; echo bye";
    let input = json!({ "script": script, "outputs": stdout("text") });
    assert_eq!(kit.run(step.as_ref(), input.clone(), Some(Crash::AfterChild(1))).await, Fate::Crashed);
    std::fs::write(kit.dir().join("go"), "").unwrap();
    let output = kit.run(step.as_ref(), input.clone(), None).await;
    assert_eq!(output, Fate::Ended(Ok(json!({ "rows": "5", "x": "bye" }))));
    assert_eq!(kit.run(step.as_ref(), input, None).await, output, "reading the result can be done twice");
    assert_eq!(std::fs::read_to_string(kit.dir().join("starts")).unwrap(), "start\n");
    assert_eq!(kit.children(), 1);
}

#[tokio::test]
async fn a_child_tells_how_far_it_is() {
    let wait = "until [ -e go ]; do sleep 0.02; done";
    for (script, progress) in [
        ("echo 12/400 tables >> $FLOWRUN_PROGRESS", None),
        ("echo 12 of 400 tables", Some(r"(?<done>\d+) of (?<total>\d+) (?<unit>\w+)")),
    ] {
        let kit = Kit::new().unwrap();
        let registry = flowrun_steps::registry();
        let step = registry.get("shell").unwrap();
        let input = json!({ "script": format!("{script}\n{wait}"), "progress": progress });
        let seen = async {
            while kit.progress().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            std::fs::write(kit.dir().join("go"), "").unwrap();
        };
        let (fate, ()) = tokio::join!(kit.run(step.as_ref(), input, None), seen);
        assert_eq!(fate, Fate::Ended(Ok(json!({}))));
        let last = kit.progress().pop().unwrap();
        assert_eq!((last.done, last.total, last.unit.as_str()), (12.0, Some(400.0), "tables"));
    }
}

#[tokio::test]
async fn a_cancelled_child_ends() {
    let kit = Kit::new().unwrap();
    let stop = async {
        kit.stirred().await;
        kit.cancel();
    };
    let (result, ()) = tokio::join!(run_in(&kit, "exec", json!({ "argv": ["sleep", "60"] })), stop);
    assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn all_that_a_script_leaves_is_waited_for_where_the_plan_says_so() {
    let kit = Kit::new().unwrap();
    let script = "(sleep 0.2; echo late > late) & exit 0";
    run_in(&kit, "shell", json!({ "script": script, "wait_all": true })).await.unwrap();
    assert!(kit.dir().join("late").exists());
}
