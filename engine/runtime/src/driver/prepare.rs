//! What an attempt starts with: inputs, environment and directory, rendered just before.
//! Unaware of processes. Everything here is sealed: secrets stand as references until the attempt itself.

use super::resolve::{Resolver, said};
use super::world::World;
use crate::gates::{self, RenderedProbe};
use crate::plan::model::{Body, Step};
use crate::plan::seal;
use flowrun_core::NodeId;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// What an attempt starts with; sealed.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// The step type; none for a `wait` step, whose gates were all it did.
    pub(crate) uses: Option<String>,
    pub(crate) input: Value,
    /// The plan's and the step's `env`; a later one wins.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) dir: PathBuf,
    pub(crate) unless: Option<String>,
    pub(crate) ready: Option<Ready>,
}

/// How a background attempt is seen to be ready.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) probe: Option<RenderedProbe>,
    pub(crate) within_ms: u64,
}

impl Prepared {
    /// As it is stored: secrets as `{{secrets.NAME}}`.
    pub(crate) fn stored(&self) -> Value {
        let env: Map<_, _> = self.env.iter().map(|(k, v)| (k.clone(), Value::String(seal::display(v)))).collect();
        json!({ "with": seal::display_value(&self.input), "env": env, "dir": self.dir })
    }
}

/// Renders what an attempt of a node starts with.
pub(crate) fn prepare(resolver: &Resolver<'_>, node: NodeId) -> Result<Prepared, String> {
    let Some((_, step)) = resolver.step(node) else { return Err("there is no such step".into()) };
    let scope = resolver.scope(node, step.context);
    let (uses, input) = match &step.body {
        Body::Leaf { uses, with } => (Some(uses.clone()), with.render(&scope).map_err(|f| said("with", &f))?),
        Body::Wait | Body::Group(_) | Body::Plan { .. } => (None, Value::Null),
    };
    let context = &resolver.world.plan.contexts[step.context.index()];
    let mut env = Vec::with_capacity(context.env.len() + step.env.len());
    for (name, value) in context.env.iter().chain(&step.env) {
        env.push((name.clone(), value.render_text(&scope).map_err(|f| said(&format!("env.{name}"), &f))?));
    }
    let unless = step.unless.as_ref().map(|test| test.render_text(&scope)).transpose();
    Ok(Prepared {
        uses,
        input,
        env,
        dir: directory(resolver.world, step, &scope)?,
        unless: unless.map_err(|f| said("unless", &f))?,
        ready: ready(step, &scope)?,
    })
}

fn directory(world: &World, step: &Step, scope: &dyn crate::plan::template::Scope) -> Result<PathBuf, String> {
    let base = &world.plan.contexts[step.context.index()].dir;
    let Some(dir) = &step.dir else { return Ok(base.clone()) };
    let dir = dir.render_text(scope).map_err(|f| said("dir", &f))?;
    if seal::is_sealed(&Value::String(dir.clone())) {
        return Err("`dir` holds a secret".into());
    }
    Ok(base.join(dir))
}

fn ready(step: &Step, scope: &dyn crate::plan::template::Scope) -> Result<Option<Ready>, String> {
    let Some(ready) = &step.background else { return Ok(None) };
    let probe = ready.probe.as_ref().map(|probe| gates::resolve(probe, scope)).transpose();
    Ok(Some(Ready { probe: probe.map_err(|f| said("ready", &f))?, within_ms: ready.within_ms }))
}
