//! Frames: what one core has for a core of another node, in one piece.
//!
//! ```text
//! length u32 | crc32c u32 of all that follows | version u8 = 1 | messages            (little endian; length: of all
//!                                                                                     that follows itself)
//! ```
//! The checksum is not for the network, which has its own, weaker ones, but so that a fault anywhere on the way (a network
//! card, a switch, memory) never becomes an entry of a log.

use std::fmt;

use bytes::Bytes;
use slotcore_rt::ids::GroupId;

use super::codec;
use super::message::Message;
use crate::runtime::Runtime;

/// Bytes before the messages.
pub const HEAD_BYTES: usize = 9;
/// The layout of messages written by this version.
pub const VERSION: u8 = 1;
/// A frame is closed when it has reached so many bytes: enough to make its own cost small, little enough that a heartbeat
/// behind it does not wait long.
pub const FULL_BYTES: usize = 256 << 10;
/// Longest frame that is accepted: one message with as many full entries as a request may carry stays below it.
pub const FRAME_BYTES_MAX: usize = 256 << 20;
/// Longest bytes of others than Raft in one message: whatever else is in the frame when they are appended, it stays within
/// its limit.
pub const CARRIED_BYTES_MAX: usize = FRAME_BYTES_MAX - (32 << 20);

/// Why bytes are not a frame. The link must be closed: nothing behind them can be told apart any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// Longer than [`FRAME_BYTES_MAX`], or too short for its head.
    Length(usize),
    /// The checksum does not fit.
    Checksum,
    /// Of a version this one does not speak.
    Version(u8),
    /// A message is malformed at this offset of the frame.
    Malformed(usize),
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(n) => write!(f, "a frame of {n} bytes is not possible"),
            Self::Checksum => write!(f, "the checksum of a frame does not fit"),
            Self::Version(n) => write!(f, "a frame of version {n}; this node speaks {VERSION}"),
            Self::Malformed(at) => write!(f, "a message is malformed at byte {at} of its frame"),
        }
    }
}

impl std::error::Error for BadFrame {}

/// A frame under construction.
#[derive(Default)]
pub struct FrameBuilder(Vec<u8>);

impl FrameBuilder {
    /// There shall be a frame, even without a message.
    pub fn begin(&mut self) {
        if self.0.is_empty() {
            self.0.resize(HEAD_BYTES, 0);
        }
    }

    /// Appends a message of a group.
    pub fn push<RT: Runtime>(&mut self, group: GroupId, message: &Message<RT>) {
        self.begin();
        codec::encode(&mut self.0, group, message);
    }

    /// True when there is no frame to be sent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when the frame should be sent before more is appended.
    pub fn is_full(&self) -> bool {
        self.0.len() >= FULL_BYTES
    }

    /// The finished frame; the builder is empty again.
    pub fn finish(&mut self) -> Bytes {
        let mut frame = std::mem::take(&mut self.0);
        let length = u32::try_from(frame.len() - 4).expect("closed long before 4 GiB");
        frame[8] = VERSION;
        let crc = crc32c::crc32c(&frame[8..]);
        frame[..4].copy_from_slice(&length.to_le_bytes());
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        frame.into()
    }
}

/// Length in bytes of the frame that begins with `head`, itself included; `None` while fewer than four bytes are known.
pub fn length(head: &[u8]) -> Result<Option<usize>, BadFrame> {
    let Some(length) = head.first_chunk() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize + 4;
    if (HEAD_BYTES..=FRAME_BYTES_MAX).contains(&length) {
        Ok(Some(length))
    } else {
        Err(BadFrame::Length(length))
    }
}

/// Checks a whole frame and returns where its messages begin.
pub fn open(frame: &Bytes) -> Result<usize, BadFrame> {
    if length(frame)? != Some(frame.len()) {
        return Err(BadFrame::Length(frame.len()));
    }
    let crc = u32::from_le_bytes(frame[4..8].try_into().expect("four bytes were cut"));
    if crc32c::crc32c(&frame[8..]) != crc {
        return Err(BadFrame::Checksum);
    }
    match frame[8] {
        VERSION => Ok(HEAD_BYTES),
        other => Err(BadFrame::Version(other)),
    }
}
