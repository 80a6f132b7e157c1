//! How a sorted file says no: damage, with file and place.

use super::FileId;

/// What is wrong with a damaged place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Not a file of this kind.
    Magic,
    /// Bytes that do not match their checksum.
    Checksum,
    /// A sound page of another file.
    Identity,
    /// The file is not as long as it says, or not whole pages.
    Length {
        /// Bytes expected; 0 when only the granularity is wrong.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The checksum holds, the contents make no sense: a bug, or an attack.
    Contents,
}

/// Why a file or a page of it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SstError {
    /// The file is damaged.
    Corrupt {
        /// What is wrong.
        damage: Damage,
        /// The file.
        file: FileId,
        /// Where the damaged part starts, in bytes from the beginning of the file.
        offset: u64,
    },
    /// A sound file of a format this version does not read.
    Version {
        /// The file.
        file: FileId,
        /// The version found.
        version: u32,
    },
}

impl std::fmt::Display for SstError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Corrupt { damage, file, offset } => {
                write!(f, "file {file} is corrupt at offset {offset}: ")?;
                match damage {
                    Damage::Magic => f.write_str("it is not a file of this kind"),
                    Damage::Checksum => f.write_str("bytes do not match their checksum"),
                    Damage::Identity => f.write_str("it holds a page of another file"),
                    Damage::Length { expected: 0, found } => write!(f, "{found} bytes are not whole pages"),
                    Damage::Length { expected, found } => write!(f, "expected {expected} bytes, found {found}"),
                    Damage::Contents => f.write_str("its contents make no sense"),
                }
            }
            Self::Version { file, version } => {
                write!(f, "file {file} has format version {version}, which is not known here")
            }
        }
    }
}

impl std::error::Error for SstError {}
