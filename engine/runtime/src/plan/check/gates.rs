//! Gates, and the probes that they share with `ready`.
//! Unaware of how anything is measured.

use super::build::{Builder, Role, Site};
use super::policy::duration;
use crate::plan::codes;
use crate::plan::diagnostic::{Diagnostic, listed};
use crate::plan::keys::PROBES;
use crate::plan::model::{ContextId, Gate, Probe, Ready, Resource};
use crate::plan::node::{Key, Node};
use crate::plan::source::Span;
use crate::plan::template::{Template, Tree};
use flowrun_core::plan::{GateId, Otherwise};

const SECOND: u64 = 1000;

impl Builder<'_> {
    pub(super) fn read_gates(&mut self, context: ContextId, node: Option<&Node>) {
        for (key, node) in node.and_then(Node::map).unwrap_or(&[]) {
            let entries = node.map().unwrap_or(&[]);
            let before = self.uses.len();
            let Some(probe) = self.one_probe(key, entries, Site::of(context, Role::Gate)) else {
                if let Some(names) = self.names.get_mut(context.index()) {
                    names.broken_gates.insert(key.text.clone());
                }
                continue;
            };
            let uses = self.uses.split_off(before);
            let is_load = matches!(probe, Probe::Load { .. });
            let time = |name: &str| node.get(name).and_then(duration);
            let id = GateId(u32::try_from(self.gates.len()).unwrap_or(u32::MAX));
            let place = self.sources.place(key.span);
            self.gates.push(Gate {
                name: key.text.clone(),
                context,
                probe,
                settle_ms: time("settle").unwrap_or(if is_load { 15 * SECOND } else { 0 }),
                hold_ms: time("hold").unwrap_or(0),
                every_ms: time("every").unwrap_or(5 * SECOND).max(100),
                max_wait_ms: time("max_wait"),
                otherwise: match node.get("else").and_then(Node::text) {
                    Some("run") => Otherwise::Run,
                    Some("skip") => Otherwise::Skip,
                    _ => Otherwise::Fail,
                },
                place,
            });
            // Names that are no steps are looked up once, here; steps are looked up for each step that names the gate.
            let (steps, rest): (Vec<_>, Vec<_>) =
                uses.into_iter().partition(|one| one.reference.path.first().is_some_and(|root| root == "steps"));
            self.uses.extend(rest);
            self.gate_uses.push(steps);
            if let Some(names) = self.names.get_mut(context.index()) {
                names.gates.insert(key.text.clone(), id);
            }
        }
    }

    fn one_probe(&mut self, key: &Key, entries: &[(Key, Node)], site: Site) -> Option<Probe> {
        let mut kinds = entries.iter().filter(|(kind, _)| PROBES.contains(&kind.text.as_str()));
        match (kinds.next(), kinds.next()) {
            (Some((kind, node)), None) => self.probe(&kind.text, node, site),
            (None, _) => {
                let unknown = entries
                    .iter()
                    .any(|(kind, _)| crate::plan::keys::GATE.get(&kind.text).is_none() || kind.text == "mysql");
                if !unknown && !entries.is_empty() {
                    let message = format!("the gate `{}` says no condition", key.text);
                    let help = format!("give one of {}", listed(PROBES.iter().copied(), 20));
                    self.fault(
                        Diagnostic::error(codes::MISSING_KEY, key.span, message).label("waits for what?").help(help),
                    );
                }
                None
            }
            (Some((first, _)), Some((second, _))) => {
                let message = format!("the gate `{}` has two conditions", key.text);
                let fault = Diagnostic::error(codes::MISPLACED_KEY, second.span, message)
                    .label("a second condition")
                    .also(first.span, "the first");
                self.fault(fault.help("make two gates; a step may name both"));
                None
            }
        }
    }

    fn probe(&mut self, kind: &str, node: &Node, site: Site) -> Option<Probe> {
        Some(match kind {
            "load" => {
                let minutes = node.get("minutes").map_or(Some(1), |node| self.minutes(node))?;
                let per_cpu = node.get("per_cpu").is_some_and(|node| node.json() == true);
                Probe::Load { minutes, per_cpu, below: self.amount(node.get("below"), site)? }
            }
            "cpu" => Probe::Pressure { resource: Resource::Cpu, below: self.amount(node.get("below"), site)? },
            "io" => Probe::Pressure { resource: Resource::Io, below: self.amount(node.get("below"), site)? },
            "memory" => self.memory(node, site)?,
            "disk" => Probe::Disk {
                path: node.get("path").map(|node| self.text(node, site))?,
                free_above: node.get("free_above").map(|node| self.written(node, site))?,
            },
            "window" => self.window(node)?,
            "tcp" => Probe::Tcp { address: self.address(node, site) },
            "http" => Probe::Http { url: self.url(node, site) },
            "file" => Probe::File { path: self.text(node, site) },
            "run" => Probe::Run { script: self.text(node, site.as_role(Role::Script)) },
            _ => return None,
        })
    }

    fn amount(&mut self, node: Option<&Node>, site: Site) -> Option<Tree> {
        node.map(|node| self.any(node, site))
    }

    fn minutes(&mut self, node: &Node) -> Option<u8> {
        let minutes = node
            .json()
            .as_u64()
            .and_then(|minutes| u8::try_from(minutes).ok())
            .filter(|minutes| [1, 5, 15].contains(minutes));
        if minutes.is_none() && node.json().is_number() {
            self.fault(
                Diagnostic::error(
                    codes::OUT_OF_RANGE,
                    node.span,
                    "the kernel keeps no load average of so many minutes",
                )
                .label("out of its range")
                .help("write 1, 5 or 15"),
            );
        }
        minutes
    }

    fn memory(&mut self, node: &Node, site: Site) -> Option<Probe> {
        match (node.entry("below"), node.entry("available_above")) {
            (Some((_, below)), None) => {
                Some(Probe::Pressure { resource: Resource::Memory, below: self.any(below, site) })
            }
            (None, Some((_, above))) => Some(Probe::MemoryAvailable { above: self.written(above, site) }),
            (Some((key, _)), Some((other, _))) => {
                let fault = Diagnostic::error(codes::MISPLACED_KEY, other.span, "the gate `memory` takes one limit")
                    .label("a second limit")
                    .also(key.span, "the first");
                self.fault(fault.help("make two gates; a step may name both"));
                None
            }
            (None, None) => {
                let map = node.map()?;
                let span = map.first().map_or(node.span, |(key, _)| key.span);
                self.fault(
                    Diagnostic::error(codes::MISSING_KEY, span, "the gate `memory` needs a limit")
                        .label("no limit here")
                        .help("give `below` (pressure in percent) or `available_above` (a size or a percentage)"),
                );
                None
            }
        }
    }

    fn window(&mut self, node: &Node) -> Option<Probe> {
        let from = node.get("from").map(|node| self.time_of_day(node));
        let to = node.get("to").map(|node| self.time_of_day(node));
        let zone = node.get("zone").and_then(|node| Some((node, node.text()?.to_owned())));
        if let Some((node, zone)) = &zone
            && jiff::tz::TimeZone::get(zone).is_err()
        {
            let fault = Diagnostic::error(codes::BAD_VALUE, node.span, format!("no time zone is called `{zone}`"));
            self.fault(
                fault.label("unknown zone").help("write a name such as `Europe/Vienna`, `Asia/Kolkata` or `UTC`"),
            );
        }
        Some(Probe::Window { from: from??, to: to??, zone: zone.map(|(_, zone)| zone) })
    }

    fn time_of_day(&mut self, node: &Node) -> Option<String> {
        let text = node.text()?;
        let parts = text.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2);
        let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u8>().ok()).flatten();
        let good = parts.and_then(|(h, m)| Some(number(h)? < 24 && number(m)? < 60)).unwrap_or(false);
        if !good {
            let fault = Diagnostic::error(codes::BAD_VALUE, node.span, format!("`{text}` is not a time of day"));
            self.fault(fault.label("not `HH:MM`").help("write hours and minutes such as `\"22:00\"`"));
        }
        good.then(|| text.to_owned())
    }

    fn address(&mut self, node: &Node, site: Site) -> Template {
        if let Some(text) = node.text().filter(|text| !text.contains("{{")) {
            let port = text
                .rsplit_once(':')
                .filter(|(host, _)| !host.is_empty())
                .and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() {
                self.bad(
                    node,
                    format!("`{text}` is not a host with a port"),
                    "write `host:port`, such as `localhost:3306`",
                );
            }
        }
        self.text(node, site)
    }

    fn url(&mut self, node: &Node, site: Site) -> Template {
        if let Some(text) = node.text().filter(|text| !text.starts_with("{{")) {
            if text.starts_with("https://") {
                self.bad(
                    node,
                    format!("`{text}` needs TLS, which this gate does not have yet"),
                    "use `http://`, or `run` with curl",
                );
            } else if !text.starts_with("http://") {
                self.bad(node, format!("`{text}` is not an address"), "write `http://host:port/path`");
            }
        }
        self.text(node, site)
    }

    fn bad(&mut self, node: &Node, message: String, help: &str) {
        self.fault(Diagnostic::error(codes::BAD_VALUE, node.span, message).label("cannot be used").help(help));
    }

    /// `ready:` with at most one probe.
    pub(super) fn ready(&mut self, span: Span, node: &Node, site: Site) -> Ready {
        let within_ms = node.get("within").and_then(duration).unwrap_or(60 * SECOND);
        let entries = node.map().unwrap_or(&[]);
        let kinds: Vec<_> = entries.iter().filter(|(key, _)| PROBES.contains(&key.text.as_str())).collect();
        if let [first, second, ..] = kinds.as_slice() {
            let fault = Diagnostic::error(codes::MISPLACED_KEY, second.0.span, "`ready` takes one condition")
                .label("a second condition");
            self.fault(fault.also(first.0.span, "the first").help("put both into one `run`"));
        } else if kinds.is_empty() && node.map().is_some() {
            let fault = Diagnostic::error(codes::MISSING_KEY, span, "`ready` says no condition").label("ready when?");
            self.fault(fault.help("give one of `tcp`, `http`, `file` and `run`, or leave `ready` out"));
        }
        let probe = kinds.first().and_then(|(kind, node)| self.probe(&kind.text, node, site));
        Ready { probe, within_ms }
    }
}
