//! The binary: arguments in, text and progress out.
//! Unaware of how runs work. Only dispatch stands here.

mod args;
mod exit;
mod screen;

use crate::exit::Exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse(std::env::args_os().collect()) {
        Ok(_) => Exit::Succeeded.into(),
        Err(error) => {
            let _ = error.print();
            if error.use_stderr() { Exit::Usage.into() } else { Exit::Succeeded.into() }
        }
    }
}
