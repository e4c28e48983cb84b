//! Admission through gates: readings, `hold`, `settle` and the longest wait.
//! Unaware of what is measured. Nothing here is journaled: an admission is the `Ordered` event that follows from it.

use crate::bug::planted;
use crate::event::AttemptId;
use crate::plan::Gate;

/// What is known of a gate now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GateState {
    /// The newest reading.
    reading: Option<Reading>,
    /// When it was last measured.
    last: Option<u64>,
    /// Since when every reading has held.
    holds_since: Option<u64>,
    /// Since when every reading has not held, while somebody waited.
    shut_since: Option<u64>,
    /// The admission that the gate settles after.
    settling: Option<(AttemptId, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Reading {
    at: u64,
    holds: bool,
}

/// What a gate says to the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It may start.
    Admit,
    /// Not before the gate has been measured again.
    Measure,
    /// Not yet.
    Wait,
    /// It has been shut for the longest wait of who asks.
    Overdue,
}

impl GateState {
    /// A new reading. After a gap in which nobody waited, the counting of `hold` and of the longest wait begins anew;
    /// says whether it does.
    pub(crate) fn read(&mut self, gate: &Gate, now: u64, holds: bool) -> bool {
        let gap = gate.every_ms.saturating_mul(3).saturating_add(gate.settle_ms).saturating_add(1000);
        let anew = self.last.is_none_or(|last| now < last || now - last > gap);
        if anew {
            self.holds_since = None;
            self.shut_since = None;
        }
        self.last = Some(now);
        self.reading = Some(Reading { at: now, holds });
        if holds {
            self.holds_since.get_or_insert(now);
            self.shut_since = None;
        } else {
            self.shut_since.get_or_insert(now);
            self.holds_since = None;
        }
        anew
    }

    /// An attempt was admitted.
    pub(crate) fn admitted(&mut self, gate: &Gate, now: u64, id: AttemptId) {
        if gate.settle_ms > 0 && !planted!(SettleIgnored) {
            self.settling = Some((id, now.saturating_add(gate.settle_ms)));
            self.reading = None;
        }
    }

    /// An attempt ended: an admission counts only while its attempt runs.
    pub(crate) fn ended(&mut self, id: AttemptId) {
        if self.settling.is_some_and(|(settling, _)| settling == id) {
            self.settling = None;
        }
    }

    /// What the gate says at this time to somebody who has waited at it since then. A clock that was set back makes no
    /// reading fresher than it is.
    pub(crate) fn answer(&self, gate: &Gate, now: u64, waits_since: Option<u64>) -> Answer {
        if self.settling.is_some_and(|(_, until)| now < until && until - now <= gate.settle_ms) {
            return Answer::Wait;
        }
        let Some(reading) = self.reading else {
            return Answer::Measure;
        };
        let age = now.checked_sub(reading.at);
        if age.is_none_or(|age| age >= gate.every_ms.max(1)) {
            return Answer::Measure;
        }
        let lasted = |since: Option<u64>, long: u64| since.is_some_and(|s| now.saturating_sub(s) >= long);
        if reading.holds {
            if lasted(self.holds_since, gate.hold_ms) || planted!(HoldIgnored) { Answer::Admit } else { Answer::Wait }
        } else if gate.max_wait_ms.is_some_and(|long| lasted(self.shut_since, long) && lasted(waits_since, long)) {
            Answer::Overdue
        } else {
            Answer::Wait
        }
    }

    /// When the gate should be looked at again, for somebody who waits for it now.
    pub(crate) fn next_look(&self, gate: &Gate, now: u64) -> u64 {
        if let Some((_, until)) = self.settling
            && now < until
            && until - now <= gate.settle_ms
        {
            return until;
        }
        match self.reading {
            Some(reading) if reading.at <= now => reading.at.saturating_add(gate.every_ms.max(1)),
            Some(_) | None => now,
        }
    }
}
