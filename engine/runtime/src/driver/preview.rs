//! What a run of a plan would be given, as far as that is known before it starts: for `explain`.
//! Unaware of how it is shown. Secrets are neither read nor shown: they stand as `{{secrets.NAME}}`.

use super::scope::StaticScope;
use super::world::Machine;
use crate::plan::model::{CheckedPlan, ContextId};
use crate::plan::template::{Scope, Template, Tree};
use crate::plan::{Given, params, seal};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What is known of a plan's values.
pub struct Preview {
    /// The params of the run's own plan that are known.
    pub params: Map<String, Value>,
    /// Params that are missing or wrong, and values that are.
    pub faults: Vec<String>,
    plan: Value,
    host: Value,
    env: BTreeMap<String, String>,
}

impl Preview {
    /// Reads the params as they are given.
    #[must_use]
    pub fn new(plan: &CheckedPlan, given: &BTreeMap<String, Given>, environment: &BTreeMap<String, String>) -> Self {
        let host = Machine::here().value();
        let (name, dir) = plan.contexts.first().map(|root| (root.name.clone(), root.dir.clone())).unwrap_or_default();
        let mut preview = Self {
            params: Map::new(),
            faults: Vec::new(),
            plan: json!({ "name": name, "dir": dir }),
            host,
            env: environment.clone(),
        };
        if let Some(root) = plan.contexts.first() {
            let none = Value::Null;
            let scope = preview.scope(&none);
            let known = params::known(root, given, &scope);
            let faults = params::resolve(root, given, &scope).err().unwrap_or_default();
            preview.faults = faults.iter().map(ToString::to_string).collect();
            preview.params = known;
        }
        preview
    }

    fn scope<'a>(&'a self, params: &'a Value) -> StaticScope<'a> {
        StaticScope { params, host: &self.host, env: &self.env, plan: self.plan.clone(), run: Value::Null }
    }

    /// A text as an attempt would get it; as written where it is not known yet.
    #[must_use]
    pub fn text(&self, template: &Template, context: ContextId) -> String {
        let value = self.value(&Tree::Text(template.clone()), context);
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    /// A value as an attempt would get it; what is not known yet stands as it is written.
    #[must_use]
    pub fn value(&self, tree: &Tree, context: ContextId) -> Value {
        // The params of a plan that a step calls are known when that step starts.
        let params = if context.0 == 0 { Value::Object(self.params.clone()) } else { Value::Null };
        let scope = self.scope(&params);
        if context.0 > 0 { as_written(tree) } else { seal::display_value(&partly(tree, &scope)) }
    }
}

fn partly(tree: &Tree, scope: &dyn Scope) -> Value {
    match tree {
        Tree::Value(value) => value.clone(),
        Tree::Text(template) => template.render(scope).unwrap_or_else(|_| pieces(template.source(), scope).into()),
        Tree::List(list) => list.iter().map(|tree| partly(tree, scope)).collect(),
        Tree::Map(entries) => entries.iter().map(|(key, tree)| (key.clone(), partly(tree, scope))).collect(),
    }
}

/// A text in which each expression that is known stands as its value, and each other as it is written.
fn pieces(source: &str, scope: &dyn Scope) -> String {
    // What stands between two expressions that belong together is no text of its own.
    if ["{{#", "{{/", "{{^", "{{else", "\\{{", "{{{", "{{~", "~}}"].iter().any(|part| source.contains(part)) {
        return source.to_owned();
    }
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((expression, then)) = after.split_once("}}") else { break };
        let written = format!("{{{{{expression}}}}}");
        let known = Template::parse(&written).ok().and_then(|template| template.render_text(scope).ok());
        out.push_str(before);
        out.push_str(&known.unwrap_or(written));
        rest = then;
    }
    out.push_str(rest);
    out
}

fn as_written(tree: &Tree) -> Value {
    match tree {
        Tree::Value(value) => value.clone(),
        Tree::Text(template) => template.source().into(),
        Tree::List(list) => list.iter().map(as_written).collect(),
        Tree::Map(entries) => entries.iter().map(|(key, tree)| (key.clone(), as_written(tree))).collect(),
    }
}
