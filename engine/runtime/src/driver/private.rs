//! `run.private`: a folder that only this user can read, in memory where the machine has one that stays.
//! Unaware of what lies in it. Made again at each resume, removed at the end of the run.

use crate::paths::RunDir;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where a run's private folder is, and whether it lies on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Private {
    pub(crate) path: PathBuf,
    pub(crate) on_disk: bool,
}

/// Chooses the place: the same at each start by the same user on the same machine.
pub(crate) fn place(run: &RunDir, runtime_dir: Option<&str>) -> Private {
    let root = rustix::process::geteuid().is_root();
    let base = if root {
        Path::new("/run").is_dir().then(|| PathBuf::from("/run/flowrun"))
    } else {
        runtime_dir.map(PathBuf::from).filter(|dir| is_ours(dir)).map(|dir| dir.join("flowrun"))
    };
    match base {
        // The state directory is part of the name: two of them may hold runs with the same id.
        Some(base) => {
            let state = crate::paths::fnv1a(run.path().as_os_str().as_encoded_bytes());
            Private { path: base.join(format!("{}-{state:016x}", run.id())), on_disk: false }
        }
        None => Private { path: run.path().join("private"), on_disk: true },
    }
}

fn is_ours(dir: &Path) -> bool {
    std::fs::metadata(dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw())
}

/// Removes it at the end of a run; what cannot be removed is only logged, since the run itself has ended.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "cannot remove the private folder");
    }
}
