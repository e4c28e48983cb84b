//! Which finished steps and items a person wants to run again: `--rerun` names them, `--from` a step with all after it.
//! Unaware of how that is done.

use super::super::Stop;
use super::super::logs::source;
use super::super::survey::{Survey, inner_block};
use flowrun_core::{BlockId, StepId};
use flowrun_engine::plan::model::{Block, CheckedPlan};
use std::collections::HashSet;

/// The addresses that are to run again, with all inside them.
pub fn addresses(
    survey: &Survey,
    plan: &CheckedPlan,
    rerun: &[String],
    from: Option<&str>,
) -> Result<HashSet<String>, Stop> {
    let mut again = HashSet::new();
    for named in rerun {
        match source::row_of(survey, named)? {
            Some(row) => drop(again.insert(row.address)),
            // It has not begun, so it runs anyhow.
            None if survey.is_planned(named) || !walk(plan, named).is_empty() => {}
            None => return Err(source::unknown(survey, named)),
        }
    }
    let Some(from) = from else { return Ok(again) };
    let levels = walk(plan, from);
    if levels.is_empty() {
        return Err(source::unknown(survey, from));
    }
    again.insert(from.to_owned());
    for (above, block, step) in levels {
        again.extend(after(plan, block, step).into_iter().map(|name| format!("{above}{name}")));
    }
    Ok(again)
}

/// The blocks on the way to an address: what stands before their steps' names, the block, and the step in it.
fn walk<'a>(plan: &'a CheckedPlan, address: &str) -> Vec<(String, &'a Block, StepId)> {
    let mut levels = Vec::new();
    let mut above = String::new();
    let mut block = Some(BlockId(0));
    let mut parts = address.split('/');
    while let Some(part) = parts.next() {
        let Some(here) = block.and_then(|block| plan.blocks.get(block.index())) else { return Vec::new() };
        let named = |id: &&StepId| plan.steps.get(id.index()).is_some_and(|step| step.name == part);
        let Some(id) = here.steps.iter().chain(&here.finally).find(named) else { return Vec::new() };
        levels.push((above.clone(), here, *id));
        let Some(step) = plan.steps.get(id.index()) else { return Vec::new() };
        above.push_str(&format!("{part}/"));
        if step.for_each.is_some()
            && let Some(key) = parts.next()
        {
            above.push_str(&format!("{key}/"));
        }
        block = inner_block(step);
    }
    levels
}

/// The names of all steps of a block that come after a step.
fn after<'a>(plan: &'a CheckedPlan, block: &Block, step: StepId) -> Vec<&'a str> {
    let mut found = vec![step];
    let mut names = Vec::new();
    while let Some(needed) = found.pop() {
        for id in block.steps.iter().chain(&block.finally) {
            let Some(step) = plan.steps.get(id.index()) else { continue };
            let needs = step.needs.iter().any(|(need, _)| *need == needed);
            if needs && !names.contains(&step.name.as_str()) {
                names.push(step.name.as_str());
                found.push(*id);
            }
        }
    }
    names
}
