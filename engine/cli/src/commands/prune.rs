//! `flowrun prune`: removes old runs and their logs.
//! Unaware of how arguments are read. Only runs that nobody can go on with are removed: a failed one can be resumed.

use super::drive::called;
use super::{Ending, Stop, print, survey};
use crate::args::Prune;
use crate::args::settings::Settings;
use crate::exit::Exit;
use crate::out;
use crate::screen::text;
use flowrun_core::RunState;
use flowrun_engine::host::Fates;
use flowrun_engine::paths::{RunDir, StateDir};
use flowrun_engine::store::{DriverLock, Index, LockError, RunSummary, index};
use std::path::{Path, PathBuf};

/// Removes runs that ended longer ago than this.
///
/// # Errors
/// When the state directory cannot be used.
pub fn prune(settings: &Settings, args: &Prune) -> Ending {
    let state = &settings.state_dir;
    // What an earlier prune moved away and did not come to remove.
    let mut freed = empty(&trash(state));
    let age = u64::try_from(args.keep.as_millis()).unwrap_or(u64::MAX);
    let before = survey::now().saturating_sub(age);
    let is_old = |run: &&RunSummary| run.ended.or(run.started).unwrap_or(run.created) < before;
    let runs = Index::open(state)?.list()?;
    let (mut removed, mut kept) = (0_u32, 0_u32);
    for run in runs.iter().filter(is_old) {
        match run.state {
            RunState::Succeeded | RunState::Cancelled => {}
            RunState::Running | RunState::Failed => {
                kept += 1;
                continue;
            }
        }
        match remove(state, &run.id)? {
            Some(bytes) => {
                (removed, freed) = (removed + 1, freed + bytes);
                print(&format!("removed run {} of {}: {}\n", run.id, run.plan, size(bytes)))?;
            }
            None => kept += 1,
        }
    }
    // The index learns of it.
    Index::open(state)?.list()?;
    print(&format!("removed {}, freed {}\n", runs_of(removed), size(freed)))?;
    if kept > 0 {
        out::say(&format!(
            "kept {} as old that can be gone on with: `{} cancel RUN` gives one up",
            runs_of(kept),
            called(settings)
        ));
    }
    Ok(Exit::Succeeded)
}

fn runs_of(count: u32) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

/// Takes one run away; none where somebody works on it.
fn remove(state: &StateDir, id: &str) -> Result<Option<u64>, Stop> {
    let run = state.run(id);
    let _lock = match DriverLock::take(&run) {
        Ok(lock) => lock,
        Err(LockError::Held { .. }) => return Ok(None),
        Err(LockError::Unusable(error)) => {
            return Err(Stop::new(Exit::StateDir, format!("cannot remove run {id}: {error}")).hint(error.hint()));
        }
    };
    // What the list said may have changed before the lock was ours.
    let ended = matches!(index::summary(&run)?.state, RunState::Succeeded | RunState::Cancelled);
    if !ended || host_lives(&run) {
        return Ok(None);
    }
    let trash = trash(state);
    let to = trash.join(id);
    let moved = std::fs::create_dir_all(&trash).and_then(|()| std::fs::rename(run.path(), &to));
    moved.map_err(|error| Stop::new(Exit::StateDir, format!("cannot remove run {id}: {error}")))?;
    Ok(Some(empty(&to)))
}

fn host_lives(run: &RunDir) -> bool {
    // A book that cannot be read may be a living host's.
    Fates::look(run).map_or(true, |fates| fates.host_lives())
}

/// A run that is moved here is no run any more, however far its removal comes.
fn trash(state: &StateDir) -> PathBuf {
    state.0.join("pruned")
}

/// Removes a folder with all in it; says how many bytes that freed.
fn empty(path: &Path) -> u64 {
    let bytes = bytes_in(path);
    match std::fs::remove_dir_all(path) {
        Ok(()) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => {
            out::say(&format!("warning: cannot remove `{}`: {error}", path.display()));
            bytes.saturating_sub(bytes_in(path))
        }
    }
}

fn bytes_in(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => bytes_in(&entry.path()),
            Ok(data) => data.blocks().saturating_mul(512),
            Err(_) => 0,
        })
        .fold(0, u64::saturating_add)
}

#[expect(clippy::cast_precision_loss, reason = "a size for a person's eyes")]
fn size(bytes: u64) -> String {
    let (unit, word) = text::bytes(bytes as f64);
    format!("{} {word}", text::number(bytes as f64 / unit))
}
