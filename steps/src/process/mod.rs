//! What `shell` and `exec` share: one child, its exit, its outputs and its progress.
//! Unaware of how the command was put together. Everything before the child is safe to do again while the child lives,
//! and everything after its end can be done twice: that is what makes both types adoptable.

mod outputs;
mod progress;

use flowrun_sdk::schemars::{self, JsonSchema};
use flowrun_sdk::{Command, Exit, Found, Output, StepCx, StepError, StepResult};
use progress::Meter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How often a child's progress is looked at.
const LOOK: Duration = Duration::from_secs(1);

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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// The files of an attempt through which a child tells things.
#[derive(Debug)]
struct Files {
    /// `$FLOWRUN_OUTPUT`.
    output: PathBuf,
    /// `$FLOWRUN_PROGRESS`.
    progress: PathBuf,
    /// Standard output, where some output is read from it.
    stdout: Option<PathBuf>,
}

impl Process<'_> {
    /// What can be said without running.
    pub fn check(&self) -> StepResult<()> {
        outputs::compile(self.outputs)?;
        Meter::new(self.progress, None, PathBuf::new())?;
        Ok(())
    }

    /// Runs it to its end, or goes on with it where it runs already.
    pub async fn run(&self, cx: &StepCx, mut command: Command) -> StepResult<Outputs> {
        let readers = outputs::compile(self.outputs)?;
        let files = Files {
            output: cx.scratch().join("output"),
            progress: cx.scratch().join("progress"),
            stdout: (!readers.is_empty()).then(|| cx.scratch().join("stdout")),
        };
        let meter = Meter::new(self.progress, files.stdout.clone(), files.progress.clone())?;
        command.env.insert("FLOWRUN_OUTPUT".to_owned(), files.output.to_string_lossy().into_owned());
        command.env.insert("FLOWRUN_PROGRESS".to_owned(), files.progress.to_string_lossy().into_owned());
        if let Some(stdout) = &files.stdout {
            command.stdout = Output::File(stdout.clone());
        }
        let exit = watch(cx, command, &meter).await;
        if let Some(stdout) = &files.stdout {
            outputs::show(cx, stdout);
        }
        self.judge(exit?)?;
        outputs::collect(cx, &readers, &files)
    }

    fn judge(&self, exit: Exit) -> StepResult<()> {
        let what = &self.what;
        match exit {
            Exit::Code(code) if self.ok_exit.contains(&code) => Ok(()),
            Exit::Code(code) => {
                let error = StepError::transient(format!("{what} ended with exit code {code}")).exit(code);
                Err(match code {
                    126 => error.hint("code 126 is what a shell answers when it may not run a program: see the log"),
                    127 => error.hint("code 127 is what a shell answers when it does not find a program: see the log"),
                    _ => error,
                })
            }
            Exit::Signal(signal) => {
                let error = StepError::transient(format!("{what} was ended by signal {}", signal_name(signal)));
                Err(match signal {
                    9 => error.hint("where nobody sent it, the kernel did for lack of memory: `dmesg` says so"),
                    _ => error,
                })
            }
            Exit::TimedOut => {
                let mut error = StepError::transient(format!("{what} ran out of its time and was stopped"))
                    .hint("raise `timeout` of the step, or find out in its log what it waited for");
                error.timed_out = true;
                Err(error)
            }
            Exit::Unknown => {
                Err(StepError::uncertain(format!("{what} ended while nobody watched, and its exit code is lost")))
            }
        }
    }
}

/// Waits for the child, and shows once a second how far it is.
async fn watch(cx: &StepCx, command: Command, meter: &Meter) -> StepResult<Exit> {
    let mut child = pin!(cx.child(command));
    let mut tick = interval_at(Instant::now() + LOOK, LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            exit = &mut child => return exit,
            _ = tick.tick() => {
                if let Some(progress) = meter.read(cx) {
                    cx.progress(progress);
                }
            }
        }
    }
}

/// The name by which people know a signal.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        31 => "SYS",
        _ => return signal.to_string(),
    };
    name.to_owned()
}

/// What a command did is known to nobody but its author.
pub fn unknown(cx: &StepCx) -> Found<Outputs> {
    Found::Unknown { look_at: format!("the log of `{}`, and whatever its command works on", cx.address()) }
}

/// What the catalogue says of [`unknown`].
pub const RECONCILE: &str = "A process that still lives is adopted. Where nothing is left of it, not even its exit code, nobody can know what \
it did, and `on_lost` decides.";

/// The reasons for [`unknown`].
pub const UNKNOWNS: &[&str] =
    &["The effect of a command is known to its author alone: its exit code is lost, and nothing else tells."];
