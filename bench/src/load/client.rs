//! [`Client`]: many connections driven by one thread and one ring, at as little cost per request as the kernel allows.
//!
//! Requests are slices of a [`Stream`] and go to the kernel as they lie; sends that succeed report nothing; replies come
//! through multishot receives into provided buffers and are only scanned for their ends. A turn is: take what has
//! finished, begin the next batches, one `io_uring_enter`. While there is nothing to do the thread spins on the rings
//! in memory: it then needs no wake-up, whose cost the server would pay.
//!
//! A connection has one batch under way and begins the next when it has all replies, so a send never overtakes another.

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

use super::pace::{Pace, Schedule};
use super::replies::{Scanner, Tally};
use super::workload::Stream;

/// Slots of the submission queue; a fuller turn submits in between.
const RING_ENTRIES: u32 = 1024;
/// Bytes of one receive buffer: 64 replies of 250 bytes.
const BUFFER_BYTES: usize = 16 * 1024;
/// Receive buffers: one for each connection, within these bounds. Few stay in the processor's cache.
const BUFFERS: std::ops::RangeInclusive<usize> = 64..=4096;
/// How long the thread spins before it sleeps. Longer than any wait of a loaded run; tests sleep often.
const SPIN: Duration = Duration::from_micros(if cfg!(test) { 20 } else { 500 });
/// Longest sleep: the time within which a silent server is noticed.
const NAP: Duration = Duration::from_millis(100);
/// How long a server may answer nothing at all before the run fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// Latencies are kept between these bounds, in nanoseconds, to three digits.
const LATENCY_NS: std::ops::RangeInclusive<u64> = 100..=600_000_000_000;
/// Bit of a token that tells sends from receives; the rest is the connection's index.
const SEND_BIT: u64 = 1 << 32;

struct Conn {
    stream: TcpStream,
    scanner: Scanner,
    /// Number of the oldest request without reply.
    first: u64,
    /// Requests without reply.
    waiting: u64,
    sent_at: Tick,
    receives: bool,
}

/// What a run gave.
#[derive(Debug)]
pub struct Outcome {
    /// Nanoseconds from when a request was sent, or in an open loop should have been, to its reply.
    pub latency_ns: Histogram<u64>,
    /// Replies received.
    pub replies: u64,
    /// What they were.
    pub tally: Tally,
    /// From the first request to the last reply.
    pub elapsed: Duration,
    /// The part of it in which the client had work: near the whole, the client was the limit and not the server.
    pub busy: Duration,
}

/// See the module's text.
pub struct Client {
    ring: Ring,
    buffers: ProvidedBuffers,
    conns: Vec<Conn>,
    /// Connections with nothing under way, the longest idle first.
    idle: VecDeque<u32>,
    finished: Vec<Completion>,
    waited: Duration,
}

impl Client {
    /// Opens `connections` (> 0) to `addr`.
    ///
    /// # Errors
    /// The server refuses them, or the system has no ring for us.
    pub fn connect(addr: SocketAddr, connections: usize) -> io::Result<Self> {
        process::raise_open_files(connections as u64 + 64);
        let ring = Ring::new(RING_ENTRIES)?;
        let count = connections.next_power_of_two().clamp(*BUFFERS.start(), *BUFFERS.end());
        let buffers = ProvidedBuffers::new(&ring, count as u16, BUFFER_BYTES)?;
        let mut conns = Vec::with_capacity(connections);
        for _ in 0..connections {
            let stream = TcpStream::connect(addr)
                .map_err(|e| io::Error::new(e.kind(), format!("cannot connect to {addr}: {e}")))?;
            stream.set_nodelay(true)?;
            conns.push(Conn {
                stream,
                scanner: Scanner::default(),
                first: 0,
                waiting: 0,
                sent_at: Tick::ZERO,
                receives: false,
            });
        }
        let mut client = Self {
            ring,
            buffers,
            idle: (0..connections as u32).collect(),
            conns,
            finished: Vec::new(),
            waited: Duration::ZERO,
        };
        for conn in 0..client.conns.len() {
            client.receive(conn)?;
        }
        Ok(client)
    }

    /// Sends requests of `stream`, from its beginning, at the given pace; returns when each has its reply.
    ///
    /// # Errors
    /// A connection broke, a reply was malformed or not asked for, or the server was silent for 30 seconds. The client
    /// cannot be used afterwards. Error replies are no failure here: they are counted.
    pub fn run(&mut self, stream: &Stream, pace: &Pace) -> io::Result<Outcome> {
        let mut latency_ns = Histogram::new_with_bounds(*LATENCY_NS.start(), *LATENCY_NS.end(), 3)
            .expect("the bounds are far enough apart");
        let start = SystemClock.tick();
        let mut schedule = Schedule::new(pace, start);
        let (mut replies, mut now, mut heard_at) = (0, start, start);
        let mut next = 0;
        self.waited = Duration::ZERO;
        loop {
            while let Some(&conn) = self.idle.front() {
                let due = schedule.begin(now, pace.pipeline.min(stream.len() - next));
                if due == 0 {
                    break;
                }
                self.idle.pop_front();
                let (bytes, count) = stream.batch(next, due);
                next = (next + count) % stream.len();
                self.send(conn as usize, bytes, schedule.begun() - count as u64, count as u64, now)?;
            }
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
                replies += self.take(completion, &schedule, now, &mut latency_ns, &mut heard_at)?;
            }
            self.finished = finished;
            if now.since(heard_at) > PATIENCE && replies < schedule.begun() {
                let open = schedule.begun() - replies;
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no reply for {} s; {open} requests wait for one", PATIENCE.as_secs()),
                ));
            }
        }
        let elapsed = now.since(start);
        Ok(Outcome {
            latency_ns,
            replies,
            tally: self.take_tally(),
            elapsed,
            busy: elapsed.saturating_sub(self.waited),
        })
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
            if now.since(began) < SPIN {
                spin_loop();
            } else if left <= SPIN {
                // Sleeping would come back too late for the next request.
                spin_loop();
            } else {
                self.ring.submit_and_wait(1, left - SPIN.min(left / 2))?;
                now = SystemClock.tick();
                break;
            }
            now = SystemClock.tick();
        }
        self.waited += now.since(began);
        Ok(())
    }

    fn send(&mut self, index: usize, bytes: &[u8], first: u64, count: u64, now: Tick) -> io::Result<()> {
        let conn = &mut self.conns[index];
        (conn.first, conn.waiting, conn.sent_at) = (first, count, now);
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

    /// Takes one completion; returns the replies it brought.
    fn take(
        &mut self,
        completion: Completion,
        schedule: &Schedule,
        now: Tick,
        latency_ns: &mut Histogram<u64>,
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
        if replies > 0 {
            match schedule.intended(conn.first) {
                None => latency_ns.saturating_record_n(nanoseconds(now.since(conn.sent_at)), replies),
                Some(_) => {
                    for number in conn.first..conn.first + replies {
                        let intended = schedule.intended(number).unwrap_or(conn.sent_at);
                        latency_ns.saturating_record(nanoseconds(now.since(intended)));
                    }
                }
            }
            conn.first += replies;
            conn.waiting -= replies;
            if conn.waiting == 0 {
                self.idle.push_back(index as u32);
            }
        }
        if !cqueue::more(completion.flags) {
            self.receive(index)?;
        }
        Ok(replies)
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

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The error of a completion that ends its connection; `otherwise` when the kernel names none.
fn broken(result: i32, otherwise: &str) -> io::Error {
    if result < 0 {
        io::Error::from_raw_os_error(-result)
    } else {
        io::Error::new(io::ErrorKind::UnexpectedEof, otherwise)
    }
}
