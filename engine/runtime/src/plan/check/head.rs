//! What stands above the steps of a plan file: params, secrets, env, pools; and the file as a whole.
//! Unaware of steps.

use super::build::{Builder, Names, Role, Site};
use super::step::Outer;
use crate::plan::codes;
use crate::plan::diagnostic::Diagnostic;
use crate::plan::model::{Context, ContextId, Param, ParamKind, Pool, SecretDef, SecretSource};
use crate::plan::node::{Key, Node};
use crate::plan::params;
use crate::plan::quantity;
use crate::plan::source::FileId;
use crate::plan::template::Tree;
use flowrun_core::plan::{BlockId, PoolId, StepId};
use std::path::Path;

impl Builder<'_> {
    /// A plan file: the run's own, or that of the step which owns it.
    pub(super) fn plan(
        &mut self,
        file: FileId,
        tree: &Node,
        owner: Option<StepId>,
        finally: bool,
    ) -> (ContextId, BlockId) {
        let id = self.context(file, tree);
        self.params(id, tree.get("params"));
        self.secrets(id, tree.get("secrets"));
        let env = self.env(tree.get("env"), Site::of(id, Role::Value));
        self.read_pools(id, tree.get("pools"));
        self.read_gates(id, tree.get("gates"));
        let outer = Outer { context: id, item: false, finally, defaults: tree.get("defaults") };
        let block = self.block(outer, owner, tree.get("steps"), tree.get("finally"));
        if let Some(names) = self.names.get_mut(id.index()) {
            names.root = Some(block);
        }
        let site = Site { block: Some(block), ..Site::of(id, Role::Output) };
        let outputs = self.outputs(tree.get("outputs"), site);
        if let Some(context) = self.contexts.get_mut(id.index()) {
            context.env = env;
            context.outputs = outputs;
        }
        (id, block)
    }

    pub(super) fn outputs(&mut self, node: Option<&Node>, site: Site) -> Vec<(String, Tree)> {
        let entries = node.and_then(Node::map).unwrap_or(&[]);
        entries.iter().map(|(key, node)| (key.text.clone(), self.any(node, site))).collect()
    }

    fn context(&mut self, file: FileId, tree: &Node) -> ContextId {
        let path = self.sources.get(file).map(|file| file.path.clone()).unwrap_or_default();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let text = |key: &str| tree.get(key).and_then(Node::text).map(str::to_owned);
        self.contexts.push(Context {
            name: text("name").unwrap_or(stem),
            description: text("description").unwrap_or_default(),
            dir: path.parent().map(Path::to_path_buf).unwrap_or_default(),
            params: Vec::new(),
            secrets: Vec::new(),
            env: Vec::new(),
            outputs: Vec::new(),
            timeout_ms: tree.get("timeout").and_then(super::policy::duration),
        });
        self.names.push(Names::default());
        ContextId(u32::try_from(self.contexts.len() - 1).unwrap_or(u32::MAX))
    }

    fn params(&mut self, id: ContextId, node: Option<&Node>) {
        for (at, (key, node)) in node.and_then(Node::map).unwrap_or(&[]).iter().enumerate() {
            let kind = node.get("type").and_then(Node::text).and_then(kind_of).unwrap_or(ParamKind::String);
            let choice = node.get("one_of").is_some();
            if let Some(names) = self.names.get_mut(id.index()) {
                names.params.insert(key.text.clone(), (at, kind, choice));
            }
            let param = self.param(id, at, key, node, kind);
            self.param_rules(&param, node);
            if let Some(context) = self.contexts.get_mut(id.index()) {
                context.params.push(param);
            }
        }
    }

    fn param(&mut self, id: ContextId, at: usize, key: &Key, node: &Node, kind: ParamKind) -> Param {
        let site = Site::of(id, Role::Default(at));
        let default = node.get("default").map(|node| match kind {
            ParamKind::List | ParamKind::Map => self.any(node, site),
            ParamKind::String | ParamKind::Path | ParamKind::Duration | ParamKind::Size if node.written().is_some() => {
                self.written(node, site)
            }
            ParamKind::String | ParamKind::Path | ParamKind::Duration | ParamKind::Size => self.any(node, site),
            ParamKind::Integer | ParamKind::Number | ParamKind::Boolean => self.any(node, site),
        });
        let texts = matches!(kind, ParamKind::String | ParamKind::Path | ParamKind::Duration | ParamKind::Size);
        let choice = |node: &Node| match node.written() {
            Some(text) if texts => serde_json::Value::String(text.to_owned()),
            _ => node.json(),
        };
        Param {
            name: key.text.clone(),
            kind,
            default,
            help: node.get("help").and_then(Node::text).unwrap_or_default().to_owned(),
            one_of: node.get("one_of").and_then(Node::list).unwrap_or(&[]).iter().map(choice).collect(),
            min: self.bound("min", node, kind),
            max: self.bound("max", node, kind),
            pattern: node
                .get("pattern")
                .and_then(Node::text)
                .filter(|text| regex::Regex::new(text).is_ok())
                .map(str::to_owned),
            place: self.sources.place(key.span),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a limit beyond 2^53 need not be exact")]
    fn bound(&mut self, name: &str, param: &Node, kind: ParamKind) -> Option<f64> {
        let node = param.get(name)?;
        let text = node.written().unwrap_or_default();
        let read = match kind {
            ParamKind::Integer | ParamKind::Number => node.json().as_f64().ok_or_else(|| "write a number".to_owned()),
            ParamKind::Duration => quantity::duration_ms(text).map(|ms| ms as f64 / 1000.0),
            ParamKind::Size => quantity::size_bytes(text).map(|bytes| bytes as f64),
            ParamKind::String | ParamKind::Boolean | ParamKind::Path | ParamKind::List | ParamKind::Map => {
                Err("only numbers, durations and sizes have limits".to_owned())
            }
        };
        match read {
            Ok(bound) => Some(bound),
            Err(help) => {
                let fault =
                    Diagnostic::error(codes::BAD_VALUE, node.span, format!("`{name}` cannot be {}", node.describe()));
                self.fault(fault.label("cannot be compared with the param's values").help(help));
                None
            }
        }
    }

    /// A default without templates is held to the param's own rules here and now.
    fn param_rules(&mut self, param: &Param, node: &Node) {
        let Some(default) = node.get("default").filter(|node| node.is_known()) else { return };
        let Some(Tree::Value(value)) = &param.default else { return };
        if let Err(problem) = params::accept(param, value) {
            let fault = Diagnostic::error(
                codes::BAD_DEFAULT,
                default.span,
                format!("the default of `{}` {}", param.name, problem.message),
            );
            self.fault(fault.label("breaks the param's own rules").maybe_help(problem.help));
        }
    }

    fn secrets(&mut self, id: ContextId, node: Option<&Node>) {
        for (key, node) in node.and_then(Node::map).unwrap_or(&[]) {
            let entries = node.map().unwrap_or(&[]);
            let site = Site::of(id, Role::Start);
            let mut found: Vec<SecretSource> = Vec::new();
            for (name, value) in entries {
                match name.text.as_str() {
                    "env" => found.push(SecretSource::Env(value.text().unwrap_or_default().to_owned())),
                    "file" => found.push(SecretSource::File(self.text(value, site))),
                    "command" => found.push(SecretSource::Command(self.text(value, site))),
                    _ => {}
                }
            }
            if let Some(names) = self.names.get_mut(id.index()) {
                names.secrets.insert(key.text.clone());
            }
            if found.len() != 1 && entries.iter().all(|(name, _)| name.text != "aws_secret") {
                let message = format!("the secret `{}` needs exactly one source", key.text);
                self.fault(
                    Diagnostic::error(codes::MISSING_KEY, key.span, message)
                        .label("from where?")
                        .help("give `env`, `file` or `command`"),
                );
            }
            let Some(source) = found.pop() else { continue };
            let place = self.sources.place(key.span);
            if let Some(context) = self.contexts.get_mut(id.index()) {
                context.secrets.push(SecretDef { name: key.text.clone(), source, place });
            }
        }
    }

    fn read_pools(&mut self, id: ContextId, node: Option<&Node>) {
        for (key, node) in node.and_then(Node::map).unwrap_or(&[]) {
            let node = node.get("size").unwrap_or(node);
            if node.map().is_some() {
                continue;
            }
            if node.json().as_f64().is_some_and(|size| size < 1.0 || size.fract() != 0.0) {
                let fault = Diagnostic::error(
                    codes::OUT_OF_RANGE,
                    node.span,
                    format!("the pool `{}` cannot have {} units", key.text, node.written().unwrap_or_default()),
                );
                self.fault(fault.label("out of its range").help("write a whole number of at least 1"));
            }
            let size = self.any(node, Site::of(id, Role::Size));
            let pool = PoolId(u32::try_from(self.pools.len()).unwrap_or(u32::MAX));
            let place = self.sources.place(key.span);
            self.pools.push(Pool { name: key.text.clone(), context: id, size, place });
            if let Some(names) = self.names.get_mut(id.index()) {
                names.pools.insert(key.text.clone(), pool);
            }
        }
    }
}

fn kind_of(word: &str) -> Option<ParamKind> {
    Some(match word {
        "string" => ParamKind::String,
        "integer" => ParamKind::Integer,
        "number" => ParamKind::Number,
        "boolean" => ParamKind::Boolean,
        "path" => ParamKind::Path,
        "duration" => ParamKind::Duration,
        "size" => ParamKind::Size,
        "list" => ParamKind::List,
        "map" => ParamKind::Map,
        _ => return None,
    })
}
