use super::{Cli, Command, VerdictWord, host_mode, parse};
use clap::CommandFactory;
use std::ffi::OsString;
use std::path::Path;

fn argv(line: &str) -> Vec<OsString> {
    std::iter::once("flowrun").chain(line.split_whitespace()).map(OsString::from).collect()
}

fn command(line: &str) -> Command {
    parse(argv(line)).map(|cli| cli.command).unwrap_or_else(|error| panic!("`flowrun {line}`: {error}"))
}

fn complaint(line: &str) -> String {
    match parse(argv(line)) {
        Ok(cli) => panic!("`flowrun {line}` was taken as {:?}", cli.command),
        Err(error) => {
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.use_stderr(), "{line}");
            error.to_string()
        }
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_path_is_a_plan_to_run() {
    for line in ["a.yaml", "./resume", "a.yml", "plans/a", "run a.yaml", "/p/run"] {
        assert!(matches!(command(line), Command::Run(_)), "{line}");
    }
    assert!(matches!(command("resume"), Command::Resume(_)));
}

#[test]
fn options_may_stand_before_the_plan() {
    let Command::Run(run) = command("--set a=1 --state-dir d/e --json p.yaml --set b=x=y") else { panic!("no run") };
    assert_eq!(run.plan, Path::new("p.yaml"));
    assert_eq!(run.params.set, [("a".into(), "1".into()), ("b".into(), "x=y".into())]);
    assert!(run.driving.json && !run.driving.detach);
}

#[test]
fn the_state_directory_may_stand_anywhere() {
    for line in ["--state-dir d runs", "runs --state-dir d", "--state-dir=d runs"] {
        assert_eq!(parse(argv(line)).unwrap().state_dir.as_deref(), Some(Path::new("d")), "{line}");
    }
}

#[test]
fn every_command_is_understood() {
    let lines = [
        "resume 7f --rerun a --rerun b/c --skip d --from e --accept-changes --detach",
        "check a.yaml b.yaml --json",
        "explain a.yaml --set k=v",
        "explain --run 7f",
        "runs --json",
        "status 7f --json --items",
        "status --watch",
        "logs 7f dump/acme -f",
        "cancel",
        "pause 7f",
        "unpause",
        "attach",
        "why 7f dump/acme",
        "steps shell",
        "schema",
        "completions bash",
    ];
    for line in lines {
        command(line);
    }
    let Command::Mark(mark) =
        parse(["flowrun", "mark", "7f", "a", "done", "--because", "looked at it"].map(OsString::from).into())
            .unwrap()
            .command
    else {
        panic!("no mark")
    };
    assert_eq!((mark.verdict, mark.because.as_str()), (VerdictWord::Done, "looked at it"));
    let Command::Prune(prune) = command("prune --keep 30d") else { panic!("no prune") };
    assert_eq!(prune.keep.as_secs(), 30 * 86_400);
}

#[test]
fn an_unknown_command_gets_the_nearest_word_and_the_way_to_a_plan() {
    let text = complaint("resum");
    assert!(text.contains("no such command: `resum`") && text.contains("did you mean `resume`?"), "{text}");
    assert!(complaint("nightly").contains("`flowrun ./nightly`"));
}

#[test]
fn commands_that_do_not_exist_yet_are_not_offered() {
    for word in ["graph", "adopt", "gates", "gate", "leftovers", "undo", "overdue", "approve", "test", "new", "serve"] {
        assert!(complaint(word).contains("no such command"), "{word}");
    }
}

#[test]
fn each_wrong_usage_says_what_is_wrong() {
    let cases = [
        ("run", "PLAN"),
        ("a.yaml b.yaml", "b.yaml"),
        ("a.yaml --set k", "k=VALUE"),
        ("a.yaml --set =v", "the name before `=` is missing"),
        ("a.yaml --sett k=v", "--set"),
        ("check", "PLAN"),
        ("explain", "PLAN"),
        ("explain a.yaml --run 7f", "cannot be used with"),
        ("status --json --watch", "cannot be used with"),
        ("mark 7f a done", "--because"),
        ("mark 7f a maybe --because x", "done, skip, redo"),
        ("why 7f", "ADDRESS"),
        ("prune", "--keep"),
        ("prune --keep soon", "30d"),
        ("prune --keep -3d", "-3"),
        ("prune --keep=-3d", "negative"),
        ("completions ksh", "bash"),
        ("runs extra", "extra"),
    ];
    for (line, part) in cases {
        let text = complaint(line);
        assert!(text.contains(part), "`flowrun {line}` says: {text}");
    }
}

#[test]
fn nothing_at_all_shows_the_help() {
    assert_eq!(parse(argv("")).unwrap_err().exit_code(), 2);
    assert_eq!(parse(argv("--help")).unwrap_err().exit_code(), 0);
}

#[test]
fn words_after_the_host_word_belong_to_the_host() {
    assert_eq!(host_mode(&argv("__host d --x")), Some(["d".into(), "--x".into()].as_slice()));
    assert_eq!(host_mode(&argv("run __host")), None);
}
