//! Scenarios: a random plan as a tree that can be made smaller, and what may go wrong.
//! Unaware of the core but for the words of its plan.

use crate::rng::Rng;
use flowrun_core::plan::{
    self, Backoff, BlockId, Body, FanOut, Gate, GateId, Limit, Need, NeedKind, OnLost, Otherwise, Plan, Pool, PoolId,
    Retry, StepId,
};

#[derive(Debug, Clone)]
pub struct Spec {
    pub seed: u64,
    pub root: Block,
    pub pools: Vec<u32>,
    pub gates: Vec<Gate>,
    pub rates: Rates,
}

#[derive(Debug, Clone, Default)]
pub struct Block {
    pub steps: Vec<Step>,
    pub finally: Vec<Step>,
}

#[derive(Debug, Clone)]
pub struct Step {
    pub name: String,
    pub needs: Vec<(String, NeedKind)>,
    pub body: Option<Block>,
    pub fan: Option<Fan>,
    pub resolve: bool,
    pub resolve_item: bool,
    pub retry: Retry,
    pub gates: Vec<u32>,
    pub pools: Vec<(u32, u32)>,
    pub on_lost: OnLost,
    pub allow_failure: bool,
    pub hands_out: bool,
    pub background: bool,
}

#[derive(Debug, Clone)]
pub struct Fan {
    pub items: u32,
    pub max_parallel: Option<u32>,
    pub max_failures: Option<Limit>,
}

/// Percents for facts, parts of ten thousand at each move for faults.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    pub fail: u64,
    pub permanent: u64,
    pub skip: u64,
    pub broken: u64,
    pub unknown: u64,
    pub reboot: u64,
    pub double: u64,
    pub crash: u64,
    pub lose: u64,
    pub cancel: u64,
    pub pause: u64,
    pub drain: u64,
    pub jump: u64,
    pub mark: u64,
    /// Starts wait for everything that memory knew, not only for their own order.
    pub strict: bool,
    /// How many moves a commit may lag behind, in percent of moves that commit nothing.
    pub lag: u64,
}

pub fn random(seed: u64) -> Spec {
    let mut rng = Rng::new(seed);
    let pools: Vec<u32> = (0..rng.below(3)).map(|_| rng.range(1, 4) as u32).collect();
    let gates: Vec<Gate> = (0..rng.below(3)).map(|n| gate(&mut rng, n)).collect();
    let rates = rates(&mut rng);
    let mut maker = Maker { rng, names: 0, left: 0, pools: &pools, gates: gates.len() as u32 };
    maker.left = maker.rng.range(1, 14);
    let root = maker.block(0);
    Spec { seed, root, pools, gates, rates }
}

fn gate(rng: &mut Rng, n: u64) -> Gate {
    Gate {
        name: format!("gate{n}").into(),
        settle_ms: *rng.pick(&[0, 0, 5_000, 30_000]),
        hold_ms: *rng.pick(&[0, 0, 4_000]),
        every_ms: *rng.pick(&[1_000, 5_000]),
        max_wait_ms: *rng.pick(&[None, None, Some(20_000)]),
        otherwise: *rng.pick(&[Otherwise::Fail, Otherwise::Run, Otherwise::Skip]),
    }
}

fn rates(rng: &mut Rng) -> Rates {
    let mut some = |share: u64, most: u64| {
        if rng.percent(share) { rng.range(1, most) } else { 0 }
    };
    Rates {
        fail: some(70, 50),
        permanent: some(50, 50),
        skip: some(50, 30),
        broken: some(30, 20),
        unknown: some(50, 60),
        reboot: some(50, 60),
        double: some(50, 40),
        crash: some(60, 400),
        lose: some(30, 200),
        cancel: some(20, 60),
        pause: some(30, 100),
        drain: some(15, 60),
        jump: some(30, 60),
        mark: some(30, 100),
        lag: some(70, 90),
        strict: rng.percent(30),
    }
}

struct Maker<'a> {
    rng: Rng,
    names: u32,
    left: u64,
    pools: &'a [u32],
    gates: u32,
}

impl Maker<'_> {
    fn block(&mut self, depth: u32) -> Block {
        let count = self.rng.range(1, 5).min(self.left.max(1));
        let steps = self.steps(count, depth);
        let finally = if self.rng.percent(25) {
            let count = self.rng.range(1, 2);
            self.steps(count, depth + 1)
        } else {
            Vec::new()
        };
        Block { steps, finally }
    }

    fn steps(&mut self, count: u64, depth: u32) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for _ in 0..count {
            self.left = self.left.saturating_sub(1);
            let mut needs: Vec<(String, NeedKind)> = Vec::new();
            for step in &steps {
                if self.rng.percent(35) {
                    let kinds = [NeedKind::Success, NeedKind::Output, NeedKind::End];
                    needs.push((step.name.clone(), *self.rng.pick(&kinds)));
                }
            }
            let step = self.step(needs, depth);
            steps.push(step);
        }
        steps
    }

    fn step(&mut self, needs: Vec<(String, NeedKind)>, depth: u32) -> Step {
        self.names += 1;
        let name = format!("s{}", self.names);
        let group = depth < 3 && self.left > 0 && self.rng.percent(30);
        let body = group.then(|| self.block(depth + 1));
        let fan = self.rng.percent(30).then(|| Fan {
            items: self.rng.below(7) as u32,
            max_parallel: self.rng.percent(40).then(|| self.rng.range(1, 3) as u32),
            max_failures: match self.rng.below(4) {
                0 => Some(Limit::Count(self.rng.below(3) as u32)),
                1 => Some(Limit::Percent(self.rng.below(60) as u8)),
                _ => None,
            },
        });
        let leaf = body.is_none();
        // A service with units of a pool would keep them from the steps that it serves for ever.
        let background = leaf && fan.is_none() && self.rng.percent(12);
        let pools = self.some_pools(leaf && !background);
        Step {
            name,
            needs,
            resolve: fan.is_some() || self.rng.percent(25),
            resolve_item: fan.is_some() && self.rng.percent(25),
            retry: Retry {
                attempts: *self.rng.pick(&[1, 1, 2, 3]),
                delay_ms: 2_000,
                backoff: *self.rng.pick(&[Backoff::Fixed, Backoff::Exponential]),
                max_delay_ms: 3_000,
                jitter_percent: *self.rng.pick(&[0, 50]),
                ..Retry::default()
            },
            gates: self.some_gates(leaf),
            pools,
            on_lost: *self.rng.pick(&[OnLost::Rerun, OnLost::Rerun, OnLost::Fail, OnLost::Ask]),
            allow_failure: self.rng.percent(15),
            hands_out: !leaf && self.rng.percent(30),
            background,
            body,
            fan,
        }
    }

    fn some_gates(&mut self, leaf: bool) -> Vec<u32> {
        (0..self.gates).filter(|_| leaf && self.rng.percent(25)).collect()
    }

    fn some_pools(&mut self, leaf: bool) -> Vec<(u32, u32)> {
        let pools = self.pools;
        (0..)
            .zip(pools)
            .filter_map(|(pool, size)| {
                if !leaf || !self.rng.percent(40) {
                    return None;
                }
                Some((pool, self.rng.range(1, u64::from(*size)) as u32))
            })
            .collect()
    }
}

/// The plan that the core sees.
pub fn compile(spec: &Spec) -> Plan {
    let mut plan = Plan {
        pools: (0..).zip(&spec.pools).map(|(n, size)| Pool { name: format!("pool{n}").into(), size: *size }).collect(),
        gates: spec.gates.clone(),
        ..Plan::default()
    };
    compile_block(&spec.root, &mut plan);
    plan
}

fn compile_block(block: &Block, plan: &mut Plan) -> BlockId {
    let id = BlockId(plan.blocks.len() as u32);
    plan.blocks.push(plan::Block::default());
    let steps = compile_steps(&block.steps, plan);
    let finally = compile_steps(&block.finally, plan);
    plan.blocks[id.index()] = plan::Block { steps, finally };
    id
}

fn compile_steps(steps: &[Step], plan: &mut Plan) -> Vec<StepId> {
    let mut ids: Vec<StepId> = Vec::new();
    for step in steps {
        let body = step.body.as_ref().map_or(Body::Leaf, |body| Body::Block(compile_block(body, plan)));
        let needs = step
            .needs
            .iter()
            .map(|(name, kind)| Need { step: ids[steps.iter().position(|s| s.name == *name).unwrap()], kind: *kind });
        let compiled = plan::Step {
            name: step.name.as_str().into(),
            needs: needs.collect(),
            body,
            fan_out: step
                .fan
                .as_ref()
                .map(|fan| FanOut { max_parallel: fan.max_parallel, max_failures: fan.max_failures }),
            resolve: step.resolve,
            resolve_item: step.resolve_item,
            retry: step.retry.clone(),
            gates: step.gates.iter().copied().map(GateId).collect(),
            pools: step.pools.iter().map(|(p, u)| (PoolId(*p), *u)).collect(),
            on_lost: step.on_lost,
            allow_failure: step.allow_failure,
            hands_out: step.hands_out,
            background: step.background,
        };
        ids.push(StepId(plan.steps.len() as u32));
        plan.steps.push(compiled);
    }
    ids
}
