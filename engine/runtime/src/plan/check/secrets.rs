//! Secrets stay secret, and text from outside does not become a part of a script by accident.
//! Unaware of how anything is masked.

use super::build::{Builder, Role, Use};
use crate::plan::codes;
use crate::plan::diagnostic::Diagnostic;
use crate::plan::model::ParamKind;

/// Helpers that may see a secret: their output can still be masked and sealed.
const MAY_SEE: &[&str] = &["sh", "json", "option_file"];
/// Helpers whose output is safe in a script, or no part of it.
const SAFE_IN_SCRIPT: &[&str] = &[
    "sh",
    "eq",
    "ne",
    "gt",
    "gte",
    "lt",
    "lte",
    "and",
    "or",
    "not",
    "len",
    "if",
    "unless",
    "each",
    "with",
    "bytes",
    "date",
    "option_file",
];

impl Builder<'_> {
    pub(super) fn check_secrecy(&mut self, one: &Use) {
        let root = one.reference.path.first().map_or("", String::as_str);
        match root {
            "secrets" => self.secret(one),
            _ if one.site.role == Role::Script && self.untrusted(one, root) => self.pasted(one),
            _ => {}
        }
    }

    fn secret(&mut self, one: &Use) {
        let name = one.reference.path.get(1).cloned().unwrap_or_default();
        let helper = one.reference.helper.as_deref();
        if helper.is_some_and(|helper| !MAY_SEE.contains(&helper)) || (helper.is_none() && !one.reference.plain) {
            let by = helper.map_or_else(String::new, |helper| format!(" to `{helper}`"));
            let message = format!("the secret `{name}` cannot be passed{by}: what comes out could not be masked");
            return self.secret_fault(
                one,
                message,
                "interpolate it as it is, or pass it to `sh`, `json` or `option_file`",
            );
        }
        match one.site.role {
            Role::Output => self.secret_fault(
                one,
                format!("the secret `{name}` would be handed out and stored"),
                "hand out something else; whoever needs the secret names it under `secrets`",
            ),
            Role::Stored | Role::Size | Role::Default(_) => {
                self.secret_fault(
                    one,
                    format!("the secret `{name}` would be stored and shown here"),
                    "use a param, or pass the secret to the step by `env`",
                );
            }
            Role::Start => self.secret_fault(
                one,
                format!("the secret `{name}` cannot be used here"),
                "give it to the `env` of the steps that need it",
            ),
            Role::Script => self.visible(
                one,
                &name,
                "as a part of the script",
                "pass it by `env`, and write `\"$NAME\"` in the script",
            ),
            Role::Argument => self.visible(
                one,
                &name,
                "as an argument",
                "pass it by `env`, or by a file that `file.template` writes under `run.private`",
            ),
            Role::Value | Role::Gate | Role::Need => {}
        }
    }

    fn secret_fault(&mut self, one: &Use, message: String, help: &str) {
        self.fault(Diagnostic::error(codes::SECRET_USE, one.span, message).label("a secret").help(help));
    }

    fn visible(&mut self, one: &Use, name: &str, how: &str, help: &str) {
        let message = format!("everybody on the machine can see the secret `{name}` in `ps`, {how}");
        self.fault(Diagnostic::warning(codes::VISIBLE_SECRET, one.span, message).label("a secret").help(help));
    }

    /// Text that nobody here wrote, and that no helper has made safe.
    fn untrusted(&self, one: &Use, root: &str) -> bool {
        let safe = one.reference.helper.as_deref().is_some_and(|helper| SAFE_IN_SCRIPT.contains(&helper));
        if safe || !matches!(root, "params" | "steps" | "item" | "item_key" | "env") {
            return false;
        }
        if root == "steps" && one.reference.path.get(2).is_some_and(|output| output == "state") {
            return false;
        }
        let name = one.reference.path.get(1);
        let names = self.names.get(one.site.context.index());
        if root != "params" {
            return true;
        }
        // A param that does not exist was reported as such.
        name.and_then(|name| names?.params.get(name)).is_some_and(|(_, kind, choice)| !*choice && !is_harmless(*kind))
    }

    fn pasted(&mut self, one: &Use) {
        let words = one.reference.path.join(".");
        let message =
            format!("`{words}` is pasted into a script: a blank, a quote or a `;` in it would be a part of the script");
        self.fault(
            Diagnostic::warning(codes::PASTED_TEXT, one.span, message)
                .label("pasted as it is")
                .help(format!("take it through `env` and write `\"$NAME\"`, or quote it: `{{{{sh {words}}}}}`")),
        );
    }
}

/// Values of these types cannot hold anything that a shell would act upon.
fn is_harmless(kind: ParamKind) -> bool {
    match kind {
        ParamKind::Integer | ParamKind::Number | ParamKind::Boolean | ParamKind::Duration | ParamKind::Size => true,
        ParamKind::String | ParamKind::Path | ParamKind::List | ParamKind::Map => false,
    }
}
