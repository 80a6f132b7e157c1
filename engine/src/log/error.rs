//! How the log says no: answers to the caller, failures of the device, damage met in recovery.

use slotcore_rt::ids::{FrameNo, GroupSlot, LogIndex, SegmentId};

/// Name of a segment's file inside the log's folder, as `rt::disk` writes it: sorts by age.
pub fn segment_file_name(segment: SegmentId) -> String {
    format!("{:020}.seg", segment.0)
}

/// Why a record was refused. Nothing was written and no state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The segments that the record needs are being prepared: try again after the next `on_segment_ready`.
    NotReady,
    /// The disk is full. Records of state (votes, commits, purges) still find room for a while; entries do not.
    NoSpace,
    /// Too many bytes wait for the device ([`LogOptions::backlog_bytes_max`](super::LogOptions::backlog_bytes_max)).
    Backlog,
    /// The payload exceeds what a record, or a checkpoint, can hold.
    TooLarge {
        /// Bytes offered.
        bytes: u64,
        /// Bytes possible.
        bytes_max: u64,
    },
    /// The index does not follow the group's last one, or lies at or below what was purged.
    OutOfOrder {
        /// Index offered.
        index: LogIndex,
        /// Smallest index possible.
        min: LogIndex,
        /// Largest index possible.
        max: LogIndex,
    },
    /// No such group.
    UnknownGroup(GroupSlot),
    /// The slot is taken.
    GroupExists(GroupSlot),
    /// The log was sealed for shutdown.
    Sealed,
    /// A write or sync failed earlier: this log takes nothing any more.
    Failed(LogFailure),
}

impl std::fmt::Display for AppendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotReady => write!(f, "log segments are being prepared"),
            Self::NoSpace => write!(f, "no space left for the log"),
            Self::Backlog => write!(f, "too many bytes wait for the log device"),
            Self::TooLarge { bytes, bytes_max } => write!(f, "record of {bytes} bytes exceeds {bytes_max}"),
            Self::OutOfOrder { index, min, max } => write!(f, "index {index} is not within {min}..={max}"),
            Self::UnknownGroup(g) => write!(f, "no group in slot {g}"),
            Self::GroupExists(g) => write!(f, "slot {g} already holds a group"),
            Self::Sealed => write!(f, "the log is sealed"),
            Self::Failed(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for AppendError {}

/// What the device was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogOperation {
    /// A frame.
    Write(FrameNo),
    /// A flush.
    Sync,
}

/// A write or flush of the log failed. After a failed flush nobody knows what is on disk (the kernel marks the pages
/// clean), so there is no retry: the process must end and recover from what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFailure {
    /// What failed.
    pub operation: LogOperation,
    /// Where.
    pub segment: SegmentId,
    /// Where, in bytes; 0 for a flush.
    pub offset: u64,
    /// What the kernel said.
    pub errno: i32,
}

impl std::fmt::Display for LogFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = segment_file_name(self.segment);
        match self.operation {
            LogOperation::Write(frame) => {
                write!(
                    f,
                    "write of log frame {frame} to {file} at offset {} failed: errno {}",
                    self.offset, self.errno
                )
            }
            LogOperation::Sync => write!(f, "flush of log segment {file} failed: errno {}", self.errno),
        }
    }
}

impl std::error::Error for LogFailure {}

/// What is wrong with a damaged place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// No sound frame where one had been durable.
    Header,
    /// A sound header of another segment, core, salt or frame number.
    Identity,
    /// The body does not match its checksum.
    Body,
    /// The frame does not continue the chain of checksums.
    Chain,
    /// The checksum holds, the records make no sense.
    Records,
    /// The segment's file is missing.
    MissingSegment,
    /// Entries that must be there are in none of the segments.
    MissingEntries,
}

/// Why a log could not be opened.
#[derive(Debug)]
pub enum RecoverError {
    /// Data that had been durable is damaged. Nothing was changed; the caller decides (repair from peers, stop).
    Corrupt {
        /// What is wrong.
        damage: Damage,
        /// The segment; its file is [`segment_file_name`].
        segment: SegmentId,
        /// Where the damaged frame starts, in bytes from the beginning of the file.
        offset: u64,
        /// The frame that should be there.
        frame: FrameNo,
        /// Groups whose records the frame holds, as far as can be told; empty = it may be any group.
        groups: Vec<GroupSlot>,
    },
    /// A sound frame of a format this version does not read.
    Version {
        /// The segment.
        segment: SegmentId,
        /// Where in it, in bytes.
        offset: u64,
        /// The version found.
        version: u16,
    },
    /// Reading failed.
    Io {
        /// The segment; `None` while listing.
        segment: Option<SegmentId>,
        /// Where, in bytes.
        offset: u64,
        /// What the system said.
        error: std::io::Error,
    },
}

impl std::fmt::Display for RecoverError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Corrupt {
                damage,
                segment,
                offset,
                frame,
                groups,
            } => {
                let file = segment_file_name(*segment);
                let what = match damage {
                    Damage::Header => "no sound frame header",
                    Damage::Identity => "a frame that belongs elsewhere",
                    Damage::Body => "a body that does not match its checksum",
                    Damage::Chain => "a frame that does not continue the one before",
                    Damage::Records => "records that make no sense",
                    Damage::MissingSegment => "no file",
                    Damage::MissingEntries => "too few entries",
                };
                write!(
                    f,
                    "log is corrupt: {what} in {file} at offset {offset}, where frame {frame} had been durable"
                )?;
                if groups.is_empty() {
                    write!(f, "; any group may be hit")
                } else {
                    write!(f, "; groups hit:")
                }?;
                groups.iter().try_for_each(|g| write!(f, " {g}"))
            }
            Self::Version {
                segment,
                offset,
                version,
            } => {
                let file = segment_file_name(*segment);
                write!(
                    f,
                    "log format version {version} in {file} at offset {offset} is not known here"
                )
            }
            Self::Io {
                segment: Some(s),
                offset,
                error,
            } => {
                write!(
                    f,
                    "reading {} at offset {offset} failed: {error}",
                    segment_file_name(*s)
                )
            }
            Self::Io {
                segment: None, error, ..
            } => write!(f, "listing log segments failed: {error}"),
        }
    }
}

impl std::error::Error for RecoverError {}
