//! Probes as the world sees them: secrets opened, relative paths grounded, tests with a directory and an environment.
//! Unaware of what they measure.

use crate::gates::RenderedProbe;
use crate::plan::seal::{Secrets, unseal_text};
use std::path::Path;

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
