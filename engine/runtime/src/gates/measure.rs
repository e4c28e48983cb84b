//! From a probe to a reading: the value now, the limit, and whether it holds.
//! Unaware of who asks.

use super::world::{Machine, Memory, Space, World};
use super::{Amount, Reading, RenderedProbe, http, run, stuck, window};
use crate::plan::model::Resource;
use std::sync::{Arc, OnceLock};

/// Measures on this machine.
pub async fn measure(probe: &RenderedProbe) -> Reading {
    static HERE: OnceLock<Arc<dyn World>> = OnceLock::new();
    measure_in(HERE.get_or_init(|| Arc::new(Machine)), probe).await
}

/// Measures in a world.
pub async fn measure_in(world: &Arc<dyn World>, probe: &RenderedProbe) -> Reading {
    match probe {
        RenderedProbe::Load { minutes, per_cpu, below } => load(world.as_ref(), *minutes, *per_cpu, *below),
        RenderedProbe::Pressure { resource, below } => pressure(world.as_ref(), *resource, *below),
        RenderedProbe::MemoryAvailable { above } => memory(world.as_ref(), *above),
        RenderedProbe::Disk { path, free_above } => {
            let there = Arc::clone(world);
            let space = stuck::ask(path, move |path| there.space(path)).await;
            disk(&path.display().to_string(), space, *free_above)
        }
        RenderedProbe::Window { from, to, zone } => match zone {
            Some(zone) => window::measure(*from, *to, zone, true, world.now()),
            None => window::measure(*from, *to, &world.zone(), false, world.now()),
        },
        RenderedProbe::Tcp { address } => match http::connect(address).await {
            Ok(_) => met(format!("tcp {address} answers")),
            Err(error) => missed(format!("tcp {address}: {error}")),
        },
        RenderedProbe::Http { url } => match http::status(url).await {
            Ok(status) => {
                let holds = (200..300).contains(&status);
                let needs = if holds { "" } else { ", needs 2xx" };
                Reading { holds, text: format!("{url} answers {status}{needs}") }
            }
            Err(error) => missed(format!("{url}: {error}")),
        },
        RenderedProbe::File { path } => {
            let there = Arc::clone(world);
            let name = path.display();
            match stuck::ask(path, move |path| there.exists(path)).await {
                Ok(true) => met(format!("file {name} exists")),
                Ok(false) => missed(format!("file {name} does not exist")),
                Err(error) => missed(format!("file {name} cannot be looked at: {error}")),
            }
        }
        RenderedProbe::Run { script, dir, env } => match run::test(script, dir.as_deref(), env).await {
            Ok(verdict) if verdict.holds => met(format!("test {}", verdict.text)),
            Ok(verdict) => missed(format!("test {}, needs 0", verdict.text)),
            Err(error) => missed(format!("test: {error}")),
        },
    }
}

fn met(text: String) -> Reading {
    Reading { holds: true, text }
}

fn missed(text: String) -> Reading {
    Reading { holds: false, text }
}

fn load(world: &dyn World, minutes: u8, per_cpu: bool, below: f64) -> Reading {
    let [one, five, fifteen] = match world.load() {
        Ok(load) => load,
        Err(error) => return missed(format!("load cannot be read: {error}")),
    };
    let (load, span) = match minutes {
        5 => (five, " (5 min)"),
        15 => (fifteen, " (15 min)"),
        _ => (one, ""),
    };
    let (load, of) = if per_cpu { (load / f64::from(world.cpus().max(1)), " per cpu") } else { (load, "") };
    Reading { holds: load < below, text: format!("load{of}{span} {load:.2}, needs < {below}") }
}

fn pressure(world: &dyn World, resource: Resource, below: f64) -> Reading {
    let name = match resource {
        Resource::Cpu => "cpu",
        Resource::Memory => "memory",
        Resource::Io => "io",
    };
    match world.pressure(resource) {
        Ok(value) => Reading { holds: value < below, text: format!("{name} pressure {value:.1}%, needs < {below}%") },
        Err(error) => missed(format!("{name} pressure cannot be read: {error}")),
    }
}

fn memory(world: &dyn World, above: Amount) -> Reading {
    match world.memory() {
        Ok(Memory { available, total }) => space_reading("memory available", available, total, above),
        Err(error) => missed(format!("memory cannot be read: {error}")),
    }
}

fn disk(path: &str, space: Result<Space, String>, above: Amount) -> Reading {
    match space {
        Ok(Space { free, total }) => space_reading(&format!("free on {path}"), free, total, above),
        Err(error) => missed(format!("free space on {path} cannot be read: {error}")),
    }
}

fn space_reading(what: &str, value: u64, total: u64, above: Amount) -> Reading {
    match above {
        Amount::Bytes(limit) => {
            Reading { holds: value > limit, text: format!("{what} {}, needs > {}", size(value), size(limit)) }
        }
        Amount::Percent(limit) => {
            #[expect(clippy::cast_precision_loss, reason = "a share is shown with one digit")]
            let share = if total == 0 { 0.0 } else { value as f64 * 100.0 / total as f64 };
            Reading { holds: share > limit, text: format!("{what} {share:.1}%, needs > {limit}%") }
        }
    }
}

/// `40.1GiB`, `50GiB`, `512B`
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| bytes >= *unit) else { return format!("{bytes}B") };
    let (whole, tenths) = (bytes / unit, bytes % unit * 10 / unit);
    if tenths == 0 { format!("{whole}{name}") } else { format!("{whole}.{tenths}{name}") }
}

#[cfg(test)]
mod tests {
    use super::{measure_in, size};
    use crate::gates::{Amount, Memory, Reading, RenderedProbe, Space, World};
    use crate::plan::model::Resource;
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use std::path::Path;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A machine as a test says it is.
    struct Fake {
        works: bool,
    }

    impl Fake {
        fn tell<T>(&self, value: T) -> Result<T, String> {
            if self.works { Ok(value) } else { Err("it is broken".to_owned()) }
        }
    }

    impl World for Fake {
        fn load(&self) -> Result<[f64; 3], String> {
            self.tell([5.314, 4.0, 3.0])
        }
        fn cpus(&self) -> u32 {
            4
        }
        fn pressure(&self, _: Resource) -> Result<f64, String> {
            self.tell(12.54)
        }
        fn memory(&self) -> Result<Memory, String> {
            self.tell(Memory { available: 3 << 30, total: 32 << 30 })
        }
        fn space(&self, _: &Path) -> Result<Space, String> {
            self.tell(Space { free: 40 << 30, total: 100 << 30 })
        }
        fn exists(&self, path: &Path) -> Result<bool, String> {
            self.tell(path == Path::new("/there"))
        }
        fn now(&self) -> Timestamp {
            "2026-03-02T18:50:00Z".parse().expect("an instant")
        }
        fn zone(&self) -> TimeZone {
            TimeZone::UTC
        }
    }

    async fn read(works: bool, probe: RenderedProbe) -> Reading {
        let world: Arc<dyn World> = Arc::new(Fake { works });
        measure_in(&world, &probe).await
    }

    #[tokio::test]
    async fn a_reading_says_the_value_and_the_limit() {
        let disk = |free_above| RenderedProbe::Disk { path: "/mnt".into(), free_above };
        let load = |minutes, per_cpu, below| RenderedProbe::Load { minutes, per_cpu, below };
        let pressure = |below| RenderedProbe::Pressure { resource: Resource::Io, below };
        for (probe, holds, text) in [
            (load(1, false, 2.0), false, "load 5.31, needs < 2"),
            (load(1, false, 5.5), true, "load 5.31, needs < 5.5"),
            (load(5, false, 4.0), false, "load (5 min) 4.00, needs < 4"),
            (load(15, true, 0.8), true, "load per cpu (15 min) 0.75, needs < 0.8"),
            (pressure(10.0), false, "io pressure 12.5%, needs < 10%"),
            (pressure(20.0), true, "io pressure 12.5%, needs < 20%"),
            (disk(Amount::Bytes(50 << 30)), false, "free on /mnt 40GiB, needs > 50GiB"),
            (disk(Amount::Percent(39.0)), true, "free on /mnt 40.0%, needs > 39%"),
            (
                RenderedProbe::MemoryAvailable { above: Amount::Percent(10.0) },
                false,
                "memory available 9.4%, needs > 10%",
            ),
            (RenderedProbe::File { path: "/there".into() }, true, "file /there exists"),
            (RenderedProbe::File { path: "/not".into() }, false, "file /not does not exist"),
        ] {
            assert_eq!(read(true, probe).await, Reading { holds, text: text.to_owned() });
        }
    }

    #[tokio::test]
    async fn a_probe_that_cannot_measure_does_not_hold_and_says_why() {
        let paths = "/broken";
        for probe in [
            RenderedProbe::Load { minutes: 1, per_cpu: false, below: 100.0 },
            RenderedProbe::Pressure { resource: Resource::Cpu, below: 100.0 },
            RenderedProbe::MemoryAvailable { above: Amount::Bytes(0) },
            RenderedProbe::Disk { path: paths.into(), free_above: Amount::Bytes(0) },
            RenderedProbe::File { path: paths.into() },
        ] {
            let reading = read(false, probe).await;
            assert!(!reading.holds, "{}", reading.text);
            assert!(reading.text.ends_with("it is broken"), "{}", reading.text);
        }
    }

    #[tokio::test]
    async fn a_port_answers_or_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let probe = RenderedProbe::Tcp { address: address.clone() };
        assert_eq!(read(true, probe.clone()).await.text, format!("tcp {address} answers"));
        drop(listener);
        let reading = read(true, probe).await;
        assert_eq!(reading, Reading { holds: false, text: format!("tcp {address}: connection refused") });
    }

    #[tokio::test]
    async fn a_server_must_answer_with_2xx() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/health", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async move {
            for status in ["204 No Content", "503 Busy", "nonsense"] {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let mut request = [0_u8; 1024];
                let count = stream.read(&mut request).await.expect("a request");
                assert!(request[..count].starts_with(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:"));
                stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.expect("sent");
            }
        });
        let probe = RenderedProbe::Http { url: url.clone() };
        for (holds, text) in
            [(true, " answers 204"), (false, " answers 503, needs 2xx"), (false, ": the answer is not HTTP")]
        {
            assert_eq!(read(true, probe.clone()).await, Reading { holds, text: format!("{url}{text}") });
        }
        server.await.expect("the server saw what it should");
    }

    #[tokio::test]
    async fn a_shell_test_says_how_it_ended() {
        let probe = |script: &str| RenderedProbe::Run { script: script.to_owned(), dir: None, env: Vec::new() };
        assert_eq!(read(true, probe("true")).await, Reading { holds: true, text: "test exits 0".to_owned() });
        assert_eq!(read(true, probe("exit 2")).await.text, "test exits 2, needs 0");
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [(0, "0B"), (1023, "1023B"), (1536, "1.5KiB"), (50 << 30, "50GiB"), (3 << 40, "3TiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
