//! [`Net`]: all connections of a core, driven by its ring.
//!
//! One multishot accept per listener, one multishot receive per connection into provided buffers, at most one send in
//! flight per connection. Input is parsed where the kernel put it; only what is left of it at the end of a turn is
//! copied. Nothing here waits, and nothing is allocated per turn once the buffers have found their size.
//!
//! Invariant: memory handed to the kernel (a send's bytes) is owned by the connection until the operation's last
//! completion; a connection is removed, and its descriptor closed, only when no operation of it is left.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use io_uring::{cqueue, opcode, types};
use slotcore_rt::ring::{Class, Completion, Ring, user_data};

use crate::buffers::{BUFFER_GROUP, ProvidedBuffers};
use crate::conn::{Closing, Conn, ConnId, Held};
use crate::resp::decode::{Decoder, Limits, ProtocolError, Request};
use crate::socket;

/// What a core's connections may use.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// Receive buffers, a power of two.
    pub buffers: u16,
    /// Bytes of each.
    pub buffer_bytes: usize,
    /// Connections at once; one more is answered with an error and closed.
    pub clients_max: usize,
    /// How many there are, over all cores that share the limit. Touched when a connection comes or goes.
    pub open_total: Arc<AtomicUsize>,
    /// Unsent bytes of a connection above which nothing of it is read or executed any more.
    pub unsent_bytes_pause: usize,
    /// Seconds of silence before TCP probes the peer; 0 = never.
    pub keepalive_s: u32,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            buffers: 512,
            buffer_bytes: 16 * 1024,
            clients_max: 10_000,
            open_total: Arc::default(),
            unsent_bytes_pause: 1 << 20,
            keepalive_s: 300,
        }
    }
}

/// Something that happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// It is there.
    Opened(ConnId),
    /// It is gone; its number may be used again from now on.
    Closed(ConnId),
}

/// A connection that was given up so that another core can adopt it.
pub struct Released {
    /// What it was called here; the number may be used again from now on.
    pub id: ConnId,
    /// The connection itself.
    pub fd: OwnedFd,
    /// What it sent that was not consumed.
    pub input: Vec<u8>,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused because there were too many.
    pub rejected: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Accept = 0,
    Recv = 1,
    Send = 2,
}

const INDEX_BITS: u32 = 22;
const GENERATION_BITS: u32 = 32;
/// Unconsumed input of a connection above which nothing more is received, in bytes.
const INPUT_BYTES_MAX: usize = 1 << 20;
/// Output buffers kept for reuse, and the size above which one is given back to the allocator instead.
const POOL_BUFFERS_MAX: usize = 256;
const POOL_BUFFER_BYTES_MAX: usize = 64 * 1024;

fn token(op: Op, id: ConnId) -> u64 {
    (op as u64) << (INDEX_BITS + GENERATION_BITS) | u64::from(id.generation) << INDEX_BITS | u64::from(id.index)
}

fn untoken(token: u64) -> (Op, ConnId) {
    let op = match token >> (INDEX_BITS + GENERATION_BITS) {
        0 => Op::Accept,
        1 => Op::Recv,
        _ => Op::Send,
    };
    let generation = (token >> INDEX_BITS) as u32;
    (
        op,
        ConnId {
            index: (token & ((1 << INDEX_BITS) - 1)) as u32,
            generation,
        },
    )
}

struct Place {
    generation: u32,
    conn: Option<Box<Conn>>,
}

struct Listener {
    fd: OwnedFd,
    armed: bool,
    /// What arrives here is for any core.
    spread: bool,
}

/// See the module's text.
pub struct Net {
    options: NetOptions,
    buffers: ProvidedBuffers,
    places: Vec<Place>,
    free: Vec<u32>,
    open: usize,
    listeners: Vec<Listener>,
    ready: VecDeque<ConnId>,
    dirty: Vec<ConnId>,
    holding: Vec<ConnId>,
    unarmed: Vec<ConnId>,
    /// Connections that sent more than is wanted now: their receive is to be ended.
    overfull: Vec<ConnId>,
    /// Connections whose receive is to be ended because they leave.
    leaving: Vec<ConnId>,
    released: Vec<Released>,
    arrivals: Vec<OwnedFd>,
    events: VecDeque<NetEvent>,
    pool: Vec<Vec<u8>>,
    stats: NetStats,
}

impl Net {
    /// No connections yet.
    pub fn new(ring: &Ring, options: NetOptions) -> io::Result<Self> {
        let buffers = ProvidedBuffers::new(ring, options.buffers, options.buffer_bytes)?;
        Ok(Self {
            options,
            buffers,
            places: Vec::new(),
            free: Vec::new(),
            open: 0,
            listeners: Vec::new(),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            holding: Vec::new(),
            unarmed: Vec::new(),
            overfull: Vec::new(),
            leaving: Vec::new(),
            released: Vec::new(),
            arrivals: Vec::new(),
            events: VecDeque::new(),
            pool: Vec::new(),
            stats: NetStats::default(),
        })
    }

    /// Listens on a socket that [`crate::bind`] made. `spread`: connections that come are for any core, and are left for
    /// [`Net::next_arrival`].
    ///
    /// # Errors
    /// `EADDRINUSE` when another process has begun to listen there meanwhile.
    pub fn listen(&mut self, fd: OwnedFd, spread: bool) -> io::Result<()> {
        socket::listen(&fd)?;
        self.listeners.push(Listener {
            fd,
            armed: false,
            spread,
        });
        Ok(())
    }

    /// A new connection that is for any core: [`Net::accept`] it here, or on another one.
    pub fn next_arrival(&mut self) -> Option<OwnedFd> {
        self.arrivals.pop()
    }

    /// Stops accepting; connections stay.
    pub fn stop_listening(&mut self) {
        for listener in &self.listeners {
            socket::shutdown(listener.fd.as_raw_fd());
        }
        self.listeners.clear();
    }

    /// Bytes of replies that peers have not taken yet, over all connections.
    pub fn unsent(&self) -> usize {
        self.places
            .iter()
            .filter_map(|p| p.conn.as_deref())
            .map(Conn::unsent)
            .sum()
    }

    /// Connections open now.
    pub fn open_count(&self) -> usize {
        self.open
    }

    /// Counters.
    pub fn stats(&self) -> NetStats {
        self.stats
    }

    /// Changes the number of connections allowed.
    pub fn set_clients_max(&mut self, clients_max: usize) {
        self.options.clients_max = clients_max;
    }

    /// What happened since last asked.
    pub fn next_event(&mut self) -> Option<NetEvent> {
        self.events.pop_front()
    }

    /// A connection, unless it is gone.
    #[inline]
    pub fn conn(&self, id: ConnId) -> Option<&Conn> {
        let place = self.places.get(id.index())?;
        if place.generation == id.generation {
            place.conn.as_deref()
        } else {
            None
        }
    }

    #[inline]
    fn conn_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        let place = self.places.get_mut(id.index())?;
        if place.generation == id.generation {
            place.conn.as_deref_mut()
        } else {
            None
        }
    }

    /// The connection with this [`ConnId::index`], if there is one.
    pub fn id_at(&self, index: usize) -> Option<ConnId> {
        let place = self.places.get(index)?;
        place.conn.as_ref().map(|_| ConnId {
            index: index as u32,
            generation: place.generation,
        })
    }

    /// A connection's unconsumed input; empty when it is gone.
    #[inline]
    pub fn input(&self, id: ConnId) -> &[u8] {
        self.conn(id).map_or(&[], |conn| {
            input_of(&conn.input, conn.input_at, conn.held, &self.buffers)
        })
    }

    /// All connections.
    pub fn ids(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.places
            .iter()
            .enumerate()
            .filter(|(_, p)| p.conn.is_some())
            .map(|(index, p)| ConnId {
                index: index as u32,
                generation: p.generation,
            })
    }

    /// The next connection that has something to parse.
    pub fn next_ready(&mut self) -> Option<ConnId> {
        while let Some(id) = self.ready.pop_front() {
            let pause = self.options.unsent_bytes_pause;
            if let Some(conn) = self.conn_mut(id) {
                conn.is_ready = false;
                if conn.is_open() && conn.unsent() <= pause {
                    return Some(id);
                }
            }
        }
        None
    }

    /// True while so many replies of a connection wait to be sent that nothing more of it should be executed; it becomes
    /// ready by itself when they were taken.
    #[inline]
    pub fn is_choked(&self, id: ConnId) -> bool {
        self.conn(id)
            .is_some_and(|conn| conn.unsent() > self.options.unsent_bytes_pause)
    }

    /// Puts a connection among the ready ones: it has input that was left alone.
    pub fn mark_ready(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id)
            && !conn.is_ready
        {
            conn.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// True when a connection waits to be parsed.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Decodes the request that starts `skip` bytes into the connection's input. Spans are relative to its start.
    #[inline]
    pub fn decode(
        &mut self,
        id: ConnId,
        skip: usize,
        limits: &Limits,
        spans: &mut Vec<(u32, u32)>,
    ) -> Result<Request, ProtocolError> {
        let place = &mut self.places[id.index()];
        let Some(conn) = place.conn.as_deref_mut() else {
            return Ok(Request::Incomplete);
        };
        let input = input_of(&conn.input, conn.input_at, conn.held, &self.buffers);
        conn.decoder.next(&input[skip..], limits, spans)
    }

    /// A connection's input and output at the same time; the output will be sent at the next flush.
    #[inline]
    pub fn io(&mut self, id: ConnId) -> Option<(&[u8], &mut Vec<u8>)> {
        let place = self.places.get_mut(id.index())?;
        let conn = match place.conn.as_deref_mut() {
            Some(conn) if place.generation == id.generation && conn.closing == Closing::No => conn,
            _ => return None,
        };
        if !conn.is_dirty {
            conn.is_dirty = true;
            self.dirty.push(id);
            if conn.out.capacity() == 0
                && let Some(buffer) = self.pool.pop()
            {
                conn.out = buffer;
            }
        }
        Some((
            input_of(&conn.input, conn.input_at, conn.held, &self.buffers),
            &mut conn.out,
        ))
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
        if !conn.recv_armed && !is_overfull(conn) {
            self.unarmed.push(id);
        }
    }

    /// Sends what is to be sent, then closes. Input is ignored from now on.
    pub fn close_after_flush(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id)
            && conn.closing == Closing::No
        {
            conn.closing = Closing::AfterFlush;
            if !conn.is_dirty {
                conn.is_dirty = true;
                self.dirty.push(id);
            }
        }
    }

    /// Closes at once; what was not sent is lost.
    pub fn kill(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id)
            && conn.closing != Closing::Now
        {
            conn.closing = Closing::Now;
            socket::shutdown(conn.fd.as_raw_fd());
            if !conn.is_dirty {
                conn.is_dirty = true;
                self.dirty.push(id);
            }
        }
    }

    /// Takes in one completion of class [`Class::Net`].
    pub fn on_completion(&mut self, c: Completion) {
        let (op, id) = untoken(c.token);
        match op {
            Op::Accept => self.on_accept(id.index(), c),
            Op::Recv => self.on_recv(id, c),
            Op::Send => self.on_send(id, c),
        }
    }

    fn on_accept(&mut self, listener: usize, c: Completion) {
        if !cqueue::more(c.flags)
            && let Some(listener) = self.listeners.get_mut(listener)
        {
            listener.armed = false;
        }
        if c.result < 0 {
            return;
        }
        // SAFETY: the kernel made this descriptor for us in this very completion.
        let fd = unsafe { OwnedFd::from_raw_fd(c.result) };
        match self.listeners.get(listener) {
            Some(listener) if listener.spread => self.arrivals.push(fd),
            _ => self.accept(fd),
        }
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

    /// Gives a connection a place.
    fn enter(&mut self, fd: OwnedFd, input: Vec<u8>) -> Option<ConnId> {
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
        place.conn = Some(Box::new(Conn {
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
            input_ended: false,
            closing: Closing::No,
        }));
        self.open += 1;
        self.unarmed.push(id);
        Some(id)
    }

    fn on_recv(&mut self, id: ConnId, c: Completion) {
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
            if is_overfull(conn) && conn.recv_armed {
                self.overfull.push(id);
            }
            // Worth parsing unless a long argument is still on its way.
            if conn.unread() >= conn.decoder.wants() && !conn.is_ready {
                conn.is_ready = true;
                self.ready.push_back(id);
            }
        } else {
            if let Some(buffer) = buffer {
                self.buffers.recycle(buffer);
            }
            match -c.result {
                // Out of buffers, or stopped by us: goes on when there is room.
                libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                // End of input, or a broken connection: nobody is left to read replies.
                0 => conn.input_ended = true,
                _ => conn.closing = Closing::Now,
            }
        }
        if !conn.recv_armed {
            self.unarmed.push(id);
        }
    }

    fn on_send(&mut self, id: ConnId, c: Completion) {
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
        if !conn.is_dirty {
            conn.is_dirty = true;
            self.dirty.push(id);
        }
    }

    /// Ends a turn: queues the sends, gives receive buffers back, re-arms what has ended. Submits nothing.
    /// Returns how many sends were queued: the kernel completes nearly all of them at once.
    pub fn flush(&mut self, ring: &mut Ring) -> io::Result<usize> {
        let mut sends = 0;
        while let Some(id) = self.holding.pop() {
            if let Some(conn) = self.places[id.index()].conn.as_deref_mut() {
                conn.is_held = false;
                settle(conn, &mut self.buffers, &mut self.pool);
            }
        }
        while let Some(id) = self.dirty.pop() {
            sends += usize::from(self.flush_one(ring, id)?);
        }
        while let Some(id) = self.overfull.pop() {
            if self.conn(id).is_some_and(|conn| conn.recv_armed && is_overfull(conn)) {
                let recv = user_data(Class::Net, token(Op::Recv, id));
                // SAFETY: the entry names no memory.
                unsafe { ring.push(Class::Ignore, 0, opcode::AsyncCancel::new(recv).build())? };
            }
        }
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
        while let Some(id) = self.unarmed.pop() {
            self.arm(ring, id)?;
        }
        for index in 0..self.listeners.len() {
            if !self.listeners[index].armed {
                self.listeners[index].armed = true;
                let fd = types::Fd(self.listeners[index].fd.as_raw_fd());
                let id = ConnId {
                    index: index as u32,
                    generation: 0,
                };
                let accept = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build();
                // SAFETY: the entry names no memory; the listener's descriptor lives as long as `self`.
                unsafe { ring.push(Class::Net, token(Op::Accept, id), accept)? };
            }
        }
        Ok(sends)
    }

    fn flush_one(&mut self, ring: &mut Ring, id: ConnId) -> io::Result<bool> {
        let Some(conn) = self.places[id.index()].conn.as_deref_mut() else {
            return Ok(false);
        };
        conn.is_dirty = false;
        if conn.send_pending {
            return Ok(false);
        }
        if conn.closing != Closing::Now {
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
            if conn.closing == Closing::AfterFlush || conn.input_ended && !conn.is_ready && conn.unread() == 0 {
                conn.closing = Closing::Now;
            }
        }
        if conn.closing == Closing::Now {
            self.try_remove(id);
        }
        Ok(false)
    }

    fn arm(&mut self, ring: &mut Ring, id: ConnId) -> io::Result<()> {
        let pause = self.options.unsent_bytes_pause;
        let Some(conn) = self.conn_mut(id) else { return Ok(()) };
        if conn.closing == Closing::Leaving {
            if !conn.recv_armed {
                self.let_go(id);
            }
            return Ok(());
        }
        if conn.closing == Closing::Now || conn.input_ended {
            let flushed = !conn.send_pending && conn.unsent() == 0;
            if conn.closing == Closing::Now || flushed && !conn.is_ready {
                conn.closing = Closing::Now;
                self.try_remove(id);
            }
            return Ok(());
        }
        if conn.recv_armed || conn.unsent() > pause || is_overfull(conn) {
            return Ok(());
        }
        conn.recv_armed = true;
        let recv = opcode::RecvMulti::new(types::Fd(conn.fd.as_raw_fd()), BUFFER_GROUP).build();
        // SAFETY: the kernel writes into provided buffers only, which live as long as the ring.
        unsafe { ring.push(Class::Net, token(Op::Recv, id), recv) }
    }

    /// Removes a connection if the ring has let go of it; otherwise makes the ring do so.
    fn try_remove(&mut self, id: ConnId) {
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
    }

    /// Puts a connection that leaves, and that the ring has let go of, where it is fetched.
    fn let_go(&mut self, id: ConnId) {
        let place = &mut self.places[id.index()];
        let Some(mut conn) = place.conn.take() else { return };
        settle(&mut conn, &mut self.buffers, &mut self.pool);
        let mut input = std::mem::take(&mut conn.input);
        input.drain(..conn.input_at);
        self.vacate(id);
        self.released.push(Released { id, fd: conn.fd, input });
    }

    /// Frees a connection's place for another one.
    fn vacate(&mut self, id: ConnId) {
        let place = &mut self.places[id.index()];
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        self.open -= 1;
    }
}

/// True when so much input waits that no more is to be received: a request that is still arriving excepted.
fn is_overfull(conn: &Conn) -> bool {
    conn.unread() > INPUT_BYTES_MAX.max(conn.decoder.wants())
}

/// A connection's unconsumed input: copied bytes, or those still in a provided buffer, never both.
#[inline]
fn input_of<'a>(input: &'a [u8], at: usize, held: Option<Held>, buffers: &'a ProvidedBuffers) -> &'a [u8] {
    match held {
        Some(h) if input.is_empty() => buffers.bytes(h.buffer, h.at, h.end),
        _ => &input[at..],
    }
}

/// Moves input out of a provided buffer, so that the kernel has it back.
fn settle(conn: &mut Conn, buffers: &mut ProvidedBuffers, pool: &mut Vec<Vec<u8>>) {
    let Some(held) = conn.held.take() else { return };
    debug_assert!(conn.input.is_empty(), "input is in one place at a time");
    if conn.input.capacity() == 0
        && let Some(buffer) = pool.pop()
    {
        conn.input = buffer;
    }
    let wanted = conn.decoder.wants().min(1 << 20);
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

fn recycle_vec(pool: &mut Vec<Vec<u8>>, mut buffer: Vec<u8>) {
    if buffer.capacity() > 0 && buffer.capacity() <= POOL_BUFFER_BYTES_MAX && pool.len() < POOL_BUFFERS_MAX {
        buffer.clear();
        pool.push(buffer);
    }
}
