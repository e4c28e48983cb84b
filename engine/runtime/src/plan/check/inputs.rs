//! Whether `with` fits the JSON Schema of a step type, with the place of every fault.
//! Unaware of step types. Values that hold templates are known only when they are rendered.

use super::build::Builder;
use crate::plan::codes;
use crate::plan::diagnostic::{Diagnostic, did_you_mean, listed};
use crate::plan::node::{Node, Value, is_ambiguous};
use crate::plan::source::Span;
use flowrun_sdk::StepInfo;
use flowrun_sdk::schemars::Schema;
use serde_json::{Map, Value as Json};

/// References in schemas are followed this deep.
const MAX_REFS: usize = 16;

/// The schema that a `$ref` stands for, in the same document.
pub(in crate::plan) fn resolve_ref<'s>(root: &'s Json, mut schema: &'s Json) -> &'s Json {
    for _ in 0..MAX_REFS {
        let target = schema
            .get("$ref")
            .and_then(Json::as_str)
            .and_then(|path| path.strip_prefix('#'))
            .and_then(|path| root.pointer(path));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

/// The outputs that a step type says it has; none: whatever it hands out.
pub(super) fn outputs(schema: &Schema) -> Option<Vec<String>> {
    let root = schema.as_value();
    let schema = resolve_ref(root, root);
    let closed = schema.get("additionalProperties").is_none_or(|more| *more == Json::Bool(false));
    let names = schema.get("properties").and_then(Json::as_object)?;
    closed.then(|| names.keys().cloned().collect())
}

impl Builder<'_> {
    pub(super) fn check_inputs(&mut self, info: &StepInfo, uses: Span, with: Option<&Node>) {
        let root = info.input.as_value();
        let entries = with.and_then(Node::map).unwrap_or(&[]);
        if with.is_some_and(|node| node.map().is_none() && !matches!(node.value, Value::Null)) {
            return;
        }
        let node = Node { span: uses, value: Value::Map(entries.to_vec()) };
        let mut check = Inputs { root, name: info.name, faults: Vec::new() };
        check.object(root, &node, uses, "");
        self.faults.extend(check.faults);
    }
}

struct Inputs<'s> {
    root: &'s Json,
    name: &'s str,
    faults: Vec<Diagnostic>,
}

impl Inputs<'_> {
    fn value(&mut self, schema: &Json, node: &Node, path: &str) {
        let schema = resolve_ref(self.root, schema);
        match &node.value {
            Value::Broken => return,
            Value::Text(text) if text.contains("{{") => return,
            Value::Plain(text) if is_ambiguous(text) => return,
            Value::Null | Value::Plain(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {}
        }
        if let Some(choices) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array) {
            return self.choice(choices, node, path);
        }
        if !self.typed(schema, node, path) {
            return;
        }
        match &node.value {
            Value::Map(_) => self.object(schema, node, node.span, path),
            Value::List(list) => {
                if let Some(items) = schema.get("items") {
                    for (at, node) in list.iter().enumerate() {
                        self.value(items, node, &format!("{path}[{at}]"));
                    }
                }
            }
            Value::Null | Value::Plain(_) | Value::Text(_) | Value::Broken => self.limits(schema, node, path),
        }
    }

    /// One of several shapes; where none fits, the faults of the one that fits best are told.
    fn choice(&mut self, choices: &[Json], node: &Node, path: &str) {
        let mut best: Option<Vec<Diagnostic>> = None;
        let mut words: Vec<String> = Vec::new();
        for choice in choices {
            let mut trial = Inputs { root: self.root, name: self.name, faults: Vec::new() };
            trial.value(choice, node, path);
            if trial.faults.is_empty() {
                return;
            }
            let choice = resolve_ref(self.root, choice);
            words.extend(choice.get("const").and_then(Json::as_str).map(str::to_owned));
            words.extend(
                choice
                    .get("enum")
                    .and_then(Json::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Json::as_str)
                    .map(str::to_owned),
            );
            let nothing = choice.get("type").and_then(Json::as_str) == Some("null");
            if !nothing && best.as_ref().is_none_or(|best| trial.faults.len() < best.len()) {
                best = Some(trial.faults);
            }
        }
        match node.text() {
            Some(text) if !words.is_empty() => self.word(text, node, path, &words),
            _ => self.faults.extend(best.unwrap_or_default()),
        }
    }

    fn word(&mut self, text: &str, node: &Node, path: &str, words: &[String]) {
        let all = listed(words.iter().map(String::as_str), 20);
        let help =
            did_you_mean(text, words.iter().map(String::as_str)).unwrap_or_else(|| format!("write one of {all}"));
        let message = format!("the input `{path}` of `{}` cannot be `{text}`", self.name);
        self.faults.push(
            Diagnostic::error(codes::INPUT_TYPE, node.span, message).label(format!("not one of {all}")).help(help),
        );
    }

    fn typed(&mut self, schema: &Json, node: &Node, path: &str) -> bool {
        let types: Vec<&str> = match schema.get("type") {
            Some(Json::String(one)) => vec![one],
            Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
            _ => return true,
        };
        if types.iter().any(|kind| is_type(node, kind)) {
            return true;
        }
        let takes: Vec<&str> = types.iter().filter(|kind| **kind != "null").map(|kind| noun(kind)).collect();
        let message =
            format!("the input `{path}` of `{}` is {}, and this is {}", self.name, takes.join(" or "), node.describe());
        let quote = types.contains(&"string") && matches!(node.value, Value::Plain(_));
        let help = quote.then(|| format!("quote it: `\"{}\"`", node.written().unwrap_or_default()));
        let bare =
            !types.contains(&"string") && node.text().is_some_and(|text| crate::plan::node::plain(text).is_number());
        let help = help
            .or_else(|| bare.then(|| "take the quotes away".to_owned()))
            .or_else(|| types.first().map(|kind| how(kind).to_owned()));
        self.faults
            .push(Diagnostic::error(codes::INPUT_TYPE, node.span, message).label(node.describe()).maybe_help(help));
        false
    }

    fn limits(&mut self, schema: &Json, node: &Node, path: &str) {
        let words: Vec<String> = schema
            .get("enum")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect();
        if let Some(text) = node.text() {
            if !words.is_empty() && !words.iter().any(|word| word == text) {
                return self.word(text, node, path, &words);
            }
            if schema.get("const").and_then(Json::as_str).is_some_and(|only| only != text) {
                return self.word(
                    text,
                    node,
                    path,
                    &schema.get("const").and_then(Json::as_str).map(str::to_owned).into_iter().collect::<Vec<_>>(),
                );
            }
            if schema.get("format").and_then(Json::as_str) == Some("regex") {
                self.regex(text, node, path);
            }
        }
        let Some(number) = node.json().as_f64() else { return };
        let low = schema.get("minimum").and_then(Json::as_f64).filter(|low| number < *low);
        let high = schema.get("maximum").and_then(Json::as_f64).filter(|high| number > *high);
        if let Some(limit) = low.or(high) {
            let side = if low.is_some() { "at least" } else { "at most" };
            let message = format!("the input `{path}` of `{}` cannot be `{number}`", self.name);
            self.faults.push(
                Diagnostic::error(codes::OUT_OF_RANGE, node.span, message)
                    .label("out of its range")
                    .help(format!("it is {side} {limit}")),
            );
        }
    }

    fn regex(&mut self, text: &str, node: &Node, path: &str) {
        if let Err(error) = regex::Regex::new(text) {
            let message = format!(
                "the input `{path}` of `{}` is not a regular expression: {}",
                self.name,
                super::shape::regex_reason(&error)
            );
            self.faults.push(
                Diagnostic::error(codes::BAD_REGEX, node.span, message)
                    .label("cannot be read")
                    .help("a character that is meant as itself takes a backslash before it: `\\(`"),
            );
        }
    }

    fn object(&mut self, schema: &Json, node: &Node, at: Span, path: &str) {
        let empty = Map::new();
        let known = schema.get("properties").and_then(Json::as_object).unwrap_or(&empty);
        let more = schema.get("additionalProperties");
        let inner = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        for (key, value) in node.map().unwrap_or(&[]) {
            match (known.get(&key.text), more) {
                (Some(schema), _) => self.value(schema, value, &inner(&key.text)),
                (None, Some(schema @ Json::Object(_))) => self.value(schema, value, &inner(&key.text)),
                (None, Some(Json::Bool(true)) | None) if !path.is_empty() || more.is_some() => {}
                (None, _) => self.unknown(key.span, &key.text, path, known),
            }
        }
        for name in schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
            if node.get(name).is_none() {
                let doc = known.get(name).and_then(|schema| schema.get("description")).and_then(Json::as_str);
                let message = format!("`{}` needs the input `{}`", self.name, inner(name));
                self.faults.push(
                    Diagnostic::error(codes::MISSING_INPUT, at, message).label(format!("`{name}` is missing")).help(
                        doc.map_or_else(
                            || format!("add `{name}: ...`"),
                            |doc| format!("add `{name}: ...`: {}", first_sentence(doc)),
                        ),
                    ),
                );
            }
        }
    }

    fn unknown(&mut self, span: Span, name: &str, path: &str, known: &Map<String, Json>) {
        let of = if path.is_empty() { format!("`{}`", self.name) } else { format!("`{path}` of `{}`", self.name) };
        let names = known.keys().map(String::as_str);
        let help = did_you_mean(name, names.clone()).unwrap_or_else(|| {
            if known.is_empty() {
                "it takes no inputs".to_owned()
            } else {
                format!("its inputs are {}", listed(names, 20))
            }
        });
        self.faults.push(
            Diagnostic::error(codes::UNKNOWN_INPUT, span, format!("{of} has no input `{name}`"))
                .label("unknown input")
                .help(help),
        );
    }
}

fn first_sentence(doc: &str) -> String {
    let flat = doc.replace('\n', " ");
    let sentence = flat.split(". ").next().unwrap_or_default().trim_end_matches('.');
    sentence.to_owned()
}

fn is_type(node: &Node, kind: &str) -> bool {
    let json = node.json();
    match kind {
        "string" => node.text().is_some(),
        "integer" => node.text().is_none() && (json.is_i64() || json.is_u64()),
        "number" => node.text().is_none() && json.is_number(),
        "boolean" => node.text().is_none() && json.is_boolean(),
        "null" => json.is_null(),
        "array" => json.is_array(),
        "object" => json.is_object(),
        _ => true,
    }
}

fn how(kind: &str) -> &'static str {
    match kind {
        "string" => "write a text",
        "integer" => "write digits alone",
        "number" => "write a number",
        "boolean" => "write `true` or `false` without quotes",
        "array" => "write `[...]`, or a line with `- ` for each element",
        "object" => "write `{ name: value }`",
        _ => "write another value",
    }
}

fn noun(kind: &str) -> &'static str {
    match kind {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "a list",
        "object" => "a map",
        _ => "another value",
    }
}
