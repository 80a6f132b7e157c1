//! Bytes in: one multishot receive per connection into provided buffers, and where input lies until it is consumed.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::{cqueue, opcode, types};
use slotcore_rt::ring::{Class, Completion, Ring, user_data};

use super::token::{Op, token};
use super::{Net, recycle_vec};
use crate::buffers::{BUFFER_GROUP, ProvidedBuffers};
use crate::conn::{Closing, Conn, ConnId, Held};
use crate::resp::decode::{Limits, ProtocolError, Request};
use crate::resp::inline::as_array;

/// Most bytes that are set aside for an argument before they have arrived.
const RESERVED_BYTES_MAX: usize = 1 << 20;

impl Net {
    pub(super) fn on_recv(&mut self, id: ConnId, c: Completion) {
        let place = &mut self.places[id.index()];
        let conn = place
            .conn
            .as_deref_mut()
            .expect("a connection stays until its receive has ended");
        debug_assert_eq!(place.generation, id.generation);
        if !cqueue::more(c.flags) {
            conn.recv_armed = false;
        }
        let buffer = cqueue::buffer_select(c.flags);
        if c.result > 0 {
            let buffer = buffer.expect("a receive that brought bytes names their buffer");
            let len = c.result as u32;
            self.stats.bytes_in += u64::from(len);
            if !matches!(conn.closing, Closing::No | Closing::Leaving) {
                self.buffers.recycle(buffer);
            } else if conn.input.is_empty() && conn.held.is_none() {
                conn.held = Some(Held {
                    buffer,
                    at: 0,
                    end: len,
                });
                if !conn.is_held {
                    conn.is_held = true;
                    self.holding.push(id);
                }
            } else {
                settle(conn, &mut self.buffers, &mut self.pool);
                compact(conn);
                conn.input.extend_from_slice(self.buffers.bytes(buffer, 0, len));
                self.buffers.recycle(buffer);
            }
            if is_overfull(conn, self.options.unread_bytes_pause) && conn.recv_armed {
                self.overfull.push(id);
            }
            // Worth parsing unless a long argument is still on its way.
            if conn.unread() >= conn.decoder.wants() && !conn.is_ready {
                conn.is_ready = true;
                self.ready.push_back(id);
            }
            if conn.unread() > self.options.request_bytes_max && conn.closing == Closing::No {
                self.stats.closed_for_input += 1;
                self.kill(id);
                return;
            }
        } else {
            if let Some(buffer) = buffer {
                self.buffers.recycle(buffer);
            }
            match -c.result {
                // Out of buffers, or stopped by us: goes on when there is room.
                libc::ENOBUFS => self.stats.buffer_shortages += 1,
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                // The peer sends no more, but may still read: what it asked for is carried out and answered first.
                0 if conn.closing == Closing::No => {
                    conn.input_ended = true;
                    if !conn.is_ready {
                        conn.is_ready = true;
                        self.ready.push_back(id);
                    }
                }
                // Whoever adopts it hears of it again.
                0 if conn.closing == Closing::Leaving => {}
                0 if conn.closing == Closing::AfterFlush => conn.input_ended = true,
                // A broken connection: nobody is left to read replies.
                _ => conn.closing = Closing::Now,
            }
        }
        if !conn.recv_armed {
            self.unarmed.push(id);
        }
    }

    /// Drops the first `n` bytes of a connection's input.
    pub fn consume(&mut self, id: ConnId, n: usize) {
        let place = &mut self.places[id.index()];
        let Some(conn) = place.conn.as_deref_mut().filter(|_| place.generation == id.generation) else {
            return;
        };
        if conn.input_at < conn.input.len() {
            conn.input_at += n;
            debug_assert!(conn.input_at <= conn.input.len());
            if conn.input_at == conn.input.len() {
                recycle_vec(&mut self.pool, std::mem::take(&mut conn.input));
                conn.input_at = 0;
            }
        } else if let Some(held) = &mut conn.held {
            held.at += n as u32;
            if held.at == held.end {
                self.buffers.recycle(held.buffer);
                conn.held = None;
            }
        }
        if !conn.recv_armed && !is_overfull(conn, self.options.unread_bytes_pause) {
            self.unarmed.push(id);
        }
    }

    /// Puts the array that an inline request with quotes means in its place, and decodes that. It stays there: what is
    /// decoded but not consumed will be decoded again.
    #[cold]
    pub(super) fn decode_quoted(
        &mut self,
        id: ConnId,
        skip: usize,
        bytes: usize,
        spans: &mut Vec<(u32, u32)>,
    ) -> Result<Request, ProtocolError> {
        let Some(conn) = self.places[id.index()].conn.as_deref_mut() else {
            return Ok(Request::Incomplete);
        };
        settle(conn, &mut self.buffers, &mut self.pool);
        let from = conn.input_at + skip;
        let array = as_array(&conn.input[from..from + bytes]);
        conn.input.splice(from..from + bytes, array);
        // The limits of arrays are not those of lines: what a line holds is little.
        conn.decoder.next(&conn.input[from..], &Limits::default(), spans)
    }

    /// Moves what connections hold in provided buffers out of them, so that the kernel has those back.
    pub(super) fn settle_all(&mut self) {
        while let Some(id) = self.holding.pop() {
            if let Some(conn) = self.places[id.index()].conn.as_deref_mut() {
                conn.is_held = false;
                settle(conn, &mut self.buffers, &mut self.pool);
            }
        }
    }

    /// Ends the receives of connections that have sent more than is wanted now.
    pub(super) fn stop_overfull(&mut self, ring: &mut Ring) -> io::Result<()> {
        let pause = self.options.unread_bytes_pause;
        while let Some(id) = self.overfull.pop() {
            if self
                .conn(id)
                .is_some_and(|conn| conn.recv_armed && is_overfull(conn, pause))
            {
                let recv = user_data(Class::Net, token(Op::Recv, id));
                // SAFETY: the entry names no memory.
                unsafe { ring.push(Class::Ignore, 0, opcode::AsyncCancel::new(recv).build())? };
            }
        }
        Ok(())
    }

    /// Queues a receive for a connection that has none, if more of it is wanted.
    pub(super) fn arm(&mut self, ring: &mut Ring, id: ConnId) -> io::Result<()> {
        let (unsent_pause, unread_pause) = (self.options.unsent_bytes_pause, self.options.unread_bytes_pause);
        let Some(conn) = self.conn_mut(id) else { return Ok(()) };
        let wanted = match conn.closing {
            Closing::Now => {
                self.try_remove(id);
                return Ok(());
            }
            Closing::Leaving => {
                if !conn.recv_armed {
                    self.let_go(id);
                }
                return Ok(());
            }
            Closing::No => conn.unsent() <= unsent_pause && !is_overfull(conn, unread_pause),
            Closing::AfterFlush => false,
            Closing::Lingering => true,
        };
        if conn.recv_armed || conn.input_ended || !wanted {
            return Ok(());
        }
        conn.recv_armed = true;
        let recv = opcode::RecvMulti::new(types::Fd(conn.fd.as_raw_fd()), BUFFER_GROUP).build();
        // SAFETY: the kernel writes into provided buffers only, which live as long as the ring.
        unsafe { ring.push(Class::Net, token(Op::Recv, id), recv) }
    }
}

/// True when so much input waits that no more is to be received. A request that is still arriving does not count, as far
/// as it is understood: nothing but its rest lets it ever be consumed.
fn is_overfull(conn: &Conn, pause: usize) -> bool {
    conn.unread() > (conn.decoder.understood() + pause).max(conn.decoder.wants())
}

/// A connection's unconsumed input: copied bytes, or those still in a provided buffer, never both.
#[inline]
pub(super) fn input_of<'a>(input: &'a [u8], at: usize, held: Option<Held>, buffers: &'a ProvidedBuffers) -> &'a [u8] {
    match held {
        Some(h) if input.is_empty() => buffers.bytes(h.buffer, h.at, h.end),
        _ => &input[at..],
    }
}

/// Moves input out of a provided buffer, so that the kernel has it back.
pub(super) fn settle(conn: &mut Conn, buffers: &mut ProvidedBuffers, pool: &mut Vec<Vec<u8>>) {
    let Some(held) = conn.held.take() else { return };
    debug_assert!(conn.input.is_empty(), "input is in one place at a time");
    if conn.input.capacity() == 0
        && let Some(buffer) = pool.pop()
    {
        conn.input = buffer;
    }
    let wanted = conn.decoder.wants().min(RESERVED_BYTES_MAX);
    conn.input.reserve(wanted.max((held.end - held.at) as usize));
    conn.input
        .extend_from_slice(buffers.bytes(held.buffer, held.at, held.end));
    buffers.recycle(held.buffer);
}

/// Drops consumed bytes from the front when they outweigh the rest.
fn compact(conn: &mut Conn) {
    if conn.input_at > 0 && conn.input_at * 2 >= conn.input.len() {
        conn.input.drain(..conn.input_at);
        conn.input_at = 0;
    }
}
