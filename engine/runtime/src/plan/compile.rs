//! From a checked plan to the plan that the core decides on: the same positions, without templates.
//! Unaware of runs; sizes that only a run knows come from outside.

use super::model::{Block, Body, CheckedPlan, Gate, Step};
use flowrun_core::plan as core;
use std::collections::BTreeMap;

/// The numbers that a plan may give as templates, as the run rendered them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Units of each pool, at the pool's position; a missing one counts as 1.
    pub pools: Vec<u32>,
    /// `max_parallel` of the steps that have one.
    pub max_parallel: BTreeMap<core::StepId, u32>,
    /// Processors of this machine: so many attempts run at once where a fan-out says nothing else.
    pub cpus: u32,
}

impl CheckedPlan {
    /// The plan as the core sees it. All positions are the same.
    #[must_use]
    pub fn compile(&self, sizes: &Sizes) -> core::Plan {
        let size = |at: usize| sizes.pools.get(at).copied().unwrap_or(1).max(1);
        // Whether the plan file that a block belongs to has outputs.
        let hand_out: Vec<bool> =
            self.blocks.iter().map(|block| !self.contexts[block.context.index()].outputs.is_empty()).collect();
        let mut plan = core::Plan {
            blocks: self.blocks.iter().map(block).collect(),
            steps: self.steps.iter().enumerate().map(|(at, step)| compile_step(at, step, &hand_out, sizes)).collect(),
            pools: self
                .pools
                .iter()
                .enumerate()
                .map(|(at, pool)| core::Pool { name: pool.name.as_str().into(), size: size(at) })
                .collect(),
            gates: self.gates.iter().map(gate).collect(),
        };
        self.share_processors(&mut plan, sizes.cpus.max(1));
        plan
    }

    /// A fan-out that names no limit on its way to a leaf would start all its items at once: such leaves share a pool of
    /// as many units as there are processors.
    fn share_processors(&self, plan: &mut core::Plan, cpus: u32) {
        let pool = core::PoolId(u32::try_from(plan.pools.len()).unwrap_or(u32::MAX));
        let mut used = false;
        for at in 0..plan.steps.len() {
            if self.is_unlimited_leaf(at) {
                plan.steps[at].pools.push((pool, 1));
                used = true;
            }
        }
        if used {
            plan.pools.push(core::Pool { name: "cpus".into(), size: cpus });
        }
    }

    fn is_unlimited_leaf(&self, at: usize) -> bool {
        let leaf = &self.steps[at];
        if !matches!(leaf.body, Body::Leaf { .. }) || !leaf.pools.is_empty() || leaf.background.is_some() {
            return false;
        }
        let mut step = leaf;
        let mut fans = false;
        loop {
            if let Some(fan) = &step.for_each {
                if fan.max_parallel.is_some() {
                    return false;
                }
                fans = true;
            }
            match self.blocks[step.block.index()].owner {
                Some(owner) => step = &self.steps[owner.index()],
                None => return fans,
            }
        }
    }
}

fn block(block: &Block) -> core::Block {
    core::Block { steps: block.steps.clone(), finally: block.finally.clone() }
}

fn gate(gate: &Gate) -> core::Gate {
    core::Gate {
        name: gate.name.as_str().into(),
        settle_ms: gate.settle_ms,
        hold_ms: gate.hold_ms,
        every_ms: gate.every_ms,
        max_wait_ms: gate.max_wait_ms,
        otherwise: gate.otherwise,
    }
}

fn compile_step(at: usize, step: &Step, contexts: &[bool], sizes: &Sizes) -> core::Step {
    let id = core::StepId(u32::try_from(at).unwrap_or(u32::MAX));
    let body = match &step.body {
        Body::Leaf { .. } | Body::Wait => core::Body::Leaf,
        Body::Group(block) | Body::Plan { block, .. } => core::Body::Block(*block),
    };
    let whole_when = step.when.is_some() && !step.when_item;
    let plan = matches!(step.body, Body::Plan { .. });
    let hands_out = match &step.body {
        Body::Leaf { .. } | Body::Wait => false,
        Body::Group(_) => !step.outputs.is_empty(),
        Body::Plan { block, .. } => contexts[block.index()],
    };
    core::Step {
        name: step.name.as_str().into(),
        needs: step.needs.iter().map(|(step, kind)| core::Need { step: *step, kind: *kind }).collect(),
        body,
        fan_out: step.for_each.as_ref().map(|fan| core::FanOut {
            max_parallel: sizes.max_parallel.get(&id).copied(),
            max_failures: fan.max_failures,
        }),
        resolve: whole_when || step.for_each.is_some() || plan,
        resolve_item: step.when_item,
        retry: step.retry.clone(),
        gates: step.gates.clone(),
        pools: step.pools.clone(),
        on_lost: step.on_lost,
        allow_failure: step.allow_failure,
        hands_out,
        background: step.background.is_some(),
    }
}
