//! A plan as a step: its file is read in place, and `with` is held to its params.
//! Unaware of the rest of the step.

use super::build::{Builder, Role, Site};
use super::step::Keys;
use crate::plan::codes;
use crate::plan::diagnostic::{Diagnostic, did_you_mean, listed};
use crate::plan::model::{Body, ContextId};
use crate::plan::node::{Key, Node};
use crate::plan::params;
use crate::plan::source::{FileId, Span};
use crate::plan::template::Tree;
use flowrun_core::plan::StepId;
use std::path::{Component, Path, PathBuf};

/// Plans call plans this deep, and so often in all.
const MAX_DEPTH: usize = 16;
const MAX_CONTEXTS: usize = 10_000;

/// Whether `uses` names a plan file, not a step type.
pub(super) fn is_path(uses: &str) -> bool {
    let yaml = Path::new(uses)
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml"));
    uses.starts_with("./") || uses.starts_with("../") || uses.starts_with('/') || yaml
}

/// The path without `.` and `..`, as it is written: links are not followed.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::ParentDir | Component::Normal(_) => out.push(part),
        }
    }
    out
}

impl Builder<'_> {
    pub(super) fn plan_body(&mut self, id: StepId, keys: Keys<'_>, site: Site) -> Body {
        let Some(node) = keys.get("uses") else { return Body::Wait };
        let with = keys.get("with");
        let entries = with.and_then(Node::map).unwrap_or(&[]);
        let tree = Tree::Map(
            entries.iter().map(|(key, node)| (key.text.clone(), self.any(node, site.as_role(Role::Value)))).collect(),
        );
        let Some(file) = self.called(node) else { return Body::Wait };
        let Some(plan) = self.tree(file) else { return Body::Wait };
        self.stack.push(file);
        let (context, block) = self.plan(file, &plan, Some(id), site.finally);
        self.stack.pop();
        self.given(context, node, entries);
        let outputs = self
            .contexts
            .get(context.index())
            .map(|context| context.outputs.iter().map(|(name, _)| name.clone()).collect());
        if let Some(meta) = self.metas.get_mut(id.index()) {
            meta.outputs = outputs;
        }
        Body::Plan { block, with: tree }
    }

    /// The file that `uses` names.
    fn called(&mut self, node: &Node) -> Option<FileId> {
        let uses = node.text()?;
        let here = self.sources.get(node.span.file)?;
        let path = tidy(&here.path.parent()?.join(uses));
        let name = match (Path::new(uses).is_absolute(), Path::new(&*here.name).parent()) {
            (false, Some(dir)) => tidy(&dir.join(uses)).display().to_string(),
            _ => uses.to_owned(),
        };
        let file = match self.sources.find(&path) {
            Some(file) => file,
            None => match self.reader.read(&path) {
                Ok(text) => self.sources.add(&name, &path, &text),
                Err(reason) => {
                    let message = format!("cannot read the plan `{uses}`: {reason}");
                    self.fault(
                        Diagnostic::error(codes::UNREADABLE, node.span, message)
                            .label("this plan")
                            .help("a path starts at the folder of the plan that names it"),
                    );
                    return None;
                }
            },
        };
        if self.stack.contains(&file) {
            let message = format!("the plan `{uses}` calls itself, so it would never end");
            self.fault(
                Diagnostic::error(codes::RECURSION, node.span, message)
                    .label("already being run")
                    .help("use `for_each` to repeat work"),
            );
            return None;
        }
        if self.stack.len() >= MAX_DEPTH || self.contexts.len() >= MAX_CONTEXTS {
            let message = "plans call plans too deeply, or too often";
            self.fault(
                Diagnostic::error(codes::TOO_LARGE, node.span, message)
                    .label("one call too many")
                    .help("16 plans deep and 10,000 calls are the limit"),
            );
            return None;
        }
        Some(file)
    }

    /// `with` against the params and secrets of the plan.
    fn given(&mut self, context: ContextId, uses: &Node, entries: &[(Key, Node)]) {
        let Some(called) = self.contexts.get(context.index()).cloned() else { return };
        let names: Vec<&str> = called
            .params
            .iter()
            .map(|param| param.name.as_str())
            .chain(called.secrets.iter().map(|secret| secret.name.as_str()))
            .collect();
        for (key, node) in entries {
            if let Some(param) = called.params.iter().find(|param| param.name == key.text) {
                self.given_param(param, node);
            } else if called.secrets.iter().any(|secret| secret.name == key.text) {
                self.given_secret(key, node);
            } else {
                let help = did_you_mean(&key.text, names.iter().copied());
                let help = help.unwrap_or_else(|| {
                    if names.is_empty() {
                        "it takes nothing".to_owned()
                    } else {
                        format!("it takes {}", listed(names.iter().copied(), 12))
                    }
                });
                let message = format!("the plan `{}` has no param `{}`", called.name, key.text);
                self.fault(
                    Diagnostic::error(codes::UNKNOWN_INPUT, key.span, message).label("no such param").help(help),
                );
            }
        }
        for param in called.params.iter().filter(|param| param.default.is_none()) {
            if entries.iter().all(|(key, _)| key.text != param.name) {
                self.missing(uses.span, &called.name, &param.name);
            }
        }
    }

    fn missing(&mut self, span: Span, plan: &str, param: &str) {
        let message = format!("the plan `{plan}` needs the param `{param}`");
        self.fault(
            Diagnostic::error(codes::MISSING_INPUT, span, message)
                .label(format!("`{param}` is not given"))
                .help(format!("add `{param}: ...` under `with`")),
        );
    }

    fn given_param(&mut self, param: &crate::plan::model::Param, node: &Node) {
        if !node.is_known() {
            return;
        }
        if let Err(problem) = params::accept(param, &node.json()) {
            let message = format!("the param `{}` {}", param.name, problem.message);
            self.fault(
                Diagnostic::error(codes::INPUT_TYPE, node.span, message)
                    .label(node.describe())
                    .maybe_help(problem.help),
            );
        }
    }

    /// A secret is handed on as a secret, never as a text in the plan.
    fn given_secret(&mut self, key: &Key, node: &Node) {
        let text = node.text().unwrap_or_default().trim();
        let inner = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
        if inner.is_none_or(|name| !name.starts_with("secrets.")) {
            let message = format!("`{}` is a secret of the plan, and this is not one", key.text);
            self.fault(
                Diagnostic::error(codes::SECRET_USE, node.span, message)
                    .label("not a secret")
                    .help("hand on a secret: `\"{{secrets.NAME}}\"`"),
            );
        }
    }
}
