//! The journal's newest events as notices, the way the driver itself tells them.
//! Unaware of who shows them.

use super::super::Stop;
use super::super::survey::{self, Survey};
use flowrun_core::event::{Event, Failure, Final, NodeId, Outcome, RunState};
use flowrun_engine::driver::snapshot::Notice;
use flowrun_engine::store::{NodeKind, NodeRow};
use std::collections::HashMap;

/// So many of the last lines of a failing log are told.
const LINES: usize = 12;
/// And no more than so much of it is read.
const BYTES: u64 = 4096;

/// Where the journal was left.
pub struct Tail {
    last: u64,
    begun: bool,
    failures: HashMap<NodeId, Failure>,
}

impl Tail {
    /// From now on.
    pub fn new(survey: &Survey) -> Self {
        Self { last: survey.row.last_seq, begun: false, failures: HashMap::new() }
    }

    /// What happened since.
    pub fn next(&mut self, survey: &Survey) -> Result<Vec<Notice>, Stop> {
        let mut notices = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            let (run, plan) = (survey.meta.id.clone(), survey.meta.plan_name.clone());
            notices.push(Notice::Began { run, plan, resumed: true, adopted: 0 });
        }
        let mut events = Vec::new();
        self.last = survey.reader.events(self.last, |_, at, body| {
            // An event of a newer flowrun is told by that one only.
            events.extend(serde_json::from_str::<Event>(body).ok().map(|event| (at, event)));
        })?;
        for (at, event) in events {
            notices.extend(self.notice(survey, at, event)?);
        }
        Ok(notices)
    }

    fn notice(&mut self, survey: &Survey, at: u64, event: Event) -> Result<Option<Notice>, Stop> {
        Ok(match event {
            Event::Ended { id, outcome: Outcome::Succeeded { .. }, .. } => {
                self.settled(survey, id.node, Final::Succeeded, None, at)?
            }
            Event::Ended { id, outcome: Outcome::Cancelled, .. } => {
                self.settled(survey, id.node, Final::Cancelled, None, at)?
            }
            Event::Ended { id, outcome: Outcome::Failed(failure), .. } => {
                self.failures.insert(id.node, *failure);
                None
            }
            Event::Settled { node, state, reason, .. } => {
                self.settled(survey, node, state, reason.map(String::from), at)?
            }
            Event::RetryAt { node, at } => row(survey, node)?.map(|row| Notice::Retrying {
                address: row.address,
                attempt: row.attempts,
                at,
                failure: self.failures.get(&node).cloned(),
            }),
            Event::Asked { id, look_at } => row(survey, id.node)?.map(|row| Notice::Said {
                text: format!("`{}` was lost and nobody can know what it did: {look_at}", row.address),
            }),
            Event::Paused { reason } => Some(Notice::Said { text: format!("paused: {reason}") }),
            Event::Unpaused => Some(Notice::Said { text: "no longer paused".to_owned() }),
            Event::CancelRequested => Some(Notice::Said { text: "somebody cancelled the run".to_owned() }),
            Event::Marked { node, because, .. } => row(survey, node)?
                .map(|row| Notice::Said { text: format!("somebody gave a verdict on `{}`: {because}", row.address) }),
            Event::Started
            | Event::Resumed { .. }
            | Event::FannedOut { .. }
            | Event::Resolved { .. }
            | Event::Opened { .. }
            | Event::Closing { .. }
            | Event::Ordered { .. }
            | Event::Begun { .. }
            | Event::Ready { .. }
            | Event::Lost { .. }
            | Event::Replanned { .. }
            | Event::Finished { .. } => None,
        })
    }

    fn settled(
        &mut self,
        survey: &Survey,
        node: NodeId,
        state: Final,
        reason: Option<String>,
        at: u64,
    ) -> Result<Option<Notice>, Stop> {
        let Some(row) = row(survey, node)? else { return Ok(None) };
        let failure = self.failures.remove(&node).filter(|_| state == Final::Failed);
        let log = (state == Final::Failed && row.attempts > 0).then(|| survey.run.log(&row.address, row.attempts));
        Ok(Some(Notice::Settled {
            item: row.kind == NodeKind::Item || row.kind == NodeKind::Inner && survey.is_inside_fan(&row.address),
            state,
            attempts: row.attempts,
            took: row.started.map(|started| at.saturating_sub(started)),
            reason,
            failure,
            tail: log.as_deref().and_then(last_lines),
            log: log.filter(|log| log.exists()),
            at,
            address: row.address,
        }))
    }

    /// The driver is gone.
    pub fn ended(&self, survey: &Survey) -> Notice {
        let now = survey::now();
        let ended = survey.row.ended.unwrap_or(now);
        Notice::Ended {
            state: survey.row.state,
            interrupted: survey.row.state == RunState::Running,
            took: ended.saturating_sub(survey.row.started.unwrap_or(ended)),
            at: now,
        }
    }
}

fn row(survey: &Survey, node: NodeId) -> Result<Option<NodeRow>, Stop> {
    let rows = survey.reader.nodes(node.0.saturating_sub(1), 1)?;
    Ok(rows.into_iter().next().filter(|row| row.node == node.0))
}

fn last_lines(log: &std::path::Path) -> Option<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
    (!last.trim().is_empty()).then_some(last)
}
