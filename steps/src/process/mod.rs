//! What `shell` and `exec` share: one child, its exit, its outputs and its progress.
//! Unaware of how the command was put together. Everything before the child is safe to do again while the child lives,
//! and everything after its end can be done twice: that is what makes both types adoptable.

use flowrun_sdk::schemars::{self, JsonSchema};
use flowrun_sdk::{Command, Exit, Found, StepCx, StepError, StepResult};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a script or program hands out, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Outputs(pub BTreeMap<String, Value>);

/// How an output is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// Where it is read from.
    pub from: Source,
    /// What the text becomes.
    #[serde(default, rename = "as")]
    pub kind: Kind,
    /// A regular expression that picks the text out of the source: its first group, or the whole match where it has
    /// none.
    #[serde(default, rename = "match")]
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
}

/// Where an output is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Standard output, which then reaches the log only after the end.
    Stdout,
}

/// What the text of an output becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Text, without the newlines at its end.
    #[default]
    Text,
    /// The JSON value that it is.
    Json,
    /// A list of its lines.
    Lines,
    /// A number.
    Number,
}

/// Exit code 0 alone.
pub fn default_ok_exit() -> Vec<i32> {
    vec![0]
}

/// What is asked of a child and of its end.
#[derive(Debug)]
pub struct Process<'a> {
    /// What errors call it.
    pub what: String,
    /// Exit codes that mean success.
    pub ok_exit: &'a [i32],
    /// Declared outputs.
    pub outputs: &'a BTreeMap<String, OutputSpec>,
    /// The regular expression for progress.
    pub progress: Option<&'a str>,
}

impl Process<'_> {
    /// What can be said without running.
    pub fn check(&self) -> StepResult<()> {
        Ok(())
    }

    /// Runs it to its end.
    pub async fn run(&self, cx: &StepCx, command: Command) -> StepResult<Outputs> {
        match cx.child(command).await? {
            Exit::Code(code) if self.ok_exit.contains(&code) => Ok(Outputs::default()),
            Exit::Code(code) => Err(StepError::transient(format!("{} ended with exit code {code}", self.what)).exit(code)),
            Exit::Signal(signal) => Err(StepError::transient(format!("{} was ended by signal {signal}", self.what))),
            Exit::TimedOut => Err(StepError::transient(format!("{} ran out of its time", self.what))),
            Exit::Unknown => Err(StepError::uncertain(format!("{} ended while nobody watched", self.what))),
        }
    }
}

/// What a command did is known to nobody but its author.
pub fn unknown(cx: &StepCx) -> Found<Outputs> {
    Found::Unknown { look_at: format!("the log of `{}`, and whatever its command works on", cx.address()) }
}
