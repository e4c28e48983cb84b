//! Which logs there are for what a person names: a step, an item, a group with all inside it, or the whole run.
//! Unaware of how they are written out.

use super::super::Stop;
use super::super::survey::Survey;
use crate::exit::Exit;
use flowrun_core::address;
use flowrun_core::event::UnitState;
use flowrun_engine::plan::diagnostic::did_you_mean;
use flowrun_engine::store::NodeRow;
use std::path::PathBuf;

/// What a person wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The whole run.
    All,
    /// A step or an item of which there is no row yet.
    Unborn(String),
    /// A step or an item with attempts of its own.
    One(String),
    /// A group, a sub-plan or a fan-out, with all inside it.
    Tree(String),
}

/// The log of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Whose.
    pub address: String,
    /// Which try.
    pub attempt: u32,
    /// Of how many so far.
    pub attempts: u32,
    /// Nothing more is written to it.
    pub over: bool,
    /// Where.
    pub path: PathBuf,
}

impl Scope {
    /// What an address means in a run.
    pub fn of(survey: &Survey, named: Option<&str>) -> Result<Self, Stop> {
        let Some(named) = named else { return Ok(Self::All) };
        let Some(row) = row_of(survey, named)? else {
            return if survey.is_planned(named) {
                Ok(Self::Unborn(named.to_owned()))
            } else {
                Err(unknown(survey, named))
            };
        };
        let inside = survey.reader.children(row.node, 0, 1)?;
        Ok(if inside.is_empty() { Self::One(row.address) } else { Self::Tree(row.address) })
    }

    /// It has attempts of its own: their lines need no address in front.
    pub fn is_one(&self) -> bool {
        matches!(self, Self::One(_) | Self::Unborn(_))
    }

    fn holds(&self, address: &str) -> bool {
        match self {
            Self::All => true,
            Self::One(own) | Self::Unborn(own) => own == address,
            Self::Tree(own) => {
                address.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

/// The row of an address; a key may be written as it is, or percent-encoded as flowrun shows it.
pub fn row_of(survey: &Survey, named: &str) -> Result<Option<NodeRow>, Stop> {
    if let Some(row) = survey.reader.node(named)? {
        return Ok(Some(row));
    }
    let encoded = named.split_once('/').map(|(step, key)| format!("{step}/{}", address::encode(key)));
    Ok(encoded.map(|address| survey.reader.node(&address)).transpose()?.flatten())
}

/// What to say of an address that nothing has.
pub fn unknown(survey: &Survey, named: &str) -> Stop {
    let steps = survey.root();
    let near = did_you_mean(named, steps.iter().map(|(step, _)| step.name.as_str()));
    let hint = near.unwrap_or_else(|| {
        let shown: Vec<_> = steps.iter().take(12).map(|(step, _)| format!("`{}`", step.name)).collect();
        format!("its steps are {}; an item is `STEP/KEY`", shown.join(", "))
    });
    Stop::new(Exit::Usage, format!("run {} has no step or item `{named}`", survey.meta.id)).hint(hint)
}

/// The logs of a scope, in the order in which the attempts' steps and items first started.
pub fn parts(survey: &Survey, scope: &Scope) -> Result<Vec<Part>, Stop> {
    let mut rows = match scope {
        Scope::One(address) | Scope::Unborn(address) => row_of(survey, address)?.into_iter().collect(),
        Scope::All | Scope::Tree(_) => survey.rows()?,
    };
    rows.retain(|row| row.attempts > 0 && scope.holds(&row.address));
    rows.sort_by_key(|row| (row.started, row.node));
    Ok(rows.iter().flat_map(|row| (1..=row.attempts).map(|attempt| part(survey, row, attempt))).collect())
}

fn part(survey: &Survey, row: &NodeRow, attempt: u32) -> Part {
    let ended = match row.state {
        UnitState::Succeeded | UnitState::Failed | UnitState::Skipped | UnitState::Cancelled => true,
        UnitState::Pending | UnitState::Waiting | UnitState::Running | UnitState::Lost => false,
    };
    Part {
        address: row.address.clone(),
        attempt,
        attempts: row.attempts,
        over: ended || attempt < row.attempts,
        path: survey.run.log(&row.address, attempt),
    }
}

/// Why there is nothing to see; none where there is.
pub fn nothing(survey: &Survey, scope: &Scope, missing: &[Part]) -> Result<Option<String>, Stop> {
    let id = &survey.meta.id;
    let named = match scope {
        Scope::All => {
            return Ok(parts(survey, scope)?.is_empty().then(|| format!("no step of run {id} has started yet")));
        }
        Scope::Unborn(named) => return Ok(Some(format!("`{named}` has not started yet, so it has no log"))),
        Scope::One(named) | Scope::Tree(named) => named,
    };
    if let [only] = missing {
        let words = if only.over { "wrote nothing" } else { "has written nothing yet" };
        return Ok(Some(format!("try {} of `{}` {words}", only.attempt, only.address)));
    }
    let Some(row) = row_of(survey, named)?.filter(|row| row.attempts == 0 && scope.is_one()) else { return Ok(None) };
    let why = row.error.map(|why| format!(": {why}")).unwrap_or_default();
    Ok(Some(match row.state {
        UnitState::Skipped => format!("`{named}` was skipped, so it has no log{why}"),
        UnitState::Failed => format!("`{named}` failed before its first try, so it has no log{why}"),
        UnitState::Cancelled => format!("`{named}` was cancelled before its first try, so it has no log"),
        UnitState::Succeeded => format!("`{named}` succeeded without a try of its own, so it has no log"),
        UnitState::Pending | UnitState::Waiting | UnitState::Running | UnitState::Lost => {
            format!("`{named}` has not started yet, so it has no log")
        }
    }))
}
