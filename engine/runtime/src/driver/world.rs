//! What does not change while a run is driven: the plan, the directories, the machine and the secrets.
//! Unaware of how the run stands.

use crate::mask::Masker;
use crate::paths::RunDir;
use crate::plan::model::{Body, CheckedPlan, ContextId};
use crate::plan::seal::Secrets;
use flowrun_core::{BlockId, StepId};
use flowrun_sdk::Registry;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// What does not change while a run is driven.
pub(crate) struct World {
    pub(crate) plan: CheckedPlan,
    pub(crate) registry: Registry,
    pub(crate) run: RunDir,
    pub(crate) id: String,
    /// When the run first started, in milliseconds since the epoch.
    pub(crate) started: u64,
    /// The root plan's params.
    pub(crate) params: Value,
    /// The pinned variables of the environment.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) private: PathBuf,
    pub(crate) secrets: Secrets,
    pub(crate) masker: Masker,
    pub(crate) host: Machine,
    names: HashMap<(BlockId, String), StepId>,
}

/// Facts about this machine, as templates see them under `host`.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The host name.
    pub name: String,
    /// Processors this process may use.
    pub cpus: usize,
    /// Memory in bytes.
    pub memory: u64,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        use procfs::Current;
        Self {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: procfs::Meminfo::current().map_or(0, |memory| memory.mem_total),
        }
    }

    pub(crate) fn value(&self) -> Value {
        json!({ "name": self.name, "cpus": self.cpus, "memory": self.memory })
    }
}

/// What a [`World`] is made of.
pub(crate) struct Parts {
    pub(crate) plan: CheckedPlan,
    pub(crate) registry: Registry,
    pub(crate) run: RunDir,
    pub(crate) started: u64,
    pub(crate) params: Map<String, Value>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) private: PathBuf,
    pub(crate) secrets: Secrets,
    pub(crate) host: Machine,
}

impl World {
    pub(crate) fn new(parts: Parts) -> Self {
        let mut names = HashMap::new();
        for (id, block) in parts.plan.blocks.iter().enumerate() {
            for step in block.steps.iter().chain(&block.finally) {
                let name = parts.plan.steps[step.index()].name.clone();
                names.insert((BlockId(id as u32), name), *step);
            }
        }
        Self {
            id: parts.run.id(),
            masker: Masker::new(&parts.secrets.values()),
            params: Value::Object(parts.params),
            plan: parts.plan,
            registry: parts.registry,
            run: parts.run,
            started: parts.started,
            env: parts.env,
            private: parts.private,
            secrets: parts.secrets,
            host: parts.host,
            names,
        }
    }

    /// The step of this name that a step of `block` sees: in its own block, or in one around it in the same file.
    pub(crate) fn step_named(&self, block: BlockId, name: &str) -> Option<StepId> {
        let context = self.plan.blocks[block.index()].context;
        let mut block = block;
        loop {
            if let Some(step) = self.names.get(&(block, name.to_owned())) {
                return Some(*step);
            }
            let owner = self.plan.blocks[block.index()].owner?;
            block = self.plan.steps[owner.index()].block;
            if self.plan.blocks[block.index()].context != context {
                return None;
            }
        }
    }

    /// The step that opens the block of this context; none for the run's own plan.
    pub(crate) fn is_plan_step(&self, step: StepId, context: ContextId) -> bool {
        match self.plan.steps[step.index()].body {
            Body::Plan { block, .. } => self.plan.blocks[block.index()].context == context,
            Body::Leaf { .. } | Body::Wait | Body::Group(_) => false,
        }
    }
}
