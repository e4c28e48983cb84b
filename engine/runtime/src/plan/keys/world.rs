//! The keys of params, secrets, gates and what else stands in maps of its own.

use super::{Key, Kind, Table, key, later, required};

/// What `params.X.type` takes.
pub const TYPES: &[&str] = &["string", "integer", "number", "boolean", "path", "duration", "size", "list", "map"];

/// A param.
pub static PARAM: Table = Table {
    title: "a param",
    keys: &[
        required("type", Kind::Word(TYPES), "What its values are."),
        key(
            "default",
            Kind::Any,
            "Its value where none is given; may name params that stand before it. Without one it must be given.",
        ),
        key("help", Kind::Text, "What it means."),
        key("one_of", Kind::List(&Kind::Any), "The values allowed."),
        key("min", Kind::Any, "The smallest value: a number, a duration or a size as the type is."),
        key("max", Kind::Any, "The largest value."),
        key("pattern", Kind::Regex, "A regex that the whole text must match."),
    ],
};

/// A secret.
pub static SECRET: Table = Table {
    title: "a secret",
    keys: &[
        key("env", Kind::Text, "The variable of flowrun's environment that holds it."),
        key("file", Kind::Template, "The file that holds it; one line break at its end is not part of it."),
        key("command", Kind::Template, "A shell command that prints it."),
        later("aws_secret", "A secret of AWS Secrets Manager."),
    ],
};

/// A pool that says more than its size.
pub static POOL: Table = Table {
    title: "a pool",
    keys: &[
        required("size", Kind::Amount, "How many units there are."),
        later("machine", "It is shared by every run on this machine."),
    ],
};

/// `retry:`
pub static RETRY: Table = Table {
    title: "`retry`",
    keys: &[
        key("attempts", Kind::Count(1), "Attempts in all."),
        key("delay", Kind::Duration, "The pause before the second attempt; 10 s unless given."),
        key(
            "backoff",
            Kind::Word(&["fixed", "exponential"]),
            "How the pause grows: always the same, or doubled each time (default).",
        ),
        key("max_delay", Kind::Duration, "The longest pause; 5 m unless given."),
        key(
            "jitter",
            Kind::Limit,
            "Spread each pause by up to this percentage, so that many items do not come back at once.",
        ),
        key(
            "on",
            Kind::Classes,
            "Only these failures are repeated: exit codes, or `timeout`, `transient`, `permanent`.",
        ),
        key("not_on", Kind::Classes, "These failures are never repeated."),
    ],
};

/// One output of `run` and `exec`.
pub static OUTPUT: Table = Table {
    title: "an output",
    keys: &[
        required("from", Kind::Word(&["stdout"]), "Where it is read from."),
        key("as", Kind::Word(&["text", "json", "lines", "number"]), "How it is read; as text unless given."),
        key("match", Kind::Regex, "A regex; the output is its first group, or all that it matches."),
    ],
};

/// `ready:`
pub static READY: Table = Table {
    title: "`ready`",
    keys: &[
        key("tcp", Kind::Template, "A connection to `host:port` can be made."),
        key("http", Kind::Template, "The address answers 2xx."),
        key("file", Kind::Template, "The path exists."),
        key("run", Kind::Template, "A shell test exits 0."),
        key("within", Kind::Duration, "How long it may take; 60 s unless given."),
    ],
};

const BELOW: Key = required("below", Kind::Amount, "It holds below this.");

/// The kinds of gate, by their key.
pub const PROBES: &[&str] = &["load", "cpu", "memory", "io", "disk", "window", "tcp", "http", "file", "run"];

static LOAD: Table = Table {
    title: "the gate `load`",
    keys: &[
        BELOW,
        key("minutes", Kind::Count(1), "Which load average: 1 (default), 5 or 15."),
        key("per_cpu", Kind::Bool, "Divide by the number of CPUs."),
    ],
};

static PRESSURE: Table = Table {
    title: "the gate",
    keys: &[required("below", Kind::Amount, "It holds below this pressure (PSI `some avg10`, percent).")],
};

static MEMORY: Table = Table {
    title: "the gate `memory`",
    keys: &[
        key("below", Kind::Amount, "It holds below this pressure (PSI `some avg10`, percent)."),
        key("available_above", Kind::Room, "It holds above this much available memory: a size or a percentage."),
    ],
};

static DISK: Table = Table {
    title: "the gate `disk`",
    keys: &[
        required("path", Kind::Template, "A path on the filesystem in question."),
        required("free_above", Kind::Room, "It holds above this much free space: a size or a percentage."),
    ],
};

static WINDOW: Table = Table {
    title: "the gate `window`",
    keys: &[
        required("from", Kind::Text, "`HH:MM`"),
        required("to", Kind::Text, "`HH:MM`; earlier than `from`: the window spans midnight."),
        key("zone", Kind::Text, "A zone such as `Asia/Kolkata`; the machine's unless given."),
    ],
};

/// A gate.
pub static GATE: Table = Table {
    title: "a gate",
    keys: &[
        key("load", Kind::Object(&LOAD), "The load average is below."),
        key("cpu", Kind::Object(&PRESSURE), "The pressure on processors is below."),
        key("memory", Kind::Object(&MEMORY), "The pressure on memory is below, or the available memory above."),
        key("io", Kind::Object(&PRESSURE), "The pressure on disks is below."),
        key("disk", Kind::Object(&DISK), "There is free space."),
        key("window", Kind::Object(&WINDOW), "The time is inside."),
        key("tcp", Kind::Template, "A connection to `host:port` can be made."),
        key("http", Kind::Template, "The address answers 2xx."),
        key("file", Kind::Template, "The path exists."),
        key("run", Kind::Template, "A shell test exits 0."),
        key(
            "settle",
            Kind::Duration,
            "After one admission nothing more is admitted until this has passed; 15 s for `load`, else none unless given.",
        ),
        key("hold", Kind::Duration, "It must have held for this long in a row."),
        key("every", Kind::Duration, "How often it is measured while somebody waits; 5 s unless given."),
        key("max_wait", Kind::Duration, "The longest wait of an attempt."),
        key("else", Kind::Word(&["fail", "run", "skip"]), "What happens after the longest wait; `fail` unless given."),
        later("mysql", "A server's status is below or above."),
        later("critical", "A second limit, for what already runs."),
    ],
};
