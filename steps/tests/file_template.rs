//! `file.template` with real files.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use flowrun_sdk::StepError;
use flowrun_sdk::error::ErrorKind;
use flowrun_sdk::testkit::{Fate, Kit};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

async fn run(kit: &Kit, input: Value) -> Result<Value, StepError> {
    let registry = flowrun_steps::registry();
    match kit.run(registry.get("file.template").unwrap().as_ref(), input, None).await {
        Fate::Ended(result) => result,
        Fate::Crashed => panic!("nobody asked for a crash"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_new_file_has_its_text_and_its_mode_and_leaves_nothing_beside_it() {
    let kit = Kit::new().unwrap();
    let output = run(&kit, json!({ "path": "my.cnf", "text": "[mysqld]\n", "mode": "0640" })).await.unwrap();
    let path = kit.dir().join("my.cnf");
    assert_eq!(output, json!({ "path": path, "changed": true, "backup": null }));
    assert_eq!(fs::read_to_string(&path).unwrap(), "[mysqld]\n");
    assert_eq!(mode(&path), 0o640);
    assert_eq!(names(&kit.dir()), ["my.cnf"]);
}

#[tokio::test]
async fn a_file_that_is_right_is_not_touched() {
    let kit = Kit::new().unwrap();
    let path = kit.dir().join("a");
    fs::write(&path, "text").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let before = fs::metadata(&path).unwrap();
    let output = run(&kit, json!({ "path": "a", "text": "text" })).await.unwrap();
    assert_eq!((&output["changed"], &output["backup"]), (&json!(false), &json!(null)));
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
    assert_eq!(kit.notes(), []);
}

#[tokio::test]
async fn the_file_that_was_there_is_kept_with_its_own_mode() {
    let kit = Kit::new().unwrap();
    let path = kit.dir().join("a");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let output = run(&kit, json!({ "path": "a", "text": "new" })).await.unwrap();
    let backup = Path::new(output["backup"].as_str().unwrap());
    assert!(backup.to_str().unwrap().contains("/a.bak-"), "{output}");
    assert_eq!((fs::read_to_string(backup).unwrap().as_str(), mode(backup)), ("old", 0o600));
    assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("new", 0o644));
    let again = run(&kit, json!({ "path": "a", "text": "new" })).await.unwrap();
    assert_eq!(again, output, "what the step's earlier attempt changed counts");
}

#[tokio::test]
async fn no_backup_is_kept_where_nobody_wants_one_or_only_the_mode_changed() {
    let kit = Kit::new().unwrap();
    fs::write(kit.dir().join("a"), "old").unwrap();
    let output = run(&kit, json!({ "path": "a", "text": "new", "backup": false })).await.unwrap();
    assert_eq!(output["backup"], json!(null));
    let output = run(&kit, json!({ "path": "a", "text": "new", "mode": "0600" })).await.unwrap();
    assert_eq!((&output["changed"], &output["backup"]), (&json!(true), &json!(null)));
    assert_eq!(names(&kit.dir()), ["a"]);
    assert_eq!(mode(&kit.dir().join("a")), 0o600);
}

#[tokio::test]
async fn folders_are_made_only_where_the_plan_says_so() {
    let kit = Kit::new().unwrap();
    let error = run(&kit, json!({ "path": "x/y/a", "text": "t" })).await.unwrap_err();
    assert!(error.message.contains("its folder does not exist"), "{error}");
    assert!(error.hint.unwrap().contains("make_dirs"));
    run(&kit, json!({ "path": "x/y/a", "text": "t", "make_dirs": true })).await.unwrap();
    assert!(kit.dir().join("x/y/a").is_file());
}

#[tokio::test]
async fn a_link_stays_and_the_file_behind_it_is_written() {
    let kit = Kit::new().unwrap();
    fs::create_dir(kit.dir().join("real")).unwrap();
    fs::write(kit.dir().join("real/a"), "old").unwrap();
    symlink("real/a", kit.dir().join("a")).unwrap();
    run(&kit, json!({ "path": "a", "text": "new", "backup": false })).await.unwrap();
    assert!(kit.dir().join("a").is_symlink());
    assert_eq!(fs::read_to_string(kit.dir().join("real/a")).unwrap(), "new");
    symlink("gone", kit.dir().join("b")).unwrap();
    let error = run(&kit, json!({ "path": "b", "text": "new" })).await.unwrap_err();
    assert!(error.message.contains("a link that leads nowhere"), "{error}");
}

#[tokio::test]
async fn what_is_no_file_is_refused() {
    let kit = Kit::new().unwrap();
    fs::create_dir(kit.dir().join("d")).unwrap();
    for (path, says) in [("d", "not a regular file"), ("d/", "names no file"), ("..", "names no file")] {
        let error = run(&kit, json!({ "path": path, "text": "t" })).await.unwrap_err();
        assert!(error.message.contains(says), "{path}: {error}");
        assert_eq!(error.kind, ErrorKind::Permanent);
    }
}

#[tokio::test]
async fn a_text_with_a_secret_is_not_written_for_everybody_to_read() {
    let kit = Kit::new().unwrap();
    kit.secret("s3cr3t-word");
    let error = run(&kit, json!({ "path": "a", "text": "password=s3cr3t-word" })).await.unwrap_err();
    assert!(error.message.contains("holds a secret") && !error.message.contains("s3cr3t"), "{error}");
    assert_eq!(error.kind, ErrorKind::Permanent);
    assert_eq!(names(&kit.dir()), Vec::<String>::new());
    run(&kit, json!({ "path": "a", "text": "password=s3cr3t-word", "mode": "0600" })).await.unwrap();
    assert_eq!(fs::read_to_string(kit.dir().join("a")).unwrap(), "password=s3cr3t-word");
}

#[tokio::test]
async fn a_name_that_the_file_system_refuses_leaves_nothing() {
    let kit = Kit::new().unwrap();
    fs::create_dir(kit.dir().join("locked")).unwrap();
    fs::write(kit.dir().join("locked/a"), "old").unwrap();
    let error = run(&kit, json!({ "path": format!("locked/{}", "x".repeat(300)), "text": "t" })).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent, "{error}");
    assert_eq!(names(&kit.dir().join("locked")), ["a"]);
}
