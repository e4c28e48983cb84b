//! Secrets stay sealed: a template renders `secrets.NAME` to a marker, and only what hands a value to the world
//! replaces markers by secrets.
//! Unaware of templates and of where secrets come from.
//!
//! A marker is U+F5EC `secret:NAME` U+F5ED, with `|FILTER` after the name for each helper that it was passed to. Both
//! characters are private to us: [`clean`] replaces them by U+FFFD in everything that comes from outside (the text of a
//! plan, the values of a scope), so that an output that holds them is never taken for a marker.

use super::template::RenderFault;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Opens a marker.
const OPEN: char = '\u{f5ec}';
/// Closes a marker.
const CLOSE: char = '\u{f5ed}';
/// Stands where one of the two stood in a text from outside.
const REPLACEMENT: &str = "\u{fffd}";
const PREFIX: &str = "secret:";

/// The values of secrets, by the names that markers hold.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Secrets {
    /// Adds a secret or replaces it.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    /// The value of a secret.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All values, as [`crate::mask::Masker::new`] takes them.
    #[must_use]
    pub fn values(&self) -> Vec<String> {
        self.values.values().cloned().collect()
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}

/// What a secret renders to.
#[must_use]
pub fn marker(name: &str) -> String {
    format!("{OPEN}{PREFIX}{}{CLOSE}", encode(name))
}

/// A text from outside, without the characters that make markers.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    // Both characters begin with this byte; looking for it alone is quick.
    if text.as_bytes().contains(&0xef) && text.contains([OPEN, CLOSE]) {
        Cow::Owned(text.replace([OPEN, CLOSE], REPLACEMENT))
    } else {
        Cow::Borrowed(text)
    }
}

/// A value from outside, without the characters that make markers.
#[must_use]
pub fn clean_value(value: Value) -> Value {
    match value {
        Value::String(text) => match clean(&text) {
            Cow::Owned(cleaned) => Value::String(cleaned),
            Cow::Borrowed(_) => Value::String(text),
        },
        Value::Array(list) => Value::Array(list.into_iter().map(clean_value).collect()),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (clean(&key).into_owned(), clean_value(value))).collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

/// The text with its secrets.
///
/// # Errors
/// A secret that is not there, or that a filter cannot take.
pub fn unseal_text(text: &str, secrets: &Secrets) -> Result<String, RenderFault> {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Plain(plain) => out.push_str(plain),
            Piece::Secret { name, filters, .. } => {
                let name = decode(name);
                let Some(value) = secrets.get(&name) else {
                    return Err(fault(format!("secret `{name}` is not known to this run")));
                };
                out.push_str(&filtered(value, &name, &filters)?);
            }
        }
    }
    Ok(out)
}

fn filtered(value: &str, name: &str, filters: &[&str]) -> Result<String, RenderFault> {
    let mut value = value.to_owned();
    for filter in filters {
        value = match *filter {
            "json" => json_inside(&value),
            "sh" => sh(&value)
                .ok_or_else(|| fault(format!("secret `{name}` holds a NUL and cannot be a word of a command")))?,
            "option_file" => option_inside(&value)
                .ok_or_else(|| fault(format!("secret `{name}` holds a NUL and cannot stand in an option file")))?,
            other => {
                return Err(fault(format!(
                    "secret `{name}` is sealed with `{other}`, which this flowrun does not know"
                )));
            }
        };
    }
    Ok(value)
}

fn fault(message: String) -> RenderFault {
    RenderFault { message, help: None, offset: 0 }
}

/// The value with its secrets.
///
/// # Errors
/// As [`unseal_text`].
pub fn unseal(value: &Value, secrets: &Secrets) -> Result<Value, RenderFault> {
    map_texts(value, &|text| unseal_text(text, secrets))
}

/// Some text in the value holds a secret.
#[must_use]
pub fn is_sealed(value: &Value) -> bool {
    match value {
        Value::String(text) => is_sealed_text(text),
        Value::Array(list) => list.iter().any(is_sealed),
        Value::Object(map) => map.iter().any(|(key, value)| is_sealed_text(key) || is_sealed(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The text holds a secret.
#[must_use]
pub fn is_sealed_text(text: &str) -> bool {
    text.as_bytes().contains(&0xef) && pieces(text).iter().any(|piece| matches!(piece, Piece::Secret { .. }))
}

/// The secrets that the value holds.
#[must_use]
pub fn names(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    let mut text = |text: &str| {
        found.extend(pieces(text).into_iter().filter_map(|piece| match piece {
            Piece::Secret { name, .. } => Some(decode(name)),
            Piece::Plain(_) => None,
        }));
    };
    match value {
        Value::String(string) => text(string),
        Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
        Value::Object(map) => {
            map.keys().for_each(|key| text(key));
            map.values().for_each(|value| collect(value, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The text for a person: markers as `{{secrets.NAME}}`.
#[must_use]
pub fn display(text: &str) -> String {
    let shown = |piece: Piece<'_>| match piece {
        Piece::Plain(plain) => plain.to_owned(),
        Piece::Secret { name, .. } => format!("{{{{secrets.{}}}}}", decode(name)),
    };
    pieces(text).into_iter().map(shown).collect()
}

/// The value for a person.
#[must_use]
pub fn display_value(value: &Value) -> Value {
    map_texts(value, &|text| Ok(display(text))).unwrap_or(Value::Null)
}

fn map_texts(value: &Value, each: &dyn Fn(&str) -> Result<String, RenderFault>) -> Result<Value, RenderFault> {
    Ok(match value {
        Value::String(text) => Value::String(each(text)?),
        Value::Array(list) => Value::Array(list.iter().map(|value| map_texts(value, each)).collect::<Result<_, _>>()?),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| Ok((each(key)?, map_texts(value, each)?)));
            Value::Object(entries.collect::<Result<_, RenderFault>>()?)
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other.clone(),
    })
}

/// Helper `sh` on one word; sealed parts stay sealed. None: it holds a NUL.
pub(super) fn sh(text: &str) -> Option<String> {
    if !is_sealed_text(text) {
        return shlex::try_quote(text).ok().map(Cow::into_owned);
    }
    // Quoted pieces side by side are one word.
    let mut out = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Plain(plain) => out.push_str(&shlex::try_quote(plain).ok()?),
            Piece::Secret { whole, .. } => out.push_str(&with_filter(whole, "sh")),
        }
    }
    Some(out)
}

/// Helper `json`; sealed parts stay sealed.
pub(super) fn json(value: &Value) -> String {
    // A marker holds nothing that JSON escapes, so it goes through unchanged.
    let text = value.to_string();
    if !is_sealed_text(&text) {
        return text;
    }
    let each = |piece| match piece {
        Piece::Plain(plain) => plain.to_owned(),
        Piece::Secret { whole, .. } => with_filter(whole, "json"),
    };
    pieces(&text).into_iter().map(each).collect()
}

fn json_inside(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&quoted).to_owned()
}

/// Helper `option_file`; sealed parts stay sealed. None: it holds a NUL.
pub(super) fn option_file(text: &str) -> Option<String> {
    let mut out = String::from("\"");
    for piece in pieces(text) {
        match piece {
            Piece::Plain(plain) => out.push_str(&option_inside(plain)?),
            Piece::Secret { whole, .. } => out.push_str(&with_filter(whole, "option_file")),
        }
    }
    out.push('"');
    Some(out)
}

/// Inside double quotes an option file knows these escapes, and `#` begins no comment.
fn option_inside(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 4);
    for char in text.chars() {
        match char {
            '\0' => return None,
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            other => out.push(other),
        }
    }
    Some(out)
}

/// A part of a text.
enum Piece<'t> {
    Plain(&'t str),
    Secret { name: &'t str, filters: Vec<&'t str>, whole: &'t str },
}

fn with_filter(marker: &str, filter: &str) -> String {
    format!("{}|{filter}{CLOSE}", marker.trim_end_matches(CLOSE))
}

/// The parts of a text in order. What opens and is no marker is plain.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut rest, mut from) = (Vec::new(), text, 0);
    while let Some(open) = rest.get(from..).and_then(|tail| tail.find(OPEN)).map(|at| from + at) {
        let tail = rest.get(open..).unwrap_or_default();
        let Some((marker, after)) = marker_at(tail) else {
            from = open + OPEN.len_utf8();
            continue;
        };
        if open > 0 {
            pieces.push(Piece::Plain(rest.get(..open).unwrap_or_default()));
        }
        pieces.push(marker);
        (rest, from) = (after, 0);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Plain(rest));
    }
    pieces
}

fn marker_at(tail: &str) -> Option<(Piece<'_>, &str)> {
    let (inside, after) = tail.strip_prefix(OPEN)?.strip_prefix(PREFIX)?.split_once(CLOSE)?;
    if inside.contains(OPEN) {
        return None;
    }
    let mut parts = inside.split('|');
    let name = parts.next().filter(|name| !name.is_empty())?;
    let whole = tail.get(..tail.len() - after.len())?;
    Some((Piece::Secret { name, filters: parts.collect(), whole }, after))
}

/// A name as it stands in a marker: nothing in it means anything to a shell, to JSON or to an option file.
fn encode(name: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:".contains(byte);
    name.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn decode(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
