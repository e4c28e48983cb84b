//! The command line's words: what may be written after `flowrun`.
//! Unaware of what the commands do and of the environment (see `args/settings.rs`).

pub mod settings;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use flowrun_core::event::Verdict;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Runs plans that take days and loses nothing when anything fails.
#[derive(Debug, Parser)]
#[command(name = "flowrun", version, override_usage = "flowrun [OPTIONS] PLAN\n       flowrun [OPTIONS] COMMAND", after_help = AFTER_HELP)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    infer_long_args = false
)]
pub struct Cli {
    /// Where runs are kept [default: $FLOWRUN_STATE_DIR, else /var/lib/flowrun for root, else $XDG_STATE_HOME/flowrun]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
PLAN is a file: a path with a `/`, or one that ends in `.yaml` or `.yml`; `flowrun PLAN` is `flowrun run PLAN`.
RUN is a run's id or the beginning of it; where it may be left out, it is the latest run.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a plan, run it, show its progress
    Run(Run),
    /// Go on with an unfinished run
    Resume(Resume),
    /// Say everything that can be known about plans without running them
    Check(Check),
    /// Show what a run or a resume would do
    Explain(Explain),
    /// List the runs
    Runs(Listing),
    /// Show the steps and items of a run
    Status(Status),
    /// Show the logs of a run
    Logs(Logs),
    /// Cancel a run: what runs is stopped, nothing new starts
    Cancel(OneRun),
    /// Start nothing new in a run; what runs goes on
    Pause(Pause),
    /// Let a paused run start steps again
    Unpause(OneRun),
    /// Give a person's verdict on a lost or failed step
    Mark(Mark),
    /// Follow a run that another process drives
    Attach(Attach),
    /// Say why a step or an item does not run
    Why(Why),
    /// List the step types, or describe one
    Steps(Steps),
    /// Print the JSON Schema of plans, for editors
    Schema,
    /// Print completions for a shell
    Completions(Completions),
    /// Remove old runs and their logs
    Prune(Prune),
}

/// Values for a plan's parameters.
#[derive(Debug, Clone, Default, Args)]
pub struct Params {
    /// Set a parameter; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_set)]
    pub set: Vec<(String, String)>,
    /// Read parameters from a YAML file; `--set` wins
    #[arg(long, value_name = "FILE")]
    pub params: Option<PathBuf>,
}

/// How a run that this process drives is shown and left.
#[derive(Debug, Clone, Args)]
pub struct Driving {
    /// Leave the run to a process in the background, and print its id
    #[arg(long, conflicts_with = "json")]
    pub detach: bool,
    /// Write one JSON object a line for each event
    #[arg(long)]
    pub json: bool,
    /// This process is the one in the background, and this is its run.
    #[arg(long, hide = true, value_name = "ID")]
    pub in_background: Option<String>,
}

/// `run PLAN`
#[derive(Debug, Args)]
pub struct Run {
    /// The plan's file
    pub plan: PathBuf,
    /// Its parameters.
    #[command(flatten)]
    pub params: Params,
    /// How it is shown.
    #[command(flatten)]
    pub driving: Driving,
}

/// `resume [RUN]`
#[derive(Debug, Args)]
pub struct Resume {
    /// The run [default: the latest unfinished one]
    pub run: Option<String>,
    /// Run this step or item again although it succeeded; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub rerun: Vec<String>,
    /// Leave this step or item out; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub skip: Vec<String>,
    /// Run this step and all that comes after it again
    #[arg(long, value_name = "STEP")]
    pub from: Option<String>,
    /// Go on with the plan as it is now, although it changed
    #[arg(long)]
    pub accept_changes: bool,
    /// How it is shown.
    #[command(flatten)]
    pub driving: Driving,
}

/// `check PLAN…`
#[derive(Debug, Args)]
pub struct Check {
    /// The plans' files
    #[arg(required = true, value_name = "PLAN")]
    pub plans: Vec<PathBuf>,
    /// Write the findings as JSON
    #[arg(long)]
    pub json: bool,
}

/// `explain PLAN`
#[derive(Debug, Args)]
pub struct Explain {
    /// The plan's file
    #[arg(required_unless_present = "run", conflicts_with = "run")]
    pub plan: Option<PathBuf>,
    /// Show what a resume of this run would do
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Its parameters.
    #[command(flatten)]
    pub params: Params,
}

/// `runs`
#[derive(Debug, Args)]
pub struct Listing {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// `status [RUN]`
#[derive(Debug, Args)]
pub struct Status {
    /// The run [default: the latest]
    pub run: Option<String>,
    /// Write JSON
    #[arg(long, conflicts_with = "watch")]
    pub json: bool,
    /// Show each item of fan-outs and groups
    #[arg(long)]
    pub items: bool,
    /// Show it again whenever it changes
    #[arg(long)]
    pub watch: bool,
}

/// `logs [RUN] [ADDRESS]`
#[derive(Debug, Args)]
pub struct Logs {
    /// The run [default: the latest]
    pub run: Option<String>,
    /// The step or item [default: all]
    pub address: Option<String>,
    /// Go on as the logs grow
    #[arg(short, long)]
    pub follow: bool,
    /// Write one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// A command that needs only a run.
#[derive(Debug, Args)]
pub struct OneRun {
    /// The run [default: the latest]
    pub run: Option<String>,
}

/// `pause [RUN]`
#[derive(Debug, Args)]
pub struct Pause {
    /// The run [default: the latest]
    pub run: Option<String>,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT", value_parser = parse_because)]
    pub because: Option<String>,
}

/// `mark RUN ADDRESS VERDICT`
#[derive(Debug, Args)]
pub struct Mark {
    /// The run
    pub run: String,
    /// The step or item
    pub address: String,
    /// It is done; leave it out; run it again
    pub verdict: VerdictWord,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT", value_parser = parse_because)]
    pub because: String,
}

/// The words of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerdictWord {
    /// It is done.
    Done,
    /// Leave it out.
    Skip,
    /// Run it again.
    Redo,
}

impl From<VerdictWord> for Verdict {
    fn from(word: VerdictWord) -> Self {
        match word {
            VerdictWord::Done => Self::Done,
            VerdictWord::Skip => Self::Skip,
            VerdictWord::Redo => Self::Redo,
        }
    }
}

/// `attach [RUN]`
#[derive(Debug, Args)]
pub struct Attach {
    /// The run [default: the latest]
    pub run: Option<String>,
    /// Write one JSON object a line for each event
    #[arg(long)]
    pub json: bool,
}

/// `why RUN ADDRESS`
#[derive(Debug, Args)]
pub struct Why {
    /// The run
    pub run: String,
    /// The step or item
    pub address: String,
}

/// `steps [TYPE]`
#[derive(Debug, Args)]
pub struct Steps {
    /// The step type to describe
    #[arg(value_name = "TYPE")]
    pub step_type: Option<String>,
}

/// `completions SHELL`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `prune --keep AGE`
#[derive(Debug, Args)]
pub struct Prune {
    /// Keep what is younger, e.g. `30d`
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub keep: Duration,
}

fn parse_set(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        Some(_) => Err("the name before `=` is missing".to_owned()),
        None => Err(format!("write `{text}=VALUE`")),
    }
}

fn parse_because(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("say why in a few words".to_owned()) } else { Ok(text.to_owned()) }
}

fn parse_age(text: &str) -> Result<Duration, String> {
    let hint = "write a duration such as `30d`, `12h` or `2w`";
    let span: jiff::Span = text.parse().map_err(|_| hint.to_owned())?;
    let age = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| hint.to_owned())?;
    Duration::try_from(age).map_err(|_| "an age cannot be negative".to_owned())
}

/// The word before which nothing else of flowrun is set up; its arguments belong to the host.
pub const HOST: &str = "__host";

/// The host's arguments, where this process is to be a run's host.
#[must_use]
pub fn host_mode(argv: &[OsString]) -> Option<&[OsString]> {
    let (_, rest) = argv.split_first()?;
    let (word, rest) = rest.split_first()?;
    (word == HOST).then_some(rest)
}

/// Reads the words of a command line, the program's own name first.
///
/// # Errors
/// What clap says about wrong usage, or the help or version that was asked for.
pub fn parse(argv: Vec<OsString>) -> Result<Cli, clap::Error> {
    let word = first_word(&argv);
    let argv = match &word {
        Some(word) if is_plan(word) => with_run(argv),
        Some(_) | None => argv,
    };
    Cli::try_parse_from(argv).map_err(|error| explained(error, word.as_deref()))
}

/// Options that may stand before a plan and take a value.
const WITH_VALUE: [&str; 3] = ["--state-dir", "--set", "--params"];

fn first_word(argv: &[OsString]) -> Option<String> {
    let mut words = argv.iter().skip(1).map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if word == "--" {
            return words.next().map(std::borrow::Cow::into_owned);
        }
        if WITH_VALUE.contains(&word.as_ref()) {
            words.next();
        } else if !word.starts_with('-') {
            return Some(word.into_owned());
        }
    }
    None
}

fn is_plan(word: &str) -> bool {
    word.contains('/') || word.ends_with(".yaml") || word.ends_with(".yml")
}

fn with_run(mut argv: Vec<OsString>) -> Vec<OsString> {
    argv.insert(1.min(argv.len()), "run".into());
    argv
}

/// An unknown word may be a plan whose name does not look like one.
fn explained(error: clap::Error, word: Option<&str>) -> clap::Error {
    let (clap::error::ErrorKind::InvalidSubcommand, Some(word)) = (error.kind(), word) else { return error };
    let near = match error.get(clap::error::ContextKind::SuggestedSubcommand) {
        Some(clap::error::ContextValue::Strings(words)) => words.first().cloned(),
        Some(clap::error::ContextValue::String(word)) => Some(word.clone()),
        Some(_) | None => None,
    };
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`flowrun --help` lists the commands".to_owned(),
    };
    let text = format!(
        "no such command: `{word}`\n  = help: {help}\n  = help: a plan is given by its path: `flowrun ./{word}`"
    );
    Cli::command().error(clap::error::ErrorKind::InvalidSubcommand, text)
}

#[cfg(test)]
mod tests;
