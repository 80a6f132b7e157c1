//! Several nodes on this machine that hold the same data: Slotcore's, or etcd's. They are ready when one of them leads.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::thread::sleep;
use std::time::Instant;

use slotcore_rt::thread::CpuId;

use super::{Peer, READY_EVERY, READY_PATIENCE, free_port, pinned, spawn};
use crate::ask::Asker;
use crate::etcd;

/// Ports are looked for below those that the system gives to connections: of these, some that are busy look free.
const PORTS: std::ops::Range<u16> = 12_000..30_000;
/// Ports of a node: for clients, for its core, for the other nodes.
const PORTS_OF_NODE: u16 = 3;
/// Places tried before giving up: nearly every one is free.
const PLACES_TRIED: u32 = 100;

/// Starts `nodes` nodes (> 1) of the program `server` with their data below `dir`, one core and `--durability always` each.
/// The peer's address is a node's port for every key.
///
/// # Errors
/// One did not start, or none takes a write.
pub fn slotcore(server: &Path, nodes: u16, dir: &Path, cpus: &[CpuId]) -> io::Result<Peer> {
    clear(dir);
    let ports = ports(nodes)?;
    let list: Vec<String> = ports
        .iter()
        .map(|(port, peer)| format!("127.0.0.1:{port}@{peer}"))
        .collect();
    let list = list.join(",");
    let mut peer = none();
    for (number, (port, _)) in ports.iter().enumerate() {
        let data = dir.join(number.to_string());
        fs::create_dir_all(&data)?;
        let mut command = pinned(cpus);
        command
            .arg(server)
            .args(["server", "--admin-port", "0", "--log-level", "error", "--cores", "1"])
            .args(["--durability", "always", "--port", &port.to_string()])
            .args(["--initial-cluster", &list, "--dir"])
            .arg(&data);
        peer.children.push(spawn(&mut command)?);
    }
    for (port, _) in &ports {
        peer.wait_until_ready(local(*port), &format!("the node at port {port} of Slotcore"))?;
    }
    peer.addr = local(ports[0].0);
    let began = Instant::now();
    // A write waits for a leader; without one it is refused in the end.
    while Asker::connect(peer.addr)?.demand(&["SET", "who leads", "x"]).is_err() {
        refuse_to_wait(&mut peer, began, "Slotcore")?;
    }
    Ok(peer)
}

/// Starts `nodes` nodes (> 0) of the program of etcd with their data below `dir`. The peer's address is the leader's for
/// clients.
///
/// # Errors
/// One did not start, or none leads.
pub fn etcd(program: &str, nodes: u16, dir: &Path, cpus: &[CpuId]) -> io::Result<Peer> {
    clear(dir);
    fs::create_dir_all(dir)?;
    let ports = ports(nodes)?;
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let list: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(number, (_, peer))| format!("n{number}={}", url(*peer)))
        .collect();
    let list = list.join(",");
    let mut peer = none();
    for (number, &(port, peer_port)) in ports.iter().enumerate() {
        // It makes its directory itself, and warns of one that others may read.
        let data = dir.join(number.to_string());
        let (for_clients, for_peers) = (url(port), url(peer_port));
        let mut command = pinned(cpus);
        command
            .args([program, "--name", &format!("n{number}"), "--data-dir"])
            .arg(&data)
            .args(["--logger", "zap", "--log-level", "error"])
            .args([
                "--listen-client-urls",
                &for_clients,
                "--advertise-client-urls",
                &for_clients,
            ])
            .args([
                "--listen-peer-urls",
                &for_peers,
                "--initial-advertise-peer-urls",
                &for_peers,
            ])
            .args(["--initial-cluster", &list, "--initial-cluster-state", "new"]);
        peer.children.push(spawn(&mut command)?);
    }
    let began = Instant::now();
    loop {
        for (port, _) in &ports {
            let addr = local(*port);
            if etcd::status(addr).is_ok_and(|status| status.leader != 0 && status.leader == status.member) {
                peer.addr = addr;
                return Ok(peer);
            }
        }
        refuse_to_wait(&mut peer, began, program)?;
        sleep(READY_EVERY);
    }
}

fn none() -> Peer {
    Peer {
        children: Vec::new(),
        addr: local(0),
    }
}

/// For each node a port for clients, behind which one is free for a core, and one for the other nodes.
fn ports(nodes: u16) -> io::Result<Vec<(u16, u16)>> {
    // Held until all are found, so that no two nodes get the same.
    let (mut held, mut found) = (Vec::new(), Vec::new());
    for _ in 0..PLACES_TRIED {
        if found.len() == usize::from(nodes) {
            break;
        }
        // A port the system chose is as good as drawn.
        let at = PORTS.start + free_port()? % (PORTS.end - PORTS.start);
        let bound: io::Result<Vec<TcpListener>> = (at..at + PORTS_OF_NODE)
            .map(|port| TcpListener::bind(local(port)))
            .collect();
        if let Ok(bound) = bound {
            held.push(bound);
            found.push((at, at + PORTS_OF_NODE - 1));
        }
    }
    match found.len() == usize::from(nodes) {
        true => Ok(found),
        false => Err(io::Error::other("there are no free ports for nodes")),
    }
}

/// Forgets what an earlier try has left: a directory belongs to one cluster.
fn clear(dir: &Path) {
    // It may not be there.
    let _ = fs::remove_dir_all(dir);
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// An error when a node has ended or has had its time.
fn refuse_to_wait(peer: &mut Peer, began: Instant, name: &str) -> io::Result<()> {
    if peer.has_lost_one() || began.elapsed() > READY_PATIENCE {
        return Err(io::Error::other(format!("the nodes of {name} did not find a leader")));
    }
    Ok(())
}
