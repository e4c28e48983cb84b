//! What a step does: a script, a program, a step type, a plan, a wait or a group.
//! Unaware of names and edges.

use super::build::{Builder, Role, Site};
use super::step::{Keys, Outer};
use super::subplan;
use crate::plan::codes;
use crate::plan::diagnostic::{Diagnostic, did_you_mean, listed};
use crate::plan::keys::STDOUT;
use crate::plan::model::Body;
use crate::plan::node::{Node, Value};
use crate::plan::template::Tree;
use flowrun_core::plan::StepId;
use serde_json::Value as Json;

/// The kinds of step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Run,
    Exec,
    Type,
    Plan,
    Wait,
    Group,
}

const KINDS: &[&str] = &["run", "exec", "uses", "wait", "steps"];

impl What {
    /// It has attempts of its own.
    pub(super) fn works(self) -> bool {
        matches!(self, Self::Run | Self::Exec | Self::Type)
    }

    fn title(self) -> &'static str {
        match self {
            Self::Run => "a step with `run`",
            Self::Exec => "a step with `exec`",
            Self::Type => "a step with `uses`",
            Self::Plan => "a step that calls a plan",
            Self::Wait => "a step with `wait`",
            Self::Group => "a group",
        }
    }

    /// Whether a key means something here, and if not, what to do.
    fn refuses(self, key: &str) -> Option<&'static str> {
        match key {
            "shell" if self != Self::Run => Some("only `run` has a shell"),
            "ok_exit" | "progress" | "wait_all" if !matches!(self, Self::Run | Self::Exec) => {
                Some("it goes with `run` or `exec`")
            }
            "with" if !matches!(self, Self::Type | Self::Plan) => Some("it goes with `uses`"),
            "outputs" if matches!(self, Self::Type | Self::Plan | Self::Wait) => {
                Some("outputs are declared for `run`, `exec` and groups; a step type hands out its own")
            }
            "gates" if self == Self::Wait => Some("name the gates under `wait`"),
            "gates" | "pool" | "retry" | "grace" | "signal" | "on_lost" | "background" | "ready" | "env" | "dir"
            | "unless"
                if !self.works() =>
            {
                Some(match self {
                    Self::Group | Self::Plan => "give it to the steps inside",
                    Self::Run | Self::Exec | Self::Type | Self::Wait => {
                        "a wait starts nothing; give it to the steps that need this one"
                    }
                })
            }
            "timeout" if matches!(self, Self::Group | Self::Plan) => Some("give it to the steps inside"),
            _ => None,
        }
    }
}

impl Builder<'_> {
    /// Which kind of step it is: exactly one key says so.
    pub(super) fn what(&mut self, keys: Keys<'_>) -> Option<What> {
        let mut found = KINDS.iter().filter_map(|kind| keys.entry(kind).map(|(key, _)| (*kind, key)));
        let name = &keys.key.text;
        match (found.next(), found.next()) {
            (Some((kind, _)), None) => Some(match kind {
                "run" => What::Run,
                "exec" => What::Exec,
                "wait" => What::Wait,
                "steps" => What::Group,
                _ if keys.get("uses").and_then(Node::text).is_some_and(subplan::is_path) => What::Plan,
                _ => What::Type,
            }),
            (Some((first, at)), Some((second, key))) => {
                let message = format!("step `{name}` has both `{first}` and `{second}`");
                let fault = Diagnostic::error(codes::BODY, key.span, message)
                    .label("a second thing to do")
                    .also(at.span, "the first");
                self.fault(fault.help("make two steps of it"));
                None
            }
            (None, _) => {
                let message = format!("step `{name}` does nothing");
                let help = format!("give it one of {}", listed(KINDS.iter().copied(), 9));
                self.fault(Diagnostic::error(codes::BODY, keys.key.span, message).label("what does it do?").help(help));
                None
            }
        }
    }

    /// Keys that mean nothing together with what the step does.
    pub(super) fn misplaced(&mut self, keys: Keys<'_>, what: What) {
        for (key, _) in keys.node.map().unwrap_or(&[]) {
            let needs = match key.text.as_str() {
                "key" | "largest_first" | "max_parallel" | "max_failures" if keys.get("for_each").is_none() => {
                    Some("it goes with `for_each`")
                }
                "ready" if keys.truth("background") != Some(true) && what.works() => {
                    Some("it goes with `background: true`")
                }
                name => what.refuses(name),
            };
            if let Some(help) = needs {
                let message = format!("`{}` does not fit {}", key.text, what.title());
                self.fault(
                    Diagnostic::error(codes::MISPLACED_KEY, key.span, message).label("does not fit here").help(help),
                );
            }
        }
    }

    pub(super) fn body(&mut self, id: StepId, what: What, keys: Keys<'_>, site: Site, outer: Outer<'_>) -> Body {
        match what {
            What::Run => self.run_body(id, keys, site),
            What::Exec => self.exec_body(id, keys, site),
            What::Type => self.type_body(id, keys, site),
            What::Plan => self.plan_body(id, keys, site),
            What::Wait => self.wait_body(id, keys, site),
            What::Group => self.group_body(id, keys, site, outer),
        }
    }

    fn run_body(&mut self, id: StepId, keys: Keys<'_>, site: Site) -> Body {
        let Some(node) = keys.get("run") else { return Body::Wait };
        let mut with = vec![("script".to_owned(), Tree::Text(self.text(node, site.as_role(Role::Script))))];
        if let Some(shell) = keys.or_default("shell") {
            with.push(("shell".to_owned(), Tree::Value(self.shell(shell))));
        }
        let open = node.text().is_some_and(mentions_output);
        self.common(id, keys, open, &mut with);
        Body::Leaf { uses: "shell".to_owned(), with: Tree::Map(with) }
    }

    fn exec_body(&mut self, id: StepId, keys: Keys<'_>, site: Site) -> Body {
        let Some((key, node)) = keys.entry("exec") else { return Body::Wait };
        let words = node.list().unwrap_or(&[]);
        if words.is_empty() && node.list().is_some() {
            self.fault(
                Diagnostic::error(codes::BODY, key.span, "`exec` names no program")
                    .label("an empty list")
                    .help("write `exec: [program, argument, ...]`"),
            );
        }
        let argv = words.iter().map(|node| self.written(node, site.as_role(Role::Argument))).collect();
        let mut with = vec![("argv".to_owned(), Tree::List(argv))];
        let open = words.iter().filter_map(Node::text).any(mentions_output);
        self.common(id, keys, open, &mut with);
        Body::Leaf { uses: "exec".to_owned(), with: Tree::Map(with) }
    }

    /// The inputs that `shell` and `exec` share.
    fn common(&mut self, id: StepId, keys: Keys<'_>, open: bool, with: &mut Vec<(String, Tree)>) {
        if let Some(node) = keys.get("ok_exit") {
            let one = std::slice::from_ref(node);
            let codes: Json = node.list().unwrap_or(one).iter().map(Node::json).collect();
            with.push(("ok_exit".to_owned(), Tree::Value(codes)));
        }
        let declared = keys.get("outputs").and_then(Node::map).unwrap_or(&[]);
        for (_, node) in declared {
            if let crate::plan::keys::Kind::Object(table) = STDOUT {
                super::shape::Shape { faults: &mut self.faults }.object(node, table);
            }
        }
        if let Some(node) = keys.get("outputs").filter(|node| node.map().is_some()) {
            with.push(("outputs".to_owned(), Tree::Value(node.json())));
        }
        if let Some(pattern) = keys.get("progress").and_then(Node::text) {
            with.push(("progress".to_owned(), Tree::Value(Json::from(pattern))));
        }
        if let Some(all) = keys.truth("wait_all") {
            with.push(("wait_all".to_owned(), Tree::Value(Json::from(all))));
        }
        if let Some(meta) = self.metas.get_mut(id.index()) {
            meta.outputs = (!open).then(|| declared.iter().map(|(key, _)| key.text.clone()).collect());
        }
    }

    fn shell(&mut self, node: &Node) -> Json {
        match &node.value {
            Value::Text(text) => {
                let words = shlex::split(text).filter(|words| !words.is_empty());
                if words.is_none() {
                    let fault =
                        Diagnostic::error(codes::BAD_VALUE, node.span, format!("`{text}` is not a command line"))
                            .label("cannot be split into words");
                    self.fault(fault.help("close its quotes, or write a list of words"));
                }
                words.unwrap_or_default().into()
            }
            Value::Null | Value::Plain(_) | Value::List(_) | Value::Map(_) | Value::Broken => node.json(),
        }
    }

    fn type_body(&mut self, id: StepId, keys: Keys<'_>, site: Site) -> Body {
        let Some(node) = keys.get("uses") else { return Body::Wait };
        let uses = node.text().unwrap_or_default().to_owned();
        let with = keys.get("with");
        let tree = self.inputs_tree(&uses, with, site);
        match self.registry.get(&uses) {
            Some(step) => {
                let info = step.info().clone();
                self.check_inputs(&info, node.span, with);
                if let Some(meta) = self.metas.get_mut(id.index()) {
                    meta.outputs = super::inputs::outputs(&info.output);
                }
            }
            None if node.text().is_some() => self.unknown_type(node, &uses),
            None => {}
        }
        Body::Leaf { uses, with: tree }
    }

    fn inputs_tree(&mut self, uses: &str, with: Option<&Node>, site: Site) -> Tree {
        let entries = with.and_then(Node::map).unwrap_or(&[]);
        let role = |key: &str| match (uses, key) {
            ("shell", "script") => Role::Script,
            ("exec", "argv") => Role::Argument,
            _ => Role::Value,
        };
        Tree::Map(
            entries
                .iter()
                .map(|(key, node)| (key.text.clone(), self.any(node, site.as_role(role(&key.text)))))
                .collect(),
        )
    }

    fn unknown_type(&mut self, node: &Node, uses: &str) {
        let names: Vec<&str> = self.registry.iter().map(|step| step.info().name).collect();
        let help = did_you_mean(uses, names.iter().copied());
        let help = help.unwrap_or_else(|| {
            "`flowrun steps` lists the step types; a plan is called by its path, such as `./lib/x.yaml`".to_owned()
        });
        self.fault(
            Diagnostic::error(codes::UNKNOWN_TYPE, node.span, format!("no step type is called `{uses}`"))
                .label("no such step type")
                .help(help),
        );
    }

    fn wait_body(&mut self, id: StepId, keys: Keys<'_>, site: Site) -> Body {
        let gates = keys.entry("wait").map(|(key, node)| self.gates_of(site.context, id, key.span, node));
        if let Some(step) = self.step_mut(id) {
            step.gates = gates.unwrap_or_default();
        }
        if let Some(meta) = self.metas.get_mut(id.index()) {
            meta.outputs = Some(Vec::new());
        }
        Body::Wait
    }

    fn group_body(&mut self, id: StepId, keys: Keys<'_>, site: Site, outer: Outer<'_>) -> Body {
        let outer = Outer { item: site.item, ..outer };
        let steps = keys.get("steps");
        if let Some((key, _)) = keys.entry("steps").filter(|(_, node)| node.map().is_some_and(<[_]>::is_empty)) {
            let message = format!("the group `{}` has no steps", keys.key.text);
            self.fault(
                Diagnostic::error(codes::BODY, key.span, message)
                    .label("an empty group")
                    .help("give it steps, or take it away"),
            );
        }
        let block = self.block(outer, Some(id), steps, None);
        let outputs = self.outputs(keys.get("outputs"), Site { block: Some(block), ..site.as_role(Role::Output) });
        let names = outputs.iter().map(|(name, _)| name.clone()).collect();
        if let Some(step) = self.step_mut(id) {
            step.outputs = outputs;
        }
        if let Some(meta) = self.metas.get_mut(id.index()) {
            meta.outputs = Some(names);
        }
        Body::Group(block)
    }
}

/// A script that writes `$FLOWRUN_OUTPUT` hands out whatever it likes.
fn mentions_output(text: &str) -> bool {
    text.contains("FLOWRUN_OUTPUT")
}
