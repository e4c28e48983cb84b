//! The helpers: what may stand first in an expression.
//! Unaware of names. Values arrive evaluated; only `default`, `and` and `or` evaluate as far as they need.

use super::eval::{self, Env, fault, kind_of, shown, write_scalar};
use super::ir::{Call, Expr};
use super::{RenderFault, text_helpers};
use crate::plan::seal;
use handlebars::template::{Parameter, Subexpression};
use handlebars::{Context, Handlebars, RenderContext};
use regex::Regex;
use serde_json::Value;
use std::sync::OnceLock;

/// A helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helper {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
    And,
    Or,
    Not,
    Len,
    Default,
    Json,
    Sh,
    OptionFile,
    Join,
    Basename,
    Date,
    Bytes,
    RegexReplace,
    Lookup,
}

/// Name, fewest and most values, how it is written.
type Entry = (Helper, &'static str, usize, usize, &'static str);

const HELPERS: [Entry; 20] = [
    (Helper::Eq, "eq", 2, 2, "eq A B"),
    (Helper::Ne, "ne", 2, 2, "ne A B"),
    (Helper::Gt, "gt", 2, 2, "gt A B"),
    (Helper::Gte, "gte", 2, 2, "gte A B"),
    (Helper::Lt, "lt", 2, 2, "lt A B"),
    (Helper::Lte, "lte", 2, 2, "lte A B"),
    (Helper::And, "and", 1, 32, "and A B"),
    (Helper::Or, "or", 1, 32, "or A B"),
    (Helper::Not, "not", 1, 1, "not A"),
    (Helper::Len, "len", 1, 1, "len LIST"),
    (Helper::Default, "default", 2, 32, "default NAME VALUE"),
    (Helper::Json, "json", 1, 1, "json VALUE"),
    (Helper::Sh, "sh", 1, 1, "sh VALUE"),
    (Helper::OptionFile, "option_file", 1, 1, "option_file TEXT"),
    (Helper::Join, "join", 1, 2, "join LIST \",\""),
    (Helper::Basename, "basename", 1, 2, "basename PATH \".sql\""),
    (Helper::Date, "date", 1, 2, "date run.started \"%Y-%m-%d\" zone=\"UTC\""),
    (Helper::Bytes, "bytes", 1, 1, "bytes NUMBER"),
    (Helper::RegexReplace, "regex_replace", 3, 3, "regex_replace TEXT \"PATTERN\" \"REPLACEMENT\""),
    (Helper::Lookup, "lookup", 2, 2, "lookup MAP KEY"),
];

impl Helper {
    pub(super) fn named(name: &str) -> Option<Self> {
        HELPERS.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }

    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        HELPERS.iter().map(|entry| entry.1)
    }

    fn entry(self) -> Option<&'static Entry> {
        HELPERS.iter().find(|entry| entry.0 == self)
    }

    pub(super) fn name(self) -> &'static str {
        self.entry().map_or("", |entry| entry.1)
    }

    /// These may take what holds a secret.
    fn takes_secrets(self) -> bool {
        matches!(self, Self::Json | Self::Sh | Self::OptionFile)
    }
}

/// Whether a call can be right, whatever its values are.
pub(super) fn check(call: &mut Call) -> Result<(), (String, Option<String>)> {
    let Some((helper, name, fewest, most, usage)) = call.helper.entry() else { return Ok(()) };
    let given = call.args.len();
    if given < *fewest || given > *most {
        let wanted = if fewest == most { fewest.to_string() } else { format!("{fewest} to {most}") };
        return Err((
            format!("helper `{name}` takes {wanted} values, and {given} are given"),
            Some(format!("write `{{{{{usage}}}}}`")),
        ));
    }
    let known: &[&str] = if *helper == Helper::Date { &["zone"] } else { &[] };
    if let Some((option, _)) = call.options.iter().find(|(option, _)| !known.contains(&option.as_str())) {
        return Err((format!("helper `{name}` has no option `{option}`"), Some(format!("write `{{{{{usage}}}}}`"))));
    }
    if *helper == Helper::RegexReplace
        && let Some(Expr::Literal(Value::String(pattern))) = call.args.get(1)
    {
        let regex = Regex::new(pattern)
            .map_err(|error| (format!("`{pattern}` is no regular expression: {}", first_line(&error)), None))?;
        call.regex = Some(regex);
    }
    Ok(())
}

/// The last line of the crate's text says what; the lines before draw a picture.
pub(super) fn first_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// The value of a call; none where it is missing and may be.
pub(super) fn call(call: &Call, env: Env<'_>) -> Result<Option<Value>, RenderFault> {
    match call.helper {
        Helper::Default => return default(call, env),
        Helper::Lookup => return lookup(call, env),
        Helper::And => return all(call, env, true).map(Some),
        Helper::Or => return all(call, env, false).map(Some),
        Helper::Not => return call.args.first().map(|arg| env.truth(arg).map(|truth| Value::Bool(!truth))).transpose(),
        _ => {}
    }
    let mut args = Vec::with_capacity(call.args.len());
    for arg in &call.args {
        args.push(taken(call, env.value(arg)?, arg)?);
    }
    strict(call, &args)?;
    let first = args.first().unwrap_or(&Value::Null);
    let result = match call.helper {
        Helper::Json => Ok(Value::String(seal::json(first))),
        Helper::Sh => text_helpers::sh(first).map(Value::String),
        Helper::OptionFile => text_helpers::option_file(first).map(Value::String),
        Helper::Join => text_helpers::join(first, args.get(1)),
        Helper::Basename => text_helpers::basename(first, args.get(1)),
        Helper::Bytes => text_helpers::bytes(first),
        Helper::RegexReplace => text_helpers::regex_replace(call.regex.as_ref(), &args),
        Helper::Date => {
            let zone = call.options.first().map(|(_, zone)| env.value(zone)).transpose()?;
            text_helpers::date(first, args.get(1), zone.as_ref())
        }
        _ => compare(call.helper, args),
    };
    result.map(Some).map_err(|message| fault(call.offset, format!("helper `{}`: {message}", call.helper.name()), None))
}

/// Keeps secrets out of helpers that would take them apart.
fn taken(call: &Call, value: Value, arg: &Expr) -> Result<Value, RenderFault> {
    if call.helper.takes_secrets() || !seal::is_sealed(&value) {
        return Ok(value);
    }
    let help = "a secret may be written out or passed to `sh`, `json`, `option_file`";
    Err(fault(
        arg.offset(),
        format!("{} is secret, and helper `{}` does not take secrets", shown(arg), call.helper.name()),
        Some(help.into()),
    ))
}

fn default(call: &Call, env: Env<'_>) -> Result<Option<Value>, RenderFault> {
    let mut found = None;
    for arg in &call.args {
        found = env.find(arg)?.map(|value| taken(call, value, arg)).transpose()?;
        if found.as_ref().is_some_and(|value| !value.is_null()) {
            break;
        }
    }
    Ok(found)
}

fn lookup(call: &Call, env: Env<'_>) -> Result<Option<Value>, RenderFault> {
    let [collection, key] = call.args.as_slice() else { return Ok(None) };
    let (value, at) = (taken(call, env.value(collection)?, collection)?, taken(call, env.value(key)?, key)?);
    let mut part = String::new();
    if !write_scalar(&at, &mut part) {
        return Err(fault(
            key.offset(),
            format!("helper `lookup`: {} is {}, and a key is a text or a number", shown(key), kind_of(&at)),
            None,
        ));
    }
    if !value.is_array() && !value.is_object() {
        let message = format!("helper `lookup`: {} is {}, not a map or a list", shown(collection), kind_of(&value));
        return Err(fault(collection.offset(), message, None));
    }
    match eval::index(&value, std::slice::from_ref(&part)) {
        Some(found) => Ok(Some(found.clone())),
        None if call.optional => Ok(None),
        None => {
            let help = value.as_object().and_then(|map| {
                nearest(&part, map.keys().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
            });
            Err(fault(call.offset, format!("{} has no `{part}`", shown(collection)), help))
        }
    }
}

/// `and` ends at the first that is false, `or` at the first that is true.
fn all(call: &Call, env: Env<'_>, wanted: bool) -> Result<Value, RenderFault> {
    for arg in &call.args {
        if env.truth(arg)? != wanted {
            return Ok(Value::Bool(!wanted));
        }
    }
    Ok(Value::Bool(wanted))
}

/// Handlebars answers these with false or 0; that hides a mistake.
fn strict(call: &Call, args: &[Value]) -> Result<(), RenderFault> {
    let problem = match (call.helper, args) {
        (Helper::Len, [value]) if !value.is_array() && !value.is_object() && !value.is_string() => {
            Some(format!("{} has no length", kind_of(value)))
        }
        (Helper::Gt | Helper::Gte | Helper::Lt | Helper::Lte, [a, b]) if !comparable(a, b) => {
            Some(format!("{} and {} have no order", kind_of(a), kind_of(b)))
        }
        _ => None,
    };
    match problem {
        Some(problem) => Err(fault(call.offset, format!("helper `{}`: {problem}", call.helper.name()), None)),
        None => Ok(()),
    }
}

fn comparable(a: &Value, b: &Value) -> bool {
    let number = |text: &str| text.parse::<serde_json::Number>().is_ok();
    match (a, b) {
        (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_))
        | (Value::Bool(_), Value::Bool(_)) => true,
        (Value::Number(_), Value::String(text)) | (Value::String(text), Value::Number(_)) => number(text),
        _ => false,
    }
}

/// The crate's own comparisons, on values that are known.
fn compare(helper: Helper, args: Vec<Value>) -> Result<Value, String> {
    static REGISTRY: OnceLock<(Handlebars<'static>, Context)> = OnceLock::new();
    let (registry, context) = REGISTRY.get_or_init(|| {
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.register_escape_fn(handlebars::no_escape);
        registry.unregister_helper("log");
        (registry, Context::null())
    });
    let params = args.into_iter().map(Parameter::Literal).collect();
    let call = Parameter::Subexpression(Subexpression::new(
        Parameter::Name(helper.name().to_owned()),
        params,
        Default::default(),
    ));
    let mut render = RenderContext::new(None);
    call.expand(registry, context, &mut render).map(|value| value.value().clone()).map_err(|error| error.to_string())
}

/// The nearest of some names, if it is near.
pub(super) fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let far = (name.chars().count() / 3).max(1);
    names
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Names for a message.
pub(super) fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
