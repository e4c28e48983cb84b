//! A checked plan: everything the driver needs, with names resolved and templates parsed.
//! Unaware of YAML and of runs. Steps, blocks, pools and gates stand at the positions that the core's plan uses.

use super::template::{Template, Tree};
use flowrun_core::plan::{BlockId, GateId, NeedKind, OnLost, Otherwise, PoolId, Retry, StepId};
use std::path::PathBuf;
use std::sync::Arc;

/// A plan file's use: the run's own plan is context 0, every sub-plan step adds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextId(pub u32);

impl ContextId {
    /// The position in [`CheckedPlan::contexts`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A position in a plan file, for messages at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as the person named it.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// A plan without faults.
#[derive(Debug, Clone)]
pub struct CheckedPlan {
    /// Plan files in use; 0 is the run's own.
    pub contexts: Vec<Context>,
    /// Block 0 is the root.
    pub blocks: Vec<Block>,
    /// All steps of all blocks of all plan files.
    pub steps: Vec<Step>,
    /// All pools of all plan files.
    pub pools: Vec<Pool>,
    /// All gates of all plan files.
    pub gates: Vec<Gate>,
}

/// One use of a plan file.
#[derive(Debug, Clone)]
pub struct Context {
    /// `name:`
    pub name: String,
    /// `description:`
    pub description: String,
    /// `plan.dir`: where the file lies, absolute.
    pub dir: PathBuf,
    /// In the order of the file: a default sees earlier params only.
    pub params: Vec<Param>,
    /// What is masked, and where it comes from.
    pub secrets: Vec<SecretDef>,
    /// `env:` of the plan.
    pub env: Vec<(String, Template)>,
    /// `outputs:` of the plan.
    pub outputs: Vec<(String, Tree)>,
    /// `timeout:` of the plan, in milliseconds.
    pub timeout_ms: Option<u64>,
}

/// A typed parameter.
#[derive(Debug, Clone)]
pub struct Param {
    /// The key.
    pub name: String,
    /// `type:`
    pub kind: ParamKind,
    /// `default:`; none: must be given.
    pub default: Option<Tree>,
    /// `help:`
    pub help: String,
    /// `one_of:`
    pub one_of: Vec<serde_json::Value>,
    /// `min:` of a number; durations in seconds, sizes in bytes.
    pub min: Option<f64>,
    /// `max:`
    pub max: Option<f64>,
    /// `pattern:` the whole text must match.
    pub pattern: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// `type:` of a param.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A path; relative ones start at the plan's file, those of `--set` at the caller's directory.
    Path,
    /// `90s 30m 6h 2d`; the value is the text as written.
    Duration,
    /// `512MiB 2TiB`; the value is the text as written.
    Size,
    /// A list.
    List,
    /// A map.
    Map,
}

/// Where a secret comes from. `with` of a sub-plan step may give it instead.
#[derive(Debug, Clone)]
pub struct SecretDef {
    /// The key.
    pub name: String,
    /// `env:`, `file:`, `command:`
    pub source: SecretSource,
    /// Where it stands.
    pub place: Place,
}

/// Where a secret comes from.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// A variable of flowrun's environment.
    Env(String),
    /// A file; one newline at its end is not part of it.
    File(Template),
    /// A shell command's standard output; one newline at its end is not part of it.
    Command(Template),
}

/// Steps that start together when their owner starts.
#[derive(Debug, Clone)]
pub struct Block {
    /// Whose names its steps see.
    pub context: ContextId,
    /// The step that owns it; none for the root.
    pub owner: Option<StepId>,
    /// In the plan's order.
    pub steps: Vec<StepId>,
    /// Steps that run at the end whatever happened.
    pub finally: Vec<StepId>,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// The key.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Whose names it sees.
    pub context: ContextId,
    /// Where it belongs.
    pub block: BlockId,
    /// `description:`
    pub description: String,
    /// What it does.
    pub body: Body,
    /// Edges to steps of the same block, those from references and those hoisted from inner steps included.
    pub needs: Vec<(StepId, NeedKind)>,
    /// `for_each:`
    pub for_each: Option<ForEach>,
    /// `when:`
    pub when: Option<Template>,
    /// `when` speaks of `item`, so each item is asked.
    pub when_item: bool,
    /// `unless:` a shell test; exit 0 means already done.
    pub unless: Option<Template>,
    /// `gates:`
    pub gates: Vec<GateId>,
    /// `pool:`
    pub pools: Vec<(PoolId, u32)>,
    /// `retry:`, defaults applied.
    pub retry: Retry,
    /// `timeout:` of an attempt, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// `grace:` between the signal and KILL, in milliseconds.
    pub grace_ms: u64,
    /// `signal:`, a number.
    pub signal: i32,
    /// `on_lost:`
    pub on_lost: OnLost,
    /// `allow_failure:`
    pub allow_failure: bool,
    /// `background:` with how to see that it is ready.
    pub background: Option<Ready>,
    /// `env:`, the defaults' first, then the step's.
    pub env: Vec<(String, Template)>,
    /// `dir:`
    pub dir: Option<Template>,
    /// `outputs:` of a group.
    pub outputs: Vec<(String, Tree)>,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Body {
    /// A step type with its inputs. `run:` is `shell`, `exec:` is `exec`.
    Leaf {
        /// The step type.
        uses: String,
        /// Its inputs: always a map.
        with: Tree,
    },
    /// `wait:` its gates are all it does.
    Wait,
    /// `steps:`
    Group(BlockId),
    /// `uses: ./file.yaml`
    Plan {
        /// The block of its steps; the block's context has its params.
        block: BlockId,
        /// Its params, and secrets by the same names.
        with: Tree,
    },
}

/// `for_each:`
#[derive(Debug, Clone)]
pub struct ForEach {
    /// The list.
    pub list: Tree,
    /// `key:`; none: an item that is a text or a number names itself.
    pub key: Option<Template>,
    /// `largest_first:`
    pub largest_first: Option<Template>,
    /// `max_parallel:` a number or a template of params.
    pub max_parallel: Option<Tree>,
    /// `max_failures:`
    pub max_failures: Option<flowrun_core::plan::Limit>,
}

/// `ready:` of a background step; with no probe it is ready as soon as it runs.
#[derive(Debug, Clone)]
pub struct Ready {
    /// What must hold.
    pub probe: Option<Probe>,
    /// `within:`, in milliseconds.
    pub within_ms: u64,
}

/// A pool.
#[derive(Debug, Clone)]
pub struct Pool {
    /// The key.
    pub name: String,
    /// Whose names its size sees.
    pub context: ContextId,
    /// A number or a template of params and host.
    pub size: Tree,
    /// Where it stands.
    pub place: Place,
}

/// A gate.
#[derive(Debug, Clone)]
pub struct Gate {
    /// The key.
    pub name: String,
    /// Whose names its texts see.
    pub context: ContextId,
    /// What must hold.
    pub probe: Probe,
    /// `settle:`, in milliseconds; load: 15 s unless told, others 0.
    pub settle_ms: u64,
    /// `hold:`, in milliseconds.
    pub hold_ms: u64,
    /// `every:`, in milliseconds.
    pub every_ms: u64,
    /// `max_wait:`, in milliseconds.
    pub max_wait_ms: Option<u64>,
    /// `else:`
    pub otherwise: Otherwise,
    /// Where it stands.
    pub place: Place,
}

/// A condition of the world. Numbers may be templates of params; they are read when the run starts.
#[derive(Debug, Clone)]
pub enum Probe {
    /// Load average below.
    Load {
        /// 1, 5 or 15.
        minutes: u8,
        /// Divide by the number of CPUs.
        per_cpu: bool,
        /// The limit.
        below: Tree,
    },
    /// Pressure (PSI `some avg10`, percent) below.
    Pressure {
        /// Which resource.
        resource: Resource,
        /// The limit.
        below: Tree,
    },
    /// Available memory above.
    MemoryAvailable {
        /// A size, or a percentage of all memory as `10%`.
        above: Tree,
    },
    /// Free space on a path's filesystem.
    Disk {
        /// Where.
        path: Template,
        /// A size, or a percentage as `10%`.
        free_above: Tree,
    },
    /// The time is inside.
    Window {
        /// `HH:MM`
        from: String,
        /// `HH:MM`; before `from`: the window spans midnight.
        to: String,
        /// An IANA zone; none: the machine's.
        zone: Option<String>,
    },
    /// A TCP connection can be made.
    Tcp {
        /// `host:port`
        address: Template,
    },
    /// Answers 2xx.
    Http {
        /// `http://…`
        url: Template,
    },
    /// A path exists.
    File {
        /// Which.
        path: Template,
    },
    /// A shell test exits 0.
    Run {
        /// The script.
        script: Template,
    },
}

/// What the kernel measures pressure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Waiting for a processor.
    Cpu,
    /// Waiting for memory.
    Memory,
    /// Waiting for disks.
    Io,
}
