//! Pieces of text on a screen: widths, colours, durations and counts in words.
//! Unaware of what they are about. Nothing that it gives back is wider than it was asked to be.

use unicode_width::UnicodeWidthChar;

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// As the terminal's own text.
    Plain,
    /// What stands out.
    Strong,
    /// What stands back.
    Dim,
    /// What goes well.
    Good,
    /// What is in flight.
    Busy,
    /// What waits.
    Held,
    /// What failed.
    Bad,
}

impl Paint {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Dim => Some("2"),
            Self::Good => Some("32"),
            Self::Busy => Some("36"),
            Self::Held => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// A line in the making.
#[derive(Debug, Clone, Default)]
pub struct Line(Vec<(Paint, String)>);

impl Line {
    /// Adds a piece.
    #[must_use]
    pub fn add(mut self, paint: Paint, text: impl Into<String>) -> Self {
        self.0.push((paint, clean(&text.into())));
        self
    }

    /// How many columns it takes.
    #[must_use]
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| width(text)).sum()
    }

    /// How many columns it takes without the blanks at its end.
    fn inked_width(&self) -> usize {
        let is_blank = |(_, text): &&(Paint, String)| text.trim_end().is_empty();
        let blanks = self.0.iter().rev().take_while(is_blank).count();
        let Some(((_, last), before)) = self.0.get(..self.0.len() - blanks).and_then(<[_]>::split_last) else {
            return 0;
        };
        before.iter().map(|(_, text)| width(text)).sum::<usize>() + width(last.trim_end())
    }

    /// The line as the terminal gets it, at most `columns` wide.
    #[must_use]
    pub fn fit(&self, columns: usize, unicode: bool, color: bool) -> String {
        let cut = self.inked_width() > columns;
        let mark = if unicode { "…" } else { "." };
        let mut room = if cut { columns.saturating_sub(1) } else { columns };
        let mut out = String::new();
        for (paint, text) in &self.0 {
            let part = head(text, room);
            room -= width(part);
            push_painted(&mut out, *paint, part, color);
            if part.len() < text.len() {
                break;
            }
        }
        if cut && columns > 0 {
            out.push_str(mark);
            return out;
        }
        out.truncate(out.trim_end().len());
        out
    }
}

fn push_painted(out: &mut String, paint: Paint, text: &str, color: bool) {
    match paint.code().filter(|_| color && !text.trim().is_empty()) {
        Some(code) => {
            out.push_str("\x1b[");
            out.push_str(code);
            out.push('m');
            out.push_str(text);
            out.push_str("\x1b[0m");
        }
        None => out.push_str(text),
    }
}

/// How many columns a text takes, character by character: what a terminal that joins nothing shows.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The beginning of a text, at most so many columns wide.
#[must_use]
pub fn head(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns {
            return text.get(..at).unwrap_or_default();
        }
    }
    text
}

/// The end of a text, at most so many columns wide.
#[must_use]
pub fn tail(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let mut from = text.len();
    for (at, c) in text.char_indices().rev() {
        used += c.width().unwrap_or(0);
        if used > columns {
            break;
        }
        from = at;
    }
    text.get(from..).unwrap_or_default()
}

/// A name in exactly so many columns: filled with blanks, or cut in its middle, because both ends tell names apart.
#[must_use]
pub fn name(text: &str, columns: usize, unicode: bool) -> String {
    let text = clean(text);
    let mut out = if width(&text) <= columns {
        text
    } else {
        let room = columns.saturating_sub(1);
        let end = tail(&text, room.div_ceil(2));
        let start = head(&text, room - width(end));
        format!("{start}{}{end}", if unicode { "…" } else { "." })
    };
    let missing = columns.saturating_sub(width(&out));
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

/// A text on the right of so many columns.
#[must_use]
pub fn right(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

/// One line without anything that moves the cursor, changes colours or turns the direction of writing.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => skip_escape(&mut chars),
            '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => out.push(' '),
            // Joiners and selectors make widths depend on the terminal; the others reorder text.
            '\u{fe00}'..='\u{fe0f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Leaves out what belongs to an escape sequence.
fn skip_escape(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        Some('[') => {
            chars.find(|c| ('\u{40}'..='\u{7e}').contains(c));
        }
        Some(']') => {
            chars.find(|c| matches!(c, '\x07' | '\x1b' | '\u{9c}'));
        }
        Some(_) | None => {}
    }
}

/// A duration as a person says it: `8s`, `3m 12s`, `2h 05m`, `1d 4h`.
#[must_use]
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d {}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h {:02}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m {:02}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

/// How long something took, which may be less than a second.
#[must_use]
pub fn took(ms: u64) -> String {
    if ms < 1000 { format!("{ms}ms") } else { duration(ms) }
}

/// An estimate, no finer than it deserves: `~50s`, `~4m`, `~2h 10m`, `~1d 4h`.
#[must_use]
pub fn estimate(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    match seconds {
        0..=54 => format!("~{}s", seconds.div_ceil(10).max(1) * 10),
        55..=3299 => format!("~{}m", (seconds + 30) / 60),
        3300..=86_399 => {
            let tens = (seconds + 300) / 600;
            format!("~{}h {:02}m", tens / 6, tens % 6 * 10)
        }
        _ => {
            let hours = (seconds + 1800) / 3600;
            format!("~{}d {}h", hours / 24, hours % 24)
        }
    }
}

/// A number without noise: `9`, `9.1`, `1200`.
#[must_use]
pub fn number(value: f64) -> String {
    if value.fract().abs() < 0.05 { format!("{value:.0}") } else { measure(value) }
}

/// A measured number, which keeps its decimal place while it grows: `4.0`, `4.1`, `120`.
#[must_use]
pub fn measure(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Bytes as a person reads them.
#[must_use]
pub fn bytes(value: f64) -> (f64, &'static str) {
    const UNITS: [(f64, &str); 4] =
        [(1_099_511_627_776.0, "TiB"), (1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1024.0, "KiB")];
    UNITS.iter().find(|(size, _)| value >= *size).map_or((1.0, "B"), |(size, unit)| (*size, *unit))
}

#[cfg(test)]
mod tests {
    use super::{Line, Paint, clean, duration, estimate, head, name, tail, took, width};

    #[test]
    fn durations_read_as_people_say_them() {
        let cases = [(0, "0s"), (59_999, "59s"), (192_000, "3m 12s"), (7_500_000, "2h 05m"), (100_800_000, "1d 4h")];
        for (ms, text) in cases {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(took(250), "250ms");
        assert_eq!(duration(u64::MAX), "213503982334d 14h");
    }

    #[test]
    fn estimates_are_no_finer_than_they_deserve() {
        let cases =
            [(0, "~10s"), (41_000, "~50s"), (54_900, "~1m"), (61_000, "~1m"), (250_000, "~4m"), (3_299_000, "~55m")];
        for (ms, text) in cases {
            assert_eq!(estimate(ms), text);
        }
        assert_eq!(estimate(3_300_000), "~1h 00m");
        assert_eq!(estimate(7_700_000), "~2h 10m");
        assert_eq!(estimate(100_800_000), "~1d 4h");
    }

    #[test]
    fn texts_are_cut_between_characters_and_never_too_wide() {
        let wide = "日本語テスト";
        assert_eq!((head(wide, 5), tail(wide, 5)), ("日本", "スト"));
        for columns in 0..20 {
            assert_eq!(width(&name(wide, columns, true)), columns.max(1), "{columns}");
            assert!(width(&Line::default().add(Paint::Plain, wide).fit(columns, true, false)) <= columns);
        }
    }

    #[test]
    fn names_keep_both_ends() {
        assert_eq!(name("restore/customers_eu_west_3", 15, true), "restore…_west_3");
        assert_eq!(name("a", 4, true), "a   ");
    }

    #[test]
    fn what_moves_the_cursor_is_left_out() {
        assert_eq!(clean("a\x1b[2Jb\x1b]0;title\x07c\rd\u{202e}e\x07"), "abc de");
        assert_eq!(clean("\x1b"), "");
    }
}
