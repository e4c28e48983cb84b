//! Arbitrary damage to plans: reading never panics, and says something sensible about whatever it meets.
//! `FLOWRUN_FUZZ_SECONDS` makes it as long as wanted.

use crate::corpus::plans;
use crate::types::{corpus_dir, read, rendered};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One way to damage a text.
#[derive(Debug, Clone)]
enum Damage {
    Flip(usize, u8),
    Remove(usize, usize),
    Insert(usize, String),
    Splice(usize, usize, usize, usize),
    Repeat(usize, usize, usize),
}

/// Pieces that mean something to YAML, to templates or to plans.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{{",
    "{{#if ",
    "{{/if}}",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    ":",
    ": ",
    "- ",
    "|",
    ">",
    "&a ",
    "*a",
    "<<: *a\n",
    "!x ",
    "#",
    "\t",
    "\n",
    "\r\n",
    "\\",
    "\u{0}",
    "\u{85}",
    "\u{feff}",
    "\u{f5ec}",
    "é",
    "日",
    "---\n",
    "? ",
    "null",
    "0644",
    "1_000",
    ".inf",
    "-",
    "%",
    "@",
    "`",
    "steps.",
    "params.",
    "item",
    "secrets.",
    "{{steps.a.b}}",
    "for_each: [1]\n",
    "needs: [a]\n",
    "  ",
    "    ",
    "9999999999999999999999",
    "5m",
    "50%",
    "(",
    "\\u12",
    "else",
    "default ",
];

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        (any::<usize>(), 1..60_usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<usize>(), prop::sample::select(PIECES)).prop_map(|(at, piece)| Damage::Insert(at, piece.to_owned())),
        (any::<usize>(), ".{0,8}").prop_map(|(at, text)| Damage::Insert(at, text)),
        (any::<usize>(), any::<usize>(), any::<usize>(), 1..400_usize)
            .prop_map(|(at, other, from, length)| Damage::Splice(at, other, from, length)),
        (any::<usize>(), 1..80_usize, 1..40_usize).prop_map(|(at, length, times)| Damage::Repeat(at, length, times)),
    ]
}

fn apply(text: &mut Vec<u8>, one: &Damage, seeds: &[String]) {
    let size = text.len() + 1;
    match one {
        Damage::Flip(at, byte) => {
            if let Some(old) = text.get_mut(at % size) {
                *old ^= byte;
            }
        }
        Damage::Remove(at, length) => {
            let at = at % size;
            text.drain(at..(at + length).min(size - 1));
        }
        Damage::Insert(at, piece) => {
            let at = at % size;
            text.splice(at..at, piece.bytes());
        }
        Damage::Splice(at, other, from, length) => {
            let seed = seeds[other % seeds.len()].as_bytes();
            let from = from % (seed.len() + 1);
            let piece = seed[from..(from + length).min(seed.len())].to_vec();
            let at = at % size;
            text.splice(at..at, piece);
        }
        Damage::Repeat(at, length, times) => {
            let at = at % size;
            let piece = text[at..(at + length).min(size - 1)].repeat(*times);
            text.splice(at..at, piece);
        }
    }
}

fn yaml_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            yaml_below(&path, found);
        } else if path.extension().is_some_and(|end| end == "yaml") {
            found.push(path);
        }
    }
}

/// The corpus, the plans and the examples of the repository.
fn seeds() -> Vec<String> {
    let root = corpus_dir().join("../..");
    let mut paths = plans();
    for dir in ["plans", "examples", "tests/corpus/lib"] {
        yaml_below(&root.join(dir), &mut paths);
    }
    let mut seeds: Vec<String> =
        paths.iter().filter_map(|path| fs::read_to_string(path).ok()).filter(|text| text.len() < 40_000).collect();
    seeds.push(crate::large::chain(5));
    seeds
}

#[test]
fn no_damage_makes_reading_panic() {
    let seconds = std::env::var("FLOWRUN_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let end = Instant::now() + Duration::from_secs(seconds);
    let seeds = seeds();
    let strategy = (0..seeds.len(), prop::collection::vec(damage(), 1..8));
    let done = std::cell::Cell::new(0_u64);
    // A slow machine takes longer: fewer plans would say nothing.
    let over = || Instant::now() > end && done.get() >= 60;
    while !over() {
        // A runner keeps count of its cases, so each round takes a new one, with a new seed.
        let config = Config { cases: 256, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new(config);
        let result = runner.run(&strategy, |(seed, damages)| {
            if over() {
                return Ok(());
            }
            let mut text = seeds[seed].clone().into_bytes();
            damages.iter().for_each(|one| apply(&mut text, one, &seeds));
            let text = String::from_utf8_lossy(&text);
            let loaded = read(&text);
            let said = rendered(&loaded);
            done.set(done.get() + 1);
            prop_assert!(loaded.plan.is_some() || !said.is_empty(), "refused without a word:\n{text}");
            Ok(())
        });
        if let Err(error) = result {
            panic!("{error}");
        }
    }
    eprintln!("{} damaged plans read", done.get());
}
