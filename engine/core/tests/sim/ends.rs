//! What the rules say to an end: of an attempt, an item, a block, the run.
//! Unaware of the code under test.

use crate::books::{Answer, Books, Phase, Stand};
use crate::spec::Spec;
use crate::walk::{Frame, join, walk};
use crate::world::{Exit, World};
use flowrun_core::event::FailureClass;
use flowrun_core::plan::{Backoff, OnLost, Otherwise};
use flowrun_core::{Final, Outcome, RunState};

type Checked = Result<(), String>;

impl Books {
    pub fn check_end(&self, spec: &Spec, addr: &str, attempt: u32, outcome: &Outcome, world: &World) -> Checked {
        let fact = self.fact(addr);
        let started = world.attempts.contains_key(&(addr.to_owned(), attempt));
        if fact.ordered != attempt || started && !fact.flying {
            return Err("a stale report was taken".into());
        }
        let frames = walk(spec, addr)?;
        let frame = frames.last().unwrap();
        let life = world.attempts.get(&(addr.to_owned(), attempt));
        if life.is_some_and(|life| life.alive) {
            return Err("it is said to have ended but lives".into());
        }
        let exit = life.and_then(|life| life.exit);
        let gone = life.and_then(|life| life.gone);
        let service = frame.step.background;
        let true_to_world = match outcome {
            Outcome::Succeeded { .. } if service => {
                self.stopping(&frames) || fact.begun && self.is_idle(spec, frame, addr)
            }
            Outcome::Succeeded { .. } => exit == Some(Exit::Success) || gone == Some(true),
            Outcome::Failed(_) if service => life.is_some(),
            Outcome::Failed(_) => {
                matches!(exit, Some(Exit::Fail(_) | Exit::Stopped))
                    || gone == Some(false)
                    || world.excused.contains(addr)
                    || fact.lost
            }
            Outcome::Cancelled => self.stopping(&frames),
        };
        if true_to_world { Ok(()) } else { Err(format!("the world knows better: {life:?}")) }
    }

    /// Everything in the block of a service has ended but the services.
    fn is_idle(&self, _: &Spec, frame: &Frame, addr: &str) -> bool {
        let closing = self.fact(&frame.owner).closing;
        let part = if closing.is_some() { Phase::All } else { Phase::Main };
        // A cancel leaves out what has not begun, without a word for each.
        let left_out = closing == Some(RunState::Cancelled);
        let steps = frame.block.steps.iter().filter(|_| !left_out);
        let finally = frame.block.finally.iter();
        let mut all = steps.chain(finally.filter(|_| part == Phase::All));
        all.all(|step| {
            let other = join(&frame.owner, &step.name);
            other == addr
                || step.background && self.fact(&other).begun
                || self.stand(&frame.owner, frame.block, step) != Stand::Waiting
        })
    }

    pub fn check_retry(&self, spec: &Spec, addr: &str, at: u64, now: u64) -> Checked {
        let fact = self.fact(addr);
        let frames = walk(spec, addr)?;
        let retry = &frames.last().unwrap().step.retry;
        let last = fact.last.ok_or("nothing failed")?;
        let allowed = if last.lost { retry.attempts.max(2) } else { retry.attempts };
        if fact.fails >= allowed {
            return Err(format!("try {} of {allowed} is repeated", fact.fails));
        }
        if last.class == FailureClass::Permanent {
            return Err("what cannot succeed is repeated".into());
        }
        if self.stopping(&frames) {
            return Err("it is repeated though the run is being cancelled".into());
        }
        let doubled = match retry.backoff {
            Backoff::Fixed => 1,
            Backoff::Exponential => 1 << (fact.fails - 1).min(20),
        };
        let pause = (retry.delay_ms * doubled).min(retry.max_delay_ms);
        let pause = if last.lost { 0 } else { pause };
        let most = pause + pause * u64::from(retry.jitter_percent) / 100;
        if !(now + pause..=now + most).contains(&at) {
            return Err(format!("the pause is {} and not {pause}", at - now));
        }
        Ok(())
    }

    pub fn check_settled(&self, spec: &Spec, addr: &str, state: Final, world: &World) -> Checked {
        let frames = walk(spec, addr)?;
        let frame = frames.last().ok_or("the run itself is settled")?;
        let fact = self.fact(addr);
        if fact.ended.is_some() || fact.flying {
            return Err("it is settled though it has ended or flies".into());
        }
        if fact.opened {
            let fan = frame.step.fan.is_some() && frame.item.is_none();
            return if fan {
                self.check_fan(spec, frame, state, world)
            } else {
                self.check_block(spec, addr, as_run(state), Phase::All, world)
            };
        }
        let at_gate = |otherwise: Otherwise| {
            let gates = frame.step.gates.iter();
            gates
                .map(|gate| (&spec.gates[*gate as usize], self.gates.get(gate)))
                .any(|(gate, door)| gate.otherwise == otherwise && door.is_some_and(|door| door.overdue(gate)))
        };
        let justified = match state {
            Final::Succeeded => false,
            Final::Failed => {
                self.spent(spec, addr)
                    || fact.answer == Some(Answer::Broken)
                    || at_gate(Otherwise::Fail)
                    || fact.fails > 0 && frame.item.is_none() && self.is_starved(&frame.owner, frame.step)
            }
            Final::Skipped => {
                fact.answer == Some(Answer::Skip)
                    || fact.fails == 0 && frame.item.is_none() && self.is_starved(&frame.owner, frame.step)
                    || at_gate(Otherwise::Skip)
            }
            Final::Cancelled => self.cancels > 0,
        };
        if justified { Ok(()) } else { Err(format!("nothing says why: {fact:?}")) }
    }

    /// It has failed for good.
    fn spent(&self, spec: &Spec, addr: &str) -> bool {
        let fact = self.fact(addr);
        let frames = walk(spec, addr).unwrap();
        let step = frames.last().unwrap().step;
        fact.last.is_some_and(|last| {
            last.class == FailureClass::Permanent
                || last.lost && step.on_lost == OnLost::Fail
                || last.lost && fact.fails >= step.retry.attempts.max(2)
                || !last.lost && fact.fails >= step.retry.attempts
                || self.stopping(&frames)
        })
    }

    fn check_fan(&self, spec: &Spec, frame: &Frame, state: Final, world: &World) -> Checked {
        let frames = walk(spec, &frame.addr)?;
        let stopping = self.stopping(&frames);
        let held = self.is_over_limit(frame);
        for key in self.fact(&frame.addr).keys.unwrap_or_default() {
            let item = join(&frame.addr, &key);
            if self.fact(&item).ended.is_some() {
                continue;
            }
            let inside = format!("{item}/");
            let lives = |addr: &String| *addr == item || addr.starts_with(&inside);
            if world.alive.iter().any(|(addr, _)| lives(addr)) {
                return Err(format!("it ends while `{item}` lives"));
            }
            if !(stopping || held && !self.begun_at(&item)) {
                return Err(format!("`{item}` was left out"));
            }
        }
        let failed = self.failed_items(frame) > 0;
        let fits = match state {
            Final::Succeeded => !failed,
            Final::Failed => failed,
            Final::Cancelled => self.cancels > 0,
            Final::Skipped => false,
        };
        if fits { Ok(()) } else { Err("it ends wrongly".into()) }
    }

    pub fn check_block(&self, spec: &Spec, owner: &str, state: RunState, phase: Phase, _: &World) -> Checked {
        let block = self.block_at(spec, owner).ok_or("it is no block")?;
        let frames = walk(spec, owner)?;
        let fact = self.fact(owner);
        let stopping = self.stopping(&frames) && (phase == Phase::Main || fact.closing.is_none())
            || self.cancels > 1
            || fact.closing == Some(RunState::Cancelled);
        if phase == Phase::All && !block.finally.is_empty() && fact.closing.is_none() {
            return Err("`finally` was left out".into());
        }
        let finally = block.finally.iter().filter(|_| phase == Phase::All);
        let mut failed = false;
        for (step, closing) in (block.steps.iter().map(|step| (step, false))).chain(finally.map(|step| (step, true))) {
            let addr = join(owner, &step.name);
            let left = match self.stand(owner, block, step) {
                Stand::Ended(Final::Failed) => {
                    failed |= !step.allow_failure;
                    false
                }
                Stand::Blocked => {
                    failed = true;
                    false
                }
                Stand::Ended(_) => false,
                Stand::Waiting if step.background && phase == Phase::Main => !self.fact(&addr).begun,
                Stand::Waiting => !(closing && self.cancels > 1),
            };
            if left && !stopping {
                return Err(format!("`{addr}` was left out"));
            }
        }
        self.check_verdict(spec, owner, state, failed, stopping)
    }

    fn check_verdict(&self, spec: &Spec, owner: &str, state: RunState, failed: bool, stopping: bool) -> Checked {
        let no_outputs = walk(spec, owner)?.last().is_some_and(|frame| frame.step.hands_out)
            && self.fact(owner).answer == Some(Answer::NoOutputs);
        let fits = match state {
            RunState::Succeeded => !failed && !stopping,
            RunState::Failed => failed || no_outputs,
            RunState::Cancelled => self.cancels > 0,
            RunState::Running => false,
        };
        if fits { Ok(()) } else { Err(format!("it ends wrongly (a step failed: {failed})")) }
    }
}

fn as_run(state: Final) -> RunState {
    match state {
        Final::Succeeded => RunState::Succeeded,
        Final::Failed => RunState::Failed,
        Final::Cancelled => RunState::Cancelled,
        Final::Skipped => RunState::Running,
    }
}
