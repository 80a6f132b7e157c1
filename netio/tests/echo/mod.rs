//! A server on the real driver, and clients that never block: both run in the one thread of a test, so that a test says
//! what happens in which order. Waiting is waiting for completions of the ring; the limit only ends a test that hangs.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::disallowed_methods, reason = "clients are ordinary sockets")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use slotcore_netio::resp::decode::{Limits, Request};
use slotcore_netio::{ConnId, Net, NetEvent, NetOptions};
use slotcore_rt::ring::{Completion, Ring};

/// A test that waits this long for one completion has failed.
const HANG: Duration = Duration::from_secs(60);
/// No completion for this long: the kernel has nothing left to do.
const QUIET: Duration = Duration::from_millis(30);

/// Answers each request with its arguments as one bulk string each; `BIG n` with a bulk string of `n` bytes; `QUIT` with
/// `+OK` and closes.
pub struct Server {
    // Dropped first: the kernel lets go of the buffers before their memory goes.
    pub ring: Ring,
    pub net: Net,
    pub address: SocketAddr,
    pub opened: usize,
    pub closed: usize,
    pub requests: u64,
    /// Most unsent bytes of all connections at a turn's end.
    pub unsent_peak: usize,
    /// Most memory of any connection at a turn's end, in bytes.
    pub memory_peak: usize,
    limits: Limits,
    spans: Vec<(u32, u32)>,
    completions: Vec<Completion>,
}

impl Server {
    pub fn new(options: NetOptions) -> Self {
        let mut ring = Ring::new(256).unwrap();
        let mut net = Net::new(&ring, options).unwrap();
        let (listener, address) = slotcore_netio::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        net.listen(listener, false).unwrap();
        net.flush(&mut ring).unwrap();
        ring.submit().unwrap();
        Self {
            ring,
            net,
            address,
            opened: 0,
            closed: 0,
            requests: 0,
            unsent_peak: 0,
            memory_peak: 0,
            limits: Limits::default(),
            spans: Vec::new(),
            completions: Vec::new(),
        }
    }

    /// One turn, which waits for a completion at most for `patience`. Returns how many there were.
    fn turn_within(&mut self, patience: Duration) -> usize {
        if !self.net.has_ready() {
            self.ring.submit_and_wait(1, patience).unwrap();
        } else {
            self.ring.submit().unwrap();
        }
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.reap(&mut completions);
        let count = completions.len();
        for completion in completions.drain(..) {
            if completion.class == slotcore_rt::ring::Class::Net {
                self.net.on_completion(completion);
            }
        }
        self.completions = completions;
        while let Some(id) = self.net.next_ready() {
            self.serve(id);
        }
        self.net.flush(&mut self.ring).unwrap();
        while let Some(event) = self.net.next_event() {
            match event {
                NetEvent::Opened(_) => self.opened += 1,
                NetEvent::Closed(_) => self.closed += 1,
            }
        }
        self.unsent_peak = self.unsent_peak.max(self.net.unsent());
        let memory = self
            .net
            .ids()
            .filter_map(|id| self.net.conn(id))
            .map(|c| c.memory())
            .max();
        self.memory_peak = self.memory_peak.max(memory.unwrap_or(0));
        count
    }

    fn serve(&mut self, id: ConnId) {
        while !self.net.is_choked(id) {
            self.spans.clear();
            match self.net.decode(id, 0, &self.limits, &mut self.spans) {
                Ok(Request::Complete(bytes)) => {
                    if let Some((input, out)) = self.net.io(id) {
                        answer(input, &self.spans, out);
                    }
                    self.requests += 1;
                    let quits = self
                        .spans
                        .first()
                        .is_some_and(|&(at, len)| &self.net.input(id)[at as usize..(at + len) as usize] == b"QUIT");
                    self.net.consume(id, bytes);
                    if quits {
                        return self.net.close_after_flush(id);
                    }
                }
                Ok(Request::Quoted(_)) => unreachable!("the driver turns it into an array"),
                Ok(Request::Incomplete) => {
                    if self.net.has_ended(id) {
                        self.net.close_after_flush(id);
                    }
                    return;
                }
                Err(error) => {
                    if let Some((_, out)) = self.net.io(id) {
                        out.extend_from_slice(format!("-{error}\r\n").as_bytes());
                    }
                    return self.net.close_after_flush(id);
                }
            }
        }
    }

    /// One turn that waits for nothing. Returns how many completions there were.
    pub fn turn_at_once(&mut self) -> usize {
        self.turn_within(Duration::ZERO)
    }

    /// One turn in which something must happen.
    pub fn turn(&mut self) {
        let before = self.net.has_ready();
        let count = self.turn_within(HANG);
        assert!(count > 0 || before, "nothing happens any more");
    }

    /// Turns until nothing happens any more. Returns how many completions there were.
    pub fn settle(&mut self) -> usize {
        let mut count = 0;
        loop {
            match self.turn_within(QUIET) {
                0 if !self.net.has_ready() => return count,
                n => count += n,
            }
        }
    }

    /// Turns until `done`.
    pub fn until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            self.turn();
        }
    }

    /// Connects a client and turns until it was accepted.
    pub fn connect(&mut self) -> Client {
        let before = self.opened;
        let client = Client::connect(self.address);
        self.until(|server| server.opened > before);
        client
    }

    /// Sends `bytes`, turning as often as that takes.
    pub fn send(&mut self, client: &mut Client, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = client.send(bytes);
            bytes = &bytes[n..];
            if n == 0 {
                self.turn();
            }
        }
    }

    /// Reads `n` bytes, turning as often as that takes.
    pub fn read(&mut self, client: &mut Client, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        let mut at = 0;
        while at < n {
            match client.read(&mut bytes[at..]) {
                Got::Bytes(n) => at += n,
                Got::Nothing => self.turn(),
                Got::End => panic!("closed after {at} of {n} bytes"),
                Got::Broken(kind) => panic!("{kind} after {at} of {n} bytes"),
            }
        }
        bytes
    }

    /// Reads until the server closes. Fails when it does so by a reset.
    pub fn read_to_end(&mut self, client: &mut Client) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut piece = vec![0; 64 << 10];
        loop {
            match client.read(&mut piece) {
                Got::Bytes(n) => bytes.extend_from_slice(&piece[..n]),
                Got::Nothing => self.turn(),
                Got::End => return bytes,
                Got::Broken(kind) => panic!("{kind} after {} bytes", bytes.len()),
            }
        }
    }
}

fn answer(input: &[u8], spans: &[(u32, u32)], out: &mut Vec<u8>) {
    let arg = |at: usize| spans.get(at).map(|&(at, len)| &input[at as usize..(at + len) as usize]);
    match arg(0) {
        Some(b"QUIT") => out.extend_from_slice(b"+OK\r\n"),
        Some(b"BIG") => {
            let len: usize = std::str::from_utf8(arg(1).unwrap()).unwrap().parse().unwrap();
            bulk(out, len, |out| out.resize(out.len() + len, b'x'));
        }
        _ => {
            for at in 0..spans.len() {
                let arg = arg(at).unwrap();
                bulk(out, arg.len(), |out| out.extend_from_slice(arg));
            }
        }
    }
}

fn bulk(out: &mut Vec<u8>, len: usize, fill: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(format!("${len}\r\n").as_bytes());
    fill(out);
    out.extend_from_slice(b"\r\n");
}

/// A request of these arguments.
pub fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    args.iter()
        .for_each(|arg| bulk(&mut bytes, arg.len(), |out| out.extend_from_slice(arg)));
    bytes
}

/// What the server answers to it.
pub fn reply(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    args.iter()
        .for_each(|arg| bulk(&mut bytes, arg.len(), |out| out.extend_from_slice(arg)));
    bytes
}

/// What a client's read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    Bytes(usize),
    Nothing,
    End,
    Broken(ErrorKind),
}

/// An ordinary socket that never blocks.
pub struct Client(TcpStream);

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Bytes that were taken; 0: none for now.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        self.try_send(bytes).unwrap()
    }

    /// The same for a connection that may be closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        match self.0.write(bytes) {
            Ok(n) => Ok(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.kind()),
        }
    }

    pub fn read(&mut self, bytes: &mut [u8]) -> Got {
        match self.0.read(bytes) {
            Ok(0) => Got::End,
            Ok(n) => Got::Bytes(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Got::Nothing,
            Err(error) => Got::Broken(error.kind()),
        }
    }

    /// Says that nothing more will be sent.
    pub fn end(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with a reset instead of an orderly end.
    pub fn reset(self) {
        use std::os::fd::AsRawFd;
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: points to a `linger` and says how long it is.
        let rc = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as u32,
            )
        };
        assert_eq!(rc, 0);
    }
}
