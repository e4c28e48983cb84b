//! `file.template`: a file with this text and this mode.
//! Unaware of templates: the text arrives rendered. A reader of the path sees the old file or the new one, never a part,
//! and a file that is right already is not touched.

use crate::files::{blocking, failed, key, remove, resolve, sync_parent, unfinished};
use flowrun_sdk::schemars::{self, JsonSchema};
use flowrun_sdk::{Found, StepCx, StepError, StepResult, StepType};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// The step type.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileTemplate;

/// What `file.template` takes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The file; a relative path starts at the step's directory. A link to a file stays: the file behind it is written.
    pub path: String,
    /// Its whole content.
    pub text: String,
    /// Its permissions in octal, quoted. A text with a secret may not be readable by others.
    #[serde(default = "default_mode")]
    #[schemars(regex(pattern = "^[0-7]{3,4}$"))]
    pub mode: String,
    /// Keep the file that was there, with its own permissions, as `PATH.bak-…`, where its content was another.
    #[serde(default = "yes")]
    pub backup: bool,
    /// Make the folders that lead to it where they are missing.
    #[serde(default)]
    pub make_dirs: bool,
}

fn default_mode() -> String {
    "0644".to_owned()
}

fn yes() -> bool {
    true
}

/// What `file.template` hands out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The file, as an absolute path.
    pub path: String,
    /// Whether the step had to write it or to change its permissions.
    pub changed: bool,
    /// Where the file that was there is kept.
    pub backup: Option<String>,
}

/// The note made before anything is changed.
const NOTE: &str = "write";

impl StepType for FileTemplate {
    type Input = Input;
    type Output = Output;
    const NAME: &'static str = "file.template";
    const SUMMARY: &'static str = "Writes a text to a file, whole or not at all, and says whether that changed it.";
    const RECONCILE: &'static str =
        "Reads the file: done where its content and its permissions are right, else not done.";

    async fn preflight(&self, cx: &StepCx, input: &Input) -> StepResult<()> {
        Wanted::new(cx, input).map(|_| ())
    }

    async fn run(&self, cx: &StepCx, input: &Input) -> StepResult<Output> {
        let wanted = Wanted::new(cx, input)?;
        let (wanted, work) = blocking(move || wanted.look().map(|work| (wanted, work))).await?;
        let Some(work) = work else {
            return Ok(wanted.output(cx));
        };
        if cx.cancelled().is_cancelled() {
            return Err(StepError::cancelled());
        }
        let backup = work.backup.as_ref().map(|path| path.to_string_lossy().into_owned());
        cx.note(NOTE, json!({ "path": cx.mask(&wanted.path.to_string_lossy()), "backup": backup })).await?;
        let wanted = blocking(move || wanted.act(&work).map(|()| wanted)).await?;
        Ok(wanted.output(cx))
    }

    async fn reconcile(&self, cx: &StepCx, input: &Input) -> StepResult<Found<Output>> {
        let wanted = Wanted::new(cx, input)?;
        let (wanted, done) = blocking(move || {
            remove(&wanted.unfinished).map_err(|error| failed("remove", &wanted.unfinished, &error))?;
            let done = wanted.look().is_ok_and(|work| work.is_none());
            Ok((wanted, done))
        })
        .await?;
        Ok(if done { Found::Done(wanted.output(cx)) } else { Found::NotDone })
    }
}

/// The file as it should be.
struct Wanted {
    path: PathBuf,
    text: String,
    mode: u32,
    make_dirs: bool,
    backup: Option<PathBuf>,
    unfinished: PathBuf,
}

/// What has to be done to it.
struct Work {
    /// Where it really lies, behind links.
    target: PathBuf,
    /// What is there now.
    old: Option<Metadata>,
    /// Its content is right, only its permissions are not.
    mode_only: bool,
    /// Where the old file goes.
    backup: Option<PathBuf>,
}

impl Wanted {
    fn new(cx: &StepCx, input: &Input) -> StepResult<Self> {
        let path = resolve(cx, &input.path);
        let path = follow(&path)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.filter(|_| !input.path.ends_with('/')).ok_or_else(|| {
            StepError::permanent(format!("cannot write `{}`: it names no file", input.path))
                .hint("`path` ends with the file's name")
        })?;
        let mode = parse_mode(&input.mode)?;
        if mode & 0o004 != 0 && cx.mask(&input.text) != input.text {
            return Err(StepError::permanent(format!(
                "cannot write `{}`: its text holds a secret, and mode `{}` lets everybody read it",
                path.display(),
                input.mode
            ))
            .hint("say `mode: \"0600\"`"));
        }
        Ok(Self {
            unfinished: unfinished(cx, &path),
            backup: input.backup.then(|| path.with_file_name(format!("{name}.bak-{}", key(cx)))),
            path,
            text: input.text.clone(),
            mode,
            make_dirs: input.make_dirs,
        })
    }

    /// What has to be done; none where the file is right. Changes nothing.
    fn look(&self) -> StepResult<Option<Work>> {
        let old = match std::fs::symlink_metadata(&self.path) {
            Ok(facts) if facts.is_file() => Some(facts),
            Ok(_) => {
                return Err(StepError::permanent(format!(
                    "cannot write `{}`: it is not a regular file",
                    self.path.display()
                ))
                .hint("name another path, or remove what is there"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("look at", &self.path, &error)),
        };
        let same = old.as_ref().map(|old| self.same_text(old)).transpose()?.unwrap_or(false);
        let same_mode = old.as_ref().is_some_and(|old| old.mode() & 0o7777 == self.mode);
        if same && same_mode {
            return Ok(None);
        }
        let backup = self.backup.clone().filter(|_| old.is_some() && !same);
        Ok(Some(Work { target: self.path.clone(), old, mode_only: same, backup }))
    }

    fn same_text(&self, old: &Metadata) -> StepResult<bool> {
        if old.len() != self.text.len() as u64 {
            return Ok(false);
        }
        let bytes = std::fs::read(&self.path).map_err(|error| failed("read", &self.path, &error))?;
        Ok(bytes == self.text.as_bytes())
    }

    fn act(&self, work: &Work) -> StepResult<()> {
        if work.mode_only {
            std::fs::set_permissions(&work.target, Permissions::from_mode(self.mode))
                .map_err(|error| failed("change the permissions of", &work.target, &error))?;
        } else {
            self.make_parent()?;
            if let Some(backup) = &work.backup {
                keep(&work.target, backup, &self.unfinished)?;
            }
            let replaced = self.replace(work);
            if replaced.is_err() {
                // The cause is told; what is left of the try is removed as far as that goes.
                drop(remove(&self.unfinished));
            }
            replaced?;
        }
        self.verify()
    }

    fn make_parent(&self) -> StepResult<()> {
        let Some(parent) = self.path.parent().filter(|parent| !parent.exists()) else { return Ok(()) };
        if self.make_dirs {
            return std::fs::create_dir_all(parent).map_err(|error| failed("make the folder", parent, &error));
        }
        Err(StepError::permanent(format!("cannot write `{}`: its folder does not exist", self.path.display()))
            .hint("make it first, or say `make_dirs: true`"))
    }

    fn replace(&self, work: &Work) -> StepResult<()> {
        let path = &self.unfinished;
        let told = |error: io::Error| failed("write", path, &error);
        remove(path).map_err(told)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(told)?;
        file.write_all(self.text.as_bytes()).map_err(told)?;
        keep_owner(&file, work.old.as_ref()).map_err(|error| failed("keep the owner of", &work.target, &error))?;
        file.set_permissions(Permissions::from_mode(self.mode)).map_err(told)?;
        file.sync_all().map_err(told)?;
        std::fs::rename(path, &work.target)
            .and_then(|()| sync_parent(&work.target))
            .map_err(|error| failed("put the new text in place of", &work.target, &error))
    }

    /// The verdict: what stands on the disk now.
    fn verify(&self) -> StepResult<()> {
        match self.look()? {
            None => Ok(()),
            Some(_) => Err(StepError::transient(format!(
                "`{}` is not what was just written to it: its text or its mode differs",
                self.path.display()
            ))
            .hint("something else writes the same file")),
        }
    }

    /// What is handed out; what an earlier attempt of this step changed counts.
    fn output(&self, cx: &StepCx) -> Output {
        let notes = cx.notes();
        let written = || notes.iter().filter(|note| note.key == NOTE);
        let backup = written().find_map(|note| note.value.get("backup").and_then(|backup| backup.as_str()));
        Output {
            path: self.path.to_string_lossy().into_owned(),
            changed: written().next().is_some(),
            backup: backup.filter(|backup| Path::new(backup).exists()).map(str::to_owned),
        }
    }
}

/// The file behind a link.
fn follow(path: &Path) -> StepResult<PathBuf> {
    if !path.is_symlink() {
        return Ok(path.to_owned());
    }
    path.canonicalize().map_err(|error| {
        StepError::permanent(format!("cannot write `{}`: it is a link that leads nowhere: {error}", path.display()))
            .hint("name the file itself, or remove the link")
    })
}

fn parse_mode(text: &str) -> StepResult<u32> {
    let fits = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    u32::from_str_radix(text, 8).ok().filter(|_| fits).ok_or_else(|| {
        StepError::permanent(format!("cannot read mode `{text}`: it is no octal number of three or four digits"))
            .hint("quote it, as in `mode: \"0600\"`")
    })
}

/// The new file belongs to whom the old one belonged.
fn keep_owner(file: &File, old: Option<&Metadata>) -> io::Result<()> {
    let Some(old) = old else { return Ok(()) };
    let new = file.metadata()?;
    let other = |old: u32, new: u32| (old != new).then_some(old);
    match (other(old.uid(), new.uid()), other(old.gid(), new.gid())) {
        (None, None) => Ok(()),
        (uid, gid) => fchown(file, uid, gid),
    }
}

/// Keeps the old file under another name. The name is this step's own, so what is there was kept by an earlier attempt
/// and is older still.
fn keep(target: &Path, backup: &Path, unfinished: &Path) -> StepResult<()> {
    match std::fs::hard_link(target, backup) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        // Not every file system has hard links, and not every user may make one.
        Err(_) => {}
    }
    let copied = remove(unfinished).and_then(|()| {
        let mut from = File::open(target)?;
        let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished)?;
        io::copy(&mut from, &mut to)?;
        to.set_permissions(from.metadata()?.permissions())?;
        to.sync_all()?;
        std::fs::rename(unfinished, backup)
    });
    copied.map_err(|error| failed("keep a copy of", target, &error))
}

#[cfg(test)]
mod tests {
    use super::{FileTemplate, Input, Wanted, parse_mode};
    use flowrun_sdk::testkit::Kit;
    use flowrun_sdk::{StepType, error::ErrorKind};
    use std::os::unix::fs::PermissionsExt;

    fn input(path: &str) -> Input {
        serde_json::from_value(serde_json::json!({ "path": path, "text": "new\n" })).unwrap()
    }

    #[tokio::test]
    async fn a_file_that_is_not_what_was_written_is_refused() {
        let kit = Kit::new().unwrap();
        let cx = kit.cx();
        FileTemplate.run(&cx, &input("a")).await.unwrap();
        let wanted = Wanted::new(&cx, &input("a")).unwrap();
        wanted.verify().unwrap();
        std::fs::write(kit.dir().join("a"), "ne").unwrap();
        let error = wanted.verify().unwrap_err();
        assert!(
            error.kind == ErrorKind::Transient && error.message.contains("is not what was just written"),
            "{error}"
        );
        std::fs::write(kit.dir().join("a"), "new\n").unwrap();
        std::fs::set_permissions(kit.dir().join("a"), std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(wanted.verify().is_err());
    }

    #[test]
    fn a_mode_is_three_or_four_octal_digits() {
        assert_eq!(parse_mode("0640").unwrap(), 0o640);
        for bad in ["", "64", "0o644", "0888", "+644", "00644", "rw"] {
            assert!(parse_mode(bad).is_err(), "{bad}");
        }
    }
}
