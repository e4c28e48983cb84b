//! A child process as a step asks for it, and how it ended.
//! Unaware of the host that spawns it. Arguments are a list: there is no shell unless the step names one.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A child process: started in a process group of its own, killed with all its descendants when the attempt is
/// cancelled or out of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments; the program is looked up in the child's PATH.
    pub argv: Vec<String>,
    /// Added to the environment that the plan and the step give.
    pub env: BTreeMap<String, String>,
    /// The working directory; none: the step's.
    pub dir: Option<PathBuf>,
    /// Where standard output goes. Standard error always goes to the attempt's log.
    pub stdout: Output,
    /// Wait for every process it leaves, not only for its main process.
    pub wait_all: bool,
}

/// Where a child's standard output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Output {
    /// To the attempt's log.
    #[default]
    Log,
    /// To this file, made anew with mode 0600. It lies in the run's private folder if the run has secrets.
    File(PathBuf),
}

impl Command {
    /// A command of these words.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Killed because it ran out of the step's time.
    TimedOut,
    /// It ended while nobody watched, and its code is lost.
    Unknown,
}
