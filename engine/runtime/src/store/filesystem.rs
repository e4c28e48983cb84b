//! On which kind of filesystem a directory lies: network filesystems are refused, since neither SQLite's syncs nor
//! flock can be trusted there. Unaware of what the directory is for.

use std::path::Path;

/// The name of the network filesystem that a path lies on; none for a local one.
///
/// # Errors
/// When the path cannot be looked at.
pub fn network(path: &Path) -> std::io::Result<Option<String>> {
    let magic = u64::try_from(rustix::fs::statfs(path)?.f_type).unwrap_or_default() & 0xffff_ffff;
    if magic == FUSE {
        return Ok(fuse_kind(path).filter(|kind| is_remote_fuse(kind)));
    }
    Ok(by_magic(magic).map(str::to_owned))
}

const FUSE: u64 = 0x6573_5546;

/// The numbers of statfs(2) and linux/magic.h.
fn by_magic(magic: u64) -> Option<&'static str> {
    match magic {
        0x6969 => Some("nfs"),
        0x517b => Some("smb"),
        0xff53_4d42 => Some("cifs"),
        0xfe53_4d42 => Some("smb2"),
        0x0102_1997 => Some("9p"),
        0x00c3_6400 => Some("ceph"),
        0x5346_414f | 0x6b41_4653 => Some("afs"),
        0x7375_7245 => Some("coda"),
        0x564c => Some("ncp"),
        0x0bd0_0bd0 => Some("lustre"),
        0x4750_4653 => Some("gpfs"),
        0x7461_636f => Some("ocfs2"),
        0x0116_1970 => Some("gfs2"),
        0x1983_0326 => Some("beegfs"),
        _ => None,
    }
}

/// FUSE serves local filesystems too (mergerfs, ntfs-3g, bindfs), so that only those known to be remote are refused.
fn is_remote_fuse(kind: &str) -> bool {
    const REMOTE: [&str; 12] = [
        "sshfs",
        "glusterfs",
        "s3fs",
        "goofys",
        "mount-s3",
        "gcsfuse",
        "rclone",
        "ceph-fuse",
        "davfs",
        "curlftpfs",
        "juicefs",
        "seaweedfs",
    ];
    let name = kind.strip_prefix("fuse.").unwrap_or(kind);
    REMOTE.contains(&name)
}

/// `fuse.NAME` of the mount that holds the path, from the mount table (its format: proc_pid_mountinfo(5)).
fn fuse_kind(path: &Path) -> Option<String> {
    let device = rustix::fs::stat(path).ok()?.st_dev;
    let wanted = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    kind_of_device(&table, &wanted)
}

fn kind_of_device(table: &str, wanted: &str) -> Option<String> {
    let line = table.lines().find(|line| line.split(' ').nth(2) == Some(wanted))?;
    let (_, after) = line.split_once(" - ")?;
    after.split(' ').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{by_magic, is_remote_fuse, kind_of_device, network};

    #[test]
    fn network_filesystems_are_known_by_their_numbers() {
        assert_eq!(by_magic(0x6969), Some("nfs"));
        assert_eq!(by_magic(0xff53_4d42), Some("cifs"));
        assert_eq!(by_magic(0xef53), None, "ext4 is local");
        assert_eq!(by_magic(0x0102_1994), None, "tmpfs is local");
    }

    #[test]
    fn of_fuse_only_the_remote_ones_are_refused() {
        assert!(is_remote_fuse("fuse.sshfs"));
        assert!(!is_remote_fuse("fuse.mergerfs"));
        assert!(!is_remote_fuse("fuseblk"));
    }

    #[test]
    fn the_mount_table_names_the_filesystem_of_a_device() {
        let table = "36 25 0:31 / /mnt rw,relatime shared:1 - fuse.sshfs host:/dir rw,user_id=0\n\
                     37 25 8:1 / / rw - ext4 /dev/sda1 rw\n";
        assert_eq!(kind_of_device(table, "0:31").as_deref(), Some("fuse.sshfs"));
        assert_eq!(kind_of_device(table, "8:1").as_deref(), Some("ext4"));
        assert_eq!(kind_of_device(table, "9:9"), None);
    }

    #[test]
    fn proc_is_not_a_network_filesystem() {
        assert_eq!(network("/proc".as_ref()).expect("proc is there"), None);
    }
}
