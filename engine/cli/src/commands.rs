//! The commands: each a function from settings and arguments to an exit code.
//! Unaware of how arguments are read.

pub mod attach;
pub mod check;
pub mod completions;
pub mod detach;
pub mod drive;
pub mod explain;
pub mod host;
pub mod logs;
pub mod prune;
pub mod resume;
pub mod run;
pub mod runs;
pub mod schema;
pub mod status;
pub mod steer;
pub mod steps;
pub mod survey;
pub mod which;
pub mod why;

use crate::args::settings::{NoStateDir, Settings, Terminal, World};
use crate::args::{Cli, Command};
use crate::exit::Exit;
use crate::out;
use std::fmt;

/// Why a command stopped before its work was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// What the shell sees.
    pub exit: Exit,
    /// What was attempted and why it failed.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Stop {
    /// Without a hint.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// With what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n  = help: {hint}"))
    }
}

impl From<NoStateDir> for Stop {
    fn from(error: NoStateDir) -> Self {
        Self::new(Exit::StateDir, error.to_string())
    }
}

/// What a command gives back.
pub type Ending = Result<Exit, Stop>;

/// Does what the command line says. Only commands that keep or read runs need a place for them.
///
/// # Errors
/// Why the command stopped.
pub fn dispatch(cli: &Cli, world: &World) -> Ending {
    let settings = || Settings::new(cli.state_dir.as_deref(), world).map_err(Stop::from);
    match &cli.command {
        Command::Run(args) => run::run(&settings()?, args),
        Command::Resume(args) => resume::resume(&settings()?, args),
        Command::Check(args) => check::check(Terminal::of(world), args),
        Command::Explain(args) => explain::explain(&settings()?, args),
        Command::Runs(args) => runs::runs(&settings()?, args),
        Command::Status(args) => status::status(&settings()?, args),
        Command::Logs(args) => logs::logs(&settings()?, args),
        Command::Cancel(args) => steer::cancel(&settings()?, args),
        Command::Pause(args) => steer::pause(&settings()?, args),
        Command::Unpause(args) => steer::unpause(&settings()?, args),
        Command::Mark(args) => steer::mark(&settings()?, args),
        Command::Attach(args) => attach::attach(&settings()?, args),
        Command::Why(args) => why::why(&settings()?, args),
        Command::Steps(args) => steps::steps(args),
        Command::Schema => schema::schema(),
        Command::Completions(args) => completions::completions(args),
        Command::Prune(args) => prune::prune(&settings()?, args),
    }
}

/// A value as JSON, on one line.
///
/// # Errors
/// When it cannot be written as JSON, which is a fault of flowrun.
pub fn json(value: &impl serde::Serialize) -> Result<String, Stop> {
    let text = serde_json::to_string(value);
    text.map(|text| text + "\n").map_err(|error| Stop::new(Exit::Failed, format!("cannot write JSON: {error}")))
}

/// Writes data to standard output.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &str) -> Result<(), Stop> {
    out::data(text).map_err(|error| Stop::new(Exit::Failed, format!("cannot write to standard output: {error}")))
}
