//! The step catalogue is what the registry says.

use flowrun_steps::{catalogue, registry};
use std::path::Path;

#[test]
fn the_page_is_the_registry_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/steps.md");
    let page = catalogue::markdown(&registry());
    if std::env::var_os("FLOWRUN_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/steps.md is out of date: run this test with FLOWRUN_BLESS=1");
}

#[test]
fn every_type_is_listed_and_told() {
    let list = catalogue::text(&registry(), None).unwrap();
    for step in registry().iter() {
        let name = step.info().name;
        assert!(list.contains(name));
        assert!(catalogue::text(&registry(), Some(name)).unwrap().contains("after a crash"));
    }
    assert_eq!(catalogue::text(&registry(), Some("no.such")), None);
}
