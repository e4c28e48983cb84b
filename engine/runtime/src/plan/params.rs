//! The values of a plan's params: given, coerced to their types, held to their rules, or the default.
//! Unaware of where values come from and of YAML.

use super::diagnostic::{did_you_mean, listed};
use super::model::{Context, Param, ParamKind};
use super::quantity;
use super::source::Sources;
use super::template::Scope;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A value as it was given.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// By `--set`: text that becomes what the param's type says; relative paths start at this folder.
    Text {
        /// The text.
        text: String,
        /// The caller's folder.
        dir: PathBuf,
    },
    /// By `--params FILE` or by the step that calls the plan; relative paths start at this folder.
    Value {
        /// The value.
        value: Value,
        /// The folder of the file it stands in.
        dir: PathBuf,
    },
}

impl Given {
    /// What was given, as it is stored.
    #[must_use]
    pub fn value(&self) -> Value {
        match self {
            Self::Text { text, .. } => Value::String(text.clone()),
            Self::Value { value, .. } => value.clone(),
        }
    }
}

/// Why a param has no value that it can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamFault {
    /// Which.
    pub param: String,
    /// What is wrong, whole: ``the param `threads` is a whole number, and `four` is not one``.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl fmt::Display for ParamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParamFault {}

/// Why a value does not fit a param: the rest of a sentence that begins with the param.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What a default may name: the params before it, and whatever else the run's scope knows.
struct Earlier<'a> {
    params: &'a Map<String, Value>,
    outer: &'a dyn Scope,
}

impl Scope for Earlier<'_> {
    fn get(&self, path: &[String]) -> Option<Value> {
        match path.split_first() {
            Some((root, rest)) if root == "params" => {
                let (name, rest) = rest.split_first()?;
                let mut value = self.params.get(name)?;
                for word in rest {
                    value = match value {
                        Value::Object(map) => map.get(word)?,
                        Value::Array(list) => list.get(word.parse::<usize>().ok()?)?,
                        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
                    };
                }
                Some(value.clone())
            }
            _ => self.outer.get(path),
        }
    }

    fn secret(&self, name: &str) -> Option<String> {
        self.outer.secret(name)
    }
}

/// Params as a YAML file gives them.
///
/// # Errors
/// When it cannot be read, or is no map of params.
pub fn from_file(path: &Path) -> Result<Map<String, Value>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let mut sources = Sources::default();
    let id = sources.add(&path.display().to_string(), path, &text);
    let mut faults = Vec::new();
    let node = sources.get(id).and_then(|file| super::yaml::parse(id, file, &mut faults));
    if !faults.is_empty() {
        return Err(faults.iter().map(|fault| fault.render(&sources)).collect::<Vec<_>>().join("\n"));
    }
    match node.map(|node| node.json()) {
        Some(Value::Object(values)) => Ok(values),
        Some(Value::Null) | None => Ok(Map::new()),
        Some(_) => Err(format!("`{}` is no map of params; write `NAME: VALUE` on each line", path.display())),
    }
}

/// The values of all params of a plan, in the plan's order.
///
/// # Errors
/// Everything that is wrong with what was given, and with defaults that are known only now.
pub fn resolve(
    context: &Context,
    given: &BTreeMap<String, Given>,
    scope: &dyn Scope,
) -> Result<Map<String, Value>, Vec<ParamFault>> {
    let mut faults: Vec<ParamFault> = unknown(context, given);
    let mut values = Map::new();
    for param in &context.params {
        match value_of(context, param, given.get(&param.name), &values, scope) {
            Ok(value) => {
                values.insert(param.name.clone(), value);
            }
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(faults) }
}

/// The values of those params that can be known by now; the others are left out.
#[must_use]
pub fn known(context: &Context, given: &BTreeMap<String, Given>, scope: &dyn Scope) -> Map<String, Value> {
    let mut values = Map::new();
    for param in &context.params {
        if let Ok(value) = value_of(context, param, given.get(&param.name), &values, scope) {
            values.insert(param.name.clone(), value);
        }
    }
    values
}

fn unknown(context: &Context, given: &BTreeMap<String, Given>) -> Vec<ParamFault> {
    let names: Vec<&str> = context.params.iter().map(|param| param.name.as_str()).collect();
    let strangers = given.keys().filter(|name| !names.contains(&name.as_str()));
    let fault = |name: &String| {
        let help = did_you_mean(name, names.iter().copied());
        let help = help.unwrap_or_else(|| {
            if names.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", listed(names.iter().copied(), 12))
            }
        });
        ParamFault {
            param: name.clone(),
            message: format!("the plan `{}` has no param `{name}`", context.name),
            help: Some(help),
        }
    };
    strangers.map(fault).collect()
}

fn value_of(
    context: &Context,
    param: &Param,
    given: Option<&Given>,
    before: &Map<String, Value>,
    outer: &dyn Scope,
) -> Result<Value, ParamFault> {
    let fault = |problem: Problem| ParamFault {
        param: param.name.clone(),
        message: format!("the param `{}` {}", param.name, problem.message),
        help: problem.help,
    };
    let (value, dir) = match (given, &param.default) {
        (Some(Given::Text { text, dir }), _) => (from_text(param.kind, text), dir.as_path()),
        (Some(Given::Value { value, dir }), _) => (value.clone(), dir.as_path()),
        (None, Some(default)) => {
            let scope = Earlier { params: before, outer };
            let value = default.render(&scope).map_err(|why| {
                fault(Problem { message: format!("has a default without a value: {}", why.message), help: why.help })
            })?;
            (value, context.dir.as_path())
        }
        (None, None) => {
            let problem =
                Problem::new("is not given, and has no default").help(format!("give it: `--set {}=...`", param.name));
            return Err(fault(problem));
        }
    };
    let value = accept(param, &value).map_err(fault)?;
    Ok(if param.kind == ParamKind::Path { absolute(value, dir) } else { value })
}

/// What a text of `--set` stands for. A text that does not fit its type stays a text, and is refused as one.
fn from_text(kind: ParamKind, text: &str) -> Value {
    let as_text = || Value::String(text.to_owned());
    match kind {
        ParamKind::String | ParamKind::Path | ParamKind::Duration | ParamKind::Size => as_text(),
        ParamKind::Integer | ParamKind::Number => match super::node::plain(text.trim()) {
            value @ Value::Number(_) => value,
            _ => as_text(),
        },
        ParamKind::Boolean => match text.trim() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => as_text(),
        },
        ParamKind::List => match serde_json::from_str(text) {
            Ok(value @ Value::Array(_)) => value,
            _ => text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect(),
        },
        ParamKind::Map => serde_json::from_str(text).unwrap_or_else(|_| as_text()),
    }
}

fn absolute(value: Value, dir: &Path) -> Value {
    match value {
        Value::String(path) if !path.is_empty() => Value::String(dir.join(path).display().to_string()),
        other => other,
    }
}

/// The value as the param's type has it, held to the param's rules.
pub(super) fn accept(param: &Param, value: &Value) -> Result<Value, Problem> {
    let value = typed(param.kind, value)?;
    if !param.one_of.is_empty() && !param.one_of.contains(&value) {
        return Err(choice(param, &value));
    }
    if let Some(pattern) = &param.pattern {
        let text = value.as_str().unwrap_or_default();
        // The pattern was read when the plan was checked; one that cannot be read matches nothing.
        if !regex::Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(text)) {
            return Err(Problem::new(format!("cannot be {}", show(&value)))
                .help(format!("the whole text must match `{pattern}`")));
        }
    }
    limits(param, &value)?;
    Ok(value)
}

fn choice(param: &Param, value: &Value) -> Problem {
    let words: Vec<String> = param.one_of.iter().map(|value| show(value).trim_matches('`').to_owned()).collect();
    let names = words.iter().map(String::as_str);
    let near = value.as_str().and_then(|given| did_you_mean(given, names.clone()));
    Problem::new(format!("cannot be {}", show(value)))
        .help(near.unwrap_or_else(|| format!("it is one of {}", listed(names, 20))))
}

fn limits(param: &Param, value: &Value) -> Result<(), Problem> {
    #[expect(clippy::cast_precision_loss, reason = "a limit beyond 2^53 need not be exact")]
    let measure = match param.kind {
        ParamKind::Integer | ParamKind::Number => value.as_f64(),
        ParamKind::Duration => {
            value.as_str().and_then(|text| quantity::duration_ms(text).ok()).map(|ms| ms as f64 / 1000.0)
        }
        ParamKind::Size => value.as_str().and_then(|text| quantity::size_bytes(text).ok()).map(|bytes| bytes as f64),
        ParamKind::String | ParamKind::Boolean | ParamKind::Path | ParamKind::List | ParamKind::Map => None,
    };
    let unit = match param.kind {
        ParamKind::Duration => "s",
        ParamKind::Size => "B",
        _ => "",
    };
    let Some(measure) = measure else { return Ok(()) };
    if let Some(min) = param.min.filter(|min| measure < *min) {
        return Err(Problem::new(format!("cannot be {}", show(value))).help(format!("it is at least {min}{unit}")));
    }
    if let Some(max) = param.max.filter(|max| measure > *max) {
        return Err(Problem::new(format!("cannot be {}", show(value))).help(format!("it is at most {max}{unit}")));
    }
    Ok(())
}

fn typed(kind: ParamKind, value: &Value) -> Result<Value, Problem> {
    let wrong = |noun: &str| Problem::new(format!("is {noun}, and {} is not one", show(value)));
    match (kind, value) {
        (ParamKind::String, Value::String(_)) => Ok(value.clone()),
        (ParamKind::String, Value::Number(_) | Value::Bool(_)) => Ok(Value::String(value.to_string())),
        (ParamKind::String, _) => Err(wrong("a text").help("write a text")),
        (ParamKind::Path, Value::String(_)) => Ok(value.clone()),
        (ParamKind::Path, _) => Err(wrong("a path").help("write a path such as `/mnt/dump`")),
        (ParamKind::Integer, Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(value.clone()),
        (ParamKind::Integer, _) => Err(wrong("a whole number").help("write digits alone, without quotes")),
        (ParamKind::Number, Value::Number(_)) => Ok(value.clone()),
        (ParamKind::Number, _) => Err(wrong("a number").help("write a number such as `2.5`, without quotes")),
        (ParamKind::Boolean, Value::Bool(_)) => Ok(value.clone()),
        (ParamKind::Boolean, _) => Err(wrong("a truth value").help("write `true` or `false`")),
        (ParamKind::Duration, Value::String(text)) => match quantity::duration_ms(text) {
            Ok(_) => Ok(value.clone()),
            Err(help) => Err(wrong("a duration").help(help)),
        },
        (ParamKind::Duration, _) => Err(wrong("a duration").help("write `90s`, `30m`, `6h` or `2d`")),
        (ParamKind::Size, Value::String(text)) => match quantity::size_bytes(text) {
            Ok(_) => Ok(value.clone()),
            Err(help) => Err(wrong("a size").help(help)),
        },
        (ParamKind::Size, _) => Err(wrong("a size").help("write `512MiB` or `2TiB`")),
        (ParamKind::List, Value::Array(_)) => Ok(value.clone()),
        (ParamKind::List, _) => Err(wrong("a list").help("write `[a, b]`")),
        (ParamKind::Map, Value::Object(_)) => Ok(value.clone()),
        (ParamKind::Map, _) => Err(wrong("a map").help("write `{ name: value }`")),
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() > 60 => "this text".to_owned(),
        Value::String(text) => format!("`{text}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
    }
}
