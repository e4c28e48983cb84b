//! A plan file as a tree, each node with its place.
//! Unaware of what a plan means, and of the YAML parser.

use super::source::Span;
use serde_json::{Number, Value as Json};

/// A node with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it stands; of a map or a list, where it begins.
    pub span: Span,
    /// What stands there.
    pub value: Value,
}

/// What stands at a place.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, or `null`.
    Null,
    /// An unquoted number or truth value, as written.
    Plain(String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file. No key stands twice.
    Map(Vec<(Key, Node)>),
    /// Something that was reported already; whoever meets it says nothing.
    Broken,
}

/// A key with its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl Node {
    /// The words for what stands here: `a list`, `the number 5` …
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Plain(text) if is_truth(text) => format!("the truth value `{text}`"),
            Value::Plain(text) => format!("the number `{text}`"),
            Value::Text(text) if text.chars().count() > 40 || text.contains('\n') => "a text".to_owned(),
            Value::Text(text) => format!("the text `{text}`"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Broken => "something unreadable".to_owned(),
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::Plain(_) | Value::List(_) | Value::Map(_) | Value::Broken => None,
        }
    }

    /// A text, a number or a truth value, as written.
    #[must_use]
    pub fn written(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Plain(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) | Value::Broken => None,
        }
    }

    /// The elements, if it is a list.
    #[must_use]
    pub fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(list) => Some(list),
            Value::Null | Value::Plain(_) | Value::Text(_) | Value::Map(_) | Value::Broken => None,
        }
    }

    /// The entries, if it is a map.
    #[must_use]
    pub fn map(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            Value::Map(map) => Some(map),
            Value::Null | Value::Plain(_) | Value::Text(_) | Value::List(_) | Value::Broken => None,
        }
    }

    /// The entry of a key.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|(_, node)| node)
    }

    /// The entry of a key, with the key's place.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<(&Key, &Node)> {
        self.map()?.iter().find(|(key, _)| key.text == name).map(|(key, node)| (key, node))
    }

    /// Whether a text in it holds a template.
    #[must_use]
    pub fn has_template(&self) -> bool {
        match &self.value {
            Value::Text(text) => text.contains("{{"),
            Value::List(list) => list.iter().any(Self::has_template),
            Value::Map(map) => map.iter().any(|(_, node)| node.has_template()),
            Value::Null | Value::Plain(_) | Value::Broken => false,
        }
    }

    /// Whether its value is known now: nothing in it was reported before, is a template, or is read in two ways.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match &self.value {
            Value::Broken => false,
            Value::Text(text) => !text.contains("{{"),
            Value::Plain(text) => !is_ambiguous(text),
            Value::List(list) => list.iter().all(Self::is_known),
            Value::Map(map) => map.iter().all(|(_, node)| node.is_known()),
            Value::Null => true,
        }
    }

    /// The value with its type, texts as they are.
    #[must_use]
    pub fn json(&self) -> Json {
        match &self.value {
            Value::Null | Value::Broken => Json::Null,
            Value::Plain(text) => plain(text),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(list) => list.iter().map(Self::json).collect(),
            Value::Map(map) => map.iter().map(|(key, node)| (key.text.clone(), node.json())).collect(),
        }
    }
}

fn is_truth(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

/// An unquoted number or truth value with its type; a text where it is neither.
#[must_use]
pub fn plain(text: &str) -> Json {
    if is_truth(text) {
        return Json::Bool(text.eq_ignore_ascii_case("true"));
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    let number = digits.parse::<i64>().map(Number::from).ok();
    let number = number.or_else(|| digits.parse::<u64>().map(Number::from).ok());
    let number = number.or_else(|| digits.parse::<f64>().ok().and_then(Number::from_f64));
    number.map_or_else(|| Json::String(text.to_owned()), Json::Number)
}

/// Whether programs disagree on what this number is: `0644`, `1_000`, `0x1f`, `.inf`.
#[must_use]
pub fn is_ambiguous(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    let zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.") && !digits.starts_with("0e");
    !is_truth(text)
        && (zero
            || digits.contains('_')
            || !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            || !plain(text).is_number())
}
