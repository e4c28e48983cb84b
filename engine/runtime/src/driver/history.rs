//! What a run's own files say of its past: the plan as it was pinned, and the journal folded.
//! Unaware of what is done with them.

use super::DriverError;
use super::facts::Facts;
use crate::plan::model::CheckedPlan;
use crate::plan::{self, Severity, Sources};
use crate::store::{Journal, PinnedFile, StoreError};
use flowrun_core::{Event, Plan, Run};
use flowrun_sdk::Registry;
use std::path::Path;
use std::sync::Arc;

/// The plan as the run pinned it; `root` is the path of the run's own plan.
///
/// # Errors
/// When this flowrun cannot read it: another version of flowrun pinned it.
pub fn pinned(pins: &[PinnedFile], root: &str, registry: &Registry) -> Result<CheckedPlan, DriverError> {
    let mut sources = Sources::default();
    for pin in pins {
        sources.add(&pin.path, Path::new(&pin.path), &pin.text);
    }
    let loaded = plan::load_pinned(&sources, Path::new(root), registry);
    let faults = loaded.diagnostics.iter().filter(|finding| finding.severity == Severity::Error);
    let faults: Vec<_> = faults.map(|finding| finding.message.clone()).collect();
    loaded.plan.ok_or_else(|| {
        DriverError::Refused(vec![format!(
            "this flowrun cannot read the plan that the run has pinned: {}; go on with the version of flowrun that \
             started the run",
            faults.join("; ")
        )])
    })
}

/// The journal of a run, folded up to its last event.
pub(crate) struct Past {
    pub(crate) run: Run,
    pub(crate) facts: Facts,
    /// The number of the last event.
    pub(crate) seq: u64,
}

/// Folds the journal from the plan that is in force: an accepted change carries over what it keeps, so that nothing
/// before it is needed but whether the run was paused.
pub(crate) fn replay(journal: &Journal, core: &Arc<Plan>) -> Result<Past, StoreError> {
    let last = journal.epoch()?;
    let mut run = Run::new(Arc::clone(core));
    let mut facts = Facts { epoch: last.saturating_sub(1), ..Facts::default() };
    let mut epoch = 0;
    let seq = journal.replay(|_, at, event| {
        epoch += u32::from(matches!(event, Event::Replanned { .. }));
        let pauses = matches!(event, Event::Paused { .. } | Event::Unpaused);
        if epoch == last {
            run.evolve(&event);
            facts.fold(at, &event);
        } else if pauses {
            run.evolve(&event);
        }
    })?;
    facts.epoch = last;
    Ok(Past { run, facts, seq })
}
