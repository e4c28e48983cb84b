//! A fault of a plan: what is wrong, where, and what to do about it, for people and for programs.
//! Unaware of how faults are found.

use super::source::{Source, Sources, Span};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::ops::Range;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The plan cannot run.
    Error,
    /// The plan can run, and somebody should know this.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A fault of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The name of its page in docs/errors.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What is to be seen there.
    pub label: String,
    /// Other places that matter, each with what is to be seen there.
    pub secondary: Vec<(Span, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A fault that stops the plan.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, span, message.into())
    }

    /// A remark that does not stop the plan.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, span, message.into())
    }

    fn new(severity: Severity, code: &'static str, span: Span, message: String) -> Self {
        Self { severity, code, message, span, label: String::new(), secondary: Vec::new(), help: None }
    }

    /// Says what is to be seen at the place.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds another place.
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.secondary.push((span, label.into()));
        self
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what to do, where there is something to say.
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// As text with the source lines, without colours; ends with a line break.
    #[must_use]
    pub fn render(&self, sources: &Sources) -> String {
        self.render_with(sources, &Renderer::plain())
    }

    /// As text with the source lines and colours.
    #[must_use]
    pub fn render_styled(&self, sources: &Sources) -> String {
        self.render_with(sources, &Renderer::styled())
    }

    fn render_with(&self, sources: &Sources, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group: Group<'_> =
            level.primary_title(self.message.as_str()).id(self.code).elements(self.snippets(sources));
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let mut text = without_gap(&renderer.render(&[group]));
        text.push('\n');
        text
    }

    fn snippets<'a>(&'a self, sources: &'a Sources) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let mut snippets = Vec::new();
        let Some(file) = sources.get(self.span.file) else { return snippets };
        let here: Vec<_> = self.secondary.iter().filter(|(span, _)| span.file == self.span.file).collect();
        let window = Window::over(file, std::iter::once(self.span).chain(here.iter().map(|(span, _)| *span)));
        let mut snippet = window.snippet(file);
        let primary = AnnotationKind::Primary.span(window.clip(file, self.span));
        snippet = snippet.annotation(if self.label.is_empty() { primary } else { primary.label(self.label.as_str()) });
        for (span, label) in here {
            snippet = snippet.annotation(AnnotationKind::Context.span(window.clip(file, *span)).label(label.as_str()));
        }
        snippets.push(snippet);
        for (span, label) in self.secondary.iter().filter(|(span, _)| span.file != self.span.file) {
            let Some(file) = sources.get(span.file) else { continue };
            let window = Window::over(file, std::iter::once(*span));
            let context = AnnotationKind::Context.span(window.clip(file, *span)).label(label.as_str());
            snippets.push(window.snippet(file).annotation(context));
        }
        snippets
    }

    /// As `check --json` shows it.
    #[must_use]
    pub fn to_json(&self, sources: &Sources) -> serde_json::Value {
        let place = sources.place(self.span);
        serde_json::json!({
            "file": place.file, "line": place.line, "column": place.column, "severity": self.severity.word(),
            "code": self.code, "message": self.message, "help": self.help,
        })
    }
}

/// The lines that a snippet shows; a plan of many megabytes is not handed to the renderer whole.
struct Window {
    /// From 1.
    first: u32,
    bytes: Range<usize>,
}

impl Window {
    fn over(file: &Source, spans: impl Iterator<Item = Span>) -> Self {
        let (mut first, mut last) = (u32::MAX, 0);
        for span in spans {
            let line = file.position(span.start).0;
            first = first.min(line);
            last = last.max(line);
        }
        let bytes = file.line_start(first)..file.line_start(last.saturating_add(1));
        Self { first, bytes }
    }

    fn snippet<'a>(&self, file: &'a Source) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let text = file.text.get(self.bytes.clone()).unwrap_or("");
        Snippet::source(text).line_start(self.first as usize).path(&*file.name)
    }

    /// The part of a span on its first line, seen from the window's start.
    fn clip(&self, file: &Source, span: Span) -> Range<usize> {
        let start = file.floor(span.start as usize);
        let line_end = file.line_start(file.position(span.start).0 + 1);
        let line = file.text.get(start..line_end).unwrap_or("").trim_end_matches(['\n', '\r']);
        let end = file.floor(span.end as usize).clamp(start, start + line.len());
        let from = start - self.bytes.start.min(start);
        from..from + (end - start)
    }
}

/// The renderer puts an empty gutter line between the snippet and the notes; the contract has none.
fn without_gap(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let plain = |line: &str| anstyle_free(line).trim().to_owned();
    let mut kept = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        let next_is_note = lines.get(at + 1).is_some_and(|next| plain(next).starts_with("= "));
        if !(plain(line) == "|" && next_is_note) {
            kept.push(*line);
        }
    }
    kept.join("\n")
}

fn anstyle_free(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut escape = false;
    for c in line.chars() {
        match (escape, c) {
            (false, '\u{1b}') => escape = true,
            (false, c) => out.push(c),
            (true, 'm') => escape = false,
            (true, _) => {}
        }
    }
    out
}

/// `did you mean `dump`?`, where one of the names is near.
#[must_use]
pub fn did_you_mean<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(given, names).map(|name| format!("did you mean `{name}`?"))
}

/// The nearest of the names, if one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = given.chars().count();
    let lower = given.to_lowercase();
    let near = |name: &'a str| {
        let other = name.chars().count();
        let limit = (length.max(other) / 3).max(1);
        if length.abs_diff(other) > limit || length > 200 {
            return None;
        }
        let distance = strsim::damerau_levenshtein(&lower, &name.to_lowercase());
        (distance <= limit).then_some((distance, name))
    };
    names.into_iter().filter_map(near).min().map(|(_, name)| name)
}

/// `a, b or c`, each in backticks, at most `most` of them.
#[must_use]
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>, most: usize) -> String {
    let all: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if all.len() > most {
        let shown = all.get(..most).unwrap_or(&all).join(", ");
        return format!("{shown} and {} more", all.len() - most);
    }
    match all.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
