//! Why an attempt did not succeed, named by what the engine does next.
//! Unaware of retries and budgets.

/// The result of anything a step does.
pub type StepResult<T> = Result<T, StepError>;

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// What the engine does next.
    pub kind: ErrorKind,
    /// What was attempted, on what, and why it failed: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The main process's exit code, where there is one.
    pub exit: Option<i32>,
    /// It ran out of its time.
    pub timed_out: bool,
}

/// What the engine does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again, if the step has attempts left.
    Transient,
    /// Do not try again.
    Permanent,
    /// Nobody knows whether it happened: reconcile.
    Uncertain,
    /// It stopped because it was told to.
    Cancelled,
}

impl StepError {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, exit: None, timed_out: false }
    }

    /// Another try may help.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Transient, message)
    }

    /// Another try cannot help.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Permanent, message)
    }

    /// Whether it happened is not known.
    pub fn uncertain(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Uncertain, message)
    }

    /// It stopped because it was told to.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "cancelled")
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the exit code.
    #[must_use]
    pub fn exit(mut self, code: i32) -> Self {
        self.exit = Some(code);
        self
    }
}
