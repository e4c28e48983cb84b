//! `flowrun completions`: what a shell needs to complete flowrun's words.
//! Unaware of runs.

use super::{Ending, print};
use crate::args::{Cli, Completions};
use crate::exit::Exit;
use clap::CommandFactory;

/// Prints completions for a shell.
///
/// # Errors
/// When they cannot be written.
pub fn completions(args: &Completions) -> Ending {
    print(&script(args.shell))?;
    Ok(Exit::Succeeded)
}

fn script(shell: clap_complete::Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "flowrun", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::script;
    use clap::ValueEnum;

    #[test]
    fn every_shell_gets_every_command() {
        for shell in clap_complete::Shell::value_variants() {
            let script = script(*shell);
            for word in ["resume", "accept-changes", "state-dir", "prune"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
