//! Whether the names in templates exist, except those of steps.
//! Unaware of edges.

use super::build::{Builder, Role, Use};
use crate::plan::codes;
use crate::plan::diagnostic::{Diagnostic, did_you_mean, listed};

const ROOTS: &[&str] = &["params", "secrets", "steps", "item", "item_key", "run", "plan", "host", "env"];
const RUN: &[&str] = &["id", "started", "dir", "private", "state"];
const PLAN: &[&str] = &["name", "dir"];
const HOST: &[&str] = &["name", "cpus", "memory"];

impl Builder<'_> {
    /// Looks at every use of a name that was noted.
    pub(super) fn resolve(&mut self) {
        for one in std::mem::take(&mut self.uses) {
            self.used(&one);
            self.check_secrecy(&one);
        }
    }

    fn used(&mut self, one: &Use) {
        let root = one.reference.path.first().map_or("", String::as_str);
        match root {
            "steps" => self.use_step(one),
            "params" => self.use_param(one),
            "secrets" => self.use_secret(one),
            "item" | "item_key" => self.use_item(one, root),
            "run" => self.use_run(one),
            "plan" => self.fixed(one, PLAN),
            "host" => self.fixed(one, HOST),
            "env" => {}
            _ => self.unknown_root(one, root),
        }
    }

    fn unknown_root(&mut self, one: &Use, root: &str) {
        let help = did_you_mean(root, ROOTS.iter().copied());
        let context = self.names.get(one.site.context.index());
        let param =
            context.filter(|names| names.params.contains_key(root)).map(|_| format!("did you mean `params.{root}`?"));
        let help = param.or(help).unwrap_or_else(|| format!("names begin with {}", listed(ROOTS.iter().copied(), 20)));
        self.unknown(one, &format!("`{root}`"), help);
    }

    fn unknown(&mut self, one: &Use, what: &str, help: String) {
        let fault =
            Diagnostic::error(codes::UNKNOWN_NAME, one.span, format!("{what} does not exist")).label("no such name");
        self.fault(fault.help(help));
    }

    /// A name that exists and cannot be used at this place.
    pub(super) fn not_here(&mut self, one: &Use, message: String, help: &str) {
        self.fault(Diagnostic::error(codes::NOT_HERE, one.span, message).label("not here").help(help));
    }

    fn use_param(&mut self, one: &Use) {
        let Some(name) = one.reference.path.get(1) else { return };
        let Some(names) = self.names.get(one.site.context.index()) else { return };
        match (names.params.get(name), one.site.role) {
            (Some((at, ..)), Role::Default(own)) if *at >= own => {
                let message = if *at == own {
                    format!("the default of `{name}` names itself")
                } else {
                    format!("`params.{name}` is not known here yet")
                };
                self.not_here(one, message, "a default sees only the params that stand before it");
            }
            (Some(_), _) => {}
            (None, _) => {
                let known: Vec<&str> = names.params.keys().map(String::as_str).collect();
                let help = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| named("params", &known));
                self.unknown(one, &format!("`params.{name}`"), help);
            }
        }
    }

    fn use_secret(&mut self, one: &Use) {
        let Some(name) = one.reference.path.get(1) else { return };
        let Some(names) = self.names.get(one.site.context.index()) else { return };
        if !names.secrets.contains(name) {
            let known: Vec<&str> = names.secrets.iter().map(String::as_str).collect();
            let help = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| named("secrets", &known));
            self.unknown(one, &format!("`secrets.{name}`"), help);
        }
    }

    fn use_item(&mut self, one: &Use, root: &str) {
        match one.site.role {
            Role::Gate => self.not_here(
                one,
                format!("a gate does not see `{root}`: it is one for all items"),
                "use `unless` or `when` of the step",
            ),
            _ if one.site.item => {}
            Role::Value
            | Role::Script
            | Role::Argument
            | Role::Stored
            | Role::Output
            | Role::Size
            | Role::Default(_)
            | Role::Start
            | Role::Need => {
                self.not_here(
                    one,
                    format!("`{root}` means something only where a step has `for_each`"),
                    "give the step `for_each`, or put it into a group that has it",
                );
            }
        }
    }

    fn use_run(&mut self, one: &Use) {
        let early = matches!(one.site.role, Role::Size | Role::Default(_));
        match one.reference.path.get(1).map(String::as_str) {
            Some("state") if !one.site.finally => {
                self.not_here(one, "`run.state` is known only at the end".to_owned(), "use it in a step of `finally`");
            }
            Some("dir" | "private") if early => {
                self.not_here(one, "the run has no folder before it starts".to_owned(), "use `plan.dir`, or a param");
            }
            _ => self.fixed(one, RUN),
        }
    }

    fn fixed(&mut self, one: &Use, known: &[&str]) {
        let root = one.reference.path.first().map_or("", String::as_str);
        match one.reference.path.get(1) {
            Some(name) if known.contains(&name.as_str()) => {}
            Some(name) => {
                let help = did_you_mean(name, known.iter().copied())
                    .unwrap_or_else(|| format!("there is {}", dotted(root, known)));
                self.unknown(one, &format!("`{root}.{name}`"), help);
            }
            None => self.unknown(one, &format!("`{root}` alone"), format!("there is {}", dotted(root, known))),
        }
    }
}

fn dotted(root: &str, known: &[&str]) -> String {
    let names: Vec<String> = known.iter().map(|name| format!("{root}.{name}")).collect();
    listed(names.iter().map(String::as_str), 10)
}

fn named(key: &str, known: &[&str]) -> String {
    let mut known = known.to_vec();
    known.sort_unstable();
    if known.is_empty() {
        format!("name it under `{key}` of the plan")
    } else {
        format!("the plan's `{key}` are {}", listed(known, 12))
    }
}
