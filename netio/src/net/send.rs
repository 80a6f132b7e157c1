//! Bytes out: at most one send in flight per connection, and how many unsent bytes a connection may have.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::{opcode, types};
use slotcore_rt::clock::Tick;
use slotcore_rt::ring::{Class, Completion, Ring};

use super::token::{Op, token};
use super::{Net, NetOptions, recycle_vec};
use crate::conn::{Closing, Conn, ConnId};

/// When a connection whose replies pile up is closed; 0 bytes: never.
///
/// Besides, nothing more of a connection is executed while [`super::NetOptions::unsent_bytes_pause`] is exceeded: a hard
/// limit beyond that is met by replies that are large in themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnsentLimit {
    /// Closed at once with this many unsent bytes.
    pub hard_bytes: usize,
    /// Closed after [`UnsentLimit::soft_time`] without a moment below this many unsent bytes.
    pub soft_bytes: usize,
    /// Patience with the soft limit.
    pub soft_time: Duration,
}

/// So much to send is worth a send of its own, whatever comes next, in bytes.
const DELAYED_BYTES_MAX: usize = 16 << 10;

impl NetOptions {
    /// What holds for a connection.
    #[inline]
    fn limit_of(&self, conn: &Conn) -> UnsentLimit {
        if conn.gets_pushes {
            self.push_limit
        } else {
            self.unsent_limit
        }
    }
}

impl Net {
    /// The next `flushes` flushes leave the connection's replies where they are, as long as they are few bytes: more is
    /// about to come, and one send for all of it costs half of two. 0: the next flush sends.
    #[inline]
    pub fn delay(&mut self, id: ConnId, flushes: u8) {
        if let Some(conn) = self.conn_mut(id) {
            conn.delay = flushes;
        }
    }

    /// True when the last flush left replies for a later one.
    #[inline]
    pub fn has_delayed(&self) -> bool {
        !self.delayed.is_empty()
    }

    pub(super) fn on_send(&mut self, id: ConnId, c: Completion) {
        let place = &mut self.places[id.index()];
        let conn = place
            .conn
            .as_deref_mut()
            .expect("a connection stays until its send has ended");
        conn.send_pending = false;
        if c.result < 0 && !matches!(-c.result, libc::EINTR | libc::EAGAIN) {
            conn.closing = Closing::Now;
        } else {
            let n = c.result.max(0) as usize;
            let was = conn.unsent();
            conn.sent += n;
            self.stats.bytes_out += n as u64;
            if conn.sent == conn.sending.len() {
                recycle_vec(&mut self.pool, std::mem::take(&mut conn.sending));
                conn.sent = 0;
            }
            let pause = self.options.unsent_bytes_pause;
            if was > pause && conn.unsent() <= pause && !conn.is_ready {
                conn.is_ready = true;
                self.ready.push_back(id);
                self.unarmed.push(id);
            }
        }
        self.mark_dirty(id);
    }

    /// Queues the next send of a connection, or its end when that is due. True: a send was queued.
    pub(super) fn flush_one(&mut self, ring: &mut Ring, id: ConnId) -> io::Result<bool> {
        let Some(conn) = self.places[id.index()].conn.as_deref_mut() else {
            return Ok(false);
        };
        let limit = self.options.limit_of(conn);
        conn.is_dirty = false;
        let unsent = conn.unsent();
        if limit.hard_bytes > 0 && unsent >= limit.hard_bytes && conn.closing != Closing::Now {
            self.stats.closed_for_output += 1;
            conn.closing = Closing::Now;
        } else if limit.soft_bytes > 0 && unsent >= limit.soft_bytes && !conn.is_over_soft_limit {
            conn.is_over_soft_limit = true;
            self.over_soft_limit.push((id, None));
        }
        if conn.closing == Closing::Now {
            self.try_remove(id);
            return Ok(false);
        }
        if conn.send_pending {
            return Ok(false);
        }
        if conn.delay > 0 {
            conn.delay -= 1;
            if unsent > 0 && unsent < DELAYED_BYTES_MAX && conn.closing == Closing::No {
                conn.is_dirty = true;
                self.delayed.push(id);
                return Ok(false);
            }
        }
        if conn.sending.is_empty() {
            std::mem::swap(&mut conn.out, &mut conn.sending);
            conn.sent = 0;
        }
        let rest = &conn.sending[conn.sent..];
        if !rest.is_empty() {
            let fd = types::Fd(conn.fd.as_raw_fd());
            let len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            let send = opcode::Send::new(fd, rest.as_ptr(), len)
                .flags(libc::MSG_NOSIGNAL)
                .build();
            // SAFETY: `sending` is not touched before the completion, and the connection stays until then.
            unsafe { ring.push(Class::Net, token(Op::Send, id), send)? };
            conn.send_pending = true;
            return Ok(true);
        }
        if conn.sending.capacity() > 0 {
            recycle_vec(&mut self.pool, std::mem::take(&mut conn.sending));
        }
        if conn.closing == Closing::AfterFlush {
            self.end_sending(ring, id)?;
        }
        Ok(false)
    }

    /// Closes connections that were over the soft limit for longer than it allows. Call it a few times a second or more
    /// often: that is how exact the time is.
    pub fn enforce_soft_limit(&mut self, now: Tick) {
        let mut over = std::mem::take(&mut self.over_soft_limit);
        over.retain_mut(|(id, since)| {
            let (replies, pushes) = (self.options.unsent_limit, self.options.push_limit);
            let Some(conn) = self.conn_mut(*id) else { return false };
            let limit = if conn.gets_pushes { pushes } else { replies };
            if limit.soft_bytes == 0 || conn.unsent() < limit.soft_bytes {
                conn.is_over_soft_limit = false;
                return false;
            }
            let since = *since.get_or_insert(now);
            if now.since(since) > limit.soft_time && conn.closing != Closing::Now {
                self.stats.closed_for_output += 1;
                self.kill(*id);
                return false;
            }
            true
        });
        self.over_soft_limit = over;
    }
}
