//! From a driver to its host: finds the living one or starts one, and greets it.
//! Unaware of what is said afterwards.

use super::client::HostError;
use super::proto::{Answer, Inbox, Order, VERSION};
use super::{ChildRecord, Setup, daemon};
use crate::paths::RunDir;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream as Blocking;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

/// How long all of it may take; a start takes a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many bytes of output of one child may wait, unless the setup says otherwise.
const SPOOL_CAP: u64 = 1 << 30;

/// A greeted host.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: UnixStream,
    pub(super) inbox: Inbox,
    pub(super) pid: i32,
    pub(super) known: Vec<ChildRecord>,
}

/// A host lives: it holds its lock.
pub(super) fn is_locked(run: &RunDir) -> io::Result<bool> {
    let lock = match File::open(run.host_lock()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The host of the run, alive and greeted. Two drivers that start one at once end with the same one.
pub(super) async fn reach(run: &RunDir, exe: &Path, setup: &Setup) -> Result<Link, HostError> {
    let until = Instant::now() + PATIENCE;
    let mut trouble = "it did not begin to serve".to_owned();
    // Only the first host is to die: the next one shows that the driver gets over it.
    let mut crash_at = setup.crash_at.clone();
    while Instant::now() < until {
        match dial(run) {
            Ok(stream) => match timeout(PATIENCE, greet(stream, setup)).await {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(Refusal::Version(version))) => return Err(HostError::Version { version }),
                // It ended just now: there will be another one.
                Ok(Err(Refusal::Broken(error))) => trouble = error.to_string(),
                Err(_) => return Err(HostError::Silent { run: run.id() }),
            },
            Err(_) if !is_locked(run).map_err(|error| start_error(run, &error))? => {
                start(run, exe, crash_at.take()).await?;
                continue;
            }
            // It holds the lock and does not listen yet, or no longer.
            Err(error) => trouble = error.to_string(),
        }
        sleep(Duration::from_millis(10)).await;
    }
    Err(HostError::Start { run: run.id(), why: trouble })
}

fn start_error(run: &RunDir, error: &io::Error) -> HostError {
    HostError::Start { run: run.id(), why: error.to_string() }
}

/// Through a descriptor of the directory, since a socket's path has 107 bytes at most.
fn dial(run: &RunDir) -> io::Result<UnixStream> {
    let path_only = rustix::fs::OFlags::PATH.bits().cast_signed();
    let dir = OpenOptions::new().read(true).custom_flags(path_only).open(run.path())?;
    let stream = Blocking::connect(format!("/proc/self/fd/{}/host.sock", dir.as_raw_fd()))?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

async fn start(run: &RunDir, exe: &Path, crash_at: Option<String>) -> Result<(), HostError> {
    let mut command = Command::new(exe);
    // The host's own environment is empty: nothing of the shell that happened to start it reaches later children.
    command.arg("__host").arg(run.path()).args(crash_at).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.map_err(io::Error::other);
    let said = output.and_then(|output| output).map_err(|error| start_error(run, &error))?.stdout;
    match said.as_slice() {
        daemon::READY | daemon::BUSY => Ok(()),
        // It died on its way, perhaps killed: the next try tells.
        [] => {
            sleep(Duration::from_millis(50)).await;
            Ok(())
        }
        why => Err(HostError::Start { run: run.id(), why: String::from_utf8_lossy(why).into_owned() }),
    }
}

enum Refusal {
    Version(u32),
    Broken(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

async fn greet(mut stream: UnixStream, setup: &Setup) -> Result<Link, Refusal> {
    let mut hello = Vec::new();
    let (secrets, private) = (setup.secrets.clone(), setup.private.clone());
    let spool_cap = setup.spool_cap.unwrap_or(SPOOL_CAP);
    Order::Hello { version: VERSION, secrets, private, spool_cap }.write(&mut hello);
    stream.write_all(&hello).await?;
    let mut inbox = Inbox::default();
    let mut buffer = vec![0; 64 << 10];
    let mut link = None;
    loop {
        while let Some(frame) = inbox.next()? {
            match (Answer::read(frame), &mut link) {
                (Some(Answer::Welcome { version, .. }), _) if version != VERSION => {
                    return Err(Refusal::Version(version));
                }
                (Some(Answer::Welcome { pid, records, .. }), None) => link = Some((pid, records, Vec::new())),
                (Some(Answer::Known(child)), Some((_, _, known))) => known.push(child),
                (_, _) => {
                    return Err(Refusal::Broken(io::Error::other(
                        "the host answered something else than its greeting",
                    )));
                }
            }
            if let Some((pid, _, known)) = link.take_if(|(_, records, known)| known.len() >= *records as usize) {
                return Ok(Link { stream, inbox, pid, known });
            }
        }
        match stream.read(&mut buffer).await? {
            0 => return Err(Refusal::Broken(io::ErrorKind::UnexpectedEof.into())),
            count => inbox.push(buffer.get(..count).unwrap_or_default()),
        }
    }
}
