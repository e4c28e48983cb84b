//! What changed in a plan since a run pinned it, step by step, and what a resume makes of it.
//! Unaware of how it is accepted. Places and comments do not count: only what a step is and does.

use super::super::survey::{Survey, inner_block, look};
use super::super::{Stop, drive, run};
use crate::args::settings::Settings;
use crate::exit::Exit;
use crate::out;
use crate::tables;
use flowrun_core::BlockId;
use flowrun_core::event::UnitState;
use flowrun_engine::plan;
use flowrun_engine::plan::model::{Body, CheckedPlan, Step};
use flowrun_engine::store::{NodeRow, PinnedFile};
use flowrun_sdk::Registry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// What comparing said.
pub enum Compared {
    /// Every file is as it was pinned, or is not there any more.
    Same,
    /// Some text is another.
    Changed(Box<Changed>),
}

/// A plan that is not as it was.
pub struct Changed {
    plan: CheckedPlan,
    pins: Vec<PinnedFile>,
    steps: Vec<StepChange>,
}

struct StepChange {
    /// `group/inner`, without the keys of items.
    path: String,
    kind: Kind,
    fans: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unchanged,
    Changed,
    New,
    Removed,
}

/// Compares the plan's files with what the run has pinned.
pub fn compare(
    settings: &Settings,
    survey: &Survey,
    pins: &[PinnedFile],
    registry: &Registry,
) -> Result<Compared, Stop> {
    let mut changed = false;
    for pin in pins {
        match std::fs::read_to_string(&pin.path) {
            Ok(text) => changed |= text.strip_prefix('\u{feff}').unwrap_or(&text) != pin.text,
            Err(error) => out::say(&format!(
                "warning: cannot read `{}` ({error}); the run goes on with the text that it has pinned",
                pin.path
            )),
        }
    }
    if !changed {
        return Ok(Compared::Same);
    }
    let loaded = plan::load(Path::new(&survey.meta.plan_path), registry);
    // Its warnings were said when the run started.
    if loaded.has_errors() {
        drive::print_findings(settings.terminal, &loaded);
    }
    let pins = run::pins(&loaded);
    let Some(plan) = loaded.plan else {
        let text = format!("the plan of run {} has changed, and has errors now", survey.meta.id);
        return Err(Stop::new(Exit::Usage, text).hint("mend it, or put it back"));
    };
    let Some(old) = &survey.plan else {
        return Err(Stop::new(Exit::Usage, "this flowrun cannot read the plan that the run has pinned"));
    };
    let steps = differences(old, &plan);
    Ok(Compared::Changed(Box::new(Changed { plan, pins, steps })))
}

fn differences(old: &CheckedPlan, new: &CheckedPlan) -> Vec<StepChange> {
    let (before, after) = (paths(old), paths(new));
    let known: HashMap<&str, &str> = before.iter().map(|(path, print, _)| (path.as_str(), print.as_str())).collect();
    let there: HashSet<&str> = after.iter().map(|(path, _, _)| path.as_str()).collect();
    let change = |(path, print, fans): &(String, String, bool)| StepChange {
        path: path.clone(),
        kind: match known.get(path.as_str()) {
            None => Kind::New,
            Some(old) if *old == print => Kind::Unchanged,
            Some(_) => Kind::Changed,
        },
        fans: *fans,
    };
    let removed = before.iter().filter(|(path, _, _)| !there.contains(path.as_str()));
    let removed = removed.map(|(path, _, fans)| StepChange { path: path.clone(), kind: Kind::Removed, fans: *fans });
    after.iter().map(change).chain(removed).collect()
}

/// Every step of a plan: its path, all that it is and does, and whether it or a group around it is a fan-out.
fn paths(plan: &CheckedPlan) -> Vec<(String, String, bool)> {
    let mut out = Vec::new();
    add_paths(plan, BlockId(0), "", false, &mut out);
    out
}

fn add_paths(plan: &CheckedPlan, block: BlockId, above: &str, fans: bool, out: &mut Vec<(String, String, bool)>) {
    let Some(block) = plan.blocks.get(block.index()) else { return };
    let phases = [(&block.steps, false), (&block.finally, true)];
    for (id, closing) in phases.iter().flat_map(|(steps, closing)| steps.iter().map(move |id| (id, *closing))) {
        let Some(step) = plan.steps.get(id.index()) else { continue };
        let path = format!("{above}{}", step.name);
        let fans = fans || step.for_each.is_some();
        out.push((path.clone(), format!("{closing} {}", fingerprint(plan, step)), fans));
        if let Some(inner) = inner_block(step) {
            add_paths(plan, inner, &format!("{path}/"), fans, out);
        }
    }
}

/// All that a step is and does, without where it stands and without numbers that depend on its neighbours.
fn fingerprint(plan: &CheckedPlan, step: &Step) -> String {
    let name = |id: flowrun_core::StepId| plan.steps.get(id.index()).map(|step| step.name.as_str());
    let needs: BTreeMap<_, _> = step.needs.iter().map(|(id, kind)| (name(*id), format!("{kind:?}"))).collect();
    let gates = step.gates.iter().filter_map(|id| plan.gates.get(id.index()));
    let gates: Vec<_> = gates
        .map(|g| format!("{:?}", (&g.name, &g.probe, g.settle_ms, g.hold_ms, g.every_ms, g.max_wait_ms, g.otherwise)))
        .collect();
    let pools = step.pools.iter().filter_map(|(id, units)| Some((plan.pools.get(id.index())?, units)));
    let pools: Vec<_> = pools.map(|(pool, units)| format!("{:?}", (&pool.name, &pool.size, units))).collect();
    let body = match &step.body {
        Body::Leaf { uses, with } => format!("{uses} {with:?}"),
        Body::Wait => "wait".to_owned(),
        Body::Group(_) => "group".to_owned(),
        Body::Plan { with, .. } => format!("plan {with:?}"),
    };
    let env = plan.contexts.get(step.context.index()).map(|context| &context.env);
    let when = (&step.for_each, &step.when, step.when_item, &step.unless);
    let limits = (&step.retry, step.timeout_ms, step.grace_ms, step.signal, step.on_lost, step.allow_failure);
    let rest = (&step.background, &step.env, &step.dir, &step.outputs);
    format!("{:?}", (needs, gates, pools, body, env, when, limits, rest))
}

impl Changed {
    /// What a resume would do with each step: all top-level ones, and inner ones that are not as they were.
    pub fn table(&self, settings: &Settings, survey: &Survey) -> Result<String, Stop> {
        let rows = survey.rows()?;
        let of: HashMap<&str, &NodeRow> = rows.iter().map(|row| (row.address.as_str(), row)).collect();
        let shown = self.steps.iter().filter(|step| step.kind != Kind::Unchanged || !step.path.contains('/'));
        let lines: Vec<Vec<String>> = shown
            .map(|step| {
                let row = of.get(step.path.as_str()).copied();
                let state = row.map_or("", |row| row.state.word()).to_owned();
                vec![step.path.clone(), step.kind.word().to_owned(), state, step.what(row)]
            })
            .collect();
        let id = drive::shortest(settings, &survey.run);
        let head = format!("the plan of run {id} has changed since it started:\n");
        let mut text = head + &tables::plain(&["STEP", "PLAN", "STATE", "ON RESUME"], &lines, &look(settings));
        if self.steps.iter().all(|step| step.kind == Kind::Unchanged) {
            text.push_str("no step is another; params keep the values that the run started with\n");
        }
        Ok(text.trim_end().to_owned())
    }

    /// The plan as it is now, with the lists that are to be made anew because nothing of them has begun.
    pub fn accepted(self, survey: &Survey) -> Result<(CheckedPlan, Vec<PinnedFile>, HashSet<String>), Stop> {
        let mut again = HashSet::new();
        for step in self.steps.iter().filter(|step| step.kind == Kind::Changed && step.fans) {
            if let Some(row) = survey.reader.node(&step.path)?
                && row.state != UnitState::Succeeded
                && survey.reader.children(row.node, 0, 1)?.is_empty()
            {
                again.insert(row.address);
            }
        }
        Ok((self.plan, self.pins, again))
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::New => "new",
            Self::Removed => "removed",
        }
    }
}

impl StepChange {
    fn what(&self, row: Option<&NodeRow>) -> String {
        let done = row.is_some_and(|row| matches!(row.state, UnitState::Succeeded | UnitState::Skipped));
        let runs = row.is_some_and(|row| row.state == UnitState::Running);
        match self.kind {
            Kind::Unchanged if done => "kept".to_owned(),
            Kind::Unchanged => "runs".to_owned(),
            Kind::Changed if done => format!("kept; run it again with `--rerun {}`", self.path),
            Kind::Changed if self.fans => "what is done is kept; the rest runs as now written".to_owned(),
            Kind::Changed if runs => "goes on as it was written; after that as now written".to_owned(),
            Kind::Changed | Kind::New => "runs as now written".to_owned(),
            Kind::Removed if runs => "goes on to its end; its record stays".to_owned(),
            Kind::Removed if row.is_some() => "its record stays".to_owned(),
            Kind::Removed => "does not run".to_owned(),
        }
    }
}
