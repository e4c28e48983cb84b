//! The generated pages about the command line say what the program says. FLOWRUN_BLESS=1 renews them.

mod support;

use std::path::{Path, PathBuf};
use support::Place;

#[test]
fn the_page_of_commands_is_what_help_says() {
    let place = Place::new();
    let help = place.ok(0, ["--help"]);
    let mut page = String::from(
        "# The command line\n\n<!-- Generated from `--help` by a test: run it with FLOWRUN_BLESS=1 to renew this page. -->\n",
    );
    let commands = commands(&help);
    assert!(commands.len() > 10, "the help lists commands:\n{help}");
    page.push_str(&format!("\n```text\n{help}```\n"));
    for command in commands {
        let help = place.ok(0, [command.as_str(), "--help"]);
        page.push_str(&format!("\n## flowrun {command}\n\n```text\n{help}```\n"));
    }
    same("docs/cli.md", &page);
}

#[test]
fn the_schema_for_editors_is_what_the_program_prints() {
    same("docs/plan.schema.json", &Place::new().ok(0, ["schema"]));
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|command| command != "help")
        .collect()
}

fn same(name: &str, real: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    if std::env::var_os("FLOWRUN_BLESS").is_some() {
        std::fs::write(&path, real).expect("written");
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == real, "{name} is out of date: run this test with FLOWRUN_BLESS=1");
}
