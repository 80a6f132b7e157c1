//! The sockets of a process: bound before anything else is opened, so that a taken port is told at once, and so that every
//! core knows where the others are reached.

use std::net::SocketAddr;

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
