//! Templates: Handlebars, strict and typed, with secrets that stay sealed until the last moment.
//! Unaware of where values come from: a [`Scope`] answers for each name.
//!
//! The grammar is that of the handlebars crate, and so are the comparisons. Its renderer is not used: it makes only
//! texts, takes a missing name under `#if` for false, writes `[object]` for a map and nothing for null.

mod eval;
mod fault;
mod helpers;
mod ir;
mod parse;
mod text_helpers;
mod tree;

use super::seal;
use ir::Shape;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

pub use tree::Tree;

/// Who answers for names: `params.x`, `steps.a.out`, `item` …
pub trait Scope {
    /// The value at a path, e.g. `["steps", "dump", "rows"]`; none where nothing stands there.
    /// Secrets are never asked for here.
    fn get(&self, path: &[String]) -> Option<Value>;

    /// What `secrets.NAME` renders to: a sealed reference, see [`seal`]. A driver overrides this to rename a secret, or
    /// to hand on the sealed text that the caller of a sub-plan gave. None: there is no such secret.
    fn secret(&self, name: &str) -> Option<String> {
        Some(seal::marker(name))
    }

    /// Whether the value at a path was made by templates and may hold sealed secrets, as the params that a plan gives
    /// to a sub-plan do. Everything else comes from outside, and what looks like a sealed secret there is none.
    fn may_hold_seals(&self, path: &[String]) -> bool {
        let _ = path;
        false
    }
}

/// A text with expressions. A clone shares it.
#[derive(Clone)]
pub struct Template {
    inner: Arc<Inner>,
}

struct Inner {
    source: String,
    shape: Shape,
    refs: Vec<Ref>,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFault {
    /// Which `{{` of the text it is about, from 0, as `text.match_indices("{{")` counts them.
    pub expression: usize,
    /// The byte in the text.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// A name that a template uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// `["params", "dir"]`
    pub path: Vec<String>,
    /// Which `{{` of the text it stands in, from 0, as `text.match_indices("{{")` counts them.
    pub expression: usize,
    /// The byte of the text where the name begins.
    pub offset: usize,
    /// It may be missing: it is under `default`, or it is what an `if` or `unless` asks about.
    pub guarded: bool,
    /// The innermost helper that it is passed to.
    pub helper: Option<String>,
    /// It is written out as it is, not passed to a helper.
    pub plain: bool,
}

/// Why a template has no value now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderFault {
    /// What was attempted and why it failed.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The byte of the template's text.
    pub offset: usize,
}

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TemplateFault {}

impl fmt::Display for RenderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RenderFault {}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// The first thing in it that is no expression of ours.
    pub fn parse(src: &str) -> Result<Self, TemplateFault> {
        let (shape, refs) = parse::parse(src)?;
        Ok(Self { inner: Arc::new(Inner { source: src.to_owned(), shape, refs }) })
    }

    /// A text without expressions, whatever stands in it.
    #[must_use]
    pub fn literal(src: &str) -> Self {
        let shape = Shape::Text(seal::clean(src).into_owned());
        Self { inner: Arc::new(Inner { source: src.to_owned(), shape, refs: Vec::new() }) }
    }

    /// The text as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// Every name that it uses, in the order of the text.
    #[must_use]
    pub fn refs(&self) -> &[Ref] {
        &self.inner.refs
    }

    /// It has no expressions.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.literal_text().is_some()
    }

    /// The text that it always renders to, if it has no expressions; `\{{` is `{{` in it.
    #[must_use]
    pub fn literal_text(&self) -> Option<&str> {
        match &self.inner.shape {
            Shape::Text(text) => Some(text),
            Shape::One(_) | Shape::Many(_) => None,
        }
    }

    /// The value. A text that is exactly one expression keeps the type of its value.
    ///
    /// # Errors
    /// A name is missing, or a helper cannot take its value.
    pub fn render(&self, scope: &dyn Scope) -> Result<Value, RenderFault> {
        eval::render(&self.inner.shape, scope)
    }

    /// The value as a text.
    ///
    /// # Errors
    /// As [`Template::render`]; lists, maps and null are no text.
    pub fn render_text(&self, scope: &dyn Scope) -> Result<String, RenderFault> {
        eval::render_text(&self.inner.shape, scope)
    }

    /// The value as a condition: true, false, or one of these words.
    ///
    /// # Errors
    /// As [`Template::render`]; and any other value.
    pub fn render_bool(&self, scope: &dyn Scope) -> Result<bool, RenderFault> {
        match self.render(scope)? {
            Value::Bool(value) => Ok(value),
            Value::String(text) if text == "true" => Ok(true),
            Value::String(text) if text == "false" => Ok(false),
            other => Err(RenderFault {
                message: format!("`{}` is neither true nor false", cut(&seal::display_value(&other).to_string())),
                help: Some("compare it: `{{eq A B}}`, `{{gt A 0}}`, `{{not A}}`".to_owned()),
                offset: 0,
            }),
        }
    }
}

/// The beginning of a text, for a message.
fn cut(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.inner.source).finish()
    }
}

#[cfg(test)]
mod tests;
