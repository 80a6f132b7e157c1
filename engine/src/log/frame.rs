//! The frame header: 64 bytes before every write of the log.
//!
//! A frame is the unit of write, of checksum and of atomicity. It is written once, at its own place, and never again
//! until the whole segment is recycled under a new id and a new salt. Format: `docs/formats/log.md`, "Frame".

use std::mem::{offset_of, size_of};

use slotcore_rt::ids::{CoreId, FrameNo, SegmentId};

/// First four bytes of every frame: "SLFR", little endian.
pub const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"SLFR");

/// Version of the frame and record layout written by this code.
pub const LOG_FORMAT_VERSION: u16 = 1;

/// Bytes of a frame header.
pub const FRAME_HEADER_BYTES: usize = size_of::<RawHeader>();

/// Smallest block a device writes atomically, in bytes: every frame length and offset is a multiple of it.
pub const BLOCK_BYTES_MIN: usize = 512;

/// Largest frame any version may write, in bytes: a reader refuses a header that claims more.
pub const FRAME_BYTES_LIMIT: usize = 16 << 20;

/// Frame numbers stay below this: they travel in completion tokens of 56 bits. At a million frames a second it lasts five
/// centuries.
pub const FRAME_NO_LIMIT: u64 = 1 << 54;

/// The layout on disk, little endian; only its field offsets are used.
#[repr(C)]
struct RawHeader {
    magic: u32,
    /// CRC32C of the header's bytes from `salt` to the end.
    hdr_crc: u32,
    salt: u64,
    frame_no: u64,
    durable_no: u64,
    prev_body_crc: u32,
    body_crc: u32,
    body_len: u32,
    pad: u32,
    nrec: u16,
    flags: u16,
    core: u16,
    version: u16,
    segment: u64,
}

const _: () = {
    assert!(size_of::<RawHeader>() == 64);
    assert!(offset_of!(RawHeader, hdr_crc) == 4);
    assert!(offset_of!(RawHeader, salt) == 8);
    assert!(offset_of!(RawHeader, frame_no) == 16);
    assert!(offset_of!(RawHeader, durable_no) == 24);
    assert!(offset_of!(RawHeader, prev_body_crc) == 32);
    assert!(offset_of!(RawHeader, body_crc) == 36);
    assert!(offset_of!(RawHeader, body_len) == 40);
    assert!(offset_of!(RawHeader, pad) == 44);
    assert!(offset_of!(RawHeader, nrec) == 48);
    assert!(offset_of!(RawHeader, flags) == 50);
    assert!(offset_of!(RawHeader, core) == 52);
    assert!(offset_of!(RawHeader, version) == 54);
    assert!(offset_of!(RawHeader, segment) == 56);
    // Records start 8-byte aligned in the frame.
    assert!(size_of::<RawHeader>().is_multiple_of(8));
};

/// What a frame is besides a carrier of records: a bit set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameFlags(pub u16);

impl FrameFlags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// First frame of a checkpoint, always at offset 0 of a segment.
    pub const CKPT_BEGIN: Self = Self(1);
    /// Last frame of a checkpoint; may be the first one too.
    pub const CKPT_END: Self = Self(2);
    /// Written when the log fell idle: its `durable_no` covers every frame before it.
    pub const SEAL: Self = Self(4);
    /// With `SEAL`: the process then ended on purpose.
    pub const CLEAN: Self = Self(8);
    /// First frame since the log was opened. Frames between its `durable_no` and itself were dropped by recovery.
    pub const OPENED: Self = Self(16);

    /// True when every bit of `other` is set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A frame header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Random number of this use of the segment.
    pub salt: u64,
    /// This frame.
    pub frame_no: FrameNo,
    /// Highest frame known durable when this one was submitted: what tells a corrupt frame from a torn one.
    pub durable_no: FrameNo,
    /// `body_crc` of the frame before, over segment borders: a chain.
    pub prev_body_crc: u32,
    /// CRC32C of the body.
    pub body_crc: u32,
    /// Bytes of records, a multiple of 8.
    pub body_len: u32,
    /// Zero bytes after the body.
    pub pad: u32,
    /// Records in the body.
    pub nrec: u16,
    /// What the frame is.
    pub flags: FrameFlags,
    /// Owner of the log.
    pub core: CoreId,
    /// Segment the frame was written to: a misdirected or stale block gives itself away.
    pub segment: SegmentId,
}

/// Why 64 bytes are no header of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// Wrong magic, wrong checksum, or impossible lengths: not a frame, or a damaged one.
    NotAFrame,
    /// A sound header of a format this code does not know.
    Version(u16),
}

impl FrameHeader {
    /// Bytes of the whole frame on disk.
    pub fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.body_len as usize + self.pad as usize
    }

    /// Writes the header, checksum included, to the first [`FRAME_HEADER_BYTES`] of `out`.
    pub fn encode(&self, out: &mut [u8]) {
        put32(out, offset_of!(RawHeader, magic), FRAME_MAGIC);
        put64(out, offset_of!(RawHeader, salt), self.salt);
        put64(out, offset_of!(RawHeader, frame_no), self.frame_no.0);
        put64(out, offset_of!(RawHeader, durable_no), self.durable_no.0);
        put32(out, offset_of!(RawHeader, prev_body_crc), self.prev_body_crc);
        put32(out, offset_of!(RawHeader, body_crc), self.body_crc);
        put32(out, offset_of!(RawHeader, body_len), self.body_len);
        put32(out, offset_of!(RawHeader, pad), self.pad);
        put16(out, offset_of!(RawHeader, nrec), self.nrec);
        put16(out, offset_of!(RawHeader, flags), self.flags.0);
        put16(out, offset_of!(RawHeader, core), self.core.0);
        put16(out, offset_of!(RawHeader, version), LOG_FORMAT_VERSION);
        put64(out, offset_of!(RawHeader, segment), self.segment.0);
        let crc = crc32c::crc32c(&out[offset_of!(RawHeader, salt)..FRAME_HEADER_BYTES]);
        put32(out, offset_of!(RawHeader, hdr_crc), crc);
    }

    /// Reads a header from the start of `bytes` and checks everything that it says about itself.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let Some(raw) = bytes.get(..FRAME_HEADER_BYTES) else {
            return Err(HeaderFault::NotAFrame);
        };
        if get32(raw, offset_of!(RawHeader, magic)) != FRAME_MAGIC
            || get32(raw, offset_of!(RawHeader, hdr_crc)) != crc32c::crc32c(&raw[offset_of!(RawHeader, salt)..])
        {
            return Err(HeaderFault::NotAFrame);
        }
        let version = get16(raw, offset_of!(RawHeader, version));
        if version != LOG_FORMAT_VERSION {
            return Err(HeaderFault::Version(version));
        }
        let header = Self {
            salt: get64(raw, offset_of!(RawHeader, salt)),
            frame_no: FrameNo(get64(raw, offset_of!(RawHeader, frame_no))),
            durable_no: FrameNo(get64(raw, offset_of!(RawHeader, durable_no))),
            prev_body_crc: get32(raw, offset_of!(RawHeader, prev_body_crc)),
            body_crc: get32(raw, offset_of!(RawHeader, body_crc)),
            body_len: get32(raw, offset_of!(RawHeader, body_len)),
            pad: get32(raw, offset_of!(RawHeader, pad)),
            nrec: get16(raw, offset_of!(RawHeader, nrec)),
            flags: FrameFlags(get16(raw, offset_of!(RawHeader, flags))),
            core: CoreId(get16(raw, offset_of!(RawHeader, core))),
            segment: SegmentId(get64(raw, offset_of!(RawHeader, segment))),
        };
        let (body, pad) = (header.body_len as usize, header.pad as usize);
        let sane = body <= FRAME_BYTES_LIMIT
            && pad <= FRAME_BYTES_LIMIT
            && body.is_multiple_of(8)
            && header.frame_bytes().is_multiple_of(BLOCK_BYTES_MIN)
            && header.frame_no.0 < FRAME_NO_LIMIT
            && header.durable_no < header.frame_no;
        if sane { Ok(header) } else { Err(HeaderFault::NotAFrame) }
    }
}

pub(crate) fn put16(out: &mut [u8], at: usize, v: u16) {
    out[at..at + 2].copy_from_slice(&v.to_le_bytes());
}

pub(crate) fn put32(out: &mut [u8], at: usize, v: u32) {
    out[at..at + 4].copy_from_slice(&v.to_le_bytes());
}

pub(crate) fn put64(out: &mut [u8], at: usize, v: u64) {
    out[at..at + 8].copy_from_slice(&v.to_le_bytes());
}

pub(crate) fn get16(raw: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(raw[at..at + 2].try_into().expect("two bytes"))
}

pub(crate) fn get32(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(raw[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn get64(raw: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(raw[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            salt: 0x1122_3344_5566_7788,
            frame_no: FrameNo(9),
            durable_no: FrameNo(7),
            prev_body_crc: 1,
            body_crc: 2,
            body_len: 448,
            pad: 0,
            nrec: 3,
            flags: FrameFlags::CKPT_BEGIN.with(FrameFlags::CKPT_END),
            core: CoreId(5),
            segment: SegmentId(12),
        }
    }

    #[test]
    fn a_header_survives_the_round_trip_and_no_bit_flip() {
        let mut raw = [0u8; FRAME_HEADER_BYTES];
        header().encode(&mut raw);
        assert_eq!(FrameHeader::decode(&raw), Ok(header()));
        for bit in 0..FRAME_HEADER_BYTES * 8 {
            let mut bad = raw;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::decode(&bad).is_err(), "flip of bit {bit} was not noticed");
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut raw = [0u8; FRAME_HEADER_BYTES];
        header().encode(&mut raw);
        put16(&mut raw, 54, 9);
        let crc = crc32c::crc32c(&raw[8..]);
        put32(&mut raw, 4, crc);
        assert_eq!(FrameHeader::decode(&raw), Err(HeaderFault::Version(9)));
    }
}
