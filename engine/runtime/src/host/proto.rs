//! What a driver and a host say to each other: small frames, a length and then fields in a fixed order.
//! Unaware of sockets. Many frames go into one buffer, so that one write carries them all.

use super::book::{exit_from_wire, exit_to_wire};
use super::{ChildExit, ChildKey, ChildRecord, Spawn, StartError};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Raised when frames change. A driver that meets a host of another version leaves its children alone.
pub(super) const VERSION: u32 = 1;
/// A frame longer than this is no frame: arguments and environment of a process are at most a few MiB.
const LONGEST: usize = 16 << 20;

/// From the driver to the host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    Hello { version: u32, secrets: Vec<String>, private: Option<PathBuf>, spool_cap: u64 },
    Spawn(Box<Spawn>),
    Stop(ChildKey),
    Freeze(ChildKey),
    Thaw(ChildKey),
    Forget(ChildKey),
    Settled,
}

/// From the host to the driver.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The first frame; `records` frames of [`Answer::Known`] follow.
    Welcome {
        version: u32,
        pid: i32,
        records: u32,
    },
    Known(ChildRecord),
    Started {
        key: ChildKey,
        pid: i32,
        start: u64,
        started_ms: u64,
    },
    Refused {
        key: ChildKey,
        error: StartError,
    },
    Exited {
        key: ChildKey,
        exit: ChildExit,
    },
}

/// Appends frames to a buffer.
struct Pen<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
}

impl<'a> Pen<'a> {
    fn frame(out: &'a mut Vec<u8>, kind: u8) -> Self {
        let begin = out.len();
        out.extend_from_slice(&[0; 4]);
        out.push(kind);
        Self { out, begin }
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.out.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn i32(&mut self, value: i32) -> &mut Self {
        self.u32(value.cast_unsigned())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.out.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.out.extend_from_slice(bytes);
        self
    }

    fn path(&mut self, path: &Path) -> &mut Self {
        self.bytes(path.as_os_str().as_bytes())
    }

    fn key(&mut self, key: ChildKey) -> &mut Self {
        self.u32(key.node).u32(key.attempt).u32(u32::from(key.ordinal))
    }

    fn exit(&mut self, exit: Option<ChildExit>) -> &mut Self {
        let (kind, value) = exit_to_wire(exit);
        self.u32(kind).i32(value)
    }
}

impl Drop for Pen<'_> {
    /// The length is known once the frame is written.
    fn drop(&mut self) {
        let length = u32::try_from(self.out.len() - self.begin - 4).unwrap_or(u32::MAX);
        if let Some(place) = self.out.get_mut(self.begin..self.begin + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }
}

impl Order {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello { version, secrets, private, spool_cap } => {
                let mut pen = Pen::frame(out, 1);
                pen.u32(*version).u64(*spool_cap).path(private.as_deref().unwrap_or(Path::new("")));
                for secret in secrets {
                    pen.bytes(secret.as_bytes());
                }
            }
            Self::Spawn(spawn) => write_spawn(&mut Pen::frame(out, 2), spawn),
            Self::Stop(key) => {
                Pen::frame(out, 3).key(*key);
            }
            Self::Freeze(key) => {
                Pen::frame(out, 4).key(*key);
            }
            Self::Thaw(key) => {
                Pen::frame(out, 5).key(*key);
            }
            Self::Forget(key) => {
                Pen::frame(out, 6).key(*key);
            }
            Self::Settled => {
                Pen::frame(out, 7);
            }
        }
    }

    /// None: the frame is none of ours.
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let (kind, rest) = frame.split_first()?;
        let mut eye = Eye(rest);
        Some(match kind {
            1 => {
                let version = eye.u32()?;
                let spool_cap = eye.u64()?;
                let private = Some(eye.path()?).filter(|path| !path.as_os_str().is_empty());
                let mut secrets = Vec::new();
                while !eye.0.is_empty() {
                    secrets.push(eye.text()?);
                }
                Self::Hello { version, secrets, private, spool_cap }
            }
            2 => Self::Spawn(Box::new(read_spawn(&mut eye)?)),
            3 => Self::Stop(eye.key()?),
            4 => Self::Freeze(eye.key()?),
            5 => Self::Thaw(eye.key()?),
            6 => Self::Forget(eye.key()?),
            7 => Self::Settled,
            _ => return None,
        })
    }
}

fn write_spawn(pen: &mut Pen<'_>, spawn: &Spawn) {
    pen.key(spawn.key).bytes(spawn.tag.as_bytes()).path(&spawn.dir).path(&spawn.log);
    pen.path(spawn.stdout.as_deref().unwrap_or(Path::new("")));
    pen.u64(spawn.timeout_ms.unwrap_or(u64::MAX)).u64(spawn.grace_ms).i32(spawn.signal).u32(u32::from(spawn.wait_all));
    pen.u32(u32::try_from(spawn.argv.len()).unwrap_or(u32::MAX));
    for argument in &spawn.argv {
        pen.bytes(argument.as_bytes());
    }
    for (name, value) in &spawn.env {
        pen.bytes(name.as_bytes()).bytes(value.as_bytes());
    }
}

fn read_spawn(eye: &mut Eye<'_>) -> Option<Spawn> {
    let key = eye.key()?;
    let tag = eye.text()?;
    let dir = eye.path()?;
    let log = eye.path()?;
    let stdout = Some(eye.path()?).filter(|path| !path.as_os_str().is_empty());
    let timeout_ms = Some(eye.u64()?).filter(|time| *time != u64::MAX);
    let grace_ms = eye.u64()?;
    let signal = eye.i32()?;
    let wait_all = eye.u32()? != 0;
    let count = eye.u32()?;
    let argv = (0..count).map(|_| eye.text()).collect::<Option<_>>()?;
    let mut env = Vec::new();
    while !eye.0.is_empty() {
        env.push((eye.text()?, eye.text()?));
    }
    Some(Spawn { key, tag, argv, env, dir, log, stdout, timeout_ms, grace_ms, signal, wait_all })
}

impl Answer {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Welcome { version, pid, records } => {
                Pen::frame(out, 1).u32(*version).i32(*pid).u32(*records);
            }
            Self::Known(child) => {
                let mut pen = Pen::frame(out, 2);
                pen.key(child.key).i32(child.pid).u64(child.start).u64(child.started_ms).u64(child.ended_ms);
                pen.exit(child.exit);
            }
            Self::Started { key, pid, start, started_ms } => {
                Pen::frame(out, 3).key(*key).i32(*pid).u64(*start).u64(*started_ms);
            }
            Self::Refused { key, error } => {
                let (kind, subject, why) = refusal(error);
                {
                    Pen::frame(out, 4).key(*key).u32(kind).bytes(subject.as_bytes()).bytes(why.as_bytes());
                }
            }
            Self::Exited { key, exit } => {
                Pen::frame(out, 5).key(*key).exit(Some(*exit));
            }
        }
    }

    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let (kind, rest) = frame.split_first()?;
        let mut eye = Eye(rest);
        Some(match kind {
            1 => Self::Welcome { version: eye.u32()?, pid: eye.i32()?, records: eye.u32()? },
            2 => {
                let key = eye.key()?;
                let (pid, start) = (eye.i32()?, eye.u64()?);
                let (started_ms, ended_ms) = (eye.u64()?, eye.u64()?);
                Self::Known(ChildRecord { key, pid, start, started_ms, exit: eye.exit()?, ended_ms })
            }
            3 => Self::Started { key: eye.key()?, pid: eye.i32()?, start: eye.u64()?, started_ms: eye.u64()? },
            4 => Self::Refused { key: eye.key()?, error: refused(eye.u32()?, eye.text()?, eye.text()?)? },
            5 => Self::Exited { key: eye.key()?, exit: eye.exit()?? },
            _ => return None,
        })
    }
}

fn refusal(error: &StartError) -> (u32, &str, &str) {
    match error {
        StartError::NotFound { program } => (1, program, ""),
        StartError::NotExecutable { program, why } => (2, program, why),
        StartError::Dir { dir, why } => (3, dir, why),
        StartError::Output { path, why } => (4, path, why),
        StartError::ZeroByte { what } => (5, what, ""),
        StartError::Fork { program, why } => (6, program, why),
        StartError::Book { why } => (7, "", why),
        StartError::HostGone => (8, "", ""),
    }
}

fn refused(kind: u32, subject: String, why: String) -> Option<StartError> {
    Some(match kind {
        1 => StartError::NotFound { program: subject },
        2 => StartError::NotExecutable { program: subject, why },
        3 => StartError::Dir { dir: subject, why },
        4 => StartError::Output { path: subject, why },
        5 => StartError::ZeroByte { what: subject },
        6 => StartError::Fork { program: subject, why },
        7 => StartError::Book { why },
        8 => StartError::HostGone,
        _ => return None,
    })
}

/// Reads fields one after the other.
struct Eye<'a>(&'a [u8]);

impl<'a> Eye<'a> {
    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.fixed().map(i32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.fixed().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn text(&mut self) -> Option<String> {
        self.bytes().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
    }

    fn path(&mut self) -> Option<PathBuf> {
        self.bytes().map(|bytes| PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
    }

    fn key(&mut self) -> Option<ChildKey> {
        let (node, attempt, ordinal) = (self.u32()?, self.u32()?, self.u32()?);
        Some(ChildKey { node, attempt, ordinal: u16::try_from(ordinal).ok()? })
    }

    fn exit(&mut self) -> Option<Option<ChildExit>> {
        exit_from_wire(self.u32()?, self.i32()?)
    }
}

/// Bytes as they come in, cut into frames.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    /// Adds what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
            // A burst of long frames must not stay in a small process's memory for days.
            self.bytes.shrink_to(64 << 10);
        } else if self.taken > 256 << 10 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame. An error: the other side does not speak this protocol.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((head, _)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length == 0 || length > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a frame of this protocol"));
        }
        let begin = self.taken + 4;
        if self.bytes.len() < begin + length {
            return Ok(None);
        }
        self.taken = begin + length;
        Ok(self.bytes.get(begin..begin + length))
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Inbox, Order};
    use crate::host::{ChildExit, ChildKey, ChildRecord, Spawn, StartError};

    const KEY: ChildKey = ChildKey { node: 7, attempt: 2, ordinal: 65535 };

    fn orders() -> Vec<Order> {
        let spawn = Spawn {
            key: KEY,
            tag: "run/7/2".into(),
            argv: vec!["sh".into(), "-c".into(), String::new()],
            env: vec![("A".into(), "1=2".into()), ("B".into(), String::new())],
            dir: "/".into(),
            log: "/l".into(),
            stdout: None,
            timeout_ms: Some(5),
            grace_ms: 9,
            signal: 15,
            wait_all: true,
        };
        let other = Spawn { stdout: Some("/o".into()), timeout_ms: None, wait_all: false, ..spawn.clone() };
        vec![
            Order::Hello {
                version: 1,
                secrets: vec!["a".into(), "ß".into()],
                private: Some("/p".into()),
                spool_cap: 8,
            },
            Order::Hello { version: 2, secrets: vec![], private: None, spool_cap: 0 },
            Order::Spawn(Box::new(spawn)),
            Order::Spawn(Box::new(other)),
            Order::Stop(KEY),
            Order::Freeze(KEY),
            Order::Thaw(KEY),
            Order::Forget(KEY),
            Order::Settled,
        ]
    }

    #[test]
    fn orders_arrive_as_they_were_sent_however_the_bytes_are_cut() {
        let mut bytes = Vec::new();
        orders().iter().for_each(|order| order.write(&mut bytes));
        let mut inbox = Inbox::default();
        let mut got = Vec::new();
        for piece in bytes.chunks(3) {
            inbox.push(piece);
            while let Some(frame) = inbox.next().expect("a frame") {
                got.push(Order::read(frame).expect("an order"));
            }
        }
        assert_eq!(got, orders());
    }

    #[test]
    fn answers_arrive_as_they_were_sent() {
        let record =
            ChildRecord { key: KEY, pid: 4, start: 5, started_ms: 6, exit: Some(ChildExit::Signal(9)), ended_ms: 7 };
        let why = || "because".to_owned();
        let errors = [
            StartError::NotFound { program: "p".into() },
            StartError::NotExecutable { program: "p".into(), why: why() },
            StartError::Dir { dir: "d".into(), why: why() },
            StartError::Output { path: "o".into(), why: why() },
            StartError::ZeroByte { what: "w".into() },
            StartError::Fork { program: "p".into(), why: why() },
            StartError::Book { why: why() },
            StartError::HostGone,
        ];
        let mut answers = vec![
            Answer::Welcome { version: 1, pid: 2, records: 3 },
            Answer::Known(record),
            Answer::Known(ChildRecord { exit: None, ..record }),
            Answer::Started { key: KEY, pid: 1, start: 2, started_ms: 3 },
            Answer::Exited { key: KEY, exit: ChildExit::Code(255) },
            Answer::Exited { key: KEY, exit: ChildExit::TimedOut },
            Answer::Exited { key: KEY, exit: ChildExit::Unknown },
        ];
        answers.extend(errors.into_iter().map(|error| Answer::Refused { key: KEY, error }));
        for answer in answers {
            let mut bytes = Vec::new();
            answer.write(&mut bytes);
            assert_eq!(Answer::read(&bytes[4..]), Some(answer));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let mut inbox = Inbox::default();
        inbox.push(b"GET / HTTP/1.1\r\n");
        assert!(inbox.next().is_err());
        assert_eq!(Order::read(&[99]), None);
        assert_eq!(Order::read(&[3, 1]), None);
    }
}
