//! What the names in a template stand for, seen from one step or item.
//! Unaware of Handlebars. Only what a template names is looked up: an item of a fan-out of 130,000 must not copy them all.

use super::facts::Facts;
use super::world::World;
use crate::plan::model::ContextId;
use crate::plan::seal;
use crate::plan::template::Scope;
use flowrun_core::plan::Body;
use flowrun_core::{BlockId, NodeId, Run, RunState, StepId};
use serde_json::{Map, Value};

/// The names that a step or an item sees.
pub(crate) struct NodeScope<'a> {
    pub(crate) world: &'a World,
    pub(crate) run: &'a Run,
    pub(crate) facts: &'a Facts,
    pub(crate) node: NodeId,
    pub(crate) context: ContextId,
    /// An element that is not a node yet: keys and weights are evaluated before there are items.
    pub(crate) element: Option<&'a Value>,
}

impl Scope for NodeScope<'_> {
    fn get(&self, path: &[String]) -> Option<Value> {
        let (head, rest) = path.split_first()?;
        match head.as_str() {
            "params" => self.params(rest),
            "steps" => self.step(rest),
            "item" => dig(self.item()?, rest),
            "item_key" => rest.is_empty().then(|| self.item_key()).flatten().map(Value::String),
            "run" => self.run_fact(rest),
            "plan" => self.plan_fact(rest),
            "host" => dig(&self.world.host.value(), rest),
            "env" => self.world.env.get(rest.first()?).map(|v| Value::String(v.clone())),
            _ => None,
        }
    }

    fn secret(&self, name: &str) -> Option<String> {
        let given = self.called_with().and_then(|values| values.get("secrets")?.get(name)?.as_str());
        if let Some(given) = given {
            return Some(given.to_owned());
        }
        let context = self.world.plan.contexts.get(self.context.index())?;
        let known = context.secrets.iter().any(|secret| secret.name == name);
        known.then(|| seal::marker(&secret_name(self.context, name)))
    }
}

/// A secret's name in the run: those of the run's own plan stand for themselves.
pub(crate) fn secret_name(context: ContextId, name: &str) -> String {
    if context.0 == 0 { name.to_owned() } else { format!("{}/{name}", context.0) }
}

impl NodeScope<'_> {
    fn params(&self, rest: &[String]) -> Option<Value> {
        if self.context.0 == 0 {
            return dig(&self.world.params, rest);
        }
        dig(self.called_with()?.get("params")?, rest)
    }

    /// What the sub-plan around this node was called with.
    fn called_with(&self) -> Option<&Value> {
        let mut id = self.node;
        while id != NodeId::RUN {
            let here = self.run.view(id)?.step.is_some_and(|step| self.world.is_plan_step(step, self.context));
            if let Some(values) = here.then(|| self.facts.values.get(&id)).flatten() {
                return Some(values);
            }
            id = self.run.parent(id);
        }
        None
    }

    fn item(&self) -> Option<&Value> {
        if self.element.is_some() {
            return self.element;
        }
        let id = self.item_node()?;
        let position = self.run.view(id)?.item? as usize;
        self.facts.items.get(&self.run.parent(id))?.get(position)
    }

    fn item_key(&self) -> Option<String> {
        self.run.key(self.item_node()?).map(str::to_owned)
    }

    /// The innermost item around this node, in the same plan file.
    fn item_node(&self) -> Option<NodeId> {
        let mut id = self.node;
        while id != NodeId::RUN {
            let view = self.run.view(id)?;
            if view.item.is_some() {
                return Some(id);
            }
            if view.step.is_some_and(|step| self.world.is_plan_step(step, self.context)) {
                return None;
            }
            id = self.run.parent(id);
        }
        None
    }

    fn step(&self, path: &[String]) -> Option<Value> {
        let (name, rest) = path.split_first()?;
        if self.node == NodeId::RUN {
            let step = self.world.step_named(BlockId(0), name)?;
            let node = self.run.children(NodeId::RUN).into_iter().find(|n| self.step_of(*n) == Some(step))?;
            return self.step_value(node, rest);
        }
        let here = self.run.view(self.node)?.step?;
        // A group's outputs are evaluated in the names of its inside, a step's everything else in those of its block.
        let inside = match self.run.plan().steps[here.index()].body {
            Body::Block(block) if self.world.plan.blocks[block.index()].context == self.context => {
                self.world.step_named(block, name).and_then(|step| {
                    let children = self.run.children(self.node);
                    children.into_iter().find(|child| self.step_of(*child) == Some(step))
                })
            }
            Body::Block(_) | Body::Leaf => None,
        };
        let node = inside.or_else(|| {
            let step = self.world.step_named(self.world.plan.steps[here.index()].block, name)?;
            self.run.seen_from(self.node, step)
        })?;
        self.step_value(node, rest)
    }

    fn step_of(&self, node: NodeId) -> Option<StepId> {
        self.run.view(node)?.step
    }

    fn step_value(&self, node: NodeId, rest: &[String]) -> Option<Value> {
        if rest.first().is_some_and(|word| word == "state") && rest.len() == 1 {
            return Some(Value::String(self.run.seen(node).word().to_owned()));
        }
        self.outputs(node, rest)
    }

    fn outputs(&self, node: NodeId, rest: &[String]) -> Option<Value> {
        if !self.run.items(node).is_some_and(|items| items.fan) {
            return dig(self.facts.outputs.get(&node)?, rest);
        }
        let children = self.run.children(node);
        let output = |child: &NodeId, path: &[String]| {
            self.facts.outputs.get(child).and_then(|outputs| dig(outputs, path)).unwrap_or(Value::Null)
        };
        match rest.split_first() {
            Some((word, inner)) if word == "by_key" => {
                let by_key: Map<_, _> = children
                    .iter()
                    .filter_map(|child| Some((self.run.key(*child)?.to_owned(), output(child, &[]))))
                    .collect();
                dig(&Value::Object(by_key), inner)
            }
            Some(_) => Some(Value::Array(children.iter().map(|child| output(child, rest)).collect())),
            None => Some(Value::Array(children.iter().map(|child| output(child, &[])).collect())),
        }
    }

    fn run_fact(&self, rest: &[String]) -> Option<Value> {
        let [word] = rest else { return None };
        let text = match word.as_str() {
            "id" => self.world.id.clone(),
            "started" => timestamp(self.world.started),
            "dir" => self.world.run.path().to_string_lossy().into_owned(),
            "private" => self.world.private.to_string_lossy().into_owned(),
            "state" => state_word(self.run.closing_state(self.node)).to_owned(),
            _ => return None,
        };
        Some(Value::String(text))
    }

    fn plan_fact(&self, rest: &[String]) -> Option<Value> {
        let context = self.world.plan.contexts.get(self.context.index())?;
        let [word] = rest else { return None };
        match word.as_str() {
            "name" => Some(Value::String(context.name.clone())),
            "dir" => Some(Value::String(context.dir.to_string_lossy().into_owned())),
            _ => None,
        }
    }
}

/// The word of a run's state.
pub(crate) fn state_word(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
    }
}

/// Milliseconds since the epoch as RFC 3339 in UTC.
pub(crate) fn timestamp(at: u64) -> String {
    i64::try_from(at)
        .ok()
        .and_then(|at| jiff::Timestamp::from_millisecond(at).ok())
        .map_or_else(String::new, |at| at.to_string())
}

/// The value at a path inside a value.
pub(crate) fn dig(value: &Value, path: &[String]) -> Option<Value> {
    let mut value = value;
    for part in path {
        value = match value {
            Value::Object(map) => map.get(part)?,
            Value::Array(list) => list.get(part.parse::<usize>().ok()?)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
    }
    Some(value.clone())
}

/// The names that are known before a run has any node: params, host, env, plan and run.
pub(crate) struct StaticScope<'a> {
    pub(crate) params: &'a Value,
    pub(crate) host: &'a Value,
    pub(crate) env: &'a std::collections::BTreeMap<String, String>,
    pub(crate) plan: Value,
    pub(crate) run: Value,
}

impl<'a> StaticScope<'a> {
    /// The same names, with these params.
    pub(crate) fn with_params<'b>(&'b self, params: &'b Value) -> StaticScope<'b>
    where
        'a: 'b,
    {
        StaticScope { params, host: self.host, env: self.env, plan: self.plan.clone(), run: self.run.clone() }
    }
}

impl Scope for StaticScope<'_> {
    fn get(&self, path: &[String]) -> Option<Value> {
        let (head, rest) = path.split_first()?;
        match head.as_str() {
            "params" => dig(self.params, rest),
            "host" => dig(self.host, rest),
            "plan" => dig(&self.plan, rest),
            "run" => dig(&self.run, rest),
            "env" => self.env.get(rest.first()?).map(|v| Value::String(v.clone())),
            _ => None,
        }
    }
}
