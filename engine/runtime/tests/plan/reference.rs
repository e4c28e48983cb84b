//! What is made from the tables of keys.

use crate::types::{corpus_dir, registry};
use flowrun_engine::plan::{coerce, reference_markdown, schema};
use serde_json::json;

#[test]
fn the_reference_page_is_the_one_in_the_repository() {
    let path = corpus_dir().join("../../docs/plan-reference.md");
    let page = reference_markdown();
    if std::env::var_os("FLOWRUN_BLESS").is_some() {
        std::fs::write(&path, &page).expect("docs can be written");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), page, "write it again with FLOWRUN_BLESS=1");
}

#[test]
fn the_editor_schema_knows_keys_and_inputs() {
    let schema = schema(&registry());
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["$defs"]["step"]["properties"]["needs"]["description"].is_string());
    assert!(schema["$defs"]["with.archive.create"]["properties"]["path"].is_object());
    assert!(schema["properties"]["connections"].is_null(), "what is not built is not offered");
    let text = schema.to_string();
    for target in text.split("\"$ref\":\"#/$defs/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(schema["$defs"][target].is_object(), "{target} is defined");
    }
}

#[test]
fn numbers_are_written_out_where_a_program_takes_texts() {
    let registry = registry();
    let input = &registry.get("exec").expect("registered").info().input;
    let mut value = json!({ "argv": ["echo", 5, true] });
    coerce(input, &mut value);
    assert_eq!(value, json!({ "argv": ["echo", "5", "true"] }));
}
