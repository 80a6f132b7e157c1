//! Reading segments for recovery: frames in order, and what lies beyond the first bad one.

use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ids::{CoreId, FrameNo, SegmentId};

use super::error::{Damage, RecoverError};
use super::frame::{BLOCK_BYTES_MIN, FRAME_HEADER_BYTES, FrameHeader, HeaderFault};

/// Where recovery reads from.
pub trait SegmentSource {
    /// All segment files and their sizes in bytes, in any order.
    fn list(&mut self) -> std::io::Result<Vec<(SegmentId, u64)>>;

    /// Fills `buf` up to its length from `offset`; both are multiples of 4096 except at the end of a file, and lie
    /// within it.
    fn read_at(&mut self, segment: SegmentId, offset: u64, buf: &mut AlignedBuf) -> std::io::Result<()>;
}

/// Bytes read at a time: large enough to stream.
const WINDOW_BYTES: usize = 1 << 20;
/// Reads start and end at multiples of this, for O_DIRECT.
const READ_ALIGN: u64 = 4096;

/// A window that moves over segments.
pub(crate) struct Reader<'a> {
    src: &'a mut dyn SegmentSource,
    core: CoreId,
    segment: SegmentId,
    bytes: u64,
    window: AlignedBuf,
    window_at: u64,
}

/// What a frame must be to continue the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expect {
    pub(crate) frame_no: FrameNo,
    /// `None`: take the segment's salt from this frame.
    pub(crate) salt: Option<u64>,
    /// `None`: the frame before was not read.
    pub(crate) prev_body_crc: Option<u32>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(src: &'a mut dyn SegmentSource, core: CoreId) -> Self {
        let window = AlignedBuf::with_capacity(BLOCK_BYTES_MIN);
        Self {
            src,
            core,
            segment: SegmentId(0),
            bytes: 0,
            window,
            window_at: 0,
        }
    }

    pub(crate) fn list(&mut self) -> Result<Vec<(SegmentId, u64)>, RecoverError> {
        let listed = self.src.list();
        listed.map_err(|error| RecoverError::Io {
            segment: None,
            offset: 0,
            error,
        })
    }

    /// Turns to a segment of `bytes`.
    pub(crate) fn enter(&mut self, segment: SegmentId, bytes: u64) {
        if self.segment != segment {
            self.window.clear();
        }
        (self.segment, self.bytes) = (segment, bytes);
    }

    /// The bytes `offset..offset + len`; `None` when they go beyond the file.
    fn view(&mut self, offset: u64, len: usize) -> Result<Option<&[u8]>, RecoverError> {
        let end = offset + len as u64;
        if end > self.bytes {
            return Ok(None);
        }
        if offset < self.window_at || end > self.window_at + self.window.len() as u64 {
            self.window_at = offset / READ_ALIGN * READ_ALIGN;
            let want = (end - self.window_at)
                .next_multiple_of(READ_ALIGN)
                .max(WINDOW_BYTES as u64);
            let want = want.min(self.bytes - self.window_at) as usize;
            if self.window.capacity() < want {
                self.window = AlignedBuf::with_capacity(want);
            }
            self.window.set_len(want);
            let read = self.src.read_at(self.segment, self.window_at, &mut self.window);
            if let Err(error) = read {
                self.window.clear();
                return Err(RecoverError::Io {
                    segment: Some(self.segment),
                    offset: self.window_at,
                    error,
                });
            }
        }
        let at = (offset - self.window_at) as usize;
        Ok(Some(&self.window[at..at + len]))
    }

    /// The header at `offset` of this segment, if it is one of this use of the segment.
    pub(crate) fn header_at(&mut self, offset: u64) -> Result<Option<FrameHeader>, RecoverError> {
        let (segment, core) = (self.segment, self.core);
        let Some(raw) = self.view(offset, FRAME_HEADER_BYTES)? else {
            return Ok(None);
        };
        match FrameHeader::decode(raw) {
            Ok(h) => Ok((h.segment == segment && h.core == core).then_some(h)),
            Err(HeaderFault::Version(version)) => Err(RecoverError::Version {
                segment,
                offset,
                version,
            }),
            Err(HeaderFault::NotAFrame) => Ok(None),
        }
    }

    /// The frame at `offset`, or why it does not continue the log.
    pub(crate) fn frame_at(
        &mut self,
        offset: u64,
        expect: Expect,
    ) -> Result<Result<(FrameHeader, &[u8]), Damage>, RecoverError> {
        let (segment, core) = (self.segment, self.core);
        let header = match self.view(offset, FRAME_HEADER_BYTES)?.map(FrameHeader::decode) {
            Some(Ok(header)) => header,
            Some(Err(HeaderFault::Version(version))) => {
                return Err(RecoverError::Version {
                    segment,
                    offset,
                    version,
                });
            }
            Some(Err(HeaderFault::NotAFrame)) | None => return Ok(Err(Damage::Header)),
        };
        let same_salt = expect.salt.is_none_or(|salt| salt == header.salt);
        if header.segment != segment || header.core != core || header.frame_no != expect.frame_no || !same_salt {
            return Ok(Err(Damage::Identity));
        }
        let Some(frame) = self.view(offset, header.frame_bytes())? else {
            return Ok(Err(Damage::Header));
        };
        let body = &frame[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.body_len as usize];
        if crc32c::crc32c(body) != header.body_crc {
            return Ok(Err(Damage::Body));
        }
        if expect.prev_body_crc.is_some_and(|crc| crc != header.prev_body_crc) {
            return Ok(Err(Damage::Chain));
        }
        Ok(Ok((header, body)))
    }

    /// The body bytes of a damaged frame, for telling whom it may have concerned.
    pub(crate) fn damaged_body(&mut self, offset: u64) -> Result<Vec<u8>, RecoverError> {
        let Some(header) = self.header_at(offset)? else {
            return Ok(Vec::new());
        };
        let frame = self.view(offset, header.frame_bytes())?;
        Ok(frame
            .map(|f| f[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.body_len as usize].to_vec())
            .unwrap_or_default())
    }

    /// Looks at each block of `range` for headers of this use of the segment: with its salt, if that is known, because
    /// a payload may hold a copy of some log.
    pub(crate) fn look_ahead(
        &mut self,
        range: std::ops::Range<u64>,
        salt: Option<u64>,
        seen: &mut Seen,
    ) -> Result<(), RecoverError> {
        let mut offset = range.start;
        while offset < range.end && offset + FRAME_HEADER_BYTES as u64 <= self.bytes {
            match self.header_at(offset) {
                Ok(Some(header)) if salt.is_none_or(|salt| salt == header.salt) => seen.note(&header),
                // Among blocks of an earlier use another version is no concern.
                Ok(_) | Err(RecoverError::Version { .. }) => {}
                Err(error) => return Err(error),
            }
            offset += BLOCK_BYTES_MIN as u64;
        }
        Ok(())
    }
}

/// What sound headers have said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Highest frame that any of them knew to be durable.
    pub(crate) durable: FrameNo,
    /// Highest frame number.
    pub(crate) last: FrameNo,
    /// Lowest frame number; 0 = none seen.
    pub(crate) first: FrameNo,
}

impl Seen {
    pub(crate) fn note(&mut self, header: &FrameHeader) {
        self.durable = self.durable.max(header.durable_no);
        self.last = self.last.max(header.frame_no);
        if self.first.0 == 0 || header.frame_no < self.first {
            self.first = header.frame_no;
        }
    }

    pub(crate) fn merge(&mut self, other: &Seen) {
        self.durable = self.durable.max(other.durable);
        self.last = self.last.max(other.last);
        if self.first.0 == 0 || (other.first.0 > 0 && other.first < self.first) {
            self.first = other.first;
        }
    }
}
