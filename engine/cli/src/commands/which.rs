//! The run that a person means: by its id, by the beginning of it, or the latest.
//! Unaware of what is done with it.

use super::Stop;
use super::drive::called;
use crate::args::settings::Settings;
use crate::exit::Exit;
use flowrun_core::RunState;
use flowrun_engine::driver::DriverError;
use flowrun_engine::paths::RunDir;
use flowrun_engine::store::{FindError, Index, RunSummary, StoreError, is_live};

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        DriverError::from(error).into()
    }
}

impl From<FindError> for Stop {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Store(error) => error.into(),
            FindError::None { .. } | FindError::Many { .. } => Self::new(Exit::Usage, error.to_string()),
        }
    }
}

/// The run of this name, or the latest.
pub fn run(settings: &Settings, named: Option<&str>) -> Result<RunSummary, Stop> {
    let index = Index::open(&settings.state_dir)?;
    if let Some(named) = named {
        return Ok(index.find(named)?);
    }
    index.list()?.into_iter().next().ok_or_else(|| {
        let hint = format!("start one: `{} PLAN`", called(settings));
        Stop::new(Exit::Usage, format!("there is no run in `{}`", settings.state_dir.0.display())).hint(hint)
    })
}

/// As [`run`], its directory alone.
pub fn dir(settings: &Settings, named: Option<&str>) -> Result<RunDir, Stop> {
    run(settings, named).map(|found| settings.state_dir.run(&found.id))
}

/// The run of this name, or the latest one that can be gone on with; those that nobody drives come first.
pub fn unfinished(settings: &Settings, named: Option<&str>) -> Result<RunSummary, Stop> {
    if named.is_some() {
        return run(settings, named);
    }
    let runs = Index::open(&settings.state_dir)?.list()?;
    let unfinished = |run: &&RunSummary| matches!(run.state, RunState::Running | RunState::Failed);
    let idle = |run: &&RunSummary| unfinished(run) && !is_live(&settings.state_dir.run(&run.id));
    runs.iter().find(idle).or_else(|| runs.iter().find(unfinished)).cloned().ok_or_else(|| {
        let hint = format!("list the runs with `{} runs`", called(settings));
        Stop::new(Exit::Usage, "there is no unfinished run").hint(hint)
    })
}
