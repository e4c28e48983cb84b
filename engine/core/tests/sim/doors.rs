//! Gates as the rules have them: what was read, and who was let in.
//! Unaware of the code under test.

use flowrun_core::plan::{Gate, Otherwise};

#[derive(Debug, Clone, Default)]
pub struct Door {
    /// Readings of this process, oldest first.
    pub readings: Vec<(u64, bool)>,
    pub admitted: Option<Admission>,
}

#[derive(Debug, Clone)]
pub struct Admission {
    addr: String,
    at: u64,
}

impl Door {
    pub fn read(&mut self, now: u64, holds: bool) {
        self.readings.push((now, holds));
    }

    pub fn admitted(&mut self, addr: &str, _: u32, now: u64, settle: u64) {
        if settle > 0 {
            let addr = addr.to_owned();
            self.admitted = Some(Admission { addr, at: now });
        }
    }

    pub fn ended(&mut self, addr: &str) {
        if self.admitted.as_ref().is_some_and(|a| a.addr == addr) {
            self.admitted = None;
        }
    }

    /// The clock was set to another day.
    pub fn jumped(&mut self) {
        self.admitted = None;
    }

    /// Another process has read nothing yet.
    pub fn restarted(&mut self) {
        self.readings.clear();
        self.admitted = None;
    }

    /// How long all readings up to the last one have been so. A jump of the clock shows as a gap between readings.
    fn streak(&self, gate: &Gate, holds: bool) -> u64 {
        let Some((last, _)) = self.readings.last() else {
            return 0;
        };
        let gap = 3 * gate.every_ms + gate.settle_ms + 1_000;
        let mut first = *last;
        for (at, _) in self.readings.iter().rev().take_while(|(_, h)| *h == holds) {
            if *at > first || first - at > gap {
                break;
            }
            first = *at;
        }
        last - first
    }

    pub fn overdue(&self, gate: &Gate) -> bool {
        let shut = self.readings.last().is_some_and(|(_, holds)| !holds);
        // The last reading is at most `every` old.
        gate.max_wait_ms.is_some_and(|long| shut && self.streak(gate, false) + gate.every_ms.max(1) >= long)
    }

    pub fn check(&self, gate: &Gate, now: u64) -> Result<(), String> {
        if let Some(admission) = &self.admitted
            && now < admission.at + gate.settle_ms
        {
            return Err(format!("it settles after `{}`", admission.addr));
        }
        let Some((at, holds)) = self.readings.last() else {
            return Err("nobody has read it".into());
        };
        if now >= at + gate.every_ms.max(1) {
            return Err("its reading is old".into());
        }
        let held = self.streak(gate, true) + (now - at) >= gate.hold_ms;
        if *holds && held || gate.otherwise == Otherwise::Run && self.overdue(gate) {
            Ok(())
        } else {
            Err(format!("it is shut: {:?}", self.readings))
        }
    }
}
