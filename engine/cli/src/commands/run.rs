//! `flowrun run PLAN`: checks a plan, runs it and shows it.
//! Unaware of how arguments are read.

use super::drive::{self, called};
use super::{Ending, Stop, detach};
use crate::args::settings::Settings;
use crate::args::{Params, Run};
use crate::exit::Exit;
use flowrun_engine::driver::{DriverError, NewRun, identity, new_id};
use flowrun_engine::plan::{self, Given, Loaded};
use flowrun_engine::store::statedir;
use flowrun_engine::store::{Index, PinnedFile, Reader, is_live};
use std::collections::BTreeMap;
use std::path::Path;

/// Runs a plan.
///
/// # Errors
/// Why it stopped.
pub fn run(settings: &Settings, args: &Run) -> Ending {
    let prologue = drive::prologue(settings)?;
    let loaded = plan::load(&args.plan, &prologue.registry);
    drive::print_findings(settings.terminal, &loaded);
    let pins = pins(&loaded);
    let Some(plan) = loaded.plan else { return Ok(Exit::Usage) };
    let given = given(&args.params, &prologue.cwd)?;
    statedir::prepare(&settings.state_dir).map_err(DriverError::from)?;
    let name = plan.contexts.first().map(|context| context.name.clone()).unwrap_or_default();
    refuse_unfinished(settings, &name, &identity(&name, &given))?;
    let id = match &args.driving.in_background {
        Some(id) => id.clone(),
        None => fresh_id(settings)?,
    };
    if args.driving.detach {
        return detach::run(settings, args, &id);
    }
    detach::leave_terminal(&args.driving);
    let new = NewRun { plan, path: args.plan.clone(), pins, given, id: id.clone() };
    let run = settings.state_dir.run(&id);
    let end = drive::drive(settings, &run, args.driving.json, |watchers| new.prepare(&prologue, watchers));
    discard_unborn(&run);
    end.map(drive::exit_of)
}

/// A directory whose run never began holds nothing anybody could miss.
fn discard_unborn(run: &flowrun_engine::paths::RunDir) {
    // A journal that cannot be read may hold something.
    let empty = || Reader::open(run).and_then(|reader| reader.run()).is_ok_and(|row| row.last_seq == 0);
    if run.path().exists() && !is_live(run) && (!run.journal().exists() || empty()) {
        // What cannot be removed stays an empty folder, which no command takes for a run.
        let _ = std::fs::remove_dir_all(run.path());
    }
}

/// The texts of all files that take part.
pub fn pins(loaded: &Loaded) -> Vec<PinnedFile> {
    let pin = |file: &plan::source::Source| PinnedFile {
        path: file.path.display().to_string(),
        text: file.text.to_string(),
        digest: file.digest.clone(),
    };
    loaded.sources.files().iter().map(pin).collect()
}

/// Params as the command line gives them; `--set` wins over the file.
pub fn given(params: &Params, cwd: &Path) -> Result<BTreeMap<String, Given>, Stop> {
    let mut given = BTreeMap::new();
    if let Some(file) = &params.params {
        let values = plan::params::from_file(file).map_err(|why| Stop::new(Exit::Usage, why))?;
        let dir = cwd.join(file).parent().map(Path::to_path_buf).unwrap_or_default();
        given.extend(values.into_iter().map(|(name, value)| (name, Given::Value { value, dir: dir.clone() })));
    }
    for (name, text) in &params.set {
        given.insert(name.clone(), Given::Text { text: text.clone(), dir: cwd.to_path_buf() });
    }
    Ok(given)
}

fn refuse_unfinished(settings: &Settings, plan: &str, identity: &str) -> Result<(), Stop> {
    let unfinished = Index::open(&settings.state_dir)
        .and_then(|index| index.unfinished(identity))
        .map_err(|error| Stop::from(DriverError::from(error)))?;
    let Some(earlier) = unfinished.first() else { return Ok(()) };
    let run = settings.state_dir.run(&earlier.id);
    let (id, flowrun) = (drive::shortest(settings, &run), called(settings));
    if is_live(&run) {
        return Err(Stop::new(Exit::Driven, format!("run {id} of `{plan}` with these params is running"))
            .hint(format!("see it with `{flowrun} status {id}`")));
    }
    Err(Stop::new(Exit::Unfinished, format!("run {id} of `{plan}` with these params is unfinished")).hint(format!(
        "go on with it: `{flowrun} resume {id}`; or give it up: `{flowrun} cancel {id}`, then start again"
    )))
}

fn fresh_id(settings: &Settings) -> Result<String, Stop> {
    for _ in 0..100 {
        let id = new_id().map_err(|error| Stop::new(Exit::StateDir, format!("cannot draw a run's id: {error}")))?;
        if !settings.state_dir.run(&id).path().exists() {
            return Ok(id);
        }
    }
    Err(Stop::new(Exit::StateDir, "cannot find a free id for the run"))
}
