//! A plan as text: its steps in the waves in which they can start, with all that holds and bounds them.
//! Unaware of runs. What is not known before a run stands as it is written.

use super::super::survey::inner_block;
use crate::screen::text::{duration, estimate};
use flowrun_core::plan::{Backoff, NeedKind, OnLost};
use flowrun_core::{BlockId, StepId};
use flowrun_engine::driver::preview::Preview;
use flowrun_engine::plan::model::{Block, Body, CheckedPlan, Gate, Probe, Step};
use flowrun_engine::plan::template::Tree;
use serde_json::Value;
use std::collections::HashMap;

/// Scripts are shown up to so many lines.
const LINES: usize = 12;

/// The plan as text.
pub fn text(plan: &CheckedPlan, preview: &Preview, past: &HashMap<String, u64>) -> String {
    let mut page = Page { plan, preview, past, out: String::new() };
    page.head();
    page.block(BlockId(0), 0, "");
    page.out
}

struct Page<'a> {
    plan: &'a CheckedPlan,
    preview: &'a Preview,
    past: &'a HashMap<String, u64>,
    out: String,
}

impl Page<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        self.out.push_str(&"  ".repeat(depth));
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn head(&mut self) {
        let Some(root) = self.plan.contexts.first() else { return };
        let description =
            if root.description.is_empty() { String::new() } else { format!(": {}", root.description.trim()) };
        self.line(0, &format!("plan {}{description}", root.name));
        for (name, value) in &self.preview.params {
            self.line(1, &format!("param {name} = {}", shown(value)));
        }
        for fault in &self.preview.faults {
            self.line(1, &format!("missing: {fault}"));
        }
        for secret in &root.secrets {
            self.line(1, &format!("secret {} is read when the run starts", secret.name));
        }
        for pool in &self.plan.pools {
            let size = shown(&self.preview.value(&pool.size, pool.context));
            self.line(1, &format!("pool {} = {size}", pool.name));
        }
        if let Some(limit) = root.timeout_ms {
            self.line(1, &format!("timeout {}", duration(limit)));
        }
        if let Some(long) = self.longest() {
            self.line(1, &format!("took {} along its longest way, by past runs", estimate(long)));
        }
    }

    /// The longest way through the plan, where the past tells of a step on it.
    fn longest(&self) -> Option<u64> {
        let block = self.plan.blocks.first()?;
        let mut ends: HashMap<StepId, u64> = HashMap::new();
        let waves = waves(self.plan, &block.steps);
        for id in waves.iter().flatten() {
            let Some(step) = self.plan.steps.get(id.index()) else { continue };
            let begin = step.needs.iter().filter_map(|(need, _)| ends.get(need)).max().copied().unwrap_or(0);
            ends.insert(*id, begin + self.past.get(&step.name).copied().unwrap_or(0));
        }
        ends.into_values().max().filter(|long| *long > 0)
    }

    fn block(&mut self, id: BlockId, depth: usize, above: &str) {
        let plan = self.plan;
        let Some(block) = plan.blocks.get(id.index()) else { return };
        let Block { steps, finally, .. } = block;
        for (number, wave) in waves(plan, steps).iter().enumerate() {
            self.line(depth, &format!("{}{}:", if depth == 0 { "\nwave " } else { "wave " }, number + 1));
            self.steps(wave, depth + 1, above);
        }
        if !finally.is_empty() {
            self.line(
                depth,
                if depth == 0 { "\nat the end, whatever happened:" } else { "at its end, whatever happened:" },
            );
            let last: Vec<StepId> = waves(plan, finally).into_iter().flatten().collect();
            self.steps(&last, depth + 1, above);
        }
    }

    fn steps(&mut self, ids: &[StepId], depth: usize, above: &str) {
        let plan = self.plan;
        for step in ids.iter().filter_map(|id| plan.steps.get(id.index())) {
            self.step(step, depth, above);
        }
    }

    fn step(&mut self, step: &Step, depth: usize, above: &str) {
        let address = format!("{above}{}", step.name);
        let took = self.past.get(&address).map(|took| format!("  (took {} last time)", estimate(*took)));
        self.line(depth, &format!("{}{}", step.name, took.unwrap_or_default()));
        let depth = depth + 1;
        self.needs(step, depth);
        self.conditions(step, depth);
        self.limits(step, depth);
        match &step.body {
            Body::Leaf { uses, with } => self.leaf(step, uses, with, depth),
            Body::Wait => self.line(depth, "waits for its gates, and does nothing else"),
            Body::Group(_) => self.line(depth, "a group:"),
            Body::Plan { with, .. } => {
                let with = self.preview.value(with, step.context);
                self.line(depth, &format!("a plan of its own, with {}:", shown(&with)));
            }
        }
        if let Some(block) = inner_block(step) {
            self.block(block, depth + 1, &format!("{address}/"));
        }
    }

    fn needs(&mut self, step: &Step, depth: usize) {
        let plan = self.plan;
        let name = |(id, kind): &(StepId, NeedKind)| {
            let name = &plan.steps.get(id.index())?.name;
            Some(match kind {
                NeedKind::Success | NeedKind::Output => name.clone(),
                NeedKind::End => format!("{name} (its end)"),
            })
        };
        let names: Vec<String> = step.needs.iter().filter_map(name).collect();
        if !names.is_empty() {
            self.line(depth, &format!("after {}", names.join(", ")));
        }
    }

    fn conditions(&mut self, step: &Step, depth: usize) {
        if let Some(when) = &step.when {
            self.line(depth, &format!("when {}", self.preview.text(when, step.context)));
        }
        if let Some(unless) = &step.unless {
            self.line(depth, &format!("unless {} says that it is done", self.preview.text(unless, step.context)));
        }
        if let Some(each) = &step.for_each {
            let list = shown(&self.preview.value(&each.list, step.context));
            let limit = each.max_parallel.as_ref().map(|limit| self.preview.value(limit, step.context));
            let limit = limit.map(|limit| format!(", at most {} at once", shown(&limit))).unwrap_or_default();
            self.line(depth, &format!("for each of {list}{limit}"));
        }
        let plan = self.plan;
        for gate in step.gates.iter().filter_map(|id| plan.gates.get(id.index())) {
            let text = self.gate(gate);
            self.line(depth, &text);
        }
        for (id, units) in &step.pools {
            if let Some(pool) = plan.pools.get(id.index()) {
                self.line(depth, &format!("takes {units} of pool {}", pool.name));
            }
        }
    }

    fn gate(&self, gate: &Gate) -> String {
        let wait = gate.max_wait_ms.map(|wait| format!(", at most {}", duration(wait))).unwrap_or_default();
        format!("waits for gate {}: {}{wait}", gate.name, self.probe(gate))
    }

    fn probe(&self, gate: &Gate) -> String {
        let number = |tree: &Tree| shown(&self.preview.value(tree, gate.context));
        match &gate.probe {
            Probe::Load { minutes, per_cpu, below } => {
                let each = if *per_cpu { " a CPU" } else { "" };
                format!("load of {minutes} min{each} below {}", number(below))
            }
            Probe::Pressure { resource, below } => {
                format!("{} pressure below {}", format!("{resource:?}").to_lowercase(), number(below))
            }
            Probe::MemoryAvailable { above } => format!("available memory above {}", number(above)),
            Probe::Disk { path, free_above } => {
                format!("free on {} above {}", self.preview.text(path, gate.context), number(free_above))
            }
            Probe::Window { from, to, zone } => {
                let zone = zone.as_ref().map(|zone| format!(" {zone}")).unwrap_or_default();
                format!("the time between {from} and {to}{zone}")
            }
            Probe::Tcp { address: text } | Probe::Http { url: text } => {
                format!("{} answers", self.preview.text(text, gate.context))
            }
            Probe::File { path } => format!("{} exists", self.preview.text(path, gate.context)),
            Probe::Run { script } => format!("`{}` exits 0", self.preview.text(script, gate.context).trim()),
        }
    }

    fn limits(&mut self, step: &Step, depth: usize) {
        let retry = &step.retry;
        if retry.attempts > 1 {
            let grows = match retry.backoff {
                Backoff::Fixed => String::new(),
                Backoff::Exponential => format!(", doubling up to {}", duration(retry.max_delay_ms)),
            };
            self.line(depth, &format!("up to {} tries, {} apart{grows}", retry.attempts, duration(retry.delay_ms)));
        }
        if let Some(limit) = step.timeout_ms {
            self.line(depth, &format!("a try may take {}", duration(limit)));
        }
        if step.allow_failure {
            self.line(depth, "may fail without failing the run");
        }
        match step.on_lost {
            OnLost::Rerun => {}
            OnLost::Fail => self.line(depth, "fails where a crash leaves its outcome unknown"),
            OnLost::Ask => self.line(depth, "asks a person where a crash leaves its outcome unknown"),
        }
        if step.background.is_some() {
            self.line(depth, "a service: stopped when the steps around it have ended");
        }
    }

    fn leaf(&mut self, step: &Step, uses: &str, with: &Tree, depth: usize) {
        let input = self.preview.value(with, step.context);
        let dir = step.dir.as_ref().map(|dir| format!(" in {}", self.preview.text(dir, step.context)));
        let dir = dir.unwrap_or_default();
        if let Some(script) = input.get("script").and_then(Value::as_str) {
            self.line(depth, &format!("runs a script{dir}:"));
            self.script(script, depth + 1);
        } else if let Some(argv) = input.get("argv").and_then(Value::as_array) {
            let words: Vec<String> = argv.iter().map(word).collect();
            self.line(depth, &format!("runs{dir}: {}", words.join(" ")));
        } else {
            self.line(depth, &format!("uses {uses}{dir}, with {}", shown(&input)));
        }
    }

    fn script(&mut self, script: &str, depth: usize) {
        let lines: Vec<&str> = script.trim_end().lines().collect();
        for line in lines.iter().take(LINES) {
            self.line(depth, line);
        }
        if lines.len() > LINES {
            self.line(depth, &format!("… and {} lines more", lines.len() - LINES));
        }
    }
}

/// Steps of one block in the order in which they can start: each wave needs the ones before it only.
fn waves(plan: &CheckedPlan, ids: &[StepId]) -> Vec<Vec<StepId>> {
    let mut waves: Vec<Vec<StepId>> = Vec::new();
    let mut placed: HashMap<StepId, usize> = HashMap::new();
    let mut rest: Vec<StepId> = ids.to_vec();
    while !rest.is_empty() {
        let ready = |id: &StepId| {
            let Some(step) = plan.steps.get(id.index()) else { return true };
            step.needs.iter().all(|(need, _)| placed.contains_key(need) || !ids.contains(need))
        };
        let (wave, later): (Vec<_>, Vec<_>) = rest.iter().copied().partition(ready);
        if wave.is_empty() {
            // A checked plan has no circle; whatever is left is shown all the same.
            waves.push(later);
            return waves;
        }
        placed.extend(wave.iter().map(|id| (*id, waves.len())));
        waves.push(wave);
        rest = later;
    }
    waves
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A word of a command, as a person would type it.
fn word(value: &Value) -> String {
    let text = shown(value);
    // What is not known yet stays readable.
    if text.contains("{{") {
        return text;
    }
    shlex::try_quote(&text).map_or_else(|_| text.clone(), |quoted| quoted.into_owned())
}
