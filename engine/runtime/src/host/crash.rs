//! Points where the host kills itself, so that a test can strike between any two of its effects.
//! Unaware of what happens there. Without an order to crash a point costs one comparison.

use std::cell::Cell;

/// The order: which point, and how many times it is passed before it strikes.
#[derive(Debug, Default)]
pub(super) struct Crash {
    point: String,
    left: Cell<u32>,
}

impl Crash {
    /// Reads `after-fork` or `after-fork:3`.
    pub(super) fn parse(order: &str) -> Self {
        let (point, count) = order.rsplit_once(':').unwrap_or((order, "1"));
        Self { point: point.to_owned(), left: Cell::new(count.parse().unwrap_or(1)) }
    }

    /// Dies here if the order says so: by KILL, as from outside.
    pub(super) fn point(&self, name: &str) {
        if self.point.is_empty() || self.point != name {
            return;
        }
        self.left.set(self.left.get().saturating_sub(1));
        if self.left.get() == 0 {
            // The only failure would be that this process is gone already.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }
}
