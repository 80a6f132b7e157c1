//! [`Peer`]: a server to be measured: processes of ours on processors of their own, or one that somebody else runs.

mod nodes;
mod redis_cluster;
mod redis_replicas;

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use slotcore_rt::thread::{CpuId, allowed_cpus};

use crate::ask::{Asker, text};

/// The processor of servers that have one; clients use [`CLIENT_CPU`].
pub const SERVER_CPU: CpuId = CpuId(0);
/// See [`SERVER_CPU`].
pub const CLIENT_CPU: CpuId = CpuId(1);
/// The processor `cpu`, where this process may use it.
pub fn if_there(cpu: CpuId) -> Option<CpuId> {
    allowed_cpus().is_ok_and(|cpus| cpus.contains(&cpu)).then_some(cpu)
}

/// Ports tried for a server.
const START_TRIES: u32 = 5;
/// How long a server may take to answer after it was started.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// Time between two questions whether it answers already.
const READY_EVERY: Duration = Duration::from_millis(2);

/// Kinds of server and how they promise durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Ours, in this mode, with so many cores.
    Slotcore {
        /// `--durability`.
        durability: &'static str,
        /// `--cores`.
        cores: u16,
        /// `--memory`, where it is not the default.
        memory: Option<&'a str>,
    },
    /// Redis or Valkey.
    Redis {
        /// The program.
        program: &'a str,
        /// With an append-only file synced at each write; otherwise with none.
        always: bool,
        /// `--io-threads`.
        io_threads: u16,
    },
    /// A cluster of so many of them on this machine, without append-only files.
    RedisCluster {
        /// The program.
        program: &'a str,
        /// Masters, no replicas.
        nodes: u16,
    },
    /// One of them with so many replicas, all with append-only files synced at each write; who writes waits for one of them (`WAIT`).
    RedisReplicas {
        /// The program.
        program: &'a str,
        /// Replicas.
        replicas: u16,
    },
    /// So many nodes of ours with one core each, which all hold everything, `--durability always`.
    SlotcoreNodes(u16),
    /// So many nodes of etcd, which all hold everything.
    Etcd {
        /// The program.
        program: &'a str,
        /// Nodes.
        nodes: u16,
    },
    /// A server that runs already: neither its processor time nor its memory is known.
    Running {
        /// What it is called in tables.
        name: &'a str,
        /// Where it listens.
        addr: SocketAddr,
    },
}

impl Kind<'_> {
    /// True when a write is on disk before it is answered, as far as we decide it.
    pub fn is_durable(self) -> bool {
        matches!(
            self,
            Kind::Slotcore {
                durability: "always",
                ..
            } | Kind::Redis { always: true, .. }
                | Kind::RedisReplicas { .. }
                | Kind::SlotcoreNodes(_)
                | Kind::Etcd { .. }
        )
    }

    /// True for ours.
    pub fn is_slotcore(self) -> bool {
        matches!(self, Kind::Slotcore { .. } | Kind::SlotcoreNodes(_))
    }

    /// True when it speaks RESP.
    pub fn speaks_resp(self) -> bool {
        !matches!(self, Kind::Etcd { .. })
    }

    /// Commands that a client sends for a write, if one of them waits until a replica has it.
    pub fn commands_a_write(self) -> u32 {
        1 + u32::from(matches!(self, Kind::RedisReplicas { .. }))
    }

    /// True when its data is there after a restart.
    pub fn keeps_data(self) -> bool {
        matches!(self, Kind::Slotcore { .. } | Kind::Redis { always: true, .. })
    }
}

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Slotcore {
                durability, cores: 1, ..
            } => write!(f, "Slotcore {durability}"),
            Kind::Slotcore { durability, cores, .. } => write!(f, "Slotcore {durability}, {cores} cores"),
            Kind::Redis {
                program,
                always,
                io_threads,
            } => {
                write!(f, "{program}")?;
                if *always {
                    write!(f, " always")?;
                }
                if *io_threads > 1 {
                    write!(f, ", {io_threads} I/O threads")?;
                }
                Ok(())
            }
            Kind::RedisCluster { program, nodes } => write!(f, "{nodes} {program}, cluster"),
            Kind::RedisReplicas { program, replicas } => write!(f, "{program} always, {replicas} replicas, WAIT 1"),
            Kind::SlotcoreNodes(nodes) => write!(f, "Slotcore always, {nodes} nodes"),
            Kind::Etcd { program, nodes: 1 } => write!(f, "{program}"),
            Kind::Etcd { program, nodes } => write!(f, "{program}, {nodes} nodes"),
            Kind::Running { name, .. } => write!(f, "{name}"),
        }
    }
}

/// A running server; ended when dropped, if it was started here.
pub struct Peer {
    children: Vec<Child>,
    /// Where it listens; the first node of a cluster.
    pub addr: SocketAddr,
}

/// A port nobody listens on. Free a moment ago: nothing else on this machine takes ports in between.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Peer {
    /// Starts a server on a free port with its data in `dir`, on the processors `cpus`, and waits until it answers.
    /// `server` is our own program.
    ///
    /// # Errors
    /// The program is missing, or did not start on any of several ports: it says why on standard error.
    pub fn start(kind: Kind<'_>, server: &Path, dir: &Path, cpus: &[CpuId]) -> io::Result<Peer> {
        if let Kind::Running { addr, .. } = kind {
            Asker::connect(addr)?.ask(&["PING"])?;
            let children = Vec::new();
            return Ok(Peer { children, addr });
        }
        if kind.is_slotcore() && !server.exists() {
            let what = format!(
                "{} is not there: cargo build --release -p slotcore-server, or name it by --server",
                server.display()
            );
            return Err(io::Error::new(io::ErrorKind::NotFound, what));
        }
        let mut started = Self::try_start(kind, server, dir, cpus);
        // A server may listen on ports beside the one it is given, and any of them may be taken.
        for _ in 1..START_TRIES {
            if started.is_ok() {
                break;
            }
            started = Self::try_start(kind, server, dir, cpus);
        }
        started
    }

    fn try_start(kind: Kind<'_>, server: &Path, dir: &Path, cpus: &[CpuId]) -> io::Result<Peer> {
        match kind {
            Kind::RedisCluster { program, nodes } => return redis_cluster::start(program, nodes, dir, cpus),
            Kind::RedisReplicas { program, replicas } => return redis_replicas::start(program, replicas, dir, cpus),
            Kind::SlotcoreNodes(nodes) => return nodes::slotcore(server, nodes, dir, cpus),
            Kind::Etcd { program, nodes } => return nodes::etcd(program, nodes, dir, cpus),
            Kind::Slotcore { .. } | Kind::Redis { .. } | Kind::Running { .. } => {}
        }
        let port = free_port()?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        fs::create_dir_all(dir)?;
        let mut command = pinned(cpus);
        match kind {
            Kind::Slotcore {
                durability,
                cores,
                memory,
            } => {
                command
                    .arg(server)
                    .args(["server", "--admin-port", "0", "--core-port-base", "0"])
                    .args(["--cores", &cores.to_string(), "--log-level", "error"]);
                command
                    .args(["--durability", durability, "--port", &port.to_string(), "--dir"])
                    .arg(dir);
                command.args(memory.iter().flat_map(|memory| ["--memory", memory]));
            }
            Kind::Redis {
                program,
                always,
                io_threads,
            } => {
                command
                    .args([program, "--save", "", "--port", &port.to_string(), "--dir"])
                    .arg(dir);
                command.args(["--appendonly", if always { "yes" } else { "no" }]);
                command.args(["--appendfsync", "always", "--io-threads", &io_threads.to_string()]);
            }
            Kind::RedisCluster { .. }
            | Kind::RedisReplicas { .. }
            | Kind::SlotcoreNodes(_)
            | Kind::Etcd { .. }
            | Kind::Running { .. } => {
                unreachable!("several are started above, and nothing is for a server that runs")
            }
        }
        let mut peer = Peer {
            children: vec![spawn(&mut command)?],
            addr,
        };
        peer.wait_until_ready(addr, &kind)?;
        Ok(peer)
    }

    /// Waits until the server at `addr` answers.
    fn wait_until_ready(&mut self, addr: SocketAddr, kind: &dyn fmt::Display) -> io::Result<()> {
        let began = Instant::now();
        while !answers(addr) {
            if self.has_lost_one() || began.elapsed() > READY_PATIENCE {
                return Err(io::Error::other(format!("{kind} did not start")));
            }
            sleep(READY_EVERY);
        }
        Ok(())
    }

    /// True when one of its processes has ended.
    fn has_lost_one(&mut self) -> bool {
        self.children
            .iter_mut()
            .any(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Sends a command and returns its reply as text, an error reply with a `-` before it.
    pub fn ask(&self, words: &[&str]) -> io::Result<String> {
        match Asker::connect(self.addr)?.ask(words)? {
            redis_protocol::resp2::types::OwnedFrame::Error(error) => Ok(format!("-{error}")),
            reply => Ok(text(&reply)),
        }
    }

    /// True when processor time and memory can be read: it was started here.
    pub fn is_ours(&self) -> bool {
        !self.children.is_empty()
    }

    /// Number of its (first) process.
    ///
    /// # Panics
    /// It was not started here.
    pub fn pid(&self) -> u32 {
        self.children.first().expect("a server that was started here").id()
    }

    /// Microseconds of processor time its threads have used so far, user and system.
    pub fn cpu_us(&self) -> io::Result<f64> {
        let mut nanoseconds = 0;
        for child in &self.children {
            for task in fs::read_dir(format!("/proc/{}/task", child.id()))? {
                // Exact to the nanosecond, where `stat` counts hundredths of a second.
                let text = fs::read_to_string(task?.path().join("schedstat"))?;
                let on_cpu = text
                    .split_whitespace()
                    .next()
                    .and_then(|field| field.parse::<u64>().ok());
                nanoseconds += on_cpu.ok_or_else(|| io::Error::other("/proc has no processor times of threads"))?;
            }
        }
        Ok(nanoseconds as f64 / 1e3)
    }

    /// Bytes of memory resident.
    pub fn rss_bytes(&self) -> io::Result<u64> {
        let field = |text: String| text.split_whitespace().nth(1)?.parse::<u64>().ok();
        let rss = |child: &Child| Ok(field(fs::read_to_string(format!("/proc/{}/statm", child.id()))?).unwrap_or(0));
        let pages: io::Result<Vec<u64>> = self.children.iter().map(rss).collect();
        Ok(pages?.iter().sum::<u64>() * 4096)
    }

    /// Bytes it has sent to disks so far.
    pub fn written_bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for child in &self.children {
            let io = fs::read_to_string(format!("/proc/{}/io", child.id()))?;
            let field = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
            bytes += field.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(bytes)
    }

    /// Ends it without a chance to do anything.
    pub fn kill(mut self) -> io::Result<()> {
        for child in &mut self.children {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks it to end and waits.
    pub fn stop(mut self) -> io::Result<()> {
        for child in &mut self.children {
            Command::new("kill").arg(child.id().to_string()).status()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Already ended in the ordinary case.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Says which program it is that cannot be started.
pub fn named(program: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot run {program}: {error}"))
}

/// The beginning of a command line whose program runs on `cpus`.
fn pinned(cpus: &[CpuId]) -> Command {
    let list: Vec<String> = cpus.iter().map(|cpu| cpu.0.to_string()).collect();
    let mut command = Command::new("taskset");
    command.args(["-c", &list.join(",")]);
    command
}

fn spawn(command: &mut Command) -> io::Result<Child> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    child.map_err(|error| named(&command.get_program().to_string_lossy(), &error))
}

fn answers(addr: SocketAddr) -> bool {
    Asker::connect(addr)
        .and_then(|mut asker| asker.ask(&["PING"]))
        .is_ok_and(|reply| text(&reply) == "PONG")
}
