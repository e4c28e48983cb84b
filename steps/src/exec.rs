//! `exec` (and `exec:`): a program with its arguments as a step, without a shell.
//! Unaware of what the program does: its exit code and what it hands out are all that is known of it.

use crate::process::{self, OutputSpec, Outputs, Process};
use flowrun_sdk::schemars::{self, JsonSchema};
use flowrun_sdk::{Command, Found, StepCx, StepError, StepResult, StepType};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The step type.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exec;

/// What `exec` takes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The program and its arguments, word by word; nothing is expanded. The program is looked up in PATH.
    #[schemars(length(min = 1))]
    pub argv: Vec<String>,
    /// Exit codes that mean success.
    #[serde(default = "process::default_ok_exit")]
    pub ok_exit: Vec<i32>,
    /// What the step hands out of the program's standard output, by name. The program may hand out more: a line
    /// `name=value` or a JSON object appended to the file `$FLOWRUN_OUTPUT`.
    #[serde(default)]
    pub outputs: BTreeMap<String, OutputSpec>,
    /// A regular expression on the program's output that tells how far it is, with groups named `done`, `total` or
    /// `percent`. The program may instead append lines such as `12/400 tables` to the file `$FLOWRUN_PROGRESS`.
    #[serde(default)]
    #[schemars(extend("format" = "regex"))]
    pub progress: Option<String>,
    /// Wait for every process that the program leaves, not only for the program.
    #[serde(default)]
    pub wait_all: bool,
}

impl Input {
    fn named(&self) -> StepResult<()> {
        match self.argv.first() {
            Some(program) if !program.is_empty() => Ok(()),
            Some(_) | None => Err(StepError::permanent("cannot run a program: `argv` names none")
                .hint("the first word of `argv` is the program")),
        }
    }

    fn process(&self) -> Process<'_> {
        let program = self.argv.first().map(String::as_str).unwrap_or_default();
        Process {
            what: format!("`{}`", program.rsplit('/').next().unwrap_or(program)),
            ok_exit: &self.ok_exit,
            outputs: &self.outputs,
            progress: self.progress.as_deref(),
        }
    }
}

impl StepType for Exec {
    type Input = Input;
    type Output = Outputs;
    const NAME: &'static str = "exec";
    const SUMMARY: &'static str = "Runs a program with its arguments, without a shell.";
    const ADOPTABLE: bool = true;
    const RECONCILE: &'static str = process::RECONCILE;
    const UNKNOWNS: &'static [&'static str] = process::UNKNOWNS;

    async fn preflight(&self, _cx: &StepCx, input: &Input) -> StepResult<()> {
        input.named()?;
        input.process().check()
    }

    async fn run(&self, cx: &StepCx, input: &Input) -> StepResult<Outputs> {
        input.named()?;
        let command = Command { argv: input.argv.clone(), wait_all: input.wait_all, ..Command::default() };
        input.process().run(cx, command).await
    }

    async fn reconcile(&self, cx: &StepCx, _input: &Input) -> StepResult<Found<Outputs>> {
        Ok(process::unknown(cx))
    }
}
