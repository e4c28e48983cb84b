//! From an address to the steps on the way to it.
//! Unaware of the core.

use crate::spec::{Block, Spec, Step};

/// One step on the way.
pub struct Frame<'a> {
    /// The block that it stands in.
    pub block: &'a Block,
    /// The address of the block's owner; empty for the run.
    pub owner: String,
    pub step: &'a Step,
    /// The step's address.
    pub addr: String,
    /// The item's address, where the way goes into one.
    pub item: Option<String>,
    /// It stands in the block's `finally`.
    pub closing: bool,
}

pub fn join(owner: &str, name: &str) -> String {
    if owner.is_empty() { name.to_owned() } else { format!("{owner}/{name}") }
}

pub fn walk<'a>(spec: &'a Spec, addr: &str) -> Result<Vec<Frame<'a>>, String> {
    let mut frames = Vec::new();
    if addr.is_empty() {
        return Ok(frames);
    }
    let mut parts = addr.split('/').peekable();
    let mut block = &spec.root;
    let mut owner = String::new();
    loop {
        let name = parts.next().ok_or(format!("bad address `{addr}`"))?;
        let closing = block.finally.iter().any(|step| step.name == name);
        let step = block
            .steps
            .iter()
            .chain(&block.finally)
            .find(|step| step.name == name)
            .ok_or(format!("no step at `{addr}`"))?;
        let at = join(&owner, name);
        let item = match (&step.fan, parts.peek()) {
            (Some(_), Some(_)) => parts.next().map(|key| join(&at, key)),
            _ => None,
        };
        let next = item.clone().unwrap_or_else(|| at.clone());
        frames.push(Frame { block, owner, step, addr: at, item, closing });
        if parts.peek().is_none() {
            return Ok(frames);
        }
        block = step.body.as_ref().ok_or(format!("nothing inside `{addr}`"))?;
        owner = next;
    }
}
