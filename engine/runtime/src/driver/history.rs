//! What a run's own files say of its past: the plan as it was pinned, and the journal folded.
//! Unaware of what is done with them.

use super::DriverError;
use crate::plan::model::CheckedPlan;
use crate::plan::{self, Severity, Sources};
use crate::store::PinnedFile;
use flowrun_sdk::Registry;
use std::path::Path;

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
