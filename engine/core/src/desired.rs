//! What should be in flight: derived from the state of each node, never stored.
//! Unaware of what is in flight. Start, live and resume are one code path because only this answer counts.

use crate::event::{AttemptId, NodeId};
use crate::run::Run;
use crate::state::{Flight, State};

/// What should be in flight for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Its `when`, `for_each` or params are to be evaluated.
    Resolve,
    /// This attempt runs.
    Run(AttemptId),
    /// This attempt is to stop.
    Stop(AttemptId),
    /// Somebody finds out what this attempt did.
    Reconcile(AttemptId),
    /// The outputs of its block are to be evaluated.
    Outputs,
}

pub(crate) fn want(run: &Run, id: NodeId) -> Option<Want> {
    let node = run.node(id);
    match node.state {
        State::Pending => {
            let next = node.missing == 0 && !node.flags.starved && run.needs_resolving(id);
            (next && run.finished.is_none() && run.begun(id) && !run.idles(id)).then_some(Want::Resolve)
        }
        State::Flying(Flight::Running | Flight::Serving) => Some(if run.stopping(id) || run.needless(id) {
            Want::Stop(run.current(id))
        } else {
            Want::Run(run.current(id))
        }),
        State::Flying(Flight::Lost) => Some(Want::Reconcile(run.current(id))),
        State::Open => run.awaits_outputs(id).then_some(Want::Outputs),
        State::Ready | State::Backoff(_) | State::Queued | State::Asked | State::Judged | State::Done(_) => None,
    }
}

impl Run {
    /// Nodes whose want may have changed since the last call.
    pub fn take_changed(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// Everything that should be in flight, from scratch: for debug builds and tests to compare the increments with.
    #[must_use]
    pub fn desired(&self) -> Vec<(NodeId, Want)> {
        (0..self.nodes.len() as u32).map(NodeId).filter_map(|id| Some((id, self.want(id)?))).collect()
    }
}
