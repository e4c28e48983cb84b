//! Settings: one value, built once from the arguments and the environment and passed down.
//! Unaware of commands. Nothing else reads the environment.

use flowrun_engine::paths::StateDir;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// What holds for the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where runs are kept.
    pub state_dir: StateDir,
    /// It was named by `--state-dir`, so commands that are shown to the person must name it too.
    pub state_dir_named: bool,
    /// What the person can look at.
    pub terminal: Terminal,
    /// The process's environment, as far as it is text: what secrets and `env.X` of a plan come from.
    pub environment: BTreeMap<String, String>,
}

/// What the person's terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Standard error is a terminal that can move its cursor: progress is drawn there.
    pub live: bool,
    /// Colours may be used on standard error.
    pub color_err: bool,
    /// Colours may be used on standard output.
    pub color_out: bool,
    /// Columns of standard output; none where it is no terminal.
    pub columns: Option<usize>,
    /// Characters outside of ASCII are understood.
    pub unicode: bool,
}

/// What settings are made from.
#[derive(Debug, Clone, Default)]
pub struct World {
    state_dir: Option<OsString>,
    xdg_state_home: Option<OsString>,
    home: Option<OsString>,
    no_color: Option<OsString>,
    term: Option<OsString>,
    locale: Option<OsString>,
    root: bool,
    stderr_terminal: bool,
    stdout_terminal: bool,
    columns: Option<usize>,
    environment: BTreeMap<String, String>,
}

impl World {
    /// The process's own.
    #[must_use]
    pub fn of_this_process() -> Self {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            state_dir: var("FLOWRUN_STATE_DIR"),
            xdg_state_home: var("XDG_STATE_HOME"),
            home: var("HOME"),
            no_color: var("NO_COLOR"),
            term: var("TERM"),
            locale: var("LC_ALL").or_else(|| var("LC_CTYPE")).or_else(|| var("LANG")),
            root: rustix::process::geteuid().is_root(),
            stderr_terminal: std::io::stderr().is_terminal(),
            stdout_terminal: std::io::stdout().is_terminal(),
            columns: columns(),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        }
    }
}

/// There is no place for the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoStateDir;

impl std::fmt::Display for NoStateDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot tell where runs are kept: `HOME` is not set; name a directory with `--state-dir` or `FLOWRUN_STATE_DIR`")
    }
}

impl std::error::Error for NoStateDir {}

impl Settings {
    /// Builds the settings.
    ///
    /// # Errors
    /// When nothing says where the state directory is.
    pub fn new(state_dir: Option<&Path>, world: &World) -> Result<Self, NoStateDir> {
        Ok(Self {
            state_dir: StateDir(place(state_dir, world)?),
            state_dir_named: state_dir.is_some(),
            environment: world.environment.clone(),
            terminal: Terminal::of(world),
        })
    }
}

impl Terminal {
    /// The terminal of a world; commands that keep no state need nothing else.
    #[must_use]
    pub fn of(world: &World) -> Self {
        let dumb = world.term.as_ref().is_none_or(|term| term == "dumb");
        let color = world.no_color.is_none() && !dumb;
        Self {
            live: world.stderr_terminal && !dumb,
            color_err: world.stderr_terminal && color,
            color_out: world.stdout_terminal && color,
            columns: world.columns,
            unicode: world.locale.as_ref().is_some_and(|locale| is_utf8(&locale.to_string_lossy())),
        }
    }
}

fn place(named: Option<&Path>, world: &World) -> Result<PathBuf, NoStateDir> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    if let Some(dir) = &world.state_dir {
        return Ok(dir.into());
    }
    if world.root {
        return Ok("/var/lib/flowrun".into());
    }
    // The XDG specification: a relative path is to be ignored.
    let xdg = world.xdg_state_home.as_ref().map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || world.home.as_ref().map(|home| PathBuf::from(home).join(".local/state"));
    xdg.or_else(home).map(|dir| dir.join("flowrun")).ok_or(NoStateDir)
}

/// The columns of standard output; a terminal that does not tell has none to keep to.
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::{NoStateDir, Settings, World};
    use std::path::Path;

    fn dir(world: &World) -> Result<String, NoStateDir> {
        Settings::new(None, world).map(|settings| settings.state_dir.0.display().to_string())
    }

    fn person() -> World {
        World { home: Some("/home/ada".into()), ..World::default() }
    }

    #[test]
    fn the_option_wins_over_the_environment() {
        let world = World { state_dir: Some("/env".into()), root: true, ..person() };
        let settings = Settings::new(Some(Path::new("/named")), &world).unwrap();
        assert_eq!((settings.state_dir.0.as_path(), settings.state_dir_named), (Path::new("/named"), true));
        assert_eq!(dir(&world).unwrap(), "/env");
    }

    #[test]
    fn root_and_others_have_their_own_places() {
        assert_eq!(dir(&World { root: true, ..person() }).unwrap(), "/var/lib/flowrun");
        assert_eq!(dir(&person()).unwrap(), "/home/ada/.local/state/flowrun");
        assert_eq!(dir(&World { xdg_state_home: Some("/x".into()), ..person() }).unwrap(), "/x/flowrun");
    }

    #[test]
    fn a_relative_xdg_directory_is_ignored() {
        let world = World { xdg_state_home: Some("x".into()), ..person() };
        assert_eq!(dir(&world).unwrap(), "/home/ada/.local/state/flowrun");
    }

    #[test]
    fn without_a_home_the_place_must_be_named() {
        assert_eq!(dir(&World::default()), Err(NoStateDir));
    }

    #[test]
    fn no_color_and_dumb_terminals_are_honoured() {
        let world =
            World { stderr_terminal: true, term: Some("xterm".into()), locale: Some("de_AT.UTF-8".into()), ..person() };
        let terminal = |world: &World| Settings::new(None, world).unwrap().terminal;
        assert!(terminal(&world).live && terminal(&world).color_err && terminal(&world).unicode);
        let plain = terminal(&World { no_color: Some("1".into()), ..world.clone() });
        assert!(plain.live && !plain.color_err);
        let dumb = terminal(&World { term: Some("dumb".into()), ..world.clone() });
        assert!(!dumb.live && !dumb.color_err);
        assert!(!terminal(&World { locale: Some("C".into()), ..world }).unicode);
    }
}
