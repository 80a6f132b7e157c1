//! The few socket calls that are not ring operations.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Connections the kernel completes before we accept them: Redis's default `tcp-backlog`, doubled.
const BACKLOG: i32 = 1024;

fn check(rc: i32) -> io::Result<i32> {
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc)
    }
}

fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: points to an `int` and says so.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<i32>() as u32) }).map(drop)
}

/// A TCP socket bound to `addr` (port 0: any free one), and the address it got. It refuses connections until it listens.
///
/// # Errors
/// `EADDRINUSE` when somebody listens there, and what the system says of the address.
pub fn bind(addr: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let family = if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: creates a descriptor, touches no memory; it is owned right away.
    let fd = unsafe { OwnedFd::from_raw_fd(check(libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))?) };
    set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if addr.is_ipv6() {
        set_option(fd.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    let (storage, len) = to_storage(addr);
    // SAFETY: `storage` holds an address of `len` bytes.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const storage).cast(), len) })?;
    let bound = local_addr(fd.as_raw_fd())?;
    Ok((fd, bound))
}

/// A TCP socket that is connected to nobody yet, for an address like `addr`.
pub(crate) fn stream(addr: SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: creates a descriptor, touches no memory; it is owned right away.
    Ok(unsafe { OwnedFd::from_raw_fd(check(libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))?) })
}

/// Makes a bound socket accept connections.
pub(crate) fn listen(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: plain call on an owned descriptor.
    check(unsafe { libc::listen(fd.as_raw_fd(), BACKLOG) }).map(drop)
}

/// Small packets leave at once; a dead peer is noticed.
pub(crate) fn tune(fd: RawFd, keepalive_s: u32) {
    // A socket that refuses an option works without it.
    let _ = set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
    if keepalive_s > 0 {
        let s = i32::try_from(keepalive_s).unwrap_or(i32::MAX);
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
        let _ = set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, s);
        let _ = set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, (s / 3).max(1));
        let _ = set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3);
    }
}

/// The connection ends when what was sent has not been acknowledged for so long, or the other side has had no room for it.
pub(crate) fn give_up_after(fd: RawFd, unacknowledged: Duration) {
    let ms = i32::try_from(unacknowledged.as_millis()).unwrap_or(i32::MAX);
    // A socket that refuses the option works without it.
    let _ = set_option(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, ms);
}

/// Ends both directions: operations pending on the socket complete.
pub(crate) fn shutdown(fd: RawFd) {
    // SAFETY: touches no memory.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Tells the peer that nothing more will be sent; receiving goes on.
pub(crate) fn shutdown_sending(fd: RawFd) {
    // SAFETY: touches no memory.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// Sends a last word to a connection that is about to be closed, if the kernel takes it at once.
pub(crate) fn send_once(fd: RawFd, bytes: &[u8]) {
    // SAFETY: the slice is readable for its length.
    unsafe {
        libc::send(
            fd,
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
        )
    };
}

/// The address a socket is bound to.
pub(crate) fn local_addr(fd: RawFd) -> io::Result<SocketAddr> {
    address(fd, libc::getsockname)
}

/// The address a socket is connected to.
pub(crate) fn peer_addr(fd: RawFd) -> io::Result<SocketAddr> {
    address(fd, libc::getpeername)
}

type AddressCall = unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut u32) -> i32;

fn address(fd: RawFd, call: AddressCall) -> io::Result<SocketAddr> {
    // SAFETY: all zeroes is a valid (unspecified) address.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let mut len = size_of::<libc::sockaddr_storage>() as u32;
    // SAFETY: `storage` is large enough for any address, and `len` says how large.
    check(unsafe { call(fd, (&raw mut storage).cast(), &mut len) })?;
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which structure lies here.
            let a = unsafe { *(&raw const storage).cast::<libc::sockaddr_in>() };
            Ok(SocketAddrV4::new(
                Ipv4Addr::from(u32::from_be(a.sin_addr.s_addr)),
                u16::from_be(a.sin_port),
            )
            .into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says which structure lies here.
            let a = unsafe { *(&raw const storage).cast::<libc::sockaddr_in6>() };
            Ok(SocketAddrV6::new(Ipv6Addr::from(a.sin6_addr.s6_addr), u16::from_be(a.sin6_port), 0, 0).into())
        }
        _ => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
    }
}

pub(crate) fn to_storage(addr: SocketAddr) -> (libc::sockaddr_storage, u32) {
    // SAFETY: all zeroes is a valid (unspecified) address.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    match addr {
        SocketAddr::V4(a) => {
            // SAFETY: the storage is larger than, and aligned for, an IPv4 address.
            let out = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
            out.sin_family = libc::AF_INET as u16;
            out.sin_port = a.port().to_be();
            out.sin_addr.s_addr = u32::from(*a.ip()).to_be();
            (storage, size_of::<libc::sockaddr_in>() as u32)
        }
        SocketAddr::V6(a) => {
            // SAFETY: the storage is larger than, and aligned for, an IPv6 address.
            let out = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in6>() };
            out.sin6_family = libc::AF_INET6 as u16;
            out.sin6_port = a.port().to_be();
            out.sin6_addr.s6_addr = a.ip().octets();
            (storage, size_of::<libc::sockaddr_in6>() as u32)
        }
    }
}
