//! Several redis-server on this machine that form a cluster, without replicas and without append-only files.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::sleep;
use std::time::Instant;

use slotcore_engine::ord::SLOTS;
use slotcore_rt::thread::CpuId;

use super::{Peer, READY_EVERY, READY_PATIENCE, free_port, pinned, spawn};
use crate::ask::{Asker, text};

/// Starts `nodes` servers (> 0) with their data below `dir` and waits until each of them knows all slots.
///
/// # Errors
/// One did not start, or they did not find each other.
pub fn start(program: &str, nodes: u16, dir: &Path, cpus: &[CpuId]) -> io::Result<Peer> {
    let mut peer = Peer {
        children: Vec::new(),
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    };
    let mut buses = Vec::new();
    let mut askers = Vec::new();
    for node in 0..nodes {
        let (port, bus) = (free_port()?, free_port()?);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let data = dir.join(node.to_string());
        fs::create_dir_all(&data)?;
        let mut command = pinned(cpus);
        command
            .args([program, "--save", "", "--appendonly", "no", "--port", &port.to_string()])
            .args(["--cluster-enabled", "yes", "--cluster-port", &bus.to_string(), "--dir"])
            .arg(&data);
        peer.children.push(spawn(&mut command)?);
        peer.wait_until_ready(addr, &format!("node {node} of {program}"))?;
        buses.push((port, bus));
        askers.push(Asker::connect(addr)?);
        if node == 0 {
            peer.addr = addr;
        }
    }
    let (first, first_bus) = buses[0];
    for (node, asker) in (0..nodes).zip(&mut askers) {
        let border = |node: u16| (u32::from(node) * u32::from(SLOTS) / u32::from(nodes)) as u16;
        let (from, to) = (border(node).to_string(), (border(node + 1) - 1).to_string());
        asker.demand(&["CLUSTER", "ADDSLOTSRANGE", &from, &to])?;
        // Nodes of equal epochs would settle it among themselves, for a second or more.
        asker.demand(&["CLUSTER", "SET-CONFIG-EPOCH", &(node + 1).to_string()])?;
        if node > 0 {
            let (port, bus) = (first.to_string(), first_bus.to_string());
            asker.demand(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
    }
    let began = Instant::now();
    for asker in &mut askers {
        while !knows_all(asker, nodes)? {
            if began.elapsed() > READY_PATIENCE {
                return Err(io::Error::other("the nodes of the cluster did not find each other"));
            }
            sleep(READY_EVERY);
        }
    }
    Ok(peer)
}

fn knows_all(asker: &mut Asker, nodes: u16) -> io::Result<bool> {
    let info = text(&asker.demand(&["CLUSTER", "INFO"])?);
    let has = |line: &str| info.lines().any(|found| found == line);
    Ok(has("cluster_state:ok") && has(&format!("cluster_size:{nodes}")))
}
