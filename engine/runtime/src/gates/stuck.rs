//! Questions to a filesystem that may never answer: a dead network mount blocks whoever looks at it.
//! Unaware of what is asked. A path that still blocks is not asked again, so that threads do not pile up.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);
static ASKED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Asks on a thread of its own, for ten seconds at most.
pub(super) async fn ask<T: Send + 'static>(
    path: &Path,
    question: impl FnOnce(&Path) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    ask_within(LIMIT, path, question).await
}

async fn ask_within<T: Send + 'static>(
    limit: Duration,
    path: &Path,
    question: impl FnOnce(&Path) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let Some(mark) = Mark::put(path) else { return Err("it has not answered since it was last asked".to_owned()) };
    let path = path.to_path_buf();
    let asked = tokio::task::spawn_blocking(move || {
        let answer = question(&path);
        drop(mark);
        answer
    });
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it did not answer for {limit:?}")),
    }
}

/// A path that is being asked.
struct Mark(PathBuf);

impl Mark {
    fn put(path: &Path) -> Option<Self> {
        let fresh = ASKED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_path_buf());
        fresh.then(|| Self(path.to_path_buf()))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        ASKED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{ask, ask_within};
    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn a_path_that_does_not_answer_is_given_up_and_not_asked_again() {
        let (release, held) = mpsc::channel::<()>();
        let path = "/stuck/here".as_ref();
        let limit = Duration::from_millis(50);
        let first = ask_within(limit, path, move |_| held.recv().map_err(|error| error.to_string())).await;
        assert_eq!(first, Err("it did not answer for 50ms".to_owned()));
        let second = ask(path, |_| Ok(())).await;
        assert_eq!(second, Err("it has not answered since it was last asked".to_owned()));
        release.send(()).expect("it still waits");
        // The thread takes its mark away by itself; until then the answer is the second one.
        while ask(path, |_| Ok(())).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
