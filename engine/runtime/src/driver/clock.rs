//! The time as a run sees it: the wall clock at the start, carried on by the clock that runs since the boot.
//! Unaware of time zones. A clock that somebody sets back or forward by a day changes nothing before the next start.

use rustix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// The time of one process.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: u64,
    boot: u64,
}

impl Clock {
    /// Starts with the wall clock.
    #[must_use]
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        Self { wall: u64::try_from(wall).unwrap_or(u64::MAX), boot: since_boot() }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.wall.saturating_add(since_boot().saturating_sub(self.boot))
    }
}

fn since_boot() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let ms = time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000);
    u64::try_from(ms).unwrap_or(0)
}
