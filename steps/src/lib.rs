//! The step types that come with flowrun, one file each.
//! Unaware of plans, the store and the driver: a type touches flowrun only through `StepCx`. Adding one is its file and
//! one line in [`registry`].

pub mod archive_create;
pub mod archive_extract;
pub mod catalogue;
pub mod exec;
pub mod file_template;
mod files;
mod process;
pub mod shell;
mod tarball;

use flowrun_sdk::Registry;

/// Every step type of this crate.
#[must_use]
pub fn registry() -> Registry {
    Registry::new()
        .register(archive_create::ArchiveCreate)
        .register(archive_extract::ArchiveExtract)
        .register(exec::Exec)
        .register(file_template::FileTemplate)
        .register(shell::Shell)
}
