//! The catalogue of step types, as pages and as text on a screen: rendered from the registry, never written by hand.
//! Unaware of what the types do.

use flowrun_sdk::{DynStepType, Registry, StepInfo};
use serde_json::Value;
use std::fmt::Write;

/// The page of all types.
#[must_use]
pub fn markdown(registry: &Registry) -> String {
    let mut out = String::from(
        "# Step types\n\n<!-- Generated from the registry by a test: run it with FLOWRUN_BLESS=1 to renew this page. -->\n\n\
         What `uses:` can name. Relative paths start at the step's directory. `run:` is short for `uses: shell`, `exec:` for\n\
         `uses: exec`.\n",
    );
    for step in registry.iter() {
        markdown_type(&mut out, step.info());
    }
    out
}

/// What `flowrun steps` prints: all types, or one with everything about it; none where there is no such type.
#[must_use]
pub fn text(registry: &Registry, name: Option<&str>) -> Option<String> {
    match name {
        Some(name) => registry.get(name).map(|step| text_type(step.info())),
        None => Some(text_list(registry)),
    }
}

fn text_list(registry: &Registry) -> String {
    let infos: Vec<_> = registry.iter().map(|step: &std::sync::Arc<dyn DynStepType>| step.info()).collect();
    let width = infos.iter().map(|info| info.name.len()).max().unwrap_or_default();
    infos.iter().map(|info| format!("{:width$}  {}\n", info.name, info.summary)).collect()
}

fn text_type(info: &StepInfo) -> String {
    let mut out = format!("{}: {}\n", info.name, info.summary);
    for (title, schema) in [("inputs", &info.input), ("outputs", &info.output)] {
        let _ = write!(out, "\n{title}\n");
        for row in rows(schema.as_value()) {
            let _ = write!(out, "  {}: {}, {}\n      {}\n", row.name, row.kind, row.default, row.words);
        }
    }
    let _ = write!(out, "\nafter a crash\n  {}\n", info.reconcile);
    for unknown in info.unknowns {
        let _ = writeln!(out, "  nobody can know: {unknown}");
    }
    out
}

fn markdown_type(out: &mut String, info: &StepInfo) {
    let _ = write!(out, "\n## `{}`\n\n{}\n\n", info.name, info.summary);
    out.push_str("| input | type | default | meaning |\n| --- | --- | --- | --- |\n");
    for row in rows(info.input.as_value()) {
        let default = if row.default == "required" { row.default } else { row.default.replace("default ", "") };
        let _ = writeln!(out, "| `{}` | {} | {} | {} |", row.name, cell(&row.kind), cell(&default), cell(&row.words));
    }
    out.push_str("\n| output | type | meaning |\n| --- | --- | --- |\n");
    for row in rows(info.output.as_value()) {
        let _ = writeln!(out, "| `{}` | {} | {} |", row.name, cell(&row.kind), cell(&row.words));
    }
    let _ = write!(out, "\nAfter a crash: {}\n", info.reconcile);
    for unknown in info.unknowns {
        let _ = write!(out, "\n- Nobody can know: {unknown}\n");
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// An input or output, or one inside another.
struct Row {
    name: String,
    kind: String,
    default: String,
    words: String,
}

fn rows(schema: &Value) -> Vec<Row> {
    let mut out = Vec::new();
    if schema.get("properties").is_some() {
        add_rows(schema, schema, "", &mut out);
    } else {
        out.push(Row { name: "NAME".to_owned(), kind: "any".to_owned(), default: String::new(), words: words(schema) });
    }
    out
}

fn add_rows(root: &Value, schema: &Value, above: &str, out: &mut Vec<Row>) {
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let default = match property.get("default") {
            _ if required(name) => "required".to_owned(),
            None | Some(Value::Null) => "none".to_owned(),
            Some(default) => format!("default `{default}`"),
        };
        let name = format!("{above}{name}");
        out.push(Row { name: name.clone(), kind: kind(root, property), default, words: words(property) });
        // Maps of objects are shown with what stands in each of them.
        let inner = resolve(root, property.get("additionalProperties").unwrap_or(&Value::Null));
        if inner.get("properties").is_some() {
            add_rows(root, inner, &format!("{name}.NAME."), out);
        }
    }
}

fn words(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
    name.map_or(schema, |name| &root["$defs"][name])
}

fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    let choices = ["anyOf", "oneOf"].into_iter().find_map(|key| schema[key].as_array());
    if let Some(choices) = choices {
        let kinds: Vec<_> = choices.iter().filter(|one| one["type"] != "null").map(|one| kind(root, one)).collect();
        return kinds.join(", ");
    }
    if let Some(constant) = schema.get("const") {
        return format!("`{}`", constant.as_str().map_or_else(|| constant.to_string(), str::to_owned));
    }
    let name = match &schema["type"] {
        Value::String(name) => name.as_str(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("any"),
        _ => "any",
    };
    match name {
        "array" => format!("list of {}", kind(root, &schema["items"])),
        "object" => "map".to_owned(),
        "string" if schema["format"] == "regex" => "regular expression".to_owned(),
        "string" => "text".to_owned(),
        other => other.to_owned(),
    }
}
