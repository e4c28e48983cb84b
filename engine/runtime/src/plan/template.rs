//! Templates: Handlebars, strict and typed, with secrets that stay sealed until the last moment.
//! Unaware of where values come from: a [`Scope`] answers for each name.

use serde_json::Value;

/// Who answers for names: `params.x`, `steps.a.out`, `item` …
pub trait Scope {
    /// The value at a path, e.g. `["steps", "dump", "rows"]`; none where nothing stands there.
    /// Secrets are never asked for: `secrets.NAME` renders to a sealed reference.
    fn get(&self, path: &[String]) -> Option<Value>;
}

/// A text with expressions.
#[derive(Debug, Clone)]
pub struct Template {}

/// A value of any shape with templates at its leaves.
#[derive(Debug, Clone)]
pub struct Tree {}
