//! Secrets: in no file under the state directory and in no process's arguments, however a step prints them.

use super::support::{Place, until};
use std::path::Path;

const SECRET: &str = "s3cr\"t &/passw0rd";
/// As base64, percent-encoded for a URL, and escaped for JSON.
const FORMS: [&str; 4] = [SECRET, "czNjciJ0ICYvcGFzc3cwcmQ=", "s3cr%22t%20%26%2Fpassw0rd", "s3cr\\\"t &/passw0rd"];

const PLAN: &str = r#"
name: secrets
secrets:
  password: { env: FLOWRUN_TEST_SECRET }
steps:
  file:
    uses: file.template
    with: { path: "{{run.private}}/cnf", mode: "0600", text: "password={{secrets.password}}\n" }
  prints:
    needs: [file]
    env: { PASSWORD: "{{secrets.password}}", CNF: "{{steps.file.path}}" }
    outputs: { text: { from: stdout, as: text } }
    run: |
      grep -qF "$PASSWORD" "$CNF"
      echo "whole $PASSWORD"
      printf 's3cr"t &'; sleep 0.3; printf '/passw0rd\n'
      printf '%s' "$PASSWORD" | base64
      echo 's3cr%22t%20%26%2Fpassw0rd'
      echo '{"password": "s3cr\"t &/passw0rd"}'
      echo "$PASSWORD" >&2
      touch '@/printed'
      until [ -e '@/go' ]; do sleep 0.05; done
  fails:
    needs: [prints]
    allow_failure: true
    env: { PASSWORD: "{{secrets.password}}" }
    run: |
      echo "cannot log in with $PASSWORD" >&2
      exit 3
"#;

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { files(&entry.path(), found) } else { found.push(entry.path()) }
    }
}

fn holds(bytes: &[u8]) -> Option<&'static str> {
    FORMS.into_iter().find(|form| bytes.windows(form.len()).any(|part| part == form.as_bytes()))
}

/// Every file and every argument list, now.
fn look(place: &Place) {
    let mut all = Vec::new();
    files(&place.state(), &mut all);
    assert!(all.len() > 3, "there is nothing to look at: {all:?}");
    for file in all {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert_eq!(holds(&bytes), None, "in {}", file.display());
    }
    for pid in super::world::processes() {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert_eq!(holds(&arguments), None, "in the arguments of {pid}");
    }
}

#[test]
fn a_secret_is_in_no_file_of_the_state_directory_and_in_no_argument() {
    let place = Place::new();
    // Its files with secrets lie in memory, apart from the state directory.
    let plan = place.plan("secrets.yaml", PLAN);
    let mut command = place.command([&plan]);
    command.env("FLOWRUN_TEST_SECRET", SECRET).env("XDG_RUNTIME_DIR", "/dev/shm");
    let live = super::support::Live::start(command, place.path());
    until("all is printed", || {
        look(&place);
        place.path().join("printed").exists().then_some(())
    });
    look(&place);
    place.touch("go");
    let answer = live.wait();
    assert_eq!(answer.code, 0, "{answer:?}");
    look(&place);
    assert_eq!(holds(answer.out.as_bytes()), None, "on standard output");
    assert_eq!(holds(answer.err.as_bytes()), None, "on standard error: {}", answer.err);
    let log = place.ok(0, ["logs"]);
    assert!(log.contains("whole ") && log.contains("cannot log in with "), "the log is not whole: {log}");
}
