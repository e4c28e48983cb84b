//! From a run's journal to a driver that goes on with it.
//! Unaware of the terminal. Everything that can refuse does so before anything is written.

use super::change::{self, Change};
use super::control::Control;
use super::history::{self, Past};
use super::restore::{self, Orphans};
use super::scope::StaticScope;
use super::start::{Assembled, Assembly, Conduct, Prologue};
use super::{DriverError, Watchers};
use crate::paths::RunDir;
use crate::plan::model::CheckedPlan;
use crate::plan::{Given, params};
use crate::store::{DriverLock, Journal, RunMeta};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A run to go on with.
pub struct ResumeRun {
    /// Its directory.
    pub run: RunDir,
    /// The plan as it was pinned.
    pub plan: CheckedPlan,
    /// Its lock.
    pub lock: DriverLock,
    /// Its journal.
    pub journal: Journal,
    /// What for.
    pub purpose: Purpose,
}

/// What a run is taken up for.
#[derive(Debug)]
pub enum Purpose {
    /// To go on, with what a person asks of it first.
    GoOn(Vec<Control>),
    /// To go on with another plan, or with finished steps that are to run again; then with what a person asks of it.
    /// Nothing but services may be in flight.
    Replan(Box<Change>, Vec<Control>),
    /// To wait for what still runs, and to start nothing.
    Settle,
    /// To stop what still runs and end.
    Cancel,
}

impl ResumeRun {
    /// Reads what happened so far and takes up what still runs.
    ///
    /// # Errors
    /// When the journal, the secrets or the host do not allow it; what lives is left alone.
    pub async fn prepare(self, prologue: &Prologue, watchers: Watchers) -> Result<Conduct, DriverError> {
        let meta = self.journal.meta().clone();
        let assembly = |plan: CheckedPlan| Assembly {
            prologue,
            plan,
            run: self.run.clone(),
            env: meta.env.clone(),
            started: meta.created_ms,
        };
        let params = |plan: &CheckedPlan, scope: &StaticScope<'_>| resumed_params(plan, &meta, scope);
        let (settles, cancel) = (matches!(self.purpose, Purpose::Settle), matches!(self.purpose, Purpose::Cancel));
        let (assembled, mut past, asks) = match self.purpose {
            Purpose::GoOn(asks) => {
                let (assembled, past) = as_pinned(assembly(self.plan), &self.journal, params)?;
                (assembled, past, asks)
            }
            Purpose::Settle | Purpose::Cancel => {
                let (assembled, past) = as_pinned(assembly(self.plan), &self.journal, params)?;
                (assembled, past, if cancel { vec![Control::Cancel] } else { Vec::new() })
            }
            Purpose::Replan(change, asks) => {
                let old = assembly(self.plan).core(params)?;
                let past = history::replay(&self.journal, &old)?;
                let Change { plan, pins, again } = *change;
                let assembled = assembly(plan).assemble(params)?;
                let change =
                    change::Step { pins, again: &again, core: &assembled.1, secrets: assembled.0.secrets.values() };
                let past = change::take(past, change, &self.run, &self.journal, prologue).await?;
                (assembled, past, asks)
            }
        };
        if settles {
            past.run.drain();
        }
        let (world, _, private, probes) = assembled;
        let Past { run, facts, seq } = past;
        let mut conduct =
            Conduct::new(prologue, world, run, facts, self.journal, seq, private, probes, self.lock, watchers).await?;
        let engine = &mut conduct.engine;
        engine.learn_gates();
        restore::files(engine).await?;
        restore::flights(engine, if cancel { Orphans::AreLost } else { Orphans::AreWaitedFor })?;
        engine.settles = settles;
        for ask in asks {
            engine.asked(ask.into()).map_err(|why| DriverError::Refused(vec![why]))?;
        }
        Ok(conduct)
    }
}

fn as_pinned(
    assembly: Assembly<'_>,
    journal: &Journal,
    params: impl FnOnce(&CheckedPlan, &StaticScope<'_>) -> Result<Map<String, Value>, Vec<String>>,
) -> Result<(Assembled, Past), DriverError> {
    let assembled = assembly.assemble(params)?;
    let past = history::replay(journal, &assembled.1)?;
    Ok((assembled, past))
}

/// The run's params; those that an accepted change added have their defaults.
pub(super) fn resumed_params(
    plan: &CheckedPlan,
    meta: &RunMeta,
    scope: &StaticScope<'_>,
) -> Result<Map<String, Value>, Vec<String>> {
    let Value::Object(known) = &meta.params else {
        return Err(vec![format!("the run's params are {} and no map", meta.params)]);
    };
    let Some(context) = plan.contexts.first() else { return Ok(known.clone()) };
    if context.params.iter().all(|param| known.contains_key(&param.name)) {
        return Ok(known.clone());
    }
    let kept = known.iter().filter(|(name, _)| context.params.iter().any(|param| param.name == **name));
    let given: BTreeMap<String, Given> = kept
        .map(|(name, value)| (name.clone(), Given::Value { value: value.clone(), dir: meta.cwd.clone().into() }))
        .collect();
    params::resolve(context, &given, scope).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}
