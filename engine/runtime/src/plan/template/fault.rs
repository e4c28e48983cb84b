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

    /// Refuses what is nested so deeply that the parser would take long or run out of stack. Quotes are not looked at, so
    /// it is no proof: the tree that comes out is measured again.
    pub(super) fn nesting(&self, most: usize) -> Result<(), TemplateFault> {
        let (mut blocks, mut branches) = (0_usize, 0_usize);
        for (index, open) in self.opens.iter().enumerate() {
            let next = self.opens.get(index + 1).copied().unwrap_or(self.src.len());
            let rest = self.src.get(open + 2..next).unwrap_or_default();
            let inside = rest.split("}}").next().unwrap_or_default();
            let word = inside.trim_start_matches(['~', ' ']);
            if word.starts_with('#') {
                blocks += 1;
            } else if word.starts_with('/') {
                blocks = blocks.saturating_sub(1);
                branches = 0;
            } else if word.starts_with("else") {
                branches += 1;
            }
            let (mut depth, mut deepest) = (0_usize, 0_usize);
            for byte in inside.bytes() {
                match byte {
                    b'(' | b'[' | b'{' => depth += 1,
                    b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                deepest = deepest.max(depth);
            }
            if deepest.max(blocks).max(branches) > most {
                return Err(self.fault(
                    *open,
                    "this is nested too deeply",
                    Some(format!("at most {most} levels are taken")),
                ));
            }
        }
        Ok(())
    }

    /// What is wrong with a text that the grammar refused at `offset`.
    pub(super) fn explain(&self, offset: usize) -> TemplateFault {
        let open = self.open(offset.min(self.src.len()));
        let after = self.src.get(open + 2..).unwrap_or_default();
        let Some(inside) = after.split_once("}}").map(|(inside, _)| inside) else {
            return self.fault(
                open,
                "`{{` is never closed",
                Some("write `}}` behind the name, or `\\{{` for two braces".into()),
            );
        };
        let shown = format!("`{{{{{inside}}}}}`");
        let bare = inside.trim_matches(['~', ' ', '\t', '\n', '\r']);
        if let Some((message, help)) = mistake(bare) {
            return self.fault(open, format!("{shown} {message}"), Some(help));
        }
        if let Err(fault) = self.blocks() {
            return fault;
        }
        self.fault(
            open,
            format!("{shown} is no expression"),
            Some("write a name such as `{{params.dir}}` or a helper with its values such as `{{json steps.a.list}}`; `\\{{` stands for two braces".into()),
        )
    }

    /// Whether every block is closed by its own name.
    fn blocks(&self) -> Result<(), TemplateFault> {
        let mut stack = Vec::new();
        for open in &self.opens {
            let inside = self.src.get(open + 2..).unwrap_or_default().trim_start_matches(['~', ' ']);
            if let Some(rest) = inside.strip_prefix('#') {
                stack.push((*open, word(rest)));
            } else if let Some(closing) = inside.strip_prefix('/').map(word) {
                match stack.pop() {
                    Some((_, opened)) if opened == closing => {}
                    Some((_, opened)) => return Err(self.mismatch(*open, opened, closing)),
                    None => {
                        let help = format!("take it out, or write the `{{{{#{closing} …}}}}` that it closes");
                        return Err(self.fault(*open, format!("`{{{{/{closing}}}}}` closes nothing"), Some(help)));
                    }
                }
            }
        }
        match stack.pop() {
            None => Ok(()),
            Some((at, name)) => Err(self.fault(
                at,
                format!("`{{{{#{name}` is never closed"),
                Some(format!("write `{{{{/{name}}}}}` at its end")),
            )),
        }
    }

    pub(super) fn mismatch(&self, offset: usize, opened: &str, closing: &str) -> TemplateFault {
        let message = format!("`{{{{/{closing}}}}}` closes `{{{{#{opened}`");
        self.fault(offset, message, Some(format!("write `{{{{/{opened}}}}}` first")))
    }
}

fn word(text: &str) -> &str {
    text.trim_start().split(|c: char| c.is_whitespace() || c == '}' || c == '~').next().unwrap_or_default()
}

/// What people write who know another language of templates.
fn mistake(inside: &str) -> Option<(&'static str, String)> {
    let found = |message, help: &str| Some((message, help.to_owned()));
    if inside.is_empty() {
        return found("is empty", "write a name between the braces, or `\\{{` for two braces");
    }
    let go = ["range ", "end", "json .", "if .", "with .", "len .", "index .", "println ", "printf "];
    if inside.starts_with(['.', '$']) && !inside.starts_with("./") && !inside.starts_with("../")
        || go.iter().any(|word| inside.starts_with(word))
    {
        return found(
            "is an expression of another tool",
            "write `\\{{` or set `template: false` on the step, so that the text stays as it is",
        );
    }
    let words: Vec<&str> = inside.split_whitespace().collect();
    for (sign, helper) in [
        ("==", "eq"),
        ("!=", "ne"),
        (">=", "gte"),
        ("<=", "lte"),
        (">", "gt"),
        ("<", "lt"),
        ("&&", "and"),
        ("||", "or"),
    ] {
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
    None
}
