//! What is gathered while plan files are read: contexts, blocks, steps, and every use of a name for later.
//! Unaware of single keys. Names are resolved when everything has been read, so order in the file does not matter.

use super::shape::Shape;
use crate::plan::diagnostic::Diagnostic;
use crate::plan::keys;
use crate::plan::model::{Block, Body, CheckedPlan, Context, ContextId, Gate, ParamKind, Pool, Step};
use crate::plan::node::Node;
use crate::plan::source::{FileId, Sources, Span};
use crate::plan::template::Ref;
use crate::plan::yaml;
use flowrun_core::plan::{BlockId, GateId, PoolId, StepId};
use flowrun_sdk::Registry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Where the texts of plan files come from.
pub(in crate::plan) trait Reader {
    /// The text of a file, or why there is none.
    fn read(&mut self, path: &Path) -> Result<String, String>;
}

/// What a use of a name is for; it decides what may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An input, a variable, a directory: anything may stand here.
    Value,
    /// The text of a shell script.
    Script,
    /// An argument of a program.
    Argument,
    /// A text that is journaled or shown: conditions, lists, keys.
    Stored,
    /// What a plan or a group hands out.
    Output,
    /// A text of a gate.
    Gate,
    /// A pool's size, or a number that is known before the run starts.
    Size,
    /// The default of the param at this position.
    Default(usize),
    /// Where a secret is found, or `env` of the plan: params and what is known at the start.
    Start,
    /// `needs:`
    Need,
}

/// Where a text stands: what its names can mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    pub(super) context: ContextId,
    /// Where step names are looked up first; none: no steps can be named.
    pub(super) block: Option<BlockId>,
    /// Who gets the edges.
    pub(super) user: Option<StepId>,
    pub(super) role: Role,
    /// `item` means something.
    pub(super) item: bool,
    /// `run.state` means something.
    pub(super) finally: bool,
    /// `template: false`
    pub(super) literal: bool,
}

impl Site {
    pub(super) fn of(context: ContextId, role: Role) -> Self {
        Self { context, block: None, user: None, role, item: false, finally: false, literal: false }
    }

    pub(super) fn as_role(self, role: Role) -> Self {
        Self { role, ..self }
    }
}

/// A use of a name.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) site: Site,
    pub(super) reference: Ref,
    /// The name in the file.
    pub(super) span: Span,
}

/// What can be named in a plan file.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) params: HashMap<String, (usize, ParamKind, bool)>,
    pub(super) secrets: HashSet<String>,
    pub(super) gates: BTreeMap<String, GateId>,
    /// Gates that were reported already.
    pub(super) broken_gates: HashSet<String>,
    pub(super) pools: BTreeMap<String, PoolId>,
    pub(super) root: Option<BlockId>,
}

/// What is known of a step beside the step itself.
#[derive(Debug, Clone)]
pub(super) struct Meta {
    pub(super) key: Span,
    pub(super) finally: bool,
    /// Outputs that the plan declares; none: whatever it hands out.
    pub(super) outputs: Option<Vec<String>>,
}

/// Reads plan files into one checked plan.
pub(in crate::plan) struct Builder<'a> {
    pub(super) reader: &'a mut (dyn Reader + Send),
    pub(super) registry: &'a Registry,
    pub(in crate::plan) sources: Sources,
    pub(in crate::plan) faults: Vec<Diagnostic>,
    pub(super) trees: HashMap<FileId, Option<Arc<Node>>>,
    /// The plan files that are being read, outermost first.
    pub(super) stack: Vec<FileId>,
    pub(super) contexts: Vec<Context>,
    pub(super) names: Vec<Names>,
    pub(super) blocks: Vec<Block>,
    pub(super) steps: Vec<Step>,
    pub(super) metas: Vec<Meta>,
    pub(super) pools: Vec<Pool>,
    pub(super) gates: Vec<Gate>,
    /// What each gate names, for the steps that name the gate.
    pub(super) gate_uses: Vec<Vec<Use>>,
    pub(super) uses: Vec<Use>,
    pub(super) index: HashMap<(BlockId, String), StepId>,
    pub(super) edges: HashMap<(StepId, StepId), Span>,
}

impl<'a> Builder<'a> {
    pub(in crate::plan) fn new(reader: &'a mut (dyn Reader + Send), registry: &'a Registry) -> Self {
        Self {
            reader,
            registry,
            sources: Sources::default(),
            faults: Vec::new(),
            trees: HashMap::new(),
            stack: Vec::new(),
            contexts: Vec::new(),
            names: Vec::new(),
            blocks: Vec::new(),
            steps: Vec::new(),
            metas: Vec::new(),
            pools: Vec::new(),
            gates: Vec::new(),
            gate_uses: Vec::new(),
            uses: Vec::new(),
            index: HashMap::new(),
            edges: HashMap::new(),
        }
    }

    /// The tree of a file, its shape checked; each file is read once, however often it is used.
    pub(super) fn tree(&mut self, id: FileId) -> Option<Arc<Node>> {
        if let Some(tree) = self.trees.get(&id) {
            return tree.clone();
        }
        let file = self.sources.get(id)?;
        let tree = yaml::parse(id, file, &mut self.faults).map(Arc::new);
        if let Some(tree) = &tree {
            Shape { faults: &mut self.faults }.object(tree, &keys::PLAN);
        }
        self.trees.insert(id, tree.clone());
        tree
    }

    pub(super) fn fault(&mut self, fault: Diagnostic) {
        self.faults.push(fault);
    }

    pub(super) fn step_mut(&mut self, id: StepId) -> Option<&mut Step> {
        self.steps.get_mut(id.index())
    }

    /// The block that a step belongs to.
    pub(super) fn block_of(&self, id: StepId) -> Option<BlockId> {
        self.steps.get(id.index()).map(|step| step.block)
    }

    /// The step that owns a block, where both are of the same plan file.
    pub(super) fn owner_of(&self, id: BlockId) -> Option<StepId> {
        let block = self.blocks.get(id.index())?;
        let owner = block.owner?;
        (self.steps.get(owner.index())?.context == block.context).then_some(owner)
    }

    pub(super) fn step_name(&self, id: StepId) -> &str {
        self.steps.get(id.index()).map_or("", |step| &step.name)
    }

    pub(super) fn body_of(&self, id: StepId) -> Option<&Body> {
        self.steps.get(id.index()).map(|step| &step.body)
    }

    /// Reads the run's own plan and everything that it calls.
    pub(in crate::plan) fn run(&mut self, root: FileId) {
        let Some(tree) = self.tree(root) else { return };
        self.stack.push(root);
        self.plan(root, &tree, None, false);
        self.stack.pop();
        self.resolve();
        self.find_cycles();
    }

    /// What was read. Only a plan without errors may be used.
    pub(in crate::plan) fn finish(self) -> (CheckedPlan, Sources, Vec<Diagnostic>) {
        let Self { contexts, blocks, steps, pools, gates, sources, mut faults, .. } = self;
        faults.sort_by(|a, b| (a.span, a.code, &a.message).cmp(&(b.span, b.code, &b.message)));
        faults.dedup();
        (CheckedPlan { contexts, blocks, steps, pools, gates }, sources, faults)
    }
}
