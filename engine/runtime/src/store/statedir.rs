//! The state directory: made private, and refused where it cannot keep what it is given.
//! Unaware of what is kept. Directories are 0700 and files 0600, whatever the umask says.

use super::error::StoreError;
use super::filesystem;
use crate::paths::{RunDir, StateDir};
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Why a state directory cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// It lies on a network filesystem.
    #[error("the state directory `{}` lies on a network filesystem ({kind}), where locks and syncs cannot be trusted", path.display())]
    Network {
        /// Which.
        path: PathBuf,
        /// The filesystem's name.
        kind: String,
    },
    /// It cannot be written.
    #[error("cannot {doing} `{}`: {detail}", path.display())]
    ReadOnly {
        /// What was attempted.
        doing: String,
        /// Which.
        path: PathBuf,
        /// What refused it.
        detail: String,
    },
    /// There is no room.
    #[error("cannot {doing} `{}`: no space left on its filesystem", path.display())]
    Full {
        /// What was attempted.
        doing: String,
        /// Which.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot {doing} `{}`: {detail}", path.display())]
    Unusable {
        /// What was attempted.
        doing: String,
        /// Which.
        path: PathBuf,
        /// Why it failed.
        detail: String,
    },
}

impl StateError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Network { .. } => "point `--state-dir` at a directory on a local disk",
            Self::ReadOnly { .. } => "point `--state-dir` or FLOWRUN_STATE_DIR at a directory that you may write",
            Self::Full { .. } => "make room on that filesystem, or point `--state-dir` at another",
            Self::Unusable { .. } => "point `--state-dir` or FLOWRUN_STATE_DIR at a directory that can be used",
        }
    }

    pub(super) fn from_io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let (doing, path) = (doing.to_owned(), path.to_path_buf());
        match error.kind() {
            K::StorageFull | K::QuotaExceeded => Self::Full { doing, path },
            K::ReadOnlyFilesystem | K::PermissionDenied => Self::ReadOnly { doing, path, detail: error.to_string() },
            _ => Self::Unusable { doing, path, detail: error.to_string() },
        }
    }
}

impl From<StoreError> for StateError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Network { path, kind } => Self::Network { path, kind },
            StoreError::Full { path } => Self::Full { doing: "write".to_owned(), path },
            StoreError::ReadOnly { path, detail } => Self::ReadOnly { doing: "write".to_owned(), path, detail },
            other => {
                let (doing, path) = ("use".to_owned(), PathBuf::from("the state directory"));
                Self::Unusable { doing, path, detail: other.to_string() }
            }
        }
    }
}

/// Makes the state directory where it is missing, and sees that it can be written.
///
/// # Errors
/// When it lies on a network filesystem, is read-only, full, or not a directory.
pub fn prepare(state: &StateDir) -> Result<(), StateError> {
    let fresh = !state.0.exists();
    make_private(&state.0)?;
    if fresh {
        // The umask can only take away: a directory that was there keeps the mode that somebody gave it.
        std::fs::set_permissions(&state.0, Permissions::from_mode(0o700))
            .map_err(|error| StateError::from_io("protect", &state.0, &error))?;
    }
    refuse_network(&state.0)?;
    make_private(&state.runs())?;
    probe(&state.runs())
}

/// Makes the directory of a new run.
///
/// # Errors
/// When it cannot be made, or is there already.
pub fn create_run(state: &StateDir, id: &str) -> Result<RunDir, StateError> {
    let run = state.run(id);
    DirBuilder::new()
        .mode(0o700)
        .create(run.path())
        .map_err(|error| StateError::from_io("make", run.path(), &error))?;
    Ok(run)
}

fn make_private(path: &Path) -> Result<(), StateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| StateError::from_io("make", path, &error))
}

fn refuse_network(path: &Path) -> Result<(), StateError> {
    match filesystem::network(path) {
        Ok(None) => Ok(()),
        Ok(Some(kind)) => Err(StateError::Network { path: path.to_path_buf(), kind }),
        Err(error) => Err(StateError::from_io("look at", path, &error)),
    }
}

/// A file made and taken away: permissions alone do not tell whether a disk is read-only or full.
fn probe(directory: &Path) -> Result<(), StateError> {
    let path = directory.join(format!(".probe-{}", std::process::id()));
    let made = super::schema::private_file(&path).map(drop);
    let _ = std::fs::remove_file(&path);
    made.map_err(|error| StateError::from_io("write into", directory, &error))
}

#[cfg(test)]
mod tests {
    use super::{StateError, create_run, prepare};
    use crate::paths::StateDir;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &std::path::Path) -> u32 {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_state_directory_is_made_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDir(directory.path().join("a/b"));
        prepare(&state).expect("it can be made");
        let run = create_run(&state, "7f3a").expect("a run");
        assert_eq!((mode(&state.0), mode(&state.runs()), mode(run.path())), (0o700, 0o700, 0o700));
        prepare(&state).expect("making it again changes nothing");
        assert!(create_run(&state, "7f3a").is_err(), "an id is used once");
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = prepare(&StateDir(file.path().into())).expect_err("not a directory");
        assert!(matches!(error, StateError::Unusable { .. }), "{error:?}");
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }

    #[test]
    fn proc_cannot_hold_state() {
        let error = prepare(&StateDir("/proc/flowrun".into())).expect_err("proc takes no directories");
        assert!(error.to_string().starts_with("cannot make `/proc/flowrun`"), "{error}");
    }
}
