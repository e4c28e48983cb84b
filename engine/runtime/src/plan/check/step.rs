//! Blocks and the steps in them.
//! Unaware of what the templates of a step may name.

use super::body::What;
use super::build::{Builder, Meta, Role, Site, Use};
use super::policy;
use crate::plan::codes;
use crate::plan::diagnostic::Diagnostic;
use crate::plan::model::{Block, Body, ContextId, ForEach, Step};
use crate::plan::node::{Key, Node};
use crate::plan::template::{Ref, Tree};
use flowrun_core::plan::{BlockId, OnLost, Retry, StepId};

const GRACE_MS: u64 = 10_000;
const TERM: i32 = 15;

/// What the steps of a block have in common.
#[derive(Clone, Copy)]
pub(super) struct Outer<'n> {
    pub(super) context: ContextId,
    /// A group around it has `for_each`.
    pub(super) item: bool,
    /// It runs at the end.
    pub(super) finally: bool,
    /// `defaults:` of the plan.
    pub(super) defaults: Option<&'n Node>,
}

/// A step's node with the plan's defaults behind it.
#[derive(Clone, Copy)]
pub(super) struct Keys<'n> {
    pub(super) key: &'n Key,
    pub(super) node: &'n Node,
    defaults: Option<&'n Node>,
}

impl<'n> Keys<'n> {
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.node.get(name)
    }

    pub(super) fn entry(&self, name: &str) -> Option<(&'n Key, &'n Node)> {
        self.node.entry(name)
    }

    pub(super) fn truth(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(|node| node.json().as_bool())
    }

    /// The step's own, else the plan's default.
    pub(super) fn or_default(&self, name: &str) -> Option<&'n Node> {
        self.get(name).or_else(|| self.default(name))
    }

    pub(super) fn default(&self, name: &str) -> Option<&'n Node> {
        self.defaults.and_then(|defaults| defaults.get(name))
    }
}

impl Builder<'_> {
    /// A block with all its steps. All names of the block are known before the first of its steps is read.
    pub(super) fn block(
        &mut self,
        outer: Outer<'_>,
        owner: Option<StepId>,
        steps: Option<&Node>,
        finally: Option<&Node>,
    ) -> BlockId {
        let id = BlockId(u32::try_from(self.blocks.len()).unwrap_or(u32::MAX));
        self.blocks.push(Block { context: outer.context, owner, steps: Vec::new(), finally: Vec::new() });
        let mut todo: Vec<(StepId, &Key, &Node, bool)> = Vec::new();
        for (node, last) in [(steps, false), (finally, true)] {
            for (key, node) in node.and_then(Node::map).unwrap_or(&[]) {
                let step = self.reserve(id, outer.context, key, last);
                todo.push((step, key, node, last));
            }
        }
        if let Some(block) = self.blocks.get_mut(id.index()) {
            let pick = |want: bool| todo.iter().filter(|one| one.3 == want).map(|one| one.0).collect();
            block.steps = pick(false);
            block.finally = pick(true);
        }
        for (step, key, node, last) in todo {
            let outer = Outer { finally: outer.finally || last, ..outer };
            self.step(step, id, Keys { key, node, defaults: outer.defaults }, outer);
        }
        id
    }

    fn reserve(&mut self, block: BlockId, context: ContextId, key: &Key, finally: bool) -> StepId {
        let id = StepId(u32::try_from(self.steps.len()).unwrap_or(u32::MAX));
        self.hidden(block, key);
        if let Some(other) = self.index.insert((block, key.text.clone()), id) {
            // Only `steps` and `finally` can share a name; within one map the reader reported it.
            let mut fault = Diagnostic::error(
                codes::DUPLICATE,
                key.span,
                format!("`steps` and `finally` both have a step `{}`", key.text),
            );
            if let Some(meta) = self.metas.get(other.index()) {
                fault = fault.also(meta.key, "first here");
            }
            self.fault(fault.label("again here").help("rename one of them"));
        }
        self.metas.push(Meta { key: key.span, finally, outputs: None });
        let place = self.sources.place(key.span);
        self.steps.push(Step {
            name: key.text.clone(),
            place,
            context,
            block,
            description: String::new(),
            body: Body::Wait,
            needs: Vec::new(),
            for_each: None,
            when: None,
            when_item: false,
            unless: None,
            gates: Vec::new(),
            pools: Vec::new(),
            retry: Retry::default(),
            timeout_ms: None,
            grace_ms: GRACE_MS,
            signal: TERM,
            on_lost: OnLost::Rerun,
            allow_failure: false,
            background: None,
            env: Vec::new(),
            dir: None,
            outputs: Vec::new(),
        });
        id
    }

    /// An inner name may not hide an outer one.
    fn hidden(&mut self, block: BlockId, key: &Key) {
        let mut at = self.owner_of(block);
        while let Some(owner) = at {
            let Some(around) = self.block_of(owner) else { return };
            if let Some(other) = self.index.get(&(around, key.text.clone())) {
                let mut fault = Diagnostic::error(
                    codes::HIDING,
                    key.span,
                    format!("the inner step `{}` hides an outer one", key.text),
                )
                .label("hides the outer step");
                if let Some(meta) = self.metas.get(other.index()) {
                    fault = fault.also(meta.key, "the outer step");
                }
                self.fault(fault.help("rename one of them"));
                return;
            }
            at = self.owner_of(around);
        }
    }

    fn step(&mut self, id: StepId, block: BlockId, keys: Keys<'_>, outer: Outer<'_>) {
        if keys.node.map().is_none() {
            return;
        }
        let site = Site {
            block: Some(block),
            user: Some(id),
            item: outer.item || keys.get("for_each").is_some(),
            finally: outer.finally,
            literal: keys.truth("template") == Some(false),
            ..Site::of(outer.context, Role::Value)
        };
        self.needs_of(keys, site);
        self.fan_out(id, keys, Site { item: outer.item, ..site }, site);
        let before = self.uses.len();
        let when = keys.get("when").map(|node| self.text(node, site.as_role(Role::Stored)));
        let about_item = self
            .uses
            .get(before..)
            .unwrap_or(&[])
            .iter()
            .any(|one| one.reference.path.first().is_some_and(|root| root.starts_with("item")));
        let unless = keys.get("unless").map(|node| self.text(node, site.as_role(Role::Script)));
        let what = self.what(keys);
        if let Some(what) = what {
            self.misplaced(keys, what);
        }
        if let Some(step) = self.step_mut(id) {
            step.when = when;
            step.when_item = about_item && step.for_each.is_some();
            step.unless = unless;
            step.description = keys.get("description").and_then(Node::text).unwrap_or_default().to_owned();
            step.allow_failure = keys.truth("allow_failure") == Some(true);
        }
        let Some(what) = what else { return };
        if what.works() {
            self.work(id, keys, site);
        } else if what == What::Wait {
            let timeout = keys.get("timeout").and_then(policy::duration);
            if let Some(step) = self.step_mut(id) {
                step.timeout_ms = timeout;
            }
        }
        let body = self.body(id, what, keys, site, outer);
        if let Some(step) = self.step_mut(id) {
            step.body = body;
        }
    }

    fn needs_of(&mut self, keys: Keys<'_>, site: Site) {
        let Some(node) = keys.get("needs") else { return };
        for (name, node) in policy::texts(node) {
            let reference = Ref {
                path: vec!["steps".to_owned(), name.to_owned()],
                expression: 0,
                offset: 0,
                guarded: false,
                helper: None,
                plain: false,
            };
            self.uses.push(Use { site: site.as_role(Role::Need), reference, span: node.span });
        }
    }

    fn fan_out(&mut self, id: StepId, keys: Keys<'_>, outside: Site, inside: Site) {
        let Some(node) = keys.get("for_each") else { return };
        let list = self.any(node, outside.as_role(Role::Stored));
        let scalar = node.written().is_some() && !node.has_template();
        if node.map().is_some() || scalar {
            let fault = Diagnostic::error(
                codes::WRONG_TYPE,
                node.span,
                format!("`for_each` is a list, and this is {}", node.describe()),
            );
            self.fault(fault.label(node.describe()).help("write `[a, b]`, or a template that gives a list"));
        }
        let key = keys.get("key").map(|node| self.text(node, inside.as_role(Role::Stored)));
        let largest_first = keys.get("largest_first").map(|node| self.text(node, inside.as_role(Role::Stored)));
        let max_parallel: Option<Tree> =
            keys.get("max_parallel").map(|node| self.any(node, outside.as_role(Role::Size)));
        let max_failures = keys.get("max_failures").and_then(policy::limit);
        if let Some(step) = self.step_mut(id) {
            step.for_each = Some(ForEach { list, key, largest_first, max_parallel, max_failures });
        }
    }

    /// What is said of steps that do something themselves.
    fn work(&mut self, id: StepId, keys: Keys<'_>, site: Site) {
        let mut env = keys.default("env").map(|node| self.env(Some(node), site)).unwrap_or_default();
        let own = self.env(keys.get("env"), site);
        env.retain(|(name, _)| own.iter().all(|(other, _)| other != name));
        env.extend(own);
        let dir = keys.or_default("dir").map(|node| self.text(node, site));
        let gates_at = keys.entry("gates").map(|(key, node)| (key.span, node));
        let gates_at = gates_at.or_else(|| keys.default("gates").map(|node| (node.span, node)));
        let gates = gates_at.map(|(span, node)| self.gates_of(site.context, id, span, node)).unwrap_or_default();
        let pools = keys.or_default("pool").map(|node| self.pools_of(site.context, node)).unwrap_or_default();
        let background = keys.truth("background") == Some(true);
        let ready = match keys.entry("ready") {
            Some((key, node)) => self.ready(key.span, node, site.as_role(Role::Gate)),
            None => crate::plan::model::Ready { probe: None, within_ms: 60_000 },
        };
        let time = |name: &str| keys.or_default(name).and_then(policy::duration);
        let Some(step) = self.step_mut(id) else { return };
        step.env = env;
        step.dir = dir;
        step.gates = gates;
        step.pools = pools;
        step.background = background.then_some(ready);
        step.retry = keys.or_default("retry").map(policy::retry).unwrap_or_default();
        step.timeout_ms = time("timeout");
        step.grace_ms = time("grace").unwrap_or(GRACE_MS);
        step.signal = keys.or_default("signal").and_then(Node::written).and_then(policy::signal).unwrap_or(TERM);
        step.on_lost = keys.or_default("on_lost").map(policy::on_lost).unwrap_or_default();
    }
}
