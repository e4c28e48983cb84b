//! Why the store could not do what was asked, where, and what to do about it.
//! Unaware of exit codes. A value can be cloned: one fault answers everybody who waited for the same commit.

use std::path::{Path, PathBuf};

/// Why the store could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing is there.
    #[error("there is no journal at `{}`", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A journal is there already.
    #[error("cannot make a journal at `{}`: there is one already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A database of another program.
    #[error("`{}` is a database of another program (application id {application_id:#x})", path.display())]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// What its header says.
        application_id: i64,
    },
    /// Written by a newer flowrun.
    #[error("`{}` was written by a newer flowrun (format {found}; this one knows up to {known})", path.display())]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format this program knows.
        known: i64,
    },
    /// Its content is broken.
    #[error("`{}` is damaged: {detail}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// It lies on a filesystem that does not keep SQLite's promises.
    #[error("`{}` lies on a network filesystem ({kind}), where locks and syncs cannot be trusted", path.display())]
    Network {
        /// Which directory.
        path: PathBuf,
        /// The filesystem's name.
        kind: String,
    },
    /// It cannot be written.
    #[error("cannot write `{}`: {detail}", path.display())]
    ReadOnly {
        /// Which file.
        path: PathBuf,
        /// What refused it.
        detail: String,
    },
    /// No room.
    #[error("cannot write `{}`: no space left on its filesystem", path.display())]
    Full {
        /// Which file.
        path: PathBuf,
    },
    /// Somebody else wrote events to this run.
    #[error("another process wrote to `{}`: expected the last event to be {expected}, found {found}", path.display())]
    SecondDriver {
        /// Which file.
        path: PathBuf,
        /// The last event that the caller knew.
        expected: u64,
        /// The last event that there is.
        found: u64,
    },
    /// Somebody holds SQLite's lock and does not let go.
    #[error("`{}` is locked by another process", path.display())]
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot {doing} `{}`: {detail}", path.display())]
    Io {
        /// What was attempted.
        doing: String,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        detail: String,
    },
    /// The journal was closed, or its writer has ended.
    #[error("the journal `{}` is closed", path.display())]
    Closed {
        /// Which file.
        path: PathBuf,
    },
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { .. } => "`flowrun runs` lists the runs that exist".to_owned(),
            Self::Exists { .. } => "start again: every run gets an id of its own".to_owned(),
            Self::NotOurs { .. } => "point `--state-dir` at a directory that only flowrun uses".to_owned(),
            Self::TooNew { .. } => "use the flowrun that started the run, or a newer one".to_owned(),
            Self::Damaged { path, .. } => format!(
                "nothing was changed; copy `{}` with its `-wal` file away, then put back a backup of it",
                path.display()
            ),
            Self::Network { .. } => "point `--state-dir` at a directory on a local disk".to_owned(),
            Self::ReadOnly { .. } => "mount the disk for writing, or run as the owner of the file".to_owned(),
            Self::Full { path } => format!(
                "make room on the filesystem of `{}`; nothing that was acknowledged is lost, and the run goes on when \
                 there is room",
                path.display()
            ),
            Self::SecondDriver { .. } => "let the other process go on, or end it and `flowrun resume`".to_owned(),
            Self::Busy { .. } => "find who holds it with `fuser`, end that process, then `flowrun resume`".to_owned(),
            Self::Io { .. } => "mend the disk (`dmesg` tells more), then `flowrun resume`".to_owned(),
            Self::Closed { .. } => "`flowrun resume` goes on from the last commit".to_owned(),
        }
    }

    /// An error of the operating system.
    pub(super) fn from_io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let path = path.to_path_buf();
        match error.kind() {
            K::StorageFull | K::QuotaExceeded => Self::Full { path },
            K::ReadOnlyFilesystem | K::PermissionDenied => Self::ReadOnly { path, detail: error.to_string() },
            K::NotFound => Self::Missing { path },
            _ => Self::Io { doing: doing.to_owned(), path, detail: error.to_string() },
        }
    }

    /// An error of SQLite.
    pub(super) fn from_sql(doing: &str, path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as C;
        let owned = path.to_path_buf();
        let detail = error.to_string();
        if is_nonsense(error) {
            return Self::Damaged { path: owned, detail };
        }
        match error.sqlite_error_code() {
            Some(C::DiskFull) => Self::Full { path: owned },
            Some(C::DatabaseBusy | C::DatabaseLocked) => Self::Busy { path: owned },
            Some(C::ReadOnly | C::PermissionDenied) => Self::ReadOnly { path: owned, detail },
            Some(C::DatabaseCorrupt | C::NotADatabase) => Self::Damaged { path: owned, detail },
            Some(C::CannotOpen) if !path.exists() => Self::Missing { path: owned },
            _ => Self::Io { doing: doing.to_owned(), path: owned, detail },
        }
    }

    /// Content that cannot be what flowrun wrote.
    pub(super) fn damaged(path: &Path, detail: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_path_buf(), detail: detail.into() }
    }
}

/// Whether a row held something that flowrun never writes.
fn is_nonsense(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    matches!(
        error,
        E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..)
            | E::Utf8Error(..)
            | E::QueryReturnedNoRows
    )
}
