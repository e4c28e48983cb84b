//! Says in a sentence why a text is no template: the grammar's own message names rules that no reader knows.
//! Unaware of names and values.

use super::TemplateFault;

/// Where the expressions of a text begin, and how its lines lie.
pub(super) struct Places<'s> {
    src: &'s str,
    opens: Vec<usize>,
    lines: Vec<usize>,
}

impl<'s> Places<'s> {
    pub(super) fn new(src: &'s str) -> Self {
        let opens = src.match_indices("{{").map(|(at, _)| at).collect();
        let lines = std::iter::once(0).chain(src.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { src, opens, lines }
    }

    /// The byte at a line and a column, both from 1, columns in characters.
    pub(super) fn byte(&self, line: usize, column: usize) -> usize {
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.src.len());
        let rest = self.src.get(start..).unwrap_or_default();
        start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at)
    }

    /// Which `{{` stands at or before the byte.
    pub(super) fn expression(&self, offset: usize) -> usize {
        self.opens.partition_point(|open| *open <= offset).saturating_sub(1)
    }

    /// Where the `{{` at or before the byte stands.
    pub(super) fn open(&self, offset: usize) -> usize {
        self.opens.get(self.expression(offset)).copied().unwrap_or(0)
    }

    pub(super) fn fault(&self, offset: usize, message: impl Into<String>, help: Option<String>) -> TemplateFault {
        TemplateFault { expression: self.expression(offset), offset, message: message.into(), help }
    }

    /// What is wrong with a text that the grammar refused at `offset`.
    pub(super) fn explain(&self, offset: usize) -> TemplateFault {
        let open = self.open(offset.min(self.src.len()));
        let after = self.src.get(open + 2..).unwrap_or_default();
        let Some(inside) = after.split_once("}}").map(|(inside, _)| inside) else {
            return self.fault(open, "`{{` is never closed", Some("write `}}` behind the name, or `\\{{` for two braces".into()));
        };
        let shown = format!("`{{{{{inside}}}}}`");
        let bare = inside.trim_matches(['~', ' ', '\t', '\n', '\r']);
        if let Some((message, help)) = mistake(bare) {
            return self.fault(open, format!("{shown} {message}"), Some(help));
        }
        if let Some((at, name)) = self.unclosed() {
            return self.fault(at, format!("`{{{{#{name}` is never closed"), Some(format!("write `{{{{/{name}}}}}` at its end")));
        }
        self.fault(
            open,
            format!("{shown} is no expression"),
            Some("write a name such as `{{params.dir}}` or a helper with its values such as `{{json steps.a.list}}`; `\\{{` stands for two braces".into()),
        )
    }

    /// The innermost block that is not closed.
    fn unclosed(&self) -> Option<(usize, &'s str)> {
        let mut stack = Vec::new();
        for open in &self.opens {
            let inside = self.src.get(open + 2..).unwrap_or_default().trim_start_matches('~').trim_start();
            let name = |text: &'s str| text.trim_start().split(|c: char| c.is_whitespace() || c == '}' || c == '~').next().unwrap_or_default();
            if let Some(rest) = inside.strip_prefix('#') {
                stack.push((*open, name(rest)));
            } else if inside.starts_with('/') {
                stack.pop();
            }
        }
        stack.pop()
    }
}

/// What people write who know another language of templates.
fn mistake(inside: &str) -> Option<(&'static str, String)> {
    let found = |message, help: &str| Some((message, help.to_owned()));
    if inside.is_empty() {
        return found("is empty", "write a name between the braces, or `\\{{` for two braces");
    }
    let go = ["range ", "end", "json .", "if .", "with .", "len .", "index .", "println ", "printf "];
    if inside.starts_with(['.', '$']) && !inside.starts_with("./") && !inside.starts_with("../") || go.iter().any(|word| inside.starts_with(word)) {
        return found("is an expression of another tool", "write `\\{{` or set `template: false` on the step, so that the text stays as it is");
    }
    let words: Vec<&str> = inside.split_whitespace().collect();
    for (sign, helper) in [("==", "eq"), ("!=", "ne"), (">=", "gte"), ("<=", "lte"), (">", "gt"), ("<", "lt"), ("&&", "and"), ("||", "or")] {
        if words.contains(&sign) {
            return Some(("has an operator", format!("write the helper first: `{{{{{helper} A B}}}}`")));
        }
    }
    if words.contains(&"|") {
        return found("has a pipe", "write the helper first: `{{json steps.a.list}}`, `{{default params.x 7}}`");
    }
    if words.iter().any(|word| ["+", "-", "*", "/", "%"].contains(word)) {
        return found("calculates", "templates do not calculate; do it in a step and take its output");
    }
    if inside.starts_with("else") {
        return found("stands outside of a block", "write it between `{{#if …}}` and `{{/if}}`");
    }
    if inside.starts_with('/') {
        return found("closes nothing", "take it out, or write the `{{#…}}` that it closes");
    }
    None
}
