//! A redis-server with replicas on this machine, all with append-only files that are synced at each write.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::sleep;
use std::time::Instant;

use slotcore_rt::thread::CpuId;

use super::{Peer, READY_EVERY, READY_PATIENCE, free_port, pinned, spawn};
use crate::ask::{Asker, text};

/// Starts a master and `replicas` replicas (> 0) with their data below `dir` and waits until all are in step. The peer's address is the
/// master's.
///
/// # Errors
/// One did not start, or did not find the master.
pub fn start(program: &str, replicas: u16, dir: &Path, cpus: &[CpuId]) -> io::Result<Peer> {
    let mut peer = Peer {
        children: Vec::new(),
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    };
    for number in 0..=replicas {
        let port = free_port()?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let data = dir.join(number.to_string());
        fs::create_dir_all(&data)?;
        let mut command = pinned(cpus);
        command
            .args([program, "--save", "", "--port", &port.to_string()])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args([
                "--repl-diskless-sync",
                "yes",
                "--repl-diskless-sync-delay",
                "0",
                "--dir",
            ])
            .arg(&data);
        match number {
            0 => peer.addr = addr,
            _ => _ = command.args(["--replicaof", "127.0.0.1", &peer.addr.port().to_string()]),
        }
        peer.children.push(spawn(&mut command)?);
        peer.wait_until_ready(addr, &format!("server {number} of {program}"))?;
    }
    let began = Instant::now();
    let mut asker = Asker::connect(peer.addr)?;
    loop {
        let info = text(&asker.demand(&["INFO", "replication"])?);
        if info.matches("state=online").count() == usize::from(replicas) {
            return Ok(peer);
        }
        if peer.has_lost_one() || began.elapsed() > READY_PATIENCE {
            return Err(io::Error::other(format!("the replicas of {program} did not find it")));
        }
        sleep(READY_EVERY);
    }
}
