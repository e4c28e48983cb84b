//! `shell` (and `run:`): a shell script as a step.
//! Unaware of what the script does: its exit code and what it hands out are all that is known of it.

use crate::process::{self, OutputSpec, Outputs, Process};
use flowrun_sdk::schemars::{self, JsonSchema};
use flowrun_sdk::{Command, Found, StepCx, StepResult, StepType};
use serde::Deserialize;
use std::collections::BTreeMap;

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

impl StepType for Shell {
    type Input = Input;
    type Output = Outputs;
    const NAME: &'static str = "shell";
    const SUMMARY: &'static str = "Runs a shell script.";
    const ADOPTABLE: bool = true;

    async fn preflight(&self, _cx: &StepCx, input: &Input) -> StepResult<()> {
        input.process().check()
    }

    async fn run(&self, cx: &StepCx, input: &Input) -> StepResult<Outputs> {
        let mut argv = input.shell.clone();
        if argv.last().is_none_or(|word| word != "-c") {
            argv.push("-c".to_owned());
        }
        argv.push(input.script.clone());
        input.process().run(cx, Command { argv, wait_all: input.wait_all, ..Command::default() }).await
    }

    async fn reconcile(&self, cx: &StepCx, _input: &Input) -> StepResult<Found<Outputs>> {
        Ok(process::unknown(cx))
    }
}
