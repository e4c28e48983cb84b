//! The host's loop: one thread that waits for its driver, its children and its clock, and does what each asks.
//! Unaware of why a child is started or stopped.
//!
//! The order that may not be broken: room in the book, the process, its record, then its program; and at the end its exit
//! in the book, then the answer.

use super::book::{Book, Entry, HostId};
use super::children::{Children, boot_ms};
use super::crash::Crash;
use super::proto::{Answer, Inbox, Order, VERSION};
use super::spawn::{Ledger, Nursery, Prepared};
use super::spool::Spools;
use super::{ChildExit, ChildKey, ChildRecord, Spawn, StartError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, WaitStatus};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a host waits for the driver that started it.
const FIRST_DRIVER_MS: u64 = 10_000;
/// How long a greeting may wait for logs that an earlier host did not finish.
const LEFT_OUTPUT_MS: u64 = 2000;
/// Orders that are carried out before exits are looked at again.
const ORDERS_AT_ONCE: usize = 16;
/// An exit that the book does not take for this many half seconds is told anyway: the driver's journal is another file.
const UNWRITTEN_AT_MOST: u32 = 20;

/// What the loop waits for.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) listener: UnixListener,
    /// Readable when a child has ended.
    pub(super) signals: OwnedFd,
}

/// The driver at the other end.
#[derive(Debug)]
struct Driver {
    stream: UnixStream,
    inbox: Inbox,
    out: Vec<u8>,
    sent: usize,
    greeted: bool,
}

/// The host.
#[derive(Debug)]
pub(super) struct Server {
    sources: Sources,
    timer: OwnedFd,
    timer_at: Option<u64>,
    id: HostId,
    book: Book,
    /// What ended and is not forgotten yet, for a driver that comes later.
    ended: HashMap<ChildKey, ChildRecord>,
    children: Children,
    nursery: Nursery,
    spools: Spools,
    crash: Crash,
    driver: Option<Driver>,
    served: bool,
    started: u64,
    buffer: Vec<u8>,
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

impl Server {
    /// All that an own host needs; `held` is what the book held of earlier ones.
    pub(super) fn new(
        sources: Sources,
        id: HostId,
        book: (Book, Vec<Entry>),
        nursery: Nursery,
        crash: Crash,
    ) -> io::Result<Self> {
        sources.listener.set_nonblocking(true)?;
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let (book, held) = book;
        let spools = Spools::new(held);
        Ok(Self {
            sources,
            timer,
            timer_at: None,
            id,
            book,
            ended: HashMap::new(),
            children: Children::new(id.pid),
            nursery,
            spools,
            crash,
            driver: None,
            served: false,
            started: boot_ms(),
            buffer: vec![0; 64 << 10],
        })
    }

    /// Serves until nothing is left to do.
    pub(super) fn run(&mut self) -> io::Result<()> {
        loop {
            let waits = self.carry_out();
            self.collect();
            self.pass_time();
            self.flush();
            if self.is_done() {
                return Ok(());
            }
            self.wait(waits)?;
        }
    }

    fn is_done(&self) -> bool {
        let expects = !self.served && boot_ms() < self.started + FIRST_DRIVER_MS;
        self.driver.is_none() && self.children.is_empty() && self.spools.is_empty() && !expects
    }

    /// Sleeps until something happens; `busy`: only looks.
    fn wait(&mut self, busy: bool) -> io::Result<()> {
        self.set_timer()?;
        let mut fds = vec![
            PollFd::new(&self.sources.listener, PollFlags::IN),
            PollFd::new(&self.sources.signals, PollFlags::IN),
            PollFd::new(&self.timer, PollFlags::IN),
        ];
        if let Some(driver) = &self.driver {
            let write = if driver.out.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            fds.push(PollFd::new(&driver.stream, PollFlags::IN | write));
        }
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut fds, busy.then_some(&none)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready.first() == Some(&true) {
            self.accept();
        } else if ready.get(3) == Some(&true) {
            self.read();
        }
        Ok(())
    }

    fn set_timer(&mut self) -> io::Result<()> {
        let first = if self.served { None } else { Some(self.started + FIRST_DRIVER_MS) };
        let next = [self.children.next_deadline(), self.spools.next_look(), first].into_iter().flatten().min();
        if next == self.timer_at {
            return Ok(());
        }
        // Zero would switch the timer off.
        let at = next.map_or(0, |at| at.max(1)).cast_signed();
        let value = Timespec { tv_sec: at / 1000, tv_nsec: at % 1000 * 1_000_000 };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval, it_value: value })?;
        self.timer_at = next;
        Ok(())
    }

    /// A new driver replaces an old one; orders of the old one that were not read are void, so that what the new one
    /// is told of the book stays true.
    fn accept(&mut self) {
        while let Ok((stream, _)) = self.sources.listener.accept() {
            let own = rustix::process::geteuid();
            let same =
                rustix::net::sockopt::socket_peercred(&stream).is_ok_and(|peer| peer.uid == own || peer.uid.is_root());
            if same && stream.set_nonblocking(true).is_ok() {
                self.served = true;
                self.driver =
                    Some(Driver { stream, inbox: Inbox::default(), out: Vec::new(), sent: 0, greeted: false });
            }
        }
    }

    fn read(&mut self) {
        let Some(driver) = &mut self.driver else { return };
        match driver.stream.read(&mut self.buffer) {
            Ok(0) => self.driver = None,
            Ok(count) => driver.inbox.push(self.buffer.get(..count).unwrap_or_default()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.driver = None,
        }
    }

    fn flush(&mut self) {
        let Some(driver) = &mut self.driver else { return };
        while driver.sent < driver.out.len() {
            match driver.stream.write(driver.out.get(driver.sent..).unwrap_or_default()) {
                Ok(count) => driver.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.driver = None;
                    return;
                }
            }
        }
        driver.out.clear();
        driver.out.shrink_to(64 << 10);
        driver.sent = 0;
    }

    /// True: more orders wait.
    fn carry_out(&mut self) -> bool {
        for _ in 0..ORDERS_AT_ONCE {
            let Some(driver) = &mut self.driver else { return false };
            let order = match driver.inbox.next() {
                Ok(None) => return false,
                Ok(Some(frame)) => Order::read(frame),
                Err(_) => None,
            };
            // Whoever does not speak the protocol, or speaks before the greeting, is no driver.
            match order {
                Some(order @ Order::Hello { .. }) => self.obey(order),
                Some(order) if driver.greeted => self.obey(order),
                Some(_) | None => self.driver = None,
            }
        }
        true
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Hello { version, secrets, private, spool_cap } => {
                self.spools.set_up(&secrets, private, spool_cap);
                self.spools.drain_left(boot_ms() + LEFT_OUTPUT_MS);
                self.greet(version);
            }
            Order::Spawn(spawn) => self.spawn(&spawn),
            Order::Stop(key) => self.children.stop(key),
            Order::Freeze(key) => self.children.freeze(key, true),
            Order::Thaw(key) => self.children.freeze(key, false),
            Order::Forget(key) => {
                if self.children.get(key).is_none() && self.book.forget(key).is_ok() {
                    self.ended.remove(&key);
                }
            }
            // Not written: then the driver settles again at its next resume.
            Order::Settled => drop(self.book.settle()),
        }
    }

    fn greet(&mut self, version: u32) {
        let Some(driver) = &mut self.driver else { return };
        driver.greeted = version == VERSION;
        let known: Vec<ChildRecord> = self.ended.values().copied().chain(self.children.records()).collect();
        let records = u32::try_from(known.len()).unwrap_or(u32::MAX);
        Answer::Welcome { version: VERSION, pid: self.id.pid, records }.write(&mut driver.out);
        if driver.greeted {
            known.into_iter().for_each(|child| Answer::Known(child).write(&mut driver.out));
        }
    }

    fn tell(&mut self, answer: &Answer) {
        if let Some(driver) = &mut self.driver {
            answer.write(&mut driver.out);
        }
    }

    fn spawn(&mut self, spawn: &Spawn) {
        let key = spawn.key;
        let known = self.ended.get(&key).copied().or_else(|| self.children.get(key).map(|child| child.record));
        if let Some(child) = known {
            return self.tell_known(&child);
        }
        if self.book.knows(key) {
            // An earlier host started it; what became of it is not ours to say, and it is never started twice.
            return self.tell(&Answer::Exited { key, exit: ChildExit::Unknown });
        }
        let answer = match self.start(spawn) {
            Ok(child) => Answer::Started { key, pid: child.pid, start: child.start, started_ms: child.started_ms },
            Err(error) => Answer::Refused { key, error },
        };
        self.tell(&answer);
    }

    fn tell_known(&mut self, child: &ChildRecord) {
        let ChildRecord { key, pid, start, started_ms, exit, .. } = *child;
        self.tell(&Answer::Started { key, pid, start, started_ms });
        if let Some(exit) = exit {
            self.tell(&Answer::Exited { key, exit });
        }
    }

    fn start(&mut self, spawn: &Spawn) -> Result<ChildRecord, StartError> {
        let in_book = |error: io::Error| StartError::Book { why: error.to_string() };
        self.book.reserve().map_err(in_book)?;
        let output = self.spools.output_of(spawn)?;
        let made = self.nursery.prepare(spawn, &output).and_then(|prepared| self.make(spawn, &prepared));
        if made.is_err() {
            self.spools.abandon(spawn.key);
        }
        made
    }

    fn make(&mut self, spawn: &Spawn, prepared: &Prepared) -> Result<ChildRecord, StartError> {
        self.crash.point("before-fork");
        let key = spawn.key;
        let child = ChildRecord { key, pid: 0, start: 0, started_ms: now_ms(), exit: None, ended_ms: 0 };
        let mut page = Page { book: &mut self.book, crash: &self.crash, child };
        self.nursery.make(spawn, prepared, &mut page)?;
        let child = page.child;
        self.crash.point("after-exec");
        self.children.add(child, spawn);
        Ok(child)
    }

    /// Collects what has ended.
    fn collect(&mut self) {
        // Emptied before the children are asked: one that ends in between is announced again.
        let _ = rustix::io::read(&self.sources.signals, &mut self.buffer);
        let mut strangers = false;
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let Some(exit) = exit_of(status) else { continue };
            match self.children.main_ended(pid.as_raw_nonzero().get(), exit) {
                Some(key) => self.end(key),
                None => strangers = true,
            }
        }
        if strangers {
            self.children.emptied().into_iter().for_each(|key| self.end(key));
        }
    }

    fn pass_time(&mut self) {
        let now = boot_ms();
        if self.timer_at.is_some_and(|at| at <= now) {
            self.timer_at = None;
            // Read, so that a timer that is not set again is quiet.
            let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        }
        if self.children.next_deadline().is_some_and(|at| at <= now) {
            self.children.emptied().into_iter().for_each(|key| self.end(key));
            self.children.pass_deadlines(now).into_iter().for_each(|key| self.end(key));
        }
        for key in self.spools.look(now) {
            self.children.stop(key);
        }
        for child in self.spools.drained() {
            self.tell(&Answer::Exited { key: child.key, exit: child.exit.unwrap_or(ChildExit::Unknown) });
        }
    }

    /// Writes a child's exit down, and then tells it.
    fn end(&mut self, key: ChildKey) {
        let Some(exit) = self.children.end(key) else { return };
        let Some(child) = self.children.get(key) else { return };
        let record = ChildRecord { exit: Some(exit), ended_ms: now_ms(), ..child.record };
        let unwritten = child.unwritten;
        self.crash.point("before-exit-record");
        if self.book.write(&record).is_err() && unwritten < UNWRITTEN_AT_MOST {
            return self.children.retry_end(key, 500);
        }
        self.crash.point("after-exit-record");
        self.children.remove(key);
        self.ended.insert(key, record);
        if !self.spools.close(&record) {
            self.tell(&Answer::Exited { key, exit });
        }
    }
}

fn exit_of(status: WaitStatus) -> Option<ChildExit> {
    status.exit_status().map(ChildExit::Code).or_else(|| status.terminating_signal().map(ChildExit::Signal))
}

/// A child's place in the book, in the hands of the child itself.
struct Page<'a> {
    book: &'a mut Book,
    crash: &'a Crash,
    child: ChildRecord,
}

impl Ledger for Page<'_> {
    fn enter(&mut self, pid: i32, start: u64) -> io::Result<()> {
        self.crash.point("after-fork");
        self.child = ChildRecord { pid, start, ..self.child };
        self.book.write(&self.child)?;
        self.crash.point("after-record");
        Ok(())
    }

    fn strike(&mut self) {
        // A record of a process that has ended is no lie; it makes the fate lost instead of never started.
        let _ = self.book.forget(self.child.key);
    }
}
