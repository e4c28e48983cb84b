//! Rendered inputs in the types of the step type: where a text is wanted, a number is written out.
//! Unaware of templates. `exec: [x, "{{params.threads}}"]` renders to a number, and a program takes texts.

use super::check::resolve_ref;
use flowrun_sdk::schemars::Schema;
use serde_json::Value;

/// Writes numbers and truth values out wherever the schema takes texts alone. Anything else stays as it is, and is for
/// the step type to judge.
pub fn coerce(schema: &Schema, value: &mut Value) {
    let root = schema.as_value();
    inner(root, root, value);
}

fn inner(root: &Value, schema: &Value, value: &mut Value) {
    let schema = resolve_ref(root, schema);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let known = schema.get("properties").and_then(|known| known.get(key));
                if let Some(schema) = known.or_else(|| schema.get("additionalProperties")) {
                    inner(root, schema, value);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                list.iter_mut().for_each(|value| inner(root, items, value));
            }
        }
        Value::Number(_) | Value::Bool(_) if takes_text_alone(schema) => *value = Value::String(value.to_string()),
        Value::Null | Value::Number(_) | Value::Bool(_) | Value::String(_) => {}
    }
}

fn takes_text_alone(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().all(|kind| kind == "string" || kind == "null"),
        _ => false,
    }
}
