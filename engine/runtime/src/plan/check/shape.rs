//! Whether values have the shape that the tables of keys say.
//! Unaware of names and references. What is wrong here is reported here; whoever reads the value later stays silent.

use crate::plan::codes;
use crate::plan::diagnostic::{Diagnostic, did_you_mean, listed, nearest};
use crate::plan::keys::{self, Key as Known, Kind, State, Table};
use crate::plan::node::{Key, Node, Value, is_ambiguous};
use crate::plan::quantity;

/// Reports what does not fit.
pub(super) struct Shape<'a> {
    pub(super) faults: &'a mut Vec<Diagnostic>,
}

impl Shape<'_> {
    /// A map with the keys of a table.
    pub(super) fn object(&mut self, node: &Node, table: &'static Table) {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Broken => return,
            Value::Null | Value::Plain(_) | Value::Text(_) | Value::List(_) => {
                let keys = listed(table.names(), 6);
                return self.wrong(node, &format!("{} is a map", table.title), Some(format!("its keys are {keys}")));
            }
        };
        for (key, value) in entries {
            match table.get(&key.text) {
                Some(known) if known.state == State::Later => self.later(key, table),
                Some(known) => self.value(&key.text, value, known.kind),
                None => self.unknown(key, table),
            }
        }
        for known in table.keys.iter().filter(|known| known.state == State::Required) {
            let misspelt = || {
                entries.iter().any(|(key, _)| {
                    table.get(&key.text).is_none() && nearest(&key.text, table.names()) == Some(known.name)
                })
            };
            if node.get(known.name).is_none() && !misspelt() {
                self.missing(node, known, table);
            }
        }
    }

    fn later(&mut self, key: &Key, table: &Table) {
        let name = &key.text;
        self.faults.push(
            Diagnostic::error(
                codes::LATER_KEY,
                key.span,
                format!("`{name}` of {} is known, but this version does not have it yet", table.title),
            )
            .label("not in this version")
            .help("take it out, or use a newer flowrun"),
        );
    }

    fn unknown(&mut self, key: &Key, table: &Table) {
        let help = did_you_mean(&key.text, table.names())
            .unwrap_or_else(|| format!("its keys are {}", listed(table.names(), 40)));
        self.faults.push(
            Diagnostic::error(codes::UNKNOWN_KEY, key.span, format!("`{}` is not a key of {}", key.text, table.title))
                .label("unknown key")
                .help(help),
        );
    }

    fn missing(&mut self, node: &Node, known: &Known, table: &Table) {
        let span = match node.map().and_then(|entries| entries.first()) {
            Some((key, _)) => key.span,
            None => node.span,
        };
        self.faults.push(
            Diagnostic::error(codes::MISSING_KEY, span, format!("{} needs the key `{}`", table.title, known.name))
                .label(format!("`{}` is missing here", known.name))
                .help(format!("add `{}: ...`", known.name)),
        );
    }

    fn wrong(&mut self, node: &Node, takes: &str, help: Option<String>) {
        let what = node.describe();
        self.faults.push(
            Diagnostic::error(codes::WRONG_TYPE, node.span, format!("{takes}, and this is {what}"))
                .label(what)
                .maybe_help(help),
        );
    }

    fn value(&mut self, name: &str, node: &Node, kind: Kind) {
        if matches!(node.value, Value::Broken) || self.ambiguous(node, kind) {
            return;
        }
        match kind {
            Kind::Any => self.any(node),
            Kind::List(inner) => self.list(name, node, *inner),
            Kind::OneOrMany(inner) => match node.list() {
                Some(list) => list.iter().for_each(|node| self.value(name, node, *inner)),
                None if node.map().is_some() => self.wrong(
                    node,
                    &format!("`{name}` is one value or a list of them"),
                    Some(format!("write `{name}: [...]`")),
                ),
                None => self.value(name, node, *inner),
            },
            Kind::Map(inner) => self.map(name, node, *inner),
            Kind::Object(table) => self.object(node, table),
            Kind::Pools => self.pools(name, node),
            Kind::Steps => self.steps(name, node),
            Kind::PoolSize if node.map().is_some() => self.object(node, &keys::POOL),
            Kind::PoolSize => self.scalar(name, node, Kind::Amount),
            Kind::Classes => self.classes(name, node),
            Kind::Text
            | Kind::Template
            | Kind::Written
            | Kind::Bool
            | Kind::Duration
            | Kind::Count(_)
            | Kind::Number
            | Kind::Amount
            | Kind::Room
            | Kind::Limit
            | Kind::Regex
            | Kind::Word(_)
            | Kind::Signal => self.scalar(name, node, kind),
        }
    }

    /// A number that is read in two ways is an error, except where scalars are taken as written.
    fn ambiguous(&mut self, node: &Node, kind: Kind) -> bool {
        let Value::Plain(text) = &node.value else { return false };
        if matches!(kind, Kind::Written) || !is_ambiguous(text) {
            return false;
        }
        self.faults.push(
            Diagnostic::error(
                codes::NUMBER_SPELLING,
                node.span,
                format!("programs disagree on which number `{text}` is"),
            )
            .label("text, or a number?")
            .help(format!("quote it if it is a text: `\"{text}\"`; else write the number plainly")),
        );
        true
    }

    fn any(&mut self, node: &Node) {
        if self.ambiguous(node, Kind::Any) {
            return;
        }
        match &node.value {
            Value::List(list) => list.iter().for_each(|node| self.any(node)),
            Value::Map(map) => map.iter().for_each(|(_, node)| self.any(node)),
            Value::Null | Value::Plain(_) | Value::Text(_) | Value::Broken => {}
        }
    }

    fn list(&mut self, name: &str, node: &Node, inner: Kind) {
        match node.list() {
            Some(list) => list.iter().for_each(|node| self.value(name, node, inner)),
            None => self.wrong(
                node,
                &format!("`{name}` is a list"),
                Some(format!("write `{name}: [...]`, or a line with `- ` for each element")),
            ),
        }
    }

    fn map(&mut self, name: &str, node: &Node, inner: Kind) {
        match &node.value {
            Value::Map(entries) => entries.iter().for_each(|(key, node)| self.value(&key.text, node, inner)),
            Value::Null => {}
            Value::Plain(_) | Value::Text(_) | Value::List(_) | Value::Broken => {
                self.wrong(node, &format!("`{name}` is a map"), Some("write `name: value`".to_owned()))
            }
        }
    }

    fn steps(&mut self, name: &str, node: &Node) {
        let Some(entries) = node.map() else {
            let help = "write the step's id as a key: `dump: { run: ... }`".to_owned();
            return self.wrong(node, &format!("`{name}` is a map from step ids to steps"), Some(help));
        };
        for (key, step) in entries {
            self.step_id(key);
            self.object(step, &keys::STEP);
        }
    }

    fn step_id(&mut self, key: &Key) {
        let mut letters = key.text.chars();
        let head = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if head && letters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            return;
        }
        self.faults.push(
            Diagnostic::error(codes::BAD_NAME, key.span, format!("`{}` cannot be the id of a step", key.text))
                .label("not an id")
                .help("begin with a letter or `_`, and go on with letters, digits, `_` and `-`"),
        );
    }

    fn pools(&mut self, name: &str, node: &Node) {
        match &node.value {
            Value::Map(entries) => entries.iter().for_each(|(key, units)| self.value(&key.text, units, Kind::Count(1))),
            Value::Text(_) => {}
            Value::Null | Value::Plain(_) | Value::List(_) | Value::Broken => {
                self.wrong(
                    node,
                    &format!("`{name}` is a pool's name, or a map from pools to units"),
                    Some("write `pool: NAME` or `pool: { NAME: 2 }`".to_owned()),
                );
            }
        }
    }

    fn classes(&mut self, name: &str, node: &Node) {
        let one = std::slice::from_ref(node);
        for node in node.list().unwrap_or(one) {
            match &node.value {
                Value::Plain(code) if code.parse::<i32>().is_ok() => {}
                Value::Broken => {}
                Value::Null | Value::Plain(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                    self.word(name, node, &["timeout", "transient", "permanent"], "an exit code, or ")
                }
            }
        }
    }

    fn word(&mut self, name: &str, node: &Node, words: &[&str], before: &str) {
        let all = listed(words.iter().copied(), 20);
        let Some(given) = node.written() else {
            return self.wrong(
                node,
                &format!("`{name}` is {before}one of {all}"),
                Some("write one of these words".to_owned()),
            );
        };
        if !words.contains(&given) {
            let help = did_you_mean(given, words.iter().copied()).unwrap_or_else(|| {
                if words.len() == 1 { format!("write {before}{all}") } else { format!("write {before}one of {all}") }
            });
            self.faults.push(
                Diagnostic::error(codes::UNKNOWN_WORD, node.span, format!("`{name}` cannot be `{given}`"))
                    .label(format!("not one of {all}"))
                    .help(help),
            );
        }
    }

    fn scalar(&mut self, name: &str, node: &Node, kind: Kind) {
        let problem = match kind {
            Kind::Text | Kind::Template => node.text().is_none().then_some("a text"),
            Kind::Written => node.written().is_none().then_some("a text, a number or a truth value"),
            Kind::Bool => (!matches!(node.json(), serde_json::Value::Bool(_)) || node.text().is_some())
                .then_some("`true` or `false`"),
            Kind::Duration => return self.duration(name, node),
            Kind::Count(least) => return self.count(name, node, least),
            Kind::Number => (!is_number(node)).then_some("a number"),
            Kind::Amount => (!is_number(node) && !node.text().is_some_and(|text| text.contains("{{")))
                .then_some("a number, or a template that gives one"),
            Kind::Room => return self.room(name, node),
            Kind::Limit => return self.limit(name, node),
            Kind::Regex => return self.regex(name, node),
            Kind::Word(words) => return self.word(name, node, words, ""),
            Kind::Signal => return self.signal(name, node),
            Kind::Any
            | Kind::List(_)
            | Kind::OneOrMany(_)
            | Kind::Map(_)
            | Kind::Object(_)
            | Kind::Pools
            | Kind::PoolSize
            | Kind::Steps
            | Kind::Classes => None,
        };
        let Some(takes) = problem else { return };
        let quotable = matches!(kind, Kind::Text | Kind::Template) && node.written().is_some();
        let help = match (quotable, node.written()) {
            (true, Some(text)) => Some(format!("quote it: `\"{text}\"`")),
            _ if matches!(kind, Kind::Bool) => Some("write `true` or `false` without quotes".to_owned()),
            _ => Some(format!("write {takes}")),
        };
        self.wrong(node, &format!("`{name}` is {takes}"), help);
    }

    fn duration(&mut self, name: &str, node: &Node) {
        let Some(text) = node.written() else {
            return self.wrong(
                node,
                &format!("`{name}` is a duration"),
                Some("write `90s`, `30m`, `6h` or `2d`".to_owned()),
            );
        };
        if let Err(help) = quantity::duration_ms(text) {
            self.faults.push(
                Diagnostic::error(codes::BAD_DURATION, node.span, format!("`{text}` of `{name}` is not a duration"))
                    .label("not a duration")
                    .help(help),
            );
        }
    }

    fn room(&mut self, name: &str, node: &Node) {
        let Some(text) = node.written() else {
            return self.wrong(
                node,
                &format!("`{name}` is a size or a percentage"),
                Some("write `50GiB` or `10%`".to_owned()),
            );
        };
        if text.contains("{{") || quantity::percent(text).is_some() {
            return;
        }
        if let Err(help) = quantity::size_bytes(text) {
            self.faults.push(
                Diagnostic::error(
                    codes::BAD_SIZE,
                    node.span,
                    format!("`{text}` of `{name}` is neither a size nor a percentage"),
                )
                .label("not a size")
                .help(help),
            );
        }
    }

    fn count(&mut self, name: &str, node: &Node, least: u32) {
        let Value::Plain(text) = &node.value else {
            return self.wrong(
                node,
                &format!("`{name}` is a whole number"),
                Some("write digits alone, without quotes".to_owned()),
            );
        };
        match text.parse::<u32>() {
            Ok(count) if count >= least => {}
            _ if is_number(node) => {
                self.range(name, node, &format!("write a whole number from {least} to {}", u32::MAX))
            }
            _ => self.wrong(node, &format!("`{name}` is a whole number"), Some("write digits alone".to_owned())),
        }
    }

    fn limit(&mut self, name: &str, node: &Node) {
        let Some(text) = node.written() else {
            return self.wrong(
                node,
                &format!("`{name}` is a whole number or a percentage"),
                Some("write `3` or `10%`".to_owned()),
            );
        };
        let share = text.strip_suffix('%').and_then(|share| share.trim().parse::<u8>().ok());
        if text.parse::<u32>().is_err() && share.is_none_or(|share| share > 100) {
            self.range(name, node, "write a whole number such as `3`, or a percentage such as `10%`");
        }
    }

    fn range(&mut self, name: &str, node: &Node, help: &str) {
        let text = node.written().unwrap_or_default();
        self.faults.push(
            Diagnostic::error(codes::OUT_OF_RANGE, node.span, format!("`{name}` cannot be `{text}`"))
                .label("out of its range")
                .help(help),
        );
    }

    fn regex(&mut self, name: &str, node: &Node) {
        let Some(text) = node.text() else {
            return self.wrong(node, &format!("`{name}` is a regular expression"), Some("quote it".to_owned()));
        };
        if let Err(error) = regex::Regex::new(text) {
            self.faults.push(
                Diagnostic::error(
                    codes::BAD_REGEX,
                    node.span,
                    format!("`{name}` is not a regular expression: {}", regex_reason(&error)),
                )
                .label("cannot be read")
                .help("a character that is meant as itself takes a backslash before it: `\\(`"),
            );
        }
    }

    fn signal(&mut self, name: &str, node: &Node) {
        let text = node.written().unwrap_or_default();
        if super::policy::signal(text).is_none() {
            let help = did_you_mean(text, super::policy::SIGNALS.iter().map(|(name, _)| *name))
                .unwrap_or_else(|| "write a name such as `TERM`, `INT` or `QUIT`".to_owned());
            self.faults.push(
                Diagnostic::error(codes::UNKNOWN_WORD, node.span, format!("`{name}` cannot be {}", node.describe()))
                    .label("no such signal")
                    .help(help),
            );
        }
    }
}

/// The reason on the last line of the regex crate's message; the lines before it draw the pattern again.
pub(super) fn regex_reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

fn is_number(node: &Node) -> bool {
    matches!(node.value, Value::Plain(_)) && node.json().is_number()
}
