//! Room for the journal's next writes: a file of a few MiB that is given back when the disk is full, so that the run
//! can write down that it pauses. Unaware of what is written with the room.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Enough for some thousand events, or one commit of the largest batch.
pub(super) const SIZE: u64 = 4 << 20;

/// The file that holds the room.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The reserve of a run's directory; nothing is made yet.
    pub(super) fn of(run: &Path) -> Self {
        Self { path: run.join("journal.reserve") }
    }

    /// Takes the room, where it is not taken yet.
    pub(super) fn take(&self) -> std::io::Result<()> {
        if std::fs::metadata(&self.path).is_ok_and(|data| data.len() >= SIZE) {
            return Ok(());
        }
        // A file that a crash left half made is made anew.
        let _ = std::fs::remove_file(&self.path);
        let made = self.fill();
        if made.is_err() {
            let _ = std::fs::remove_file(&self.path);
        }
        made
    }

    fn fill(&self) -> std::io::Result<()> {
        let mut file = super::schema::private_file(&self.path)?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SIZE) {
            Ok(()) => return Ok(()),
            // A filesystem without fallocate: written bytes hold room as well, unless it compresses.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        let block = [0_u8; 1 << 16];
        for _ in 0..SIZE / (1 << 16) {
            file.write_all(&block)?;
        }
        file.sync_data()
    }

    /// Gives the room back; says whether there was any.
    pub(super) fn release(&self) -> bool {
        std::fs::remove_file(&self.path).is_ok()
    }

    /// Whether the filesystem takes another 64 KiB. SQLite calls a quota that is used up, and a full disk met while
    /// its index of the WAL grows, an I/O error; this tells them from a broken disk.
    pub(super) fn is_full(run: &Path) -> bool {
        let path = run.join("journal.probe");
        let tried = std::fs::write(&path, [0_u8; 1 << 16]);
        let _ = std::fs::remove_file(&path);
        tried.is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        })
    }
}
