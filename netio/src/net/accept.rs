//! Connections come: one multishot accept per listener, and what happens when there are no descriptors left.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;

use io_uring::{cqueue, opcode, types};
use slotcore_rt::ring::{Class, Completion, Ring};

use super::token::{Op, token};
use super::{Net, NetEvent, Place};
use crate::conn::{Conn, ConnId};
use crate::socket;

/// Without descriptors (or memory for sockets) the next try is made after this time, or as soon as a connection of this
/// core is closed. An accept that was armed at once would fail at once, in every turn.
static ACCEPT_PAUSE: types::Timespec = types::Timespec::new().nsec(100_000_000);

pub(super) struct Listener {
    pub fd: OwnedFd,
    pub armed: bool,
    /// What arrives here is for any core.
    pub spread: bool,
}

/// Whether accepting waits for descriptors.
#[derive(Default)]
pub(super) struct AcceptPause {
    /// Nothing is accepted for now.
    pub is_on: bool,
    /// The timer that ends the pause is under way.
    timer: bool,
}

impl Net {
    pub(super) fn on_accept(&mut self, listener: usize, c: Completion) {
        if !cqueue::more(c.flags)
            && let Some(listener) = self.listeners.get_mut(listener)
        {
            listener.armed = false;
        }
        if c.result < 0 {
            if matches!(-c.result, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS) {
                self.stats.accept_failures += 1;
                self.accept_pause.is_on = true;
            }
            return;
        }
        // SAFETY: the kernel made this descriptor for us in this very completion.
        let fd = unsafe { OwnedFd::from_raw_fd(c.result) };
        match self.listeners.get(listener) {
            Some(listener) if listener.spread => self.arrivals.push(fd),
            _ => self.accept(fd),
        }
    }

    /// A new connection that is for any core: [`Net::accept`] it here, or on another one.
    pub fn next_arrival(&mut self) -> Option<OwnedFd> {
        self.arrivals.pop()
    }

    /// Takes in a new connection, unless there are too many.
    pub fn accept(&mut self, fd: OwnedFd) {
        if self.options.open_total.load(Ordering::Relaxed) >= self.options.clients_max {
            self.stats.rejected += 1;
            socket::send_once(fd.as_raw_fd(), b"-ERR max number of clients reached\r\n");
            return;
        }
        socket::tune(fd.as_raw_fd(), self.options.keepalive_s);
        if let Some(id) = self.enter(fd, Vec::new()) {
            self.options.open_total.fetch_add(1, Ordering::Relaxed);
            self.stats.accepted += 1;
            self.events.push_back(NetEvent::Opened(id));
        }
    }

    /// Gives a connection a place.
    pub(super) fn enter(&mut self, fd: OwnedFd, input: Vec<u8>) -> Option<ConnId> {
        let (peer, local) = (
            socket::peer_addr(fd.as_raw_fd()).ok()?,
            socket::local_addr(fd.as_raw_fd()).ok()?,
        );
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                generation: 0,
                conn: None,
            });
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        let id = ConnId {
            index,
            generation: place.generation,
        };
        place.conn = Some(Box::new(Conn::new(fd, peer, local, input)));
        self.open += 1;
        self.unarmed.push(id);
        Some(id)
    }

    pub(super) fn on_accept_pause_over(&mut self) {
        self.accept_pause = AcceptPause::default();
    }

    /// Queues an accept for each listener that has none, or the timer after which that is tried again.
    pub(super) fn arm_listeners(&mut self, ring: &mut Ring) -> io::Result<()> {
        let id = |index: usize| ConnId {
            index: index as u32,
            generation: 0,
        };
        if self.accept_pause.is_on {
            if !self.accept_pause.timer {
                self.accept_pause.timer = true;
                let pause = opcode::Timeout::new(&raw const ACCEPT_PAUSE).build();
                // SAFETY: the time is a static.
                unsafe { ring.push(Class::Net, token(Op::AcceptPause, id(0)), pause)? };
            }
            return Ok(());
        }
        for (index, listener) in self.listeners.iter_mut().enumerate().filter(|(_, l)| !l.armed) {
            listener.armed = true;
            let fd = types::Fd(listener.fd.as_raw_fd());
            let accept = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build();
            // SAFETY: the entry names no memory; the listener's descriptor lives as long as `self`.
            unsafe { ring.push(Class::Net, token(Op::Accept, id(index)), accept)? };
        }
        Ok(())
    }
}
