//! What /proc says of processes, of the boot and of the pid namespace.
//! Unaware of children and hosts. Own code, since it runs once for each child: no allocation for one process's state.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;

/// A process as `/proc/PID/stat` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: i32,
    pub(super) state: u8,
    pub(super) ppid: i32,
    pub(super) pgrp: i32,
    pub(super) session: i32,
    /// Clock ticks since the boot.
    pub(super) start: u64,
}

impl Stat {
    /// It has not ended: a zombie has.
    pub(super) fn runs(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// One process; none if there is no such.
pub(super) fn stat(pid: i32) -> Option<Stat> {
    let mut buffer = [0u8; 1024];
    let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
    let length = file.read(&mut buffer).ok()?;
    parse(pid, buffer.get(..length)?)
}

/// The program's name may hold blanks and brackets: the fields begin after the last bracket.
fn parse(pid: i32, text: &[u8]) -> Option<Stat> {
    let after = text.iter().rposition(|byte| *byte == b')')? + 2;
    let rest = std::str::from_utf8(text.get(after..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let ppid = fields.next()?.parse().ok()?;
    let pgrp = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let start = fields.nth(15)?.parse().ok()?;
    Some(Stat { pid, state, ppid, pgrp, session, start })
}

/// The process of this pid is the one that started then, and it has not ended.
pub(super) fn alive(pid: i32, start: u64) -> bool {
    stat(pid).is_some_and(|stat| stat.start == start && stat.runs())
}

/// All processes that have not ended.
pub(super) fn all() -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        found.extend(stat(pid).filter(Stat::runs));
    }
    Ok(found)
}

/// What a process's environment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    /// It has the variable with this value.
    Yes,
    /// It has not, or the process ended.
    No,
    /// It may not be read.
    Unreadable,
}

/// Whether the process was started with `NAME=value` in its environment.
pub(super) fn carries(pid: i32, assignment: &[u8]) -> Carries {
    let mut text = Vec::new();
    let read = File::open(format!("/proc/{pid}/environ")).and_then(|mut file| file.read_to_end(&mut text));
    match read {
        Ok(_) if text.split(|byte| *byte == 0).any(|entry| entry == assignment) => Carries::Yes,
        Ok(_) => Carries::No,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Carries::Unreadable,
        // Gone in the meantime (ENOENT, ESRCH): it carries nothing any more.
        Err(_) => Carries::No,
    }
}

/// Sends a signal to exactly the process that was seen, never to a later one of the same pid. False: it is gone or
/// may not be signalled.
pub(super) fn signal(seen: &Stat, signal: Signal) -> bool {
    let Some(pid) = Pid::from_raw(seen.pid) else { return false };
    let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    // The descriptor names one process for ever; the start time says that it is the one that was seen.
    stat(seen.pid).is_some_and(|now| now.start == seen.start) && pidfd_send_signal(&fd, signal).is_ok()
}

/// This boot's id.
pub(super) fn boot_id() -> io::Result<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let id = u128::from_str_radix(&digits, 16).map_err(io::Error::other)?;
    Ok(id.to_be_bytes())
}

/// The number of the pid namespace that this process lives in.
pub(super) fn pid_namespace() -> io::Result<u64> {
    Ok(std::fs::metadata("/proc/self/ns/pid")?.ino())
}

#[cfg(test)]
mod tests {
    use super::{alive, all, boot_id, parse, stat};

    #[test]
    fn a_program_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let text = b"7 (a) b) S 1 7 5 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 999 123 456";
        let found = parse(7, text).expect("it is whole");
        assert_eq!((found.ppid, found.pgrp, found.session, found.start), (1, 7, 5, 999));
        assert_eq!(parse(7, b"7 (a"), None);
    }

    #[test]
    fn this_process_is_alive_and_was_not_started_at_another_time() {
        let own = stat(std::process::id().cast_signed()).expect("it runs");
        assert!(alive(own.pid, own.start));
        assert!(!alive(own.pid, own.start + 1));
        assert!(all().expect("/proc is there").iter().any(|one| one.pid == own.pid));
        assert_ne!(boot_id().expect("it has one"), [0; 16]);
    }
}
