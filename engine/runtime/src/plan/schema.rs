//! The plan language for editors and for readers: a JSON Schema and a reference page, from the tables of keys.
//! Unaware of single plans.

use super::keys::{self, Key, Kind, State, Table};
use flowrun_sdk::Registry;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// A text with a template, which an editor accepts wherever a number may stand too.
const TEMPLATE: &str = r"\{\{";

/// The JSON Schema (2020-12) of a plan file, with the inputs of every step type.
#[must_use]
pub fn schema(registry: &Registry) -> Value {
    let mut root = object(&keys::PLAN);
    let mut defs = Map::new();
    let mut step = object(&keys::STEP);
    let mut rules = Vec::new();
    for one in registry.iter() {
        let info = one.info();
        let mut input = info.input.as_value().clone();
        let name = format!("with.{}", info.name);
        move_refs(&mut input, &name, &mut defs);
        loosen(&mut input);
        defs.insert(name.clone(), input);
        rules.push(json!({
            "if": { "properties": { "uses": { "const": info.name } }, "required": ["uses"] },
            "then": { "properties": { "with": { "$ref": format!("#/$defs/{name}") } } },
        }));
    }
    if let Value::Object(step) = &mut step {
        step.insert("allOf".to_owned(), Value::Array(rules));
        let bodies: Vec<Value> =
            ["run", "exec", "uses", "wait", "steps"].iter().map(|key| json!({ "required": [key] })).collect();
        step.insert("oneOf".to_owned(), Value::Array(bodies));
    }
    defs.insert("step".to_owned(), step);
    if let Value::Object(root) = &mut root {
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".to_owned(), json!("a flowrun plan"));
        root.insert("$defs".to_owned(), Value::Object(defs));
    }
    root
}

/// The definitions of a step type's schema move to the plan's, under names of their own.
fn move_refs(schema: &mut Value, name: &str, defs: &mut Map<String, Value>) {
    rename_refs(schema, name);
    let Some(map) = schema.as_object_mut() else { return };
    map.remove("$schema");
    if let Some(Value::Object(inner)) = map.remove("$defs") {
        for (key, mut value) in inner {
            loosen(&mut value);
            defs.insert(format!("{name}.{key}"), value);
        }
    }
}

fn rename_refs(schema: &mut Value, name: &str) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get_mut("$ref")
                && let Some(key) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/$defs/{name}.{key}");
            }
            map.values_mut().for_each(|value| rename_refs(value, name));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| rename_refs(value, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Every input may be a template.
fn loosen(schema: &mut Value) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for value in properties.values_mut() {
        let inner = value.take();
        *value = json!({ "anyOf": [inner, { "type": "string", "pattern": TEMPLATE }] });
    }
}

fn object(table: &Table) -> Value {
    let built = table.keys.iter().filter(|key| key.state != State::Later);
    let properties: Map<String, Value> = built
        .map(|key| {
            let mut value = kind(key.kind);
            if let Value::Object(map) = &mut value {
                map.insert("description".to_owned(), json!(key.doc));
            }
            (key.name.to_owned(), value)
        })
        .collect();
    let required: Vec<&str> =
        table.keys.iter().filter(|key| key.state == State::Required).map(|key| key.name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn kind(kind_of: Kind) -> Value {
    match kind_of {
        Kind::Text | Kind::Template | Kind::Regex => json!({ "type": "string" }),
        Kind::Written | Kind::Room | Kind::Signal | Kind::Limit => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Duration => json!({ "type": "string", "pattern": r"^([0-9.]+(ms|s|m|h|d))+$" }),
        Kind::Count(least) => json!({ "type": "integer", "minimum": least }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Amount => json!({ "anyOf": [{ "type": "number" }, { "type": "string", "pattern": TEMPLATE }] }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Classes => {
            one_or_many(&json!({ "anyOf": [{ "type": "integer" }, { "enum": ["timeout", "transient", "permanent"] }] }))
        }
        Kind::Any => json!({}),
        Kind::List(inner) => json!({ "type": "array", "items": kind(*inner) }),
        Kind::OneOrMany(inner) => one_or_many(&kind(*inner)),
        Kind::Map(inner) => json!({ "type": "object", "additionalProperties": kind(*inner) }),
        Kind::Object(table) => object(table),
        Kind::Pools => {
            json!({ "anyOf": [{ "type": "string" }, { "type": "object", "additionalProperties": { "type": "integer", "minimum": 1 } }] })
        }
        Kind::PoolSize => json!({ "anyOf": [kind(Kind::Amount), object(&keys::POOL)] }),
        Kind::Steps => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_-]*$" },
            "additionalProperties": { "$ref": "#/$defs/step" },
        }),
    }
}

fn one_or_many(one: &Value) -> Value {
    json!({ "anyOf": [one, { "type": "array", "items": one }] })
}

/// The reference page: every key with its kind and its meaning.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page =
        String::from("# The keys of a plan\n\nThis page is made from the tables that `flowrun check` reads.\n");
    let tables: [(&str, &Table); 9] = [
        ("A plan", &keys::PLAN),
        ("A step", &keys::STEP),
        ("A param", &keys::PARAM),
        ("A secret", &keys::SECRET),
        ("A gate", &keys::GATE),
        ("`retry`", &keys::RETRY),
        ("`ready`", &keys::READY),
        ("A pool with a size", &keys::POOL),
        ("`defaults`", &keys::DEFAULTS),
    ];
    for (title, table) in tables {
        section(&mut page, title, table);
    }
    for key in keys::GATE.keys {
        if let Kind::Object(table) = key.kind {
            section(&mut page, &format!("The gate `{}`", key.name), table);
        }
    }
    if let Kind::Object(table) = keys::STDOUT {
        section(&mut page, "An output of `run` and `exec`", table);
    }
    page
}

fn section(page: &mut String, title: &str, table: &Table) {
    let _ = write!(page, "\n## {title}\n\n| key | value | meaning |\n| --- | --- | --- |\n");
    for key in table.keys {
        let doc = key.doc.replace('|', "\\|");
        let _ = writeln!(page, "| `{}` | {} | {}{doc} |", key.name, noun(key), mark(key));
    }
}

fn mark(key: &Key) -> &'static str {
    match key.state {
        State::Free => "",
        State::Required => "Required. ",
        State::Later => "Not in this version. ",
    }
}

fn noun(key: &Key) -> String {
    if key.state == State::Later { String::new() } else { words(key.kind) }
}

fn words(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Template => "text with templates".to_owned(),
        Kind::Written => "text, number or truth value, as written".to_owned(),
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Count(least) => format!("whole number from {least}"),
        Kind::Number => "number".to_owned(),
        Kind::Amount | Kind::PoolSize => "number or template".to_owned(),
        Kind::Room => "size, percentage or template".to_owned(),
        Kind::Limit => "number or percentage".to_owned(),
        Kind::Regex => "regex".to_owned(),
        Kind::Word(list) => super::diagnostic::listed(list.iter().copied(), 20),
        Kind::Signal => "signal, by name or number".to_owned(),
        Kind::Classes => "exit codes and classes of errors".to_owned(),
        Kind::Any => "any value".to_owned(),
        Kind::List(inner) => format!("list of: {}", words(*inner)),
        Kind::OneOrMany(inner) => format!("{}, or a list of them", words(*inner)),
        Kind::Map(inner) => format!("map of: {}", words(*inner)),
        Kind::Object(table) => format!("{}, see its keys", table.title),
        Kind::Pools => "pool's name, or map from pools to units".to_owned(),
        Kind::Steps => "map of steps".to_owned(),
    }
}
