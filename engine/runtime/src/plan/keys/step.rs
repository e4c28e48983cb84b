//! The keys of a step.

use super::world::{OUTPUT, READY, RETRY};
use super::{Key, Kind, Table, key, later};

/// What `on_lost` takes.
pub(super) const ON_LOST: &[&str] = &["rerun", "fail", "ask"];

const KEYS: &[Key] = &[
    key("description", Kind::Text, "What the step is for."),
    key(
        "run",
        Kind::Template,
        "A shell script (`bash -euo pipefail` unless `shell` says otherwise); short for `uses: shell`.",
    ),
    key(
        "exec",
        Kind::List(&Kind::Written),
        "A program and its arguments, no shell: nothing to quote, nothing to inject; short for `uses: exec`.",
    ),
    key("uses", Kind::Text, "A step type (`flowrun steps` lists them), or a plan file such as `./lib/mydumper.yaml`."),
    key("with", Kind::Map(&Kind::Any), "The inputs of the step type or the params of the plan that `uses` names."),
    key("wait", Kind::OneOrMany(&Kind::Text), "Gates: the step succeeds when they hold."),
    key(
        "steps",
        Kind::Steps,
        "A group: a small DAG of its own, with `for_each` once an item. From outside only the group and its `outputs` can be named.",
    ),
    key(
        "needs",
        Kind::OneOrMany(&Kind::Text),
        "Steps that must have succeeded. A reference to `steps.X.OUTPUT` is a need too; one to `steps.X.state` only waits for X's end.",
    ),
    key("when", Kind::Template, "A condition; false skips the step."),
    key("unless", Kind::Template, "A shell test: exit 0 means already done, so the step succeeds without running."),
    key("for_each", Kind::Any, "A list: the step runs once for each `item`, each checkpointed on its own."),
    key("key", Kind::Template, "What names the item in logs, in the store and on resume. Keys must be unique."),
    key("largest_first", Kind::Template, "A number of the item; larger ones start first."),
    key("max_parallel", Kind::Amount, "So many items run at once, at most."),
    key(
        "max_failures",
        Kind::Limit,
        "When more items than this have failed, no further item starts: a number or a percentage.",
    ),
    key("gates", Kind::OneOrMany(&Kind::Text), "Gates that must hold before an attempt starts."),
    key("pool", Kind::Pools, "What an attempt takes while it runs: a pool's name for one unit, or `{ NAME: UNITS }`."),
    key("retry", Kind::Object(&RETRY), "How failed attempts are repeated."),
    key("timeout", Kind::Duration, "How long an attempt may take."),
    key("grace", Kind::Duration, "The time between `signal` and KILL; 10 s unless given."),
    key("signal", Kind::Signal, "The first signal to the process group when the step is stopped; TERM unless given."),
    key(
        "on_lost",
        Kind::Word(ON_LOST),
        "What to do with an attempt whose fate nobody can know: run it again (default), count it as failed, or ask a person.",
    ),
    key("allow_failure", Kind::Bool, "A failure does not fail the run, and dependents go on."),
    key(
        "outputs",
        Kind::Map(&Kind::Any),
        "For `run` and `exec`: what is read from standard output, by name. For a group: what it hands out.",
    ),
    key(
        "progress",
        Kind::Regex,
        "For `run` and `exec`: a regex on the output with groups `done`, `total` or `percent`.",
    ),
    key("background", Kind::Bool, "A service that later steps need: started, waited for, stopped at the end."),
    key("ready", Kind::Object(&READY), "How to see that a background step can be used."),
    key("env", Kind::Map(&Kind::Written), "Environment, added to the plan's."),
    key("dir", Kind::Template, "The working directory; relative ones start at the plan's file."),
    key("shell", Kind::OneOrMany(&Kind::Text), "The shell of `run` with its options, as one text or word by word."),
    key("ok_exit", Kind::OneOrMany(&Kind::Count(0)), "Exit codes that mean success; 0 unless given."),
    key(
        "wait_all",
        Kind::Bool,
        "For `run` and `exec`: wait for every process that is left, not only for the main one.",
    ),
    key("template", Kind::Bool, "`false` leaves the step's texts alone: `{{` means nothing in them."),
    later("confirm", "A person must approve before it starts."),
    later("undo", "How to take back what the step made."),
    later("expect", "How long it should take."),
    later("stall", "How long it may be silent."),
    later("user", "Who runs it."),
    later("first", "So many items must succeed before the rest starts."),
    later("priority", "Which of two waiting steps goes first."),
];

/// A step.
pub static STEP: Table = Table { title: "a step", keys: KEYS };

/// The kind of one output of `run` and `exec`.
pub static STDOUT: Kind = Kind::Object(&OUTPUT);
