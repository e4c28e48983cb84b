//! The crates know each other as ARCHITECTURE.md says, and in no other way.

use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// A crate, and the crates of ours that it may name.
const MAY: [(&str, &[&str]); 5] = [
    ("flowrun-core", &[]),
    ("flowrun-sdk", &["flowrun-core"]),
    ("flowrun-steps", &["flowrun-sdk"]),
    ("flowrun-engine", &["flowrun-core", "flowrun-sdk"]),
    ("flowrun", &["flowrun-core", "flowrun-sdk", "flowrun-engine", "flowrun-steps"]),
];

#[test]
fn no_crate_knows_another_than_it_may() {
    let known = edges();
    for (name, needs) in &known {
        let Some((_, may)) = MAY.iter().find(|(one, _)| one == name) else {
            panic!("`{name}` is new: say in ARCHITECTURE.md which import it forbids, and here what it may name");
        };
        for need in needs {
            assert!(may.contains(&need.as_str()), "`{name}` names `{need}`, which it must not know");
        }
    }
    assert_eq!(known.len(), MAY.len(), "every crate of the table is there");
}

#[test]
fn the_core_needs_nothing_that_touches_the_world() {
    let needs = &all_needs()["flowrun-core"];
    for need in needs {
        assert!(["serde", "serde_json", "thiserror", "proptest"].contains(&need.as_str()), "the core names `{need}`");
    }
}

#[test]
fn sqlite_and_yaml_are_the_engine_s_alone() {
    for (name, needs) in all_needs() {
        for only in ["rusqlite", "serde-saphyr"] {
            assert!(name == "flowrun-engine" || !needs.contains(&only.to_owned()), "`{name}` names `{only}`");
        }
    }
}

/// Our crates, each with those of ours that it names, in tests and builds too.
fn edges() -> BTreeMap<String, Vec<String>> {
    let all = all_needs();
    let ours: Vec<String> = all.keys().cloned().collect();
    let of_ours = |needs: Vec<String>| needs.into_iter().filter(|need| ours.contains(need)).collect();
    all.into_iter().map(|(name, needs)| (name, of_ours(needs))).collect()
}

fn all_needs() -> BTreeMap<String, Vec<String>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline", "--manifest-path", manifest])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    list(&metadata["packages"])
        .iter()
        .map(|package| (name(package), list(&package["dependencies"]).iter().map(name).collect()))
        .collect()
}
