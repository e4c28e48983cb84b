//! The terminal as indicatif draws on it: whole frames in one write each.
//! Unaware of what is drawn. The rule: no error of the terminal goes further than here, and none is fatal.
//!
//! indicatif fills each line with blanks up to the edge and lets the terminal wrap. A terminal that is resized then
//! joins and breaks such lines anew, and neither the scroll-back nor the count of rows to clear is right any more. So
//! here each line ends with a line feed of its own, and the rows that the last frame takes are counted at the width
//! that the terminal has now.

use super::text;
use indicatif::TermLike;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A terminal that frames are drawn on.
#[derive(Debug, Clone)]
pub struct Canvas(Arc<Inner>);

struct Inner {
    frame: Mutex<Frame>,
    dead: AtomicBool,
    out: Box<dyn Terminal>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("dead", &self.dead).finish_non_exhaustive()
    }
}

/// What stands behind a canvas.
pub trait Terminal: Send + Sync {
    /// Columns and rows.
    fn size(&self) -> (usize, usize);
    /// Writes all of it.
    ///
    /// # Errors
    /// What the terminal says.
    fn write(&self, text: &str) -> io::Result<()>;
}

/// The process's standard error.
#[derive(Debug)]
pub struct Stderr;

impl Terminal for Stderr {
    fn size(&self) -> (usize, usize) {
        let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
        // A serial console may not know its size.
        let known = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        known.map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
    }

    fn write(&self, text: &str) -> io::Result<()> {
        io::stderr().lock().write_all(text.as_bytes())
    }
}

/// A frame in the making, and what is known about the last one.
#[derive(Debug, Default)]
struct Frame {
    buffer: String,
    /// How wide the lines of the last frame are.
    widths: Vec<usize>,
    /// The cursor stands behind a line that has no line feed yet.
    open: bool,
    /// indicatif is taking the last frame away.
    clearing: bool,
    /// The next text is the blanks that fill a line.
    filler: bool,
    up: usize,
}

impl Canvas {
    /// A canvas on a terminal.
    #[must_use]
    pub fn new(out: Box<dyn Terminal>) -> Self {
        Self(Arc::new(Inner { frame: Mutex::default(), dead: AtomicBool::new(false), out }))
    }

    /// The terminal is gone: nothing that is drawn will be seen.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::Relaxed)
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.0.out.size()
    }

    /// Leaves the cursor at the beginning of a free line.
    pub fn leave(&self) {
        let mut frame = self.frame();
        if std::mem::take(&mut frame.open) {
            frame.buffer.push_str("\r\n");
        }
        self.show(&mut frame);
    }

    fn frame(&self) -> MutexGuard<'_, Frame> {
        self.0.frame.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, frame: &mut Frame) {
        frame.clearing = false;
        frame.filler = false;
        frame.up = 0;
        let text = std::mem::take(&mut frame.buffer);
        if text.is_empty() || self.is_dead() {
            return;
        }
        match self.0.out.write(&text) {
            // Somebody else made the terminal non-blocking: this frame is lost, the next may be seen.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.0.dead.store(true, Ordering::Relaxed),
            Ok(()) => {}
        }
    }
}

impl Frame {
    /// Goes to the first row of the last `lines` lines and clears all from there on.
    fn clear_last(&mut self, lines: usize, columns: usize) {
        let columns = columns.max(1);
        let first = self.widths.len().saturating_sub(lines);
        let rows: usize = self.widths.drain(first..).map(|width| width.div_ceil(columns).max(1)).sum();
        self.buffer.push('\r');
        if rows > 1 {
            self.buffer.push_str(&format!("\x1b[{}A", rows - 1));
        }
        self.buffer.push_str("\x1b[J");
        self.widths.clear();
        self.open = false;
    }

    fn add_line(&mut self, line: &str) {
        if self.open {
            self.buffer.push_str("\r\n");
        }
        self.buffer.push_str(line);
        self.widths.push(text::width(&text::clean(line)));
        // Only the rows of the last frame are ever asked for.
        let old = self.widths.len().saturating_sub(256);
        self.widths.drain(..old);
        self.open = true;
    }
}

impl TermLike for Canvas {
    fn width(&self) -> u16 {
        u16::try_from(self.size().0).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(self.size().1).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        let mut frame = self.frame();
        if !frame.clearing {
            frame.up = n;
        }
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.frame().add_line(s);
        Ok(())
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        let mut frame = self.frame();
        if !frame.filler {
            frame.add_line(s);
        }
        frame.filler = !frame.filler;
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        let columns = self.size().0;
        let mut frame = self.frame();
        if !frame.clearing {
            let lines = frame.up + 1;
            frame.clear_last(lines, columns);
            frame.clearing = true;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.show(&mut self.frame());
        Ok(())
    }
}
