//! The plans in `examples/` do what the console beside each says. FLOWRUN_BLESS=1 renews the consoles.

#[path = "console/mod.rs"]
mod console;
mod support;

use std::path::{Path, PathBuf};
use support::Place;

#[test]
fn every_example_gives_the_console_beside_it() {
    let mut plans: Vec<PathBuf> = std::fs::read_dir(root().join("examples"))
        .expect("examples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    plans.sort();
    assert!(!plans.is_empty(), "there are examples");
    let faults: Vec<String> = plans.iter().filter_map(|plan| fault(plan)).collect();
    assert!(faults.is_empty(), "{}\nFLOWRUN_BLESS=1 renews the consoles", faults.join("\n"));
}

/// What is wrong with an example.
fn fault(plan: &Path) -> Option<String> {
    let name = format!("examples/{}", plan.file_name()?.to_str()?);
    let place = Place::new();
    let mut args = vec!["run".to_owned(), name.clone()];
    if name == "examples/service.yaml" {
        // The port that it names may be taken here.
        args.extend(["--set".to_owned(), format!("port={}", free_port())]);
    }
    let mut command = place.command(args);
    command.current_dir(root());
    let answer = support::Live::start(command, place.path()).wait();
    let real = format!("$ flowrun {name}\n{}{}", answer.err, answer.out)
        .replace(&place.state().display().to_string(), "/var/lib/flowrun");
    if answer.code != 0 {
        return Some(format!("{name} ends with {}:\n{real}", answer.code));
    }
    let beside = plan.with_extension("console");
    let written = std::fs::read_to_string(&beside).unwrap_or_default();
    if console::same(&written, &real) {
        return None;
    }
    if console::bless() {
        std::fs::write(&beside, &real).expect("written");
        return None;
    }
    Some(format!("{name} gives another console than {}:\n{real}", beside.display()))
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}
