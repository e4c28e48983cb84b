//! What gates can see of the machine, behind a trait so that a test can say what there is to see.
//! Unaware of limits.

use crate::plan::model::Resource;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use procfs::Current as _;
use std::path::Path;

/// Memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What can be used without swapping.
    pub available: u64,
    /// All of it.
    pub total: u64,
}

/// A filesystem's space in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What may be written by other users than root.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// What gates can see. Errors are sentences for a person.
pub trait World: Send + Sync + 'static {
    /// Load averages of 1, 5 and 15 minutes.
    ///
    /// # Errors
    /// When the kernel does not tell.
    fn load(&self) -> Result<[f64; 3], String>;
    /// Processors that may be used.
    fn cpus(&self) -> u32;
    /// PSI `some avg10` in percent.
    ///
    /// # Errors
    /// When the kernel does not tell.
    fn pressure(&self, resource: Resource) -> Result<f64, String>;
    /// Memory.
    ///
    /// # Errors
    /// When the kernel does not tell.
    fn memory(&self) -> Result<Memory, String>;
    /// Space on a path's filesystem. May block for as long as a dead disk does.
    ///
    /// # Errors
    /// When the path does not exist or cannot be looked at.
    fn space(&self, path: &Path) -> Result<Space, String>;
    /// Whether a path exists. May block as [`World::space`] does.
    ///
    /// # Errors
    /// When it cannot be looked at.
    fn exists(&self, path: &Path) -> Result<bool, String>;
    /// Now.
    fn now(&self) -> Timestamp;
    /// The machine's time zone.
    fn zone(&self) -> TimeZone;
}

/// The machine that this process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine;

impl World for Machine {
    fn load(&self) -> Result<[f64; 3], String> {
        let load = procfs::LoadAverage::current().map_err(|error| error.to_string())?;
        Ok([load.one, load.five, load.fifteen].map(f64::from))
    }

    fn cpus(&self) -> u32 {
        std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX))
    }

    fn pressure(&self, resource: Resource) -> Result<f64, String> {
        let some = match resource {
            Resource::Cpu => procfs::CpuPressure::current().map(|pressure| pressure.some),
            Resource::Memory => procfs::MemoryPressure::current().map(|pressure| pressure.some),
            Resource::Io => procfs::IoPressure::current().map(|pressure| pressure.some),
        };
        some.map(|record| f64::from(record.avg10)).map_err(|error| no_pressure(&error))
    }

    fn memory(&self) -> Result<Memory, String> {
        let memory = procfs::Meminfo::current().map_err(|error| error.to_string())?;
        let available = memory.mem_available.ok_or("the kernel does not say what is available")?;
        Ok(Memory { available, total: memory.mem_total })
    }

    fn space(&self, path: &Path) -> Result<Space, String> {
        let stat = rustix::fs::statvfs(path).map_err(|error| refusal(error.into()))?;
        Ok(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    fn exists(&self, path: &Path) -> Result<bool, String> {
        path.try_exists().map_err(refusal)
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn zone(&self) -> TimeZone {
        TimeZone::system()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it ends errors of two kinds in `map_err`")]
fn refusal(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "the path does not exist".to_owned(),
        _ => error.to_string(),
    }
}

/// PSI is an option of the kernel's build and of its command line (Documentation/accounting/psi.rst).
fn no_pressure(error: &procfs::ProcError) -> String {
    match error {
        procfs::ProcError::NotFound(_) => {
            "this kernel does not measure pressure (it needs CONFIG_PSI, and `psi=1` where that is off by default)"
                .to_owned()
        }
        procfs::ProcError::Io(error, _)
            if error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) =>
        {
            "this kernel was started without pressure (add `psi=1` to its command line)".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Machine, World, no_pressure};

    #[test]
    fn this_machine_can_be_looked_at() {
        let space = Machine.space("/".as_ref()).expect("there is a root");
        assert!(space.free <= space.total && space.total > 0, "{space:?}");
        let memory = Machine.memory().expect("there is memory");
        assert!(memory.available <= memory.total && memory.total > 0, "{memory:?}");
        assert!(Machine.load().expect("there is a load").iter().all(|load| *load >= 0.0));
        assert!(Machine.cpus() >= 1);
    }

    #[test]
    fn a_path_that_is_not_there_is_said_to_be() {
        assert_eq!(Machine.space("/nonexistent".as_ref()), Err("the path does not exist".to_owned()));
        assert_eq!(Machine.exists("/nonexistent".as_ref()), Ok(false));
    }

    #[test]
    fn a_kernel_without_pressure_is_named_as_the_cause() {
        let text = no_pressure(&procfs::ProcError::NotFound(None));
        assert!(text.contains("CONFIG_PSI"), "{text}");
    }
}
