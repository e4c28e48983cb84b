//! Which columns a screen of a given width has, and how wide they are.
//! Unaware of what stands in them. All lines of a screen share the columns, so that nothing jumps from line to line.

use super::estimate::Share;
use super::text::{self, Line, Paint};

/// The columns of a screen: a glyph, a name, the time, a bar, and the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    name: usize,
    time: bool,
    bar: usize,
    rest: usize,
    unicode: bool,
}

const GLYPH: usize = 2;
const TIME: usize = 8;
/// Narrower screens have only names.
pub const NARROW: usize = 20;

/// What stands in a line.
#[derive(Debug)]
pub struct Cells<'a> {
    /// In front.
    pub glyph: &'a str,
    /// How the glyph looks.
    pub paint: Paint,
    /// The name, with its indentation.
    pub name: &'a str,
    /// Milliseconds so far.
    pub elapsed: u64,
    /// What the bar shows; without it the rest stands in its place.
    pub share: Option<Share>,
    /// The rest, longest way first; the first that fits is taken, else the last is cut.
    pub words: Vec<String>,
}

impl Columns {
    /// The columns for a screen so wide whose longest name is so wide.
    #[must_use]
    pub fn new(width: usize, longest_name: usize, unicode: bool) -> Self {
        let (most, bar) = match width {
            0..=55 => (16, 0),
            56..=69 => (18, 8),
            70..=99 => (22, 10),
            100..=139 => (36, 20),
            _ => (48, 30),
        };
        let time = width >= NARROW;
        let fixed = GLYPH + if time { TIME } else { 0 };
        // Steps of 4 columns: a new longest name seldom moves the others.
        let name = longest_name.next_multiple_of(4).clamp(8, most).min(width.saturating_sub(fixed));
        let used = fixed + name + if bar > 0 { bar + 4 } else { 0 };
        Self { name, time, bar, rest: width.saturating_sub(used + 2), unicode }
    }

    /// A line of cells in these columns.
    #[must_use]
    pub fn line(&self, cells: &Cells<'_>) -> Line {
        let line = Line::default()
            .add(cells.paint, text::name(cells.glyph, GLYPH, self.unicode))
            .add(Paint::Plain, text::name(cells.name, self.name, self.unicode));
        if !self.time {
            return line;
        }
        let line = line.add(Paint::Dim, text::right(&text::duration(cells.elapsed), TIME));
        match cells.share.filter(|_| self.bar > 0) {
            Some(share) => {
                self.with_bar(line, share).add(Paint::Plain, format!("  {}", fitting(&cells.words, self.rest)))
            }
            None => {
                let room = self.rest + if self.bar > 0 { self.bar + 4 } else { 0 };
                line.add(Paint::Plain, format!("  {}", fitting(&cells.words, room)))
            }
        }
    }

    fn with_bar(&self, line: Line, share: Share) -> Line {
        let full = share.cells(self.bar);
        let bar = format!("{}>{}", "=".repeat(full), " ".repeat(self.bar - full - 1));
        line.add(Paint::Dim, "  [").add(Paint::Busy, bar).add(Paint::Dim, "]")
    }
}

fn fitting(words: &[String], room: usize) -> &str {
    let mut words = words.iter().filter(|words| !words.is_empty());
    let last = words.clone().next_back();
    words.find(|words| text::width(words) <= room).or(last).map_or("", String::as_str)
}
