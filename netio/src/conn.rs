//! [`Conn`]: one client connection: its bytes in, its bytes out, and what the ring is doing for it.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::resp::decode::Decoder;

/// Which connection. The generation tells a connection from an earlier one in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl ConnId {
    /// As two numbers, to be carried elsewhere: see [`ConnId::from_parts`].
    #[inline]
    pub fn parts(self) -> (u32, u32) {
        (self.index, self.generation)
    }

    /// The connection that [`ConnId::parts`] told.
    #[inline]
    pub fn from_parts((index, generation): (u32, u32)) -> Self {
        Self { index, generation }
    }

    /// A small number, unique among the connections open now: for tables beside this crate's.
    #[inline]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A part of a provided buffer that holds input not yet consumed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub buffer: u16,
    pub at: u32,
    pub end: u32,
}

/// Why no more input of a connection is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// It is open.
    No,
    /// It goes to another core: input is kept, nothing is executed, and there is nothing to send.
    Leaving,
    /// Replies are still sent, input is ignored.
    AfterFlush,
    /// Everything was sent; input is dropped until the peer closes.
    Lingering,
    /// Nothing is sent any more; waiting for the ring to let go.
    Now,
}

/// See the module's text.
pub struct Conn {
    pub(crate) fd: OwnedFd,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// Input that lies in a provided buffer. Everything in `input` comes before it.
    pub(crate) held: Option<Held>,
    /// Input that was copied out of provided buffers, from `input_at` on.
    pub(crate) input: Vec<u8>,
    pub(crate) input_at: usize,
    pub(crate) decoder: Decoder,
    /// Replies not handed to the ring yet.
    pub(crate) out: Vec<u8>,
    /// Replies the kernel is reading; not touched until the send has completed.
    pub(crate) sending: Vec<u8>,
    pub(crate) sent: usize,
    pub(crate) send_pending: bool,
    pub(crate) recv_armed: bool,
    pub(crate) is_ready: bool,
    pub(crate) is_dirty: bool,
    pub(crate) is_held: bool,
    pub(crate) is_over_soft_limit: bool,
    /// Flushes that may still pass it by; see `Net::delay`.
    pub(crate) delay: u8,
    /// It is sent what it did not ask for, one by one: other limits hold for it.
    pub(crate) gets_pushes: bool,
    /// The peer has shut down its side.
    pub(crate) input_ended: bool,
    pub(crate) closing: Closing,
}

impl Conn {
    /// A connection for which nothing is under way yet, and what was received of it elsewhere.
    pub(crate) fn new(fd: OwnedFd, peer: SocketAddr, local: SocketAddr, input: Vec<u8>) -> Self {
        Self {
            fd,
            peer,
            local,
            held: None,
            input,
            input_at: 0,
            decoder: Decoder::default(),
            out: Vec::new(),
            sending: Vec::new(),
            sent: 0,
            send_pending: false,
            recv_armed: false,
            is_ready: false,
            is_dirty: false,
            is_held: false,
            is_over_soft_limit: false,
            delay: 0,
            gets_pushes: false,
            input_ended: false,
            closing: Closing::No,
        }
    }

    /// Bytes of replies that the peer has not taken yet.
    pub fn unsent(&self) -> usize {
        self.out.len() + self.sending.len() - self.sent
    }

    /// Bytes of input not consumed yet.
    pub fn unread(&self) -> usize {
        self.input.len() - self.input_at + self.held.map_or(0, |h| (h.end - h.at) as usize)
    }

    /// Bytes of memory its buffers take.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.input.capacity() + self.out.capacity() + self.sending.capacity()
    }

    /// The descriptor's number, for people to see.
    pub fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Where the peer is.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where it is connected to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// True as long as replies can be of use.
    pub fn is_open(&self) -> bool {
        self.closing == Closing::No
    }
}
