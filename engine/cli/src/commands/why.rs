//! `flowrun why`: why a step or an item does not run.
//! Unaware of how arguments are read. It says what the journal and the live driver know, and what a person can do.

use super::drive::{self, called};
use super::logs::source;
use super::survey::{self, Survey, inner_block};
use super::{Ending, Stop, print, which};
use crate::args::Why;
use crate::args::settings::Settings;
use crate::exit::Exit;
use crate::screen::text;
use flowrun_core::event::UnitState;
use flowrun_core::plan::NeedKind;
use flowrun_core::{PoolId, RunState};
use flowrun_engine::driver::snapshot::Running;
use flowrun_engine::plan::model::{CheckedPlan, Step};
use flowrun_engine::store::NodeRow;
use std::collections::HashMap;

/// So many of those that hold a pool are named.
const NAMED: usize = 5;

/// Says why.
///
/// # Errors
/// When there is no such run, step or item.
pub fn why(settings: &Settings, args: &Why) -> Ending {
    let run = which::dir(settings, Some(&args.run))?;
    let survey = Survey::open(&run)?;
    let row = source::row_of(&survey, &args.address)?;
    let address = row.as_ref().map_or_else(|| args.address.clone(), |row| row.address.clone());
    let step = survey.planned(&address);
    if row.is_none() && step.is_none() {
        return Err(source::unknown(&survey, &args.address));
    }
    let id = drive::shortest(settings, &run);
    let because = Because { survey: &survey, flowrun: called(settings), id, address, row, step };
    print(&(because.lines()?.join("\n") + "\n"))?;
    Ok(Exit::Succeeded)
}

struct Because<'a> {
    survey: &'a Survey,
    flowrun: String,
    id: String,
    address: String,
    row: Option<NodeRow>,
    step: Option<&'a Step>,
}

impl Because<'_> {
    fn lines(&self) -> Result<Vec<String>, Stop> {
        let mut lines = match &self.row {
            Some(row) => self.known(row)?,
            None => self.held()?,
        };
        if !self.survey.live && self.survey.row.state == RunState::Running {
            lines.push(format!("nobody drives the run: go on with it with `{} resume {}`", self.flowrun, self.id));
        }
        Ok(lines)
    }

    fn known(&self, row: &NodeRow) -> Result<Vec<String>, Stop> {
        let address = &self.address;
        let why = row.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let took = row.started.zip(row.ended).map(|(start, end)| text::took(end.saturating_sub(start)));
        let took = took.map(|took| format!(" after {took}")).unwrap_or_default();
        let tries = if row.attempts > 1 { format!(" at try {}", row.attempts) } else { String::new() };
        Ok(match row.state {
            UnitState::Succeeded => vec![format!("`{address}` has succeeded{tries}{took}")],
            UnitState::Skipped => vec![format!("`{address}` was skipped{why}")],
            UnitState::Cancelled => vec![format!("`{address}` was cancelled with the run{took}")],
            UnitState::Failed => self.failed(row, &format!("`{address}` has failed{tries}{took}{why}")),
            UnitState::Lost => vec![
                format!("`{address}` was lost{tries}: nobody can know what it did{why}"),
                format!(
                    "look for yourself, then `{0} mark {1} {address} done`, `skip` or `redo` with `--because`",
                    self.flowrun, self.id
                ),
            ],
            UnitState::Running => self.running(row),
            UnitState::Pending | UnitState::Waiting => {
                let mut lines = self.held()?;
                if let Some(error) = &row.error {
                    lines.push(format!("its try {} failed: {error}", row.attempts));
                }
                lines
            }
        })
    }

    fn failed(&self, row: &NodeRow, first: &str) -> Vec<String> {
        let mut lines = vec![first.to_owned()];
        let log = self.survey.run.log(&self.address, row.attempts);
        if row.attempts > 0 && log.exists() {
            lines.push(format!("its log: `{} logs {} {}`", self.flowrun, self.id, self.address));
        }
        if !self.survey.live {
            lines.push(format!("mend the cause, then `{} resume {}`", self.flowrun, self.id));
        }
        lines
    }

    fn running(&self, row: &NodeRow) -> Vec<String> {
        let since = row.started.map(|started| text::duration(survey::now().saturating_sub(started)));
        let since = since.map(|since| format!(" for {since}")).unwrap_or_default();
        let tries = if row.attempts > 1 { format!(", try {}", row.attempts) } else { String::new() };
        let mut lines = vec![format!("`{}` is running{since}{tries}", self.address)];
        if let Some(waiting) = self.survey.waiting(&self.address, self.step) {
            lines.push(format!("inside it something waits: {}", waiting.reason));
        }
        lines
    }

    /// What has to come before it may start.
    fn held(&self) -> Result<Vec<String>, Stop> {
        let mut lines = vec![format!("`{}` has not started", self.address)];
        let before = lines.len();
        lines.extend(self.needs()?);
        if lines.len() == before {
            lines.extend(self.world()?);
        }
        if let Some(reason) = &self.survey.row.paused {
            lines.push(format!("the run is paused ({reason}): `{} unpause {}`", self.flowrun, self.id));
        }
        if lines.len() == before && self.survey.row.state != RunState::Running {
            lines.push(format!("the run has ended ({})", self.survey.word().word()));
        }
        if lines.len() == before && self.survey.live {
            lines.push("nothing holds it back: its turn comes with the next free place".to_owned());
        }
        Ok(lines)
    }

    fn needs(&self) -> Result<Vec<String>, Stop> {
        let Some(step) = self.step else { return Ok(Vec::new()) };
        let above = self.address.rsplit_once('/').map(|(above, _)| above);
        let siblings = match above {
            // An item waits for what its step waits for.
            Some(above) if step.for_each.is_none() => self.siblings(above)?,
            Some(_) | None => self.survey.reader.steps()?,
        };
        let name = |row: &NodeRow| row.address.rsplit('/').next().unwrap_or_default().to_owned();
        let rows: HashMap<String, NodeRow> = siblings.into_iter().map(|row| (name(&row), row)).collect();
        let states: HashMap<&str, UnitState> = rows.iter().map(|(name, row)| (name.as_str(), row.state)).collect();
        let unmet = self.survey.unmet(step, &states);
        Ok(unmet.into_iter().map(|(need, kind, state)| said(need, kind, state)).collect())
    }

    fn siblings(&self, above: &str) -> Result<Vec<NodeRow>, Stop> {
        let Some(owner) = self.survey.reader.node(above)? else { return Ok(Vec::new()) };
        Ok(self.survey.reader.children(owner.node, 0, u32::MAX)?)
    }

    /// The gate, the pool, the pause or the person that it waits for.
    fn world(&self) -> Result<Vec<String>, Stop> {
        let mut lines = Vec::new();
        let waiting = self.survey.waiting(&self.address, self.step).or_else(|| {
            let (fan, _) = self.address.rsplit_once('/')?;
            self.survey.waiting(fan, self.survey.planned(fan))
        });
        if let Some(waiting) = waiting {
            lines.push(match waiting.gate {
                Some(gate) => format!("it waits for gate `{gate}`: {}", waiting.reason),
                None => format!("it waits: {}", waiting.reason),
            });
        }
        let (Some(step), Some(plan)) = (self.step, &self.survey.plan) else { return Ok(lines) };
        for (pool, units) in &step.pools {
            lines.extend(self.pool(plan, *pool, *units));
        }
        Ok(lines)
    }

    /// Who holds a pool that it takes.
    fn pool(&self, plan: &CheckedPlan, id: PoolId, units: u32) -> Option<String> {
        let pool = plan.pools.get(id.index())?;
        let takes = |running: &&Running| {
            self.survey.planned(&running.address).is_some_and(|step| step.pools.iter().any(|(other, _)| *other == id))
        };
        let snapshot = self.survey.snapshot.as_ref()?;
        let holders: Vec<&str> =
            snapshot.running.iter().filter(takes).map(|running| running.address.as_str()).collect();
        if holders.is_empty() {
            return None;
        }
        let named = holders.iter().take(NAMED).map(|holder| format!("`{holder}`")).collect::<Vec<_>>().join(", ");
        let more = match holders.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let takes = if units == 1 { "1 unit".to_owned() } else { format!("{units} units") };
        Some(format!("it takes {takes} of pool `{}`, which {named}{more} hold", pool.name))
    }
}

fn said(need: &Step, kind: NeedKind, state: UnitState) -> String {
    let name = &need.name;
    let block = if inner_block(need).is_some() { "the group " } else { "" };
    let end = match kind {
        NeedKind::Success | NeedKind::Output => "to succeed",
        NeedKind::End => "to end",
    };
    let goes_on = match state {
        UnitState::Failed | UnitState::Cancelled => "; it cannot start before that runs again",
        UnitState::Lost => "; a person has to judge that first",
        UnitState::Pending | UnitState::Waiting | UnitState::Running | UnitState::Succeeded | UnitState::Skipped => "",
    };
    format!("it needs {block}`{name}` {end}, which is {}{goes_on}", state.word())
}
