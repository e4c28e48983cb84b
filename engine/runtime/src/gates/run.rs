//! Shell tests: a script that answers by its exit code, in a process group of its own that is gone when it is late.
//! Unaware of attempts: a test has no log and is not adopted.

use rustix::process::{Pid, Signal, kill_process_group};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

/// How long a test may take.
const LIMIT: Duration = Duration::from_secs(30);
/// For what stands in the pipe when the test has ended: a child of its own may hold it open for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Of what a test says the last part is kept.
const KEEP: usize = 4096;
/// What a test sees of flowrun's environment.
const PASSED: [&str; 6] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ"];

/// How a test ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// It exited 0.
    pub holds: bool,
    /// How it ended, and the last line of its standard error.
    pub text: String,
}

/// Runs a script and waits for its end, 30 seconds at most.
pub(super) async fn test(script: &str, dir: Option<&Path>, env: &[(String, String)]) -> Result<Verdict, String> {
    test_within(script, dir, env, LIMIT).await
}

async fn test_within(
    script: &str,
    dir: Option<&Path>,
    env: &[(String, String)],
    limit: Duration,
) -> Result<Verdict, String> {
    let mut child = command(script, dir, env).spawn().map_err(|error| format!("cannot start `bash`: {error}"))?;
    let mut group = Group::of(&child);
    let said = child.stderr.take().map(|stderr| tokio::spawn(last_of(stderr)));
    let Ok(ended) = tokio::time::timeout(limit, child.wait()).await else {
        drop(group);
        return Err(format!("it was stopped after {}s", limit.as_secs()));
    };
    group.disarm();
    let status = ended.map_err(|error| error.to_string())?;
    let said = match said {
        Some(said) => tokio::time::timeout(LAST_WORDS, said).await.ok().and_then(Result::ok).unwrap_or_default(),
        None => String::new(),
    };
    Ok(Verdict { holds: status.success(), text: describe(status, &said) })
}

fn command(script: &str, dir: Option<&Path>, env: &[(String, String)]) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]);
    command.env_clear();
    command.envs(PASSED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    command
}

fn describe(status: ExitStatus, said: &str) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    let ended = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exits {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    match said.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) if !status.success() => format!("{ended}: {}", line.trim()),
        _ => ended,
    }
}

/// Reads to the end and keeps the last part, so that nothing said can block the test or fill the memory.
async fn last_of(mut stream: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut block = [0_u8; KEEP];
    while let Ok(count @ 1..) = stream.read(&mut block).await {
        kept.extend_from_slice(block.get(..count).unwrap_or_default());
        let surplus = kept.len().saturating_sub(KEEP);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Kills the whole group unless the test has ended: also when whoever waits is no longer there.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)))
    }

    /// The leader has been waited for: its number may belong to somebody else.
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It may have ended by itself in this moment.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, test, test_within};
    use std::time::{Duration, Instant};

    async fn verdict(script: &str) -> Verdict {
        test(script, None, &[]).await.expect("bash starts")
    }

    #[tokio::test]
    async fn a_test_holds_when_it_exits_0() {
        assert_eq!(verdict("true").await, Verdict { holds: true, text: "exits 0".to_owned() });
        assert_eq!(verdict("exit 3").await, Verdict { holds: false, text: "exits 3".to_owned() });
    }

    #[tokio::test]
    async fn a_test_that_fails_is_quoted_with_its_last_line() {
        let said = verdict("echo first >&2; echo 'no such table' >&2; exit 1").await;
        assert_eq!(said.text, "exits 1: no such table");
    }

    #[tokio::test]
    async fn a_fault_in_the_middle_of_a_test_fails_it() {
        assert!(!verdict("false | true; true").await.holds, "pipefail");
        assert!(!verdict("echo $UNSET_NAME; true").await.holds, "unset names");
    }

    #[tokio::test]
    async fn a_test_sees_its_own_environment_and_little_else() {
        let env = [("KEY".to_owned(), "a value".to_owned())];
        let seen = test("test \"$KEY\" = 'a value'; test -z \"${CARGO:-}\"", None, &env).await.expect("bash starts");
        assert!(seen.holds, "{}", seen.text);
    }

    #[tokio::test]
    async fn a_late_test_is_killed_with_everything_it_started() {
        let directory = tempfile::tempdir().expect("a directory");
        let script = "sleep 1000 & echo $! > child; wait";
        let late = test_within(script, Some(directory.path()), &[], Duration::from_secs(1)).await;
        assert_eq!(late, Err("it was stopped after 1s".to_owned()));
        let pid = std::fs::read_to_string(directory.path().join("child")).expect("it had started");
        let begun = Instant::now();
        // A killed process is there until it is waited for; a zombie has no command line.
        while std::fs::read(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|line| !line.is_empty()) {
            assert!(begun.elapsed() < Duration::from_secs(10), "the child lives on");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_child_that_holds_the_pipe_does_not_hold_the_answer() {
        let begun = Instant::now();
        assert!(verdict("sleep 20 & true").await.holds);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_test_that_says_much_neither_blocks_nor_fills_the_memory() {
        let said = verdict("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo end >&2; exit 1").await;
        assert_eq!(said.text, "exits 1: end");
    }
}
