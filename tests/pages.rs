//! The consoles in README.md and the tutorial are real: each is run, in order, in a folder of the page's own.
//! FLOWRUN_BLESS=1 renews them. A fenced block after `<!-- file: NAME -->` becomes that file; a `console` block is
//! run unless `<!-- not run here: REASON -->` stands above it.

#[path = "console/mod.rs"]
mod console;
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::Place;

#[test]
fn the_consoles_of_the_readme_are_real() {
    page("README.md");
}

#[test]
fn the_consoles_of_the_tutorial_are_real() {
    page("docs/tutorial.md");
}

#[test]
fn a_page_links_to_what_is_there() {
    let link = regex::Regex::new(r"\]\(([^)#:]+)(#[^)]*)?\)").expect("a pattern");
    let mut dead = Vec::new();
    for name in pages() {
        let path = root().join(&name);
        let text = std::fs::read_to_string(&path).expect("a page");
        for found in link.captures_iter(&text) {
            if !path.parent().expect("a folder").join(&found[1]).exists() {
                dead.push(format!("{name}: {}", &found[1]));
            }
        }
    }
    assert!(dead.is_empty(), "links to nothing:\n{}", dead.join("\n"));
}

/// Runs the consoles of a page and compares.
fn page(name: &str) {
    let path = root().join(name);
    let text = std::fs::read_to_string(&path).expect("the page");
    let place = Place::new();
    copy(&root().join("examples"), &place.path().join("examples"));
    let (mut renewed, mut faults) = (String::new(), Vec::new());
    for part in parts(&text) {
        match part {
            Part::Text(text) => renewed.push_str(text),
            Part::File(name, text) => {
                std::fs::write(place.path().join(name), text).expect("a file of the page");
                renewed.push_str(text);
            }
            Part::Console(text) => {
                let real = replay(&place, text);
                if console::same(text, &real) {
                    renewed.push_str(text);
                } else {
                    faults.push(format!("-- written:\n{text}-- real:\n{real}"));
                    renewed.push_str(&real);
                }
            }
        }
    }
    if console::bless() {
        std::fs::write(&path, renewed).expect("written");
        return;
    }
    assert!(faults.is_empty(), "{name}: FLOWRUN_BLESS=1 renews it\n{}", faults.join("\n"));
}

/// A part of a page.
enum Part<'a> {
    /// Words, fences and what is not run.
    Text(&'a str),
    /// A file's name and its text.
    File(&'a str, &'a str),
    /// Commands and what they print.
    Console(&'a str),
}

/// What the next fenced block is.
enum Next<'a> {
    Usual,
    File(&'a str),
    Left,
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut next = Next::Usual;
    let mut rest = text;
    while let Some(line) = rest.split_inclusive('\n').next() {
        parts.push(Part::Text(line));
        rest = &rest[line.len()..];
        if let Some(name) = line.trim().strip_prefix("<!-- file: ").and_then(|name| name.strip_suffix(" -->")) {
            next = Next::File(name);
        } else if line.starts_with("<!-- not run here: ") {
            next = Next::Left;
        } else if line.starts_with("```") {
            let body = &rest[..rest.find("```\n").expect("a fence has an end")];
            rest = &rest[body.len()..];
            parts.push(match std::mem::replace(&mut next, Next::Usual) {
                Next::File(name) => Part::File(name, body),
                Next::Usual if line.trim() == "```console" => Part::Console(body),
                Next::Usual | Next::Left => Part::Text(body),
            });
            let end = "```\n";
            parts.push(Part::Text(&rest[..end.len()]));
            rest = &rest[end.len()..];
        }
    }
    parts
}

/// Runs the commands of a console; gives the commands and what they printed.
fn replay(place: &Place, written: &str) -> String {
    let mut real = String::new();
    for command in written.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let output = bash(place, command);
        real.push_str(&format!("$ {command}\n{output}"));
    }
    real
}

fn bash(place: &Place, command: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_flowrun")).parent().expect("a folder");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let file = place.path().join(".console");
    let out = std::fs::File::create(&file).expect("a file for output");
    let mut child = Command::new("timeout")
        .args(["100", "bash", "-c", &format!("exec 2>&1; {command}")])
        .current_dir(place.path())
        .env("PATH", path)
        .env("FLOWRUN_STATE_DIR", place.state())
        .env("TZ", "UTC")
        .env("LANG", "C.UTF-8")
        .env_remove("XDG_RUNTIME_DIR")
        .stdin(Stdio::null())
        .stdout(out)
        .spawn()
        .expect("bash starts");
    let status = child.wait().expect("it ends");
    assert_ne!(status.code(), Some(124), "`{command}` does not end");
    let text = std::fs::read_to_string(&file).expect("its output");
    let text = text.replace(&place.state().display().to_string(), "/var/lib/flowrun");
    // What the shell itself says when it kills a job.
    text.lines().filter(|line| !line.contains("Killed")).map(|line| format!("{line}\n")).collect()
}

fn pages() -> Vec<String> {
    let mut all: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned).to_vec();
    for folder in ["docs", "docs/errors"] {
        for entry in std::fs::read_dir(root().join(folder)).expect("a folder") {
            let name = entry.expect("an entry").file_name().into_string().expect("plain");
            if name.ends_with(".md") {
                all.push(format!("{folder}/{name}"));
            }
        }
    }
    all
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}
