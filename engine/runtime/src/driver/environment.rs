//! The environment of children: a fixed base, the plan's and the step's `env`, and what flowrun says of itself.
//! Unaware of processes. Nothing else of flowrun's own environment reaches a step, so a run does not depend on the shell
//! that started or resumed it.

use super::prepare::Prepared;
use super::world::World;
use crate::plan::seal;

/// Variables of flowrun's own environment that every child gets, as they were when the run first started.
pub(crate) const BASE: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ"];

/// The whole environment of an attempt's children.
pub(crate) fn of(
    world: &World,
    prepared: &Prepared,
    address: &str,
    attempt: u32,
) -> Result<Vec<(String, String)>, String> {
    let mut env = std::collections::BTreeMap::new();
    for name in BASE {
        if let Some(value) = world.env.get(name) {
            env.insert(name.to_owned(), value.clone());
        }
    }
    env.entry("PATH".into()).or_insert_with(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    for (name, value) in &prepared.env {
        let value = seal::unseal_text(value, &world.secrets).map_err(|fault| fault.message)?;
        env.insert(name.clone(), value);
    }
    env.insert("FLOWRUN_RUN".into(), world.id.clone());
    env.insert("FLOWRUN_STEP".into(), address.to_owned());
    env.insert("FLOWRUN_TRY".into(), attempt.to_string());
    Ok(env.into_iter().collect())
}
