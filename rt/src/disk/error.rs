//! [`DiskError`]: what failed, where, and what the system said.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// A failed operation on a file or directory.
#[derive(Debug)]
pub struct DiskError {
    /// What was tried, as a verb phrase: `create segment`.
    pub what: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

impl DiskError {
    /// For `map_err`.
    pub(crate) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
        move |source| DiskError {
            what,
            path: path.to_owned(),
            source,
        }
    }

    /// The system's error number, `EIO` where it gave none (a file that is shorter than its name promises).
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(libc::EIO)
    }

    /// True when the device or a quota is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self.errno(), libc::ENOSPC | libc::EDQUOT)
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.what, self.path.display(), self.source)
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
