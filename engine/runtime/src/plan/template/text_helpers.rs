//! The helpers that make a text of a value. Unaware of expressions; a message says what is wrong with the value.

use super::eval::{kind_of, write_scalar};
use crate::plan::seal;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use regex::Regex;
use serde_json::Value;

type Text = Result<Value, String>;

fn scalar(value: &Value) -> Result<String, String> {
    let mut text = String::new();
    if write_scalar(value, &mut text) { Ok(text) } else { Err(format!("{} is no text", kind_of(value))) }
}

/// Quotes for a shell: a text as one word, a list word by word.
pub(super) fn sh(value: &Value) -> Result<String, String> {
    match value {
        Value::Array(words) => Ok(words.iter().map(sh_word).collect::<Result<Vec<_>, _>>()?.join(" ")),
        other => sh_word(other),
    }
}

fn sh_word(value: &Value) -> Result<String, String> {
    seal::sh(&scalar(value)?).ok_or_else(|| "a text with a NUL cannot be a word of a command".to_owned())
}

/// Quotes for a value in an option file of MySQL and MariaDB.
pub(super) fn option_file(value: &Value) -> Result<String, String> {
    seal::option_file(&scalar(value)?).ok_or_else(|| "a text with a NUL cannot stand in an option file".to_owned())
}

pub(super) fn join(value: &Value, separator: Option<&Value>) -> Text {
    let Value::Array(list) = value else { return Err(format!("{} is no list", kind_of(value))) };
    let separator = separator.map_or_else(|| Ok(",".to_owned()), scalar)?;
    Ok(Value::String(list.iter().map(scalar).collect::<Result<Vec<_>, _>>()?.join(&separator)))
}

pub(super) fn basename(value: &Value, suffix: Option<&Value>) -> Text {
    let path = scalar(value)?;
    let trimmed = path.trim_end_matches('/');
    let name =
        trimmed.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(if path.is_empty() { "" } else { "/" });
    let suffix = suffix.map(scalar).transpose()?.unwrap_or_default();
    let short = name.strip_suffix(suffix.as_str()).filter(|short| !short.is_empty()).unwrap_or(name);
    Ok(Value::String(short.to_owned()))
}

/// `1536` is `1.5 KiB`.
pub(super) fn bytes(value: &Value) -> Text {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let Some(mut size) = number.filter(|size: &f64| size.is_finite() && *size >= 0.0) else {
        return Err(format!("{} is no number of bytes", kind_of(value)));
    };
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    // What would round to 1024.0 is written in the next unit.
    while size >= 1023.95
        && let Some(next) = units.next()
    {
        (size, unit) = (size / 1024.0, next);
    }
    let text = if unit == "B" { format!("{size:.0} B") } else { format!("{size:.1} {unit}") };
    Ok(Value::String(text.replace(".0 ", " ")))
}

pub(super) fn regex_replace(known: Option<&Regex>, args: &[Value]) -> Text {
    let [text, pattern, replacement] = args else { return Err("three values are needed".to_owned()) };
    let (text, replacement) = (scalar(text)?, scalar(replacement)?);
    let made;
    let regex = match known {
        Some(regex) => regex,
        None => {
            let pattern = scalar(pattern)?;
            made = Regex::new(&pattern).map_err(|error| {
                format!("`{pattern}` is no regular expression: {}", super::helpers::first_line(&error))
            })?;
            &made
        }
    };
    Ok(Value::String(regex.replace_all(&text, replacement.as_str()).into_owned()))
}

/// A moment as RFC 3339 or as milliseconds since 1970, in the zone told, else in UTC.
pub(super) fn date(value: &Value, format: Option<&Value>, zone: Option<&Value>) -> Text {
    let moment = match value {
        Value::Number(number) => number.as_i64().and_then(|at| Timestamp::from_millisecond(at).ok()),
        Value::String(text) => text.parse::<Timestamp>().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let Some(moment) = moment else {
        return Err(format!(
            "`{}` is no moment: write RFC 3339 or milliseconds since 1970",
            scalar(value).unwrap_or_else(|_| kind_of(value).to_owned())
        ));
    };
    let zone = match zone.map(scalar).transpose()? {
        None => TimeZone::UTC,
        Some(name) => TimeZone::get(&name).map_err(|_| format!("time zone `{name}` is unknown"))?,
    };
    let format = format.map_or_else(|| Ok("%Y-%m-%d".to_owned()), scalar)?;
    let zoned: Zoned = moment.to_zoned(zone);
    strtime::format(&format, &zoned).map(Value::String).map_err(|error| format!("format `{format}`: {error}"))
}
