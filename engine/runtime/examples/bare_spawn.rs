//! A bare spawn-and-wait loop: what `make bench` measures flowrun against. Usage: `bare_spawn COUNT AT_ONCE PROGRAM`.
//! Unaware of everything that flowrun adds: no log, no book, no journal.

use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, count, at_once, program] = args.as_slice() else { return ExitCode::from(2) };
    let (Ok(count), Ok(at_once)) = (count.parse::<usize>(), at_once.parse::<usize>()) else { return ExitCode::from(2) };
    let (mut started, mut running) = (0, 0);
    while started < count || running > 0 {
        if started < count && running < at_once {
            // The handle is dropped on purpose: whichever child ends first is waited for below.
            let child = Command::new(program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            if child.is_err() {
                return ExitCode::FAILURE;
            }
            started += 1;
            running += 1;
        } else if rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok() {
            running -= 1;
        }
    }
    ExitCode::SUCCESS
}
