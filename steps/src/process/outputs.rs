//! What a child hands out: read from its standard output and from `$FLOWRUN_OUTPUT` after its end.
//! Unaware of how it ended. Reading changes nothing, so it can be done twice. No message shows a secret.

use super::{Files, Kind, OutputSpec, Outputs, Source};
use flowrun_sdk::{StepCx, StepError, StepResult};
use regex::Regex;
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// The largest value: outputs are kept in the journal and shown on screens.
const LARGEST_VALUE: usize = 1024 * 1024;
/// The largest source that values are read from.
const LARGEST_SOURCE: u64 = 8 * 1024 * 1024;
/// As much of the beginning and of the end of a captured output is shown in the log.
const SHOWN: u64 = 32 * 1024;
/// Names that mean something else after `steps.ID.`.
const TAKEN: [&str; 2] = ["state", "by_key"];

/// A declared output, ready to be read.
#[derive(Debug)]
pub struct Reader<'a> {
    name: &'a str,
    kind: Kind,
    pattern: Option<Regex>,
}

/// Makes declared outputs ready to be read.
pub fn compile(specs: &BTreeMap<String, OutputSpec>) -> StepResult<Vec<Reader<'_>>> {
    specs.iter().map(|(name, spec)| compile_one(name, spec)).collect()
}

fn compile_one<'a>(name: &'a str, spec: &OutputSpec) -> StepResult<Reader<'a>> {
    check_name(name)?;
    let pattern = spec.pattern.as_deref().map(Regex::new).transpose().map_err(|error| {
        StepError::permanent(format!("cannot read `match` of output `{name}`: it is no regular expression: {error}"))
    })?;
    match spec.from {
        Source::Stdout => Ok(Reader { name, kind: spec.kind, pattern }),
    }
}

fn check_name(name: &str) -> StepResult<()> {
    let mut chars = name.chars();
    let begins = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !begins || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Err(StepError::permanent(format!("cannot hand out `{}`: it is no name", name.escape_debug()))
            .hint("a name is letters, digits, `_` and `-`, and begins with a letter or `_`"));
    }
    if TAKEN.contains(&name) {
        return Err(StepError::permanent(format!("cannot hand out `{name}`: the name means something else already"))
            .hint("choose another name"));
    }
    Ok(())
}

/// Reads everything that was handed out.
pub fn collect(cx: &StepCx, readers: &[Reader<'_>], files: &Files) -> StepResult<Outputs> {
    let mut outputs = BTreeMap::new();
    if let Some(path) = &files.stdout {
        let text = read(path, "standard output")?.unwrap_or_default();
        for reader in readers {
            outputs.insert(reader.name.to_owned(), reader.value(cx, &text)?);
        }
    }
    if let Some(text) = read(&files.output, "`$FLOWRUN_OUTPUT`")? {
        for (line, number) in text.lines().zip(1_u32..) {
            for (name, value) in parse_line(cx, line, number)? {
                check_name(&name)?;
                check_size(&name, value.to_string().len())?;
                if outputs.insert(name.clone(), value).is_some() {
                    return Err(StepError::permanent(format!("output `{name}` is handed out twice"))
                        .hint("write each name once, as a list or with a number at its end where there are many"));
                }
            }
        }
    }
    Ok(Outputs(outputs))
}

/// The whole of a source; none where the child made none.
fn read(path: &Path, what: &str) -> StepResult<Option<String>> {
    let failed = |error: io::Error| StepError::permanent(format!("cannot read {what} for the outputs: {error}"));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST_SOURCE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST_SOURCE {
        return Err(StepError::permanent(format!("cannot read {what} for the outputs: it is larger than 8 MiB"))
            .hint("write what is large to a file, and hand out its path"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        StepError::permanent(format!("cannot read {what} for the outputs: byte {at} is not UTF-8"))
            .hint("write binary data to a file, and hand out its path")
    })?;
    Ok(Some(text))
}

fn check_size(name: &str, bytes: usize) -> StepResult<()> {
    if bytes <= LARGEST_VALUE {
        return Ok(());
    }
    Err(StepError::permanent(format!("output `{name}` is too large: {bytes} bytes, and 1 MiB is the most"))
        .hint("write what is large to a file, and hand out its path"))
}

impl Reader<'_> {
    fn value(&self, cx: &StepCx, source: &str) -> StepResult<Value> {
        let text = self.pick(cx, source)?;
        check_size(self.name, text.len())?;
        match self.kind {
            Kind::Text => Ok(Value::String(text.trim_end_matches(['\n', '\r']).to_owned())),
            Kind::Lines => Ok(text.lines().map(|line| Value::String(line.to_owned())).collect()),
            Kind::Json => serde_json::from_str(text).map_err(|error| {
                self.bad(cx, text, &format!("is not JSON ({error})"))
                    .hint("let it write one JSON value and nothing else")
            }),
            Kind::Number => number(text.trim()).map(Value::Number).ok_or_else(|| {
                self.bad(cx, text, "is not a number").hint("pick the digits with `match`, or hand it out `as: text`")
            }),
        }
    }

    fn pick<'t>(&self, cx: &StepCx, source: &'t str) -> StepResult<&'t str> {
        let Some(pattern) = &self.pattern else { return Ok(source) };
        let found = pattern.captures(source).ok_or_else(|| {
            self.bad(cx, source, &format!("has nothing that matches `{pattern}`"))
                .hint("the log shows what it wrote; mend `match`, or the command")
        })?;
        Ok(found.get(1).or_else(|| found.get(0)).map(|group| group.as_str()).unwrap_or_default())
    }

    fn bad(&self, cx: &StepCx, saw: &str, fault: &str) -> StepError {
        let fault = cx.mask(fault);
        StepError::permanent(format!(
            "cannot read output `{}`: standard output {fault}; it is {}",
            self.name,
            seen(cx, saw)
        ))
    }
}

/// The beginning of a text as a message shows it.
fn seen(cx: &StepCx, text: &str) -> String {
    const MOST: usize = 80;
    if text.trim().is_empty() {
        return "empty".to_owned();
    }
    let masked = cx.mask(text);
    let cut: String = masked.trim().chars().take(MOST).collect();
    let more = if masked.trim().chars().nth(MOST).is_some() { " …" } else { "" };
    format!("`{}`{more}", cut.escape_debug())
}

fn number(text: &str) -> Option<Number> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Some(whole.into());
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

/// A line of `$FLOWRUN_OUTPUT`: `name=value` or a JSON object.
fn parse_line(cx: &StepCx, line: &str, number: u32) -> StepResult<Map<String, Value>> {
    if line.trim().is_empty() {
        return Ok(Map::new());
    }
    if line.starts_with('{') {
        return serde_json::from_str(line).map_err(|error| {
            StepError::permanent(format!(
                "cannot read line {number} of `$FLOWRUN_OUTPUT`: it is not a JSON object ({}); it is {}",
                cx.mask(&error.to_string()),
                seen(cx, line)
            ))
            .hint("a line is `name=value` or one whole JSON object")
        });
    }
    match line.split_once('=') {
        Some((name, value)) => Ok(Map::from_iter([(name.to_owned(), Value::String(value.to_owned()))])),
        None => Err(StepError::permanent(format!(
            "cannot read line {number} of `$FLOWRUN_OUTPUT`: it has no `=`; it is {}",
            seen(cx, line)
        ))
        .hint("a line is `name=value` or one whole JSON object; write a text of many lines as JSON")),
    }
}

/// Copies a captured output to the log: its beginning and its end where it is long. Best effort: the log is lossy.
pub fn show(cx: &StepCx, path: &Path) {
    let Ok(mut file) = File::open(path) else { return };
    let length = file.metadata().map(|facts| facts.len()).unwrap_or_default();
    let long = length > 2 * SHOWN;
    show_part(cx, &mut file, if long { SHOWN } else { length });
    if long {
        cx.log(&format!("… {} bytes of standard output are not shown …", length - 2 * SHOWN));
        if file.seek(SeekFrom::Start(length - SHOWN)).is_ok() {
            show_part(cx, &mut file, SHOWN);
        }
    }
}

fn show_part(cx: &StepCx, file: &mut File, bytes: u64) {
    let mut part = Vec::new();
    if file.take(bytes).read_to_end(&mut part).is_ok() {
        for line in String::from_utf8_lossy(&part).lines() {
            cx.log(line);
        }
    }
}
