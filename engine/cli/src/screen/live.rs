//! Shows a run while it goes on: on a terminal, as plain lines, or as JSON.
//! Unaware of the driver, which never waits for it: all writing is done by a thread of its own, and a terminal that is
//! slow, stuck or gone costs the driver nothing.

use super::canvas::{Canvas, Stderr, Terminal};
use super::ending::Names;
use super::feed::{Feed, Handful, is_end};
use super::plain::{Manner, Teller};
use super::{Style, json, lines};
use crate::args::settings;
use flowrun_core::event::RunState;
use flowrun_engine::driver::snapshot::{Notice, Snapshot};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Write;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Drawn on standard error, which is a terminal.
    Live {
        /// Colours may be used.
        color: bool,
        /// Characters outside of ASCII are understood.
        unicode: bool,
    },
    /// Plain lines on standard error.
    Plain,
    /// One JSON object a line on standard output.
    Json,
}

impl Mode {
    /// What the person asked for and the terminal can show.
    #[must_use]
    pub fn of(terminal: &settings::Terminal, json: bool) -> Self {
        if json {
            Self::Json
        } else if terminal.live {
            Self::Live { color: terminal.color_err, unicode: terminal.unicode }
        } else {
            Self::Plain
        }
    }
}

/// The screen is drawn so often.
const TICK: Duration = Duration::from_millis(250);
/// So long a stuck terminal may hold back the end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows a run until the senders of notices are gone and the last line is written. A watch whose sender is gone is
/// shown as it was.
pub async fn show(
    mode: Mode,
    names: Names,
    watch: watch::Receiver<Snapshot>,
    mut notices: mpsc::UnboundedReceiver<Notice>,
) {
    let (forward, inbox) = channel();
    let (done, mut ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("screen".to_owned()).spawn(move || {
        write_all(mode, names, Feed::new(watch, inbox));
        let _ = done.send(());
    });
    if let Err(error) = thread {
        tracing::debug!(%error, "no thread for the screen; the run goes on unseen");
    }
    while let Some(notice) = notices.recv().await {
        // An error means that the terminal is gone; the notices are still taken, so that they do not pile up.
        let _ = forward.send(notice);
    }
    drop(forward);
    match mode {
        Mode::Live { .. } => {
            let _ = tokio::time::timeout(PATIENCE, &mut ended).await;
        }
        // A reader of a pipe gets everything, however slow it is.
        Mode::Plain | Mode::Json => {
            let _ = ended.await;
        }
    }
}

fn write_all(mode: Mode, names: Names, feed: Feed) {
    match mode {
        Mode::Live { color, unicode } => Live::new(Box::new(Stderr), names, color, unicode).run(feed),
        Mode::Plain => plain(names, feed, |text| std::io::stderr().lock().write_all(text.as_bytes())),
        Mode::Json => objects(feed, |text| {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        }),
    }
}

/// Plain lines, until the end or until nobody reads them.
fn plain(names: Names, mut feed: Feed, mut write: impl FnMut(&str) -> std::io::Result<()>) {
    let mut teller = Teller::new(Manner::Stamped { zone: jiff::tz::TimeZone::system() }, names);
    loop {
        let Handful { notices, closed } = feed.next(Duration::from_secs(1));
        let now = now();
        teller.learn(feed.snapshot(), now);
        let mut lines: Vec<String> = notices.iter().flat_map(|notice| teller.tell(notice, now)).collect();
        if !closed {
            lines.extend(teller.summary(feed.snapshot(), now));
        }
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        if (!text.is_empty() && write(&text).is_err()) || closed {
            return;
        }
    }
}

/// One JSON object a line, until the end or until nobody reads them.
fn objects(mut feed: Feed, mut write: impl FnMut(&str) -> std::io::Result<()>) {
    loop {
        let Handful { notices, closed } = feed.next(Duration::from_secs(60));
        let text: String = notices.iter().filter_map(json::line).map(|line| line + "\n").collect();
        if (!text.is_empty() && write(&text).is_err()) || closed {
            return;
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The driver has said something yet.
fn is_known(snapshot: &Snapshot) -> bool {
    !snapshot.run.is_empty()
}

/// A screen that is drawn again and again, with lines that stay above it.
struct Live {
    canvas: Canvas,
    multi: MultiProgress,
    bar: ProgressBar,
    teller: Teller,
    over: bool,
    color: bool,
    unicode: bool,
}

impl Live {
    fn new(out: Box<dyn Terminal>, names: Names, color: bool, unicode: bool) -> Self {
        let canvas = Canvas::new(out);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(canvas.clone()), 5);
        let multi = MultiProgress::with_draw_target(target);
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = multi.add(ProgressBar::new_spinner()).with_style(style);
        Self {
            canvas,
            multi,
            bar,
            teller: Teller::new(Manner::Above { color, unicode }, names),
            over: false,
            color,
            unicode,
        }
    }

    fn run(mut self, mut feed: Feed) {
        loop {
            let Handful { notices, closed } = feed.next(TICK);
            self.turn(feed.snapshot(), &notices, now());
            if closed || self.canvas.is_dead() {
                break;
            }
        }
        self.bar.finish_and_clear();
        self.canvas.leave();
    }

    fn turn(&mut self, snapshot: &Snapshot, notices: &[Notice], now: u64) {
        self.teller.learn(snapshot, now);
        let told: Vec<String> = notices.iter().flat_map(|notice| self.teller.tell(notice, now)).collect();
        // Nothing is drawn any more once the run has ended, whichever of the two says so first.
        self.over |= notices.iter().any(is_end);
        let running =
            Some(snapshot).filter(|snapshot| is_known(snapshot) && snapshot.state == RunState::Running && !self.over);
        if running.is_none() {
            self.bar.set_message("");
        }
        if self.over {
            self.bar.finish_and_clear();
        }
        if !told.is_empty() {
            // An error was already seen by the canvas.
            let _ = self.multi.println(told.join("\n"));
        }
        if let Some(snapshot) = running {
            let (width, height) = self.canvas.size();
            let style = Style { width, height, color: self.color, unicode: self.unicode };
            self.bar.set_message(lines(snapshot, self.teller.pace(), &style, now).join("\n"));
        }
    }
}

#[cfg(test)]
mod tests;
