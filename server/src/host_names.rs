//! Where the hosts of other nodes are.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::thread;

use crate::logging::Event;
use crate::startup::StartupError;

/// How long the name of a node may be unknown at start, and how often it is looked up.
const PATIENCE: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(500);

/// An address, or the first one that a name stands for now.
///
/// # Errors
/// What the system says.
pub fn look_up(host: &str) -> io::Result<IpAddr> {
    let mut addresses = (host, 0).to_socket_addrs()?;
    let first = addresses.next().ok_or(io::ErrorKind::NotFound)?;
    Ok(first.ip())
}

/// The same; a name is looked up until it is known: those of containers are when these have started.
///
/// # Errors
/// It is not known after a minute.
pub fn find(host: &str) -> Result<IpAddr, StartupError> {
    let until = SystemClock.tick() + PATIENCE;
    let mut told = false;
    loop {
        let error = match look_up(host) {
            Ok(address) => return Ok(address),
            Err(error) => error,
        };
        if SystemClock.tick() >= until {
            let host = host.to_owned();
            return Err(StartupError::UnknownHost { host, error });
        }
        if !std::mem::replace(&mut told, true) {
            Event::Warning(&format!("waiting for the name service to know node {host}: {error}")).log();
        }
        thread::hold(ASK_EVERY);
    }
}
