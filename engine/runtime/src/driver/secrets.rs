//! Reads the secrets of a run: from the environment, files and commands.
//! Unaware of where they are used. Nothing here is ever stored; a resume reads all of them again.

use super::scope::secret_name;
use crate::plan::model::{Body, CheckedPlan, ContextId, SecretDef, SecretSource};
use crate::plan::seal::Secrets;
use crate::plan::template::{Scope, Tree};
use std::collections::BTreeMap;
use std::path::Path;

/// The shortest secret that can be masked without masking innocent text.
const SHORTEST: usize = 6;

/// Reads every secret that no caller gives; all reasons at once.
pub(crate) fn read(
    plan: &CheckedPlan,
    scope: &dyn Scope,
    environment: &BTreeMap<String, String>,
) -> Result<Secrets, Vec<String>> {
    let mut secrets = Secrets::default();
    let mut faults = Vec::new();
    for (id, context) in plan.contexts.iter().enumerate() {
        let id = ContextId(id as u32);
        for secret in &context.secrets {
            if given_by_caller(plan, id, &secret.name) {
                continue;
            }
            match one(secret, scope, &context.dir, environment) {
                Ok(value) => secrets.insert(secret_name(id, &secret.name), value),
                Err(fault) => faults.push(format!(
                    "{}:{}:{}: secret `{}`: {fault}",
                    secret.place.file, secret.place.line, secret.place.column, secret.name
                )),
            }
        }
    }
    if faults.is_empty() { Ok(secrets) } else { Err(faults) }
}

fn given_by_caller(plan: &CheckedPlan, context: ContextId, name: &str) -> bool {
    let call = plan.steps.iter().find_map(|step| match &step.body {
        Body::Plan { block, with } if plan.blocks[block.index()].context == context => Some(with),
        Body::Plan { .. } | Body::Leaf { .. } | Body::Wait | Body::Group(_) => None,
    });
    match call {
        Some(Tree::Map(entries)) => entries.iter().any(|(key, _)| key == name),
        Some(Tree::Value(value)) => value.get(name).is_some(),
        Some(Tree::Text(_) | Tree::List(_)) | None => false,
    }
}

fn one(
    secret: &SecretDef,
    scope: &dyn Scope,
    dir: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<String, String> {
    let value = match &secret.source {
        SecretSource::Env(name) => environment
            .get(name)
            .cloned()
            .ok_or_else(|| format!("the variable `{name}` is not set; set it before starting flowrun"))?,
        SecretSource::File(path) => {
            let path = dir.join(path.render_text(scope).map_err(|fault| fault.message)?);
            let text = std::fs::read_to_string(&path);
            strip(text.map_err(|error| format!("cannot read `{}`: {error}", path.display()))?)
        }
        SecretSource::Command(command) => from_command(&command.render_text(scope).map_err(|f| f.message)?, dir)?,
    };
    if value.is_empty() || value.len() >= SHORTEST {
        return Ok(value);
    }
    Err(format!(
        "it has only {} characters, and one under {SHORTEST} cannot be masked without masking innocent text",
        value.chars().count()
    ))
}

/// One newline at the end is not part of it.
fn strip(text: String) -> String {
    text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
}

fn from_command(script: &str, dir: &Path) -> Result<String, String> {
    let output = std::process::Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(dir)
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .output()
        .map_err(|error| format!("cannot run its command: {error}"))?;
    if !output.status.success() {
        return Err(format!("its command failed ({})", output.status));
    }
    String::from_utf8(output.stdout).map(strip).map_err(|_| "its command's output is not UTF-8".into())
}
