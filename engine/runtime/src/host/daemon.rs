//! The host's process: how flowrun becomes a host, and what it lets go of on the way.
//! Unaware of who started it; it says on its standard output whether it serves, and then closes it.

use super::book::{Book, HostId};
use super::crash::Crash;
use super::server::{Server, Sources};
use super::spawn::{IGNORED, Nursery};
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// What a host says once its driver can connect.
pub(super) const READY: &[u8] = b"ready";
/// What it says when another one serves this run.
pub(super) const BUSY: &[u8] = b"busy";
/// The magic number of NFS in statfs(2).
const NFS: i64 = 0x6969;

/// Becomes the host of a run and returns when nothing is left to do. `args`: the run's directory, and for tests of
/// crashes where to die. Must be called before the process has a second thread.
#[must_use]
pub fn host_main(args: &[OsString]) -> ExitCode {
    let Some(run) = args.first() else { return ExitCode::from(2) };
    let order = args.get(1).map(|order| order.to_string_lossy().into_owned()).unwrap_or_default();
    match detach(Path::new(run)) {
        Ok(Side::Starter) => ExitCode::SUCCESS,
        Ok(Side::Host) => match serve(Crash::parse(&order)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Once it serves there is nobody to tell: then this goes to /dev/null.
                say(error.to_string().as_bytes());
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            say(error.to_string().as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Which process this is after the fork.
enum Side {
    Starter,
    Host,
}

fn say(text: &[u8]) {
    // The driver that started it may be gone.
    let _ = rustix::io::write(io::stdout(), text);
}

/// Leaves the session of whoever started it, and every file that was left open.
fn detach(run: &Path) -> io::Result<Side> {
    std::env::set_current_dir(run)?;
    // SAFETY: this process has one thread and has opened nothing beyond its standard streams; the fork keeps both so.
    unsafe {
        libc::close_range(3, libc::c_uint::MAX, 0);
        match libc::fork() {
            -1 => return Err(io::Error::last_os_error()),
            0 => {}
            _ => return Ok(Side::Starter),
        }
    }
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(Side::Host)
}

fn serve(crash: Crash) -> io::Result<()> {
    if rustix::fs::statfs(".")?.f_type as i64 == NFS {
        return Err(io::Error::other(
            "the run's directory lies on NFS, where locks and sockets do not hold; use a local disk",
        ));
    }
    let signals = take_signals()?;
    let Some(mut lock) = lock()? else {
        say(BUSY);
        return Ok(());
    };
    let id = HostId::own()?;
    let book = Book::open(Path::new("book"), id)?;
    crash.point("before-listen");
    // Written after the book exists: a lock with a pid and no book means that somebody took the book away.
    lock.set_len(0)?;
    lock.write_all(format!("{}\n", id.pid).as_bytes())?;
    let listener = listen()?;
    let nursery = Nursery::new()?;
    let mut server = Server::new(Sources { listener, signals }, id, book, nursery, crash)?;
    say(READY);
    let_go_of_stdio()?;
    let ended = server.run();
    // Only for tidiness: without a lock nobody takes it for a living host's.
    let _ = std::fs::remove_file("host.sock");
    drop(lock);
    ended
}

/// The host's lock; none: another host holds it. A look at the lock holds it for an instant, hence the tries.
fn lock() -> io::Result<Option<File>> {
    let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open("host.lock")?;
    for _ in 0..20 {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// Bound by a name relative to the run's directory: a socket's path has 107 bytes at most.
fn listen() -> io::Result<UnixListener> {
    match std::fs::remove_file("host.sock") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind("host.sock");
    rustix::process::umask(before);
    listener
}

/// Nothing that a terminal, a log-out or a service manager's polite signal sends ends a host; ends of children are read
/// from a descriptor.
fn take_signals() -> io::Result<OwnedFd> {
    // SAFETY: plain system calls; the set is initialised by sigemptyset before it is read.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        for signal in IGNORED {
            libc::signal(signal, libc::SIG_IGN);
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Ends the pipe to whoever started it.
fn let_go_of_stdio() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for stream in 0..=2 {
        // SAFETY: a system call on descriptors that are open.
        if unsafe { libc::dup2(null.as_raw_fd(), stream) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
