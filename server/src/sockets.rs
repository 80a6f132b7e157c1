//! The sockets of a process: bound before anything else is opened, so that a taken port is told at once, and so that every
//! core knows where the others are reached.

use std::net::{IpAddr, SocketAddr};

use slotcore_netio::bind;
use slotcore_rt::ids::CoreId;

use crate::cluster_map::{ClusterMap, CoreNode, node_id};
use crate::config::Config;
use crate::core_thread::ListenAt;
use crate::startup::StartupError;

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
        let wanted = match config.port {
            0 => 0,
            port => core_port(port, core)?,
        };
        nodes.push(CoreNode {
            id: node_id(data_dir_id, CoreId(core)),
            port: bind_port(config, "port", wanted, false, &mut listeners[usize::from(core)])?,
        });
    }
    let map = ClusterMap {
        host: announced_host(&config.bind),
        any_slot_port,
        nodes,
    };
    Ok((map, listeners))
}

/// Core ports follow the any-slot port in one block.
fn core_port(port: u16, core: u16) -> Result<u16, StartupError> {
    port.checked_add(1)
        .and_then(|first| first.checked_add(core))
        .ok_or(StartupError::PortsBeyondRange { port })
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
        let (fd, address) = bind(wanted).map_err(|error| StartupError::from_listen(option, wanted, error))?;
        port = address.port();
        listeners.push(ListenAt { fd, address, spread });
    }
    Ok(port)
}

/// What clients are told to connect to: never an address that means "any".
fn announced_host(bind: &[IpAddr]) -> String {
    match bind.first() {
        Some(ip) if !ip.is_unspecified() => ip.to_string(),
        _ => "127.0.0.1".to_string(),
    }
}
