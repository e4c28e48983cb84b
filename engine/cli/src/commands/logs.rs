//! `flowrun logs`: what steps and items wrote, all attempts of each.
//! Unaware of how arguments are read. Logs are read as they lie there, so it works beside a driver and without one.

mod follow;
pub mod source;
mod writer;

use self::follow::Follower;
use self::source::{Part, Scope};
use self::writer::Writer;
use super::survey::Survey;
use super::{Ending, Stop, which};
use crate::args::Logs;
use crate::args::settings::Settings;
use crate::exit::Exit;
use crate::out;

/// Shows logs.
///
/// # Errors
/// When there is no such run, step or item, or it cannot be read.
pub fn logs(settings: &Settings, args: &Logs) -> Ending {
    let mut survey = Survey::open(&which::dir(settings, args.run.as_deref())?)?;
    let scope = Scope::of(&survey, args.address.as_deref())?;
    let parts = source::parts(&survey, &scope)?;
    let several = parts.len() > 1 || args.follow;
    let mut writer = Writer::new(args.json, scope.is_one(), several);
    if args.follow {
        return follow(&mut survey, &scope, writer);
    }
    let mut missing: Vec<Part> = Vec::new();
    for part in parts {
        if !writer.whole(&part)? {
            missing.push(part);
        }
    }
    if let Some(why) = source::nothing(&survey, &scope, &missing)? {
        out::say(&why);
    }
    Ok(Exit::Succeeded)
}

/// Goes on across attempts until nobody drives the run. INT ends it as it ends any reader.
fn follow(survey: &mut Survey, scope: &Scope, writer: Writer) -> Result<Exit, Stop> {
    let mut follower = Follower::new(writer);
    loop {
        // The lock before the logs: what was written before the driver let go is shown.
        let live = survey.live;
        let took = follower.look(survey, scope)?;
        if !live {
            follower.finish()?;
            return Ok(Exit::Succeeded);
        }
        std::thread::sleep(follow::pause(took));
        survey.refresh()?;
    }
}
