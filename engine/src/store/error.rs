//! [`StoreError`]: damage or a failed device, with file and place. The process ends on it.

use super::effect::FileName;
use crate::collections::DecodeError;
use crate::manifest::ManifestError;
use crate::sst::SstError;

/// Why a store cannot go on.
#[derive(Debug)]
pub enum StoreError {
    /// The log's manifest makes no sense.
    Manifest(ManifestError),
    /// A file is damaged.
    Damaged(SstError),
    /// The manifest names a file that is not there.
    Missing {
        /// The file.
        file: FileName,
    },
    /// A file is not as long as the manifest says.
    Length {
        /// The file.
        file: FileName,
        /// What the manifest says, in bytes.
        expected: u64,
        /// What the file system says.
        found: u64,
    },
    /// A sound file, but not the one that the manifest means.
    Foreign {
        /// The file.
        file: FileName,
    },
    /// A sound record whose value is no collection.
    Value {
        /// Order of its key.
        ord: u64,
        /// What is wrong.
        error: DecodeError,
    },
    /// An effect failed.
    Device {
        /// The file; `None` for the log.
        file: Option<FileName>,
        /// Where in it, in bytes.
        offset: u64,
        /// The error number.
        errno: i32,
    },
    /// Reading at the start failed.
    Io {
        /// The file; `None` for the directory.
        file: Option<FileName>,
        /// What the system says.
        error: std::io::Error,
    },
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Manifest(error) => error.fmt(f),
            Self::Damaged(error) => error.fmt(f),
            Self::Missing { file } => write!(f, "file {file} is missing"),
            Self::Length { file, expected, found } => {
                write!(f, "file {file} has {found} bytes instead of {expected}")
            }
            Self::Foreign { file } => write!(f, "file {file} is not the one that the manifest means"),
            Self::Value { ord, error } => write!(f, "the value of the key with order {ord:#x} is damaged: {error}"),
            Self::Device { file, offset, errno } => {
                let error = std::io::Error::from_raw_os_error(*errno);
                match file {
                    Some(file) => write!(f, "file {file} at offset {offset}: {error}"),
                    None => write!(f, "the manifest could not be written: {error}"),
                }
            }
            Self::Io {
                file: Some(file),
                error,
            } => write!(f, "file {file}: {error}"),
            Self::Io { file: None, error } => write!(f, "the files cannot be listed: {error}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<SstError> for StoreError {
    fn from(error: SstError) -> Self {
        Self::Damaged(error)
    }
}

impl From<ManifestError> for StoreError {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(error)
    }
}
