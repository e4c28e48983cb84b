//! Makes a child: it exists, it writes down who it is, and only then it becomes the program.
//! Unaware of what the book looks like and of the socket.
//!
//! The child shares the host's memory and the host sleeps until it has called exec (vfork): no page is copied, and the
//! child can use the host's own book. Two facts make that safe against the host's death at any instant:
//! - the record is written before exec, by the child itself, so no command runs unidentified;
//! - the child keeps the host's lock until exec closes it, so whoever finds the lock free finds every record there.
//!
//! The only unsafe code of the engine stands here, in `daemon.rs` and in `fate.rs`.

use super::{ATTEMPT_VAR, Spawn, StartError, procfs};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::cell::RefCell;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Where a program is looked for when its environment has no PATH.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a terminal or a log-out sends: the host ignores it, its children do not. All others have their default anyway.
pub(super) const IGNORED: [libc::c_int; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGPIPE,
    libc::SIGTERM,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGUSR1,
];
/// Nobody sees this code: the host collects a child that did not become its program and tells why.
const NOT_RUN: i32 = 126;
/// The child's stack until exec; it calls nothing deep.
const STACK: usize = 256 << 10;
/// A child dies before its host when memory runs out.
const OOM_MORE: i32 = 300;

/// What children need of their host.
#[derive(Debug)]
pub(super) struct Nursery {
    null: File,
    stack: Vec<u8>,
    host: i32,
    oom_score: CString,
    /// Where the last log went, so that a fan-out does not make its folder again for each item.
    last_dir: PathBuf,
}

/// A child that may be made.
#[derive(Debug)]
pub(super) struct Prepared {
    program: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
    dir: CString,
    output: File,
    stdout: Option<File>,
}

/// What a child does about its record while it is still of the host's code.
pub(super) trait Ledger {
    /// Writes down who the child is.
    fn enter(&mut self, pid: i32, start: u64) -> io::Result<()>;
    /// Takes that back: the child will not run.
    fn strike(&mut self);
}

/// How far a child has come.
#[derive(Debug)]
enum Progress {
    Begun,
    /// It is written down and calls exec.
    Leaving {
        start: u64,
    },
    NoDir(io::Error),
    NoRecord(io::Error),
    NoExec(io::Error),
    /// Its host died.
    Forsaken,
}

/// What a child has in hand; it lies in memory that it shares with the host.
struct Hands<'a> {
    nursery: &'a Nursery,
    prepared: &'a Prepared,
    pointers: Pointers,
    ledger: &'a mut dyn Ledger,
    progress: Progress,
}

impl Nursery {
    pub(super) fn new() -> io::Result<Self> {
        let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
        let score = own.trim().parse::<i32>().unwrap_or(0).saturating_add(OOM_MORE).min(1000);
        Ok(Self {
            null: OpenOptions::new().read(true).open("/dev/null")?,
            stack: vec![0; STACK],
            host: std::process::id().cast_signed(),
            oom_score: CString::new(score.to_string()).unwrap_or_default(),
            last_dir: PathBuf::new(),
        })
    }

    /// Everything that can be refused, refused; `output` is the log or the spool.
    pub(super) fn prepare(&mut self, spawn: &Spawn, output: &Path) -> Result<Prepared, StartError> {
        let dir = c_string(&spawn.dir)?;
        let name = spawn.argv.first().map_or("", String::as_str);
        let program = find(name, spawn)?;
        let argv = spawn.argv.iter().map(|text| c_text(text)).collect::<Result<_, _>>()?;
        let mut env = Vec::with_capacity(spawn.env.len() + 1);
        for (variable, value) in spawn.env.iter().filter(|(variable, _)| variable != ATTEMPT_VAR) {
            env.push(c_text(&format!("{variable}={value}"))?);
        }
        env.push(c_text(&format!("{ATTEMPT_VAR}={}", spawn.tag))?);
        let stdout = spawn.stdout.as_deref().map(fresh).transpose()?;
        let output = self.append(output)?;
        Ok(Prepared { program, argv, env, dir, output, stdout })
    }

    fn append(&mut self, path: &Path) -> Result<File, StartError> {
        let failed = |error: io::Error| StartError::Output { path: path.display().to_string(), why: error.to_string() };
        if let Some(parent) = path.parent().filter(|parent| *parent != self.last_dir) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
            self.last_dir = parent.to_owned();
        }
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        if opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            // Somebody removed the folder in the meantime; the next try makes it again.
            self.last_dir = PathBuf::new();
        }
        opened.map_err(failed)
    }

    /// Makes the child and returns when it has become its program: its pid and its start time.
    pub(super) fn make(
        &mut self,
        spawn: &Spawn,
        prepared: &Prepared,
        ledger: &mut dyn Ledger,
    ) -> Result<(i32, u64), StartError> {
        let top = self.stack.as_mut_ptr_range().end;
        let pointers = Pointers::of(prepared);
        let mut hands = Hands { nursery: self, prepared, pointers, ledger, progress: Progress::Begun };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the stack is the nursery's own and used by one child at a time, since this thread, the only one,
        // sleeps until the child has called exec or exit. A stack must be aligned to 16 bytes. The child's files,
        // working directory and signal dispositions are copies.
        let pid = unsafe {
            let top = top.sub(top as usize % 16);
            libc::clone(child, top.cast(), flags, (&raw mut hands).cast())
        };
        let program = || spawn.argv.first().cloned().unwrap_or_default();
        let failed = |error: io::Error| StartError::Fork { program: program(), why: error.to_string() };
        if pid < 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        let progress = std::mem::replace(&mut hands.progress, Progress::Begun);
        if let Progress::Leaving { start } = progress {
            return Ok((pid, start));
        }
        // It is no program and has ended, or is about to.
        let _ = rustix::process::waitpid(rustix::process::Pid::from_raw(pid), rustix::process::WaitOptions::empty());
        hands.ledger.strike();
        Err(match progress {
            Progress::NoDir(error) => StartError::Dir { dir: spawn.dir.display().to_string(), why: error.to_string() },
            Progress::NoRecord(error) => StartError::Book { why: error.to_string() },
            Progress::NoExec(error) => StartError::NotExecutable { program: program(), why: error.to_string() },
            Progress::Begun | Progress::Forsaken | Progress::Leaving { .. } => {
                failed(io::Error::other("it was killed before it became its program"))
            }
        })
    }
}

/// The child's life until exec.
extern "C" fn child(hands: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the pointer is the one that `make` gave, and `make` waits.
    let hands = unsafe { &mut *hands.cast::<Hands<'_>>() };
    hands.become_program();
    NOT_RUN
}

impl Hands<'_> {
    /// Returns only if it could not.
    fn become_program(&mut self) {
        self.dress();
        // SAFETY: a system call on a text that ends with a zero byte.
        if unsafe { libc::chdir(self.prepared.dir.as_ptr()) } != 0 {
            self.progress = Progress::NoDir(io::Error::last_os_error());
            return;
        }
        let pid = std::process::id().cast_signed();
        let entered = procfs::stat(pid)
            .ok_or_else(|| io::Error::other("/proc is not readable"))
            .and_then(|stat| self.ledger.enter(pid, stat.start).map(|()| stat.start));
        let start = match entered {
            Ok(start) => start,
            Err(error) => {
                self.progress = Progress::NoRecord(error);
                return;
            }
        };
        if std::os::unix::process::parent_id().cast_signed() != self.nursery.host {
            self.ledger.strike();
            self.progress = Progress::Forsaken;
            return;
        }
        self.progress = Progress::Leaving { start };
        // SAFETY: system calls on prepared memory; the set is initialised before it is read.
        unsafe {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            libc::execve(self.prepared.program.as_ptr(), self.pointers.argv.as_ptr(), self.pointers.env.as_ptr());
        }
        let error = io::Error::last_os_error();
        self.ledger.strike();
        self.progress = Progress::NoExec(error);
    }

    /// Its own group, the usual signals, its streams, and an earlier death than the host's when memory runs out.
    fn dress(&self) {
        let output = self.prepared.output.as_raw_fd();
        let stdout = self.prepared.stdout.as_ref().map_or(output, |file| file.as_raw_fd());
        // SAFETY: system calls on open descriptors and prepared memory.
        unsafe {
            libc::setpgid(0, 0);
            for signal in IGNORED {
                libc::signal(signal, libc::SIG_DFL);
            }
            for (from, to) in [(self.nursery.null.as_raw_fd(), 0), (stdout, 1), (output, 2)] {
                libc::dup2(from, to);
            }
            let score = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if score >= 0 {
                let text = self.nursery.oom_score.as_bytes();
                libc::write(score, text.as_ptr().cast(), text.len());
                libc::close(score);
            }
        }
    }
}

/// What execve wants: arrays of pointers that end with a null pointer.
struct Pointers {
    argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
}

impl Pointers {
    fn of(prepared: &Prepared) -> Self {
        let list = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Self { argv: list(&prepared.argv), env: list(&prepared.env) }
    }
}

fn c_text(text: &str) -> Result<CString, StartError> {
    CString::new(text)
        .map_err(|_| StartError::ZeroByte { what: text.split('\0').next().unwrap_or_default().to_owned() })
}

fn c_string(path: &Path) -> Result<CString, StartError> {
    use std::os::unix::ffi::OsStrExt as _;
    let what = || path.display().to_string().replace('\0', "\\0");
    CString::new(path.as_os_str().as_bytes()).map_err(|_| StartError::ZeroByte { what: what() })
}

/// The file that `name` stands for, looked up as the child itself would.
fn find(name: &str, spawn: &Spawn) -> Result<CString, StartError> {
    let not_found = || StartError::NotFound { program: name.to_owned() };
    if name.is_empty() {
        return Err(not_found());
    }
    if name.contains('/') {
        return match runnable(&spawn.dir.join(name)) {
            Ok(()) => c_text(name),
            Err(why) => Err(StartError::NotExecutable { program: name.to_owned(), why }),
        };
    }
    let path =
        spawn.env.iter().find(|(variable, _)| variable == "PATH").map_or(USUAL_PATH, |(_, value)| value.as_str());
    if let Some(candidate) = FOUND.with_borrow(|found| found.hit(path, name, &spawn.dir)) {
        return c_string(&candidate);
    }
    let mut refusal = None;
    for folder in path.split(':') {
        let candidate = Path::new(if folder.is_empty() { "." } else { folder }).join(name);
        let full = spawn.dir.join(&candidate);
        match runnable(&full) {
            Ok(()) => {
                FOUND.with_borrow_mut(|found| found.keep(path, name, &candidate));
                return c_string(&candidate);
            }
            Err(why) if full.exists() => {
                refusal.get_or_insert(StartError::NotExecutable { program: name.to_owned(), why });
            }
            Err(_) => {}
        }
    }
    Err(refusal.unwrap_or_else(not_found))
}

thread_local! {
    static FOUND: RefCell<Found> = const { RefCell::new(Found { path: String::new(), name: String::new(), at: None }) };
}

/// Where the last program was found: a fan-out looks for the same one 130,000 times. It is looked at each time, so a
/// program that went away is looked for anew; one that came to stand before it in the PATH is not noticed.
struct Found {
    path: String,
    name: String,
    at: Option<PathBuf>,
}

impl Found {
    fn hit(&self, path: &str, name: &str, dir: &Path) -> Option<PathBuf> {
        let at = self.at.as_ref().filter(|_| self.path == path && self.name == name)?;
        runnable(&dir.join(at)).is_ok().then(|| at.clone())
    }

    fn keep(&mut self, path: &str, name: &str, at: &Path) {
        // A relative folder of the PATH stands for another place in another directory.
        let at = at.is_absolute().then(|| at.to_path_buf());
        *self = Self { path: path.to_owned(), name: name.to_owned(), at };
    }
}

fn runnable(path: &Path) -> Result<(), String> {
    let found = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("it is not a file".into());
    }
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(|error| io::Error::from(error).to_string())
}

/// A file made anew that only its owner reads, also where an older one was open to others.
fn fresh(path: &Path) -> Result<File, StartError> {
    let open = || {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        if file.metadata()?.is_file() {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        Ok(file)
    };
    open().map_err(|error: io::Error| StartError::Output { path: path.display().to_string(), why: error.to_string() })
}
