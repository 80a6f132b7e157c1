//! [`Link`]: one connection to a peer, and what the ring is doing for it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use bytes::{Bytes, BytesMut};
use slotcore_rt::clock::Tick;

use super::event::LinkEnd;
use super::handshake::{Handshake, PeerId};
use super::refusal::{Refusal, refuse};
use super::tls::{TlsEnd, TlsSession};

/// Bytes that one receive can bring.
pub(super) const RECV_BYTES: usize = 64 << 10;
/// Bytes of the head of a frame that say how long it is without them: a little-endian number.
const LENGTH_BYTES: usize = 4;
/// Frames that one send takes.
pub(super) const SEND_FRAMES: usize = 16;

/// How far a link has come.
pub(super) enum Phase {
    /// The ring is connecting.
    Connecting,
    /// The first bytes are exchanged.
    Greeting(Handshake),
    /// A question, if we were dialed, or the answer to ours is to come: one frame.
    Asking,
    /// The question has come; we owe the answer.
    Answering,
    /// Frames flow.
    Open,
    /// Nothing more is sent or taken in; waiting for the ring to let go.
    Closing,
}

/// See the module's text.
pub(super) struct Link {
    pub fd: OwnedFd,
    /// Whom it leads to; unknown until whoever dialed has said who he is.
    pub peer: Option<PeerId>,
    /// We opened it.
    pub dialed: bool,
    pub phase: Phase,
    /// When this phase began.
    pub since: Tick,
    /// Not touched while a receive is under way: the kernel writes into its spare room.
    pub input: BytesMut,
    pub recv_pending: bool,
    /// Bytes of the handshake to be sent; while a send is under way, those of it.
    pub greeting: Vec<u8>,
    /// Frames to be sent; while a send is under way the first ones are the kernel's.
    pub out: VecDeque<Bytes>,
    /// Bytes in `out`.
    pub out_bytes: usize,
    /// Bytes of the first of `out`, or of `greeting`, that are sent.
    pub sent: usize,
    /// What a send of several frames points to.
    pub vectors: Box<[libc::iovec; SEND_FRAMES]>,
    pub send_pending: bool,
    /// A connect is under way.
    pub connect_pending: bool,
    /// What we dialed for: to ask this.
    pub question: Option<Bytes>,
    /// What secures it: then the kernel sees its buffers, and neither `input` nor `greeting` and `out`.
    pub tls: Option<Box<TlsSession>>,
}

impl Link {
    pub fn new(fd: OwnedFd, peer: Option<PeerId>, phase: Phase, now: Tick) -> Self {
        const NOTHING: libc::iovec = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            fd,
            peer,
            dialed: matches!(phase, Phase::Connecting),
            phase,
            since: now,
            input: BytesMut::new(),
            recv_pending: false,
            greeting: Vec::new(),
            out: VecDeque::new(),
            out_bytes: 0,
            sent: 0,
            vectors: Box::new([NOTHING; SEND_FRAMES]),
            send_pending: false,
            connect_pending: false,
            question: None,
            tls: None,
        }
    }

    /// One who has proved to know the secret asks, or we do.
    pub fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asking | Phase::Answering)
    }

    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing)
    }

    /// True while the ring has an operation of it.
    pub fn is_busy(&self) -> bool {
        self.recv_pending || self.send_pending || self.connect_pending
    }

    /// Takes in `n` bytes that a receive has brought.
    ///
    /// # Errors
    /// With TLS: nothing more can come.
    pub fn arrived(&mut self, n: usize) -> Result<(), LinkEnd> {
        let Some(tls) = &mut self.tls else {
            let len = self.input.len() + n;
            // SAFETY: the kernel has written so many bytes behind the input, into room made for them.
            unsafe { self.input.set_len(len) };
            return Ok(());
        };
        let opened = tls.open(n, &mut self.input);
        if let Err(LinkEnd::Refused {
            why: Refusal::Tls,
            told: false,
        }) = opened
        {
            // It is told in words that it can read. Nothing was sent so far.
            self.tls = None;
            refuse(Refusal::Tls, &mut self.greeting);
        }
        opened
    }

    /// With TLS: makes records of what is to be sent. Not while a send is under way.
    pub fn seal(&mut self) -> Result<(), TlsEnd> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        if !self.greeting.is_empty() {
            return tls.seal(std::iter::once(&self.greeting[self.sent..]));
        }
        if !matches!(self.phase, Phase::Open) {
            return tls.seal(std::iter::empty());
        }
        let mut skip = self.sent;
        tls.seal(self.out.iter().map(|frame| &frame[std::mem::take(&mut skip)..]))
    }

    /// True while there is something that a link says before it is closed.
    pub fn has_last_word(&self) -> bool {
        let greeting = !self.greeting.is_empty();
        self.tls.as_ref().map_or(greeting, |tls| tls.has_last_word(greeting))
    }

    /// Nothing more is sent.
    pub fn silence(&mut self) {
        if !self.send_pending {
            self.greeting.clear();
        }
        if let Some(tls) = &mut self.tls {
            tls.silence();
        }
    }

    /// Takes note of `n` bytes that a send took.
    pub fn took(&mut self, n: usize) {
        match &mut self.tls {
            Some(tls) => {
                let n = tls.took(n);
                self.sent_own(n);
            }
            None => self.sent_own(n),
        }
    }

    /// Takes note of `n` bytes sent, of the greeting or of frames.
    fn sent_own(&mut self, mut n: usize) {
        if !self.greeting.is_empty() {
            self.sent += n;
            if self.sent == self.greeting.len() {
                self.greeting.clear();
                self.sent = 0;
            }
            return;
        }
        while let Some(first) = self.out.front() {
            let rest = first.len() - self.sent;
            if n < rest {
                self.sent += n;
                return;
            }
            n -= rest;
            self.sent = 0;
            self.out_bytes -= first.len();
            self.out.pop_front();
        }
    }

    /// The next whole frame of the input, its length included. Err: it says that it is longer than `longest`.
    pub fn next_frame(&mut self, longest: usize) -> Result<Option<Bytes>, usize> {
        let Some(head) = self.input.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*head) as usize + LENGTH_BYTES;
        if len > longest {
            return Err(len);
        }
        if self.input.len() < len {
            return Ok(None);
        }
        Ok(Some(self.input.split_to(len).freeze()))
    }

    /// Where the next receive writes, and how much.
    pub fn room(&mut self, longest: usize) -> (*mut u8, usize) {
        if let Some(tls) = &mut self.tls {
            let room = tls.room();
            return (room.as_mut_ptr(), room.len());
        }
        self.make_room(longest);
        let room = self.input.spare_capacity_mut();
        (room.as_mut_ptr().cast(), room.len())
    }

    /// Room for the next receive: all of the frame that is arriving, or as much as usual.
    fn make_room(&mut self, longest: usize) {
        let wanted = match self.input.first_chunk::<LENGTH_BYTES>() {
            Some(head) if self.is_open() => {
                let len = u32::from_le_bytes(*head) as usize + LENGTH_BYTES;
                len.min(longest).saturating_sub(self.input.len())
            }
            _ => 0,
        };
        // A long frame is given memory as it arrives, not because its head says so.
        let room = wanted.clamp(RECV_BYTES, (self.input.len() * 2).max(RECV_BYTES));
        if self.input.capacity() - self.input.len() < RECV_BYTES / 2 || wanted > 0 {
            self.input.reserve(room);
        }
    }
}
