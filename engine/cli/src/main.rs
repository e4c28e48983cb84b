//! The binary: arguments in, text and progress out.
//! Unaware of how runs work. Only dispatch stands here.

mod args;
mod commands;
mod exit;
mod out;
mod screen;
mod tables;

use crate::args::settings::World;
use crate::exit::Exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    if let Some(args) = args::host_mode(&argv) {
        return commands::host::host(args);
    }
    let cli = match args::parse(argv) {
        Ok(cli) => cli,
        Err(error) => return explain_usage(&error).into(),
    };
    match commands::dispatch(&cli, &World::of_this_process()) {
        Ok(exit) => exit.into(),
        Err(stop) => {
            out::say(&stop.to_string());
            stop.exit.into()
        }
    }
}

/// Wrong usage goes to standard error; help and version were asked for and are data.
fn explain_usage(error: &clap::Error) -> Exit {
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Succeeded }
}
