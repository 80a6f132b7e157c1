//! The sockets of a process: bound before anything else is opened, so that a taken port is told at once, and so that every
//! core knows where the others are reached.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use slotcore_netio::bind;
use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::ids::CoreId;
use slotcore_rt::thread;

use crate::cluster_map::{ClusterMap, CoreNode, node_id};
use crate::config::Config;
use crate::core_thread::ListenAt;
use crate::startup::StartupError;

/// How long a taken port is tried again: the kernel ends the rings of a killed process, and with them its sockets, some
/// milliseconds after the process.
const PORT_PATIENCE: Duration = Duration::from_millis(500);
const TRY_PORT_EVERY: Duration = Duration::from_millis(10);

/// Binds the any-slot port and a port for each core on every address of `config`. Returns the map, and for each core where
/// it listens: its own port, and core 0 for everybody at the any-slot port.
///
/// # Errors
/// A port is taken, or an address is not this machine's.
pub fn bind_all(
    config: &Config,
    cores: u16,
    data_dir_id: u128,
) -> Result<(ClusterMap, Vec<Vec<ListenAt>>), StartupError> {
    let mut listeners: Vec<Vec<ListenAt>> = (0..cores).map(|_| Vec::new()).collect();
    let any_slot_port = bind_port(config, "port", config.port, cores > 1, &mut listeners[0])?;
    let mut nodes = Vec::new();
    for core in 0..cores {
        let wanted = config.core_port(core).ok_or(StartupError::PortsBeyondRange { cores })?;
        nodes.push(CoreNode {
            id: node_id(data_dir_id, CoreId(core)),
            port: bind_port(
                config,
                "core-port-base",
                wanted,
                false,
                &mut listeners[usize::from(core)],
            )?,
        });
    }
    let map = ClusterMap {
        host: config.announced_host(),
        any_slot_port,
        nodes,
    };
    Ok((map, listeners))
}

/// For each core the socket where other nodes' cores dial it, at `first` and the ports behind it.
///
/// # Errors
/// A port is taken.
pub fn bind_for_peers(config: &Config, cores: u16, first: u16) -> Result<Vec<OwnedFd>, StartupError> {
    let ip = config.bind.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let sockets = (0..cores).map(|core| {
        let port = first.checked_add(core);
        let wanted = SocketAddr::new(ip, port.ok_or(StartupError::PortsBeyondRange { cores })?);
        let bound = bind_patiently(wanted).map_err(|error| StartupError::from_listen("peer-port", wanted, error));
        bound.map(|(fd, _)| fd)
    });
    sockets.collect()
}

/// Binds an address, waiting a little for whoever has just left it.
fn bind_patiently(wanted: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let until = SystemClock.tick() + PORT_PATIENCE;
    loop {
        match bind(wanted) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && SystemClock.tick() < until => {
                thread::hold(TRY_PORT_EVERY);
            }
            bound => return bound,
        }
    }
}

/// Binds one port on all addresses; 0 becomes the same free port on all of them.
fn bind_port(
    config: &Config,
    option: &'static str,
    mut port: u16,
    spread: bool,
    listeners: &mut Vec<ListenAt>,
) -> Result<u16, StartupError> {
    for ip in &config.bind {
        let wanted = SocketAddr::new(*ip, port);
        let (fd, address) = bind_patiently(wanted).map_err(|error| StartupError::from_listen(option, wanted, error))?;
        port = address.port();
        listeners.push(ListenAt { fd, address, spread });
    }
    Ok(port)
}
