//! Connections change cores: one core's [`Net`] releases what another one's adopts.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use io_uring::opcode;
use slotcore_rt::ring::{Class, Ring, user_data};

use super::Net;
use super::receive::settle;
use super::token::{Op, token};
use crate::conn::{Closing, ConnId};

/// A connection that was given up so that another core can adopt it.
pub struct Released {
    /// What it was called here; the number may be used again from now on.
    pub id: ConnId,
    /// The connection itself.
    pub fd: OwnedFd,
    /// What it sent that was not consumed.
    pub input: Vec<u8>,
}

impl Net {
    /// Takes in a connection that another core has released, with what it had sent. There is no event for it. `None`:
    /// it has ended on the way.
    pub fn adopt(&mut self, fd: OwnedFd, input: Vec<u8>) -> Option<ConnId> {
        let has_input = !input.is_empty();
        let id = self.enter(fd, input);
        match id {
            Some(id) if has_input => self.mark_ready(id),
            Some(_) => {}
            None => {
                self.options.open_total.fetch_sub(1, Ordering::Relaxed);
            }
        }
        id
    }

    /// Gives a connection up for another core to adopt. Nothing is read or executed of it any more; as soon as the ring
    /// has let go of it, it is left for [`Net::next_released`], or, when it ends before that, it is closed as any other.
    /// False when it cannot leave now: replies are unsent, or it is closing.
    pub fn release(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.conn_mut(id) else { return false };
        if conn.closing != Closing::No || conn.send_pending || conn.unsent() > 0 || conn.input_ended {
            return false;
        }
        conn.closing = Closing::Leaving;
        self.leaving.push(id);
        true
    }

    /// A connection that was released.
    pub fn next_released(&mut self) -> Option<Released> {
        self.released.pop()
    }

    /// Ends the receives of connections that leave.
    pub(super) fn stop_leaving(&mut self, ring: &mut Ring) -> io::Result<()> {
        while let Some(id) = self.leaving.pop() {
            match self.conn(id) {
                Some(conn) if conn.recv_armed => {
                    let recv = user_data(Class::Net, token(Op::Recv, id));
                    // SAFETY: the entry names no memory. The receive's last completion comes back here.
                    unsafe { ring.push(Class::Ignore, 0, opcode::AsyncCancel::new(recv).build())? };
                }
                _ => self.unarmed.push(id),
            }
        }
        Ok(())
    }

    /// Puts a connection that leaves, and that the ring has let go of, where it is fetched.
    pub(super) fn let_go(&mut self, id: ConnId) {
        let place = &mut self.places[id.index()];
        let Some(mut conn) = place.conn.take() else { return };
        settle(&mut conn, &mut self.buffers, &mut self.pool);
        let mut input = std::mem::take(&mut conn.input);
        input.drain(..conn.input_at);
        self.vacate(id);
        self.released.push(Released { id, fd: conn.fd, input });
    }

    /// Frees a connection's place for another one.
    pub(super) fn vacate(&mut self, id: ConnId) {
        let place = &mut self.places[id.index()];
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        self.open -= 1;
    }
}
