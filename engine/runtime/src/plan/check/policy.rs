//! Retries, times, signals, gates and pools of a step, with the plan's defaults.
//! Unaware of what the step does.

use super::build::{Builder, Use};
use crate::plan::codes;
use crate::plan::diagnostic::{Diagnostic, did_you_mean, listed};
use crate::plan::model::ContextId;
use crate::plan::node::{Node, Value};
use crate::plan::quantity;
use crate::plan::source::Span;
use flowrun_core::plan::{Backoff, GateId, Limit, OnLost, PoolId, Retry, RetryClass, StepId};

/// Signals by name, as Linux numbers them everywhere that flowrun runs.
pub(super) const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("STOP", 19),
    ("WINCH", 28),
];

/// A signal's number, by its name or as written.
pub(super) fn signal(text: &str) -> Option<i32> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let number = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    number.or_else(|| text.parse().ok().filter(|number| (1..=64).contains(number)))
}

/// A duration in milliseconds; a bad one was reported before.
pub(super) fn duration(node: &Node) -> Option<u64> {
    quantity::duration_ms(node.written()?).ok()
}

/// `max_failures`
pub(super) fn limit(node: &Node) -> Option<Limit> {
    let text = node.written()?;
    match text.strip_suffix('%') {
        Some(share) => share.trim().parse().ok().map(Limit::Percent),
        None => text.parse().ok().map(Limit::Count),
    }
}

pub(super) fn on_lost(node: &Node) -> OnLost {
    match node.text() {
        Some("fail") => OnLost::Fail,
        Some("ask") => OnLost::Ask,
        _ => OnLost::Rerun,
    }
}

/// `retry:`
pub(super) fn retry(node: &Node) -> Retry {
    let time = |name: &str| node.get(name).and_then(duration);
    let standard = Retry::default();
    let jitter = match node.get("jitter").and_then(limit) {
        Some(Limit::Percent(share)) => share,
        Some(Limit::Count(_)) | None => 0,
    };
    Retry {
        attempts: node
            .get("attempts")
            .and_then(Node::written)
            .and_then(|text| text.parse().ok())
            .unwrap_or(standard.attempts),
        delay_ms: time("delay").unwrap_or(standard.delay_ms),
        backoff: if node.get("backoff").and_then(Node::text) == Some("fixed") {
            Backoff::Fixed
        } else {
            Backoff::Exponential
        },
        max_delay_ms: time("max_delay").unwrap_or(standard.max_delay_ms),
        jitter_percent: jitter,
        on: node.get("on").map(classes).unwrap_or_default(),
        not_on: node.get("not_on").map(classes).unwrap_or_default(),
    }
}

fn classes(node: &Node) -> Vec<RetryClass> {
    let one = std::slice::from_ref(node);
    let class = |node: &Node| match node.written()? {
        "timeout" => Some(RetryClass::Timeout),
        "transient" => Some(RetryClass::Transient),
        "permanent" => Some(RetryClass::Permanent),
        code => code.parse().ok().map(RetryClass::Exit),
    };
    node.list().unwrap_or(one).iter().filter_map(class).collect()
}

/// The texts of one text or a list of them, each with its node.
pub(super) fn texts(node: &Node) -> Vec<(&str, &Node)> {
    let one = std::slice::from_ref(node);
    node.list().unwrap_or(one).iter().filter_map(|node| Some((node.text()?, node))).collect()
}

impl Builder<'_> {
    /// `gates:` or `wait:` of a step; the step inherits what the gates need.
    pub(super) fn gates_of(&mut self, context: ContextId, user: StepId, key: Span, node: &Node) -> Vec<GateId> {
        let mut found = Vec::new();
        for (name, node) in texts(node) {
            let Some(names) = self.names.get(context.index()) else { continue };
            match names.gates.get(name) {
                Some(id) if found.contains(id) => {}
                Some(id) => {
                    found.push(*id);
                    let uses = self.gate_uses.get(id.index()).cloned().unwrap_or_default();
                    for one in uses {
                        let site = super::build::Site { user: Some(user), block: self.block_of(user), ..one.site };
                        self.uses.push(Use { site, ..one });
                    }
                }
                None if names.broken_gates.contains(name) => {}
                None => {
                    let known: Vec<String> = names.gates.keys().chain(&names.broken_gates).cloned().collect();
                    let fault =
                        Diagnostic::error(codes::UNKNOWN_GATE, node.span, format!("no gate is called `{name}`"))
                            .label("no such gate");
                    let fault = if key == node.span { fault } else { fault.also(key, "named here") };
                    self.fault(fault.help(suggest(name, &known, "gates")));
                }
            }
        }
        found
    }

    /// `pool:`
    pub(super) fn pools_of(&mut self, context: ContextId, node: &Node) -> Vec<(PoolId, u32)> {
        let named: Vec<(String, Span, u32)> = match &node.value {
            Value::Text(name) => vec![(name.clone(), node.span, 1)],
            Value::Map(entries) => entries
                .iter()
                .map(|(key, units)| {
                    (key.text.clone(), key.span, units.written().and_then(|text| text.parse().ok()).unwrap_or(1))
                })
                .collect(),
            Value::Null | Value::Plain(_) | Value::List(_) | Value::Broken => Vec::new(),
        };
        let mut found = Vec::new();
        for (name, span, units) in named {
            let Some(names) = self.names.get(context.index()) else { continue };
            match names.pools.get(&name).copied() {
                Some(id) => {
                    self.fits(id, units, span);
                    found.push((id, units));
                }
                None => {
                    let known: Vec<String> = names.pools.keys().cloned().collect();
                    let fault = Diagnostic::error(codes::UNKNOWN_POOL, span, format!("no pool is called `{name}`"))
                        .label("no such pool");
                    self.fault(fault.help(suggest(&name, &known, "pools")));
                }
            }
        }
        found
    }

    /// A step that takes more than there is would wait for ever.
    fn fits(&mut self, id: PoolId, units: u32, span: Span) {
        let Some(pool) = self.pools.get(id.index()) else { return };
        let crate::plan::template::Tree::Value(size) = &pool.size else { return };
        if let Some(size) = size.as_u64().filter(|size| *size < u64::from(units)) {
            let message = format!("the pool `{}` has {size} units, and this takes {units}", pool.name);
            self.fault(
                Diagnostic::error(codes::OUT_OF_RANGE, span, message)
                    .label("would wait for ever")
                    .help("take fewer, or make the pool larger"),
            );
        }
    }
}

fn suggest(name: &str, known: &[String], key: &str) -> String {
    let names = known.iter().map(String::as_str);
    did_you_mean(name, names.clone()).unwrap_or_else(|| {
        if known.is_empty() {
            format!("name it under `{key}` of the plan")
        } else {
            format!("the plan's `{key}` are {}", listed(names, 10))
        }
    })
}
