//! A value of any shape with templates at its leaves: what stands under `with:`.
//! Unaware of names.

use super::{Ref, RenderFault, Scope, Template};
use crate::plan::seal;
use serde_json::{Map, Value};

/// A value of any shape with templates at its leaves.
#[derive(Debug, Clone)]
pub enum Tree {
    /// Without expressions.
    Value(Value),
    /// A text with expressions.
    Text(Template),
    /// A list.
    List(Vec<Tree>),
    /// A map, in the order of the file.
    Map(Vec<(String, Tree)>),
}

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl Tree {
    /// The value.
    ///
    /// # Errors
    /// The first leaf that has none.
    pub fn render(&self, scope: &dyn Scope) -> Result<Value, RenderFault> {
        Ok(match self {
            Self::Value(value) => seal::clean_value(value.clone()),
            Self::Text(template) => template.render(scope)?,
            Self::List(list) => Value::Array(list.iter().map(|tree| tree.render(scope)).collect::<Result<_, _>>()?),
            Self::Map(entries) => {
                let mut map = Map::new();
                for (key, tree) in entries {
                    map.insert(seal::clean(key).into_owned(), tree.render(scope)?);
                }
                Value::Object(map)
            }
        })
    }

    /// Every name that its leaves use.
    #[must_use]
    pub fn refs(&self) -> Vec<&Ref> {
        match self {
            Self::Value(_) => Vec::new(),
            Self::Text(template) => template.refs().iter().collect(),
            Self::List(list) => list.iter().flat_map(Self::refs).collect(),
            Self::Map(entries) => entries.iter().flat_map(|(_, tree)| tree.refs()).collect(),
        }
    }

    /// It has no expressions: its value is the same in every scope.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        match self {
            Self::Value(_) => true,
            Self::Text(template) => template.is_literal(),
            Self::List(list) => list.iter().all(Self::is_literal),
            Self::Map(entries) => entries.iter().all(|(_, tree)| tree.is_literal()),
        }
    }
}
