//! The network's floor: a server on one processor that sends back what it receives, and nothing else: by io_uring, or by
//! epoll, read and write, as most servers do.

use std::hint::spin_loop;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::{cqueue, opcode, types};
use slotcore_netio::buffers::{BUFFER_GROUP, ProvidedBuffers};
use slotcore_rt::ring::{Class, Ring};
use slotcore_rt::thread;

use super::epoll;
use crate::cpu_time::of_thread;
use crate::load::client::SPIN;
use crate::load::live::Live;
use crate::load::pace::{Pace, Stop};
use crate::load::stream::{Stream, Streams};
use crate::load::{Client, Greeting};
use crate::peer::{CLIENT_CPU, SERVER_CPU, if_there};

/// What is echoed: a bulk string of 50 bytes, so that the reply of a GET, its request being the same, goes both ways.
const FRAME: &[u8] = b"$50\r\naaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee\r\n";
/// Frames sent before the first comes again.
const FRAMES: usize = 1 << 12;
/// Receive buffers of the server.
const BUFFERS: u16 = 512;
/// Bytes of each.
const BUFFER_BYTES: usize = 16 * 1024;
/// Bit of a token that tells sends from receives.
const SEND_BIT: u64 = 1 << 40;
/// Where a send's token holds the buffer it sends from.
const BUFFER_SHIFT: u32 = 20;
/// Looks at the ring before the server sleeps, when it has one connection: as long as a client takes to answer. With many
/// there is always something, and sleeping keeps its processor time honest.
const SPINS: u32 = 10_000;
/// Longest sleep of the server.
const NAP: Duration = Duration::from_secs(1);

/// How the server talks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Multishot receives into provided buffers, sends from them.
    Ring,
    /// One read and one write for each connection that has something.
    Epoll,
}

/// What the echo gave.
#[derive(Clone, Copy, Debug)]
pub struct Echo {
    /// Echoes per second.
    pub rate: f64,
    /// Half of them took less, in microseconds.
    pub p50_us: f64,
    /// The server thread's processor time for each, in microseconds.
    pub server_cpu_us: f64,
}

/// Echoes for `time`, after a tenth of it as warm-up.
///
/// # Errors
/// No io_uring, or no memory for it.
pub fn echo(by: By, connections: usize, pipeline: usize, time: Duration) -> io::Result<Echo> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let server = thread::spawn("echo-server", if_there(SERVER_CPU), move || {
        let bytes = match by {
            By::Ring => serve(&listener, connections)?,
            By::Epoll => epoll::serve(&listener, connections)?,
        };
        io::Result::Ok((of_thread(), bytes / FRAME.len() as u64))
    })?;
    let client = thread::spawn("echo-client", if_there(CLIENT_CPU), move || {
        drive(addr, connections, pipeline, time)
    })?;
    // Without its client the server waits for ever: it is left to the end of the process.
    let (rate, p50_us) = client.join().expect("the client does not panic")?;
    let (cpu, frames) = server.join().expect("the server does not panic")?;
    Ok(Echo {
        rate,
        p50_us,
        server_cpu_us: cpu.as_secs_f64() * 1e6 / frames.max(1) as f64,
    })
}

fn drive(addr: SocketAddr, connections: usize, pipeline: usize, time: Duration) -> io::Result<(f64, f64)> {
    let mut client = Client::connect(&[(addr, connections)], &Greeting::default(), SPIN)?;
    let (stream, live) = (Streams::one(Stream::of(FRAME, FRAMES)), Live::new("echo", true));
    let pace = |time| Pace {
        pipeline,
        rate: None,
        stop: Stop::After(time),
    };
    client.run(&stream, &pace(time / 10), &live)?;
    let outcome = client.run(&stream, &pace(time), &live)?;
    Ok((
        outcome.replies as f64 / outcome.elapsed.as_secs_f64(),
        outcome.latency_ns.value_at_quantile(0.5) as f64 / 1e3,
    ))
}

/// Sends back what comes until every connection was closed. Returns the bytes sent back.
fn serve(listener: &TcpListener, connections: usize) -> io::Result<u64> {
    let mut ring = Ring::new(1024)?;
    let mut buffers = ProvidedBuffers::new(&ring, BUFFERS, BUFFER_BYTES)?;
    let mut streams = Vec::with_capacity(connections);
    for index in 0..connections {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        receive(&mut ring, &stream, index)?;
        streams.push(stream);
    }
    let (mut open, mut bytes, mut finished) = (connections, 0_u64, Vec::new());
    let spins = if connections == 1 { SPINS } else { 0 };
    while open > 0 {
        ring.submit()?;
        for _ in 0..spins {
            if ring.has_completions() || ring.wants_enter() {
                break;
            }
            spin_loop();
        }
        if !ring.has_completions() {
            ring.submit_and_wait(1, NAP)?;
        }
        ring.reap(&mut finished);
        for completion in finished.drain(..) {
            let index = completion.token as usize & ((1 << BUFFER_SHIFT) - 1);
            if completion.token & SEND_BIT != 0 {
                buffers.recycle((completion.token >> BUFFER_SHIFT) as u16);
                continue;
            }
            if let Some(buffer) = cqueue::buffer_select(completion.flags)
                && completion.result > 0
            {
                bytes += completion.result as u64;
                let received = buffers.bytes(buffer, 0, completion.result as u32);
                let fd = types::Fd(streams[index].as_raw_fd());
                let send = opcode::Send::new(fd, received.as_ptr(), completion.result as u32)
                    .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
                    .build();
                let token = SEND_BIT | u64::from(buffer) << BUFFER_SHIFT | index as u64;
                // SAFETY: the buffer is ours until it is recycled, which the send's completion does. Sends of one
                // connection start in order, and none waits: its client takes all it gets.
                unsafe { ring.push(Class::Net, token, send)? };
            } else if completion.result != -libc::ENOBUFS {
                open -= 1;
                continue;
            }
            if !cqueue::more(completion.flags) {
                receive(&mut ring, &streams[index], index)?;
            }
        }
    }
    Ok(bytes)
}

fn receive(ring: &mut Ring, stream: &TcpStream, index: usize) -> io::Result<()> {
    let recv = opcode::RecvMulti::new(types::Fd(stream.as_raw_fd()), BUFFER_GROUP).build();
    // SAFETY: sockets and buffers live until each receive has ended, which is when the loop ends.
    unsafe { ring.push(Class::Net, index as u64, recv) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_comes_back() {
        for by in [By::Ring, By::Epoll] {
            for (connections, pipeline) in [(1, 1), (7, 16)] {
                let echo = echo(by, connections, pipeline, Duration::from_millis(50)).unwrap();
                assert!(
                    echo.rate > 0.0 && echo.p50_us > 0.0 && echo.server_cpu_us > 0.0,
                    "{by:?}: {echo:?}"
                );
            }
        }
    }
}
