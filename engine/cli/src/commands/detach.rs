//! `--detach`: the run is left to a process in the background.
//! Unaware of how a run is driven: the process in the background is flowrun with the same words, in a session of its
//! own. Its errors are told here until its run has begun.

use super::{Ending, Stop, print};
use crate::args::settings::Settings;
use crate::args::{Driving, Resume, Run};
use crate::exit::Exit;
use crate::out;
use flowrun_engine::paths::RunDir;
use flowrun_engine::store::Reader;
use std::ffi::OsString;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often it is looked for the run's first event.
const LOOK: Duration = Duration::from_millis(20);

/// Starts a run in the background.
pub fn run(settings: &Settings, args: &Run, id: &str) -> Ending {
    let mut words: Vec<OsString> = vec!["run".into(), args.plan.clone().into()];
    for (name, value) in &args.params.set {
        words.extend(["--set".into(), format!("{name}={value}").into()]);
    }
    if let Some(file) = &args.params.params {
        words.extend(["--params".into(), file.clone().into()]);
    }
    let run = settings.state_dir.run(id);
    background(settings, &run, words, 0, Said::OnFailure)
}

/// Goes on with a run in the background.
pub fn resume(settings: &Settings, args: &Resume, run: &RunDir) -> Ending {
    let mut words: Vec<OsString> = vec!["resume".into(), run.id().into()];
    for (option, addresses) in [("--rerun", &args.rerun), ("--skip", &args.skip)] {
        words.extend(addresses.iter().flat_map(|address| [option.into(), address.into()]));
    }
    words.extend(args.from.iter().flat_map(|step| ["--from".into(), step.into()]));
    if args.accept_changes {
        words.push("--accept-changes".into());
    }
    let last = Reader::open(run)?.run()?.last_seq;
    background(settings, run, words, last, Said::Always)
}

/// In the background: a session of its own, so that neither a terminal nor its end reaches it.
pub fn leave_terminal(driving: &Driving) {
    if driving.in_background.is_some()
        && let Err(error) = rustix::process::setsid()
    {
        tracing::debug!(%error, "it leads a session already");
    }
}

/// When the words of the process in the background are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// They were said here already, unless it fails.
    OnFailure,
    /// Until its run goes on.
    Always,
}

fn background(settings: &Settings, run: &RunDir, words: Vec<OsString>, last: u64, said: Said) -> Ending {
    let fail =
        |error: std::io::Error| Stop::new(Exit::StateDir, format!("cannot start a process in the background: {error}"));
    let mut child = Command::new(std::env::current_exe().map_err(fail)?)
        .arg("--state-dir")
        .arg(&settings.state_dir.0)
        .args(words)
        .arg(format!("--in-background={}", run.id()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    let words = listen(&mut child);
    let begun = || Reader::open(run).and_then(|reader| reader.run()).is_ok_and(|row| row.last_seq > last);
    let ended = loop {
        // Its end first: what it wrote before is seen then.
        let ended = child.try_wait().map_err(fail)?;
        if begun() {
            break None;
        }
        if ended.is_some() {
            break ended;
        }
        std::thread::sleep(LOOK);
    };
    if ended.is_some() || said == Said::Always {
        tell(&words, ended.is_some());
    }
    if let Some(status) = ended {
        return Ok(Exit::of(status));
    }
    print(&format!("{}\n", run.id()))?;
    Ok(Exit::Succeeded)
}

type Words = std::sync::mpsc::Receiver<String>;

/// Takes in what it says. Nobody reads it after this process has gone, which harms nothing.
fn listen(child: &mut Child) -> Words {
    let (send, words) = std::sync::mpsc::channel();
    if let Some(mut stderr) = child.stderr.take() {
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut piece) {
                let text = String::from_utf8_lossy(piece.get(..count).unwrap_or_default()).into_owned();
                if send.send(text).is_err() {
                    return;
                }
            }
        });
    }
    words
}

fn tell(words: &Words, to_the_end: bool) {
    // Its end closes the pipe, unless somebody else still holds it.
    let rest = || std::iter::from_fn(|| words.recv_timeout(Duration::from_secs(1)).ok());
    let text: String = if to_the_end { rest().collect() } else { words.try_iter().collect() };
    if !text.is_empty() {
        out::say(text.trim_end());
    }
}
