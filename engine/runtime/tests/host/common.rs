//! What the tests of the host share.

use flowrun_engine::host::{ChildKey, Host, Setup, Spawn};
use flowrun_engine::paths::RunDir;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The test's flowrun in host mode.
pub fn exe() -> PathBuf {
    env!("CARGO_BIN_EXE_host-for-tests").into()
}

/// A run's directory, and what else a test needs to start children in it.
pub struct Place {
    dir: tempfile::TempDir,
    pub run: RunDir,
}

impl Place {
    pub fn new() -> Self {
        Self::below("r")
    }

    pub fn below(name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let run = RunDir(dir.path().join(name));
        std::fs::create_dir_all(run.path()).expect("a folder");
        Self { dir, run }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub async fn host(&self) -> Host {
        self.host_with(Setup::default()).await
    }

    pub async fn host_with(&self, setup: Setup) -> Host {
        Host::connect(&self.run, &exe(), &setup).await.expect("a host")
    }

    pub fn sh(&self, node: u32, script: &str) -> Spawn {
        let key = key(node);
        Spawn {
            key,
            tag: key.tag(&self.run),
            argv: vec!["sh".into(), "-c".into(), script.into()],
            env: vec![("PATH".into(), std::env::var("PATH").unwrap_or_default())],
            dir: self.dir.path().into(),
            log: self.log(node),
            stdout: None,
            timeout_ms: None,
            grace_ms: 2000,
            signal: 15,
            wait_all: false,
        }
    }

    pub fn log(&self, node: u32) -> PathBuf {
        self.run.log(&format!("step/n{node}"), 1)
    }

    pub fn read(&self, path: &Path) -> String {
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }
}

pub fn key(node: u32) -> ChildKey {
    ChildKey { node, attempt: 1, ordinal: 0 }
}

/// Waits for a fact, for as long as a loaded machine may need.
pub async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !fact() {
        assert!(begin.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// State letter and start time of a process; none: there is no such.
pub fn process(pid: i32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = text.rsplit_once(") ")?.1;
    let state = rest.chars().next()?;
    Some((state, rest.split(' ').nth(19)?.parse().ok()?))
}

pub fn runs(pid: i32) -> bool {
    process(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

pub fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
}
