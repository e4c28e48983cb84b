//! Where a run keeps what: the layout of the state directory, in one place.
//! Unaware of what the files hold. Every name here is part of the contract with other versions of flowrun.

use std::path::{Path, PathBuf};

/// The state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(pub PathBuf);

impl StateDir {
    /// All runs.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.0.join("runs")
    }

    /// What `runs` lists; derived.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.0.join("index.db")
    }

    /// One run.
    #[must_use]
    pub fn run(&self, id: &str) -> RunDir {
        RunDir(self.runs().join(id))
    }
}

/// The directory of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(pub PathBuf);

impl RunDir {
    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The run's id: the directory's name.
    #[must_use]
    pub fn id(&self) -> String {
        self.0.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal.db")
    }

    /// Held (flock) by the driver of the run for as long as it lives.
    #[must_use]
    pub fn driver_lock(&self) -> PathBuf {
        self.0.join("driver.lock")
    }

    /// The driver's socket: cancel, pause, attach.
    #[must_use]
    pub fn driver_socket(&self) -> PathBuf {
        self.0.join("driver.sock")
    }

    /// What the live driver shows of gates and progress; lossy, rewritten as a whole.
    #[must_use]
    pub fn live(&self) -> PathBuf {
        self.0.join("live.json")
    }

    /// Held (flock) by the host for life.
    #[must_use]
    pub fn host_lock(&self) -> PathBuf {
        self.0.join("host.lock")
    }

    /// The host's socket.
    #[must_use]
    pub fn host_socket(&self) -> PathBuf {
        self.0.join("host.sock")
    }

    /// The host's book of children.
    #[must_use]
    pub fn book(&self) -> PathBuf {
        self.0.join("book")
    }

    /// Files of attempts, gone after their end.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }

    /// The log of an attempt. The address is the path, so that a person finds it; a part too long for a file name is
    /// cut and told apart by a hash of the whole.
    #[must_use]
    pub fn log(&self, address: &str, attempt: u32) -> PathBuf {
        let mut path = self.0.join("logs");
        let mut parts = address.split('/').peekable();
        while let Some(part) = parts.next() {
            let part = file_part(part);
            if parts.peek().is_some() {
                path.push(part);
            } else {
                path.push(format!("{part}.{attempt}.log"));
            }
        }
        path
    }
}

/// A file name for one part of an address: at most 200 bytes, never `.` or `..`, different for different parts.
fn file_part(part: &str) -> String {
    if part.len() <= 200 && !part.starts_with('.') {
        return part.to_owned();
    }
    let mut cut = part.len().min(160);
    while !part.is_char_boundary(cut) {
        cut -= 1;
    }
    let start = part.get(..cut).unwrap_or_default().trim_start_matches('.');
    format!("_{start}~{:016x}", fnv1a(part.as_bytes()))
}

/// FNV-1a: the same in every version of flowrun, which std's hasher is not.
#[must_use]
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::RunDir;
    use std::path::Component;

    #[test]
    fn a_log_lies_where_its_address_says() {
        let run = RunDir("/s/runs/abc".into());
        assert_eq!(run.log("dump/acme", 2).to_str(), Some("/s/runs/abc/logs/dump/acme.2.log"));
    }

    #[test]
    fn long_and_dotted_parts_stay_inside_and_apart() {
        let run = RunDir("/s".into());
        let long = "x".repeat(300);
        let other = format!("{}y", "x".repeat(299));
        assert_ne!(run.log(&long, 1), run.log(&other, 1));
        assert!(run.log(&long, 1).file_name().is_some_and(|n| n.len() < 255));
        assert!(run.log("../..", 1).components().all(|part| part != Component::ParentDir));
    }
}
