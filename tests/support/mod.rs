//! What whole-program tests share: a state directory of their own, flowrun with a time limit, and waiting for facts.
//! Unaware of what is tested. Whatever a test leaves running is cancelled when its state directory goes.
#![expect(dead_code, reason = "every test program uses a part of it")]
#![expect(clippy::panic, reason = "a test stops at what it did not expect")]

use serde_json::Value;
use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No single command of a test takes longer, however busy the machine is.
pub const LIMIT: Duration = Duration::from_secs(120);
/// A fact is looked for so often.
const LOOK: Duration = Duration::from_millis(20);

/// A state directory and a place for plans, gone with the value.
pub struct Place {
    dir: tempfile::TempDir,
}

/// What a command answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The exit code; negative: the signal that ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// A flowrun that still runs; killed with the value.
pub struct Live {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Place {
    /// A new one.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    /// The folder of plans and whatever a test wants to keep.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The directory of a run.
    pub fn run_dir(&self, id: &str) -> PathBuf {
        self.state().join("runs").join(id)
    }

    /// Writes a plan; `@` in it stands for the folder of the place.
    pub fn plan(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text.replace('@', &self.path().display().to_string())).expect("a plan");
        path
    }

    /// flowrun with these arguments and this state directory, in the folder of the place.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowrun"));
        command
            .args(args)
            .env("FLOWRUN_STATE_DIR", self.state())
            .env("TZ", "UTC")
            .env("LANG", "C.UTF-8")
            .env_remove("XDG_RUNTIME_DIR")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs flowrun to its end.
    pub fn flowrun<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Answer {
        self.start(args).wait()
    }

    /// Runs flowrun, sees that it ends with this code, and gives its standard output.
    pub fn ok<A: AsRef<OsStr>>(&self, code: i32, args: impl IntoIterator<Item = A>) -> String {
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let answer = self.flowrun(&args);
        assert_eq!(answer.code, code, "{args:?}\n{}\n{}", answer.out, answer.err);
        answer.out
    }

    /// The JSON that flowrun prints.
    pub fn json<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Value {
        serde_json::from_str(&self.ok(0, args)).expect("JSON")
    }

    /// Starts flowrun and comes back at once.
    pub fn start<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Live {
        Live::start(self.command(args), self.path())
    }

    /// The ids of all runs, the newest first.
    pub fn runs(&self) -> Vec<String> {
        let runs = self.json(["runs", "--json"]);
        runs.as_array().expect("a list").iter().map(|run| text(&run["id"])).collect()
    }

    /// The id of the only run; waits until there is one.
    pub fn run_id(&self) -> String {
        until("there is a run", || self.runs().into_iter().next())
    }

    /// `status --json` of the latest run.
    pub fn status(&self) -> Value {
        self.json(["status", "--json"])
    }

    /// The state of a step of the latest run.
    pub fn state_of(&self, step: &str) -> String {
        let status = self.status();
        let steps = status["steps"].as_array().expect("a list");
        let step = steps.iter().find(|one| one["id"] == step).expect("the step is listed");
        text(&step["state"])
    }

    /// Waits until a step of the latest run is in a state.
    pub fn until_state(&self, step: &str, state: &str) {
        until(&format!("`{step}` is {state}"), || (self.state_of(step) == state).then_some(()));
    }

    /// Waits until a file of the place is there, and gives its text.
    pub fn until_file(&self, name: &str) -> String {
        until(&format!("`{name}` is there"), || std::fs::read_to_string(self.path().join(name)).ok())
    }

    /// Makes a file of the place.
    pub fn touch(&self, name: &str) {
        std::fs::write(self.path().join(name), "").expect("a file");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.state().join("runs").exists() {
            return;
        }
        let answer = self.flowrun(["runs", "--json"]);
        let runs: Value = serde_json::from_str(&answer.out).unwrap_or_default();
        for run in runs.as_array().into_iter().flatten() {
            if matches!(run["state"].as_str(), Some("running" | "interrupted" | "waiting")) {
                // Best effort: a test that failed must still say why it did.
                let _ = self.flowrun(["cancel", run["id"].as_str().unwrap_or_default()]);
            }
        }
    }
}

impl Live {
    /// Starts a command; its output goes to files in `dir`, so that nobody waits for a reader.
    pub fn start(mut command: Command, dir: &Path) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (dir.join(format!(".out-{number}")), dir.join(format!(".err-{number}")));
        let file = |path: &Path| std::fs::File::create(path).expect("a file for output");
        let child = command.stdout(file(&out)).stderr(file(&err)).spawn().expect("it starts");
        Self { child, out, err }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, e.g. `INT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success(), "signal {name}");
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub fn crash(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// What it has written to standard output so far.
    pub fn out(&self) -> String {
        read(&self.out)
    }

    /// What it has written to standard error so far.
    pub fn err(&self) -> String {
        read(&self.err)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    /// Its end; one that does not come within [`LIMIT`] fails the test.
    pub fn wait(mut self) -> Answer {
        use std::os::unix::process::ExitStatusExt as _;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                break status;
            }
            assert!(began.elapsed() < LIMIT, "it does not end:\n{}\n{}", self.out(), self.err());
            std::thread::sleep(Duration::from_millis(5));
        };
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
        Answer { code, out: self.out(), err: self.err() }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // It has ended already, or the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is there, and gives it.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "waited too long until {what}");
        std::thread::sleep(LOOK);
    }
}

/// A JSON text.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The keys of a JSON map, sorted.
pub fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<_> = value.as_object().expect("a map").keys().cloned().collect();
    keys.sort();
    keys
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).expect("its output");
    String::from_utf8_lossy(&bytes).into_owned()
}
