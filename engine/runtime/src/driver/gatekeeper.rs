//! Measures the gates that somebody waits for, each once for all that wait on it.
//! Unaware of who is admitted; the core decides that from the readings.

use super::clock::Clock;
use super::message::Message;
use crate::gates::{self, Reading, RenderedProbe};
use flowrun_core::{GateId, Run};
use std::collections::HashSet;
use tokio::sync::mpsc;

/// The gates of a run.
pub(crate) struct Gatekeeper {
    /// None: its limits are not known before the step that calls its plan.
    probes: Vec<Option<RenderedProbe>>,
    last: Vec<Option<(Reading, u64)>>,
    measuring: HashSet<GateId>,
    clock: Clock,
}

impl Gatekeeper {
    pub(crate) fn new(probes: Vec<Option<RenderedProbe>>) -> Self {
        Self { last: vec![None; probes.len()], probes, measuring: HashSet::new(), clock: Clock::start() }
    }

    /// Starts the measurements that are due.
    pub(crate) fn look(&mut self, run: &Run, driver: &mpsc::UnboundedSender<Message>) {
        let now = self.clock.now();
        for (gate, at) in run.gates_to_measure() {
            let Some(Some(probe)) = self.probes.get(gate.index()).filter(|_| at <= now) else { continue };
            if !self.measuring.insert(gate) {
                continue;
            }
            let (probe, driver) = (probe.clone(), driver.clone());
            tokio::spawn(async move {
                let reading = gates::measure(&probe).await;
                // The loop may have ended meanwhile.
                let _ = driver.send(Message::Measured(gate, reading));
            });
        }
    }

    /// When the next measurement is due.
    pub(crate) fn next_look(&self, run: &Run) -> Option<u64> {
        let wanted = run.gates_to_measure();
        wanted.into_iter().filter(|(gate, _)| !self.measuring.contains(gate)).map(|(_, at)| at).min()
    }

    /// The step that calls the gates' plan has said what their limits are.
    pub(crate) fn learn(&mut self, probes: Vec<(GateId, RenderedProbe)>) {
        for (gate, probe) in probes {
            if let Some(slot) = self.probes.get_mut(gate.index()) {
                *slot = Some(probe);
            }
        }
    }

    pub(crate) fn measured(&mut self, gate: GateId, reading: Reading, now: u64) {
        self.measuring.remove(&gate);
        if let Some(last) = self.last.get_mut(gate.index()) {
            *last = Some((reading, now));
        }
    }

    /// What the gate said last.
    pub(crate) fn last(&self, gate: GateId) -> Option<&Reading> {
        self.last.get(gate.index())?.as_ref().map(|(reading, _)| reading)
    }
}
