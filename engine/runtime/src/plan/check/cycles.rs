//! Steps that wait for each other: each ring is one fault that names all of it.
//! Unaware of why a step needs another.

use super::build::Builder;
use crate::plan::codes;
use crate::plan::diagnostic::Diagnostic;
use flowrun_core::plan::StepId;
use petgraph::algo::tarjan_scc;
use petgraph::prelude::DiGraphMap;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// A longer ring is named by its beginning.
const SHOWN: usize = 12;

impl Builder<'_> {
    pub(super) fn find_cycles(&mut self) {
        let mut graph: DiGraphMap<StepId, ()> = DiGraphMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            let from = StepId(u32::try_from(at).unwrap_or(u32::MAX));
            for (to, _) in &step.needs {
                graph.add_edge(from, *to, ());
            }
        }
        for ring in tarjan_scc(&graph).into_iter().filter(|ring| ring.len() > 1) {
            let members: BTreeSet<StepId> = ring.into_iter().collect();
            self.report_ring(&members);
        }
    }

    fn report_ring(&mut self, members: &BTreeSet<StepId>) {
        let path = self.shortest(members);
        let mut names: Vec<String> = path.iter().take(SHOWN).map(|id| format!("`{}`", self.step_name(*id))).collect();
        if path.len() > SHOWN {
            names.push("...".to_owned());
        }
        let round = format!("{} -> {}", names.join(" -> "), names.first().cloned().unwrap_or_default());
        let edges: Vec<_> = path
            .iter()
            .zip(path.iter().cycle().skip(1))
            .take(SHOWN)
            .filter_map(|(from, to)| {
                Some((
                    *self.edges.get(&(*from, *to))?,
                    format!("`{}` waits for `{}`", self.step_name(*from), self.step_name(*to)),
                ))
            })
            .collect();
        let Some(((span, label), rest)) = edges.split_first() else { return };
        let message = format!("steps wait for each other: {round}");
        let mut fault =
            Diagnostic::error(codes::CYCLE, *span, message).label(label.clone()).help("take one of these needs away");
        for (span, label) in rest {
            fault = fault.also(*span, label.clone());
        }
        self.fault(fault);
    }

    /// A shortest way from the first of them back to itself.
    fn shortest(&self, members: &BTreeSet<StepId>) -> Vec<StepId> {
        let Some(start) = members.first().copied() else { return Vec::new() };
        let mut before: HashMap<StepId, StepId> = HashMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            let needs = self.steps.get(at.index()).map_or(&[][..], |step| step.needs.as_slice());
            for (next, _) in needs.iter().filter(|(next, _)| members.contains(next)) {
                if *next == start {
                    let mut path = vec![at];
                    while let Some(step) = path.last().and_then(|last| before.get(last)).copied() {
                        path.push(step);
                    }
                    path.reverse();
                    return path;
                }
                if !before.contains_key(next) {
                    before.insert(*next, at);
                    queue.push_back(*next);
                }
            }
        }
        members.iter().copied().collect()
    }
}
