//! Shows the run: snapshots a few times a second, notices as things happen, and `live.json` for other processes.
//! Unaware of terminals. Lossy: nobody here waits for a reader.

use super::engine::Task;
use super::facts::Facts;
use super::gatekeeper::Gatekeeper;
use super::snapshot::{Fan, MAX_LINES, Notice, Running, Snapshot, Waiting};
use super::world::World;
use flowrun_core::event::{Final, UnitState};
use flowrun_core::{Event, Hold, NodeId, Outcome, Run, RunState};
use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use tokio::sync::{mpsc, watch};

/// Between two snapshots, in milliseconds.
const EVERY: u64 = 200;
/// Between two writes of `live.json`, in milliseconds.
const LIVE_EVERY: u64 = 1_000;

/// Who watches a run.
#[derive(Debug, Clone)]
pub struct Watchers {
    /// The newest snapshot.
    pub snapshots: watch::Sender<Snapshot>,
    /// What happened.
    pub notices: mpsc::UnboundedSender<Notice>,
}

pub(crate) struct Publisher {
    watchers: Watchers,
    published: u64,
    written: u64,
    /// By the block or fan-out that waits, and the gate: who is first changes all the time.
    waiting_since: HashMap<(NodeId, String), u64>,
}

/// What a snapshot is made from.
pub(crate) struct View<'a> {
    pub(crate) world: &'a World,
    pub(crate) run: &'a Run,
    pub(crate) facts: &'a Facts,
    pub(crate) tasks: &'a mut HashMap<NodeId, Task>,
    pub(crate) gates: &'a Gatekeeper,
}

impl Publisher {
    pub(crate) fn new(watchers: Watchers) -> Self {
        Self { watchers, published: 0, written: 0, waiting_since: HashMap::new() }
    }

    pub(crate) fn due(&self, now: u64) -> bool {
        now.saturating_sub(self.published) >= EVERY
    }

    pub(crate) fn next(&self, _now: u64) -> Option<u64> {
        Some(self.published.saturating_add(LIVE_EVERY))
    }

    pub(crate) fn say(&self, text: String) {
        self.send(Notice::Said { text });
    }

    pub(crate) fn send(&self, notice: Notice) {
        // A screen that has gone is no reason to stop.
        let _ = self.watchers.notices.send(notice);
    }

    pub(crate) fn publish(&mut self, mut view: View<'_>, now: u64) {
        self.published = now;
        self.announce(&mut view, now);
        let snapshot = self.snapshot(&view, now);
        if now.saturating_sub(self.written) >= LIVE_EVERY || snapshot.state != RunState::Running {
            self.written = now;
            write_live(view.world, &snapshot);
        }
        self.watchers.snapshots.send_replace(snapshot);
    }

    /// Attempts that have run for a while are announced; short ones only when they end.
    fn announce(&self, view: &mut View<'_>, now: u64) {
        if view.tasks.len() > 512 {
            return;
        }
        for (node, task) in view.tasks.iter_mut() {
            if !task.announced && !task.reconciles && now.saturating_sub(task.started) >= LIVE_EVERY {
                task.announced = true;
                let address = view.run.address(*node);
                self.send(Notice::Started { address, attempt: task.attempt, at: task.started });
            }
        }
    }

    fn snapshot(&mut self, view: &View<'_>, now: u64) -> Snapshot {
        let (running, running_more) = running(view);
        Snapshot {
            run: view.world.id.clone(),
            plan: view.world.plan.contexts.first().map(|c| c.name.clone()).unwrap_or_default(),
            state: view.run.state(),
            started: view.world.started,
            now,
            paused: view.run.paused().map(str::to_owned),
            counts: counts(view.run, NodeId::RUN),
            running,
            running_more,
            fans: fans(view),
            waiting: self.waiting(view, now),
        }
    }

    fn waiting(&mut self, view: &View<'_>, now: u64) -> Vec<Waiting> {
        let mut since = std::mem::take(&mut self.waiting_since);
        let mut waiting = Vec::new();
        for (node, count, hold) in view.run.holds().into_iter().take(MAX_LINES) {
            let (gate, reason) = reason(view, hold, now);
            let key = (view.run.parent(node), gate.clone().unwrap_or_default());
            let began = since.remove(&key).unwrap_or(now);
            self.waiting_since.insert(key, began);
            waiting.push(Waiting { address: view.run.address(node), count, gate, reason, since: began });
        }
        waiting
    }

    /// Tells what an event means to a person, if it means something.
    pub(crate) fn notice(&self, world: &World, run: &Run, facts: &mut Facts, event: &Event, now: u64) {
        match event {
            Event::Ended { id, outcome: Outcome::Succeeded { .. }, .. } => {
                self.settled(world, run, facts, id.node, Final::Succeeded, None, now);
            }
            Event::Ended { id, outcome: Outcome::Cancelled, .. } => {
                self.settled(world, run, facts, id.node, Final::Cancelled, None, now);
            }
            Event::Settled { node, state, reason, .. } => {
                self.settled(world, run, facts, *node, *state, reason.as_deref(), now);
            }
            Event::RetryAt { node, at } => self.send(Notice::Retrying {
                address: run.address(*node),
                attempt: run.view(*node).map_or(0, |view| view.attempts),
                at: *at,
                failure: facts.failures.get(node).cloned(),
            }),
            Event::Asked { id, look_at } => self.send(Notice::Said {
                text: format!(
                    "`{0}` was lost and nobody can know what it did: {look_at}; look, then `flowrun mark {1} {0} done`, \
                     `skip` or `redo` with `--because`",
                    run.address(id.node),
                    world.id
                ),
            }),
            _ => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one notice")]
    fn settled(
        &self,
        world: &World,
        run: &Run,
        facts: &mut Facts,
        node: NodeId,
        state: Final,
        reason: Option<&str>,
        now: u64,
    ) {
        let address = run.address(node);
        let attempts = run.view(node).map_or(0, |view| view.attempts);
        let failure = facts.failures.get(&node).filter(|_| state == Final::Failed).cloned();
        let log = (state == Final::Failed && attempts > 0).then(|| world.run.log(&address, attempts));
        let took = facts.started.remove(&node).map(|started| now.saturating_sub(started));
        self.send(Notice::Settled {
            item: inside_fan(run, node),
            state,
            attempts,
            took,
            reason: reason.map(str::to_owned),
            failure,
            tail: log.as_deref().and_then(|log| super::attempt::last_lines(log, 12)),
            log: log.filter(|log| log.exists()),
            at: now,
            address,
        });
    }
}

fn inside_fan(run: &Run, node: NodeId) -> bool {
    let mut id = node;
    while id != NodeId::RUN {
        if run.view(id).is_some_and(|view| view.item.is_some()) {
            return true;
        }
        id = run.parent(id);
    }
    false
}

/// The steps or items of a node, counted by the word of their state.
pub(crate) fn counts(run: &Run, node: NodeId) -> BTreeMap<String, u32> {
    let Some(items) = run.items(node) else { return BTreeMap::new() };
    let counted = UnitState::ALL.into_iter().zip(items.seen).filter(|(_, count)| *count > 0);
    counted.map(|(state, count)| (state.word().to_owned(), count)).collect()
}

fn running(view: &View<'_>) -> (Vec<Running>, u32) {
    let mut tasks: Vec<_> = view.tasks.iter().filter(|(_, task)| !task.reconciles).collect();
    tasks.sort_by_key(|(node, task)| (task.started, **node));
    let more = tasks.len().saturating_sub(MAX_LINES) as u32;
    tasks.truncate(MAX_LINES);
    let lines = tasks.into_iter().map(|(node, task)| Running {
        address: view.run.address(*node),
        attempt: task.attempt,
        started: task.started,
        progress: task.progress.clone(),
        serving: task.serving,
        expected: None,
    });
    (lines.collect(), more)
}

fn fans(view: &View<'_>) -> Vec<Fan> {
    let fans = view.facts.fans.iter().take(MAX_LINES);
    fans.map(|node| Fan {
        address: view.run.address(*node),
        total: view.run.items(*node).map_or(0, |items| items.total),
        counts: counts(view.run, *node),
        started: view.facts.started.get(node).copied().unwrap_or(view.world.started),
        weight: None,
    })
    .collect()
}

fn reason(view: &View<'_>, hold: Hold, now: u64) -> (Option<String>, String) {
    match hold {
        Hold::Gate(gate) => {
            let name = view.world.plan.gates.get(gate.index()).map(|gate| gate.name.clone()).unwrap_or_default();
            let text = match view.gates.last(gate) {
                None => format!("gate {name} is being measured"),
                // It holds, so what keeps the next one back is the pause after the last admission, or `hold`.
                Some(reading) if reading.holds => {
                    format!("gate {name} settles after the last start ({})", reading.text)
                }
                Some(reading) => reading.text.clone(),
            };
            (Some(name), text)
        }
        Hold::Pool(pool) => {
            let (used, size) = view.run.pool(pool);
            let name = view.run.plan().pools.get(pool.index()).map(|pool| &*pool.name).unwrap_or_default();
            (None, format!("pool {name} is full ({used} of {size})"))
        }
        Hold::Parallel(limit) => (None, format!("max_parallel is {limit}")),
        Hold::Until(at) => (None, format!("retry in {} s", at.saturating_sub(now).div_ceil(1000))),
        Hold::Paused => (None, view.run.paused().map_or("nothing new starts".into(), |why| format!("paused: {why}"))),
        Hold::Person => (None, "a person's verdict (`flowrun mark`)".into()),
    }
}

/// Replaces `live.json` as a whole. Best effort: a full disk must not stop the run because of a picture of it.
fn write_live(world: &World, snapshot: &Snapshot) {
    let write = || -> std::io::Result<()> {
        let path = world.run.live();
        let new = path.with_extension("new");
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(snapshot)?)?;
        std::fs::rename(&new, &path)
    };
    if let Err(error) = write() {
        tracing::debug!(%error, "cannot write live.json");
    }
}
