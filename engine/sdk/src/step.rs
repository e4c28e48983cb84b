//! The trait that every step type implements.
//! Unaware of how attempts are scheduled.

use crate::{StepCx, StepResult};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use std::future::Future;

/// A step type: what `uses:` names.
///
/// An exit code is not evidence: `run` ends with the type's own check of the result, read back from the server or the
/// files, and that verdict is the attempt's.
pub trait StepType: Send + Sync + 'static {
    /// `with:`; derive `Deserialize` with `deny_unknown_fields`, and document every field.
    type Input: DeserializeOwned + JsonSchema + Send + Sync;
    /// `steps.ID.…`
    type Output: Serialize + DeserializeOwned + JsonSchema + Send;

    /// What `uses:` says.
    const NAME: &'static str;
    /// One sentence for the catalogue.
    const SUMMARY: &'static str;
    /// `run` may be entered again for the same attempt while its child lives on: it has no effect before its first
    /// [`StepCx::child`], and everything after a child's end can be done twice. Such an attempt is adopted after a
    /// crash of flowrun; of the others the fate is unknown, and `reconcile` is asked.
    const ADOPTABLE: bool = false;
    /// What [`StepType::reconcile`] looks at and answers: one or two sentences for the catalogue.
    const RECONCILE: &'static str = "";
    /// Every reason for which [`StepType::reconcile`] may answer [`Found::Unknown`], for the catalogue.
    const UNKNOWNS: &'static [&'static str] = &[];

    /// Reasons not to begin; no effects. Called for every step before the run starts, where its inputs are known by then.
    fn preflight(&self, cx: &StepCx, input: &Self::Input) -> impl Future<Output = StepResult<()>> + Send {
        let _ = (cx, input);
        async { Ok(()) }
    }

    /// Does it, checks it, and says what it hands out.
    fn run(&self, cx: &StepCx, input: &Self::Input) -> impl Future<Output = StepResult<Self::Output>> + Send;

    /// The last attempt's fate is unknown and it can no longer act: look at the world and at the notes.
    fn reconcile(
        &self,
        cx: &StepCx,
        input: &Self::Input,
    ) -> impl Future<Output = StepResult<Found<Self::Output>>> + Send;
}

/// What looking at the world said about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<T> {
    /// Its effect is there, whole.
    Done(T),
    /// Its effect is not there, or only in part, and running again makes it right.
    NotDone,
    /// The world does not tell.
    Unknown {
        /// Where a person should look.
        look_at: String,
    },
}
