//! The driver's socket: other terminals ask the live driver to cancel, pause, go on or take a verdict.
//! Unaware of what they are shown. One JSON object a line each way.

use super::message::{Message, Request};
use crate::paths::RunDir;
use flowrun_core::Input;
use flowrun_core::event::Verdict;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// What somebody asks a live driver for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Control {
    /// Cancel the run.
    Cancel,
    /// Start nothing new.
    Pause {
        /// Why.
        reason: String,
    },
    /// Start again.
    Unpause,
    /// A person's verdict.
    Mark {
        /// On which step or item.
        address: String,
        /// What.
        verdict: Verdict,
        /// Why.
        because: String,
    },
}

impl From<Control> for Request {
    fn from(control: Control) -> Self {
        match control {
            Control::Cancel => Self::Input(Input::Cancel),
            Control::Pause { reason } => Self::Input(Input::Pause { reason: reason.into() }),
            Control::Unpause => Self::Input(Input::Unpause),
            Control::Mark { address, verdict, because } => Self::Mark { address, verdict, because },
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    done: bool,
    text: String,
}

/// A way to the socket that fits into 107 bytes however long the run's path is: through the open directory.
fn short_path(run: &RunDir) -> std::io::Result<(std::fs::File, PathBuf)> {
    use std::os::fd::AsRawFd as _;
    let dir = std::fs::File::open(run.path())?;
    let path = format!("/proc/self/fd/{}/driver.sock", dir.as_raw_fd());
    Ok((dir, path.into()))
}

/// Serves the socket until the driver ends.
pub(crate) fn serve(run: &RunDir, driver: mpsc::UnboundedSender<Message>) -> std::io::Result<()> {
    let (dir, path) = short_path(run)?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    drop(dir);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, driver.clone()));
        }
    });
    Ok(())
}

async fn answer(stream: UnixStream, driver: mpsc::UnboundedSender<Message>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match serde_json::from_str::<Control>(&line) {
            Ok(control) => ask_driver(control, &driver).await,
            Err(error) => Err(format!("cannot read the request: {error}")),
        };
        let answer = match answer {
            Ok(text) => Answer { done: true, text },
            Err(text) => Answer { done: false, text },
        };
        let Ok(mut line) = serde_json::to_vec(&answer) else { return };
        line.push(b'\n');
        if write.write_all(&line).await.is_err() {
            return;
        }
    }
}

async fn ask_driver(control: Control, driver: &mpsc::UnboundedSender<Message>) -> Result<String, String> {
    let (tx, rx) = oneshot::channel();
    driver.send(Message::Asked(control.into(), tx)).map_err(|_| "the driver has ended".to_owned())?;
    rx.await.map_err(|_| "the driver has ended".to_owned())?
}

/// Why a live driver did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It says why.
    #[error("{0}")]
    Refused(String),
    /// Nobody answers: it has not begun to listen, or has ended.
    #[error("{0}")]
    Unreachable(String),
}

/// Asks the live driver of a run.
///
/// # Errors
/// With the driver's refusal, or when there is no driver to ask.
pub async fn ask(run: &RunDir, control: &Control) -> Result<String, AskError> {
    let talk = async {
        let (_dir, path) = short_path(run)?;
        let mut stream = UnixStream::connect(path).await?;
        let mut line = serde_json::to_vec(control)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await?;
        Ok::<Answer, std::io::Error>(serde_json::from_str(&answer)?)
    };
    let unreachable = |error| AskError::Unreachable(format!("cannot talk to the driver of run {}: {error}", run.id()));
    let answer = talk.await.map_err(unreachable)?;
    if answer.done { Ok(answer.text) } else { Err(AskError::Refused(answer.text)) }
}
