//! Reads a plan from the disk, or from the texts that a run has pinned.
//! Unaware of what a plan means.

use super::check::{Builder, Reader};
use super::codes;
use super::diagnostic::{Diagnostic, Severity};
use super::model::CheckedPlan;
use super::source::{Sources, Span};
use flowrun_sdk::Registry;
use std::path::Path;

/// A larger file is no plan.
const MAX_BYTES: u64 = 64 << 20;

/// What came of reading a plan.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Every file that took part.
    pub sources: Sources,
    /// The plan; none where a diagnostic is an error.
    pub plan: Option<CheckedPlan>,
    /// Everything that is wrong or remarkable, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether something stops the plan.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

struct Disk;

impl Reader for Disk {
    fn read(&mut self, path: &Path) -> Result<String, String> {
        let describe = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::PermissionDenied => "reading it is not permitted".to_owned(),
            std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
            _ => error.to_string(),
        };
        let about = std::fs::metadata(path).map_err(describe)?;
        if about.is_dir() {
            return Err("it is a folder".to_owned());
        }
        if about.len() > MAX_BYTES {
            return Err("it is larger than 64 MiB, so it is no plan".to_owned());
        }
        let bytes = std::fs::read(path).map_err(describe)?;
        let text = String::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_owned())?;
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }
}

struct Pinned<'a>(&'a Sources);

impl Reader for Pinned<'_> {
    fn read(&mut self, path: &Path) -> Result<String, String> {
        let found = self.0.find(path).and_then(|id| self.0.get(id));
        found.map(|file| file.text.to_string()).ok_or_else(|| "the run has not pinned it".to_owned())
    }
}

/// Reads a plan from the disk, with everything that it calls.
#[must_use]
pub fn load(path: &Path, registry: &Registry) -> Loaded {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    build(&mut Disk, &path.display().to_string(), &full, registry)
}

/// Reads a plan from the texts that a run has pinned, and from nothing else. `root` is the absolute path of its own plan.
#[must_use]
pub fn load_pinned(sources: &Sources, root: &Path, registry: &Registry) -> Loaded {
    let name = sources.find(root).and_then(|id| sources.get(id)).map(|file| file.name.to_string());
    build(&mut Pinned(sources), &name.unwrap_or_else(|| root.display().to_string()), root, registry)
}

/// Reads a plan from a text that stands nowhere; plans that it calls are read from the disk beside `path`.
#[must_use]
pub fn load_text(name: &str, path: &Path, text: &str, registry: &Registry) -> Loaded {
    struct One<'a>(&'a Path, &'a str);
    impl Reader for One<'_> {
        fn read(&mut self, path: &Path) -> Result<String, String> {
            if path == self.0 { Ok(self.1.to_owned()) } else { Disk.read(path) }
        }
    }
    build(&mut One(path, text), name, path, registry)
}

/// The parser and the checks descend into nested values; a debug build needs more stack for 64 levels than the threads
/// of tests and of tokio have.
const STACK: usize = 32 << 20;

fn build(reader: &mut (dyn Reader + Send), name: &str, path: &Path, registry: &Registry) -> Loaded {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("plan".to_owned()).stack_size(STACK);
        match thread
            .spawn_scoped(scope, || build_here(reader, name, path, registry))
            .map(std::thread::ScopedJoinHandle::join)
        {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => cannot_read(name, path, &format!("no thread can be started: {error}")),
        }
    })
}

fn build_here(reader: &mut (dyn Reader + Send), name: &str, path: &Path, registry: &Registry) -> Loaded {
    let text = match reader.read(path) {
        Ok(text) => text,
        Err(reason) => return cannot_read(name, path, &reason),
    };
    let mut builder = Builder::new(reader, registry);
    let root = builder.sources.add(name, path, &text);
    builder.run(root);
    let (plan, sources, diagnostics) = builder.finish();
    let stops = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    Loaded { sources, plan: (!stops).then_some(plan), diagnostics }
}

fn cannot_read(name: &str, path: &Path, reason: &str) -> Loaded {
    let mut sources = Sources::default();
    let root = sources.add(name, path, "");
    let message = format!("cannot read the plan `{name}`: {reason}");
    let fault =
        Diagnostic::error(codes::UNREADABLE, Span::new(root, 0, 0), message).help("give the path of a plan file");
    Loaded { sources, plan: None, diagnostics: vec![fault] }
}
