//! The driver's lock: held by the kernel for as long as the driver lives, so that no crash can leave it behind.
//! Unaware of what a driver does. The pid inside is for messages only and decides nothing.

use super::statedir::StateError;
use crate::paths::RunDir;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

/// Proof that this process drives the run. Dropping it lets the next one in.
#[derive(Debug)]
#[must_use = "the run is driven only as long as this lives"]
pub struct DriverLock {
    file: File,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process drives the run.
    #[error("another process drives this run{}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Held {
        /// What it wrote about itself.
        pid: Option<u32>,
    },
    /// The file cannot be made or locked.
    #[error(transparent)]
    Unusable(#[from] StateError),
}

/// [`is_live`] holds the lock for a moment, so that one refusal proves nothing.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

impl DriverLock {
    /// Takes the lock of a run and writes this process's pid into it.
    ///
    /// # Errors
    /// When another process has it, or the file cannot be made.
    pub fn take(run: &RunDir) -> Result<Self, LockError> {
        let path = run.driver_lock();
        let unusable = |error: std::io::Error| LockError::Unusable(StateError::from_io("lock", &path, &error));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        for attempt in 1..=TRIES {
            match file.try_lock() {
                Ok(()) => {
                    write_pid(&mut file).map_err(unusable)?;
                    return Ok(Self { file });
                }
                Err(TryLockError::WouldBlock) if attempt < TRIES => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
        Err(LockError::Held { pid: read_pid(&mut file) })
    }

    /// The file, for a child that is to let go of it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// Whether a driver lives. Never makes a file: a run that was never driven has none.
#[must_use]
pub fn is_live(run: &RunDir) -> bool {
    let Ok(file) = File::open(run.driver_lock()) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    // On a full disk the lock is worth more than the message.
    let _ = writeln!(file, "{}", std::process::id());
    Ok(())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{DriverLock, LockError, is_live};
    use crate::paths::RunDir;

    #[test]
    fn a_second_driver_is_told_who_holds_the_run() {
        let directory = tempfile::tempdir().expect("a directory");
        let run = RunDir(directory.path().into());
        assert!(!is_live(&run), "never driven");
        let first = DriverLock::take(&run).expect("the first takes it");
        assert!(is_live(&run));
        match DriverLock::take(&run) {
            Err(LockError::Held { pid }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        assert!(!is_live(&run));
        let _again = DriverLock::take(&run).expect("free again");
    }

    #[test]
    fn a_lock_in_a_directory_that_is_gone_names_it() {
        let run = RunDir("/nonexistent/run".into());
        let Err(LockError::Unusable(error)) = DriverLock::take(&run) else { panic!("it cannot be taken") };
        assert!(error.to_string().contains("/nonexistent/run/driver.lock"), "{error}");
    }
}
