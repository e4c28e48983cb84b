//! Bad plans, each with everything that is said of it. `FLOWRUN_BLESS=1` writes what is said now.

use crate::types::{corpus_dir, registry, rendered};
use flowrun_engine::plan::{Severity, codes, load_text};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The plans of the corpus; those that plans call stand in folders of their own.
pub fn plans() -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus_dir()).expect("the corpus can be read");
    let mut plans: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    plans.sort();
    plans
}

fn check(path: &Path) -> (flowrun_engine::plan::Loaded, String) {
    let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap_or_default();
    let loaded = load_text(&name, path, &text, &registry());
    let said = rendered(&loaded);
    (loaded, said)
}

#[test]
fn every_bad_plan_is_answered_as_written_beside_it() {
    let bless = std::env::var_os("FLOWRUN_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in plans() {
        let (_, said) = check(&path);
        let expected = path.with_extension("txt");
        if bless {
            fs::write(&expected, &said).expect("the corpus can be written");
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}\n{said}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "other answers than written beside the plans:\n{}", wrong.join("\n"));
}

#[test]
fn every_fault_has_a_place_a_label_and_a_help() {
    for path in plans() {
        let (loaded, _) = check(&path);
        assert!(!loaded.diagnostics.is_empty(), "{} has no fault", path.display());
        for fault in &loaded.diagnostics {
            assert!(fault.help.is_some(), "{}: {} has no help", path.display(), fault.message);
            assert!(
                !fault.label.is_empty() || fault.code == codes::UNREADABLE,
                "{}: {} has no label",
                path.display(),
                fault.message
            );
            let json = fault.to_json(&loaded.sources);
            assert!(json["line"].as_u64() > Some(0) && json["column"].as_u64() > Some(0), "{json}");
            for text in [&fault.message, &fault.label].into_iter().chain(&fault.help) {
                assert!(!text.ends_with('.'), "{text:?} ends with a stop");
                assert!(
                    !text.contains("DuplicateKeyPolicy") && !text.contains(" at line "),
                    "{text:?} speaks for the parser"
                );
            }
        }
    }
}

#[test]
fn every_plan_with_an_error_is_refused() {
    for path in plans() {
        let (loaded, _) = check(&path);
        let error = loaded.diagnostics.iter().any(|fault| fault.severity == Severity::Error);
        assert_eq!(loaded.plan.is_none(), error, "{}", path.display());
    }
}

#[test]
fn every_code_has_a_bad_plan_and_a_page_with_its_title() {
    let mut seen: BTreeMap<&str, BTreeSet<PathBuf>> = BTreeMap::new();
    for path in plans() {
        for fault in check(&path).0.diagnostics {
            seen.entry(fault.code).or_default().insert(path.clone());
        }
    }
    let pages = corpus_dir().join("../../docs/errors");
    for (code, title) in codes::ALL {
        assert!(seen.contains_key(code), "no plan in tests/corpus provokes {code} ({title})");
        let page = fs::read_to_string(pages.join(format!("{code}.md"))).unwrap_or_default();
        assert!(
            page.starts_with(&format!("# {code}: {title}\n")),
            "docs/errors/{code}.md has no title `# {code}: {title}`"
        );
        assert!(page.contains("```yaml"), "docs/errors/{code}.md shows no example");
    }
}

#[test]
fn there_are_at_least_forty_bad_plans() {
    assert!(plans().len() >= 40);
}
