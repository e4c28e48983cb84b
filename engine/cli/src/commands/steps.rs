//! `flowrun steps`: the catalogue of step types.
//! Unaware of how arguments are read.

use super::{Ending, Stop, print};
use crate::args::Steps;
use crate::exit::Exit;
use flowrun_engine::plan::diagnostic::did_you_mean;
use flowrun_steps::catalogue;

/// Lists or describes step types.
///
/// # Errors
/// When there is no such type.
pub fn steps(args: &Steps) -> Ending {
    let registry = flowrun_steps::registry();
    let name = args.step_type.as_deref();
    let Some(text) = catalogue::text(&registry, name) else {
        let name = name.unwrap_or_default();
        let near = did_you_mean(name, registry.iter().map(|step| step.info().name));
        let hint = near.unwrap_or_else(|| "`flowrun steps` lists them".to_owned());
        return Err(Stop::new(Exit::Usage, format!("there is no step type `{name}`")).hint(hint));
    };
    print(&text)?;
    Ok(Exit::Succeeded)
}
