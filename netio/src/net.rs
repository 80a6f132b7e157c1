//! [`Net`]: all connections of a core, driven by its ring.
//!
//! One multishot accept per listener (`accept.rs`), one multishot receive per connection into provided buffers
//! (`receive.rs`), at most one send in flight per connection (`send.rs`). Input is parsed where the kernel put it; only
//! what is left of it at the end of a turn is copied. Nothing here waits, and nothing is allocated per turn once the
//! buffers have found their size.
//!
//! Invariant: memory handed to the kernel (a send's bytes) is owned by the connection until the operation's last
//! completion; a connection is removed, and its descriptor closed, only when no operation of it is left (`close.rs`).

mod accept;
mod close;
mod moving;
mod receive;
mod send;
mod token;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use slotcore_rt::clock::Tick;
use slotcore_rt::ring::{Completion, Ring};

use crate::buffers::ProvidedBuffers;
use crate::conn::{Closing, Conn, ConnId};
use crate::resp::decode::{Decoder, Limits, ProtocolError, Request};
use crate::socket;
use accept::{AcceptPause, Listener};
pub use moving::Released;
use receive::input_of;
pub use send::UnsentLimit;
use token::{Op, untoken};

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
    /// Unconsumed input of a connection, in bytes, above which nothing more of it is received; a request that has
    /// arrived in part is not counted.
    pub unread_bytes_pause: usize,
    /// Unconsumed input of a connection, in bytes, above which it is closed: only one single request gets there.
    pub request_bytes_max: usize,
    /// When a connection that does not read its replies is closed.
    pub unsent_limit: UnsentLimit,
    /// The same for connections that are sent more than replies ([`Net::set_gets_pushes`]).
    pub push_limit: UnsentLimit,
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
            unread_bytes_pause: 1 << 20,
            request_bytes_max: 1 << 30,
            unsent_limit: UnsentLimit::default(),
            push_limit: UnsentLimit::default(),
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
    /// Connections closed because their replies piled up.
    pub closed_for_output: u64,
    /// Connections closed because one request grew too long.
    pub closed_for_input: u64,
    /// Accepts that failed for want of descriptors or memory.
    pub accept_failures: u64,
    /// Receives that ended because all receive buffers were in use.
    pub buffer_shortages: u64,
}

/// Buffers kept for reuse, and the size above which one is given back to the allocator instead.
const POOL_BUFFERS_MAX: usize = 256;
const POOL_BUFFER_BYTES_MAX: usize = 64 * 1024;

struct Place {
    generation: u32,
    conn: Option<Box<Conn>>,
}

/// See the module's text.
pub struct Net {
    options: NetOptions,
    buffers: ProvidedBuffers,
    places: Vec<Place>,
    free: Vec<u32>,
    open: usize,
    listeners: Vec<Listener>,
    accept_pause: AcceptPause,
    ready: VecDeque<ConnId>,
    dirty: Vec<ConnId>,
    /// Passed by at the last flush.
    delayed: Vec<ConnId>,
    holding: Vec<ConnId>,
    unarmed: Vec<ConnId>,
    /// Connections that sent more than is wanted now: their receive is to be ended.
    overfull: Vec<ConnId>,
    /// Connections whose receive is to be ended because they leave.
    leaving: Vec<ConnId>,
    released: Vec<Released>,
    arrivals: Vec<OwnedFd>,
    /// Connections above the soft limit of unsent bytes, and when that was first seen.
    over_soft_limit: Vec<(ConnId, Option<Tick>)>,
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
            accept_pause: AcceptPause::default(),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            delayed: Vec::new(),
            holding: Vec::new(),
            unarmed: Vec::new(),
            overfull: Vec::new(),
            leaving: Vec::new(),
            released: Vec::new(),
            arrivals: Vec::new(),
            over_soft_limit: Vec::new(),
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

    /// Changes the longest request allowed, in bytes.
    pub fn set_request_bytes_max(&mut self, request_bytes_max: usize) {
        self.options.request_bytes_max = request_bytes_max;
    }

    /// Changes how many unsent bytes are allowed: of replies, and where pushes come with them.
    pub fn set_unsent_limits(&mut self, replies: UnsentLimit, pushes: UnsentLimit) {
        self.options.unsent_limit = replies;
        self.options.push_limit = pushes;
    }

    /// Says whether a connection is sent messages that it does not ask for one by one. Leaving its input alone does not
    /// bound those, so [`NetOptions::push_limit`] must.
    pub fn set_gets_pushes(&mut self, id: ConnId, gets_pushes: bool) {
        if let Some(conn) = self.conn_mut(id) {
            conn.gets_pushes = gets_pushes;
        }
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

    /// The next connection that has something to parse, or whose input has ended (see [`Net::has_ended`]).
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

    /// True when the peer sends no more. It may still read: once what it asked for is answered, and no whole request is
    /// left, call [`Net::close_after_flush`].
    pub fn has_ended(&self, id: ConnId) -> bool {
        self.conn(id).is_some_and(|conn| conn.input_ended)
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

    /// Takes a connection from among the ready ones: whoever calls this is about to look at all of its input.
    pub fn unmark_ready(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id)
            && std::mem::take(&mut conn.is_ready)
        {
            // Nearly always it was the last to be marked.
            match self.ready.back() == Some(&id) {
                true => _ = self.ready.pop_back(),
                false => self.ready.retain(|other| *other != id),
            }
        }
    }

    /// True when a connection waits to be parsed.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Decodes the request that starts `skip` bytes into the connection's input. Spans are relative to its start. Never
    /// [`Request::Quoted`]: such a line becomes the array that it means.
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
        match conn.decoder.next(&input[skip..], limits, spans) {
            Ok(Request::Quoted(bytes)) => self.decode_quoted(id, skip, bytes, spans),
            found => found,
        }
    }

    /// What is decoded next does not go on where the last incomplete request was: what was understood of that is forgotten.
    /// To be called whenever less is consumed than was decoded.
    pub fn rewind(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id) {
            conn.decoder = Decoder::default();
        }
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

    /// Takes in one completion of class [`Class::Net`].
    pub fn on_completion(&mut self, c: Completion) {
        let (op, id) = untoken(c.token);
        match op {
            Op::Accept => self.on_accept(id.index(), c),
            Op::Recv => self.on_recv(id, c),
            Op::Send => self.on_send(id, c),
            Op::AcceptPause => self.on_accept_pause_over(),
            // The connection may be gone long since.
            Op::Linger => self.kill(id),
        }
    }

    /// Ends a turn: queues the sends, gives receive buffers back, re-arms what has ended. Submits nothing.
    /// Returns how many sends were queued: the kernel completes nearly all of them at once.
    pub fn flush(&mut self, ring: &mut Ring) -> io::Result<usize> {
        let mut sends = 0;
        self.settle_all();
        self.dirty.append(&mut self.delayed);
        while let Some(id) = self.dirty.pop() {
            sends += usize::from(self.flush_one(ring, id)?);
        }
        self.stop_overfull(ring)?;
        self.stop_leaving(ring)?;
        while let Some(id) = self.unarmed.pop() {
            self.arm(ring, id)?;
        }
        self.arm_listeners(ring)?;
        Ok(sends)
    }

    fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id)
            && !conn.is_dirty
        {
            conn.is_dirty = true;
            self.dirty.push(id);
        }
    }
}

fn recycle_vec(pool: &mut Vec<Vec<u8>>, mut buffer: Vec<u8>) {
    if buffer.capacity() > 0 && buffer.capacity() <= POOL_BUFFER_BYTES_MAX && pool.len() < POOL_BUFFERS_MAX {
        buffer.clear();
        pool.push(buffer);
    }
}
