//! Step types for the tests of plans: the shapes of real ones, without what they do.

use flowrun_engine::plan::{Loaded, load_text};
use flowrun_sdk::schemars::{self, JsonSchema};
use flowrun_sdk::{Found, Registry, StepCx, StepResult, StepType};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Whatever a script hands out.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Anything(BTreeMap<String, Value>);

macro_rules! step_type {
    ($name:ident, $input:ty, $output:ty, $uses:literal, $summary:literal) => {
        struct $name;
        impl StepType for $name {
            type Input = $input;
            type Output = $output;
            const NAME: &'static str = $uses;
            const SUMMARY: &'static str = $summary;

            async fn run(&self, _: &StepCx, _: &$input) -> StepResult<$output> {
                Err(flowrun_sdk::StepError::permanent("these tests run nothing"))
            }

            async fn reconcile(&self, _: &StepCx, _: &$input) -> StepResult<Found<$output>> {
                Ok(Found::NotDone)
            }
        }
    };
}

/// Inputs of a script.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
pub struct ShellInput {
    /// The script.
    script: String,
    /// The shell and its options.
    #[serde(default)]
    shell: Vec<String>,
    /// Exit codes that mean success.
    #[serde(default)]
    ok_exit: Vec<i32>,
    /// What is handed out.
    #[serde(default)]
    outputs: BTreeMap<String, Value>,
    /// A regex.
    #[serde(default)]
    progress: Option<String>,
    /// Wait for all.
    #[serde(default)]
    wait_all: bool,
}

/// Inputs of a program.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
pub struct ExecInput {
    /// The program and its arguments.
    argv: Vec<String>,
}

/// How an archive is packed.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// Not at all.
    None,
    /// gzip
    Gzip,
    /// zstd
    Zstd,
}

/// Inputs of an archive.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
pub struct ArchiveInput {
    /// The file to write. It appears whole or not at all.
    path: String,
    /// What goes in.
    sources: Vec<String>,
    /// How it is packed.
    #[serde(default)]
    packing: Option<Packing>,
    /// From 1 to 9.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9))]
    level: Option<u8>,
    /// Names that are left out.
    #[serde(default)]
    #[schemars(extend("format" = "regex"))]
    exclude: Option<String>,
    /// Follow links.
    #[serde(default)]
    follow: bool,
}

/// Outputs of an archive.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ArchiveOutput {
    /// The file.
    path: String,
    /// Its size.
    bytes: u64,
}

step_type!(Shell, ShellInput, Anything, "shell", "Runs a script.");
step_type!(Exec, ExecInput, Anything, "exec", "Runs a program.");
step_type!(Archive, ArchiveInput, ArchiveOutput, "archive.create", "Packs files.");

/// The types that the test plans use.
pub fn registry() -> Registry {
    Registry::new().register(Shell).register(Exec).register(Archive)
}

/// Reads a text as the plan `plan.yaml` beside the corpus.
pub fn read(text: &str) -> Loaded {
    load_text("plan.yaml", &corpus_dir().join("plan.yaml"), text, &registry())
}

/// The folder of bad plans.
pub fn corpus_dir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/corpus")
        .canonicalize()
        .expect("the corpus is part of the repository")
}

/// Every diagnostic as a person sees it.
pub fn rendered(loaded: &Loaded) -> String {
    loaded.diagnostics.iter().map(|diagnostic| diagnostic.render(&loaded.sources)).collect::<Vec<_>>().join("\n")
}
