//! Flowrun in host mode, and a driver that can be killed, for the tests of the host.
#![expect(clippy::print_stdout, reason = "its tests read what it says from its standard output")]

use flowrun_engine::host::{ChildKey, Host, Setup, Spawn, host_main};
use flowrun_engine::paths::RunDir;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.first().and_then(|word| word.to_str()) {
        Some("__host") => host_main(&args[1..]),
        Some("driver") => driver(&args[1..]),
        Some("bare") => bare(&args[1..]),
        Some("through") => through(&args[1..]),
        _ => ExitCode::from(2),
    }
}

fn text(args: &[OsString], at: usize) -> String {
    args.get(at).map(|word| word.to_string_lossy().into_owned()).unwrap_or_default()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

fn spawn(run: &RunDir, node: u32, argv: Vec<String>) -> Spawn {
    let key = ChildKey { node, attempt: 1, ordinal: 0 };
    Spawn {
        key,
        tag: key.tag(run),
        argv,
        env: vec![("PATH".into(), std::env::var("PATH").unwrap_or_default())],
        dir: "/".into(),
        log: run.log(&format!("n{node}"), 1),
        stdout: None,
        timeout_ms: None,
        grace_ms: 1000,
        signal: 15,
        wait_all: false,
    }
}

/// `driver RUN SCRIPT`: starts a child, says its pid and start time, and waits to be killed.
fn driver(args: &[OsString]) -> ExitCode {
    let run = RunDir(text(args, 0).into());
    runtime().block_on(async {
        let exe = std::env::current_exe().expect("a path");
        let host = Host::connect(&run, &exe, &Setup::default()).await.expect("a host");
        let started = host.start(spawn(&run, 1, vec!["sh".into(), "-c".into(), text(args, 1)])).await.expect("a child");
        println!("{} {} {}", host.pid(), started.pid, started.start);
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

/// `bare COUNT AT_ONCE`: makes, runs and waits for children of `true` with nothing else, to compare with.
fn bare(args: &[OsString]) -> ExitCode {
    let (count, at_once): (usize, usize) =
        (text(args, 0).parse().expect("a count"), text(args, 1).parse().expect("a count"));
    let begin = Instant::now();
    let (mut made, mut live) = (0, 0);
    while made < count || live > 0 {
        while made < count && live < at_once {
            std::mem::forget(
                std::process::Command::new("true").stdin(std::process::Stdio::null()).spawn().expect("a child"),
            );
            made += 1;
            live += 1;
        }
        rustix::process::wait(rustix::process::WaitOptions::empty()).expect("a child ended");
        live -= 1;
    }
    println!("{}", begin.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

/// `through RUN COUNT AT_ONCE`: the same through a host.
fn through(args: &[OsString]) -> ExitCode {
    let run = RunDir(text(args, 0).into());
    let (count, at_once): (u32, usize) =
        (text(args, 1).parse().expect("a count"), text(args, 2).parse().expect("a count"));
    runtime().block_on(async {
        let exe = std::env::current_exe().expect("a path");
        let host = Host::connect(&run, &exe, &Setup::default()).await.expect("a host");
        let begin = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for node in 0..count {
            if tasks.len() >= at_once {
                tasks.join_next().await;
            }
            let (host, spawn) = (host.clone(), spawn(&run, node, vec!["true".into()]));
            tasks.spawn(async move {
                let key = spawn.key;
                drop(host.start(spawn));
                host.wait(key).await;
                host.forget(key);
            });
        }
        while tasks.join_next().await.is_some() {}
        println!("{} {}", begin.elapsed().as_secs_f64(), host.pid());
        std::io::Read::read(&mut std::io::stdin(), &mut [0]).ok();
    });
    ExitCode::SUCCESS
}
