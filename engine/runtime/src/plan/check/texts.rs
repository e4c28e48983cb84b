//! Templates out of nodes, with a note of every name that they use.
//! Unaware of what the names mean.

use super::build::{Builder, Site, Use};
use crate::plan::codes;
use crate::plan::diagnostic::Diagnostic;
use crate::plan::node::{Node, Value};
use crate::plan::source::Span;
use crate::plan::template::{Template, Tree};

impl Builder<'_> {
    /// A text; what is no text was reported before and reads as an empty one.
    pub(super) fn text(&mut self, node: &Node, site: Site) -> Template {
        let text = node.written().unwrap_or_default();
        if site.literal || !text.contains("{{") {
            return Template::literal(text);
        }
        match Template::parse(text) {
            Ok(template) => {
                for reference in template.refs() {
                    let words = reference.path.join(".");
                    let span = self.name_span(node, text, reference.expression, reference.offset, words.len());
                    self.uses.push(Use { site, reference: reference.clone(), span });
                }
                template
            }
            Err(fault) => {
                let span = self.expression_span(node, fault.expression);
                let diagnostic =
                    Diagnostic::error(codes::TEMPLATE, span, format!("cannot read the template: {}", fault.message));
                self.fault(diagnostic.label("in this expression").maybe_help(fault.help));
                Template::literal("")
            }
        }
    }

    /// A value of any shape.
    pub(super) fn any(&mut self, node: &Node, site: Site) -> Tree {
        match &node.value {
            Value::Text(text) if text.contains("{{") && !site.literal => Tree::Text(self.text(node, site)),
            Value::List(list) if node.has_template() => {
                Tree::List(list.iter().map(|node| self.any(node, site)).collect())
            }
            Value::Map(map) if node.has_template() => {
                Tree::Map(map.iter().map(|(key, node)| (key.text.clone(), self.any(node, site))).collect())
            }
            Value::Null | Value::Plain(_) | Value::Text(_) | Value::List(_) | Value::Map(_) | Value::Broken => {
                Tree::Value(node.json())
            }
        }
    }

    /// A scalar as written.
    pub(super) fn written(&mut self, node: &Node, site: Site) -> Tree {
        let text = node.written().unwrap_or_default();
        if text.contains("{{") && !site.literal {
            Tree::Text(self.text(node, site))
        } else {
            Tree::Value(serde_json::Value::String(text.to_owned()))
        }
    }

    /// `env:` of a plan or a step.
    pub(super) fn env(&mut self, node: Option<&Node>, site: Site) -> Vec<(String, Template)> {
        let entries = node.and_then(Node::map).unwrap_or(&[]);
        entries.iter().map(|(key, node)| (key.text.clone(), self.text(node, site))).collect()
    }

    /// The k-th expression of a text as it stands in the file. Quotes and indentation make the file's text another than
    /// the value, so expressions are counted.
    fn expression_span(&self, node: &Node, expression: usize) -> Span {
        let raw = self.sources.slice(node.span);
        let Some((start, _)) = raw.match_indices("{{").nth(expression) else { return node.span };
        let inner = raw.get(start..).unwrap_or("");
        let end = inner.find("}}").map_or(inner.len(), |end| end + 2);
        let end = end + inner.get(end..).unwrap_or("").starts_with('}') as usize;
        let from = node.span.start as usize + start;
        Span::new(node.span.file, from, from + end)
    }

    /// A name inside an expression.
    fn name_span(&self, node: &Node, text: &str, expression: usize, offset: usize, length: usize) -> Span {
        let whole = self.expression_span(node, expression);
        let begin = text.match_indices("{{").nth(expression).map_or(0, |(at, _)| at);
        let inside = offset.saturating_sub(begin);
        let start = whole.start as usize + inside;
        let narrow = Span::new(whole.file, start, start + length);
        let same = self.sources.slice(narrow) == text.get(offset..offset + length).unwrap_or("\0");
        if same { narrow } else { whole }
    }
}
