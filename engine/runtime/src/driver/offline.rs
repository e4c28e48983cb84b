//! Writing a person's words into a run that nobody drives: its lock is taken, its journal read, one input decided.
//! Unaware of hosts and steps. Nothing starts here; what follows from it is decided by the next resume.

use super::control::Control;
use super::history::{self, Past};
use super::message::Request;
use super::resume::resumed_params;
use super::rows::{Before, row};
use super::start::{Assembly, Prologue};
use super::{DriverError, clock::Clock};
use crate::paths::RunDir;
use crate::store::{DriverLock, Entry, Journal};
use flowrun_core::{Input, Refusal};
use std::sync::mpsc::channel;

/// Applies what a person asks; when it returns, the journal has it.
///
/// # Errors
/// When another process drives the run, the journal cannot be used, or the run refuses.
pub fn apply(prologue: &Prologue, run: &RunDir, control: Control) -> Result<(), DriverError> {
    let _lock = DriverLock::take(run)?;
    let journal = Journal::open(run)?;
    let meta = journal.meta().clone();
    let plan = history::pinned(&journal.pins()?, &meta.plan_path, &prologue.registry)?;
    let assembly = Assembly { prologue, plan, run: run.clone(), env: meta.env.clone(), started: meta.created_ms };
    let core = assembly.core(|plan, scope| resumed_params(plan, &meta, scope))?;
    let Past { mut run, mut facts, seq } = history::replay(&journal, &core)?;
    let refused = |why: String| DriverError::Refused(vec![why]);
    let input = match control.into() {
        Request::Input(input) => input,
        Request::Mark { address, verdict, because } => {
            let node = run.find(&address).ok_or_else(|| refused(Refusal::Unknown.to_string()))?;
            Input::Mark { node, verdict, because: because.into() }
        }
    };
    let now = Clock::start().now();
    run.tell_time(now);
    let events = run.handle(input).map_err(|refusal| refused(refusal.to_string()))?;
    let mut entries = Vec::new();
    for event in events {
        let many = Before::of(&run, &event);
        run.evolve(&event);
        facts.fold(now, &event);
        let own = super::commit::event_node(&event).and_then(|node| row(&run, &facts, node, &event, now));
        let rows = own.into_iter().chain(many.iter().flat_map(|many| many.rows(&run, &facts, &event, now))).collect();
        entries.push(Entry { event, rows, inputs: None });
    }
    let (tell, told) = channel();
    let done = Box::new(move |written| {
        // The receiver lives until the answer is there.
        let _ = tell.send(written);
    });
    journal.append(seq, now, entries, done);
    // Where the writer ended without an answer, closing says why.
    if let Ok(written) = told.recv() {
        written?;
    }
    Ok(journal.close()?)
}
