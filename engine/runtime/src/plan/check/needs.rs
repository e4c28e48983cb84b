//! Edges: which step a name means, what is needed of it, and for whom.
//! Unaware of templates; a use of a name is all that comes here.

use super::build::{Builder, Role, Use};
use crate::plan::codes;
use crate::plan::diagnostic::{Diagnostic, did_you_mean, listed};
use flowrun_core::plan::{BlockId, NeedKind, StepId};

/// Beyond so many visible names no near one is looked for: each search reads all of them.
const SEARCHED: usize = 2_000;

/// What every step has, beside its outputs.
const STATE: &str = "state";
const BY_KEY: &str = "by_key";

impl Builder<'_> {
    pub(super) fn use_step(&mut self, one: &Use) {
        let Some(name) = one.reference.path.get(1) else {
            let fault =
                Diagnostic::error(codes::UNKNOWN_NAME, one.span, "`steps` alone is no value").label("which step?");
            return self.fault(fault.help("write `steps.ID.OUTPUT`"));
        };
        let Some(block) = one.site.block else {
            let message = format!("`steps.{name}` is not known here: no step has run yet");
            return self.not_here(one, message, "use a param");
        };
        let early = matches!(one.site.role, Role::Size);
        if early {
            return self.not_here(
                one,
                format!("`steps.{name}` is not known here: this number is read when the run starts"),
                "use a param",
            );
        }
        let Some(target) = self.look_up(block, name) else { return self.unknown_step(one, block, name) };
        if one.site.user != Some(target) || one.site.role == Role::Output {
            self.check_output(one, target);
        }
        self.add_edge(one, target);
    }

    /// The step of this name in the block or in one around it.
    fn look_up(&self, block: BlockId, name: &str) -> Option<StepId> {
        let mut at = block;
        loop {
            if let Some(found) = self.index.get(&(at, name.to_owned())) {
                return Some(*found);
            }
            at = self.block_of(self.owner_of(at)?)?;
        }
    }

    fn visible_steps(&self, block: BlockId) -> Vec<String> {
        let mut names = Vec::new();
        let mut at = Some(block);
        while let Some(block) = at {
            if let Some(block) = self.blocks.get(block.index()) {
                let ids = block.steps.iter().chain(&block.finally);
                names.extend(ids.map(|id| self.step_name(*id).to_owned()));
            }
            at = self.owner_of(block).and_then(|owner| self.block_of(owner));
        }
        names
    }

    fn unknown_step(&mut self, one: &Use, block: BlockId, name: &str) {
        let context = one.site.context;
        let inner = self.steps.iter().position(|step| step.name == *name && step.context == context);
        if let Some(inner) = inner.and_then(|at| u32::try_from(at).ok()).map(StepId) {
            return self.inner_step(one, inner, name);
        }
        let names = self.visible_steps(block);
        let near = if names.len() > SEARCHED { None } else { did_you_mean(name, names.iter().map(String::as_str)) };
        let help =
            near.unwrap_or_else(|| format!("the steps here are {}", listed(names.iter().map(String::as_str), 12)));
        let user =
            one.site.user.map(|id| (self.step_name(id).to_owned(), self.metas.get(id.index()).map(|meta| meta.key)));
        let mut fault = match (one.site.role, &user) {
            (Role::Need, Some((user, _))) => Diagnostic::error(
                codes::UNKNOWN_NEED,
                one.span,
                format!("step `{user}` needs `{name}`, which does not exist"),
            ),
            _ => Diagnostic::error(codes::UNKNOWN_NEED, one.span, format!("`steps.{name}` does not exist")),
        };
        fault = fault.label("no such step").help(help);
        if let Some((_, Some(span))) = user {
            fault = fault.also(span, "in this step");
        }
        self.fault(fault);
    }

    fn inner_step(&mut self, one: &Use, inner: StepId, name: &str) {
        let group = self.block_of(inner).and_then(|block| self.owner_of(block));
        let group = group.map_or_else(String::new, |id| self.step_name(id).to_owned());
        let mut fault = Diagnostic::error(
            codes::INNER_STEP,
            one.span,
            format!("step `{name}` is inside `{group}` and cannot be named from here"),
        )
        .label("inside another group");
        if let Some(meta) = self.metas.get(inner.index()) {
            fault = fault.also(meta.key, "stands here");
        }
        self.fault(fault.help(format!("name the group, `{group}`, and hand the value out by its `outputs`")));
    }

    fn check_output(&mut self, one: &Use, target: StepId) {
        let Some(output) = one.reference.path.get(2) else { return };
        let fan = self.steps.get(target.index()).is_some_and(|step| step.for_each.is_some());
        if output == STATE || (fan && output == BY_KEY) {
            return;
        }
        let Some(meta) = self.metas.get(target.index()) else { return };
        let Some(known) = meta.outputs.clone() else { return };
        if known.contains(output) {
            return;
        }
        let name = self.step_name(target).to_owned();
        let mut names: Vec<&str> = known.iter().map(String::as_str).collect();
        names.push(STATE);
        let help = did_you_mean(output, names.iter().copied()).unwrap_or_else(|| match (known.is_empty(), self.body_of(target)) {
            (_, Some(crate::plan::model::Body::Leaf { uses, .. })) if uses == "shell" || uses == "exec" => {
                format!("declare it: `outputs: {{ {output}: {{ from: stdout }} }}`, or append `{output}=...` to `$FLOWRUN_OUTPUT`")
            }
            (_, Some(crate::plan::model::Body::Group(_) | crate::plan::model::Body::Plan { .. })) => format!("declare it under `outputs` of `{name}`"),
            (true, _) => "it hands out nothing but `state`".to_owned(),
            (false, _) => format!("it hands out {}", listed(names.iter().copied(), 12)),
        });
        let fault =
            Diagnostic::error(codes::UNKNOWN_OUTPUT, one.span, format!("step `{name}` has no output `{output}`"))
                .label("no such output");
        self.fault(fault.also(meta_key(&self.metas, target, one), "this step").help(help));
    }

    fn add_edge(&mut self, one: &Use, target: StepId) {
        let Some(block) = self.block_of(target) else { return };
        let Some(from) = one.site.user.and_then(|user| self.ancestor_in(user, block)) else { return };
        if from == target {
            // A group's own outputs speak of its inner steps, never of itself.
            return self.own_need(one, target);
        }
        let (from_last, to_last) = (self.is_finally(from), self.is_finally(target));
        if to_last && !from_last {
            let name = self.step_name(target).to_owned();
            return self.not_here(
                one,
                format!("step `{name}` is one of `finally`, and runs after this one"),
                "put the step into `finally` too, or do without it",
            );
        }
        if from_last && !to_last {
            return;
        }
        let kind = kind_of(one);
        self.edges.entry((from, target)).or_insert(one.span);
        let Some(step) = self.step_mut(from) else { return };
        match step.needs.iter_mut().find(|(id, _)| *id == target) {
            Some((_, known)) if strength(*known) < strength(kind) => *known = kind,
            Some(_) => {}
            None => step.needs.push((target, kind)),
        }
    }

    fn own_need(&mut self, one: &Use, target: StepId) {
        let name = self.step_name(target).to_owned();
        let fault = if one.site.user == Some(target) {
            Diagnostic::error(codes::CYCLE, one.span, format!("step `{name}` waits for itself"))
                .label("its own name")
                .help("take this need away")
        } else {
            Diagnostic::error(
                codes::CYCLE,
                one.span,
                format!("a step inside the group `{name}` waits for the end of the group"),
            )
            .label("the group around it")
            .help("name the inner step that is meant")
        };
        self.fault(fault);
    }

    /// The step itself, or the group around it, that stands in this block.
    fn ancestor_in(&self, user: StepId, block: BlockId) -> Option<StepId> {
        let mut at = user;
        loop {
            let here = self.block_of(at)?;
            if here == block {
                return Some(at);
            }
            at = self.owner_of(here)?;
        }
    }

    fn is_finally(&self, id: StepId) -> bool {
        self.metas.get(id.index()).is_some_and(|meta| meta.finally)
    }
}

fn meta_key(metas: &[super::build::Meta], id: StepId, one: &Use) -> crate::plan::source::Span {
    metas.get(id.index()).map_or(one.span, |meta| meta.key)
}

fn kind_of(one: &Use) -> NeedKind {
    match (one.site.role, one.reference.path.get(2)) {
        (Role::Need, _) => NeedKind::Success,
        (_, Some(output)) if output == STATE => NeedKind::End,
        _ if one.reference.guarded => NeedKind::Success,
        _ => NeedKind::Output,
    }
}

fn strength(kind: NeedKind) -> u8 {
    match kind {
        NeedKind::End => 0,
        NeedKind::Success => 1,
        NeedKind::Output => 2,
    }
}
