//! Gates: what a condition measures, and whether it holds.
//! Unaware of steps, of who waits, and of how often it is asked; `settle` and `hold` belong to whoever admits.
//!
//! A probe that cannot measure does not hold, and its text says why.

mod http;
mod measure;
mod run;
mod stuck;
mod window;
mod world;

pub use measure::{measure, measure_in};
pub use world::{Machine, Memory, Space, World};

use crate::plan::model::{Probe, Resource};
use crate::plan::quantity;
use crate::plan::template::{RenderFault, Scope, Template, Tree};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::path::PathBuf;

/// A probe whose numbers and texts are known.
#[derive(Debug, Clone, PartialEq)]
pub enum RenderedProbe {
    /// Load average below.
    Load {
        /// 1, 5 or 15.
        minutes: u8,
        /// Divide by the number of CPUs.
        per_cpu: bool,
        /// The limit.
        below: f64,
    },
    /// Pressure (PSI `some avg10`, percent) below.
    Pressure {
        /// Which resource.
        resource: Resource,
        /// The limit.
        below: f64,
    },
    /// Available memory above.
    MemoryAvailable {
        /// The limit.
        above: Amount,
    },
    /// Free space on a path's filesystem.
    Disk {
        /// Where.
        path: PathBuf,
        /// The limit.
        free_above: Amount,
    },
    /// The time is inside.
    Window {
        /// When it opens.
        from: Time,
        /// When it closes; before `from`: the window spans midnight; equal: it is always open.
        to: Time,
        /// None: the machine's.
        zone: Option<TimeZone>,
    },
    /// A TCP connection can be made.
    Tcp {
        /// `host:port`
        address: String,
    },
    /// Answers 2xx.
    Http {
        /// `http://…`
        url: String,
    },
    /// A path exists.
    File {
        /// Which.
        path: PathBuf,
    },
    /// A shell test exits 0.
    Run {
        /// The script; it may hold sealed secrets, see [`RenderedProbe::map_texts`].
        script: String,
        /// Where it runs; none: where flowrun does.
        dir: Option<PathBuf>,
        /// Its environment beside `PATH`, `HOME`, `USER`, `LOGNAME`, `LANG` and `TZ`.
        env: Vec<(String, String)>,
    },
}

/// A limit of a space.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// So many of a hundred.
    Percent(f64),
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Whether the condition holds.
    pub holds: bool,
    /// The value and the limit, e.g. `load 5.31, needs < 2`; secrets are not masked.
    pub text: String,
}

impl RenderedProbe {
    /// Replaces every text that goes to the world: where sealed secrets become what they stand for.
    ///
    /// # Errors
    /// The first error of `replace`.
    pub fn map_texts<E>(mut self, mut replace: impl FnMut(&str) -> Result<String, E>) -> Result<Self, E> {
        match &mut self {
            Self::Tcp { address: text } | Self::Http { url: text } => *text = replace(text)?,
            Self::Run { script, env, .. } => {
                *script = replace(script)?;
                for (_, value) in env {
                    *value = replace(value)?;
                }
            }
            Self::Disk { path, .. } | Self::File { path } => *path = replace(&path.to_string_lossy())?.into(),
            Self::Load { .. } | Self::Pressure { .. } | Self::MemoryAvailable { .. } | Self::Window { .. } => {}
        }
        Ok(self)
    }
}

/// A probe with its numbers and texts.
///
/// # Errors
/// A template without a value, or a value that is no limit, time or zone.
pub fn resolve(probe: &Probe, scope: &dyn Scope) -> Result<RenderedProbe, RenderFault> {
    Ok(match probe {
        Probe::Load { minutes, per_cpu, below } => {
            RenderedProbe::Load { minutes: *minutes, per_cpu: *per_cpu, below: number(below, "below", scope)? }
        }
        Probe::Pressure { resource, below } => {
            RenderedProbe::Pressure { resource: *resource, below: number(below, "below", scope)? }
        }
        Probe::MemoryAvailable { above } => {
            RenderedProbe::MemoryAvailable { above: amount(above, "available_above", scope)? }
        }
        Probe::Disk { path, free_above } => RenderedProbe::Disk {
            path: text(path, "path", scope)?.into(),
            free_above: amount(free_above, "free_above", scope)?,
        },
        Probe::Window { from, to, zone } => RenderedProbe::Window {
            from: window::time(from).map_err(fault)?,
            to: window::time(to).map_err(fault)?,
            zone: zone.as_deref().map(window::zone).transpose().map_err(fault)?,
        },
        Probe::Tcp { address } => RenderedProbe::Tcp { address: text(address, "tcp", scope)? },
        Probe::Http { url } => RenderedProbe::Http { url: text(url, "http", scope)? },
        Probe::File { path } => RenderedProbe::File { path: text(path, "file", scope)?.into() },
        Probe::Run { script } => RenderedProbe::Run { script: text(script, "run", scope)?, dir: None, env: Vec::new() },
    })
}

fn text(template: &Template, key: &str, scope: &dyn Scope) -> Result<String, RenderFault> {
    let text = template.render_text(scope)?;
    if text.is_empty() { Err(fault(format!("`{key}` is empty"))) } else { Ok(text) }
}

/// A number, also where a param of type string holds it.
fn number(tree: &Tree, key: &str, scope: &dyn Scope) -> Result<f64, RenderFault> {
    let value = tree.render(scope)?;
    let number = match &value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => quantity::percent(text).or_else(|| text.trim().parse().ok()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number
        .filter(|number| number.is_finite() && *number >= 0.0)
        .ok_or_else(|| fault(format!("`{key}` is {value}, which is not a number from 0 up")))
}

fn amount(tree: &Tree, key: &str, scope: &dyn Scope) -> Result<Amount, RenderFault> {
    let value = tree.render(scope)?;
    let Value::String(text) = &value else {
        return Err(fault(format!("`{key}` is {value}, which is neither a size as `50GiB` nor a share as `10%`")));
    };
    if let Some(percent) = quantity::percent(text) {
        return Ok(Amount::Percent(percent));
    }
    quantity::size_bytes(text).map(Amount::Bytes).map_err(|help| RenderFault {
        message: format!("`{key}` is `{text}`, which is neither a size as `50GiB` nor a share as `10%`"),
        help: Some(help),
        offset: 0,
    })
}

fn fault(message: String) -> RenderFault {
    RenderFault { message, help: None, offset: 0 }
}

#[cfg(test)]
mod tests {
    use super::{Amount, RenderedProbe, resolve};
    use crate::plan::model::{Probe, Resource};
    use crate::plan::template::{Scope, Template, Tree};
    use serde_json::{Value, json};

    struct Nothing;

    impl Scope for Nothing {
        fn get(&self, _: &[String]) -> Option<Value> {
            None
        }
    }

    fn disk(free_above: Value) -> Probe {
        Probe::Disk { path: Template::literal("/mnt"), free_above: Tree::Value(free_above) }
    }

    #[test]
    fn a_limit_of_space_is_a_size_or_a_share() {
        let limit = |value| match resolve(&disk(value), &Nothing) {
            Ok(RenderedProbe::Disk { free_above, .. }) => free_above,
            other => panic!("{other:?}"),
        };
        assert_eq!(limit(json!("50GiB")), Amount::Bytes(50 << 30));
        assert_eq!(limit(json!("10%")), Amount::Percent(10.0));
    }

    /// `params.limit` and nothing else.
    struct Limit(Value);

    impl Scope for Limit {
        fn get(&self, path: &[String]) -> Option<Value> {
            (path == ["params", "limit"]).then(|| self.0.clone())
        }
    }

    #[test]
    fn limits_come_from_params_of_any_fitting_type() {
        let template = || Tree::Text(Template::parse("{{params.limit}}").expect("a template"));
        let load = || Probe::Load { minutes: 1, per_cpu: false, below: template() };
        for value in [json!(3), json!(3.0), json!("3")] {
            let rendered = resolve(&load(), &Limit(value)).expect("a number");
            assert_eq!(rendered, RenderedProbe::Load { minutes: 1, per_cpu: false, below: 3.0 });
        }
        let room = Probe::MemoryAvailable { above: template() };
        let rendered = resolve(&room, &Limit(json!("512MiB"))).expect("a size");
        assert_eq!(rendered, RenderedProbe::MemoryAvailable { above: Amount::Bytes(512 << 20) });
        assert!(resolve(&load(), &Nothing).is_err(), "a missing name is a fault, not a limit");
    }

    #[test]
    fn a_limit_that_is_none_is_named_with_its_key() {
        for bad in [json!("fifty"), json!(50), json!(null), json!("")] {
            let fault = resolve(&disk(bad), &Nothing).expect_err("no limit");
            assert!(fault.message.starts_with("`free_above` is "), "{}", fault.message);
        }
        for bad in [json!("many"), json!(-1), json!(["2"])] {
            let probe = Probe::Pressure { resource: Resource::Io, below: Tree::Value(bad) };
            let fault = resolve(&probe, &Nothing).expect_err("no number");
            assert!(fault.message.starts_with("`below` is "), "{}", fault.message);
        }
    }

    #[test]
    fn a_number_in_a_text_is_a_number() {
        let probe = Probe::Load { minutes: 1, per_cpu: false, below: Tree::Value(json!("2.5")) };
        let rendered = resolve(&probe, &Nothing).expect("a number");
        assert_eq!(rendered, RenderedProbe::Load { minutes: 1, per_cpu: false, below: 2.5 });
    }

    #[test]
    fn an_unknown_zone_and_a_bad_time_are_named() {
        let window = |from: &str, zone: &str| Probe::Window {
            from: from.to_owned(),
            to: "06:00".to_owned(),
            zone: Some(zone.to_owned()),
        };
        let fault = resolve(&window("22:00", "Mars/Olympus"), &Nothing).expect_err("no such zone");
        assert!(fault.message.contains("`Mars/Olympus`"), "{}", fault.message);
        let fault = resolve(&window("25:00", "UTC"), &Nothing).expect_err("no such time");
        assert!(fault.message.contains("`25:00`"), "{}", fault.message);
    }

    #[test]
    fn texts_are_replaced_where_they_go_to_the_world() {
        let probe =
            RenderedProbe::Run { script: "S".to_owned(), dir: None, env: vec![("K".to_owned(), "S".to_owned())] };
        let replaced = probe.map_texts(|text| Ok::<_, ()>(text.replace('S', "secret"))).expect("no error");
        let expected = vec![("K".to_owned(), "secret".to_owned())];
        assert_eq!(replaced, RenderedProbe::Run { script: "secret".to_owned(), dir: None, env: expected });
    }
}
