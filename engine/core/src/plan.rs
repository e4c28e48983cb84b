//! The plan as the core sees it: the graph, the policies and the capacities, with every template left out.
//! Unaware of where a plan came from. All indices are valid by construction; whoever builds a `Plan` checks first.

use serde::{Deserialize, Serialize};

macro_rules! index_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The position in its table.
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index_type!(
    /// A step of the plan, at any depth: a position in [`Plan::steps`].
    StepId
);
index_type!(
    /// A block of steps: a position in [`Plan::blocks`]. Block 0 is the run itself.
    BlockId
);
index_type!(
    /// A pool: a position in [`Plan::pools`].
    PoolId
);
index_type!(
    /// A gate: a position in [`Plan::gates`].
    GateId
);

/// A checked plan with its params known, reduced to what decisions need.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Block 0 is the root; groups and sub-plans own the others. Every step belongs to exactly one block.
    pub blocks: Vec<Block>,
    /// All steps of all blocks.
    pub steps: Vec<Step>,
    /// Capacities.
    pub pools: Vec<Pool>,
    /// Conditions of the world.
    pub gates: Vec<Gate>,
}

/// Steps that start together when their owner starts: the run, a group, an item of a group, or a sub-plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// The steps, in the plan's order.
    pub steps: Vec<StepId>,
    /// Steps that run at the end whatever happened.
    pub finally: Vec<StepId>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The key in the plan.
    pub name: Box<str>,
    /// Edges to steps of the same block (for a step of `finally`: of the same `finally`).
    pub needs: Vec<Need>,
    /// What it does.
    pub body: Body,
    /// `for_each`, if it has one.
    pub fan_out: Option<FanOut>,
    /// Something must be evaluated before the step may start: `when` without `item`, `for_each`, a sub-plan's params.
    pub resolve: bool,
    /// A `when` that speaks of `item`: evaluated for each item before it starts.
    pub resolve_item: bool,
    /// How failed attempts are repeated.
    pub retry: Retry,
    /// Gates that must hold before an attempt starts.
    pub gates: Vec<GateId>,
    /// Units taken from pools while an attempt runs. Each pool at most once.
    pub pools: Vec<(PoolId, u32)>,
    /// What to do with an attempt whose fate nobody can know.
    pub on_lost: OnLost,
    /// A failure counts as an end that lets dependents go on and does not fail the owner.
    pub allow_failure: bool,
    /// A group or sub-plan with `outputs`: they are evaluated before it succeeds.
    pub hands_out: bool,
    /// A service: succeeded once it is ready, stopped when its block ends.
    pub background: bool,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Attempts of a step type.
    Leaf,
    /// A group or a sub-plan.
    Block(BlockId),
}

/// An edge: this step needs that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The needed step.
    pub step: StepId,
    /// How it must have ended.
    pub kind: NeedKind,
}

/// How a needed step must have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeedKind {
    /// Succeeded, skipped or allowed to fail.
    Success,
    /// As `Success`, and an output of it is used: where there is none, this step is skipped.
    Output,
    /// Ended, however.
    End,
}

/// The limits of a `for_each`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FanOut {
    /// At most so many items run at once; none: only pools and gates limit.
    pub max_parallel: Option<u32>,
    /// When more items than this have failed, no further item starts.
    pub max_failures: Option<Limit>,
}

/// A number or a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u8),
}

/// How failed attempts are repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Pause before the second attempt, in milliseconds.
    pub delay_ms: u64,
    /// How the pause grows.
    pub backoff: Backoff,
    /// The longest pause, in milliseconds.
    pub max_delay_ms: u64,
    /// Spread each pause by up to this share of it, in percent, so that many items do not come back at once.
    pub jitter_percent: u8,
    /// Only these failures are repeated; empty: all that may succeed another time.
    pub on: Vec<RetryClass>,
    /// These are never repeated.
    pub not_on: Vec<RetryClass>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            delay_ms: 10_000,
            backoff: Backoff::Exponential,
            max_delay_ms: 300_000,
            jitter_percent: 0,
            on: Vec::new(),
            not_on: Vec::new(),
        }
    }
}

/// How the pause between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Always the same.
    Fixed,
    /// Doubles each time, up to the longest.
    Exponential,
}

/// A kind of failure that `retry.on` and `retry.not_on` name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryClass {
    /// The main process ended with this code.
    Exit(i32),
    /// The step ran out of its time.
    Timeout,
    /// The step says that another try may help.
    Transient,
    /// The step says that another try cannot help.
    Permanent,
}

/// What to do with an attempt whose fate nobody can know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Run it again.
    #[default]
    Rerun,
    /// Count it as failed.
    Fail,
    /// Wait for a person's verdict.
    Ask,
}

/// A capacity that running attempts share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The key in the plan.
    pub name: Box<str>,
    /// Units, at least 1.
    pub size: u32,
}

/// A condition of the world, as far as admission goes; what it measures is the runtime's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// The key in the plan.
    pub name: Box<str>,
    /// After one admission nothing more is admitted until this has passed, unless the admitted attempt ended before.
    pub settle_ms: u64,
    /// The condition must have held for this long in a row.
    pub hold_ms: u64,
    /// How often it is measured while somebody waits.
    pub every_ms: u64,
    /// The longest wait of one attempt, from when nothing but the shut gate held it back (items of one `for_each` count
    /// as one: from the first of them); none: as long as it takes.
    pub max_wait_ms: Option<u64>,
    /// What happens after the longest wait.
    pub otherwise: Otherwise,
}

/// What happens to an attempt that waited its longest for a gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// It fails.
    #[default]
    Fail,
    /// It runs all the same.
    Run,
    /// It is skipped.
    Skip,
}
