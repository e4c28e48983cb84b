//! Exit codes, in the only place that has them.
//! Unaware of errors and runs: commands say which of these it was.

/// How a command ended, for the caller's shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The command did what it was asked, or the run succeeded.
    Succeeded,
    /// The run failed or was cancelled; a failed one can be resumed.
    Failed,
    /// Bad usage, an invalid or changed plan, nothing to resume: this command started nothing.
    Usage,
    /// An earlier run of this plan with these params is unfinished: this command started nothing.
    Unfinished,
    /// Another process drives the run.
    Driven,
    /// The run stopped: it waits for a person and nothing else can run.
    WaitsForPerson,
    /// The state directory cannot be used.
    StateDir,
    /// Interrupted by INT; the run can be resumed.
    Interrupted,
    /// Interrupted by TERM; the run can be resumed.
    Terminated,
}

impl Exit {
    /// How another flowrun ended; a signal or a number that flowrun does not give is a failure.
    #[must_use]
    pub fn of(status: std::process::ExitStatus) -> Self {
        let known = [
            Self::Succeeded,
            Self::Usage,
            Self::Unfinished,
            Self::Driven,
            Self::WaitsForPerson,
            Self::StateDir,
            Self::Interrupted,
            Self::Terminated,
        ];
        known.into_iter().find(|exit| status.code() == Some(i32::from(exit.code()))).unwrap_or(Self::Failed)
    }

    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unfinished => 3,
            Self::Driven => 4,
            Self::WaitsForPerson => 5,
            Self::StateDir => 6,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
