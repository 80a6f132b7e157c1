//! A small HTTP listener for operators, on the loopback address and on a thread of its own: it shares nothing with the
//! ring and the cores, so that it answers even when a core is busy, and a slow scraper disturbs nobody.
//!
//! One connection is served at a time and closed after its reply; what a client may send and how long it may take are
//! bounded.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes a request's head may have: a scraper sends a few hundred.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// How long one connection may take to send its request, and to take its reply: one slow client must not shut out others
/// for long.
pub const CLIENT_PATIENCE: Duration = Duration::from_secs(2);

/// A running listener; [`AdminSocket::stop`] ends it.
#[derive(Debug)]
pub struct AdminSocket {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Listens on 127.0.0.1 at `port` (0 = any free one) and answers each request's head, up to and including its empty line,
/// with the bytes that `answer` returns. `answer` runs on the listener's thread.
///
/// # Errors
/// As the system says, above all `EADDRINUSE`.
pub fn serve(port: u16, mut answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> io::Result<AdminSocket> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let address = listener.local_addr()?;
    let stopping = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stopping);
    let thread = crate::thread::spawn("admin-http", None, move || {
        while !told.load(Ordering::Acquire) {
            // A failed accept concerns that client alone (it went away, or descriptors are short): go on.
            match listener.accept() {
                Ok((stream, _)) if !told.load(Ordering::Acquire) => {
                    // A client that breaks off hears nothing more; there is nobody to tell.
                    let _ = converse(stream, &mut answer);
                }
                Ok(_) => {}
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    })?;
    Ok(AdminSocket {
        address,
        stopping,
        thread,
    })
}

impl AdminSocket {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the listener and waits for its thread.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        // Wakes the thread out of `accept`; when even that fails it ends with the process.
        if TcpStream::connect(self.address).is_ok() {
            // The thread has no reason to panic except a bug in `answer`, which was reported when it happened.
            let _ = self.thread.join();
        }
    }
}

fn converse(mut stream: TcpStream, answer: &mut dyn FnMut(&[u8]) -> Vec<u8>) -> io::Result<()> {
    let deadline = Instant::now() + CLIENT_PATIENCE;
    stream.set_write_timeout(Some(CLIENT_PATIENCE))?;
    let mut head = Vec::with_capacity(1024);
    let mut chunk = [0u8; 1024];
    while !ends_head(&head) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            n => head.extend_from_slice(&chunk[..n]),
        }
    }
    stream.write_all(&answer(&head))?;
    stream.shutdown(std::net::Shutdown::Write)
}

fn ends_head(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|window| window == b"\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        reply
    }

    #[test]
    fn each_request_gets_its_reply_and_the_listener_ends_when_told() {
        let socket = serve(0, |head| head.to_ascii_uppercase()).unwrap();
        let address = socket.address();
        assert!(address.ip().is_loopback());
        assert_eq!(ask(address, b"get /a\r\n\r\n"), b"GET /A\r\n\r\n");
        drop(TcpStream::connect(address).unwrap());
        assert_eq!(ask(address, b"get /b\r\n\r\n"), b"GET /B\r\n\r\n");
        socket.stop();
        assert!(TcpListener::bind(address).is_ok());
    }

    #[test]
    fn a_request_without_end_is_dropped() {
        let socket = serve(0, |_| b"never".to_vec()).unwrap();
        let mut stream = TcpStream::connect(socket.address()).unwrap();
        // The listener may close while we still write: both a short write and an empty or reset reply are right.
        let _ = stream.write_all(&vec![b'x'; 2 * HEAD_BYTES_MAX]);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        assert_eq!(reply, b"");
        socket.stop();
    }
}
