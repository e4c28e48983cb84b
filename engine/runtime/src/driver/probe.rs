//! Probes as the world sees them: secrets opened, relative paths grounded, tests with a directory and an environment.
//! Unaware of what they measure.

use super::resolve::Resolver;
use super::world::World;
use crate::gates::{self, RenderedProbe};
use crate::plan::model::{Body, Gate, Step};
use crate::plan::seal::{Secrets, unseal_text};
use crate::plan::template::{RenderFault, Scope};
use flowrun_core::{GateId, NodeId};
use std::path::Path;

/// The gates of the plan file that a step calls, with what it was called with.
pub(crate) fn of_call(resolver: &Resolver<'_>, node: NodeId) -> Result<Vec<(GateId, RenderedProbe)>, String> {
    let world = resolver.world;
    let Some((_, Step { body: Body::Plan { block, .. }, .. })) = resolver.step(node) else { return Ok(Vec::new()) };
    let context = world.plan.blocks[block.index()].context;
    let gates = world.plan.gates.iter().enumerate().filter(|(_, gate)| gate.context == context);
    gates
        .map(|(at, gate)| {
            let probe = of_gate(world, gate, &resolver.scope(node, context))?;
            Ok((GateId(u32::try_from(at).unwrap_or(u32::MAX)), probe))
        })
        .collect()
}

/// A gate's probe, ready to be measured.
pub(crate) fn of_gate(world: &World, gate: &Gate, scope: &dyn Scope) -> Result<RenderedProbe, String> {
    let context = &world.plan.contexts[gate.context.index()];
    let said = |why: String| {
        format!("{}:{}:{}: gate `{}`: {why}", gate.place.file, gate.place.line, gate.place.column, gate.name)
    };
    let probe = gates::resolve(&gate.probe, scope).map_err(|fault| said(fault.message))?;
    let env = context.env.iter().map(|(name, value)| Ok((name.clone(), value.render_text(scope)?)));
    let env = env.collect::<Result<Vec<_>, RenderFault>>().map_err(|fault| said(fault.message))?;
    ground(probe, &context.dir, env, &world.secrets).map_err(said)
}

/// Makes a probe ready to be measured.
pub(crate) fn ground(
    probe: RenderedProbe,
    base: &Path,
    environment: Vec<(String, String)>,
    secrets: &Secrets,
) -> Result<RenderedProbe, String> {
    let probe = match probe {
        RenderedProbe::Run { script, dir, env } => {
            let dir = dir.unwrap_or_else(|| base.to_path_buf());
            RenderedProbe::Run { script, dir: Some(dir), env: environment.into_iter().chain(env).collect() }
        }
        other => other,
    };
    let probe = probe.map_texts(|text| unseal_text(text, secrets)).map_err(|fault| fault.message)?;
    Ok(match probe {
        RenderedProbe::Disk { path, free_above } => RenderedProbe::Disk { path: base.join(path), free_above },
        RenderedProbe::File { path } => RenderedProbe::File { path: base.join(path) },
        other => other,
    })
}
