//! The server of the echo, by epoll.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Bytes read at once.
const BUFFER_BYTES: usize = 16 * 1024;
/// Events taken at once.
const EVENTS: usize = 1024;

/// Sends back what comes until every connection was closed. Returns the bytes sent back.
pub fn serve(listener: &TcpListener, connections: usize) -> io::Result<u64> {
    // SAFETY: no pointers.
    let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: a descriptor just made, owned by nobody else.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    let mut streams = Vec::with_capacity(connections);
    for index in 0..connections {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: index as u64,
        };
        // SAFETY: both descriptors are open, and `event` is only read.
        check(unsafe {
            libc::epoll_ctl(
                epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                stream.as_raw_fd(),
                &raw mut event,
            )
        })?;
        streams.push(stream);
    }
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    let (mut open, mut bytes, mut buffer) = (connections, 0, vec![0; BUFFER_BYTES]);
    while open > 0 {
        // SAFETY: there is room for as many events as are asked for.
        let found = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), EVENTS as i32, -1) };
        let found = match check(found) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            found => found?,
        };
        for event in &events[..found as usize] {
            let stream = &mut streams[event.u64 as usize];
            match echo_once(stream, &mut buffer)? {
                0 => {
                    // SAFETY: both descriptors are open; nothing is read but them.
                    let gone = unsafe {
                        libc::epoll_ctl(
                            epoll.as_raw_fd(),
                            libc::EPOLL_CTL_DEL,
                            stream.as_raw_fd(),
                            std::ptr::null_mut(),
                        )
                    };
                    check(gone)?;
                    open -= 1;
                }
                sent => bytes += sent as u64,
            }
        }
    }
    Ok(bytes)
}

/// Returns how many bytes there were; 0 at the end.
fn echo_once(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let n = match stream.read(buffer) {
        Ok(n) => n,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
        Err(error) => return Err(error),
    };
    // Its client takes all it gets, so this never waits.
    stream.write_all(&buffer[..n])?;
    Ok(n)
}

fn check(result: i32) -> io::Result<i32> {
    match result {
        0.. => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
