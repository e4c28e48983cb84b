//! From text to [`Shape`]: the handlebars crate parses, this module resolves names and refuses what we do not take.
//! Unaware of values.
//!
//! Inside `#each` and `#with` a name belongs to the element, except one that begins with a word of [`ROOTS`]: that is
//! always the scope's, so `{{params.dir}}` means the same everywhere. `this.params` is the element's.

use super::fault::Places;
use super::helpers::{self, Helper};
use super::ir::{Block, Call, Expr, Kind, Name, Node, Of, Position, Shape};
use super::{Ref, TemplateFault};
use crate::plan::seal;
use handlebars::template::{BlockParam, HelperTemplate, Parameter, Template as Parsed, TemplateElement};
use handlebars::{Path, PathSeg};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The first words of names that a scope answers for.
pub(super) const ROOTS: [&str; 9] = ["params", "secrets", "steps", "item", "item_key", "run", "plan", "host", "env"];
/// Deeper nesting is refused: evaluation recurses, and threads have small stacks.
const DEPTH: usize = 40;

/// A block around the text at hand that gives names a meaning.
struct Frame {
    /// `as |element position|`
    names: Vec<String>,
    /// `#with params.x`: names are those of the scope below this path. None: there is an element at run time.
    alias: Option<Vec<String>>,
}

/// How a value is used.
#[derive(Clone, Copy)]
struct Use<'a> {
    helper: Option<&'a str>,
    plain: bool,
    optional: bool,
    depth: usize,
}

impl<'a> Use<'a> {
    fn by(helper: &'a str, outer: Use<'_>, optional: bool) -> Self {
        Self { helper: Some(helper), plain: false, optional, depth: outer.depth + 1 }
    }
}

struct Lower<'s> {
    src: &'s str,
    places: Places<'s>,
    refs: Vec<Ref>,
    /// Names are found in the text from here on.
    cursor: usize,
    frames: Vec<Frame>,
    /// What enclosing `if`s have asked for.
    asked: Vec<Vec<String>>,
}

type Lowered<T> = Result<T, TemplateFault>;

/// Reads a text.
pub(super) fn parse(src: &str) -> Lowered<(Shape, Vec<Ref>)> {
    if !src.contains("{{") {
        return Ok((Shape::Text(seal::clean(src).into_owned()), Vec::new()));
    }
    let places = Places::new(src);
    places.nesting(DEPTH)?;
    let parsed = compile(src, &places)?;
    let mut lower = Lower { src, places, refs: Vec::new(), cursor: 0, frames: Vec::new(), asked: Vec::new() };
    let mut nodes = lower.template(&parsed, 0, 0)?;
    let refs = lower.refs;
    let shape = match nodes.as_mut_slice() {
        [Node::Write(_)] => match nodes.pop() {
            Some(Node::Write(expr)) => Shape::One(expr),
            other => Shape::Many(other.into_iter().collect()),
        },
        all if all.iter().all(|node| matches!(node, Node::Text(_))) => Shape::Text(all.iter().map(text_of).collect()),
        _ => Shape::Many(nodes),
    };
    Ok((shape, refs))
}

fn text_of(node: &Node) -> &str {
    match node {
        Node::Text(text) => text,
        Node::Write(_) | Node::Block(_) => "",
    }
}

/// A panic of the crate on a text that it did not foresee is a fault of the text.
fn compile(src: &str, places: &Places<'_>) -> Lowered<Parsed> {
    let compiled = catch_unwind(AssertUnwindSafe(|| Parsed::compile(src)));
    let Ok(compiled) = compiled else { return Err(places.explain(src.len())) };
    compiled.map_err(|error| {
        let offset = error.pos().map_or(src.len(), |(line, column)| places.byte(line, column));
        match error.reason() {
            handlebars::TemplateErrorReason::MismatchingClosedHelper(opened, closing) => {
                places.mismatch(places.open(offset), opened, closing)
            }
            _ => places.explain(offset),
        }
    })
}

impl Lower<'_> {
    fn template(&mut self, parsed: &Parsed, base: usize, depth: usize) -> Lowered<Vec<Node>> {
        if depth > DEPTH {
            return Err(self.places.fault(self.cursor, "blocks are nested too deeply", None));
        }
        let mut nodes = Vec::with_capacity(parsed.elements.len());
        for (index, element) in parsed.elements.iter().enumerate() {
            let at = parsed.mapping.get(index).map_or(base, |place| self.places.byte(place.0, place.1));
            match element {
                TemplateElement::RawString(text) => nodes.push(Node::Text(seal::clean(text).into_owned())),
                TemplateElement::Comment(_) => {}
                TemplateElement::Expression(helper) => {
                    self.cursor = self.cursor.max(at);
                    let usage = Use { helper: None, plain: true, optional: false, depth };
                    nodes.push(Node::Write(self.call(&helper.name, helper, at, usage)?));
                }
                TemplateElement::HelperBlock(helper) => self.block(helper, at, depth, &mut nodes)?,
                TemplateElement::HtmlExpression(_) => {
                    let help = "write two braces: nothing is escaped anyway";
                    return Err(self.places.fault(at, "three braces or `&` are not used here", Some(help.into())));
                }
                _ => {
                    let help = "write the text where it is used; `\\{{` stands for two braces";
                    return Err(self.places.fault(at, "partials and decorators are not used here", Some(help.into())));
                }
            }
        }
        Ok(nodes)
    }

    fn call(&mut self, name: &Parameter, call: &HelperTemplate, at: usize, usage: Use<'_>) -> Lowered<Expr> {
        if call.params.is_empty() && call.hash.is_empty() {
            return self.parameter(name, at, usage);
        }
        let word = name.as_name().unwrap_or_default();
        let at = self.find(word, at);
        let Some(helper) = Helper::named(word) else { return Err(self.unknown_helper(word, at)) };
        if usage.depth > DEPTH {
            return Err(self.places.fault(at, "helpers are nested too deeply", None));
        }
        let last = call.params.len().saturating_sub(1);
        let mut args = Vec::with_capacity(call.params.len());
        for (index, param) in call.params.iter().enumerate() {
            let optional = match helper {
                Helper::Default => index < last || usage.optional,
                Helper::And | Helper::Or | Helper::Not => usage.optional,
                _ => false,
            };
            args.push(self.parameter(param, at, Use::by(word, usage, optional))?);
        }
        let mut hash: Vec<_> = call.hash.iter().collect();
        hash.sort_by_key(|(key, _)| key.as_str());
        let mut options = Vec::with_capacity(hash.len());
        for (key, param) in hash {
            options.push((key.clone(), self.parameter(param, at, Use::by(word, usage, false))?));
        }
        let mut call = Call { helper, args, options, regex: None, offset: at, optional: usage.optional };
        helpers::check(&mut call).map_err(|(message, help)| self.places.fault(at, message, help))?;
        Ok(Expr::Call(Box::new(call)))
    }

    fn unknown_helper(&self, word: &str, at: usize) -> TemplateFault {
        let near = helpers::nearest(word, Helper::names());
        let help = near.map_or_else(
            || format!("helpers are {}", helpers::listed(Helper::names())),
            |near| format!("did you mean `{near}`?"),
        );
        self.places.fault(at, format!("unknown helper `{word}`"), Some(help))
    }

    fn parameter(&mut self, param: &Parameter, at: usize, usage: Use<'_>) -> Lowered<Expr> {
        match param {
            Parameter::Literal(value) => Ok(Expr::Literal(seal::clean_value(value.clone()))),
            Parameter::Path(path) => self.name(path, at, usage),
            Parameter::Name(name) => match Path::parse(name) {
                Ok(path) => self.name(&path, at, usage),
                Err(_) => Err(self.places.fault(at, format!("`{name}` is no name"), None)),
            },
            Parameter::Subexpression(sub) => match sub.as_element() {
                TemplateElement::Expression(call) if usage.depth <= DEPTH => {
                    let usage = Use { plain: false, depth: usage.depth + 1, ..usage };
                    self.call(&call.name, call, at, usage)
                }
                TemplateElement::Expression(_) => Err(self.places.fault(at, "helpers are nested too deeply", None)),
                _ => Err(self.places.fault(at, "this is no expression", None)),
            },
            _ => Err(self.places.fault(at, "this is no expression", None)),
        }
    }

    /// The byte where `raw` stands as a word, at or behind the cursor; `at` where it is not found.
    fn find(&mut self, raw: &str, at: usize) -> usize {
        let from = self.cursor.max(at);
        let part = |c: char| c.is_alphanumeric() || "-_$:.@/[]".contains(c);
        let found =
            self.src.get(from..).unwrap_or_default().match_indices(raw).map(|(found, _)| from + found).find(|found| {
                let before = self.src.get(..*found).and_then(|text| text.chars().next_back());
                let after = self.src.get(found + raw.len()..).and_then(|text| text.chars().next());
                !raw.is_empty() && !before.is_some_and(part) && !after.is_some_and(part)
            });
        if let Some(found) = found {
            self.cursor = found + raw.len();
        }
        found.unwrap_or(at)
    }

    fn name(&mut self, path: &Path, at: usize, usage: Use<'_>) -> Lowered<Expr> {
        let (of, raw) = match path {
            Path::Local((level, name, raw)) => (self.position(*level, name, at)?, raw),
            Path::Relative((segments, raw)) => (self.resolve(segments, raw, at)?, raw),
        };
        let offset = self.find(raw, at);
        let shown = seal::clean(raw).into_owned();
        if usage.helper.is_none() && Helper::named(raw).is_some() && matches!(of, Of::Scope(_)) {
            return Err(self.places.fault(offset, format!("helper `{raw}` is given no value"), None));
        }
        let path = match &of {
            Of::Scope(path) => Some(path.clone()),
            Of::Secret(name) => Some(vec!["secrets".to_owned(), name.clone()]),
            Of::Element(..) | Of::Position(..) => None,
        };
        if let Some(path) = path {
            let guarded = usage.optional || self.asked.iter().any(|asked| path.starts_with(asked));
            let expression = self.places.expression(offset);
            self.refs.push(Ref {
                path,
                expression,
                offset,
                guarded,
                helper: usage.helper.map(str::to_owned),
                plain: usage.plain,
            });
        }
        Ok(Expr::Name(Name { of, shown, offset, optional: usage.optional }))
    }

    fn position(&self, level: usize, name: &str, at: usize) -> Lowered<Of> {
        let position = match name {
            "index" => Position::Index,
            "key" => Position::Key,
            "first" => Position::First,
            "last" => Position::Last,
            _ => {
                let help = "inside `#each` there are `@index`, `@key`, `@first` and `@last`";
                return Err(self.places.fault(at, format!("`@{name}` is unknown"), Some(help.into())));
            }
        };
        if self.frames.iter().filter(|frame| frame.alias.is_none()).count() <= level {
            return Err(self.places.fault(at, format!("`@{name}` is known only inside `#each`"), None));
        }
        Ok(Of::Position(level, position))
    }

    fn resolve(&self, segments: &[PathSeg], raw: &str, at: usize) -> Lowered<Of> {
        let (mut up, mut root, mut names) = (0, false, Vec::new());
        for segment in segments {
            match segment {
                PathSeg::Named(name) => names.push(seal::clean(name).into_owned()),
                // The rule's type is private to the crate; its name is not.
                other => match format!("{other:?}").as_str() {
                    "Ruled(path_up)" => up += 1,
                    "Ruled(path_root)" => root = true,
                    _ => {}
                },
            }
        }
        let own = raw == "this" || ["this.", "this/", "./"].iter().any(|prefix| raw.starts_with(prefix));
        if up > self.frames.len() {
            return Err(self.places.fault(at, format!("`{raw}` goes up further than there are blocks"), None));
        }
        let frames = self.frames.get(..self.frames.len() - up).unwrap_or_default();
        if !own
            && up == 0
            && !root
            && let Some(of) = block_param(frames, &names)
        {
            return Ok(of);
        }
        let from_root = root || !own && names.first().is_some_and(|name| ROOTS.contains(&name.as_str()));
        match frames.last() {
            Some(frame) if !from_root => Ok(match &frame.alias {
                Some(alias) => Of::Scope(alias.iter().cloned().chain(names).collect()),
                None => Of::Element(elements(self.frames.get(frames.len()..).unwrap_or_default()), names),
            }),
            None if own || names.is_empty() => {
                Err(self.places.fault(at, format!("`{raw}` is known only inside `#each` and `#with`"), None))
            }
            _ => self.of_scope(names, at),
        }
    }

    fn of_scope(&self, names: Vec<String>, at: usize) -> Lowered<Of> {
        match names.as_slice() {
            [first, name] if first == "secrets" => Ok(Of::Secret(name.clone())),
            [first, ..] if first == "secrets" => {
                Err(self.places.fault(at, "a secret is one text", Some("write `{{secrets.NAME}}`".into())))
            }
            _ => Ok(Of::Scope(names)),
        }
    }

    fn block(&mut self, block: &HelperTemplate, at: usize, depth: usize, nodes: &mut Vec<Node>) -> Lowered<()> {
        self.cursor = self.cursor.max(at);
        let word = block.name.as_name().unwrap_or_default().to_owned();
        let kind = match word.as_str() {
            "if" => Kind::If,
            "unless" => Kind::Unless,
            "each" => Kind::Each,
            "with" => Kind::With,
            "raw" => {
                let body = block.template.as_ref().map(|body| self.template(body, at, depth + 1)).transpose()?;
                nodes.extend(body.unwrap_or_default());
                return Ok(());
            }
            _ => return Err(self.unknown_block(&word, at)),
        };
        let [param] = block.params.as_slice() else {
            return Err(self.places.fault(
                at,
                format!("`#{word}` takes one value"),
                Some(format!("write `{{{{#{word} NAME}}}}`")),
            ));
        };
        if !block.hash.is_empty() {
            return Err(self.places.fault(at, format!("`#{word}` takes no options"), None));
        }
        let optional = matches!(kind, Kind::If | Kind::Unless) || block.inverse.is_some();
        let over = self.parameter(param, at, Use { helper: Some(&word), plain: false, optional, depth: depth + 1 })?;
        let (body, inverse) = self.bodies(kind, &over, block, (at, depth + 1))?;
        nodes.push(Node::Block(Box::new(Block { kind, over, body, inverse, offset: at })));
        Ok(())
    }

    fn bodies(
        &mut self,
        kind: Kind,
        over: &Expr,
        block: &HelperTemplate,
        (at, depth): (usize, usize),
    ) -> Lowered<(Vec<Node>, Option<Vec<Node>>)> {
        let (asked, frames) = (self.asked.len(), self.frames.len());
        match kind {
            Kind::If => ask(over, &mut self.asked),
            Kind::Unless => {}
            Kind::Each => self.frames.push(Frame { names: block_params(block), alias: None }),
            Kind::With => {
                ask(over, &mut self.asked);
                self.frames.push(Frame { names: block_params(block), alias: alias(over) });
            }
        }
        let body = block.template.as_ref().map(|body| self.template(body, at, depth)).transpose()?.unwrap_or_default();
        self.asked.truncate(asked);
        self.frames.truncate(frames);
        if kind == Kind::Unless {
            ask(over, &mut self.asked);
        }
        let inverse = block.inverse.as_ref().map(|body| self.template(body, at, depth)).transpose()?;
        self.asked.truncate(asked);
        Ok((body, inverse))
    }

    fn unknown_block(&self, word: &str, at: usize) -> TemplateFault {
        let blocks = ["if", "unless", "each", "with"];
        let help = if Helper::named(word).is_some() {
            format!("write `{{{{#if ({word} …)}}}}`")
        } else if let Some(near) = helpers::nearest(word, blocks) {
            format!("did you mean `#{near}`?")
        } else {
            "blocks are `#if`, `#unless`, `#each` and `#with`".to_owned()
        };
        self.places.fault(at, format!("unknown block `#{word}`"), Some(help))
    }
}

/// A name given by `as |name|` of an enclosing block, the innermost first.
fn block_param(frames: &[Frame], names: &[String]) -> Option<Of> {
    let (first, rest) = names.split_first()?;
    for (index, frame) in frames.iter().enumerate().rev() {
        let level = elements(frames.get(index + 1..).unwrap_or_default());
        match frame.names.iter().position(|name| name == first) {
            Some(0) => {
                return Some(match &frame.alias {
                    Some(alias) => Of::Scope(alias.iter().chain(rest).cloned().collect()),
                    None => Of::Element(level, rest.to_vec()),
                });
            }
            Some(_) if rest.is_empty() && frame.alias.is_none() => return Some(Of::Position(level, Position::Key)),
            Some(_) | None => {}
        }
    }
    None
}

/// How many of the frames have an element at run time.
fn elements(frames: &[Frame]) -> usize {
    frames.iter().filter(|frame| frame.alias.is_none()).count()
}

fn block_params(block: &HelperTemplate) -> Vec<String> {
    let name = |param: &Parameter| param.as_name().unwrap_or_default().to_owned();
    match &block.block_param {
        Some(BlockParam::Single(element)) => vec![name(element)],
        Some(BlockParam::Pair((element, position))) => vec![name(element), name(position)],
        _ => Vec::new(),
    }
}

fn alias(over: &Expr) -> Option<Vec<String>> {
    match over {
        Expr::Name(Name { of: Of::Scope(path), .. }) => Some(path.clone()),
        Expr::Name(_) | Expr::Literal(_) | Expr::Call(_) => None,
    }
}

/// What is certainly there where the condition holds.
fn ask(over: &Expr, asked: &mut Vec<Vec<String>>) {
    match over {
        Expr::Call(call) if call.helper == Helper::And => call.args.iter().for_each(|arg| ask(arg, asked)),
        Expr::Name(_) | Expr::Literal(_) | Expr::Call(_) => asked.extend(alias(over)),
    }
}
