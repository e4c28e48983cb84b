//! `archive.extract`: the content of a compressed tar archive in a folder of its own.
//! Unaware of what the files are. The folder appears under its name only when everything is in it, and nothing that an
//! archive says leads out of it.

use crate::files::{blocking, failed, key, remove, resolve, sync_parent, unfinished};
use crate::tarball::{Gauge, Unpacked, broken};
use flowrun_sdk::schemars::{self, JsonSchema};
use flowrun_sdk::{Found, StepCx, StepError, StepResult, StepType};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// The step type.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArchiveExtract;

/// What `archive.extract` takes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The archive: a tar with gzip or zstd; its content tells which. A relative path starts at the step's directory.
    pub path: String,
    /// The folder that gets its content. It must be missing or empty.
    pub into: String,
    /// So many leading folders of every name are left away.
    #[serde(default)]
    pub strip: u32,
    /// Put the new folder in the place of one that is there and not empty; that one is removed.
    #[serde(default)]
    pub overwrite: bool,
}

/// What `archive.extract` hands out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The folder, as an absolute path.
    pub into: String,
    /// How many files came out, folders and links not counted.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
}

/// The note made before the folder gets its name.
const NOTE: &str = "whole";

impl StepType for ArchiveExtract {
    type Input = Input;
    type Output = Output;
    const NAME: &'static str = "archive.extract";
    const SUMMARY: &'static str = "Unpacks a tar archive with gzip or zstd into a folder, whole or not at all.";
    const RECONCILE: &'static str = "Looks for the folder that this step noted before it gave it its name: done where that one \
stands there, else not done; what is unfinished is removed, and a folder that was set aside is put back.";

    async fn preflight(&self, cx: &StepCx, input: &Input) -> StepResult<()> {
        Job::new(cx, input).map(|_| ())
    }

    async fn run(&self, cx: &StepCx, input: &Input) -> StepResult<Output> {
        let job = Arc::new(Job::new(cx, input)?);
        // Dropped with this future: then nobody waits for the thread's work any more.
        let stop = cx.cancelled().child_token();
        let _guard = stop.clone().drop_guard();
        let (worker, theirs) = (Arc::clone(&job), cx.clone());
        let (output, facts) = blocking(move || {
            let unpacked = worker.unpack_and_check(&theirs, &stop);
            if unpacked.is_err() {
                // The cause is told; what is left of the try is removed as far as that goes.
                drop(remove(&worker.unfinished));
            }
            unpacked
        })
        .await?;
        cx.note(NOTE, json!({ "device": facts.dev(), "inode": facts.ino(), "output": output })).await?;
        blocking(move || job.publish()).await?;
        Ok(output)
    }

    async fn reconcile(&self, cx: &StepCx, input: &Input) -> StepResult<Found<Output>> {
        let job = Job::new(cx, input)?;
        let note = cx.notes().into_iter().rfind(|note| note.key == NOTE).map(|note| note.value);
        blocking(move || {
            let facts = std::fs::metadata(&job.into).ok();
            if let Some((note, facts)) = note.zip(facts)
                && note["device"] == facts.dev()
                && note["inode"] == facts.ino()
                && let Ok(output) = serde_json::from_value(note["output"].clone())
            {
                remove(&job.aside).map_err(|error| failed("remove", &job.aside, &error))?;
                return Ok(Found::Done(output));
            }
            job.clear()?;
            Ok(Found::NotDone)
        })
        .await
    }
}

/// The work with its inputs read.
struct Job {
    archive: PathBuf,
    into: PathBuf,
    unfinished: PathBuf,
    /// Where a folder goes that is to be replaced.
    aside: PathBuf,
    strip: usize,
    overwrite: bool,
}

impl Job {
    fn new(cx: &StepCx, input: &Input) -> StepResult<Self> {
        let into = resolve(cx, &input.into);
        let Some(name) = into.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            return Err(StepError::permanent(format!("cannot unpack into `{}`: its path ends in no name", input.into)));
        };
        Ok(Self {
            archive: resolve(cx, &input.path),
            unfinished: unfinished(cx, &into),
            aside: into.with_file_name(format!(".{name}.old-{}", key(cx))),
            into,
            strip: usize::try_from(input.strip).unwrap_or(usize::MAX),
            overwrite: input.overwrite,
        })
    }

    /// Back to how it was before an attempt that did not end.
    fn clear(&self) -> StepResult<()> {
        remove(&self.unfinished).map_err(|error| failed("remove", &self.unfinished, &error))?;
        if self.aside.exists() && !self.into.exists() {
            std::fs::rename(&self.aside, &self.into).map_err(|error| failed("put back", &self.into, &error))?;
        }
        Ok(())
    }

    fn unpack_and_check(&self, cx: &StepCx, stop: &CancellationToken) -> StepResult<(Output, Metadata)> {
        self.clear()?;
        self.refuse_full()?;
        let mut gauge = None;
        let unpacked = Unpacked::open(&self.archive, |size| Arc::clone(gauge.insert(Gauge::new(cx, stop, size))))?;
        if let Some(parent) = self.into.parent() {
            std::fs::create_dir_all(parent).map_err(|error| failed("make the folder", parent, &error))?;
        }
        std::fs::create_dir(&self.unfinished).map_err(|error| failed("make the folder", &self.unfinished, &error))?;
        let unpacked = Tree::new(self).and_then(|tree| tree.fill(unpacked));
        let counted = match gauge {
            Some(gauge) => unpacked.map_err(|error| gauge.told(error))?,
            None => unpacked?,
        };
        check(counted, &self.unfinished)?;
        let facts = self.finish()?;
        let into = self.into.to_string_lossy().into_owned();
        Ok((Output { into, files: counted.files, bytes: counted.bytes }, facts))
    }

    fn refuse_full(&self) -> StepResult<()> {
        let mut children = match std::fs::read_dir(&self.into) {
            Ok(children) => children,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("unpack into", &self.into, &error)),
        };
        if children.next().is_none() || self.overwrite {
            return Ok(());
        }
        Err(StepError::permanent(format!("cannot unpack into `{}`: the folder is not empty", self.into.display()))
            .hint("name another folder, or say `overwrite: true` to replace it"))
    }

    /// Everything on the disk, and the permissions those of the folder that it replaces.
    fn finish(&self) -> StepResult<Metadata> {
        let told = |error: io::Error| failed("finish", &self.unfinished, &error);
        let folder = File::open(&self.unfinished).map_err(told)?;
        if let Ok(old) = std::fs::metadata(&self.into) {
            own(&self.unfinished, old.uid(), old.gid()).map_err(told)?;
            folder.set_permissions(Permissions::from_mode(old.mode() & 0o7777)).map_err(told)?;
        }
        rustix::fs::syncfs(&folder).map_err(|error| told(error.into()))?;
        folder.metadata().map_err(told)
    }

    fn publish(&self) -> StepResult<()> {
        let told = |error: io::Error| {
            let error = failed("give its name to the folder", &self.into, &error);
            error.hint("where it is a mount point, name a folder inside it")
        };
        remove(&self.aside).map_err(told)?;
        if self.overwrite && self.into.exists() {
            std::fs::rename(&self.into, &self.aside).map_err(told)?;
        }
        // An empty folder gives way to it.
        std::fs::rename(&self.unfinished, &self.into).and_then(|()| sync_parent(&self.into)).map_err(told)?;
        remove(&self.aside).map_err(|error| failed("remove", &self.aside, &error))
    }
}

/// What came out of an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    files: u64,
    bytes: u64,
}

/// The folder while it is filled.
struct Tree<'a> {
    job: &'a Job,
    /// Owners are kept where this process may do so.
    keep_owner: bool,
    counted: Counted,
    /// Made last, so that nothing is ever written through a link.
    links: Vec<(PathBuf, PathBuf)>,
    /// Finished last, so that a folder without write permission can be filled.
    folders: Vec<(PathBuf, Facts)>,
}

/// What an archive says of an entry.
#[derive(Debug, Clone, Copy)]
struct Facts {
    mode: u32,
    mtime: SystemTime,
    uid: u32,
    gid: u32,
}

impl<'a> Tree<'a> {
    fn new(job: &'a Job) -> StepResult<Self> {
        Ok(Self {
            job,
            keep_owner: rustix::process::geteuid().is_root(),
            counted: Counted::default(),
            links: Vec::new(),
            folders: Vec::new(),
        })
    }

    fn fill(mut self, unpacked: Unpacked<'_>) -> StepResult<Counted> {
        let path = &self.job.archive;
        let told = |error: io::Error| broken(path, &error);
        let mut archive = tar::Archive::new(unpacked);
        for entry in archive.entries().map_err(told)? {
            self.take(&mut entry.map_err(told)?)?;
        }
        archive.into_inner().finish(path)?;
        self.make_links()?;
        self.finish_folders()?;
        Ok(self.counted)
    }

    fn take<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> StepResult<()> {
        let name = entry.path().map_err(|error| broken(&self.job.archive, &error))?.into_owned();
        let Some(inside) = self.inside(&name, entry.header().entry_type().is_dir())? else { return Ok(()) };
        let path = self.job.unfinished.join(&inside);
        let facts = self.facts(entry.header())?;
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                self.take_file(entry, &path, facts)
            }
            tar::EntryType::Directory => {
                std::fs::create_dir_all(&path).map_err(|error| failed("make the folder", &path, &error))?;
                self.folders.push((path, facts));
                Ok(())
            }
            tar::EntryType::Symlink => {
                let target = self.target(entry)?;
                self.refuse_outside(&name, &inside, &target)?;
                self.links.push((path, target));
                Ok(())
            }
            tar::EntryType::Link => {
                let target = self.target(entry)?;
                let target = self.inside(&target, false)?.unwrap_or_default();
                self.make_parent(&path)?;
                std::fs::hard_link(self.job.unfinished.join(target), &path)
                    .map_err(|error| failed("make the link", &path, &error))?;
                Ok(())
            }
            tar::EntryType::XGlobalHeader => Ok(()),
            _ => Err(self.refuse(&name, "it is neither a file nor a folder nor a link")),
        }
    }

    fn refuse(&self, name: &Path, why: &str) -> StepError {
        StepError::permanent(format!(
            "cannot unpack `{}` of archive `{}`: {why}",
            name.to_string_lossy().escape_debug(),
            self.job.archive.display()
        ))
        .hint("unpack only archives that you trust; nothing of this one was kept")
    }

    /// A name as it is inside the folder; none for a folder that is stripped away.
    fn inside(&self, name: &Path, folder: bool) -> StepResult<Option<PathBuf>> {
        let mut parts = Vec::new();
        for part in name.components() {
            match part {
                Component::Normal(part) => parts.push(part),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(self.refuse(name, "its name leads out of the folder"));
                }
            }
        }
        match parts.get(self.job.strip..) {
            Some(rest) if !rest.is_empty() => Ok(Some(rest.iter().collect())),
            Some(_) | None if folder => Ok(None),
            Some(_) | None => Err(self.refuse(name, "`strip` leaves nothing of its name")),
        }
    }

    fn facts(&self, header: &tar::Header) -> StepResult<Facts> {
        let told = |error: io::Error| broken(&self.job.archive, &error);
        let id = |id: u64| u32::try_from(id).map_err(|error| told(io::Error::other(error)));
        let mtime = Duration::from_secs(header.mtime().map_err(told)?);
        Ok(Facts {
            // Nobody gains another user's rights by unpacking.
            mode: header.mode().map_err(told)? & 0o777,
            mtime: SystemTime::UNIX_EPOCH.checked_add(mtime).unwrap_or(SystemTime::UNIX_EPOCH),
            uid: id(header.uid().map_err(told)?)?,
            gid: id(header.gid().map_err(told)?)?,
        })
    }

    fn target<R: Read>(&self, entry: &tar::Entry<'_, R>) -> StepResult<PathBuf> {
        let target = entry.link_name().map_err(|error| broken(&self.job.archive, &error))?;
        Ok(target.map(std::borrow::Cow::into_owned).unwrap_or_default())
    }

    /// Follows a link's target by its words; links that it meets on its way are looked at when all are made.
    fn refuse_outside(&self, name: &Path, inside: &Path, target: &Path) -> StepResult<()> {
        let mut depth = inside.components().count().saturating_sub(1);
        for part in target.components() {
            depth = match part {
                Component::Normal(_) => depth + 1,
                Component::CurDir => depth,
                Component::ParentDir if depth > 0 => depth - 1,
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(self.refuse(name, "it is a link that leads out of the folder"));
                }
            };
        }
        Ok(())
    }

    fn make_parent(&self, path: &Path) -> StepResult<()> {
        let parent = path.parent().unwrap_or(path);
        std::fs::create_dir_all(parent).map_err(|error| failed("make the folder", parent, &error))
    }

    fn take_file<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, path: &Path, facts: Facts) -> StepResult<()> {
        self.make_parent(path)?;
        // An archive may hold a file twice: the later one counts.
        if let Ok(old) = std::fs::symlink_metadata(path).map(|old| old.len()) {
            remove(path).map_err(|error| failed("replace", path, &error))?;
            self.counted.files -= 1;
            self.counted.bytes -= old;
        }
        let told = |error: io::Error| failed("write", path, &error);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(told)?;
        let bytes = copy(entry, &mut file, &self.job.archive, path)?;
        if self.keep_owner {
            own(path, facts.uid, facts.gid).map_err(told)?;
        }
        file.set_permissions(Permissions::from_mode(facts.mode)).map_err(told)?;
        file.set_modified(facts.mtime).map_err(told)?;
        self.counted.files += 1;
        self.counted.bytes += bytes;
        Ok(())
    }

    fn make_links(&self) -> StepResult<()> {
        let root = &self.job.unfinished;
        for (path, target) in &self.links {
            self.make_parent(path)?;
            symlink(target, path).map_err(|error| failed("make the link", path, &error))?;
        }
        let root = root.canonicalize().map_err(|error| failed("look at", root, &error))?;
        for (path, target) in &self.links {
            if path.canonicalize().is_ok_and(|end| !end.starts_with(&root)) {
                return Err(self.refuse(target, "a link to it leads out of the folder"));
            }
        }
        Ok(())
    }

    /// Inner folders first: a folder without permissions hides what is in it.
    fn finish_folders(&mut self) -> StepResult<()> {
        self.folders.sort_by_key(|(path, _)| std::cmp::Reverse(path.components().count()));
        for (path, facts) in &self.folders {
            let told = |error: io::Error| failed("finish the folder", path, &error);
            if self.keep_owner {
                own(path, facts.uid, facts.gid).map_err(told)?;
            }
            let folder = File::open(path).map_err(told)?;
            folder.set_modified(facts.mtime).map_err(told)?;
            // Its owner must be able to look into it, or nothing of it can be checked or removed.
            folder.set_permissions(Permissions::from_mode(facts.mode | 0o700)).map_err(told)?;
        }
        Ok(())
    }
}

/// Copies one file, and tells a bad archive from a bad disk.
fn copy<R: Read>(from: &mut R, to: &mut File, archive: &Path, path: &Path) -> StepResult<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => read,
            Err(error) => return Err(broken(archive, &error)),
        };
        let part = buffer.get(..read).unwrap_or_default();
        io::Write::write_all(to, part).map_err(|error| failed("write", path, &error))?;
        bytes += read as u64;
    }
}

fn own(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let now = std::fs::symlink_metadata(path)?;
    if (now.uid(), now.gid()) == (uid, gid) {
        return Ok(());
    }
    lchown(path, Some(uid), Some(gid))
}

/// The verdict: what stands in the folder is what the archive held.
fn check(counted: Counted, folder: &Path) -> StepResult<()> {
    let mut found = Counted::default();
    let mut open = vec![folder.to_owned()];
    let mut linked = std::collections::BTreeSet::new();
    while let Some(path) = open.pop() {
        let told = |error: io::Error| failed("look into", &path, &error);
        for entry in std::fs::read_dir(&path).map_err(told)? {
            let entry = entry.map_err(told)?;
            let facts = entry.metadata().map_err(told)?;
            if facts.is_dir() {
                open.push(entry.path());
            } else if facts.is_file() && (facts.nlink() == 1 || linked.insert(facts.ino())) {
                found.files += 1;
                found.bytes += facts.len();
            }
        }
    }
    if found == counted {
        return Ok(());
    }
    Err(StepError::transient(format!(
        "`{}` does not hold what the archive held: {} files with {} bytes were unpacked, {} with {} are there",
        folder.display(),
        counted.files,
        counted.bytes,
        found.files,
        found.bytes
    ))
    .hint("something else works in the same folder"))
}

#[cfg(test)]
mod tests {
    use super::{Counted, check};

    #[test]
    fn a_folder_that_lacks_something_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        std::fs::write(folder.path().join("d/a"), "four").unwrap();
        check(Counted { files: 1, bytes: 4 }, folder.path()).unwrap();
        for counted in [Counted { files: 2, bytes: 4 }, Counted { files: 1, bytes: 5 }] {
            assert!(check(counted, folder.path()).unwrap_err().message.contains("does not hold what the archive held"));
        }
    }
}
