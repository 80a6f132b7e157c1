//! What a store wants done, and what became of it.

use crate::log::LogPos;
use crate::sst::{FileId, PageRange};
use bytes::Bytes;
use slotcore_rt::buf::AlignedBuf;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// Sorted records (`docs/formats/sst.md`).
    Sorted,
    /// Large values (`docs/formats/blob.md`).
    Blob,
}

/// A file of a group. Shown as its name: 20 digits and `.sst` or `.blob`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// What it holds.
    pub kind: FileKind,
    /// Its number, which no other file of the group ever has.
    pub id: FileId,
}

impl FileName {
    /// A file of sorted records.
    pub fn sorted(id: FileId) -> Self {
        let kind = FileKind::Sorted;
        Self { kind, id }
    }

    /// A file of large values.
    pub fn blob(id: FileId) -> Self {
        let kind = FileKind::Blob;
        Self { kind, id }
    }

    /// The file of this name; `None` when it is no name that [`FileName`] shows.
    pub fn parse(name: &str) -> Option<Self> {
        let (digits, ending) = name.split_once('.')?;
        let id = FileId(digits.parse().ok()?);
        let file = match ending {
            "sst" => Self::sorted(id),
            "blob" => Self::blob(id),
            _ => return None,
        };
        (file.to_string() == name).then_some(file)
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ending = match self.kind {
            FileKind::Sorted => "sst",
            FileKind::Blob => "blob",
        };
        write!(f, "{:020}.{ending}", self.id.0)
    }
}

/// Names an effect that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Who waits for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A client.
    Fetch,
    /// A flush or a merge.
    Background,
}

/// What is to be done. All but [`StoreEffect::Flushed`] and [`StoreEffect::Delete`] are answered, in any order, by
/// [`Store::on_done`](super::Store::on_done).
#[derive(Debug)]
pub enum StoreEffect {
    /// Write whole pages. The first write makes the file. Nothing has to be durable yet.
    Write {
        /// To be handed back.
        ticket: Ticket,
        /// The file.
        file: FileName,
        /// Where, in bytes.
        offset: u64,
        /// What.
        buf: AlignedBuf,
    },
    /// Make the file's contents, its length and its name durable: all its writes are done.
    Finish {
        /// To be handed back.
        ticket: Ticket,
        /// The file.
        file: FileName,
        /// Its length, in bytes.
        file_bytes: u64,
    },
    /// Read whole pages.
    Read {
        /// To be handed back.
        ticket: Ticket,
        /// The file.
        file: FileName,
        /// Which pages.
        range: PageRange,
        /// Who waits.
        urgency: Urgency,
    },
    /// Append a `Manifest` record with these bytes to the group's log; done when it is durable.
    Manifest {
        /// To be handed back.
        ticket: Ticket,
        /// The record's payload.
        bytes: Bytes,
    },
    /// The files hold everything up to this entry, durably: the log need not keep it.
    Flushed {
        /// The entry.
        at: LogPos,
    },
    /// Delete a file, which may be gone already.
    Delete {
        /// The file.
        file: FileName,
    },
}

impl StoreEffect {
    /// The ticket, if it is answered.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        match *self {
            Self::Write { ticket, .. }
            | Self::Finish { ticket, .. }
            | Self::Read { ticket, .. }
            | Self::Manifest { ticket, .. } => Some(ticket),
            Self::Flushed { .. } | Self::Delete { .. } => None,
        }
    }
}

/// What became of an effect.
#[derive(Debug)]
pub enum Done {
    /// It is done. Of a read: the pages.
    Ok(Option<AlignedBuf>),
    /// There was no room. Of a write: the bytes, to be written again.
    NoSpace(Option<AlignedBuf>),
    /// The device failed, with this error number.
    Failed(i32),
}

/// Where a store reads from while it is opened, before anything else happens.
pub trait FileSource {
    /// All files of the group and their lengths in bytes, in any order.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list(&mut self) -> std::io::Result<Vec<(FileName, u64)>>;

    /// Appends the bytes of `range` to `buf`, which is empty.
    ///
    /// # Errors
    /// They cannot be read, or the file ends before.
    fn read_at(&mut self, file: FileName, range: PageRange, buf: &mut AlignedBuf) -> std::io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        for file in [FileName::sorted(FileId(7)), FileName::blob(FileId(u64::MAX))] {
            assert_eq!(FileName::parse(&file.to_string()), Some(file));
        }
        for odd in [
            "7.sst",
            "000000000007.tmp",
            "x.sst",
            "000000000007",
            "0000000000007.sst",
        ] {
            assert_eq!(FileName::parse(odd), None, "{odd}");
        }
    }
}
