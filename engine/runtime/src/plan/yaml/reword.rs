//! The parser's errors in the words of this program.
//! Unaware of plans.

use crate::plan::codes;
use crate::plan::diagnostic::Diagnostic;
use crate::plan::source::Span;
use serde_yaml::Error;

/// Beginnings and parts of the parser's messages, and what a person is told instead: message, label, help.
const WORDS: &[(&str, &str, &str, &str)] = &[
    ("unclosed quote", "a quote is opened and never closed", "opened here", "close it, or take it away"),
    (
        "multiline quoted scalar",
        "a quoted text is not closed on its line",
        "in this text",
        "close the quote, or indent the lines that follow",
    ),
    ("unclosed bracket", "a bracket is opened and never closed", "opened here", "close it, or quote the text"),
    (
        "mapping values are not allowed",
        "a `:` stands where no key can be",
        "this colon",
        "quote the text if the colon belongs to it",
    ),
    (
        "illegal placement of ':'",
        "a `:` stands where no key can be",
        "this colon",
        "quote the text if the colon belongs to it, or close the bracket before it",
    ),
    (
        "did not find expected key",
        "this line fits into no map above it",
        "begins in a column of its own",
        "the keys of one map begin in the same column",
    ),
    (
        "did not find expected '-'",
        "this line fits into no list above it",
        "expected `-`",
        "the elements of one list begin in the same column",
    ),
    ("could not find expected ':'", "a key without its `:`", "no colon after this", "write `key: value`"),
    ("simple key expect", "a key without its `:`", "no colon after this", "write `key: value`"),
    (
        "did not find expected ',' or",
        "a comma or the closing bracket is missing",
        "before this",
        "separate elements by commas, close the bracket, or quote the text",
    ),
    ("unexpected character", "a value cannot begin with this character", "this character", "quote the value"),
    ("cannot start any token", "a value cannot begin with this character", "this character", "quote the value"),
    ("escape", "a backslash that means nothing inside double quotes", "here", "write `\\\\`, or use single quotes"),
    (
        "block sequence entries are not allowed",
        "a list cannot begin here",
        "this dash",
        "begin the list on the next line, or quote the text",
    ),
    (
        "control character",
        "a character that cannot stand in a plan",
        "here",
        "remove it, or write it as an escape inside double quotes",
    ),
];

/// What a person is told of an error.
pub(super) fn reword(error: &Error, span: Span) -> Diagnostic {
    match error {
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => too_large(span),
        Error::MultipleDocuments { .. } => syntax(
            span,
            "a plan is one YAML document, and a second one begins here",
            "a second document",
            "remove the line `---`",
        ),
        Error::UnsupportedTag { tag, .. } => {
            syntax(span, &format!("the tag `{tag}` means nothing in a plan"), "this tag", "remove it")
        }
        Error::UnknownAnchor { .. } => syntax(
            span,
            "an alias names an anchor that does not stand before it",
            "no such anchor",
            "write `&name` before the value it stands for, or quote the text if it begins with `*`",
        ),
        Error::MergeValueNotMapOrSeqOfMaps { .. } => {
            syntax(span, "`<<` takes a map, or a list of maps", "not a map", "name the anchor of a map: `<<: *name`")
        }
        Error::NullIntoString { .. }
        | Error::Unexpected { .. }
        | Error::TaggedScalarCannotDeserializeIntoString { .. } => {
            syntax(span, "a key must be a text", "not a text", "quote it")
        }
        other => by_words(&other.render(), span),
    }
}

fn by_words(text: &str, span: Span) -> Diagnostic {
    if text.contains("tab") {
        return Diagnostic::error(codes::TAB, span, "a tab stands where YAML wants blanks")
            .label("a tab")
            .help("indent by blanks");
    }
    match WORDS.iter().find(|(part, ..)| text.contains(part)) {
        Some((_, message, label, help)) => syntax(span, message, label, help),
        None if text.contains("depth") || text.contains("nest") || text.contains("limit") => too_large(span),
        None => syntax(
            span,
            "this is not YAML",
            "the reading stops here",
            "look for a missing quote, colon or bracket on this line or the one before",
        ),
    }
}

fn too_large(span: Span) -> Diagnostic {
    Diagnostic::error(
        codes::TOO_LARGE,
        span,
        "the plan is nested too deeply, or too large once its aliases are written out",
    )
    .label("the limit is passed here")
    .help("a plan may have 64 levels and a million values")
}

fn syntax(span: Span, message: &str, label: &str, help: &str) -> Diagnostic {
    Diagnostic::error(codes::SYNTAX, span, message).label(label).help(help)
}
