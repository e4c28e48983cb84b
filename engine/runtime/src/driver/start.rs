//! From a checked plan, or a run's journal, to a driver that can begin.
//! Unaware of the terminal. Everything that can refuse does so before the run's first event.

use super::clock::Clock;
use super::engine::Engine;
use super::environment::BASE;
use super::facts::Facts;
use super::gatekeeper::Gatekeeper;
use super::hosting::Hosting;
use super::message::Message;
use super::private::{self, Private};
use super::publish::{Publisher, Watchers};
use super::scope::{StaticScope, timestamp};
use super::snapshot::Notice;
use super::world::{Machine, Parts, World};
use super::{DriverError, End, Signal, control, probe, secrets};
use crate::gates;
use crate::host::Setup;
use crate::paths::{RunDir, StateDir};
use crate::plan::Sizes;
use crate::plan::model::CheckedPlan;
use crate::plan::template::Tree;
use crate::plan::{Given, params};
use crate::store::statedir::create_run;
use crate::store::{DriverLock, Journal, PinnedFile, RunMeta};
use flowrun_core::{Input, Run, StepId};
use flowrun_sdk::Registry;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

/// For tests of crashes: `host:POINT:N` kills the host there. Other beginnings are for other parts.
const CRASH_AT: &str = "FLOWRUN_CRASH_AT";

/// What every start needs to know of its surroundings; one value, built once.
#[derive(Clone)]
pub struct Prologue {
    /// Where runs live.
    pub state: StateDir,
    /// The flowrun binary, to become the host.
    pub exe: PathBuf,
    /// flowrun's own environment.
    pub environment: BTreeMap<String, String>,
    /// Where flowrun was started.
    pub cwd: PathBuf,
    /// The step types.
    pub registry: Registry,
}

/// A plan to start.
pub struct NewRun {
    /// The checked plan.
    pub plan: CheckedPlan,
    /// Its file as given.
    pub path: PathBuf,
    /// The texts of all files that take part.
    pub pins: Vec<PinnedFile>,
    /// Params as given.
    pub given: BTreeMap<String, Given>,
    /// The run's id.
    pub id: String,
}

/// A driver that is ready to drive.
pub struct Conduct {
    pub(super) engine: Engine,
    inbox: mpsc::UnboundedReceiver<Message>,
    sender: mpsc::UnboundedSender<Message>,
    private: Private,
    _lock: DriverLock,
}

/// A way to send the driver away.
#[derive(Clone)]
pub struct Handle(mpsc::UnboundedSender<Message>);

impl Handle {
    /// INT: stop starting things; the second time: leave what runs to the host.
    pub fn interrupt(&self) {
        // A driver that has ended needs no telling.
        let _ = self.0.send(Message::Interrupt);
    }

    /// TERM: leave at once.
    pub fn terminate(&self) {
        let _ = self.0.send(Message::Terminate);
    }
}

/// A digest of a plan's name and the params as given: the same work has the same identity.
#[must_use]
pub fn identity(plan: &str, given: &BTreeMap<String, Given>) -> String {
    let given: BTreeMap<_, _> = given.iter().map(|(name, value)| (name, value.value())).collect();
    let text = json!([plan, given]).to_string();
    format!("{:016x}", crate::paths::fnv1a(text.as_bytes()))
}

/// A new run's id: 8 characters of `[a-z0-9]`, random.
///
/// # Errors
/// When the machine has no randomness to give.
pub fn new_id() -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0_u8; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[usize::from(byte % 36)])).collect())
}

impl NewRun {
    /// Makes the run and everything it needs, up to its first event.
    ///
    /// # Errors
    /// When something does not allow a start; then nothing was started.
    pub async fn prepare(self, prologue: &Prologue, watchers: Watchers) -> Result<Conduct, DriverError> {
        let clock = Clock::start();
        let run = prologue.state.run(&self.id);
        let env = pinned_env(&self.pins, &prologue.environment, &self.plan);
        let started = clock.now();
        let parts = Assembly { prologue, plan: self.plan, run: run.clone(), env: env.clone(), started };
        let given = &self.given;
        let (world, core, private, probes) = parts.assemble(|plan, scope| {
            params::resolve(&plan.contexts[0], given, scope)
                .map_err(|faults| faults.iter().map(ToString::to_string).collect())
        })?;
        let name = world.plan.contexts[0].name.clone();
        let meta = RunMeta {
            id: self.id.clone(),
            identity: identity(&name, &self.given),
            plan_name: name,
            plan_path: absolute(&prologue.cwd, &self.path),
            params: world.params.clone(),
            given: json!(self.given.iter().map(|(k, v)| (k.clone(), v.value())).collect::<BTreeMap<_, _>>()),
            env,
            cwd: prologue.cwd.to_string_lossy().into_owned(),
            created_ms: started,
            flowrun_version: env!("CARGO_PKG_VERSION").into(),
        };
        create_run(&prologue.state, &self.id)?;
        let lock = DriverLock::take(&run)?;
        let journal = Journal::create(&run, &meta, &self.pins)?;
        let mut conduct = Conduct::new(
            prologue,
            world,
            Run::new(core),
            Facts::default(),
            journal,
            0,
            private,
            probes,
            lock,
            watchers,
        )
        .await?;
        conduct.engine.publisher.send(Notice::Began { run: self.id, plan: meta.plan_name, resumed: false, adopted: 0 });
        conduct.engine.input(Input::Start);
        Ok(conduct)
    }
}

/// The variables that children and templates see, as they are at the first start. Those that secrets come from are
/// withheld.
fn pinned_env(
    pins: &[PinnedFile],
    environment: &BTreeMap<String, String>,
    plan: &CheckedPlan,
) -> BTreeMap<String, String> {
    use crate::plan::model::SecretSource;
    let withheld = |name: &str| {
        plan.contexts.iter().flat_map(|context| &context.secrets).any(|secret| match &secret.source {
            SecretSource::Env(variable) => variable == name,
            SecretSource::File(_) | SecretSource::Command(_) => false,
        })
    };
    let mut names: Vec<String> = BASE.iter().map(|&name| name.to_owned()).collect();
    for pin in pins {
        for (at, _) in pin.text.match_indices("env.") {
            let rest = pin.text.get(at + 4..).unwrap_or_default();
            names.push(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect());
        }
    }
    let known = names.into_iter().filter(|name| !withheld(name));
    known.filter_map(|name| environment.get(&name).map(|value| (name.clone(), value.clone()))).collect()
}

fn absolute(cwd: &Path, path: &Path) -> String {
    cwd.join(path).to_string_lossy().into_owned()
}

/// What the unchanging parts of a run are put together from.
pub(super) struct Assembly<'a> {
    pub(super) prologue: &'a Prologue,
    pub(super) plan: CheckedPlan,
    pub(super) run: RunDir,
    pub(super) env: BTreeMap<String, String>,
    pub(super) started: u64,
}

type Probes = Vec<Option<gates::RenderedProbe>>;
pub(super) type Assembled = (World, Arc<flowrun_core::Plan>, Private, Probes);

impl Assembly<'_> {
    pub(super) fn assemble(
        self,
        params: impl FnOnce(&CheckedPlan, &StaticScope<'_>) -> Result<Map<String, Value>, Vec<String>>,
    ) -> Result<Assembled, DriverError> {
        let machine = Machine::here();
        let private = self.private();
        let (params, core, secrets) = self.in_scope(&machine, &private, |scope| {
            let params = params(&self.plan, scope).map_err(DriverError::Refused)?;
            let known = Value::Object(params.clone());
            let scope = scope.with_params(&known);
            let secrets =
                secrets::read(&self.plan, &scope, &self.prologue.environment).map_err(DriverError::Refused)?;
            Ok::<_, DriverError>((params, core(&self.plan, &scope, machine.cpus)?, secrets))
        })?;
        let world = World::new(Parts {
            plan: self.plan,
            registry: self.prologue.registry.clone(),
            run: self.run,
            started: self.started,
            params,
            env: self.env,
            private: private.path.clone(),
            secrets,
            host: machine,
        });
        let probes = probes(&world)?;
        Ok((world, core, private, probes))
    }

    /// The plan that the core decides on, for who starts nothing and needs no secrets.
    pub(super) fn core(
        &self,
        params: impl FnOnce(&CheckedPlan, &StaticScope<'_>) -> Result<Map<String, Value>, Vec<String>>,
    ) -> Result<Arc<flowrun_core::Plan>, DriverError> {
        let machine = Machine::here();
        self.in_scope(&machine, &self.private(), |scope| {
            let params = Value::Object(params(&self.plan, scope).map_err(DriverError::Refused)?);
            core(&self.plan, &scope.with_params(&params), machine.cpus)
        })
    }

    fn private(&self) -> Private {
        private::place(&self.run, self.prologue.environment.get("XDG_RUNTIME_DIR").map(String::as_str))
    }

    /// With the names that are known before the params are.
    fn in_scope<T>(&self, machine: &Machine, private: &Private, then: impl FnOnce(&StaticScope<'_>) -> T) -> T {
        let host = machine.value();
        let root = &self.plan.contexts[0];
        then(&StaticScope {
            params: &Value::Null,
            host: &host,
            env: &self.env,
            plan: json!({ "name": root.name, "dir": root.dir }),
            run: json!({
                "id": self.run.id(), "started": timestamp(self.started),
                "dir": self.run.path(), "private": private.path, "state": "running",
            }),
        })
    }
}

fn core(plan: &CheckedPlan, scope: &StaticScope<'_>, cpus: usize) -> Result<Arc<flowrun_core::Plan>, DriverError> {
    Ok(Arc::new(plan.compile(&sizes(plan, scope, cpus).map_err(DriverError::Refused)?)))
}

/// The names of a plan file before its steps run: for a sub-plan, the params that can be known by then.
fn context_params(plan: &CheckedPlan, scope: &StaticScope<'_>) -> Vec<Value> {
    use crate::plan::model::Body;
    let mut all = vec![Value::Null; plan.contexts.len()];
    if let Some(first) = all.first_mut() {
        *first = scope.params.clone();
    }
    for (index, context) in plan.contexts.iter().enumerate().skip(1) {
        let call = plan.steps.iter().find_map(|step| match &step.body {
            Body::Plan { block, with } if plan.blocks[block.index()].context.index() == index => {
                Some((step.context, with))
            }
            Body::Plan { .. } | Body::Leaf { .. } | Body::Wait | Body::Group(_) => None,
        });
        let Some((caller_id, Tree::Map(with))) = call else { continue };
        let caller = StaticScope {
            params: &all[caller_id.index()].clone(),
            host: scope.host,
            env: scope.env,
            plan: scope.plan.clone(),
            run: scope.run.clone(),
        };
        let given = with.iter().filter(|(name, _)| context.params.iter().any(|param| param.name == *name));
        let given: BTreeMap<String, Given> = given
            .filter_map(|(name, value)| {
                let value = value.render(&caller).ok()?;
                Some((name.clone(), Given::Value { value, dir: plan.contexts[caller_id.index()].dir.clone() }))
            })
            .collect();
        all[index] = Value::Object(params::known(context, &given, &caller));
    }
    all
}

/// Sizes of pools and limits that are templates of params.
fn sizes(plan: &CheckedPlan, scope: &StaticScope<'_>, cpus: usize) -> Result<Sizes, Vec<String>> {
    let contexts = context_params(plan, scope);
    let mut faults = Vec::new();
    let mut read = |what: String, place: &crate::plan::model::Place, context: usize, tree: &Tree| -> u32 {
        let scope = StaticScope {
            params: &contexts[context],
            host: scope.host,
            env: scope.env,
            plan: scope.plan.clone(),
            run: scope.run.clone(),
        };
        let value = tree.render(&scope).map_err(|fault| fault.message).and_then(|value| count(&value));
        value.unwrap_or_else(|fault| {
            faults.push(format!("{}:{}:{}: {what}: {fault}", place.file, place.line, place.column));
            1
        })
    };
    let pools = plan.pools.iter();
    let pools = pools.map(|p| read(format!("pool `{}`", p.name), &p.place, p.context.index(), &p.size)).collect();
    let limits = plan.steps.iter().enumerate().filter_map(|(at, step)| {
        let limit = step.for_each.as_ref()?.max_parallel.as_ref()?;
        let limit = read(format!("max_parallel of `{}`", step.name), &step.place, step.context.index(), limit);
        Some((StepId(u32::try_from(at).ok()?), limit))
    });
    let max_parallel = limits.collect();
    if faults.is_empty() {
        Ok(Sizes { pools, max_parallel, cpus: u32::try_from(cpus).unwrap_or(1).max(1) })
    } else {
        Err(faults)
    }
}

fn count(value: &Value) -> Result<u32, String> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let number = number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| format!("must be a whole number from 1, and is {value}"))
}

impl Conduct {
    #[expect(clippy::too_many_arguments, reason = "the parts of one thing, put together for both ways to begin")]
    pub(super) async fn new(
        prologue: &Prologue,
        world: World,
        run: Run,
        facts: Facts,
        journal: Journal,
        seq: u64,
        private: Private,
        probes: Probes,
        lock: DriverLock,
        watchers: Watchers,
    ) -> Result<Self, DriverError> {
        let world = Arc::new(world);
        let publisher = Publisher::new(watchers);
        let needs_private = !world.masker.is_empty() || private.path.exists() || uses_private(&journal);
        if needs_private {
            super::attempt::make_private_dir(&private.path).map_err(|error| DriverError::Io {
                doing: format!("make the private folder `{}`", private.path.display()),
                error,
            })?;
            if private.on_disk {
                publisher.say(format!(
                    "there is no folder in memory for this user, so files with secrets lie on the disk in `{}` until \
                     the run ends",
                    private.path.display()
                ));
            }
        }
        let setup = Setup {
            secrets: world.secrets.values(),
            private: needs_private.then(|| private.path.clone()),
            crash_at: prologue.environment.get(CRASH_AT).and_then(|at| at.strip_prefix("host:")).map(str::to_owned),
            ..Setup::default()
        };
        let (sender, inbox) = mpsc::unbounded_channel();
        let host = Hosting::begin(world.run.clone(), prologue.exe.clone(), setup, sender.clone()).await?;
        watch_disk(&journal, sender.clone());
        control::serve(&world.run, sender.clone())
            .map_err(|error| DriverError::Io { doing: "open the driver's socket".into(), error })?;
        let engine = Engine::new(
            world,
            run,
            facts,
            Arc::new(journal),
            host,
            seq,
            sender.clone(),
            Gatekeeper::new(probes),
            publisher,
        );
        Ok(Self { engine, inbox, sender, private, _lock: lock })
    }

    /// A way to send the driver away.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(self.sender.clone())
    }

    /// Drives the run until this process has nothing more to do with it.
    ///
    /// # Errors
    /// When the store fails; what runs goes on, and a resume takes it up.
    pub async fn drive(mut self) -> Result<End, DriverError> {
        let end = self.engine.drive(&mut self.inbox).await;
        self.engine.host.now().flush().await;
        if matches!(end, Ok(End::Finished(_))) {
            private::remove(&self.private.path);
            private::remove(&self.engine.world.run.scratch());
        }
        let now = self.engine.clock.now();
        self.engine.publisher.send(Notice::Ended {
            state: self.engine.run.state(),
            interrupted: !matches!(end, Ok(End::Finished(_))),
            took: now.saturating_sub(self.engine.world.started),
            at: now,
        });
        end
    }
}

impl From<Signal> for End {
    fn from(signal: Signal) -> Self {
        Self::Interrupted(signal)
    }
}

/// Tells the driver when the journal's disk is full, and when it has room again.
fn watch_disk(journal: &Journal, driver: mpsc::UnboundedSender<Message>) {
    let mut health = journal.health();
    tokio::spawn(async move {
        while health.changed().await.is_ok() {
            let now = health.borrow_and_update().clone();
            if driver.send(Message::Health(now)).is_err() {
                return;
            }
        }
    });
}

pub(super) fn uses_private(journal: &Journal) -> bool {
    journal.pins().is_ok_and(|pins| pins.iter().any(|pin| pin.text.contains("run.private")))
}

/// The gates with their limits read. Those of sub-plans whose params a step makes known wait for that step.
fn probes(world: &World) -> Result<Probes, DriverError> {
    let host = world.host.value();
    let mut faults = Vec::new();
    let mut probes = Vec::new();
    let base = StaticScope {
        params: &world.params,
        host: &host,
        env: &world.env,
        plan: json!({ "name": world.plan.contexts[0].name, "dir": world.plan.contexts[0].dir }),
        run: json!({
            "id": world.id, "started": timestamp(world.started), "dir": world.run.path(),
            "private": world.private, "state": "running",
        }),
    };
    let contexts = context_params(&world.plan, &base);
    for gate in &world.plan.gates {
        let context = &world.plan.contexts[gate.context.index()];
        let scope = StaticScope {
            params: &contexts[gate.context.index()],
            plan: json!({ "name": context.name, "dir": context.dir }),
            run: base.run.clone(),
            host: &host,
            env: &world.env,
        };
        match probe::of_gate(world, gate, &scope) {
            Ok(probe) => probes.push(Some(probe)),
            Err(_) if gate.context.0 > 0 => probes.push(None),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(probes) } else { Err(DriverError::Refused(faults)) }
}
