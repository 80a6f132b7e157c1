//! Whether this kernel can carry Slotcore, checked before anything is opened.
//!
//! Each [`KernelProblem`] prints what was found, what is needed and what to do about it: it is what an operator sees.

use std::fmt;
use std::{fs, io};

use crate::mem;

/// The oldest kernel with everything `ring` uses: multishot receive with provided buffers and deferred task work.
pub const KERNEL_MIN: KernelVersion = KernelVersion { major: 6, minor: 1 };

/// A kernel's release, as far as features depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// 6 of 6.1.
    pub major: u32,
    /// 1 of 6.1.
    pub minor: u32,
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl KernelVersion {
    /// Reads the front of a release such as `6.1.0-18-amd64`.
    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some(Self {
            major: numbers.next()?.ok()?,
            minor: numbers.next()?.ok()?,
        })
    }

    /// The running kernel's.
    ///
    /// # Errors
    /// When `/proc` is not mounted or its text is not a release.
    pub fn running() -> io::Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Self::parse(release.trim()).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("kernel release {release:?} is not a version"),
            )
        })
    }
}

/// Why the server cannot run here.
#[derive(Debug)]
pub enum KernelProblem {
    /// Older than [`KERNEL_MIN`].
    TooOld(KernelVersion),
    /// io_uring is switched off for this process.
    UringForbidden,
    /// The kernel was built without io_uring.
    UringMissing,
    /// Too little memory may be locked.
    MemlockTooSmall {
        /// The limit found, in bytes.
        limit: u64,
        /// The limit needed, in bytes.
        needed: u64,
    },
    /// The check itself failed.
    Unknown(io::Error),
}

impl fmt::Display for KernelProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld(found) => {
                write!(
                    f,
                    "the kernel is Linux {found}, but {KERNEL_MIN} or newer is needed: upgrade the kernel"
                )
            }
            Self::UringForbidden => f.write_str(
                "io_uring is forbidden for this process: set `sysctl kernel.io_uring_disabled=0`; in a container, \
                 allow io_uring_setup, io_uring_enter and io_uring_register in its seccomp profile (for a trial: \
                 `--security-opt seccomp=unconfined`)",
            ),
            Self::UringMissing => f.write_str(
                "this kernel has no io_uring (or the sandbox hides it): use a kernel built with CONFIG_IO_URING=y",
            ),
            Self::MemlockTooSmall { limit, needed } => write!(
                f,
                "only {} KiB of memory may be locked, but {} KiB are needed for io_uring: raise the limit with \
                 `ulimit -l {}`, `LimitMEMLOCK=` in the systemd unit, or `--ulimit memlock=` for a container",
                limit / 1024,
                needed.div_ceil(1024),
                needed.div_ceil(1024),
            ),
            Self::Unknown(error) => write!(f, "the kernel could not be examined: {error}; is /proc mounted?"),
        }
    }
}

impl std::error::Error for KernelProblem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unknown(error) => Some(error),
            _ => None,
        }
    }
}

/// Checks version, io_uring and the memlock limit; `memlock_needed` is in bytes, for all rings of the process. Raises
/// the soft memlock limit to the hard one on the way.
///
/// # Errors
/// The first problem found.
pub fn check(memlock_needed: u64) -> Result<KernelVersion, KernelProblem> {
    let version = KernelVersion::running().map_err(KernelProblem::Unknown)?;
    check_version(version)?;
    check_memlock(mem::memlock_limit().map_err(KernelProblem::Unknown)?, memlock_needed)?;
    match io_uring::IoUring::new(2) {
        Ok(_) => Ok(version),
        Err(error) => Err(uring_problem(error, memlock_needed)),
    }
}

fn check_version(version: KernelVersion) -> Result<(), KernelProblem> {
    if version < KERNEL_MIN {
        Err(KernelProblem::TooOld(version))
    } else {
        Ok(())
    }
}

fn check_memlock(limit: Option<u64>, needed: u64) -> Result<(), KernelProblem> {
    match limit {
        Some(limit) if limit < needed => Err(KernelProblem::MemlockTooSmall { limit, needed }),
        _ => Ok(()),
    }
}

/// What a failed ring set-up means; for errors of [`crate::ring::Ring::new`] too.
pub fn uring_problem(error: io::Error, memlock_needed: u64) -> KernelProblem {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => KernelProblem::UringForbidden,
        Some(libc::ENOSYS) => KernelProblem::UringMissing,
        Some(libc::ENOMEM) => {
            let limit = mem::memlock_limit().ok().flatten().unwrap_or(0);
            KernelProblem::MemlockTooSmall {
                limit,
                needed: memlock_needed,
            }
        }
        _ => KernelProblem::Unknown(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_distributions_write_them() {
        let read = |text| KernelVersion::parse(text).map(|v| (v.major, v.minor));
        assert_eq!(read("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(read("6.18.44-fc-v509"), Some((6, 18)));
        assert_eq!(read("5.15.153.1-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(read("6.1"), Some((6, 1)));
        assert_eq!(read("linux"), None);
    }

    #[test]
    fn every_problem_says_what_to_do() {
        let says = |problem: KernelProblem, advice: &str| {
            let text = problem.to_string();
            assert!(text.contains(advice), "{text}");
        };
        let old = check_version(KernelVersion { major: 5, minor: 19 }).unwrap_err();
        says(old, "Linux 5.19, but 6.1 or newer");
        says(check_memlock(Some(64 * 1024), 512 * 1024).unwrap_err(), "ulimit -l 512");
        says(
            uring_problem(io::Error::from_raw_os_error(libc::EPERM), 0),
            "kernel.io_uring_disabled=0",
        );
        says(
            uring_problem(io::Error::from_raw_os_error(libc::ENOSYS), 0),
            "CONFIG_IO_URING=y",
        );
        says(
            uring_problem(io::Error::from_raw_os_error(libc::ENOMEM), 1 << 20),
            "ulimit -l 1024",
        );
    }

    #[test]
    fn a_machine_that_runs_these_tests_passes_or_says_why() {
        match check(0) {
            Ok(version) => assert!(version >= KERNEL_MIN),
            Err(problem) => assert!(!matches!(problem, KernelProblem::MemlockTooSmall { .. }), "{problem}"),
        }
    }

    #[test]
    fn no_limit_is_enough() {
        assert!(check_memlock(None, u64::MAX).is_ok());
    }
}
