//! `shell` (and `run:`): a shell script as a step.
//! Unaware of what the script does: its exit code and what it hands out are all that is known of it.

use crate::process::{self, OutputSpec, Outputs, Process};
use flowrun_sdk::schemars::{self, JsonSchema};
use flowrun_sdk::{Command, Found, StepCx, StepError, StepResult, StepType};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write;

/// The step type.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shell;

/// What `shell` takes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The script. Values reach it best through `env`, where nothing has to be quoted.
    pub script: String,
    /// The shell and its options, word by word; `-c` and the script are added.
    #[serde(default = "default_shell")]
    #[schemars(length(min = 1))]
    pub shell: Vec<String>,
    /// Exit codes that mean success.
    #[serde(default = "process::default_ok_exit")]
    pub ok_exit: Vec<i32>,
    /// What the step hands out of the script's standard output, by name. The script may hand out more: a line
    /// `name=value` or a JSON object appended to the file `$FLOWRUN_OUTPUT`.
    #[serde(default)]
    pub outputs: BTreeMap<String, OutputSpec>,
    /// A regular expression on the script's output that tells how far it is, with groups named `done`, `total` or
    /// `percent`. The script may instead append lines such as `12/400 tables` to the file `$FLOWRUN_PROGRESS`.
    #[serde(default)]
    #[schemars(extend("format" = "regex"))]
    pub progress: Option<String>,
    /// Wait for every process that the script leaves, not only for the script.
    #[serde(default)]
    pub wait_all: bool,
}

fn default_shell() -> Vec<String> {
    ["bash", "-euo", "pipefail"].map(str::to_owned).to_vec()
}

impl Input {
    fn process(&self) -> Process<'_> {
        Process {
            what: "the script".to_owned(),
            ok_exit: &self.ok_exit,
            outputs: &self.outputs,
            progress: self.progress.as_deref(),
        }
    }
}

/// The longest script that travels as an argument: the kernel takes 128 KiB a word.
const LONGEST_ARGUMENT: usize = 100 * 1024;

/// The command's words. A script that is too long for an argument, or holds a secret that `ps` would show, becomes a
/// file of the attempt instead.
fn words(cx: &StepCx, input: &Input) -> StepResult<Vec<String>> {
    let mut words = input.shell.clone();
    if words.last().is_some_and(|word| word == "-c") {
        words.pop();
    }
    if words.is_empty() {
        return Err(StepError::permanent("cannot run the script: `shell` names no program")
            .hint("leave `shell` out for `bash -euo pipefail`"));
    }
    if input.script.len() <= LONGEST_ARGUMENT && cx.mask(&input.script) == input.script {
        words.extend(["-c".to_owned(), input.script.clone()]);
    } else {
        words.push(script_file(cx, &input.script)?);
    }
    Ok(words)
}

/// A shell reads its file bit by bit while it runs, so a file that is there is never written again: an attempt that is
/// adopted comes here a second time.
fn script_file(cx: &StepCx, script: &str) -> StepResult<String> {
    let path = cx.scratch().join("script");
    if !path.exists() {
        let written = tempfile::NamedTempFile::new_in(cx.scratch()).and_then(|mut file| {
            file.write_all(script.as_bytes())?;
            file.persist(&path).map_err(|error| error.error)
        });
        written.map_err(|error| {
            StepError::transient(format!("cannot write the script to `{}`: {error}", path.display()))
        })?;
    }
    Ok(path.to_string_lossy().into_owned())
}

impl StepType for Shell {
    type Input = Input;
    type Output = Outputs;
    const NAME: &'static str = "shell";
    const SUMMARY: &'static str = "Runs a shell script.";
    const ADOPTABLE: bool = true;
    const RECONCILE: &'static str = process::RECONCILE;
    const UNKNOWNS: &'static [&'static str] = process::UNKNOWNS;

    async fn preflight(&self, _cx: &StepCx, input: &Input) -> StepResult<()> {
        input.process().check()
    }

    async fn run(&self, cx: &StepCx, input: &Input) -> StepResult<Outputs> {
        let argv = words(cx, input)?;
        input.process().run(cx, Command { argv, wait_all: input.wait_all, ..Command::default() }).await
    }

    async fn reconcile(&self, cx: &StepCx, _input: &Input) -> StepResult<Found<Outputs>> {
        Ok(process::unknown(cx))
    }
}
