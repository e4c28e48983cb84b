//! `flowrun explain`: what a run or a resume would do.
//! Unaware of how arguments are read. Nothing is started, and no secret is read.

mod resume;
mod waves;

use super::drive;
use super::{Ending, Stop, run};
use crate::args::Explain;
use crate::args::settings::Settings;
use crate::exit::Exit;
use flowrun_engine::driver::preview::Preview;
use flowrun_engine::plan;
use flowrun_engine::store::Index;
use std::path::Path;

/// Explains a plan, or what a resume would do.
///
/// # Errors
/// When the plan has errors, or there is no such run.
pub fn explain(settings: &Settings, args: &Explain) -> Ending {
    match (&args.run, &args.plan) {
        (Some(named), _) => resume::explain(settings, named),
        (None, Some(path)) => plan_of(settings, args, path),
        (None, None) => Err(Stop::new(Exit::Usage, "name a plan, or a run with `--run`")),
    }
}

fn plan_of(settings: &Settings, args: &Explain, path: &Path) -> Ending {
    let prologue = drive::prologue(settings)?;
    let loaded = plan::load(path, &prologue.registry);
    drive::print_findings(settings.terminal, &loaded);
    let Some(plan) = loaded.plan else { return Ok(Exit::Usage) };
    let given = run::given(&args.params, &prologue.cwd)?;
    let preview = Preview::new(&plan, &given, &settings.environment);
    let name = plan.contexts.first().map(|root| root.name.as_str()).unwrap_or_default();
    // Without a past there is no estimate.
    let past = Index::open(&settings.state_dir).and_then(|index| index.durations(name)).unwrap_or_default();
    super::print(&waves::text(&plan, &preview, &past))?;
    Ok(Exit::Succeeded)
}
