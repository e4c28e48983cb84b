//! Every key of the plan language with its kind and its meaning: the checker, the editor schema and the reference read
//! the same tables.
//! Unaware of the files that use them.

mod step;
mod world;

pub use step::{STDOUT, STEP};
pub use world::{GATE, PARAM, POOL, PROBES, READY, RETRY, SECRET};

/// The keys that stand together in one map.
#[derive(Debug)]
pub struct Table {
    /// What the map is: `a step`.
    pub title: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What it means, in one sentence or two.
    pub doc: &'static str,
    /// Whether it must stand there, may, or cannot yet.
    pub state: State,
}

/// Whether a key must stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It may.
    Free,
    /// It must.
    Required,
    /// It belongs to the language, and this version does not have it.
    Later,
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Text; numbers and truth values are refused.
    Text,
    /// Text in which templates are rendered.
    Template,
    /// Any scalar, taken as written, in which templates are rendered.
    Written,
    /// `true` or `false`.
    Bool,
    /// `90s 30m 6h 2d`
    Duration,
    /// A whole number of at least this.
    Count(u32),
    /// A number.
    Number,
    /// A number, or a template that gives one.
    Amount,
    /// A size such as `512MiB`, a share such as `10%`, or a template that gives one.
    Room,
    /// A number of failures, or a share such as `10%`.
    Limit,
    /// A regular expression.
    Regex,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A signal: a name or a number.
    Signal,
    /// Exit codes, and classes of errors.
    Classes,
    /// Whatever the place takes.
    Any,
    /// A list.
    List(&'static Kind),
    /// One, or a list.
    OneOrMany(&'static Kind),
    /// A map with names of the person's choice.
    Map(&'static Kind),
    /// A map with these keys.
    Object(&'static Table),
    /// A pool's name, or a map from pools to units.
    Pools,
    /// A pool's size: an amount, or a map with it.
    PoolSize,
    /// A map of steps.
    Steps,
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, state: State::Free }
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, state: State::Required }
}

const fn later(name: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::Any, doc, state: State::Later }
}

impl Table {
    /// The key of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names that can be written in this version.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().filter(|key| key.state != State::Later).map(|key| key.name)
    }
}

/// A plan file.
pub static PLAN: Table = Table {
    title: "a plan",
    keys: &[
        key("name", Kind::Text, "The name that runs are listed under; the file's name unless it is given."),
        key("description", Kind::Text, "What the plan is for."),
        key(
            "params",
            Kind::Map(&Kind::Object(&PARAM)),
            "Typed parameters: given by `--set NAME=VALUE`, by `--params FILE`, by the calling plan, or the default.",
        ),
        key(
            "secrets",
            Kind::Map(&Kind::Object(&SECRET)),
            "Texts that are never stored and never printed. One that cannot be read stops the run before its first step.",
        ),
        key("env", Kind::Map(&Kind::Written), "Environment of every step."),
        key("defaults", Kind::Object(&DEFAULTS), "For every step that does work and does not say otherwise."),
        key(
            "pools",
            Kind::Map(&Kind::PoolSize),
            "How much may run at once: name and size, a number or a template of `params` and `host`.",
        ),
        key("gates", Kind::Map(&Kind::Object(&GATE)), "Conditions of the world that hold a step back."),
        required(
            "steps",
            Kind::Steps,
            "What is done: a map from the step's id to the step. Order is for reading only.",
        ),
        key("finally", Kind::Steps, "Steps that run at the end whatever happened."),
        key("outputs", Kind::Map(&Kind::Any), "What the plan hands to a plan that calls it."),
        key("timeout", Kind::Duration, "How long the whole run may take."),
        later("connections", "Servers that steps and gates name."),
        later("notify", "Who is told of what."),
        later("schedule", "When `flowrun serve` starts the plan."),
        later("unfinished", "What a new start does when an earlier run is unfinished."),
    ],
};

/// `defaults:`
pub static DEFAULTS: Table = Table {
    title: "`defaults`",
    keys: &[
        key("retry", Kind::Object(&RETRY), "See the step key."),
        key("timeout", Kind::Duration, "See the step key."),
        key("grace", Kind::Duration, "See the step key."),
        key("signal", Kind::Signal, "See the step key."),
        key("on_lost", Kind::Word(step::ON_LOST), "See the step key."),
        key("env", Kind::Map(&Kind::Written), "Joined with the step's own; the step's wins."),
        key("dir", Kind::Template, "See the step key."),
        key("shell", Kind::OneOrMany(&Kind::Text), "See the step key; for steps with `run`."),
        key("gates", Kind::OneOrMany(&Kind::Text), "See the step key."),
        key("pool", Kind::Pools, "See the step key."),
        later("stall", "How long a step may be silent."),
        later("expect", "How long a step should take."),
        later("user", "Who runs it."),
    ],
};
