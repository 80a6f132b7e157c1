//! Connections go: after their replies, or at once.
//!
//! A socket that is closed while unread input lies in the kernel resets the connection, and a reset throws away replies
//! that the peer has not read yet, the error that tells why it is closed among them. So a connection that is ended with
//! input left lingers: it says that nothing more will come, and drops what it still receives until the peer has closed
//! too, or [`LINGER`] has passed.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use io_uring::{opcode, types};
use slotcore_rt::ring::{Class, Ring};

use super::token::{Op, token};
use super::{Net, NetEvent, recycle_vec};
use crate::conn::{Closing, ConnId};
use crate::socket;

/// How long a peer has to take its last replies: a round trip over the slowest link, with a retransmission.
static LINGER: types::Timespec = types::Timespec::new().sec(2);

impl Net {
    /// Sends what is to be sent, then closes. Input is ignored from now on.
    pub fn close_after_flush(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id)
            && conn.closing == Closing::No
        {
            conn.closing = Closing::AfterFlush;
            self.mark_dirty(id);
        }
    }

    /// Closes at once; what was not sent is lost.
    pub fn kill(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id)
            && conn.closing != Closing::Now
        {
            conn.closing = Closing::Now;
            socket::shutdown(conn.fd.as_raw_fd());
            self.mark_dirty(id);
        }
    }

    /// Everything was sent to a connection that is to be closed after that.
    pub(super) fn end_sending(&mut self, ring: &mut Ring, id: ConnId) -> io::Result<()> {
        let Some(conn) = self.places[id.index()].conn.as_deref_mut() else {
            return Ok(());
        };
        let all_was_read = conn.input_ended || conn.recv_armed && conn.unread() == 0;
        if all_was_read {
            conn.closing = Closing::Now;
            self.try_remove(id);
            return Ok(());
        }
        conn.closing = Closing::Lingering;
        socket::shutdown_sending(conn.fd.as_raw_fd());
        recycle_vec(&mut self.pool, std::mem::take(&mut conn.input));
        conn.input_at = 0;
        if let Some(held) = conn.held.take() {
            self.buffers.recycle(held.buffer);
        }
        self.unarmed.push(id);
        let wait = opcode::Timeout::new(&raw const LINGER).build();
        // SAFETY: the time is a static.
        unsafe { ring.push(Class::Net, token(Op::Linger, id), wait) }
    }

    /// Removes a connection if the ring has let go of it; otherwise makes the ring do so.
    pub(super) fn try_remove(&mut self, id: ConnId) {
        let place = &mut self.places[id.index()];
        let Some(conn) = place.conn.as_deref_mut() else { return };
        if conn.recv_armed || conn.send_pending {
            // Ends both operations; their completions come back here.
            socket::shutdown(conn.fd.as_raw_fd());
            return;
        }
        let conn = place.conn.take().expect("looked at above");
        if let Some(held) = conn.held {
            self.buffers.recycle(held.buffer);
        }
        self.vacate(id);
        self.options.open_total.fetch_sub(1, Ordering::Relaxed);
        self.events.push_back(NetEvent::Closed(id));
        // Its descriptor is free: the timer, if it is under way, finds nothing to do.
        self.accept_pause.is_on = false;
    }
}
