//! A parsed template, reduced to what evaluation needs: names resolved to the scope or to a block, helpers known.
//! Unaware of the crate that parsed it.

use super::helpers::Helper;
use regex::Regex;
use serde_json::Value;

/// What a template is.
#[derive(Debug)]
pub(super) enum Shape {
    /// No expression.
    Text(String),
    /// Exactly one expression: its value keeps its type.
    One(Expr),
    /// Anything else: a text.
    Many(Vec<Node>),
}

/// A piece of a text.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Write(Expr),
    Block(Box<Block>),
}

#[derive(Debug)]
pub(super) struct Block {
    pub kind: Kind,
    pub over: Expr,
    pub body: Vec<Node>,
    /// `{{else}}`
    pub inverse: Option<Vec<Node>>,
    pub offset: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    If,
    Unless,
    Each,
    With,
}

#[derive(Debug)]
pub(super) enum Expr {
    Literal(Value),
    Name(Name),
    Call(Box<Call>),
}

/// A name in an expression.
#[derive(Debug)]
pub(super) struct Name {
    pub of: Of,
    /// As messages show it.
    pub shown: String,
    pub offset: usize,
    /// A missing value is an answer, not an error.
    pub optional: bool,
}

/// Whom a name is asked of.
#[derive(Debug)]
pub(super) enum Of {
    Scope(Vec<String>),
    /// `secrets.NAME`
    Secret(String),
    /// The element of the block so many levels up, and the path in it.
    Element(usize, Vec<String>),
    /// `@index` and its like, so many levels up.
    Position(usize, Position),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Index,
    Key,
    First,
    Last,
}

#[derive(Debug)]
pub(super) struct Call {
    pub helper: Helper,
    pub args: Vec<Expr>,
    /// `name=value`, in the order of names.
    pub options: Vec<(String, Expr)>,
    /// The pattern of `regex_replace`, where it is known beforehand.
    pub regex: Option<Regex>,
    pub offset: usize,
    /// A missing value is an answer, not an error.
    pub optional: bool,
}

impl Expr {
    pub(super) fn offset(&self) -> usize {
        match self {
            Self::Literal(_) => 0,
            Self::Name(name) => name.offset,
            Self::Call(call) => call.offset,
        }
    }
}
