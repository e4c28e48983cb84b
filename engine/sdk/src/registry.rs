//! The step types that a flowrun binary knows, with their types erased.
//! Unaware of what any of them does. Adding a type is one `register`.

use crate::cx::BoxFuture;
use crate::{Found, StepCx, StepError, StepResult, StepType};
use schemars::Schema;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the catalogue, the checker and the editor schema need to know of a type.
#[derive(Debug, Clone)]
pub struct StepInfo {
    /// What `uses:` says.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Attempts are adopted after a crash.
    pub adoptable: bool,
    /// What `reconcile` looks at and answers.
    pub reconcile: &'static str,
    /// Every reason for which `reconcile` may answer that nobody can know.
    pub unknowns: &'static [&'static str],
    /// JSON Schema of `with:`.
    pub input: Schema,
    /// JSON Schema of the outputs.
    pub output: Schema,
}

/// A [`StepType`] with its types erased: inputs and outputs are JSON.
pub trait DynStepType: Send + Sync {
    /// What the catalogue knows.
    fn info(&self) -> &StepInfo;
    /// Whether an input with every template rendered is one of this type; the text is serde's, the place its path.
    ///
    /// # Errors
    /// When it is not.
    fn validate(&self, input: &Value) -> StepResult<()>;
    /// See [`StepType::preflight`].
    fn preflight<'a>(&'a self, cx: &'a StepCx, input: Value) -> BoxFuture<'a, StepResult<()>>;
    /// See [`StepType::run`].
    fn run<'a>(&'a self, cx: &'a StepCx, input: Value) -> BoxFuture<'a, StepResult<Value>>;
    /// See [`StepType::reconcile`].
    fn reconcile<'a>(&'a self, cx: &'a StepCx, input: Value) -> BoxFuture<'a, StepResult<Found<Value>>>;
}

struct Erased<T> {
    info: StepInfo,
    step: T,
}

fn parse<T: StepType>(input: Value) -> StepResult<T::Input> {
    serde_json::from_value(input)
        .map_err(|e| StepError::permanent(format!("cannot read the inputs of `{}`: {e}", T::NAME)))
}

fn unparse<T: StepType>(output: T::Output) -> StepResult<Value> {
    serde_json::to_value(output)
        .map_err(|e| StepError::permanent(format!("cannot write the outputs of `{}`: {e}", T::NAME)))
}

impl<T: StepType> DynStepType for Erased<T> {
    fn info(&self) -> &StepInfo {
        &self.info
    }

    fn validate(&self, input: &Value) -> StepResult<()> {
        parse::<T>(input.clone()).map(|_| ())
    }

    fn preflight<'a>(&'a self, cx: &'a StepCx, input: Value) -> BoxFuture<'a, StepResult<()>> {
        Box::pin(async move { self.step.preflight(cx, &parse::<T>(input)?).await })
    }

    fn run<'a>(&'a self, cx: &'a StepCx, input: Value) -> BoxFuture<'a, StepResult<Value>> {
        Box::pin(async move { unparse::<T>(self.step.run(cx, &parse::<T>(input)?).await?) })
    }

    fn reconcile<'a>(&'a self, cx: &'a StepCx, input: Value) -> BoxFuture<'a, StepResult<Found<Value>>> {
        Box::pin(async move {
            Ok(match self.step.reconcile(cx, &parse::<T>(input)?).await? {
                Found::Done(output) => Found::Done(unparse::<T>(output)?),
                Found::NotDone => Found::NotDone,
                Found::Unknown { look_at } => Found::Unknown { look_at },
            })
        })
    }
}

/// The step types of a binary, by name.
#[derive(Clone, Default)]
pub struct Registry {
    types: BTreeMap<&'static str, Arc<dyn DynStepType>>,
}

impl Registry {
    /// No types.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type.
    #[must_use]
    pub fn register<T: StepType>(mut self, step: T) -> Self {
        let info = StepInfo {
            name: T::NAME,
            summary: T::SUMMARY,
            adoptable: T::ADOPTABLE,
            reconcile: T::RECONCILE,
            unknowns: T::UNKNOWNS,
            input: schemars::schema_for!(T::Input),
            output: schemars::schema_for!(T::Output),
        };
        self.types.insert(T::NAME, Arc::new(Erased { info, step }));
        self
    }

    /// The type of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn DynStepType>> {
        self.types.get(name)
    }

    /// All types by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn DynStepType>> {
        self.types.values()
    }
}
