//! What the step types that make files share: places beside a file, named so that a later attempt finds them, and syncs.
//! Unaware of what the files hold.

use flowrun_sdk::{StepCx, StepError, StepResult};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Where a path of an input lies: relative ones start at the step's directory.
pub fn resolve(cx: &StepCx, path: &str) -> PathBuf {
    cx.dir().join(path)
}

/// A place for the unfinished: beside the path, hidden, the same for every attempt of a step or item.
pub fn unfinished(cx: &StepCx, path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    path.with_file_name(format!(".{}.flowrun-{}", shorten(&name), key(cx)))
}

/// A name may have 255 bytes, and ours needs some of them.
fn shorten(name: &str) -> &str {
    name.char_indices().nth(40).and_then(|(end, _)| name.get(..end)).unwrap_or(name)
}

/// The idempotency key as a part of a file name: itself where it fits, else its hash.
pub fn key(cx: &StepCx) -> String {
    let key = cx.idempotency_key();
    if !key.is_empty() && key.len() <= 32 && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return key.to_owned();
    }
    // FNV-1a: the same in every version of flowrun, which std's hasher is not.
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// Makes the names in a path's folder durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes what an attempt left; that nothing is there is as good.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// An error of the file system: what it forbids stays forbidden, what it lacks may come.
pub fn failed(what: &str, path: &Path, error: &io::Error) -> StepError {
    let message = format!("cannot {what} `{}`: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StepError::transient(message).hint("free some space; a `disk` gate makes a step wait for it")
        }
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::InvalidInput => StepError::permanent(message),
        _ => StepError::transient(message),
    }
}

/// Runs what blocks on a thread for it.
pub async fn blocking<T, F>(work: F) -> StepResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> StepResult<T> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StepError::uncertain(format!("the step's own thread ended unexpectedly: {error}"))),
    }
}
