//! From YAML text to a tree of nodes with their places: the only module that knows the YAML parser.
//! Unaware of what a plan is. The parser's own words never reach a person.

mod lint;
mod reword;

use super::codes;
use super::diagnostic::Diagnostic;
use super::node::{Key, Node, Value};
use super::source::{FileId, Source, Span};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Error, Location, Spanned};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How often a text is read again with a repeated key set apart; each reading reports one more.
const MAX_DUPLICATES: usize = 40;

/// Reads a file. The tree is there whenever the text can be read at all; what was reported is `Broken` in it.
pub fn parse(id: FileId, file: &Source, faults: &mut Vec<Diagnostic>) -> Option<Node> {
    let linted = lint::lint(id, &file.text);
    let lint_lines: BTreeSet<u32> = linted.faults.iter().map(|fault| file.position(fault.span.start).0).collect();
    faults.extend(linted.faults.iter().cloned());
    let mut text = linted.text;
    let mut twice: BTreeMap<u32, String> = BTreeMap::new();
    let mut attempts = 0;
    loop {
        let error = match serde_yaml::from_str_with_options::<Spanned<Raw>>(&text, options()) {
            Ok(raw) => return Some(Tree { id, file, broken: &linted.broken, twice: &twice, faults }.node(raw)),
            Err(error) => error,
        };
        attempts += 1;
        if attempts <= MAX_DUPLICATES
            && let Some((at, name)) = set_apart(id, file, &error, &mut text, attempts)
        {
            twice.entry(at).or_insert(name);
            continue;
        }
        let fault = reword::reword(&error, place(id, file, error.location()));
        let line = file.position(fault.span.start).0;
        if !linted.runs_away && !lint_lines.iter().any(|known| known.abs_diff(line) <= 1) {
            faults.push(fault);
        }
        return None;
    }
}

fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        strict_booleans: true,
        with_snippet: false,
        reject_unsupported_tags: true,
        non_finite_float_policy: serde_yaml::options::NonFiniteFloatPolicy::AsString,
        budget: serde_yaml::budget! { max_depth: 64, max_nodes: 1_000_000 },
        // Raising the nodes alone would let a file of nested aliases run for seconds.
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: 100_000 },
    }
}

/// Gives a repeated key a spelling of its own, so that the rest of the file can be read too.
fn set_apart(id: FileId, file: &Source, error: &Error, text: &mut String, count: usize) -> Option<(u32, String)> {
    let Error::DuplicateMappingKey { key, location } = error else { return None };
    let span = place(id, file, Some(*location));
    let range = span.start as usize..span.end as usize;
    if range.is_empty() || text.get(range.clone()).is_none_or(|old| old.contains('\n')) {
        return None;
    }
    let mut number = count;
    let spelling: String = range
        .clone()
        .map(|_| {
            let letter = char::from(b'A' + u8::try_from(number % 26).unwrap_or(0));
            number = number / 26 + 7;
            letter
        })
        .collect();
    let name = key.clone().unwrap_or_else(|| file.slice(span).trim_matches(['"', '\'']).to_owned());
    text.replace_range(range, &spelling);
    Some((span.start, name))
}

/// Where the parser says something stands; it gives bytes where it can, else a line and a column.
fn place(id: FileId, file: &Source, location: Option<Location>) -> Span {
    let Some(location) = location else { return Span::new(id, 0, 0) };
    let size = file.text.len();
    let bytes = location.span().byte_offset().zip(location.span().byte_len());
    let bytes = bytes.and_then(|(start, length)| Some((usize::try_from(start).ok()?, usize::try_from(length).ok()?)));
    if let Some((start, length)) = bytes.filter(|(start, length)| *start <= size && *length <= size) {
        return Span::new(id, file.floor(start), file.floor(start + length));
    }
    let start = file.line_start(u32::try_from(location.line()).unwrap_or(u32::MAX));
    let skip = usize::try_from(location.column().saturating_sub(1)).unwrap_or(0);
    let rest = file.text.get(start..).unwrap_or("");
    let line = rest.split('\n').next().unwrap_or("");
    let at = line.char_indices().nth(skip).map_or(line.len(), |(at, _)| at);
    let width = line.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    Span::new(id, start + at, start + at + width)
}

/// Turns what the parser gives into nodes.
struct Tree<'a> {
    id: FileId,
    file: &'a Source,
    broken: &'a BTreeSet<u32>,
    twice: &'a BTreeMap<u32, String>,
    faults: &'a mut Vec<Diagnostic>,
}

impl Tree<'_> {
    fn node(&mut self, raw: Spanned<Raw>) -> Node {
        let span = place(self.id, self.file, Some(raw.defined));
        let value = match raw.value {
            _ if self.broken.contains(&span.start) && span.end > span.start => Value::Broken,
            Raw::Null => Value::Null,
            Raw::Plain => Value::Plain(self.file.slice(span).trim().to_owned()),
            Raw::Text(text) => Value::Text(text),
            Raw::List(list) => Value::List(list.into_iter().map(|node| self.node(node)).collect()),
            Raw::Map(entries) => Value::Map(self.entries(entries)),
        };
        Node { span, value }
    }

    fn entries(&mut self, entries: Vec<(Spanned<String>, Spanned<Raw>)>) -> Vec<(Key, Node)> {
        let mut kept: Vec<(Key, Node)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let span = place(self.id, self.file, Some(key.defined));
            let node = self.node(value);
            if let Some(name) = self.twice.get(&span.start) {
                let mut fault =
                    Diagnostic::error(codes::DUPLICATE, span, format!("the key `{name}` stands twice in one map"))
                        .label("again here")
                        .help("rename one of them, or remove it");
                if let Some((first, _)) = kept.iter().find(|(first, _)| first.text == *name) {
                    fault = fault.also(first.span, "first here");
                }
                self.faults.push(fault);
            } else if !self.broken.contains(&span.start) {
                kept.push((Key { text: key.value, span }, node));
            }
        }
        kept
    }
}

/// What the parser gives. A number's value is read again from its own spelling.
enum Raw {
    Null,
    Plain,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            list.push(element);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
