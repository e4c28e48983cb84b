//! `archive.create`: a folder or a file as one compressed tar archive.
//! Unaware of what the files are. The archive appears under its name only after it was read back whole.

use crate::files::{blocking, failed, remove, resolve, sync_parent, unfinished};
use crate::tarball::{Format, Gauge, Gauged, Unpacked};
use flowrun_sdk::schemars::{self, JsonSchema};
use flowrun_sdk::{Found, StepCx, StepError, StepResult, StepType};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The step type.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArchiveCreate;

/// What `archive.create` takes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The archive; a relative path starts at the step's directory. One that is there is replaced when the new one is
    /// whole. It gets mode 0600.
    pub path: String,
    /// The folder or file to pack. Names in the archive begin with its last part.
    pub source: String,
    /// How it is compressed. By default the end of `path` says it: `.tar.gz`, `.tgz`, `.tar.zst`, `.tzst`.
    #[serde(default)]
    pub format: Option<Format>,
    /// How hard it is compressed: 0 to 9 for gzip (6 by default), 1 to 19 for zstd (3 by default).
    #[serde(default)]
    pub level: Option<u32>,
    /// What is left out: names such as `*.log`, or paths inside the source such as `tmp/*`; `*` does not cross a `/`,
    /// `**` does. Of a folder that is left out nothing is packed.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// What `archive.create` hands out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The archive, as an absolute path.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// How many files are in it, folders and links not counted.
    pub files: u64,
    /// The size of these files.
    pub content_bytes: u64,
}

/// The note made before the archive gets its name.
const NOTE: &str = "whole";

impl StepType for ArchiveCreate {
    type Input = Input;
    type Output = Output;
    const NAME: &'static str = "archive.create";
    const SUMMARY: &'static str =
        "Packs a folder or a file into a tar archive with gzip or zstd, and reads it back whole.";
    const RECONCILE: &'static str = "Looks for the archive that this step noted before it gave it its name: done where that \
one stands there and can be read to its end, else not done; what is unfinished is removed.";

    async fn preflight(&self, cx: &StepCx, input: &Input) -> StepResult<()> {
        Job::new(cx, input).map(|_| ())
    }

    async fn run(&self, cx: &StepCx, input: &Input) -> StepResult<Output> {
        let job = Arc::new(Job::new(cx, input)?);
        // Dropped with this future: then nobody waits for the thread's work any more.
        let stop = cx.cancelled().child_token();
        let _guard = stop.clone().drop_guard();
        let (worker, theirs) = (Arc::clone(&job), cx.clone());
        let (packed, facts) = blocking(move || {
            let packed = worker.pack_and_check(&theirs, &stop);
            if packed.is_err() {
                // The cause is told; what is left of the try is removed as far as that goes.
                drop(remove(&worker.unfinished));
            }
            packed
        })
        .await?;
        let output = job.output(&packed, &facts);
        cx.note(NOTE, json!({ "device": facts.dev(), "inode": facts.ino(), "output": output })).await?;
        blocking(move || job.publish()).await?;
        Ok(output)
    }

    async fn reconcile(&self, cx: &StepCx, input: &Input) -> StepResult<Found<Output>> {
        let job = Job::new(cx, input)?;
        let note = cx.notes().into_iter().rfind(|note| note.key == NOTE).map(|note| note.value);
        let (theirs, stop) = (cx.clone(), cx.cancelled().clone());
        blocking(move || {
            remove(&job.unfinished).map_err(|error| failed("remove", &job.unfinished, &error))?;
            let Some((note, facts)) = note.zip(std::fs::metadata(&job.path).ok()) else { return Ok(Found::NotDone) };
            let ours = note["device"] == facts.dev() && note["inode"] == facts.ino();
            let output = serde_json::from_value::<Output>(note["output"].clone()).ok().filter(|_| ours);
            let Some(output) = output.filter(|output| output.bytes == facts.len()) else { return Ok(Found::NotDone) };
            Ok(match read_back(&theirs, &stop, &job.path) {
                Ok(read) if read.files == output.files && read.bytes == output.content_bytes => Found::Done(output),
                Ok(_) | Err(_) => Found::NotDone,
            })
        })
        .await
    }
}

/// What is in an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Packed {
    entries: u64,
    files: u64,
    bytes: u64,
}

/// The work with its inputs read.
struct Job {
    path: PathBuf,
    unfinished: PathBuf,
    source: PathBuf,
    format: Format,
    level: u32,
    exclude: Vec<Glob>,
}

/// One thing to pack.
struct Member {
    path: PathBuf,
    name: PathBuf,
    facts: Metadata,
}

impl Job {
    fn new(cx: &StepCx, input: &Input) -> StepResult<Self> {
        let path = resolve(cx, &input.path);
        let source = resolve(cx, &input.source);
        let format = input.format.or_else(|| Format::of_name(&path)).ok_or_else(|| {
            StepError::permanent(format!("cannot make archive `{}`: its name does not tell its format", input.path))
                .hint("end `path` in `.tar.gz` or `.tar.zst`, or say `format`")
        })?;
        let (levels, usual) = match format {
            Format::Gzip => (0..=9, 6),
            Format::Zstd => (1..=19, 3),
        };
        let level = input.level.unwrap_or(usual);
        if !levels.contains(&level) {
            return Err(StepError::permanent(format!(
                "cannot make archive `{}`: there is no level {level}",
                input.path
            ))
            .hint(format!("choose one from {} to {}", levels.start(), levels.end())));
        }
        if source.file_name().is_none() {
            return Err(StepError::permanent(format!("cannot pack `{}`: its path ends in no name", input.source)));
        }
        let exclude = input.exclude.iter().map(|glob| Glob::new(glob)).collect::<StepResult<_>>()?;
        Ok(Self { unfinished: unfinished(cx, &path), path, source, format, level, exclude })
    }

    fn output(&self, packed: &Packed, facts: &Metadata) -> Output {
        Output {
            path: self.path.to_string_lossy().into_owned(),
            bytes: facts.len(),
            files: packed.files,
            content_bytes: packed.bytes,
        }
    }

    fn pack_and_check(&self, cx: &StepCx, stop: &CancellationToken) -> StepResult<(Packed, Metadata)> {
        self.refuse_itself()?;
        let members = self.members(cx, stop)?;
        let total = members.iter().filter(|member| member.facts.is_file()).map(|member| member.facts.len()).sum();
        let gauge = Gauge::new(cx, stop, total);
        let packed = self.pack(&members, &gauge).map_err(|error| gauge.told(error))?;
        let facts = std::fs::metadata(&self.unfinished).map_err(|error| failed("look at", &self.unfinished, &error))?;
        check(&packed, cx, stop, &self.unfinished)?;
        Ok((packed, facts))
    }

    /// An archive in its own source would grow for ever.
    fn refuse_itself(&self) -> StepResult<()> {
        let source = self.source.canonicalize().map_err(|error| failed("pack", &self.source, &error))?;
        let parent = self.path.parent().unwrap_or(&self.path);
        let parent = parent.canonicalize().map_err(|error| failed("make an archive in", parent, &error))?;
        if parent.starts_with(&source) {
            return Err(StepError::permanent(format!(
                "cannot pack `{}`: the archive `{}` would lie in it",
                self.source.display(),
                self.path.display()
            ))
            .hint("put the archive into another folder"));
        }
        Ok(())
    }

    /// Everything to pack, in the order of names.
    fn members(&self, cx: &StepCx, stop: &CancellationToken) -> StepResult<Vec<Member>> {
        let root = PathBuf::from(self.source.file_name().unwrap_or_default());
        // The source may be a link to the folder that is meant.
        let facts = std::fs::metadata(&self.source).map_err(|error| failed("pack", &self.source, &error))?;
        let mut members = Vec::new();
        let mut open = vec![Member { path: self.source.clone(), name: root.clone(), facts }];
        while let Some(member) = open.pop() {
            if stop.is_cancelled() {
                return Err(StepError::cancelled());
            }
            if member.facts.is_dir() {
                open.extend(self.children(&member, &root)?);
            }
            if member.facts.file_type().is_socket() {
                cx.log(&format!("left out `{}`: a socket cannot be packed", member.path.display()));
            } else {
                members.push(member);
            }
        }
        Ok(members)
    }

    /// The children of a folder, last name first.
    fn children(&self, folder: &Member, root: &Path) -> StepResult<Vec<Member>> {
        let told = |error: io::Error| failed("read the folder", &folder.path, &error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder.path).map_err(told)? {
            names.push(entry.map_err(told)?.file_name());
        }
        names.sort_by(|a, b| b.cmp(a));
        let mut children = Vec::with_capacity(names.len());
        for name in names {
            let (path, name) = (folder.path.join(&name), folder.name.join(&name));
            let inside = name.strip_prefix(root).unwrap_or(&name);
            if self.exclude.iter().any(|glob| glob.matches(inside)) {
                continue;
            }
            let facts = std::fs::symlink_metadata(&path).map_err(|error| vanished(&path, &error))?;
            children.push(Member { path, name, facts });
        }
        Ok(children)
    }

    fn pack(&self, members: &[Member], gauge: &Arc<Gauge>) -> StepResult<Packed> {
        let told = |error: io::Error| failed("write the archive", &self.unfinished, &error);
        remove(&self.unfinished).map_err(told)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.unfinished).map_err(told)?;
        let file = BufWriter::with_capacity(128 * 1024, file);
        let (packed, file) = match self.format {
            Format::Gzip => {
                let packer = flate2::write::GzEncoder::new(file, flate2::Compression::new(self.level));
                let (packed, packer) = append_all(packer, members, gauge, &self.unfinished)?;
                (packed, packer.finish().map_err(told)?)
            }
            Format::Zstd => {
                let level = i32::try_from(self.level).unwrap_or_default();
                let mut packer = zstd::Encoder::new(file, level).map_err(told)?;
                packer.include_checksum(true).map_err(told)?;
                let (packed, packer) = append_all(packer, members, gauge, &self.unfinished)?;
                (packed, packer.finish().map_err(told)?)
            }
        };
        let file = file.into_inner().map_err(|error| told(error.into_error()))?;
        file.sync_all().map_err(told)?;
        Ok(packed)
    }

    fn publish(&self) -> StepResult<()> {
        std::fs::rename(&self.unfinished, &self.path)
            .and_then(|()| sync_parent(&self.path))
            .map_err(|error| failed("give its name to the archive", &self.path, &error))
    }
}

fn append_all<W: Write>(writer: W, members: &[Member], gauge: &Arc<Gauge>, to: &Path) -> StepResult<(Packed, W)> {
    let mut builder = tar::Builder::new(writer);
    let mut packed = Packed::default();
    for member in members {
        append(&mut builder, member, gauge, to)?;
        packed.entries += 1;
        if member.facts.is_file() {
            packed.files += 1;
            packed.bytes += member.facts.len();
        }
    }
    let writer = builder.into_inner().map_err(|error| failed("write the archive", to, &error))?;
    Ok((packed, writer))
}

fn append<W: Write>(builder: &mut tar::Builder<W>, member: &Member, gauge: &Arc<Gauge>, to: &Path) -> StepResult<()> {
    let told = |error: io::Error| failed("write the archive", to, &error);
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&member.facts);
    let kind = member.facts.file_type();
    if kind.is_file() {
        append_file(builder, header, member, gauge, to)
    } else if kind.is_dir() {
        header.set_size(0);
        builder.append_data(&mut header, member.name.join(""), io::empty()).map_err(told)
    } else if kind.is_symlink() {
        let target = std::fs::read_link(&member.path).map_err(|error| vanished(&member.path, &error))?;
        header.set_size(0);
        builder.append_link(&mut header, &member.name, target).map_err(told)
    } else {
        Err(StepError::permanent(format!(
            "cannot pack `{}`: it is neither a file nor a folder nor a link",
            member.path.display()
        ))
        .hint("leave it out with `exclude`"))
    }
}

/// A file must be the same before and after it is read: half of an old and half of a new one is neither.
fn append_file<W: Write>(
    builder: &mut tar::Builder<W>,
    mut header: tar::Header,
    member: &Member,
    gauge: &Arc<Gauge>,
    to: &Path,
) -> StepResult<()> {
    let file = File::open(&member.path).map_err(|error| vanished(&member.path, &error))?;
    let mut source = Source { file: Gauged::new(&file, gauge).take(member.facts.len()), read: 0, error: None };
    header.set_size(member.facts.len());
    let appended = builder.append_data(&mut header, &member.name, &mut source);
    if let Some(error) = source.error {
        return Err(failed("read", &member.path, &error));
    }
    let read = source.read;
    appended.map_err(|error| failed("write the archive", to, &error))?;
    let now = file.metadata().map_err(|error| failed("look at", &member.path, &error))?;
    let stamp = |facts: &Metadata| (facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec());
    if read != member.facts.len() || stamp(&now) != stamp(&member.facts) {
        return Err(changed(&member.path));
    }
    Ok(())
}

/// Tells errors of reading from errors of writing, which copying mixes.
struct Source<R> {
    file: R,
    read: u64,
    error: Option<io::Error>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Ok(read) => {
                self.read += read as u64;
                Ok(read)
            }
            Err(error) => {
                let copy = io::Error::new(error.kind(), error.to_string());
                self.error = Some(error);
                Err(copy)
            }
        }
    }
}

fn changed(path: &Path) -> StepError {
    StepError::transient(format!("cannot pack `{}`: it changed while it was read", path.display()))
        .hint("stop what writes to it, or leave it out with `exclude`")
}

fn vanished(path: &Path, error: &io::Error) -> StepError {
    if error.kind() == io::ErrorKind::NotFound { changed(path) } else { failed("pack", path, error) }
}

/// The verdict: the archive read back to its end holds what was packed.
fn check(packed: &Packed, cx: &StepCx, stop: &CancellationToken, path: &Path) -> StepResult<()> {
    let read = read_back(cx, stop, path)?;
    if read == *packed {
        return Ok(());
    }
    Err(StepError::transient(format!(
        "archive `{}` is not what was packed: {} entries with {} bytes went in, {} with {} can be read back",
        path.display(),
        packed.entries,
        packed.bytes,
        read.entries,
        read.bytes
    )))
}

fn read_back(cx: &StepCx, stop: &CancellationToken, path: &Path) -> StepResult<Packed> {
    let mut gauge = None;
    let unpacked = Unpacked::open(path, |size| Arc::clone(gauge.insert(Gauge::new(cx, stop, size))))?;
    let read = count(unpacked, path);
    match gauge {
        Some(gauge) => read.map_err(|error| gauge.told(error)),
        None => read,
    }
}

fn count(unpacked: Unpacked<'_>, path: &Path) -> StepResult<Packed> {
    let told = |error: io::Error| crate::tarball::broken(path, &error);
    let mut archive = tar::Archive::new(unpacked);
    let mut read = Packed::default();
    for entry in archive.entries().map_err(told)? {
        let mut entry = entry.map_err(told)?;
        read.entries += 1;
        let bytes = io::copy(&mut entry, &mut io::sink()).map_err(told)?;
        if entry.header().entry_type().is_file() {
            read.files += 1;
            read.bytes += bytes;
        }
    }
    archive.into_inner().finish(path)?;
    Ok(read)
}

/// A pattern of `exclude`.
struct Glob {
    regex: Regex,
    whole_path: bool,
}

impl Glob {
    fn new(glob: &str) -> StepResult<Self> {
        let mut pattern = String::from("^");
        let mut rest = glob.trim_end_matches('/').chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '*' if rest.next_if_eq(&'*').is_some() => pattern.push_str(".*"),
                '*' => pattern.push_str("[^/]*"),
                '?' => pattern.push_str("[^/]"),
                c => pattern.push_str(&regex::escape(&c.to_string())),
            }
        }
        pattern.push('$');
        let regex = Regex::new(&pattern)
            .map_err(|error| StepError::permanent(format!("cannot read `{glob}` of `exclude`: {error}")))?;
        Ok(Self { regex, whole_path: glob.trim_end_matches('/').contains('/') })
    }

    fn matches(&self, path: &Path) -> bool {
        let text = if self.whole_path { Some(path.as_os_str()) } else { path.file_name() };
        text.is_some_and(|text| self.regex.is_match(&text.to_string_lossy()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Glob, Packed, check};
    use flowrun_sdk::testkit::Kit;
    use std::path::Path;

    #[test]
    fn a_pattern_without_a_slash_is_for_names_and_one_with_it_for_paths() {
        for (glob, path, matches) in [
            ("*.log", "a/b.log", true),
            ("*.log", "a/b.logs", false),
            ("tmp/*", "tmp/a", true),
            ("tmp/*", "tmp/a/b", false),
            ("tmp/**", "tmp/a/b", true),
            ("tmp/", "x/tmp", true),
            ("a?c", "abc", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(Glob::new(glob).unwrap().matches(Path::new(path)), matches, "{glob} {path}");
        }
    }

    #[test]
    fn an_archive_that_holds_less_than_was_packed_is_refused() {
        let kit = Kit::new().unwrap();
        let path = kit.dir().join("a.tar.gz");
        let file = std::fs::File::create(&path).unwrap();
        let packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        tar::Builder::new(packer).into_inner().unwrap().finish().unwrap();
        let cx = kit.cx();
        check(&Packed::default(), &cx, cx.cancelled(), &path).unwrap();
        let error = check(&Packed { entries: 1, files: 1, bytes: 5 }, &cx, cx.cancelled(), &path).unwrap_err();
        assert!(error.message.contains("is not what was packed"), "{error}");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        assert!(check(&Packed::default(), &cx, cx.cancelled(), &path).is_err());
    }
}
