//! `flowrun status`: one run's steps and items.
//! Unaware of how arguments are read.

use super::survey::{self, Survey};
use super::{Ending, print, which};
use crate::args::Status;
use crate::args::settings::Settings;
use crate::exit::Exit;
use crate::tables;
use std::time::Duration;

/// `--watch` looks so often.
const PAUSE: Duration = Duration::from_millis(500);

/// Shows a run.
///
/// # Errors
/// When there is no such run, or it cannot be read.
pub fn status(settings: &Settings, args: &Status) -> Ending {
    let mut survey = Survey::open(&which::dir(settings, args.run.as_deref())?)?;
    if args.watch {
        return watch(settings, args, &mut survey);
    }
    let view = survey.view(args.items)?;
    print(&if args.json { super::json(&view)? } else { tables::status(&view, &survey::look(settings)) })?;
    Ok(Exit::Succeeded)
}

/// Shows the run again whenever something of it changes, until nobody drives it. INT ends it as it ends any reader.
fn watch(settings: &Settings, args: &Status, survey: &mut Survey) -> Ending {
    let mut shown = String::new();
    loop {
        let text = tables::status(&survey.view(args.items)?, &survey::look(settings));
        if shown != text {
            let clear = if settings.terminal.columns.is_some() { "\x1b[H\x1b[2J" } else { "" };
            print(&format!("{clear}{text}"))?;
            shown = text;
        }
        if !survey.live {
            return Ok(Exit::Succeeded);
        }
        std::thread::sleep(PAUSE);
        survey.refresh()?;
    }
}
