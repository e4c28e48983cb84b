//! A resume's first look: what became of the attempts that the journal has in flight, and which files are to be there.
//! Unaware of what to do about a lost attempt; the core decides that.

use super::DriverError;
use super::engine::{Engine, FULL_DISK};
use super::flight::children_of;
use super::snapshot::Notice;
use crate::host::{ChildKey, Fate, Fates, wait_orphan};
use crate::plan::model::Body;
use crate::plan::seal;
use flowrun_core::event::UnitState;
use flowrun_core::{AttemptId, Input, NodeId};
use serde_json::Value;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

/// What to do with an attempt that the journal has in flight.
enum Verdict {
    /// Its step is entered again: its child lives, has ended, or was never started.
    Adopt { alive: bool },
    /// Nobody knows what it did.
    Lost,
    /// Its process lives without a host: wait for its end, then it is lost.
    Orphan { pid: i32, start: u64 },
}

/// What is done about a process that lives without a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orphans {
    /// It may end by itself.
    AreWaitedFor,
    /// The run is to end: its attempt is lost, which ends the process.
    AreLost,
}

/// Judges every attempt in flight, and lets the run go on. Where the run is to end, attempts with a process are taken up
/// at once, so that what stops them finds them.
pub(crate) fn flights(engine: &mut Engine, orphans: Orphans) -> Result<(), DriverError> {
    let fates = Fates::look(&engine.world.run)
        .map_err(|error| DriverError::Io { doing: "read the host's book".into(), error })?;
    // An attempt that was only ordered ahead may have started before the commit of what made room for it.
    for id in engine.run.ordered_ahead() {
        let begun = fates.records().any(|record| record.key.node == id.node.0 && record.key.attempt == id.attempt);
        if begun {
            engine.input(Input::Begun(id));
        }
    }
    for record in fates.records() {
        let id = AttemptId { node: NodeId(record.key.node), attempt: record.key.attempt };
        let first = engine.known_starts.entry(id).or_insert(record.started_ms);
        *first = (*first).min(record.started_ms);
    }
    let flights: Vec<AttemptId> = engine.run.in_flight().collect();
    let verdicts: Vec<_> = flights.into_iter().map(|id| (id, verdict(engine, &fates, id))).collect();
    let adopted = verdicts.iter().filter(|(_, v)| matches!(v, Verdict::Adopt { alive: true })).count();
    engine.publisher.send(Notice::Began {
        run: engine.world.id.clone(),
        plan: engine.world.plan.contexts.first().map(|c| c.name.clone()).unwrap_or_default(),
        resumed: true,
        adopted: adopted as u32,
    });
    // A driver that died before its first commit left a run that has not begun.
    engine.input(if engine.run.is_empty() { Input::Start } else { Input::Resume });
    match engine.run.paused().map(str::to_owned) {
        // The journal has been written to since, so there is room.
        Some(reason) if reason == FULL_DISK => engine.input(Input::Unpause),
        Some(reason) => engine.publisher.say(format!(
            "the run is paused ({reason}): nothing new starts before `flowrun unpause {}`",
            engine.world.id
        )),
        None => {}
    }
    for (id, verdict) in verdicts {
        match verdict {
            Verdict::Adopt { alive: true } if orphans == Orphans::AreLost => engine.start(id, false),
            Verdict::Adopt { .. } => {}
            Verdict::Lost => engine.input(Input::Lost(id)),
            Verdict::Orphan { .. } if orphans == Orphans::AreLost => engine.input(Input::Lost(id)),
            Verdict::Orphan { pid, start } => engine.wait_for_orphan(id, pid, start),
        }
    }
    engine.settled_at = Some(engine.seq);
    Ok(())
}

fn verdict(engine: &Engine, fates: &Fates, id: AttemptId) -> Verdict {
    let children = children_of(fates, id);
    let first = ChildKey { node: id.node.0, attempt: id.attempt, ordinal: 0 };
    let last = children.iter().copied().max().unwrap_or(first);
    let service = engine.resolver().step(id.node).is_some_and(|(_, step)| step.background.is_some());
    match fates.of(last) {
        // A service has no end to wait for: it is started again.
        Fate::Orphan { .. } if service => Verdict::Lost,
        Fate::Orphan { pid, start } => Verdict::Orphan { pid, start },
        Fate::Lost | Fate::LostInReboot => Verdict::Lost,
        Fate::Alive(_) | Fate::Exited(_) | Fate::NeverStarted if !adoptable(engine, id.node) => Verdict::Lost,
        Fate::Alive(_) => Verdict::Adopt { alive: true },
        Fate::Exited(_) | Fate::NeverStarted => Verdict::Adopt { alive: false },
    }
}

fn adoptable(engine: &Engine, node: NodeId) -> bool {
    let step = engine.resolver().step(node).map(|(_, step)| &step.body);
    match step {
        Some(Body::Leaf { uses, .. }) => engine.world.registry.get(uses).is_some_and(|t| t.info().adoptable),
        Some(Body::Wait | Body::Group(_) | Body::Plan { .. }) | None => true,
    }
}

impl Engine {
    /// A process that lost its host is left alone until it ends; only then is its attempt looked after.
    fn wait_for_orphan(&mut self, id: AttemptId, pid: i32, start: u64) {
        self.publisher.say(format!(
            "`{}` lost its host but its process {pid} lives on; flowrun waits for its end",
            self.run.address(id.node)
        ));
        let stopped = self.hold(id);
        let driver = self.driver.clone();
        tokio::spawn(async move {
            tokio::select! {
                waited = wait_orphan(pid, start) => if let Err(error) = waited {
                    tracing::debug!(%error, pid, "cannot wait for a process");
                },
                // Without a host nobody can ask it to stop; the fence of a lost attempt ends it.
                () = stopped.cancelled() => {}
            }
            // A driver that has ended looks again at the next resume.
            let _ = driver.send(super::message::Message::Ended {
                id,
                ending: super::message::Ending::Lost,
                started: 0,
                children: 0,
            });
        });
    }
}

/// Writes again what `file.template` wrote under `run.private` and is not there any more. Not an attempt: the steps have
/// succeeded, and the folder is only kept in memory.
pub(crate) async fn files(engine: &mut Engine) -> Result<(), DriverError> {
    for node in (1..engine.run.len() as u32).map(NodeId) {
        let done = engine.run.view(node).is_some_and(|view| view.state == UnitState::Succeeded);
        let template = engine.resolver().step(node).is_some_and(|(_, step)| match &step.body {
            Body::Leaf { uses, .. } => uses == "file.template",
            Body::Wait | Body::Group(_) | Body::Plan { .. } => false,
        });
        if done && template {
            rewrite(engine, node)?;
        }
    }
    Ok(())
}

fn rewrite(engine: &Engine, node: NodeId) -> Result<(), DriverError> {
    let Ok(prepared) = super::prepare::prepare(&engine.resolver(), node) else { return Ok(()) };
    let text_of = |key: &str| prepared.input.get(key).and_then(Value::as_str);
    let (Some(path), Some(text)) = (text_of("path"), text_of("text")) else { return Ok(()) };
    let path = prepared.dir.join(path);
    if !path.starts_with(&engine.world.private) || path.exists() {
        return Ok(());
    }
    let Ok(text) = seal::unseal_text(text, &engine.world.secrets) else { return Ok(()) };
    let mode = text_of("mode").and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0o600);
    let write = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            super::attempt::make_private_dir(parent)?;
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))
    };
    write().map_err(|error| DriverError::Io { doing: format!("write `{}` again", path.display()), error })
}
