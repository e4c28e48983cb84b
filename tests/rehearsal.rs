//! The README's first command on real servers, with flowrun killed three times while dumps run.

use std::path::Path;
use std::process::Command;

#[test]
fn three_kills_during_dumps_lose_nothing_and_start_no_dump_twice() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(root.join("scripts/rehearsal-kills"))
        .env("FLOWRUN", env!("CARGO_BIN_EXE_flowrun"))
        .env("SCALE", "0.3")
        .output()
        .expect("bash is there");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("the same ones after the resume began: ").count(), 3, "{said}");
    assert!(said.contains("compared"), "{said}");
}
