//! What `archive.create` and `archive.extract` share: compressed tar streams that can be stopped and that show how far
//! they are. Unaware of what is packed. A stream that ends too early is an error, never a short archive.

use flowrun_sdk::schemars::{self, JsonSchema};
use flowrun_sdk::{Progress, StepCx, StepError, StepResult};
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often progress is shown.
const SHOW: Duration = Duration::from_millis(500);

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Format {
    /// gzip: read everywhere.
    #[serde(rename = "tar.gz")]
    Gzip,
    /// zstd: smaller in less time.
    #[serde(rename = "tar.zst")]
    Zstd,
}

impl Format {
    /// What the end of a name says.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let ends = |ends: [&str; 2]| ends.iter().any(|end| name.ends_with(end));
        if ends([".tar.gz", ".tgz"]) {
            Some(Self::Gzip)
        } else if ends([".tar.zst", ".tzst"]) {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    fn of_content(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Counts bytes, shows them, and stops the work when the attempt is to stop.
pub struct Gauge {
    cx: StepCx,
    stop: CancellationToken,
    done: AtomicU64,
    total: u64,
    shown: Mutex<Instant>,
}

impl Gauge {
    /// Of so many bytes; stopped by this token.
    pub fn new(cx: &StepCx, stop: &CancellationToken, total: u64) -> Arc<Self> {
        Arc::new(Self {
            cx: cx.clone(),
            stop: stop.clone(),
            done: AtomicU64::new(0),
            total,
            shown: Mutex::new(Instant::now()),
        })
    }

    fn add(&self, bytes: usize) -> io::Result<()> {
        if self.stop.is_cancelled() {
            // Not `Interrupted`: that is tried again by everything that copies.
            return Err(io::Error::other("stopped"));
        }
        let done = self.done.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.elapsed() >= SHOW {
            *shown = Instant::now();
            self.show(done);
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "progress is shown to three digits")]
    fn show(&self, done: u64) {
        self.cx.progress(Progress { done: done as f64, total: Some(self.total as f64), unit: "bytes".to_owned() });
    }

    /// An error of the work, unless it was told to stop.
    pub fn told(&self, error: StepError) -> StepError {
        if self.stop.is_cancelled() { StepError::cancelled() } else { error }
    }
}

/// A reader that a [`Gauge`] watches.
pub struct Gauged<R> {
    inner: R,
    gauge: Arc<Gauge>,
}

impl<R> Gauged<R> {
    /// This reader, watched.
    pub fn new(inner: R, gauge: &Arc<Gauge>) -> Self {
        Self { inner, gauge: Arc::clone(gauge) }
    }
}

impl<R: Read> Read for Gauged<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.gauge.add(read)?;
        Ok(read)
    }
}

/// The tar stream inside an archive.
pub struct Unpacked<'a> {
    inner: Box<dyn Read + 'a>,
    /// Bytes that are zero, counted from the end of what was read.
    zeros: u64,
}

impl<'a> Unpacked<'a> {
    /// Opens an archive by what it is, not by its name.
    pub fn open(path: &Path, gauge: impl FnOnce(u64) -> Arc<Gauge>) -> StepResult<Self> {
        let failed = |error: io::Error| broken(path, &error);
        let mut file = File::open(path).map_err(failed)?;
        let facts = file.metadata().map_err(failed)?;
        if !facts.is_file() {
            return Err(StepError::permanent(format!("cannot read archive `{}`: it is not a file", path.display())));
        }
        let mut start = Vec::new();
        file.by_ref().take(4).read_to_end(&mut start).map_err(failed)?;
        let whole = io::Cursor::new(start.clone()).chain(file);
        let gauged = BufReader::with_capacity(128 * 1024, Gauged::new(whole, &gauge(facts.len())));
        let inner: Box<dyn Read> = match Format::of_content(&start) {
            Some(Format::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(gauged)),
            Some(Format::Zstd) => Box::new(zstd::Decoder::with_buffer(gauged).map_err(failed)?),
            None => {
                return Err(StepError::permanent(format!(
                    "cannot read archive `{}`: it is neither gzip nor zstd",
                    path.display()
                )));
            }
        };
        Ok(Self { inner, zeros: 0 })
    }

    /// Reads on to the end: the checksums of gzip and zstd stand there, and a whole tar ends in two empty blocks.
    pub fn finish(mut self, path: &Path) -> StepResult<()> {
        io::copy(&mut self, &mut io::sink()).map_err(|error| broken(path, &error))?;
        if self.zeros >= 1024 {
            return Ok(());
        }
        Err(broken(path, &io::Error::new(io::ErrorKind::UnexpectedEof, "the end of its list of files is missing")))
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let trailing = buffer.iter().take(read).rev().take_while(|byte| **byte == 0).count();
        self.zeros = if trailing == read { self.zeros + read as u64 } else { trailing as u64 };
        Ok(read)
    }
}

/// An archive that cannot be read.
pub fn broken(path: &Path, error: &io::Error) -> StepError {
    let error = StepError::permanent(format!("cannot read archive `{}`: {error}", path.display()));
    error.hint("where it is cut short or damaged, make it or fetch it again")
}

#[cfg(test)]
mod tests {
    use super::Format;
    use std::path::Path;

    #[test]
    fn a_name_tells_its_format() {
        for (name, format) in [
            ("a.tar.gz", Some(Format::Gzip)),
            ("a.tgz", Some(Format::Gzip)),
            ("x/a.b.tar.zst", Some(Format::Zstd)),
            ("a.tar", None),
            ("a.gz", None),
            ("", None),
        ] {
            assert_eq!(Format::of_name(Path::new(name)), format, "{name}");
        }
    }
}
