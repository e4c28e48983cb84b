//! From [`Shape`] and a scope to a value.
//! Unaware of the grammar. Nothing is asked of the scope but the names that the evaluation reaches.

use super::helpers;
use super::ir::{Block, Expr, Kind, Name, Node, Of, Position, Shape};
use super::{RenderFault, Scope};
use crate::plan::seal;
use serde_json::Value;

/// The element of a block at run time.
struct Frame<'a> {
    up: Option<&'a Frame<'a>>,
    value: &'a Value,
    /// Position, key of a map, whether it is the last; none under `#with`.
    place: Option<(usize, Option<&'a str>, bool)>,
}

/// What evaluation looks names up in.
#[derive(Clone, Copy)]
pub(super) struct Env<'a> {
    scope: &'a dyn Scope,
    frame: Option<&'a Frame<'a>>,
}

/// A value; none where it is missing and may be.
type Found = Result<Option<Value>, RenderFault>;

/// The value of a template.
pub(super) fn render(shape: &Shape, scope: &dyn Scope) -> Result<Value, RenderFault> {
    match shape {
        Shape::Text(text) => Ok(Value::String(text.clone())),
        Shape::One(expr) => Env { scope, frame: None }.value(expr),
        Shape::Many(_) => render_text(shape, scope).map(Value::String),
    }
}

/// The value of a template as a text.
pub(super) fn render_text(shape: &Shape, scope: &dyn Scope) -> Result<String, RenderFault> {
    let env = Env { scope, frame: None };
    let mut out = String::new();
    match shape {
        Shape::Text(text) => out.push_str(text),
        Shape::One(expr) => env.write(expr, &mut out)?,
        Shape::Many(nodes) => env.nodes(nodes, &mut out)?,
    }
    Ok(out)
}

pub(super) fn fault(offset: usize, message: impl Into<String>, help: Option<String>) -> RenderFault {
    RenderFault { message: message.into(), help, offset }
}

/// What a value is, for messages; secrets are not shown.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Appends a value to a text; false where it is none of text, number and boolean.
pub(super) fn write_scalar(value: &Value, out: &mut String) -> bool {
    match value {
        Value::String(text) => out.push_str(text),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => return false,
    }
    true
}

impl Env<'_> {
    fn nodes(self, nodes: &[Node], out: &mut String) -> Result<(), RenderFault> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Write(expr) => self.write(expr, out)?,
                Node::Block(block) => self.block(block, out)?,
            }
        }
        Ok(())
    }

    fn write(self, expr: &Expr, out: &mut String) -> Result<(), RenderFault> {
        let value = self.value(expr)?;
        if write_scalar(&value, out) {
            return Ok(());
        }
        let (what, help) = match &value {
            Value::Null => ("null", "give a value for this case: `{{default NAME \"…\"}}`"),
            Value::Array(_) => ("a list", "write `{{json NAME}}`, `{{join NAME \",\"}}` or `{{sh NAME}}`"),
            _ => ("a map", "name one of its values, or write `{{json NAME}}`"),
        };
        Err(fault(expr.offset(), format!("{} is {what}, which is no text", shown(expr)), Some(help.to_owned())))
    }

    /// A value that must be there.
    pub(super) fn value(self, expr: &Expr) -> Result<Value, RenderFault> {
        self.find(expr)?.ok_or_else(|| fault(expr.offset(), format!("{} is missing", shown(expr)), None))
    }

    /// A value that may be missing where the expression says so.
    pub(super) fn find(self, expr: &Expr) -> Found {
        match expr {
            Expr::Literal(value) => Ok(Some(value.clone())),
            Expr::Name(name) => self.name(name),
            Expr::Call(call) => helpers::call(call, self),
        }
    }

    /// Handlebars' truth: false, 0, null, and everything empty or missing is false.
    pub(super) fn truth(self, expr: &Expr) -> Result<bool, RenderFault> {
        let Some(value) = self.find(expr)? else { return Ok(false) };
        if seal::is_sealed(&value) {
            let help = "a secret may be written out or passed to `sh`, `json`, `option_file`";
            return Err(fault(expr.offset(), format!("{} is secret and no condition", shown(expr)), Some(help.into())));
        }
        Ok(handlebars::JsonTruthy::is_truthy(&value, false))
    }

    fn name(self, name: &Name) -> Found {
        let found = match &name.of {
            Of::Scope(path) => look_up(self.scope, path),
            Of::Secret(secret) => self.scope.secret(secret).map(Value::String),
            Of::Element(level, path) => self.frame_at(*level).and_then(|frame| index(frame.value, path)).cloned(),
            Of::Position(level, position) => self.frame_at(*level).and_then(|frame| frame.position(*position)),
        };
        match found {
            None if !name.optional => Err(self.missing(name)),
            found => Ok(found),
        }
    }

    fn frame_at(&self, level: usize) -> Option<&Frame<'_>> {
        let mut frame = self.frame?;
        for _ in 0..level {
            frame = frame.up?;
        }
        Some(frame)
    }

    fn missing(self, name: &Name) -> RenderFault {
        let (parent, last) = match &name.of {
            Of::Scope(path) => match path.split_last() {
                Some((last, parent)) if !parent.is_empty() => (look_up(self.scope, parent), last),
                _ => (None, &name.shown),
            },
            Of::Element(level, path) => match path.split_last() {
                Some((last, parent)) => {
                    (self.frame_at(*level).and_then(|frame| index(frame.value, parent)).cloned(), last)
                }
                None => (None, &name.shown),
            },
            Of::Secret(_) | Of::Position(..) => (None, &name.shown),
        };
        let help = parent.as_ref().and_then(|parent| match parent {
            Value::Object(map) if !map.is_empty() => {
                Some(match helpers::nearest(last, map.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are {}", helpers::listed(map.keys().map(String::as_str).take(8))),
                })
            }
            Value::Array(list) => Some(format!("the list has {} elements, counted from 0", list.len())),
            _ => None,
        });
        fault(name.offset, format!("`{}` is missing", name.shown), help)
    }

    fn block(self, block: &Block, out: &mut String) -> Result<(), RenderFault> {
        let inverse = block.inverse.as_deref().unwrap_or_default();
        match block.kind {
            Kind::If | Kind::Unless => {
                let holds = self.truth(&block.over)? == (block.kind == Kind::If);
                self.nodes(if holds { &block.body } else { inverse }, out)
            }
            Kind::With => match self.find(&block.over)? {
                Some(value) if handlebars::JsonTruthy::is_truthy(&value, true) || block.inverse.is_none() => {
                    // An alias of a scope's path has no element: its names are the scope's.
                    if matches!(&block.over, Expr::Name(Name { of: Of::Scope(_), .. })) {
                        return self.nodes(&block.body, out);
                    }
                    let frame = Frame { up: self.frame, value: &value, place: None };
                    Env { scope: self.scope, frame: Some(&frame) }.nodes(&block.body, out)
                }
                _ => self.nodes(inverse, out),
            },
            Kind::Each => match self.find(&block.over)? {
                Some(value) => self.each(&value, block, out),
                None => self.nodes(inverse, out),
            },
        }
    }

    fn each(self, over: &Value, block: &Block, out: &mut String) -> Result<(), RenderFault> {
        let entries: Vec<(Option<&str>, &Value)> = match over {
            Value::Array(list) => list.iter().map(|value| (None, value)).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| (Some(key.as_str()), value)).collect(),
            Value::Null if block.inverse.is_some() => Vec::new(),
            other => {
                let message =
                    format!("`#each` needs a list or a map, and {} is {}", shown(&block.over), kind_of(other));
                return Err(fault(block.offset, message, None));
            }
        };
        if entries.is_empty() {
            return self.nodes(block.inverse.as_deref().unwrap_or_default(), out);
        }
        let last = entries.len() - 1;
        for (position, (key, value)) in entries.into_iter().enumerate() {
            let frame = Frame { up: self.frame, value, place: Some((position, key, position == last)) };
            Env { scope: self.scope, frame: Some(&frame) }.nodes(&block.body, out)?;
        }
        Ok(())
    }
}

impl Frame<'_> {
    fn position(&self, position: Position) -> Option<Value> {
        let (index, key, last) = self.place?;
        Some(match position {
            Position::Index => Value::from(index),
            Position::Key => key.map_or_else(|| Value::from(index), Value::from),
            Position::First => Value::Bool(index == 0),
            Position::Last => Value::Bool(last),
        })
    }
}

/// How messages name an expression.
pub(super) fn shown(expr: &Expr) -> String {
    match expr {
        Expr::Literal(value) => format!("`{value}`"),
        Expr::Name(name) => format!("`{}`", name.shown),
        Expr::Call(call) => format!("the result of `{}`", call.helper.name()),
    }
}

/// The value at a path: asked for whole first, then below the longest beginning that stands for a list or a map.
fn look_up(scope: &dyn Scope, path: &[String]) -> Option<Value> {
    let exact = ask(scope, path);
    if exact.as_ref().is_some_and(|value| !value.is_null()) {
        return exact;
    }
    for cut in (1..path.len()).rev() {
        let (prefix, rest) = path.split_at(cut);
        match ask(scope, prefix) {
            None | Some(Value::Null) => {}
            Some(value) => return index(&value, rest).cloned().or(exact),
        }
    }
    exact
}

/// What a scope answers comes from outside, unless it says that templates made it.
fn ask(scope: &dyn Scope, path: &[String]) -> Option<Value> {
    let value = scope.get(path)?;
    Some(if scope.may_hold_seals(path) { value } else { seal::clean_value(value) })
}

/// The value below another one.
pub(super) fn index<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Object(map) => map.get(part),
        Value::Array(list) => part.parse::<usize>().ok().and_then(|at| list.get(at)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}
