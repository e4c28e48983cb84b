//! Which rows a screen has when there is not room for all: few of many, the oldest first, and how many are left out.
//! Unaware of columns' widths.

use super::columns::{Cells, Columns, NARROW};
use super::pace::Pace;
use super::text::{Line, Paint};
use super::{Style, estimate, glyph, text, waiting_name};
use flowrun_engine::driver::snapshot::{Fan, Running, Snapshot, Waiting};

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In flight.
    Busy,
    /// Held back.
    Waiting,
    /// A service that is ready.
    Serving,
}

/// All rows that there could be.
#[derive(Debug)]
pub struct Rows<'a> {
    singles: Vec<&'a Running>,
    fans: Vec<(&'a Fan, Vec<&'a Running>)>,
    waiting: &'a [Waiting],
    serving: Vec<&'a Running>,
    /// In flight, and no row of its own.
    hidden: usize,
    paused: bool,
    pace: &'a Pace,
}

/// How many rows of each kind are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shares {
    singles: usize,
    fans: usize,
    items: usize,
    waiting: usize,
    serving: usize,
    more: bool,
}

/// Items of a fan-out with more items than this come and go too fast to be shown at once.
const SMALL_FAN: u32 = 20;
/// So long must an item of a big fan-out have been in flight to be shown, in milliseconds.
const SETTLED: u64 = 2_000;

impl<'a> Rows<'a> {
    /// Sorts what a snapshot holds into rows.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot, pace: &'a Pace, now: u64) -> Self {
        let mut rows = Self {
            singles: Vec::new(),
            fans: snapshot.fans.iter().map(|fan| (fan, Vec::new())).collect(),
            waiting: &snapshot.waiting,
            serving: Vec::new(),
            hidden: snapshot.running_more as usize,
            paused: snapshot.paused.is_some(),
            pace,
        };
        for running in &snapshot.running {
            rows.sort_in(running, now);
        }
        rows
    }

    fn sort_in(&mut self, running: &'a Running, now: u64) {
        if running.serving {
            self.serving.push(running);
            return;
        }
        let owner = self.fans.iter_mut().filter(|(fan, _)| is_in(&running.address, &fan.address));
        match owner.max_by_key(|(fan, _)| fan.address.len()) {
            None => self.singles.push(running),
            Some((fan, _)) if fan.total > SMALL_FAN && now.saturating_sub(running.started) < SETTLED => {
                self.hidden += 1
            }
            Some((_, items)) => items.push(running),
        }
    }

    /// Shares `room` rows out: something of each kind first, then more of what matters more.
    #[must_use]
    pub fn shares(&self, room: usize) -> Shares {
        let all = self.share_out(room);
        if self.left_out(&all) == (0, 0) {
            return all;
        }
        Shares { more: room > 0, ..self.share_out(room.saturating_sub(1)) }
    }

    fn share_out(&self, room: usize) -> Shares {
        let mut shares = Shares::default();
        let mut room = room;
        let mut give = |count: &mut usize, wanted: usize, most: usize| {
            let more = wanted.min(most).saturating_sub(*count).min(room);
            *count += more;
            room -= more;
        };
        let serving = usize::from(!self.serving.is_empty());
        for (fans, singles, waiting, items) in [(1, 1, 1, 0), (4, 6, 3, 8), (16, 32, 6, 16)] {
            give(&mut shares.singles, self.singles.len(), singles);
            give(&mut shares.fans, self.fans.len(), fans);
            give(&mut shares.waiting, self.waiting.len(), waiting);
            if items > 0 {
                give(&mut shares.serving, serving, 1);
            }
            let in_fans = self.fans.iter().take(shares.fans).map(|(_, items)| items.len()).sum();
            give(&mut shares.items, in_fans, items);
        }
        shares
    }

    /// How many in flight and how many waiting have no row.
    fn left_out(&self, shares: &Shares) -> (usize, usize) {
        let items: usize = self.fans.iter().map(|(_, items)| items.len()).sum();
        let running = self.hidden + self.singles.len() - shares.singles + items - shares.items;
        let waiting = self.waiting.iter().skip(shares.waiting).map(|waiting| waiting.count.max(1) as usize).sum();
        (running, waiting)
    }

    /// Draws the rows that have a share.
    pub fn draw(&self, shares: &Shares, style: &Style, now: u64, out: &mut Vec<Line>) {
        let picked = self.picked_items(shares);
        let waiting: Vec<(String, &Waiting)> =
            self.waiting.iter().take(shares.waiting).map(|waiting| (waiting_name(waiting), waiting)).collect();
        let indent = if style.width < NARROW { "" } else { "  " };
        let columns = Columns::new(style.width, self.longest_name(shares, &waiting), style.unicode);
        for running in self.singles.iter().take(shares.singles) {
            out.push(columns.line(&running_cells(running, &running.address, style, now)));
        }
        for ((fan, _), items) in self.fans.iter().take(shares.fans).zip(picked) {
            out.push(columns.line(&self.fan_cells(fan, style, now)));
            for item in items {
                out.push(columns.line(&running_cells(item, &format!("{indent}{}", item.address), style, now)));
            }
        }
        for (name, waiting) in &waiting {
            out.push(columns.line(&waiting_cells(name, waiting, style, now)));
        }
        if shares.serving > 0 {
            out.push(self.serving_line(style, now));
        }
        if shares.more {
            out.push(more_line(self.left_out(shares), style));
        }
    }

    /// The oldest items, each under its fan-out.
    fn picked_items(&self, shares: &Shares) -> Vec<Vec<&'a Running>> {
        let mut all: Vec<(u64, usize, &Running)> = Vec::new();
        for (at, (_, items)) in self.fans.iter().take(shares.fans).enumerate() {
            all.extend(items.iter().map(|item| (item.started, at, *item)));
        }
        all.sort_by_key(|(started, at, _)| (*started, *at));
        let mut picked = vec![Vec::new(); shares.fans];
        for (_, at, item) in all.into_iter().take(shares.items) {
            if let Some(items) = picked.get_mut(at) {
                items.push(item);
            }
        }
        picked
    }

    fn longest_name(&self, shares: &Shares, waiting: &[(String, &Waiting)]) -> usize {
        let singles = self.singles.iter().take(shares.singles).map(|running| text::width(&running.address));
        let fans = self.fans.iter().take(shares.fans).map(|(fan, _)| text::width(&fan.address));
        let items =
            self.fans.iter().take(shares.fans).flat_map(|(_, items)| items).map(|item| text::width(&item.address) + 2);
        let waiting = waiting.iter().map(|(name, _)| text::width(name));
        singles.chain(fans).chain(items).chain(waiting).max().unwrap_or_default()
    }

    fn fan_cells(&self, fan: &'a Fan, style: &Style, now: u64) -> Cells<'a> {
        let (kind, paint) =
            if estimate::count(fan, "running") > 0 { (Kind::Busy, Paint::Busy) } else { (Kind::Waiting, Paint::Held) };
        Cells {
            glyph: glyph(kind, style, now),
            paint,
            name: &fan.address,
            elapsed: now.saturating_sub(fan.started),
            share: estimate::fan_share(fan),
            words: estimate::fan_words(fan, self.pace.left(fan, now).filter(|_| !self.paused)),
        }
    }

    fn serving_line(&self, style: &Style, now: u64) -> Line {
        let names: Vec<&str> = self.serving.iter().map(|running| running.address.as_str()).collect();
        let mark = glyph(Kind::Serving, style, now);
        Line::default().add(Paint::Good, format!("{mark} ")).add(Paint::Dim, format!("serving: {}", names.join(", ")))
    }
}

/// The address is that of an item of the fan-out, or inside one.
#[must_use]
pub fn is_in(address: &str, fan: &str) -> bool {
    address.strip_prefix(fan).is_some_and(|rest| rest.starts_with('/'))
}

fn running_cells<'a>(running: &Running, name: &'a str, style: &Style, now: u64) -> Cells<'a> {
    Cells {
        glyph: glyph(Kind::Busy, style, now),
        paint: Paint::Busy,
        name,
        elapsed: now.saturating_sub(running.started),
        share: estimate::share(running),
        words: estimate::running_words(running, now),
    }
}

fn waiting_cells<'a>(name: &'a str, waiting: &Waiting, style: &Style, now: u64) -> Cells<'a> {
    Cells {
        glyph: glyph(Kind::Waiting, style, now),
        paint: Paint::Held,
        name,
        elapsed: now.saturating_sub(waiting.since),
        share: None,
        words: vec![format!("waiting: {}", waiting.reason), waiting.reason.clone()],
    }
}

fn more_line((running, waiting): (usize, usize), style: &Style) -> Line {
    let dots = if style.unicode { "…" } else { "..." };
    let words = match (running, waiting) {
        (running, 0) => format!("  {dots} and {running} more"),
        (0, waiting) => format!("  {dots} and {waiting} more waiting"),
        (running, waiting) => format!("  {dots} and {running} more, {waiting} more waiting"),
    };
    Line::default().add(Paint::Dim, words)
}
