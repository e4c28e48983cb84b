//! Evaluations that a step waits for: `when`, `for_each`, the params of a sub-plan, the outputs of a block.
//! Unaware of what follows from them. No effect on the world, so a crash only means evaluating again.

use super::facts::Facts;
use super::scope::NodeScope;
use super::world::World;
use crate::plan::model::{Body, ContextId, ForEach, Step};
use crate::plan::seal;
use crate::plan::template::{RenderFault, Scope, Tree};
use crate::plan::{Given, params};
use flowrun_core::{NodeId, Resolution, Run, StepId};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What evaluations are made from.
pub(crate) struct Resolver<'a> {
    pub(crate) world: &'a World,
    pub(crate) run: &'a Run,
    pub(crate) facts: &'a Facts,
}

impl<'a> Resolver<'a> {
    pub(crate) fn scope(&self, node: NodeId, context: ContextId) -> NodeScope<'a> {
        NodeScope { world: self.world, run: self.run, facts: self.facts, node, context, element: None }
    }

    pub(crate) fn step(&self, node: NodeId) -> Option<(StepId, &'a Step)> {
        let id = self.run.view(node)?.step?;
        Some((id, self.world.plan.steps.get(id.index())?))
    }

    /// Evaluates what a node waits for.
    pub(crate) fn resolve(&self, node: NodeId) -> Resolution {
        let Some((_, step)) = self.step(node) else {
            return failed("there is no such step");
        };
        let is_item = self.run.view(node).is_some_and(|view| view.item.is_some());
        let asked = step.when_item == is_item;
        if let Some(when) = step.when.as_ref().filter(|_| asked) {
            match when.render_bool(&self.scope(node, step.context)) {
                Ok(true) => {}
                Ok(false) => return Resolution::Skip { reason: "its `when` is false".into() },
                Err(fault) => return failed(&said("when", &fault)),
            }
        }
        match &step.for_each {
            Some(for_each) if !is_item => self.fan_out(node, step, for_each),
            Some(_) | None => self.call(node, step),
        }
    }

    /// A sub-plan's params; nothing for other steps.
    fn call(&self, node: NodeId, step: &Step) -> Resolution {
        let Body::Plan { block, with } = &step.body else { return Resolution::Run { values: None } };
        let context = self.world.plan.blocks[block.index()].context;
        match self.values(node, step, context, with) {
            Ok(values) => Resolution::Run { values: Some(values) },
            Err(reason) => failed(&reason),
        }
    }

    fn values(&self, node: NodeId, step: &Step, context: ContextId, with: &Tree) -> Result<Value, String> {
        let called = &self.world.plan.contexts[context.index()];
        let scope = self.scope(node, step.context);
        let Value::Object(with) = with.render(&scope).map_err(|fault| said("with", &fault))? else {
            return Err("`with` is no map".into());
        };
        let mut secrets = Map::new();
        let mut given = BTreeMap::new();
        for (name, value) in with {
            if called.secrets.iter().any(|secret| secret.name == name) {
                secrets.insert(name, value);
            } else {
                let dir = self.world.plan.contexts[step.context.index()].dir.clone();
                given.insert(name, Given::Value { value, dir });
            }
        }
        let resolved = params::resolve(called, &given, &scope)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        Ok(json!({ "params": resolved, "secrets": secrets }))
    }

    fn fan_out(&self, node: NodeId, step: &Step, for_each: &ForEach) -> Resolution {
        match self.list(node, step, for_each) {
            Ok((keys, order, items)) => Resolution::FanOut { keys, order, items },
            Err(reason) => failed(&reason),
        }
    }

    #[expect(clippy::type_complexity, reason = "the three columns of one list, taken apart by the only caller")]
    fn list(
        &self,
        node: NodeId,
        step: &Step,
        for_each: &ForEach,
    ) -> Result<(Vec<Box<str>>, Vec<u32>, Vec<Value>), String> {
        let scope = self.scope(node, step.context);
        let items = match for_each.list.render(&scope).map_err(|fault| said("for_each", &fault))? {
            Value::Array(items) => items,
            other => return Err(format!("`for_each` must be a list, and is {}", kind(&other))),
        };
        let mut keys = Vec::with_capacity(items.len());
        let mut weights = Vec::new();
        let mut seen = BTreeSet::new();
        for item in &items {
            let scope = NodeScope { element: Some(item), ..self.scope(node, step.context) };
            let key = key_of(for_each, item, &scope)?;
            if !seen.insert(key.clone()) {
                return Err(format!(
                    "`for_each` has two items with the key `{key}`; say with `key` what tells them apart"
                ));
            }
            keys.push(key);
            if let Some(weight) = &for_each.largest_first {
                weights.push(number(&weight.render(&scope).map_err(|fault| said("largest_first", &fault))?)?);
            }
        }
        let mut order: Vec<u32> = (0..items.len() as u32).collect();
        if !weights.is_empty() {
            order.sort_by(|a, b| weights[*b as usize].total_cmp(&weights[*a as usize]));
        }
        Ok((keys, order, items))
    }

    /// The outputs of a group or a sub-plan; of the run itself, those of its plan.
    pub(crate) fn outputs(&self, node: NodeId) -> Result<Value, String> {
        let mut outputs = Map::new();
        let of_plan = |context: ContextId| (context, &self.world.plan.contexts[context.index()].outputs);
        let (context, list) = match self.step(node) {
            None => of_plan(ContextId(0)),
            Some((_, step)) => match &step.body {
                Body::Plan { block, .. } => of_plan(self.world.plan.blocks[block.index()].context),
                Body::Group(_) | Body::Leaf { .. } | Body::Wait => (step.context, &step.outputs),
            },
        };
        let scope = self.scope(node, context);
        for (name, value) in list {
            let value = value.render(&scope).map_err(|fault| said(&format!("outputs.{name}"), &fault))?;
            if seal::is_sealed(&value) {
                return Err(format!("the output `{name}` holds a secret, and outputs are stored"));
            }
            outputs.insert(name.clone(), value);
        }
        Ok(Value::Object(outputs))
    }
}

fn key_of(for_each: &ForEach, item: &Value, scope: &dyn Scope) -> Result<Box<str>, String> {
    let value = match &for_each.key {
        Some(key) => Value::String(key.render_text(scope).map_err(|fault| said("key", &fault))?),
        None => item.clone(),
    };
    match value {
        Value::String(text) if text.is_empty() => Err("an item's key is empty".into()),
        Value::String(text) if seal::is_sealed(&Value::String(text.clone())) => {
            Err("an item's key holds a secret, and keys are stored".into())
        }
        Value::String(text) => Ok(text.into()),
        Value::Number(number) => Ok(number.to_string().into()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err(format!("an item is {}, so `key` must say what names it", kind(&value)))
        }
    }
}

fn number(value: &Value) -> Result<f64, String> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|n| n.is_finite()).ok_or_else(|| format!("`largest_first` must be a number, and is {}", kind(value)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn failed(reason: &str) -> Resolution {
    Resolution::Failed { reason: reason.into() }
}

/// A fault of a template with the key that it stands in.
pub(crate) fn said(key: &str, fault: &RenderFault) -> String {
    match &fault.help {
        Some(help) => format!("cannot evaluate `{key}`: {} ({help})", fault.message),
        None => format!("cannot evaluate `{key}`: {}", fault.message),
    }
}
