//! Every registered type keeps to what all of them must keep to. A type without a sample fails here.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use flowrun_sdk::testkit::{SECRET, Sample, conformance};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Every name under a folder, with its content where it is small; an archive is told by its name alone.
fn tree(dir: &Path) -> String {
    let mut lines = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            if path.is_dir() {
                open.push(path);
                lines.push(format!("{name}/"));
            } else if name.ends_with("gz") || name == "huge/file" {
                lines.push(name);
            } else {
                lines.push(format!("{name}={}", fs::read_to_string(path).unwrap()));
            }
        }
    }
    lines.sort();
    lines.join(" ")
}

fn dump(dir: &Path) {
    fs::create_dir_all(dir.join("dump/sub")).unwrap();
    fs::write(dir.join("dump/sub/a"), "a").unwrap();
    fs::write(dir.join("dump/b"), "b".repeat(10_000)).unwrap();
    // The same archive each time: folders last, since what is made in them touches them.
    for path in ["dump/sub/a", "dump/b", "dump/sub", "dump"] {
        fs::File::open(dir.join(path)).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    fs::create_dir(dir.join("huge")).unwrap();
    // Without blocks on the disk, and hours to pack.
    fs::File::create(dir.join("huge/file")).unwrap().set_len(1 << 40).unwrap();
}

fn packed(dir: &Path) {
    let mut bytes = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&fs::metadata(dir).unwrap());
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(5);
    bytes.append_data(&mut header, "sub/a", &b"hello"[..]).unwrap();
    fs::write(dir.join("a.tar.gz"), bytes.into_inner().unwrap().finish().unwrap()).unwrap();
    fs::write(dir.join("cut.tar.gz"), &fs::read(dir.join("a.tar.gz")).unwrap()[..40]).unwrap();
}

fn samples() -> BTreeMap<&'static str, Sample> {
    let process =
        |input, lasting, failing| Sample { prepare: |_| {}, input, lasting: Some(lasting), failing, effect: tree };
    BTreeMap::from([
        (
            "shell",
            process(
                json!({
                    "script": format!("echo {SECRET}; echo once >> times; sleep 0.1; echo rows=1 >> $FLOWRUN_OUTPUT"),
                    "outputs": { "text": { "from": "stdout" } },
                }),
                json!({ "script": "sleep 600" }),
                vec![
                    json!({ "script": format!("echo {SECRET} >&2; exit 3") }),
                    json!({ "script": format!("echo {SECRET}"), "outputs": { "x": { "from": "stdout", "as": "json" } } }),
                    json!({ "script": format!("echo {SECRET} >> $FLOWRUN_OUTPUT") }),
                ],
            ),
        ),
        (
            "exec",
            process(
                json!({ "argv": ["sh", "-c", "echo once >> times; sleep 0.1; echo '{\"a\": 1}' >> $FLOWRUN_OUTPUT"] }),
                json!({ "argv": ["sleep", "600"] }),
                vec![
                    json!({ "argv": ["false"] }),
                    json!({ "argv": ["/no/such/program", SECRET] }),
                    json!({ "argv": [] }),
                ],
            ),
        ),
        (
            "file.template",
            Sample {
                prepare: |dir| fs::write(dir.join("my.cnf"), "old").unwrap(),
                input: json!({ "path": "my.cnf", "text": format!("password={SECRET}"), "mode": "0600" }),
                lasting: None,
                failing: vec![
                    json!({ "path": "my.cnf", "text": SECRET }),
                    json!({ "path": "gone/my.cnf", "text": SECRET, "mode": "0600" }),
                ],
                effect: tree,
            },
        ),
        (
            "archive.create",
            Sample {
                prepare: dump,
                input: json!({ "path": "a.tar.gz", "source": "dump" }),
                lasting: Some(json!({ "path": "a.tar.gz", "source": "huge" })),
                failing: vec![
                    json!({ "path": "a.tar.gz", "source": "gone" }),
                    json!({ "path": "a", "source": "dump" }),
                ],
                effect: tree,
            },
        ),
        (
            "archive.extract",
            Sample {
                prepare: packed,
                input: json!({ "path": "a.tar.gz", "into": "out" }),
                lasting: None,
                failing: vec![
                    json!({ "path": "cut.tar.gz", "into": "out" }),
                    json!({ "path": "gone.tar.gz", "into": "out" }),
                    json!({ "path": "a.tar.gz", "into": "." }),
                ],
                effect: tree,
            },
        ),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_keeps_to_the_rules() {
    let faults = conformance(&flowrun_steps::registry(), &samples()).await;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn a_type_without_a_sample_is_a_fault() {
    let faults = conformance(&flowrun_steps::registry(), &BTreeMap::new()).await;
    assert!(faults.contains(&"`shell` has no sample".to_owned()), "{faults:?}");
}

/// Appends a line each time it runs, and never looks.
struct Careless;

#[derive(serde::Deserialize, flowrun_sdk::schemars::JsonSchema)]
struct CarelessInput {
    line: String,
}

impl flowrun_sdk::StepType for Careless {
    type Input = CarelessInput;
    type Output = ();
    const NAME: &'static str = "careless";
    const SUMMARY: &'static str = "Appends a line.";

    async fn run(&self, cx: &flowrun_sdk::StepCx, input: &CarelessInput) -> flowrun_sdk::StepResult<()> {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(cx.dir().join("lines")).unwrap();
        std::io::Write::write_all(&mut file, input.line.as_bytes()).unwrap();
        cx.note("done", json!(input.line)).await
    }

    async fn reconcile(
        &self,
        _cx: &flowrun_sdk::StepCx,
        _input: &CarelessInput,
    ) -> flowrun_sdk::StepResult<flowrun_sdk::Found<()>> {
        Ok(flowrun_sdk::Found::NotDone)
    }
}

#[tokio::test]
async fn a_careless_type_is_caught_in_all_it_does() {
    let sample =
        Sample { prepare: |_| {}, input: json!({ "line": SECRET }), lasting: None, failing: Vec::new(), effect: tree };
    let registry = flowrun_sdk::Registry::new().register(Careless);
    let faults = conformance(&registry, &BTreeMap::from([("careless", sample)])).await.join("\n");
    for fault in [
        "says nothing of itself",
        "input.line is not documented",
        "takes unknown keys",
        "takes an unknown input",
        "had an effect though it was cancelled",
        "names no inputs that fail",
        "notes a secret",
        "after BeforeNote(1) leaves",
        "after AfterNote(1) leaves",
        "does not find its own whole effect",
    ] {
        assert!(faults.contains(fault), "{fault} is not among:\n{faults}");
    }
}
