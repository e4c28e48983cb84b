//! Points where the host kills itself, so that a test can strike between any two of its effects.
//! Unaware of what happens there. Without an order to crash a point costs one comparison.

use rustix::process::{Pid, Signal};
use std::cell::Cell;

/// The order: which point, and how many times it is passed before it strikes.
#[derive(Debug)]
pub(super) struct Crash {
    point: String,
    left: Cell<u32>,
    host: Option<Pid>,
    /// It stops there instead of dying, so that a test can strike somebody else at that instant.
    stops: bool,
}

impl Crash {
    /// Reads `after-fork`, `after-fork:3` or `stop@after-fork:3`.
    pub(super) fn parse(order: &str) -> Self {
        let (stops, order) = order.strip_prefix("stop@").map_or((false, order), |order| (true, order));
        let (point, count) = order.rsplit_once(':').unwrap_or((order, "1"));
        let host = Some(rustix::process::getpid());
        Self { point: point.to_owned(), left: Cell::new(count.parse().unwrap_or(1)), host, stops }
    }

    /// The host dies here if the order says so: by KILL, as from outside. A child that is not yet its program may pass
    /// a point too, and kills its host.
    pub(super) fn point(&self, name: &str) {
        if self.point.is_empty() || self.point != name || self.left.get() == 0 {
            return;
        }
        self.left.set(self.left.get() - 1);
        if self.left.get() > 0 {
            return;
        }
        // The host sleeps as long as a child that is not yet its program does.
        let own = rustix::process::getpid();
        if self.stops {
            let _ = rustix::process::kill_process(own, Signal::STOP);
        } else if let Some(host) = self.host {
            // The only failure would be that it is gone already.
            let _ = rustix::process::kill_process(host, Signal::KILL);
        }
    }
}
