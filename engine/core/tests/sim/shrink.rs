//! Makes a failing scenario smaller as long as it fails.
//! Unaware of why it fails.

use crate::spec::{Block, Rates, Spec, Step};

type Change = fn(&mut Step) -> bool;

/// Ways to make a step simpler; each says whether it changed anything.
const CHANGES: &[Change] = &[
    |s| {
        s.body.take().is_some() && {
            s.hands_out = false;
            true
        }
    },
    |s| {
        s.fan.take().is_some() && {
            s.resolve_item = false;
            true
        }
    },
    |s| !std::mem::take(&mut s.gates).is_empty(),
    |s| !std::mem::take(&mut s.pools).is_empty(),
    |s| s.needs.pop().is_some(),
    |s| {
        !s.needs.is_empty() && {
            s.needs.remove(0);
            true
        }
    },
    |s| s.fan.is_none() && std::mem::take(&mut s.resolve),
    |s| std::mem::take(&mut s.resolve_item),
    |s| std::mem::take(&mut s.allow_failure),
    |s| std::mem::take(&mut s.hands_out),
    |s| std::mem::take(&mut s.background),
    |s| std::mem::replace(&mut s.retry.attempts, 1) > 1,
    |s| s.fan.as_mut().is_some_and(|f| f.max_parallel.take().is_some()),
    |s| s.fan.as_mut().is_some_and(|f| f.max_failures.take().is_some()),
    |s| {
        s.fan.as_mut().is_some_and(|f| {
            f.items > 1 && {
                f.items -= 1;
                true
            }
        })
    },
    |s| s.body.as_mut().is_some_and(|b| !std::mem::take(&mut b.finally).is_empty()),
];

type Rate = fn(&mut Rates) -> &mut u64;

const RATES: &[Rate] = &[
    |r| &mut r.crash,
    |r| &mut r.cancel,
    |r| &mut r.mark,
    |r| &mut r.lose,
    |r| &mut r.pause,
    |r| &mut r.drain,
    |r| &mut r.jump,
    |r| &mut r.reboot,
    |r| &mut r.double,
    |r| &mut r.unknown,
    |r| &mut r.skip,
    |r| &mut r.broken,
    |r| &mut r.permanent,
    |r| &mut r.fail,
    |r| &mut r.lag,
];

/// The smallest failing scenario that small steps lead to.
pub fn shrink(spec: &Spec, fails: impl Fn(&Spec) -> bool) -> Spec {
    let mut best = spec.clone();
    for _ in 0..30 {
        let mut better = false;
        for candidate in candidates(&best) {
            if fails(&candidate) {
                best = candidate;
                better = true;
                break;
            }
        }
        if !better {
            break;
        }
    }
    best
}

fn candidates(spec: &Spec) -> Vec<Spec> {
    let mut list = Vec::new();
    for n in 0..count(&spec.root) {
        let mut smaller = spec.clone();
        remove(&mut smaller.root, &mut { n });
        if !smaller.root.steps.is_empty() {
            list.push(smaller);
        }
    }
    for rate in RATES {
        let mut smaller = spec.clone();
        if std::mem::take(rate(&mut smaller.rates)) > 0 {
            list.push(smaller);
        }
    }
    for change in CHANGES {
        for n in 0..count(&spec.root) {
            let mut smaller = spec.clone();
            if apply(&mut smaller.root, &mut { n }, *change) == Some(true) {
                list.push(smaller);
            }
        }
    }
    let mut smaller = spec.clone();
    if !std::mem::take(&mut smaller.root.finally).is_empty() {
        list.push(smaller);
    }
    list
}

fn all(block: &Block) -> impl Iterator<Item = &Step> {
    block.steps.iter().chain(&block.finally)
}

fn count(block: &Block) -> usize {
    all(block).map(|step| 1 + step.body.as_ref().map_or(0, count)).sum()
}

fn remove(block: &mut Block, n: &mut usize) -> bool {
    for list in [&mut block.steps, &mut block.finally] {
        for position in 0..list.len() {
            if *n == 0 {
                let name = list.remove(position).name;
                for step in list.iter_mut() {
                    step.needs.retain(|(need, _)| *need != name);
                }
                return true;
            }
            *n -= 1;
            if let Some(body) = &mut list[position].body
                && remove(body, n)
            {
                if body.steps.is_empty() {
                    list[position].body = None;
                    list[position].hands_out = false;
                }
                return true;
            }
        }
    }
    false
}

fn apply(block: &mut Block, n: &mut usize, change: Change) -> Option<bool> {
    for step in block.steps.iter_mut().chain(&mut block.finally) {
        if *n == 0 {
            return Some(change(step));
        }
        *n -= 1;
        if let Some(body) = &mut step.body
            && let Some(changed) = apply(body, n, change)
        {
            return Some(changed);
        }
    }
    None
}
