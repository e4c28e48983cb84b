//! `flowrun check`: all that can be known about plans without running them.
//! Unaware of how arguments are read.

use super::{Ending, drive, print};
use crate::args::Check;
use crate::args::settings::Terminal;
use crate::exit::Exit;
use crate::out;
use flowrun_engine::plan;

/// Checks plans.
///
/// # Errors
/// Why it stopped.
pub fn check(terminal: Terminal, args: &Check) -> Ending {
    let registry = flowrun_steps::registry();
    let mut findings = Vec::new();
    let mut exit = Exit::Succeeded;
    for path in &args.plans {
        let loaded = plan::load(path, &registry);
        if loaded.plan.is_none() {
            exit = Exit::Usage;
        }
        if args.json {
            findings.extend(loaded.diagnostics.iter().map(|finding| finding.to_json(&loaded.sources)));
            continue;
        }
        drive::print_findings(terminal, &loaded);
        if let Some(plan) = &loaded.plan {
            let steps = plan.steps.len();
            out::say(&format!("{}: {steps} {}, no errors", path.display(), if steps == 1 { "step" } else { "steps" }));
        }
    }
    if args.json {
        let text = serde_json::Value::Array(findings).to_string();
        print(&format!("{text}\n"))?;
    }
    Ok(exit)
}
