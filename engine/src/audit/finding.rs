//! [`Finding`]: one damaged place, and what it means.

use crate::ord::SLOT_SHIFT;
use crate::store::FileName;
use slotcore_rt::ids::{FrameNo, GroupSlot, LogIndex, SegmentId};

/// Whether anything that counted is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Left over from a crash: nothing refers to it.
    LeftOver,
    /// Damaged in a part that nothing reads any more: what it held is in other files by now.
    Unused,
    /// A write that never became durable: nothing in it was acknowledged, and the next start drops it.
    Torn,
    /// It had been durable and cannot be read: a start refuses it.
    Corrupt,
}

impl Verdict {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeftOver => "left-over",
            Self::Unused => "unused",
            Self::Torn => "torn",
            Self::Corrupt => "corrupt",
        }
    }
}

/// A file of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditedFile {
    /// A segment of the log.
    Segment(SegmentId),
    /// A sorted file or a blob file.
    Store(FileName),
    /// The snapshot of the core's group.
    Snapshot,
}

impl std::fmt::Display for AuditedFile {
    /// The path in the core's folder.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Segment(id) => write!(f, "log/{}", crate::log::segment_file_name(*id)),
            Self::Store(name) => write!(f, "store/{name}"),
            Self::Snapshot => f.write_str("snapshot/snapshot"),
        }
    }
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it means.
    pub verdict: Verdict,
    /// Which file.
    pub file: AuditedFile,
    /// Where in it, in bytes.
    pub offset: u64,
    /// How much of it, in bytes; 0: the file is missing or ends there.
    pub bytes: u64,
    /// What is wrong, as a clause.
    pub what: String,
    /// Groups that it touches; empty: it may be any group of the core.
    pub groups: Vec<GroupSlot>,
    /// First and last order of the keys that it touches, inclusive; `None`: not known, or none.
    pub ords: Option<(u64, u64)>,
    /// Of a log: the first frame that is missing.
    pub frame: Option<FrameNo>,
    /// Of a log: the last entry before it and the first behind it, as far as the segment has them.
    pub entries: (Option<LogIndex>, Option<LogIndex>),
}

impl Finding {
    /// A finding about a whole file, or one place of it, and nothing else known.
    pub(super) fn new(verdict: Verdict, file: AuditedFile, offset: u64, bytes: u64, what: impl Into<String>) -> Self {
        Self {
            verdict,
            file,
            offset,
            bytes,
            what: what.into(),
            groups: Vec::new(),
            ords: None,
            frame: None,
            entries: (None, None),
        }
    }

    /// A segment that had been there, as somebody else knows, is not there from `offset` on.
    pub fn missing_segment(segment: SegmentId, offset: u64, what: String) -> Self {
        Self::new(Verdict::Corrupt, AuditedFile::Segment(segment), offset, 0, what)
    }

    /// The snapshot of the core's group cannot be used.
    pub fn damaged_snapshot(what: String) -> Self {
        Self::new(Verdict::Corrupt, AuditedFile::Snapshot, 0, 0, what)
    }

    /// First and last slot of the keys that it touches, inclusive.
    pub fn slots(&self) -> Option<(u64, u64)> {
        self.ords.map(|(from, to)| (from >> SLOT_SHIFT, to >> SLOT_SHIFT))
    }
}

/// Why an audit could not be finished.
#[derive(Debug)]
pub enum AuditError {
    /// A file, or a directory, cannot be read.
    Io {
        /// The file; `None` for the list of files.
        file: Option<AuditedFile>,
        /// What the system says.
        error: std::io::Error,
    },
}

impl std::fmt::Display for AuditError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io {
                file: Some(file),
                error,
            } => write!(f, "cannot read {file}: {error}"),
            Self::Io { file: None, error } => write!(f, "cannot list the files: {error}"),
        }
    }
}

impl std::error::Error for AuditError {}
