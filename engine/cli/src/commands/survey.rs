//! A run as readers see it: the committed rows, the pinned plan for what has no row yet, and what a live driver shows.
//! Unaware of how it is shown. It never writes, so it works beside a driver and on a disk that cannot be written.

mod driven;

pub use self::driven::{driven, snapshot};

use self::driven::{awaits_person, undriven};
use super::Stop;
use crate::args::settings::Settings;
use crate::tables::Look;
use crate::tables::views::{Counts, Driven, ItemCounts, ItemLine, RunWord, StatusView, StepLine, WaitingLine};
use flowrun_core::event::{Event, RunState, UnitState};
use flowrun_core::plan::NeedKind;
use flowrun_core::{BlockId, StepId, address};
use flowrun_engine::driver::history;
use flowrun_engine::driver::snapshot::{Snapshot, Waiting};
use flowrun_engine::paths::RunDir;
use flowrun_engine::plan::model::{Body, CheckedPlan, Step};
use flowrun_engine::store::{NodeRow, Reader, RunMeta, RunRow, is_live};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// Rows are read so many at a time: a fan-out may have 132,000.
pub(super) const PAGE: u32 = 10_000;

/// A run, opened for reading.
pub struct Survey {
    /// Its directory.
    pub run: RunDir,
    /// Its journal.
    pub reader: Reader,
    /// What it was started with.
    pub meta: RunMeta,
    /// How it stands.
    pub row: RunRow,
    /// A driver lives.
    pub live: bool,
    /// What the live driver showed last.
    pub snapshot: Option<Snapshot>,
    /// The pinned plan; none where this flowrun cannot read it.
    pub plan: Option<CheckedPlan>,
}

impl Survey {
    /// Opens a run.
    ///
    /// # Errors
    /// When its journal cannot be read.
    pub fn open(run: &RunDir) -> Result<Self, Stop> {
        // The lock first: what a driver committed before it let go is in the rows.
        let live = is_live(run);
        let reader = Reader::open(run)?;
        let (meta, row) = (reader.meta()?, reader.run()?);
        let plan = history::pinned(&reader.pins()?, &meta.plan_path, &flowrun_steps::registry()).ok();
        let snapshot = live.then(|| snapshot(run)).flatten();
        Ok(Self { run: run.clone(), reader, meta, row, live, snapshot, plan })
    }

    /// Reads again what changes.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn refresh(&mut self) -> Result<(), Stop> {
        self.live = is_live(&self.run);
        if self.reader.is_copy() {
            self.reader = Reader::open(&self.run)?;
        }
        self.row = self.reader.run()?;
        self.snapshot = self.live.then(|| snapshot(&self.run)).flatten();
        Ok(())
    }

    /// The run's state in a word.
    pub fn word(&self) -> RunWord {
        let driven = match &self.snapshot {
            Some(snapshot) if awaits_person(snapshot) => Driven::AwaitsPerson,
            Some(_) => Driven::BySomebody,
            None if self.live => Driven::BySomebody,
            None => undriven(&self.reader, self.row.state),
        };
        RunWord::of(self.row.state, driven)
    }

    /// The run in full.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn view(&self, items: bool) -> Result<StatusView, Stop> {
        Ok(StatusView {
            id: self.meta.id.clone(),
            plan: self.meta.plan_name.clone(),
            state: self.word(),
            params: self.meta.params.clone(),
            started: self.row.started,
            ended: self.row.ended,
            paused: self.row.paused.clone(),
            steps: self.steps()?,
            items: items.then(|| self.items()).transpose()?,
        })
    }

    /// What was ordered ahead and never started waits for nothing any more once the run has ended.
    fn as_it_ended(&self, row: NodeRow) -> NodeRow {
        if self.row.state == RunState::Running || row.state != UnitState::Waiting {
            return row;
        }
        let unused = u32::from(row.started.is_none());
        NodeRow { state: UnitState::Pending, attempts: row.attempts.saturating_sub(unused), ..row }
    }

    /// The same for counts.
    pub fn counts_as_ended(&self, mut counts: Counts) -> Counts {
        if self.row.state != RunState::Running
            && let Some(waiting) = counts.0.remove(&UnitState::Waiting)
        {
            *counts.0.entry(UnitState::Pending).or_default() += waiting;
        }
        counts
    }

    /// The steps of the run's own block, in the order of the plan; those that only the journal knows come last.
    fn steps(&self) -> Result<Vec<StepLine>, Stop> {
        let rows: Vec<NodeRow> = self.reader.steps()?.into_iter().map(|row| self.as_it_ended(row)).collect();
        let states: HashMap<&str, UnitState> = rows.iter().map(|row| (row.address.as_str(), row.state)).collect();
        let mut rest: HashMap<&str, &NodeRow> = rows.iter().map(|row| (row.address.as_str(), row)).collect();
        let mut lines = Vec::new();
        for (step, closing) in self.root() {
            match rest.remove(step.name.as_str()) {
                Some(row) => lines.push(self.line(Some(step), row)?),
                // Steps of `finally` count once it has begun.
                None if closing => {}
                None => lines.push(self.pending(step, &states)),
            }
        }
        for row in rows.iter().filter(|row| rest.contains_key(row.address.as_str())) {
            lines.push(self.line(None, row)?);
        }
        Ok(lines)
    }

    /// The steps of the run's own block; of those of `finally` it is said.
    pub fn root(&self) -> Vec<(&Step, bool)> {
        let Some(plan) = &self.plan else { return Vec::new() };
        let Some(block) = plan.blocks.first() else { return Vec::new() };
        let of = |ids: &[StepId], closing| {
            ids.iter().filter_map(|id| plan.steps.get(id.index())).map(move |step| (step, closing)).collect::<Vec<_>>()
        };
        let mut steps = of(&block.steps, false);
        steps.extend(of(&block.finally, true));
        steps
    }

    /// Whether an address lies inside an item of a fan-out.
    pub fn is_inside_fan(&self, address: &str) -> bool {
        let above = address.match_indices('/').filter_map(|(at, _)| address.get(..at));
        above.into_iter().any(|above| self.planned(above).is_some_and(|step| step.for_each.is_some()))
    }

    /// Whether the plan has a step, or a list with items, at an address.
    pub fn is_planned(&self, address: &str) -> bool {
        self.planned(address).is_some()
    }

    /// The step of an address, as far as the plan alone tells: an item is an instance of its step.
    pub fn planned(&self, address: &str) -> Option<&Step> {
        let plan = self.plan.as_ref()?;
        let mut block = plan.blocks.first();
        let mut found: Option<&Step> = None;
        let mut parts = address.split('/').peekable();
        while let Some(part) = parts.next() {
            let steps = block.map(|block| block.steps.iter().chain(&block.finally)).into_iter().flatten();
            let step = steps.filter_map(|id| plan.steps.get(id.index())).find(|step| step.name == part)?;
            if step.for_each.is_some() {
                parts.next();
            }
            block = inner_block(step).and_then(|block| plan.blocks.get(block.index()));
            found = Some(step);
            if block.is_none() && parts.peek().is_some() {
                return None;
            }
        }
        found
    }

    fn line(&self, step: Option<&Step>, row: &NodeRow) -> Result<StepLine, Stop> {
        let goes_on = matches!(row.state, UnitState::Waiting | UnitState::Running | UnitState::Lost);
        Ok(StepLine {
            id: row.address.clone(),
            state: row.state,
            attempts: row.attempts,
            started: row.started,
            ended: row.ended,
            outputs: row.outputs.clone(),
            error: row.error.clone(),
            items: self.item_counts(step, row)?,
            waiting: goes_on.then(|| self.waiting(&row.address, step)).flatten(),
        })
    }

    /// A step of which the journal knows nothing yet: it waits for its needs, or only for the world.
    fn pending(&self, step: &Step, states: &HashMap<&str, UnitState>) -> StepLine {
        let ready = self.live && self.unmet(step, states).is_empty();
        let waiting = ready.then(|| self.waiting(&step.name, Some(step))).flatten();
        StepLine {
            id: step.name.clone(),
            state: if waiting.is_some() { UnitState::Waiting } else { UnitState::Pending },
            attempts: 0,
            started: None,
            ended: None,
            outputs: None,
            error: None,
            items: None,
            waiting,
        }
    }

    /// The needs of a step that are not met, with how they stand.
    pub fn unmet<'a>(&'a self, step: &Step, states: &HashMap<&str, UnitState>) -> Vec<(&'a Step, NeedKind, UnitState)> {
        let Some(plan) = &self.plan else { return Vec::new() };
        let needs = step.needs.iter().filter_map(|(id, kind)| Some((plan.steps.get(id.index())?, *kind)));
        needs
            .map(|(need, kind)| (need, kind, states.get(need.name.as_str()).copied().unwrap_or(UnitState::Pending)))
            .filter(|(need, kind, state)| !met(need, *kind, *state))
            .collect()
    }

    /// What holds a step or something inside it back, as the live driver says.
    pub fn waiting(&self, address: &str, step: Option<&Step>) -> Option<WaitingLine> {
        let snapshot = self.snapshot.as_ref()?;
        let inside = |waiting: &&Waiting| {
            let rest = waiting.address.strip_prefix(address);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // Those that wait for the same are one entry, under the name of the first.
        let same = |waiting: &&Waiting| waiting.count > 1 && step.is_some_and(|step| self.waits_alike(step, waiting));
        let found = snapshot.waiting.iter().find(inside).or_else(|| snapshot.waiting.iter().find(same))?;
        Some(WaitingLine { gate: found.gate.clone(), reason: found.reason.clone() })
    }

    fn waits_alike(&self, step: &Step, waiting: &Waiting) -> bool {
        let Some(plan) = &self.plan else { return false };
        let other = plan.steps.iter().find(|other| other.block == step.block && other.name == waiting.address);
        other.is_some_and(|other| other.gates == step.gates && other.pools == step.pools)
    }

    fn item_counts(&self, step: Option<&Step>, row: &NodeRow) -> Result<Option<ItemCounts>, Stop> {
        let live = self.snapshot.iter().flat_map(|snapshot| &snapshot.fans).find(|fan| fan.address == row.address);
        if let Some(fan) = live {
            return Ok(Some(ItemCounts(Counts::of_words(&fan.counts))));
        }
        let plain =
            step.is_some_and(|step| step.for_each.is_none() && matches!(step.body, Body::Leaf { .. } | Body::Wait));
        if plain {
            return Ok(None);
        }
        let mut counts = self.counts_as_ended(Counts::of_words(&self.reader.counts(row.node)?));
        let total = match row.totals.as_ref().and_then(|totals| totals.get("total")) {
            Some(total) => *total,
            None => step.and_then(|step| self.inner_steps(step)).unwrap_or(0),
        };
        let missing = total.saturating_sub(counts.total());
        if counts.total() == 0 && missing == 0 && step.is_none() {
            return Ok(None);
        }
        if missing > 0 {
            *counts.0.entry(UnitState::Pending).or_default() += missing;
        }
        Ok(Some(ItemCounts(counts)))
    }

    /// How many steps a group or a sub-plan has.
    fn inner_steps(&self, step: &Step) -> Option<u32> {
        let block = inner_block(step).filter(|_| step.for_each.is_none())?;
        let block = self.plan.as_ref()?.blocks.get(block.index())?;
        u32::try_from(block.steps.len()).ok()
    }

    /// All items of fan-outs and all inner steps of groups that have begun, and items whose turn has not come.
    fn items(&self) -> Result<Vec<ItemLine>, Stop> {
        let rows = self.rows()?;
        let known: HashSet<&str> = rows.iter().map(|row| row.address.as_str()).collect();
        let mut lines = Vec::new();
        let mut later: BTreeMap<u32, Vec<ItemLine>> = BTreeMap::new();
        for (node, keys) in self.lists()? {
            let Some(owner) = rows.iter().find(|row| row.node == node) else { continue };
            let addresses = keys.iter().map(|key| format!("{}/{}", owner.address, address::encode(key)));
            let missing = addresses.filter(|address| !known.contains(address.as_str())).map(pending_item);
            later.insert(node, missing.collect());
        }
        for row in rows.iter().filter(|row| row.parent != 0) {
            lines.push(item_line(row));
        }
        lines.extend(later.into_values().flatten());
        Ok(lines)
    }

    /// The keys of each fan-out, by its node.
    fn lists(&self) -> Result<BTreeMap<u32, Vec<Box<str>>>, Stop> {
        let mut lists = BTreeMap::new();
        self.reader.events(0, |_, _, body| {
            if !body.starts_with("{\"fanned_out\"") && !body.starts_with("{\"replanned\"") {
                return;
            }
            match serde_json::from_str(body) {
                Ok(Event::FannedOut { node, keys, .. }) => drop(lists.insert(node.0, keys)),
                Ok(Event::Replanned { kept }) => {
                    lists.clear();
                    lists.extend(kept.into_iter().filter_map(|event| match event {
                        Event::FannedOut { node, keys, .. } => Some((node.0, keys)),
                        _ => None,
                    }));
                }
                Ok(_) | Err(_) => {}
            }
        })?;
        Ok(lists)
    }

    /// All rows.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn rows(&self) -> Result<Vec<NodeRow>, Stop> {
        let mut rows: Vec<NodeRow> = Vec::new();
        loop {
            let after = rows.last().map_or(0, |row| row.node);
            let page = self.reader.nodes(after, PAGE)?;
            let last = page.len() < PAGE as usize;
            rows.extend(page.into_iter().map(|row| self.as_it_ended(row)));
            if last {
                return Ok(rows);
            }
        }
    }
}

fn pending_item(address: String) -> ItemLine {
    ItemLine { address, state: UnitState::Pending, attempts: 0, started: None, ended: None, outputs: None, error: None }
}

fn item_line(row: &NodeRow) -> ItemLine {
    ItemLine {
        address: row.address.clone(),
        state: row.state,
        attempts: row.attempts,
        started: row.started,
        ended: row.ended,
        outputs: row.outputs.clone(),
        error: row.error.clone(),
    }
}

/// Whether a need that stands so lets its dependents go on.
fn met(need: &Step, kind: NeedKind, state: UnitState) -> bool {
    match state {
        UnitState::Succeeded | UnitState::Skipped => true,
        UnitState::Failed => kind == NeedKind::End || need.allow_failure,
        UnitState::Cancelled => kind == NeedKind::End,
        // A service is ready long before it ends, which only the driver knows.
        UnitState::Running => need.background.is_some(),
        UnitState::Pending | UnitState::Waiting | UnitState::Lost => false,
    }
}

/// The block that a step opens.
pub fn inner_block(step: &Step) -> Option<BlockId> {
    match &step.body {
        Body::Group(block) | Body::Plan { block, .. } => Some(*block),
        Body::Leaf { .. } | Body::Wait => None,
    }
}

/// How tables are written on this terminal.
pub fn look(settings: &Settings) -> Look {
    Look {
        width: settings.terminal.columns,
        color: settings.terminal.color_out,
        unicode: settings.terminal.unicode || settings.terminal.columns.is_none(),
        zone: jiff::tz::TimeZone::system(),
        now: now(),
    }
}

/// The time in milliseconds since the epoch.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
