//! The world of a scenario: the files that its steps leave, and what they tell of how often each ran.
//! Unaware of flowrun: it believes only what the steps themselves wrote down, and locks that the kernel keeps.

use super::support::Place;
use flowrun_engine::paths::RunDir;
use flowrun_engine::store::Reader;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// How long what was told to stop may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// One line of the world file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `start`, `end`, `fail` or `overlap`.
    pub what: String,
    /// The address of the step.
    pub key: String,
}

/// What every script of a scenario begins with. A line is one write to a file that is opened for appending, so lines do
/// not mix; the lock is the kernel's, so that two copies alive at once cannot miss each other.
const WORK: &str = r#"
key=$FLOWRUN_STEP
exec 9>> "$WORLD/locks/${key//\//_}"
# A storm may kill the locking program too; then it is tried again.
until flock --nonblock --conflict-exit-code 99 9; do
  if [ $? = 99 ]; then echo "overlap $key $$" >> "$WORLD/world"; break; fi
done
echo "start $key $$" >> "$WORLD/world"
work() { sleep "${1:-$PACE}"; }
fail_once() {
  [ -e "$WORLD/failed/$key" ] && return
  mkdir -p "$WORLD/failed"; touch "$WORLD/failed/$key"
  echo "fail $key $$" >> "$WORLD/world"
  exit 7
}
done_now() { echo "end $key $$" >> "$WORLD/world"; }
"#;

const PLAN: &str = r#"
name: scenario
params:
  pace: { type: string, default: "0.05" }
env: { WORLD: "@", PACE: "{{params.pace}}" }
pools: { pair: 2 }
gates:
  open: { file: "@/open", every: 50ms }
defaults: { retry: { attempts: 12, delay: 10ms } }
steps:
  list:
    outputs: { names: { from: stdout, as: json } }
    run: |
      . "$WORLD/work"; work; echo '["a", "b", "c"]'; done_now
  fan:
    for_each: "{{steps.list.names}}"
    pool: pair
    outputs: { name: { from: stdout, as: text } }
    env: { NAME: "{{item}}" }
    run: |
      . "$WORLD/work"; work; echo "<$NAME>"; done_now
  flaky:
    run: |
      . "$WORLD/work"; work; fail_once; echo "value=42" >> "$FLOWRUN_OUTPUT"; done_now
  opener:
    needs: [flaky]
    run: |
      . "$WORLD/work"; touch "$WORLD/open"; work; done_now
  gated:
    gates: [open]
    run: |
      . "$WORLD/work"; work; done_now
  service:
    background: true
    ready: { file: "@/ready", within: 60s }
    run: |
      . "$WORLD/work"; touch "$WORLD/ready"; exec sleep 600
  asks:
    needs: [service]
    run: |
      . "$WORLD/work"; work; done_now
  moved:
    for_each: [x, y]
    steps:
      dump:
        run: |
          . "$WORLD/work"; work; done_now
      restore:
        needs: [dump]
        run: |
          . "$WORLD/work"; work; done_now
  note:
    uses: file.template
    with: { path: "@/out/note", text: "value={{steps.flaky.value}}\n" }
  packed:
    needs: [note]
    uses: archive.create
    with: { source: "@/out", path: "@/out.tar.gz" }
  unpacked:
    needs: [packed]
    uses: archive.extract
    with: { path: "{{steps.packed.path}}", into: "@/copy" }
  called:
    uses: ./called.yaml
    with: { world: "@", text: "{{steps.flaky.value}}" }
  sum:
    needs: [gated, asks, moved, unpacked]
    env: { NAMES: "{{join steps.fan.name \",\"}}", TEXT: "{{steps.called.text}}" }
    run: |
      . "$WORLD/work"; work; echo "$NAMES $TEXT" > "$WORLD/result"; done_now
finally:
  tidy:
    env: { STATE: "{{run.state}}" }
    run: |
      . "$WORLD/work"; work; echo "$STATE" > "$WORLD/tidied"; done_now
"#;

const CALLED: &str = r#"
name: called
params:
  world: { type: path }
  text: { type: string }
env: { WORLD: "{{params.world}}", PACE: "0.02", TEXT: "{{params.text}}" }
defaults: { retry: { attempts: 12, delay: 10ms } }
steps:
  first:
    run: |
      . "$WORLD/work"; work; done_now
  second:
    needs: [first]
    outputs: { text: { from: stdout, as: text } }
    run: |
      . "$WORLD/work"; work; echo "[$TEXT]"; done_now
outputs:
  text: "{{steps.second.text}}"
"#;

/// What the scenario makes, each exactly once if nothing goes wrong.
const KEYS: [&str; 14] = [
    "list",
    "fan/a",
    "fan/b",
    "fan/c",
    "flaky",
    "opener",
    "gated",
    "asks",
    "moved/x/dump",
    "moved/x/restore",
    "moved/y/dump",
    "moved/y/restore",
    "sum",
    "tidy",
];

/// The steps of a scenario that are no services: what ended may never start again.
fn is_service(key: &str) -> bool {
    key == "service"
}

/// Prepares the folders and gives the scenario's plan.
pub fn prepare(place: &Place) -> PathBuf {
    for folder in ["locks", "out"] {
        std::fs::create_dir_all(place.path().join(folder)).expect("a folder");
    }
    place.plan("work", WORK);
    place.plan("called.yaml", CALLED);
    place.plan("scenario.yaml", PLAN)
}

/// The lines that the steps have written so far.
pub fn lines(place: &Place) -> Vec<Line> {
    let text = std::fs::read_to_string(place.path().join("world")).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split(' ');
        Some(Line { what: words.next()?.to_owned(), key: words.next()?.to_owned() })
    };
    text.lines().filter_map(line).collect()
}

/// What a walk through the world finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Steps that had written their end and were started again.
    pub run_again: Vec<String>,
    /// Steps of which a copy was alive when another one started.
    pub doubled: Vec<String>,
    /// Steps that never came to their end, and files that are not what they must be.
    pub left_out: Vec<String>,
    /// Processes that outlive the run.
    pub left_alive: Vec<String>,
}

impl Verdict {
    /// The most copies of one step that were alive at once.
    pub fn copies(&self) -> usize {
        1 + usize::from(!self.doubled.is_empty())
    }

    /// Nothing but what an undisturbed run leaves.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares the world with that of an undisturbed run. `unseen`: the end of a step does not count before this place in
/// the world file unless its key is in the set: for kills of the host, whose children may end unseen.
pub fn judge(place: &Place, finished: &Finished) -> Verdict {
    let lines = lines(place);
    let mut verdict = Verdict::default();
    let mut ended: BTreeMap<&str, bool> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        match line.what.as_str() {
            "overlap" => verdict.doubled.push(line.key.clone()),
            "start" if !is_service(&line.key) && finished.before(at, &line.key, &ended) => {
                verdict.run_again.push(line.key.clone())
            }
            "end" => drop(ended.insert(&line.key, true)),
            _ => {}
        }
    }
    verdict.left_alive = survivors(place);
    let keys = KEYS.iter().copied().chain(["called/first", "called/second"]);
    verdict.left_out.extend(keys.filter(|key| !ended.contains_key(key)).map(str::to_owned));
    for (file, text) in [
        ("result", "<a>,<b>,<c> [42]\n"),
        ("tidied", "succeeded\n"),
        ("out/note", "value=42\n"),
        ("copy/out/note", "value=42\n"),
    ] {
        let found = std::fs::read_to_string(place.path().join(file)).unwrap_or_default();
        if found != text {
            verdict.left_out.push(format!("{file}: {found:?}"));
        }
    }
    verdict
}

/// Which steps count as finished.
#[derive(Debug, Clone, Default)]
pub enum Finished {
    /// All that wrote their end: their host lived and saw it.
    #[default]
    Ended,
    /// Those that the journal or the host's book said had succeeded when so many lines of the world were written.
    Recorded(Vec<(usize, BTreeSet<String>)>),
}

impl Finished {
    fn before(&self, at: usize, key: &str, ended: &BTreeMap<&str, bool>) -> bool {
        match self {
            Self::Ended => ended.contains_key(key),
            Self::Recorded(moments) => moments.iter().any(|(lines, keys)| at >= *lines && keys.contains(key)),
        }
    }
}

/// The processes that carry the mark of an attempt of a run in this place.
pub fn alive(place: &Place) -> Vec<i32> {
    let Ok(runs) = std::fs::read_dir(place.state().join("runs")) else { return Vec::new() };
    let ids = runs.filter_map(|run| run.ok()?.file_name().into_string().ok());
    let marks: Vec<_> = ids.map(|id| format!("FLOWRUN_ATTEMPT={id}@")).collect();
    let carries = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| marks.iter().any(|mark| variable.starts_with(mark.as_bytes())))
    };
    processes().into_iter().filter(carries).collect()
}

/// The numbers of all processes.
pub fn processes() -> Vec<i32> {
    let all = std::fs::read_dir("/proc").expect("/proc");
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// What is alive although the run has ended: nothing, if all is well.
pub fn survivors(place: &Place) -> Vec<String> {
    let began = std::time::Instant::now();
    loop {
        let alive = alive(place);
        if alive.is_empty() || began.elapsed() > PATIENCE {
            let command = |pid: i32| {
                std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
            };
            return alive.into_iter().map(|pid| format!("{pid}: {}", command(pid))).collect();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// The journals and the world, for the person who reads a failure.
pub fn story(place: &Place) -> String {
    let mut story = String::new();
    for run in std::fs::read_dir(place.state().join("runs")).into_iter().flatten().flatten() {
        let reader = Reader::open(&RunDir(run.path()));
        let _ = reader.and_then(|reader| reader.events(0, |seq, at, event| story += &format!("{seq} {at} {event}\n")));
    }
    let world = std::fs::read_to_string(place.path().join("world")).unwrap_or_default();
    story + &world
}
