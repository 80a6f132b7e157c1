//! [`FrameBuilder`]: records become frames, frames get their place.
//!
//! One frame is open at a time; records are copied straight into its DMA buffer. Closed frames queue until the device
//! takes them. Number and place are fixed when a frame opens, so a record's frame is known when it is appended; the
//! header is written only at submission, because `durable_no` should be as fresh as possible.

use std::collections::VecDeque;

use bytes::Bytes;
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ids::{CoreId, FrameNo, GroupSlot, LogIndex, SegmentId};

use super::frame::{FRAME_HEADER_BYTES, FrameFlags, FrameHeader};
use super::group::FrameRange;
use super::record::{RECORD_HEADER_BYTES, RecordHeader, record_bytes};

/// Where the next frame goes.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    pub(crate) segment: SegmentId,
    salt: u64,
    pub(crate) offset: u64,
    /// Frames end here: the last block is kept for the segment's own end.
    limit: u64,
}

struct OpenFrame {
    buf: AlignedBuf,
    /// Bytes that may be filled, header included.
    room: usize,
    nrec: u16,
    flags: FrameFlags,
}

/// A frame ready for the device.
struct QueuedFrame {
    info: FrameInfo,
    salt: u64,
    body: QueuedBody,
}

/// What is known of a closed frame besides its bytes.
#[derive(Clone, Copy)]
pub(crate) struct FrameInfo {
    pub(crate) frame_no: FrameNo,
    pub(crate) at: FrameRange,
    pub(crate) body_len: u32,
    pub(crate) nrec: u16,
    pub(crate) flags: FrameFlags,
}

enum QueuedBody {
    Buf(AlignedBuf),
    /// One fragment of a big entry, copied only when its turn comes: 512 MiB must not exist twice.
    Fragment(RecordHeader, Bytes),
}

/// See the file's head.
pub(crate) struct FrameBuilder {
    block: usize,
    frame_max: usize,
    core: CoreId,
    pos: Option<Position>,
    open: Option<OpenFrame>,
    queue: VecDeque<QueuedFrame>,
    queued_bytes: u64,
    /// Number of the open frame, or of the next one to be opened.
    next_frame: FrameNo,
    prev_body_crc: u32,
    pool: Vec<AlignedBuf>,
    /// Entries in the open frame, whose index wants the frame's length.
    pub(crate) touched: Vec<(GroupSlot, LogIndex)>,
}

impl FrameBuilder {
    pub(crate) fn new(block: usize, frame_max: usize, core: CoreId, next_frame: FrameNo, prev_body_crc: u32) -> Self {
        Self {
            block,
            frame_max,
            core,
            pos: None,
            open: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            next_frame,
            prev_body_crc,
            pool: Vec::new(),
            touched: Vec::new(),
        }
    }

    pub(crate) fn position(&self) -> Option<&Position> {
        self.pos.as_ref()
    }

    /// Starts writing to a segment of `bytes`.
    pub(crate) fn enter_segment(&mut self, segment: SegmentId, salt: u64, bytes: u64) {
        assert!(self.open.is_none(), "the open frame was closed before");
        self.pos = Some(Position {
            segment,
            salt,
            offset: 0,
            limit: bytes - self.block as u64,
        });
    }

    /// Number of the open frame, or of the next one.
    pub(crate) fn next_frame(&self) -> FrameNo {
        self.next_frame
    }

    /// The newest frame that holds a record.
    pub(crate) fn last_frame(&self) -> FrameNo {
        if self.open.is_some() {
            self.next_frame
        } else {
            FrameNo(self.next_frame.0 - 1)
        }
    }

    pub(crate) fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Bytes in the open frame, header included; 0 when none is open.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |o| o.buf.len())
    }

    /// Largest record payload that fits into one frame.
    pub(crate) fn payload_max(&self) -> usize {
        self.frame_max - FRAME_HEADER_BYTES - RECORD_HEADER_BYTES
    }

    /// True when the open frame takes a record with this much payload.
    #[inline]
    pub(crate) fn fits_open(&self, payload_len: usize) -> bool {
        self.open
            .as_ref()
            .is_some_and(|o| o.buf.len() + record_bytes(payload_len) <= o.room && o.nrec < u16::MAX)
    }

    /// Largest payload the open frame takes in one more record.
    pub(crate) fn open_payload_room(&self) -> usize {
        let open = self.open.as_ref().expect("the caller opened a frame");
        (open.room - open.buf.len()).saturating_sub(RECORD_HEADER_BYTES) / 8 * 8
    }

    /// Bytes the current segment has left once the open frame is closed.
    pub(crate) fn room_behind_open(&self) -> u64 {
        self.room_in_segment()
            .saturating_sub(self.open_bytes().next_multiple_of(self.block) as u64)
    }

    /// Bytes the next frame may have in the current segment, header included.
    pub(crate) fn room_in_segment(&self) -> u64 {
        self.pos.map_or(0, |p| p.limit.saturating_sub(p.offset))
    }

    /// Opens a frame in the current segment, which has room for at least a header.
    pub(crate) fn open(&mut self, flags: FrameFlags) {
        assert!(self.open.is_none(), "one frame is open at a time");
        let room = self.room_in_segment().min(self.frame_max as u64) as usize;
        let buf = self.take_buf();
        self.open = Some(OpenFrame {
            buf,
            room,
            nrec: 0,
            flags,
        });
    }

    pub(crate) fn set_open_flags(&mut self, flags: FrameFlags) {
        let open = self.open.as_mut().expect("a frame is open");
        open.flags = open.flags.with(flags);
    }

    /// Where the open frame lies; its length is not known yet.
    pub(crate) fn open_range(&self) -> FrameRange {
        let pos = self.pos.as_ref().expect("an open frame has a place");
        FrameRange {
            segment: pos.segment,
            offset: pos.offset,
            len: 0,
        }
    }

    /// Copies a record into the open frame. The caller made sure that it fits.
    #[inline]
    pub(crate) fn write(&mut self, head: RecordHeader, payload: &[u8]) {
        let open = self.open.as_mut().expect("the caller opened a frame");
        debug_assert_eq!(head.len as usize, payload.len());
        open.buf.extend_from_slice(&head.encode());
        open.buf.extend_from_slice(payload);
        open.buf
            .extend_zeroed(payload.len().next_multiple_of(8) - payload.len());
        open.nrec += 1;
    }

    /// Closes the open frame, if there is one, and queues it. Returns its place.
    pub(crate) fn close(&mut self) -> Option<FrameRange> {
        let open = self.open.take()?;
        let body_len = (open.buf.len() - FRAME_HEADER_BYTES) as u32;
        Some(self.enqueue(body_len, open.nrec, open.flags, QueuedBody::Buf(open.buf)))
    }

    /// Queues one fragment of a big entry as a frame of its own.
    pub(crate) fn place_fragment(&mut self, head: RecordHeader, payload: Bytes) -> FrameRange {
        assert!(self.open.is_none(), "a fragment has its frame to itself");
        let body_len = record_bytes(payload.len()) as u32;
        self.enqueue(body_len, 1, FrameFlags::NONE, QueuedBody::Fragment(head, payload))
    }

    /// Uses the block kept for it: after this the segment takes no frame any more.
    pub(crate) fn end_segment(&mut self, head: RecordHeader) {
        let pos = self.pos.as_mut().expect("a segment is being written");
        pos.limit += self.block as u64;
        self.open(FrameFlags::NONE);
        self.write(head, &[]);
        self.close();
    }

    fn enqueue(&mut self, body_len: u32, nrec: u16, flags: FrameFlags, body: QueuedBody) -> FrameRange {
        let bytes = (FRAME_HEADER_BYTES + body_len as usize).next_multiple_of(self.block);
        let pos = self.pos.as_mut().expect("a frame has a place");
        assert!(
            pos.offset + bytes as u64 <= pos.limit,
            "a frame was placed beyond its segment"
        );
        let at = FrameRange {
            segment: pos.segment,
            offset: pos.offset,
            len: bytes as u32,
        };
        pos.offset += bytes as u64;
        let salt = pos.salt;
        let info = FrameInfo {
            frame_no: self.next_frame,
            at,
            body_len,
            nrec,
            flags,
        };
        self.queue.push_back(QueuedFrame { info, salt, body });
        self.queued_bytes += bytes as u64;
        self.next_frame = FrameNo(self.next_frame.0 + 1);
        at
    }

    /// Where the oldest frame lies that was not submitted yet, the open one included.
    pub(crate) fn first_unsubmitted(&self) -> Option<FrameRange> {
        let open = || self.open.as_ref().map(|_| self.open_range());
        self.queue.front().map(|q| q.info.at).or_else(open)
    }

    /// Takes the oldest queued frame and finishes its buffer: header, checksums, padding.
    pub(crate) fn submit(&mut self, durable_no: FrameNo) -> Option<(FrameInfo, AlignedBuf)> {
        let QueuedFrame { info, salt, body } = self.queue.pop_front()?;
        self.queued_bytes -= u64::from(info.at.len);
        let mut buf = match body {
            QueuedBody::Buf(buf) => buf,
            QueuedBody::Fragment(head, payload) => {
                let mut buf = self.take_buf();
                buf.extend_from_slice(&head.encode());
                buf.extend_from_slice(&payload);
                buf.extend_zeroed(payload.len().next_multiple_of(8) - payload.len());
                buf
            }
        };
        let body_crc = crc32c::crc32c(&buf[FRAME_HEADER_BYTES..]);
        let pad = info.at.len as usize - buf.len();
        buf.extend_zeroed(pad);
        let header = FrameHeader {
            salt,
            frame_no: info.frame_no,
            durable_no,
            prev_body_crc: self.prev_body_crc,
            body_crc,
            body_len: info.body_len,
            pad: pad as u32,
            nrec: info.nrec,
            flags: info.flags,
            core: self.core,
            segment: info.at.segment,
        };
        header.encode(&mut buf);
        self.prev_body_crc = body_crc;
        Some((info, buf))
    }

    /// A buffer with room for a frame, the header's bytes in place.
    fn take_buf(&mut self) -> AlignedBuf {
        let mut buf = self
            .pool
            .pop()
            .unwrap_or_else(|| AlignedBuf::with_capacity(self.frame_max));
        buf.clear();
        buf.extend_zeroed(FRAME_HEADER_BYTES);
        buf
    }

    /// Takes back a buffer the device is done with.
    pub(crate) fn recycle(&mut self, buf: AlignedBuf, keep: usize) {
        if self.pool.len() < keep {
            self.pool.push(buf);
        }
    }
}
