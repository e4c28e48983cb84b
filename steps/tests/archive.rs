//! `archive.create` and `archive.extract` with real files; `tar` itself judges what was made.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at what it did not expect; `tar` is the judge"
)]

use flowrun_sdk::error::ErrorKind;
use flowrun_sdk::testkit::{Crash, Fate, Kit};
use flowrun_sdk::{Found, StepError};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

async fn run(kit: &Kit, name: &str, input: Value) -> Result<Value, StepError> {
    let registry = flowrun_steps::registry();
    match kit.run(registry.get(name).unwrap().as_ref(), input, None).await {
        Fate::Ended(result) => result,
        Fate::Crashed => panic!("nobody asked for a crash"),
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder with everything that a folder may hold.
fn dump(kit: &Kit) {
    let dir = kit.dir().join("dump");
    fs::create_dir_all(dir.join("sub/empty")).unwrap();
    fs::write(dir.join("a.sql"), "create table a;\n".repeat(1000)).unwrap();
    fs::write(dir.join("sub/b.sql"), "b").unwrap();
    fs::write(dir.join(format!("{}.sql", "long".repeat(40))), "").unwrap();
    fs::write(dir.join("sub/é ü.txt"), "x").unwrap();
    symlink("../a.sql", dir.join("sub/link")).unwrap();
    fs::set_permissions(dir.join("sub/b.sql"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(dir.join("sub"), fs::Permissions::from_mode(0o750)).unwrap();
}

fn same(a: &Path, b: &Path) {
    let differ = Command::new("diff").args(["-r", "--no-dereference"]).args([a, b]).output().unwrap();
    assert!(differ.status.success(), "{}", String::from_utf8_lossy(&differ.stdout));
}

#[tokio::test]
async fn what_was_packed_comes_out_again() {
    for name in ["x.tar.gz", "x.tgz", "x.tar.zst"] {
        let kit = Kit::new().unwrap();
        dump(&kit);
        let made = run(&kit, "archive.create", json!({ "path": name, "source": "dump" })).await.unwrap();
        let path = kit.dir().join(name);
        assert_eq!(made["bytes"], json!(fs::metadata(&path).unwrap().len()));
        assert_eq!((&made["files"], &made["content_bytes"]), (&json!(4), &json!(16_002)));
        assert_eq!(names(&kit.dir()), ["dump", name]);
        let out = run(&kit, "archive.extract", json!({ "path": name, "into": "out", "strip": 1 })).await.unwrap();
        assert_eq!(out, json!({ "into": kit.dir().join("out"), "files": 4, "bytes": 16_002 }));
        same(&kit.dir().join("dump"), &kit.dir().join("out"));
        for path in ["sub", "sub/b.sql"] {
            let (a, b) = (kit.dir().join("dump").join(path), kit.dir().join("out").join(path));
            let facts = |path| fs::metadata(path).map(|facts| (facts.mode(), facts.mtime())).unwrap();
            assert_eq!(facts(a), facts(b), "{path}");
        }
    }
}

#[tokio::test]
async fn tar_reads_what_was_made_and_what_tar_made_is_read() {
    let kit = Kit::new().unwrap();
    dump(&kit);
    run(&kit, "archive.create", json!({ "path": "x.tar.gz", "source": "dump" })).await.unwrap();
    fs::create_dir(kit.dir().join("by-tar")).unwrap();
    let tar = |arguments: &[&str]| {
        assert!(Command::new("tar").args(arguments).current_dir(kit.dir()).status().unwrap().success());
    };
    tar(&["-xzf", "x.tar.gz", "-C", "by-tar"]);
    same(&kit.dir().join("dump"), &kit.dir().join("by-tar/dump"));
    tar(&["-czf", "y.tar.gz", "-C", "dump", "."]);
    run(&kit, "archive.extract", json!({ "path": "y.tar.gz", "into": "out" })).await.unwrap();
    same(&kit.dir().join("dump"), &kit.dir().join("out"));
}

#[tokio::test]
async fn the_same_source_gives_the_same_archive() {
    let kit = Kit::new().unwrap();
    dump(&kit);
    for name in ["1.tar.gz", "2.tar.gz"] {
        run(&kit, "archive.create", json!({ "path": name, "source": "dump" })).await.unwrap();
    }
    assert_eq!(fs::read(kit.dir().join("1.tar.gz")).unwrap(), fs::read(kit.dir().join("2.tar.gz")).unwrap());
}

#[tokio::test]
async fn what_is_excluded_stays_out_and_one_file_can_be_packed() {
    let kit = Kit::new().unwrap();
    dump(&kit);
    let input = json!({ "path": "x.tar.zst", "source": "dump", "exclude": ["sub", "long*"] });
    assert_eq!(run(&kit, "archive.create", input).await.unwrap()["files"], json!(1));
    let input = json!({ "path": "y.tar.zst", "source": "dump/a.sql", "level": 19 });
    assert_eq!(run(&kit, "archive.create", input).await.unwrap()["files"], json!(1));
    run(&kit, "archive.extract", json!({ "path": "y.tar.zst", "into": "out" })).await.unwrap();
    assert_eq!(names(&kit.dir().join("out")), ["a.sql"]);
}

#[tokio::test]
async fn an_archive_that_cannot_be_made_leaves_nothing() {
    let kit = Kit::new().unwrap();
    dump(&kit);
    for (input, says) in [
        (json!({ "path": "x.zip", "source": "dump" }), "does not tell its format"),
        (json!({ "path": "x.tgz", "source": "dump", "level": 10 }), "there is no level 10"),
        (json!({ "path": "dump/x.tgz", "source": "dump" }), "would lie in it"),
        (json!({ "path": "x.tgz", "source": "gone" }), "cannot pack"),
        (json!({ "path": "gone/x.tgz", "source": "dump" }), "cannot make an archive in"),
        (json!({ "path": "x.tgz", "source": "/dev/null" }), "neither a file nor a folder"),
    ] {
        let error = run(&kit, "archive.create", input).await.unwrap_err();
        assert!(error.message.contains(says), "{error}");
        assert_eq!(error.kind, ErrorKind::Permanent);
        assert_eq!(names(&kit.dir()), ["dump"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_read_fails_the_archive() {
    let kit = Kit::new().unwrap();
    fs::create_dir(kit.dir().join("dump")).unwrap();
    let path = kit.dir().join("dump/a");
    let file = fs::File::create(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    let change = async {
        kit.stirred().await;
        file.set_len(1000).unwrap();
    };
    let input = json!({ "path": "x.tar.gz", "source": "dump", "level": 9 });
    let (result, ()) = tokio::join!(run(&kit, "archive.create", input), change);
    let error = result.unwrap_err();
    assert!(error.message.contains("changed while it was read") && error.kind == ErrorKind::Transient, "{error}");
    assert_eq!(names(&kit.dir()), ["dump"]);
}

#[tokio::test]
async fn a_truncated_or_damaged_archive_is_refused_and_nothing_half_is_left() {
    let kit = Kit::new().unwrap();
    dump(&kit);
    for name in ["x.tar.gz", "x.tar.zst"] {
        run(&kit, "archive.create", json!({ "path": name, "source": "dump" })).await.unwrap();
        let path = kit.dir().join(name);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for (bad, fault) in [
            (&whole[..whole.len() / 2], "half"),
            (&whole[..whole.len() - 1], "but one byte"),
            (&flipped[..], "flipped bit"),
            (&whole[..2], "two bytes"),
            (&[][..], "nothing"),
        ] {
            fs::write(&path, bad).unwrap();
            let error = run(&kit, "archive.extract", json!({ "path": name, "into": "out" })).await.unwrap_err();
            assert!(error.message.contains("cannot read archive") && error.kind == ErrorKind::Permanent, "{error}");
            assert!(!names(&kit.dir()).iter().any(|name| name.contains("out")), "{fault}");
        }
        fs::remove_file(&path).unwrap();
    }
}

#[tokio::test]
async fn a_tar_without_its_end_is_refused_though_its_compression_is_whole() {
    let kit = Kit::new().unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = header(tar::EntryType::Regular);
    header.set_size(1024);
    builder.append_data(&mut header, "a", &[b'x'; 1024][..]).unwrap();
    let whole = builder.into_inner().unwrap();
    write_gzip(&kit.dir().join("x.tgz"), &whole[..1536]);
    let error = run(&kit, "archive.extract", json!({ "path": "x.tgz", "into": "out" })).await.unwrap_err();
    assert!(error.message.contains("the end of its list of files is missing"), "{error}");
}

fn header(kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn write_gzip(path: &Path, bytes: &[u8]) {
    let mut packer = flate2::write::GzEncoder::new(fs::File::create(path).unwrap(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap();
}

/// An archive with one entry whose name or link target is written as it is.
fn evil(kit: &Kit, kind: tar::EntryType, name: &str, target: &str) {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = header(kind);
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    builder.append(&header, &[][..]).unwrap();
    write_gzip(&kit.dir().join("evil.tgz"), &builder.into_inner().unwrap());
}

#[tokio::test]
async fn nothing_leads_out_of_the_folder() {
    use tar::EntryType::{Fifo, Link, Regular, Symlink};
    for (kind, name, target, says) in [
        (Regular, "../a", "", "its name leads out"),
        (Regular, "x/../../a", "", "its name leads out"),
        (Regular, "/a", "", "its name leads out"),
        (Symlink, "a", "/etc/passwd", "a link that leads out"),
        (Symlink, "x/a", "../../b", "a link that leads out"),
        (Link, "a", "../b", "its name leads out"),
        (Fifo, "a", "", "neither a file nor a folder"),
    ] {
        let kit = Kit::new().unwrap();
        evil(&kit, kind, name, target);
        let error = run(&kit, "archive.extract", json!({ "path": "evil.tgz", "into": "out" })).await.unwrap_err();
        assert!(error.message.contains(says), "{name} {target}: {error}");
        assert_eq!(names(&kit.dir()), ["evil.tgz"]);
    }
}

#[tokio::test]
async fn nothing_is_written_through_a_link_and_no_chain_of_links_leads_out() {
    for (links, file) in [(&[("a", "."), ("b", "a/../x")][..], None), (&[("a", ".")][..], Some("a/f"))] {
        let kit = Kit::new().unwrap();
        fs::write(kit.dir().join("x"), "outside").unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        for (name, target) in links {
            builder.append_link(&mut header(tar::EntryType::Symlink), name, target).unwrap();
        }
        if let Some(file) = file {
            builder.append_data(&mut header(tar::EntryType::Regular), file, &[][..]).unwrap();
        }
        write_gzip(&kit.dir().join("evil.tgz"), &builder.into_inner().unwrap());
        let input = json!({ "path": "evil.tgz", "into": "out" });
        let error = run(&kit, "archive.extract", input).await.unwrap_err();
        assert!(
            error.message.contains("leads out of the folder") || error.message.contains("cannot make the link"),
            "{error}"
        );
        assert_eq!(names(&kit.dir()), ["evil.tgz", "x"]);
    }
}

#[tokio::test]
async fn a_folder_that_is_not_empty_is_replaced_only_where_the_plan_says_so() {
    let kit = Kit::new().unwrap();
    dump(&kit);
    run(&kit, "archive.create", json!({ "path": "x.tgz", "source": "dump" })).await.unwrap();
    fs::create_dir(kit.dir().join("out")).unwrap();
    fs::set_permissions(kit.dir().join("out"), fs::Permissions::from_mode(0o700)).unwrap();
    run(&kit, "archive.extract", json!({ "path": "x.tgz", "into": "out" })).await.unwrap();
    assert_eq!(fs::metadata(kit.dir().join("out")).unwrap().mode() & 0o777, 0o700, "an empty folder keeps its mode");
    fs::write(kit.dir().join("out/mine"), "").unwrap();
    let error = run(&kit, "archive.extract", json!({ "path": "x.tgz", "into": "out" })).await.unwrap_err();
    assert!(error.message.contains("is not empty"), "{error}");
    assert_eq!(names(&kit.dir().join("out")), ["dump", "mine"]);
    run(&kit, "archive.extract", json!({ "path": "x.tgz", "into": "out", "overwrite": true })).await.unwrap();
    assert_eq!(names(&kit.dir().join("out")), ["dump"]);
    assert_eq!(names(&kit.dir()), ["dump", "out", "x.tgz"]);
}

#[tokio::test]
async fn strip_must_leave_something_of_every_file() {
    let kit = Kit::new().unwrap();
    dump(&kit);
    run(&kit, "archive.create", json!({ "path": "x.tgz", "source": "dump" })).await.unwrap();
    let error = run(&kit, "archive.extract", json!({ "path": "x.tgz", "into": "out", "strip": 2 })).await.unwrap_err();
    assert!(error.message.contains("`strip` leaves nothing"), "{error}");
}

#[tokio::test]
async fn an_older_archive_of_the_same_name_is_not_taken_for_this_step_s() {
    let kit = Kit::new().unwrap();
    dump(&kit);
    let input = json!({ "path": "x.tgz", "source": "dump" });
    let earlier = Kit::new().unwrap();
    dump(&earlier);
    run(&earlier, "archive.create", input.clone()).await.unwrap();
    fs::copy(earlier.dir().join("x.tgz"), kit.dir().join("x.tgz")).unwrap();
    let registry = flowrun_steps::registry();
    let step = registry.get("archive.create").unwrap();
    assert_eq!(kit.run(step.as_ref(), input.clone(), Some(Crash::AfterNote(1))).await, Fate::Crashed);
    assert_eq!(step.reconcile(&kit.cx(), input.clone()).await.unwrap(), Found::NotDone);
    assert_eq!(names(&kit.dir()), ["dump", "x.tgz"]);
    assert_eq!(kit.run(step.as_ref(), input.clone(), Some(Crash::BeforeReport)).await, Fate::Crashed);
    assert!(matches!(step.reconcile(&kit.cx(), input.clone()).await.unwrap(), Found::Done(_)));
    let whole = fs::read(kit.dir().join("x.tgz")).unwrap();
    let file = fs::OpenOptions::new().write(true).open(kit.dir().join("x.tgz")).unwrap();
    file.set_len(whole.len() as u64 - 3).unwrap();
    assert_eq!(step.reconcile(&kit.cx(), input).await.unwrap(), Found::NotDone);
}
