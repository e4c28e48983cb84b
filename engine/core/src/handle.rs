//! `handle`: what an input means, as events.
//! Unaware of effects. Every refusal has one reason; a stale report is refused as a value and never an error.

use crate::Want;
use crate::bug::planted;
use crate::event::{AttemptId, Event, Failure, FailureClass, Final, Found, NodeId, Outcome, Verdict};
use crate::plan::{Backoff, OnLost, Retry, RetryClass};
use crate::run::Run;
use crate::state::{Flight, Kind, State};
use serde_json::Value;
use std::collections::BTreeSet;

/// Something that happened outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The run begins.
    Start,
    /// Another process goes on with it.
    Resume,
    /// A node was evaluated.
    Resolved {
        /// Which.
        node: NodeId,
        /// To what.
        resolution: Resolution,
    },
    /// The host has an attempt that was only ordered ahead: see [`Run::ordered_ahead`].
    Begun(AttemptId),
    /// A background attempt is ready.
    Ready(AttemptId),
    /// An attempt ended.
    Report {
        /// Which.
        id: AttemptId,
        /// How.
        outcome: Outcome,
        /// When it started.
        started: Option<u64>,
    },
    /// An attempt's fate is unknown.
    Lost(AttemptId),
    /// Somebody looked at the world for a lost attempt.
    Reconciled {
        /// Which.
        id: AttemptId,
        /// What they found.
        found: Found,
    },
    /// The outputs of a block were evaluated.
    Outputs {
        /// Its owner.
        node: NodeId,
        /// The outputs, or why there are none.
        outputs: Result<Value, String>,
    },
    /// Cancel the run.
    Cancel,
    /// Start nothing new.
    Pause {
        /// Why.
        reason: Box<str>,
    },
    /// Start again.
    Unpause,
    /// A person's verdict.
    Mark {
        /// On which step or item.
        node: NodeId,
        /// What.
        verdict: Verdict,
        /// Why.
        because: Box<str>,
    },
}

/// What an evaluation said.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// It may start.
    Run {
        /// What a sub-plan is called with.
        values: Option<Value>,
    },
    /// It is not to be run.
    Skip {
        /// Why.
        reason: Box<str>,
    },
    /// Its list.
    FanOut {
        /// Names, unique.
        keys: Vec<Box<str>>,
        /// A permutation of the positions.
        order: Vec<u32>,
        /// Elements, one for each key, or none at all where nobody needs them again.
        items: Vec<Value>,
    },
    /// It cannot be evaluated.
    Failed {
        /// Why.
        reason: Box<str>,
    },
}

/// Why an input changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The run has begun already.
    #[error("the run has begun already")]
    Begun,
    /// The run has ended.
    #[error("the run has ended")]
    Ended,
    /// The attempt is not the one in flight.
    #[error("the attempt is not in flight any more")]
    Stale,
    /// Nobody asked for this.
    #[error("nobody waits for this answer")]
    Unasked,
    /// The answer is not one for this step: a list for a step without `for_each`, none for one with it, or a list whose
    /// parts do not fit together.
    #[error("the answer does not fit the step")]
    Unfitting,
    /// There is no such node.
    #[error("there is no such step or item")]
    Unknown,
    /// It is so already.
    #[error("it is so already")]
    Already,
    /// The step is in flight.
    #[error("it is running; cancel the run or wait for its end first")]
    InFlight,
}

impl Run {
    /// What an input means at this time.
    ///
    /// # Errors
    /// When it means nothing; the reason is for a log.
    pub fn handle(&self, input: Input) -> Result<Vec<Event>, Refusal> {
        match input {
            Input::Start if self.containers.is_empty() => Ok(vec![Event::Started]),
            Input::Start => Err(Refusal::Begun),
            Input::Resume => Ok(vec![Event::Resumed { at: self.now }]),
            Input::Resolved { node, resolution } => self.resolved(node, resolution),
            Input::Begun(id) => self.begun_early(id),
            Input::Ready(id) => self.flying(id, &[Flight::Running]).map(|()| vec![Event::Ready { id }]),
            Input::Report { id, outcome, started } => self.report(id, outcome, started),
            Input::Lost(id) => self.flying(id, &[Flight::Running, Flight::Serving]).map(|()| vec![Event::Lost { id }]),
            Input::Reconciled { id, found } => self.reconciled(id, found),
            Input::Outputs { node, outputs } => self.handed_out(node, outputs),
            Input::Cancel if self.finished.is_some() => Err(Refusal::Ended),
            Input::Cancel => Ok(vec![Event::CancelRequested]),
            Input::Pause { .. } if self.paused.is_some() => Err(Refusal::Already),
            Input::Pause { reason } => Ok(vec![Event::Paused { reason }]),
            Input::Unpause if self.paused.is_none() => Err(Refusal::Already),
            Input::Unpause => Ok(vec![Event::Unpaused]),
            Input::Mark { node, verdict, because } => self.marked(node, verdict, because),
        }
    }

    fn begun_early(&self, id: AttemptId) -> Result<Vec<Event>, Refusal> {
        let node = self.nodes.get(id.node.index()).ok_or(Refusal::Unknown)?;
        if node.state == State::Queued && node.attempts == id.attempt {
            Ok(vec![Event::Begun { id }])
        } else {
            Err(Refusal::Stale)
        }
    }

    fn resolved(&self, id: NodeId, resolution: Resolution) -> Result<Vec<Event>, Refusal> {
        if id.index() >= self.nodes.len() {
            return Err(Refusal::Unknown);
        }
        if self.want(id) != Some(Want::Resolve) {
            return Err(Refusal::Unasked);
        }
        if !self.fits_step(id, &resolution) {
            return Err(Refusal::Unfitting);
        }
        let settled = |state, reason| Event::Settled { node: id, state, reason: Some(reason), outputs: None };
        Ok(vec![match resolution {
            Resolution::Run { values } => Event::Resolved { node: id, values: values.map(Box::new) },
            Resolution::Skip { reason } => settled(Final::Skipped, reason),
            Resolution::FanOut { keys, order, items } => Event::FannedOut { node: id, keys, order, items },
            Resolution::Failed { reason } => settled(Final::Failed, reason),
        }])
    }

    /// A step with `for_each` is answered with a list, and only that.
    fn fits_step(&self, id: NodeId, resolution: &Resolution) -> bool {
        match resolution {
            Resolution::Run { .. } => self.is_unit(id),
            Resolution::Skip { .. } | Resolution::Failed { .. } => true,
            Resolution::FanOut { keys, order, items } => {
                let names: BTreeSet<_> = keys.iter().collect();
                !self.is_unit(id)
                    && names.len() == keys.len()
                    && (items.is_empty() || items.len() == keys.len())
                    && is_permutation(order, keys.len())
            }
        }
    }

    fn flying(&self, id: AttemptId, expected: &[Flight]) -> Result<(), Refusal> {
        let node = self.nodes.get(id.node.index()).ok_or(Refusal::Unknown)?;
        let fits = expected.iter().any(|flight| node.state == State::Flying(*flight));
        if fits && (node.attempts == id.attempt || planted!(StaleReport)) { Ok(()) } else { Err(Refusal::Stale) }
    }

    fn report(&self, id: AttemptId, outcome: Outcome, started: Option<u64>) -> Result<Vec<Event>, Refusal> {
        self.flying(id, &[Flight::Running, Flight::Serving, Flight::Lost])?;
        let background = self.step_of(id.node).is_some_and(|step| step.background);
        let outcome =
            if background { self.service_outcome(id.node, outcome) } else { self.step_outcome(id.node, outcome) };
        Ok(self.ended(id, outcome, started, Grace::None))
    }

    fn step_outcome(&self, id: NodeId, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Failed(_) if self.stopping(id) => Outcome::Cancelled,
            Outcome::Cancelled if !self.stopping(id) => Outcome::Failed(Box::new(stopped_by_itself())),
            Outcome::Succeeded { .. } | Outcome::Failed(_) | Outcome::Cancelled => outcome,
        }
    }

    /// A service succeeds by being stopped; one that ends by itself has failed.
    fn service_outcome(&self, id: NodeId, outcome: Outcome) -> Outcome {
        let stopped = self.needless(id) || self.stopping(id);
        match outcome {
            _ if stopped && self.node(id).serves() => Outcome::Succeeded { outputs: None },
            _ if stopped => Outcome::Cancelled,
            Outcome::Succeeded { .. } => Outcome::Failed(Box::new(ended_early())),
            Outcome::Cancelled => Outcome::Failed(Box::new(stopped_by_itself())),
            Outcome::Failed(_) => outcome,
        }
    }

    /// The events of an attempt's end: it, and what follows from a failure.
    fn ended(&self, id: AttemptId, outcome: Outcome, started: Option<u64>, grace: Grace) -> Vec<Event> {
        let follows = match &outcome {
            Outcome::Succeeded { .. } | Outcome::Cancelled => None,
            Outcome::Failed(failure) => Some(self.after_failure(id, failure, grace)),
        };
        let ended = Event::Ended { id, outcome, started };
        std::iter::once(ended).chain(follows).collect()
    }

    fn after_failure(&self, id: AttemptId, failure: &Failure, grace: Grace) -> Event {
        let node = self.node(id.node);
        let retry = self.step_of(id.node).map(|step| step.retry.clone()).unwrap_or_default();
        let tries = node.tries + 1;
        let allowed = match grace {
            Grace::None => retry.attempts + u32::from(planted!(RetryOffByOne)),
            // A lost attempt uses one up, but the one that was lost is always followed by another.
            Grace::Lost => retry.attempts.max(2),
        };
        let again = tries < allowed && (grace == Grace::Lost || may_repeat(&retry, failure));
        if !again || self.stopping(id.node) {
            return Event::Settled { node: id.node, state: Final::Failed, reason: None, outputs: None };
        }
        let pause = if grace == Grace::Lost || planted!(BackoffIgnored) { 0 } else { pause(&retry, id, tries) };
        Event::RetryAt { node: id.node, at: self.now.saturating_add(pause) }
    }

    fn reconciled(&self, id: AttemptId, found: Found) -> Result<Vec<Event>, Refusal> {
        self.flying(id, &[Flight::Lost])?;
        let step = self.step_of(id.node).ok_or(Refusal::Unknown)?;
        let gone = match found {
            Found::NotDone => true,
            Found::Done { .. } | Found::Unknown { .. } => step.background,
            // It may act as long as nobody has looked, and a resume could start a second one beside it.
            Found::Unfenced { .. } => false,
        };
        if gone && (self.stopping(id.node) || self.needless(id.node)) {
            let outcome =
                if self.needless(id.node) { Outcome::Succeeded { outputs: None } } else { Outcome::Cancelled };
            return Ok(self.ended(id, outcome, None, Grace::None));
        }
        let on_lost = match found {
            Found::Done { outputs } if !step.background => {
                return Ok(self.ended(id, Outcome::Succeeded { outputs }, None, Grace::None));
            }
            Found::Done { .. } | Found::NotDone => None,
            Found::Unknown { look_at } => Some((step.on_lost, look_at)),
            Found::Unfenced { look_at } => Some((OnLost::Ask, look_at)),
        };
        let failure = |message: String, hint| Failure {
            class: FailureClass::Transient,
            exit: None,
            timed_out: false,
            message,
            hint,
        };
        Ok(match on_lost {
            None | Some((OnLost::Rerun, _)) if !planted!(LostIsFailed) => {
                let failure = failure("the attempt was lost and runs again".into(), None);
                self.ended(id, Outcome::Failed(Box::new(failure)), None, Grace::Lost)
            }
            None | Some((OnLost::Rerun | OnLost::Fail, _)) => {
                let look_at = match on_lost {
                    Some((_, look_at)) => look_at,
                    None => String::new(),
                };
                let failure = failure("the attempt was lost and nobody can know its outcome".into(), Some(look_at));
                let outcome = Outcome::Failed(Box::new(failure));
                let settled = Event::Settled { node: id.node, state: Final::Failed, reason: None, outputs: None };
                vec![Event::Ended { id, outcome, started: None }, settled]
            }
            Some((OnLost::Ask, look_at)) => vec![Event::Asked { id, look_at }],
        })
    }

    fn handed_out(&self, id: NodeId, outputs: Result<Value, String>) -> Result<Vec<Event>, Refusal> {
        if id.index() >= self.nodes.len() {
            return Err(Refusal::Unknown);
        }
        if self.want(id) != Some(Want::Outputs) {
            return Err(Refusal::Unasked);
        }
        let (state, reason, outputs) = match outputs {
            Ok(outputs) => (Final::Succeeded, None, Some(Box::new(outputs))),
            Err(reason) => (Final::Failed, Some(reason.into()), None),
        };
        Ok(vec![Event::Settled { node: id, state, reason, outputs }])
    }

    /// It stands in a block whose `finally` has begun, among the steps that this followed.
    fn is_behind(&self, id: NodeId) -> bool {
        let mut id = id;
        while id != NodeId::RUN {
            let Some(container) = self.containers.get(self.node(id).owner.index()) else {
                return false;
            };
            if let Kind::Block { block, closing: Some(_) } = &container.kind
                && self.position(id) < self.plan.blocks[block.index()].steps.len()
            {
                return true;
            }
            id = container.owner;
        }
        false
    }

    fn marked(&self, id: NodeId, verdict: Verdict, because: Box<str>) -> Result<Vec<Event>, Refusal> {
        let node = self.nodes.get(id.index()).filter(|node| node.step.is_some()).ok_or(Refusal::Unknown)?;
        // A service may wait for a person while its block's `finally` runs or has run; nobody else can let the block end.
        let asked = node.state == State::Asked;
        if self.finished.is_none() && !asked && self.is_behind(id) {
            return Err(Refusal::InFlight);
        }
        match node.state {
            State::Flying(_) | State::Open | State::Judged => Err(Refusal::InFlight),
            State::Done(Final::Succeeded | Final::Skipped) => Err(Refusal::Already),
            State::Pending
            | State::Ready
            | State::Backoff(_)
            | State::Queued
            | State::Asked
            | State::Done(Final::Failed | Final::Cancelled) => Ok(vec![Event::Marked { node: id, verdict, because }]),
        }
    }
}

/// Each position below `count` once.
fn is_permutation(order: &[u32], count: usize) -> bool {
    let mut seen = vec![false; count];
    order.len() == count
        && order.iter().all(|position| {
            let place = seen.get_mut(*position as usize);
            place.is_some_and(|seen| !std::mem::replace(seen, true))
        })
}

/// Whether an end grants one more attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grace {
    None,
    Lost,
}

fn ended_early() -> Failure {
    Failure {
        class: FailureClass::Transient,
        exit: Some(0),
        timed_out: false,
        message: "the background step ended before the run did".into(),
        hint: Some("a background step must go on until it is stopped; see its log".into()),
    }
}

fn stopped_by_itself() -> Failure {
    Failure {
        class: FailureClass::Transient,
        exit: None,
        timed_out: false,
        message: "the step was stopped by somebody else".into(),
        hint: None,
    }
}

/// Whether a failure of this kind is repeated at all.
fn may_repeat(retry: &Retry, failure: &Failure) -> bool {
    let is = |class: &RetryClass| match class {
        RetryClass::Exit(code) => failure.exit == Some(*code),
        RetryClass::Timeout => failure.timed_out,
        RetryClass::Transient => failure.class == FailureClass::Transient,
        RetryClass::Permanent => failure.class == FailureClass::Permanent,
    };
    if planted!(PermanentRepeated) {
        return true;
    }
    if retry.not_on.iter().any(is) {
        return false;
    }
    if retry.on.is_empty() { failure.class == FailureClass::Transient } else { retry.on.iter().any(is) }
}

/// The pause before the next attempt. The spread is drawn from the attempt itself: no randomness, the same after a replay.
fn pause(retry: &Retry, id: AttemptId, tries: u32) -> u64 {
    let doubled = match retry.backoff {
        Backoff::Fixed => 0,
        Backoff::Exponential => tries.saturating_sub(1).min(32),
    };
    let pause = retry.delay_ms.saturating_mul(1 << doubled).min(retry.max_delay_ms.max(retry.delay_ms));
    let seed = u64::from(id.node.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(id.attempt);
    let drawn = (seed ^ (seed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
    let spread = pause.saturating_mul(u64::from(retry.jitter_percent.min(100))) / 100;
    pause + if spread == 0 { 0 } else { drawn % (spread + 1) }
}
