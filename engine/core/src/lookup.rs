//! Finding nodes by the plan's names, for templates.
//! Unaware of what is done with them.

use crate::event::{NodeId, RunState};
use crate::plan::StepId;
use crate::run::Run;
use crate::state::Kind;

impl Run {
    /// The node of a step as seen from another node: in its own block, or in one around it.
    #[must_use]
    pub fn seen_from(&self, from: NodeId, step: StepId) -> Option<NodeId> {
        let mut id = from;
        loop {
            let node = self.nodes.get(id.index())?;
            let container = self.containers.get(node.owner.index())?;
            if let Kind::Block { block, .. } = &container.kind {
                let body = &self.plan.blocks[block.index()];
                if body.steps.contains(&step) || body.finally.contains(&step) {
                    return Some(self.sibling(node.owner, step));
                }
            }
            id = container.owner;
        }
    }

    /// How the steps of the innermost block around a node ended whose `finally` has begun.
    #[must_use]
    pub fn closing_state(&self, from: NodeId) -> RunState {
        let mut id = from;
        while let Some(container) = self.nodes.get(id.index()).and_then(|n| self.containers.get(n.owner.index())) {
            if let Kind::Block { closing: Some(state), .. } = container.kind {
                return state;
            }
            id = container.owner;
        }
        self.state()
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &crate::Plan {
        &self.plan
    }
}
