//! [`Client`]: many connections driven by one thread and one ring, at as little cost per request as the kernel allows.
//!
//! Requests are slices of a [`Stream`] and go to the kernel as they lie; sends that succeed report nothing; replies come
//! through multishot receives into provided buffers and are only scanned for their ends. A turn is: take what has
//! finished, begin the next batches, one `io_uring_enter`. While there is nothing to do the thread spins on the rings
//! in memory: it then needs no wake-up, whose cost the server would pay.
//!
//! A connection has one batch under way and begins the next when it has all replies, so a send never overtakes another.
//!
//! Nodes of a cluster have connections of their own, and their own requests. A request that is answered `MOVED` is sent
//! again to the node named, and counts as answered when that answers; its latency is from the first sending.

use std::collections::VecDeque;
use std::hint::spin_loop;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use hdrhistogram::Histogram;
use io_uring::{cqueue, opcode, squeue, types};
use slotcore_netio::buffers::{BUFFER_GROUP, ProvidedBuffers};
use slotcore_rt::clock::{Clock, SystemClock, Tick};
use slotcore_rt::process;
use slotcore_rt::ring::{Class, Completion, Ring};

use super::greeting::Greeting;
use super::live::Live;
use super::pace::{Pace, Schedule};
use super::recorder::{Recorder, Second};
use super::replies::{Redirect, Scanner, Tally};
use super::stream::Streams;

/// Slots of the submission queue; a fuller turn submits in between.
const RING_ENTRIES: u32 = 1024;
/// Bytes of one receive buffer: 64 replies of 250 bytes.
const BUFFER_BYTES: usize = 16 * 1024;
/// Receive buffers: one for each connection, within these bounds. Few stay in the processor's cache.
const BUFFERS: std::ops::RangeInclusive<usize> = 64..=4096;
/// How long the thread spins before it sleeps, unless told otherwise. Longer than any wait of a loaded run; tests sleep
/// often.
pub const SPIN: Duration = Duration::from_micros(if cfg!(test) { 20 } else { 500 });
/// How often one request may be sent on by `MOVED`: two nodes that name each other must not go on for ever.
const HOPS_MAX: u8 = 8;
/// Longest sleep: the time within which a silent server is noticed.
const NAP: Duration = Duration::from_millis(100);
/// How long a server may answer nothing at all before the run fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bit of a token that tells sends from receives; the rest is the connection's index.
const SEND_BIT: u64 = 1 << 32;

struct Conn {
    stream: TcpStream,
    /// Index of the node it leads to.
    node: usize,
    scanner: Scanner,
    /// The oldest request without reply.
    first: Sent,
    /// Requests without reply.
    waiting: u64,
    receives: bool,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Its number in the run.
    number: u64,
    /// The node in whose stream it is.
    stream: usize,
    /// Its place there.
    at: usize,
    /// When it was sent, the first time.
    sent_at: Tick,
    /// How often it was sent on.
    hops: u8,
}

/// What a run gave.
#[derive(Debug)]
pub struct Outcome {
    /// Nanoseconds from when a request was sent, or in an open loop should have been, to its reply.
    pub latency_ns: Histogram<u64>,
    /// The same by the second.
    pub seconds: Vec<Second>,
    /// Replies received.
    pub replies: u64,
    /// What they were.
    pub tally: Tally,
    /// Requests that were sent on to another node.
    pub moved: u64,
    /// From the first request to the last reply.
    pub elapsed: Duration,
    /// The part of it in which the client had work: near the whole, the client was the limit and not the server.
    pub busy: Duration,
}

/// See the module's text.
pub struct Client {
    ring: Ring,
    buffers: ProvidedBuffers,
    nodes: Vec<SocketAddr>,
    conns: Vec<Conn>,
    /// Connections with nothing under way, the longest idle first.
    idle: VecDeque<u32>,
    /// Those of them whose node has no more requests in this run.
    done: Vec<u32>,
    /// Requests to be sent on, and the node they go to.
    moving: VecDeque<(usize, Sent)>,
    moved: u64,
    finished: Vec<Completion>,
    spin: Duration,
    waited: Duration,
}

/// Where the requests of a run come from.
struct Source<'a> {
    streams: &'a Streams,
    /// Next request of each stream.
    next: Vec<usize>,
    /// Each request is sent once; otherwise the first follows the last.
    once: bool,
}

impl Source<'_> {
    /// Requests that node `node` can still be sent in one piece.
    #[inline]
    fn left(&self, node: usize) -> usize {
        self.streams.of(node).len() - self.next[node]
    }
}

impl Client {
    /// Opens so many connections (> 0) to each address. Nodes of the cluster are these addresses, in this order.
    ///
    /// # Errors
    /// The server refuses them or is none, or the system has no ring for us.
    pub fn connect(nodes: &[(SocketAddr, usize)], greeting: &Greeting<'_>, spin: Duration) -> io::Result<Self> {
        let connections: usize = nodes.iter().map(|node| node.1).sum();
        process::raise_open_files(connections as u64 + 64);
        let ring = Ring::new(RING_ENTRIES)?;
        let count = connections.next_power_of_two().clamp(*BUFFERS.start(), *BUFFERS.end());
        let buffers = ProvidedBuffers::new(&ring, count as u16, BUFFER_BYTES)?;
        let mut conns: Vec<Conn> = Vec::with_capacity(connections);
        for (node, &(addr, count)) in nodes.iter().enumerate() {
            for index in 0..count {
                let probe = greeting.probe && index == 0;
                conns.push(Conn {
                    stream: Greeting { probe, ..*greeting }.connect(addr)?,
                    node,
                    scanner: Scanner::new(nodes.len() > 1),
                    first: Sent {
                        number: 0,
                        stream: node,
                        at: 0,
                        sent_at: Tick::ZERO,
                        hops: 0,
                    },
                    waiting: 0,
                    receives: false,
                });
            }
        }
        let mut client = Self {
            ring,
            buffers,
            nodes: nodes.iter().map(|node| node.0).collect(),
            idle: (0..connections as u32).collect(),
            done: Vec::new(),
            moving: VecDeque::new(),
            moved: 0,
            conns,
            finished: Vec::new(),
            spin,
            waited: Duration::ZERO,
        };
        for conn in 0..client.conns.len() {
            client.receive(conn)?;
        }
        Ok(client)
    }

    /// Sends requests of `streams`, each from its beginning, at the given pace; returns when each has its reply. As many
    /// streams as nodes. Requests are repeated when there are fewer than asked for, and sent once otherwise.
    ///
    /// # Errors
    /// A connection broke, a reply was malformed or not asked for, or the server was silent for 30 seconds. The client
    /// cannot be used afterwards. Error replies are no failure here: they are counted.
    pub fn run(&mut self, streams: &Streams, pace: &Pace, live: &Live) -> io::Result<Outcome> {
        let start = SystemClock.tick();
        let mut recorder = Recorder::new(start);
        let mut schedule = Schedule::new(pace, start);
        let mut source = Source {
            streams,
            next: vec![0; streams.nodes()],
            once: schedule.requests() <= streams.len(),
        };
        let (mut replies, mut now, mut heard_at) = (0, start, start);
        (self.waited, self.moved) = (Duration::ZERO, 0);
        self.idle.extend(self.done.drain(..));
        loop {
            if !self.moving.is_empty() {
                self.send_on(streams)?;
            }
            self.begin(&mut source, &mut schedule, pace.pipeline, now)?;
            if replies == schedule.begun() && schedule.is_over(now) {
                break;
            }
            if self.ring.has_unsubmitted() {
                self.ring.submit()?;
            }
            let until = if self.idle.is_empty() {
                None
            } else {
                schedule.next_due()
            };
            self.wait(until)?;
            let mut finished = std::mem::take(&mut self.finished);
            self.ring.reap(&mut finished);
            now = SystemClock.tick();
            for completion in finished.drain(..) {
                replies += self.take(completion, &schedule, now, &mut recorder, &mut heard_at)?;
            }
            self.finished = finished;
            if recorder.is_due(now) {
                let second = recorder.end_second(now, self.errors());
                live.second(second, schedule.progress(now, replies));
            }
            if now.since(heard_at) > PATIENCE && replies < schedule.begun() {
                let open = schedule.begun() - replies;
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no reply for {} s; {open} requests wait for one", PATIENCE.as_secs()),
                ));
            }
        }
        live.end();
        let elapsed = now.since(start);
        let (latency_ns, seconds) = recorder.finish(now, self.errors());
        Ok(Outcome {
            latency_ns,
            seconds,
            replies,
            tally: self.take_tally(),
            moved: self.moved,
            elapsed,
            busy: elapsed.saturating_sub(self.waited),
        })
    }

    /// Begins a batch on each idle connection for which something is due.
    fn begin(
        &mut self,
        source: &mut Source<'_>,
        schedule: &mut Schedule,
        pipeline: usize,
        now: Tick,
    ) -> io::Result<()> {
        while let Some(&conn) = self.idle.front() {
            let node = self.conns[conn as usize].node;
            let left = source.left(node);
            if left == 0 {
                self.idle.pop_front();
                self.done.push(conn);
                continue;
            }
            let due = schedule.begin(now, pipeline.min(left));
            if due == 0 {
                break;
            }
            self.idle.pop_front();
            let first = Sent {
                number: schedule.begun() - due as u64,
                stream: node,
                at: source.next[node],
                sent_at: now,
                hops: 0,
            };
            self.send(conn as usize, source.streams, first, due)?;
            source.next[node] += due;
            if !source.once && source.left(node) == 0 {
                source.next[node] = 0;
            }
        }
        Ok(())
    }

    /// Sends requests that were answered `MOVED` to the node named, as far as it has idle connections.
    #[cold]
    fn send_on(&mut self, streams: &Streams) -> io::Result<()> {
        for _ in 0..self.moving.len() {
            let Some((node, sent)) = self.moving.pop_front() else {
                break;
            };
            let of_node = |conns: &[Conn], &conn: &u32| conns[conn as usize].node == node;
            let conn = if let Some(at) = self.idle.iter().position(|conn| of_node(&self.conns, conn)) {
                self.idle.remove(at)
            } else if let Some(at) = self.done.iter().position(|conn| of_node(&self.conns, conn)) {
                Some(self.done.swap_remove(at))
            } else {
                None
            };
            match conn {
                Some(conn) => self.send(conn as usize, streams, sent, 1)?,
                None => self.moving.push_back((node, sent)),
            }
        }
        Ok(())
    }

    fn errors(&self) -> u64 {
        self.conns.iter().map(|conn| conn.scanner.tally.errors).sum()
    }

    fn take_tally(&mut self) -> Tally {
        let mut all = Tally::default();
        for conn in &mut self.conns {
            let tally = std::mem::take(&mut conn.scanner.tally);
            all.errors += tally.errors;
            all.nulls += tally.nulls;
            all.first_error = all.first_error.or(tally.first_error);
        }
        all
    }

    /// Until something has finished or `until` has come. What the kernel does for us meanwhile is not waiting.
    fn wait(&mut self, until: Option<Tick>) -> io::Result<()> {
        let began = SystemClock.tick();
        let mut now = began;
        while !self.ring.has_completions() {
            if self.ring.wants_enter() {
                self.waited += now.since(began);
                return self.ring.submit();
            }
            let left = until.map_or(NAP, |until| until.since(now).min(NAP));
            if left.is_zero() {
                break;
            }
            if now.since(began) < self.spin {
                spin_loop();
            } else if left <= self.spin {
                // Sleeping would come back too late for the next request.
                spin_loop();
            } else {
                self.ring.submit_and_wait(1, left - self.spin.min(left / 2))?;
                now = SystemClock.tick();
                break;
            }
            now = SystemClock.tick();
        }
        self.waited += now.since(began);
        Ok(())
    }

    /// Sends `count` requests from `first` on, which lie before the end of their stream.
    fn send(&mut self, index: usize, streams: &Streams, first: Sent, count: usize) -> io::Result<()> {
        let (bytes, count) = streams.of(first.stream).batch(first.at, count);
        let conn = &mut self.conns[index];
        (conn.first, conn.waiting) = (first, count as u64);
        let len = u32::try_from(bytes.len()).expect("a stream is far below 4 GiB");
        let send = opcode::Send::new(types::Fd(conn.stream.as_raw_fd()), bytes.as_ptr(), len)
            // All or an error: only then can success pass in silence.
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: the bytes belong to a stream that `run` borrows until each request has its reply, hence was sent; after
        // an error of `run` the kernel may still read them, which harms only what is sent. The socket is owned by `conn`.
        unsafe { self.ring.push(Class::Net, SEND_BIT | index as u64, send) }
    }

    fn receive(&mut self, index: usize) -> io::Result<()> {
        let conn = &mut self.conns[index];
        conn.receives = true;
        let recv = opcode::RecvMulti::new(types::Fd(conn.stream.as_raw_fd()), BUFFER_GROUP).build();
        // SAFETY: the provided buffers and the socket live as long as the ring, see `drop`.
        unsafe { self.ring.push(Class::Net, index as u64, recv) }
    }

    /// Takes one completion; returns the requests it answered.
    fn take(
        &mut self,
        completion: Completion,
        schedule: &Schedule,
        now: Tick,
        recorder: &mut Recorder,
        heard_at: &mut Tick,
    ) -> io::Result<u64> {
        let index = (completion.token & (SEND_BIT - 1)) as usize;
        if completion.token & SEND_BIT != 0 {
            return Err(broken(completion.result, "a send was cut short"));
        }
        let conn = &mut self.conns[index];
        let mut replies = 0;
        if let Some(buffer) = cqueue::buffer_select(completion.flags)
            && completion.result > 0
        {
            let bytes = self.buffers.bytes(buffer, 0, completion.result as u32);
            let scanned = conn.scanner.scan(bytes);
            self.buffers.recycle(buffer);
            replies = scanned.map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed.to_string()))?;
        } else if completion.result != -libc::ENOBUFS {
            return Err(broken(completion.result, "the server closed a connection"));
        }
        if replies > conn.waiting {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply nobody asked for"));
        }
        *heard_at = now;
        let mut answered = replies;
        if replies > 0 {
            let first = conn.first;
            conn.first.number += replies;
            conn.first.at += replies as usize;
            conn.waiting -= replies;
            if conn.waiting == 0 {
                self.idle.push_back(index as u32);
            }
            if conn.scanner.redirects.is_empty() {
                record(recorder, schedule, now, first, replies);
            } else {
                let redirects = std::mem::take(&mut conn.scanner.redirects);
                answered -= redirects.len() as u64;
                let mut at = 0;
                for redirect in &redirects {
                    let before = redirect.reply - at;
                    record(recorder, schedule, now, ahead(first, at), before);
                    at += before + 1;
                    self.follow(index, redirect, ahead(first, redirect.reply))?;
                }
                record(recorder, schedule, now, ahead(first, at), replies - at);
            }
        }
        if !cqueue::more(completion.flags) {
            self.receive(index)?;
        }
        Ok(answered)
    }

    /// Notes that `sent` goes to the node that `redirect` names.
    #[cold]
    fn follow(&mut self, from: usize, redirect: &Redirect, sent: Sent) -> io::Result<()> {
        let asked = self.nodes[self.conns[from].node];
        let to = match redirect.to.strip_prefix(':') {
            Some(port) => port.parse().ok().map(|port| SocketAddr::new(asked.ip(), port)),
            None => redirect.to.parse().ok(),
        };
        let node = to.and_then(|to| self.nodes.iter().position(|&node| node == to));
        match node {
            Some(node) if sent.hops < HOPS_MAX && self.conns.iter().any(|conn| conn.node == node) => {
                self.moved += 1;
                let hops = sent.hops + 1;
                self.moving.push_back((node, Sent { hops, ..sent }));
                Ok(())
            }
            Some(_) if sent.hops == HOPS_MAX => Err(io::Error::other(format!(
                "a request was sent on {HOPS_MAX} times, the last time by {asked}: the nodes disagree about its slot"
            ))),
            _ => Err(io::Error::other(format!(
                "{asked} says MOVED to {}, to which there is no connection: no request was for it when the run began",
                redirect.to
            ))),
        }
    }
}

/// The request `count` after `sent`, of the same batch.
fn ahead(sent: Sent, count: u64) -> Sent {
    Sent {
        number: sent.number + count,
        at: sent.at + count as usize,
        ..sent
    }
}

/// Records the latencies of `replies` requests from `first` on.
#[inline]
fn record(recorder: &mut Recorder, schedule: &Schedule, now: Tick, first: Sent, replies: u64) {
    if schedule.intended(first.number).is_none() {
        recorder.record(now.since(first.sent_at), replies);
        return;
    }
    for number in first.number..first.number + replies {
        let intended = schedule.intended(number).unwrap_or(first.sent_at);
        recorder.record(now.since(intended), 1);
    }
}

impl Drop for Client {
    /// Ends the receives before the buffers go: the kernel writes into them.
    fn drop(&mut self) {
        for conn in &self.conns {
            // A connection that is gone already has no receive to end.
            let _ = conn.stream.shutdown(Shutdown::Both);
        }
        let began = SystemClock.tick();
        while self.conns.iter().any(|conn| conn.receives) && SystemClock.tick().since(began) < Duration::from_secs(1) {
            if self.ring.submit_and_wait(1, NAP).is_err() {
                return;
            }
            self.ring.reap(&mut self.finished);
            for completion in self.finished.drain(..) {
                if completion.token & SEND_BIT == 0 && !cqueue::more(completion.flags) {
                    self.conns[completion.token as usize].receives = false;
                }
            }
        }
    }
}

/// The error of a completion that ends its connection; `otherwise` when the kernel names none.
fn broken(result: i32, otherwise: &str) -> io::Error {
    if result < 0 {
        io::Error::from_raw_os_error(-result)
    } else {
        io::Error::new(io::ErrorKind::UnexpectedEof, otherwise)
    }
}
