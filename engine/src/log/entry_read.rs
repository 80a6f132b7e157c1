//! Reading entries back: from memory, or from frames that someone has read.

use bytes::{Bytes, BytesMut};
use slotcore_rt::ids::{GroupSlot, SegmentId};

use super::frame::{FRAME_HEADER_BYTES, FrameHeader};
use super::group::FrameRange;
use super::record::{FRAG_CONT, LogPos, RecordKind, Records};

/// One entry, as far as memory holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryRead {
    /// Here it is.
    Cached {
        /// Its position.
        pos: LogPos,
        /// Its payload.
        payload: Bytes,
    },
    /// It must be read.
    Cold(ColdEntry),
}

/// An entry on disk. Read `frames` whole and hand them, in order, to [`decode_entry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdEntry {
    /// Its group.
    pub group: GroupSlot,
    /// Its position.
    pub pos: LogPos,
    /// Bytes of its payload.
    pub payload_len: u64,
    /// The frames that hold it: one, or several for a big one.
    pub frames: Vec<FrameRange>,
}

/// A frame read back is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The file.
    pub segment: SegmentId,
    /// Where the frame starts in it, in bytes.
    pub offset: u64,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "damaged log frame in {} at offset {}",
            super::segment_file_name(self.segment),
            self.offset
        )
    }
}

impl std::error::Error for DecodeError {}

/// Takes an entry out of its frames, all checksums verified. Pure.
///
/// `frames`: the bytes of `entry.frames`, in that order.
///
/// # Errors
/// The first frame that is damaged or does not hold (its part of) the entry.
pub fn decode_entry(entry: &ColdEntry, frames: &[&[u8]]) -> Result<Bytes, DecodeError> {
    assert_eq!(entry.frames.len(), frames.len(), "each frame of the entry is handed in");
    let mut whole = BytesMut::with_capacity(entry.payload_len as usize);
    let mut damaged = entry.frames[0];
    for (range, raw) in entry.frames.iter().zip(frames) {
        damaged = *range;
        let fault = DecodeError {
            segment: range.segment,
            offset: range.offset,
        };
        whole.extend_from_slice(part_of(entry, range, raw, !whole.is_empty()).ok_or(fault)?);
    }
    if whole.len() as u64 != entry.payload_len {
        return Err(DecodeError {
            segment: damaged.segment,
            offset: damaged.offset,
        });
    }
    Ok(whole.freeze())
}

fn part_of<'a>(entry: &ColdEntry, range: &FrameRange, raw: &'a [u8], cont: bool) -> Option<&'a [u8]> {
    let header = FrameHeader::decode(raw).ok()?;
    let body = raw.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.body_len as usize)?;
    if header.segment != range.segment || header.body_crc != crc32c::crc32c(body) {
        return None;
    }
    let mut found = None;
    for record in Records::new(body) {
        let (head, _, payload) = record.ok()?;
        let is_entry = matches!(head.kind, RecordKind::Entry | RecordKind::Rewrite);
        let ours = is_entry && head.group == entry.group && head.pos() == entry.pos;
        if ours && cont == (head.flags & FRAG_CONT != 0) {
            // The newest wins: an entry may have been truncated and appended again within one frame.
            found = Some(payload);
        }
    }
    found
}
