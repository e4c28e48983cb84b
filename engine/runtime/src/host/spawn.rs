//! Makes a child in two phases: it exists, it is identified, and only then it may go on.
//! Unaware of the book and of the socket.
//!
//! Everything that can be known before is looked at before: what is refused has made no process. Between fork and exec
//! the child only makes system calls on memory that was prepared; the host has one thread, so nothing else is unsafe.
//! The only unsafe code of the engine stands here and in `daemon.rs`.

use super::{ATTEMPT_VAR, Spawn, StartError, procfs};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Where a program is looked for when its environment has no PATH.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a child exits with that was never let go; nobody sees it, since such a child is in no book.
const NOT_RELEASED: i32 = 125;
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
/// As shells do it for a program that is there and cannot be run.
const NOT_RUN: i32 = 126;
/// A child dies before its host when memory runs out.
const OOM_MORE: i32 = 300;

/// What children need of their host.
#[derive(Debug)]
pub(super) struct Nursery {
    null: File,
    lock: i32,
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
    /// Written to its output if exec fails.
    complaint: Vec<u8>,
}

/// A child that exists and waits.
#[derive(Debug)]
#[must_use = "a child that is not released exits"]
pub(super) struct Held {
    pub(super) pid: i32,
    pub(super) start: u64,
    gate: OwnedFd,
}

impl Held {
    /// Lets it go on. Dropping it instead makes it exit.
    pub(super) fn release(self) {
        // A failure means that it is dead already; its exit will be collected.
        let _ = rustix::io::write(&self.gate, b"1");
    }
}

impl Nursery {
    /// `lock` is the host's lock: a child must not hold it.
    pub(super) fn new(lock: i32) -> io::Result<Self> {
        let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
        let score = own.trim().parse::<i32>().unwrap_or(0).saturating_add(OOM_MORE).min(1000);
        let oom_score = CString::new(score.to_string()).unwrap_or_default();
        Ok(Self { null: OpenOptions::new().read(true).open("/dev/null")?, lock, oom_score, last_dir: PathBuf::new() })
    }

    /// Everything that can be refused, refused; `output` is the log or the spool.
    pub(super) fn prepare(&mut self, spawn: &Spawn, output: &Path) -> Result<Prepared, StartError> {
        let dir = c_string(&spawn.dir)?;
        enter(&spawn.dir)?;
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
        let complaint = format!("flowrun: cannot run `{name}`: ").into_bytes();
        Ok(Prepared { program, argv, env, dir, output, stdout, complaint })
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

    /// Makes the process and says who it is. It waits until it is released.
    pub(super) fn fork(&self, prepared: &Prepared) -> io::Result<Held> {
        let (wait, gate) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let pointers = Pointers::of(prepared);
        // SAFETY: the host has one thread, so the child may do whatever the parent may; it only makes system calls.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // SAFETY: this is the child; all pointers are to memory that outlives the call.
                unsafe { self.become_child(prepared, &pointers, wait.as_raw_fd(), gate.as_raw_fd()) }
            }
            _ => {
                // Both sides do it, so that neither has to wait for the other.
                // SAFETY: plain system call without memory.
                unsafe { libc::setpgid(pid, pid) };
                let stat = procfs::stat(pid).ok_or_else(|| io::Error::other("the new process is not in /proc"))?;
                Ok(Held { pid, start: stat.start, gate })
            }
        }
    }

    /// # Safety
    /// Only in the child of a process with one thread.
    unsafe fn become_child(&self, prepared: &Prepared, pointers: &Pointers, wait: i32, gate: i32) -> ! {
        // SAFETY: system calls on prepared memory and on descriptors that are open.
        unsafe {
            // First of all: a child must neither keep the host's lock alive nor its own gate.
            libc::close(self.lock);
            libc::close(gate);
            libc::setpgid(0, 0);
            for signal in IGNORED {
                libc::signal(signal, libc::SIG_DFL);
            }
            let output = prepared.output.as_raw_fd();
            libc::dup2(self.null.as_raw_fd(), 0);
            libc::dup2(prepared.stdout.as_ref().map_or(output, |file| file.as_raw_fd()), 1);
            libc::dup2(output, 2);
            let score = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if score >= 0 {
                let text = self.oom_score.as_bytes();
                libc::write(score, text.as_ptr().cast(), text.len());
            }
            if libc::chdir(prepared.dir.as_ptr()) != 0 {
                complain(&prepared.complaint);
            }
            let mut byte = 0u8;
            loop {
                match libc::read(wait, (&raw mut byte).cast(), 1) {
                    1 => break,
                    -1 if *libc::__errno_location() == libc::EINTR => {}
                    _ => libc::_exit(NOT_RELEASED),
                }
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            libc::execve(prepared.program.as_ptr(), pointers.argv.as_ptr(), pointers.env.as_ptr());
            complain(&prepared.complaint)
        }
    }
}

/// # Safety
/// Only in a child that has not called exec.
unsafe fn complain(begin: &[u8]) -> ! {
    // SAFETY: system calls, and strerror's static text in a process with one thread.
    unsafe {
        let why = CStr::from_ptr(libc::strerror(*libc::__errno_location())).to_bytes();
        for part in [begin, why, b"\n"] {
            libc::write(2, part.as_ptr().cast(), part.len());
        }
        libc::_exit(NOT_RUN)
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
    CString::new(text).map_err(|_| StartError::ZeroByte { what: text.split('\0').next().unwrap_or_default().to_owned() })
}

fn c_string(path: &Path) -> Result<CString, StartError> {
    use std::os::unix::ffi::OsStrExt as _;
    let what = || path.display().to_string().replace('\0', "\\0");
    CString::new(path.as_os_str().as_bytes()).map_err(|_| StartError::ZeroByte { what: what() })
}

fn enter(dir: &Path) -> Result<(), StartError> {
    let failed = |why: String| StartError::Dir { dir: dir.display().to_string(), why };
    if dir.is_absolute() && !std::fs::metadata(dir).map_err(|error| failed(error.to_string()))?.is_dir() {
        return Err(failed("it is not a folder".into()));
    }
    accessat(CWD, dir, Access::EXEC_OK, AtFlags::EACCESS).map_err(|error| failed(io::Error::from(error).to_string()))
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
    let path = spawn.env.iter().find(|(variable, _)| variable == "PATH").map_or(USUAL_PATH, |(_, value)| value.as_str());
    let mut refusal = None;
    for folder in path.split(':') {
        let candidate = Path::new(if folder.is_empty() { "." } else { folder }).join(name);
        let full = spawn.dir.join(&candidate);
        match runnable(&full) {
            Ok(()) => return c_string(&candidate),
            Err(why) if full.exists() => {
                refusal.get_or_insert(StartError::NotExecutable { program: name.to_owned(), why });
            }
            Err(_) => {}
        }
    }
    Err(refusal.unwrap_or_else(not_found))
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
