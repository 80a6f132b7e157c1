//! [`Peer`]: a server process of ours, pinned to processor 0, with its processor time and memory.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use slotcore_rt::thread::{CpuId, allowed_cpus};

/// The processor of servers; clients use [`CLIENT_CPU`].
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

/// A running server; ended when dropped.
pub struct Peer {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

/// Kinds of server and how they promise durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Ours, in this mode, with so many cores.
    Slotcore {
        /// `--durability`.
        durability: &'static str,
        /// `--cores`.
        cores: u16,
    },
    /// Redis or Valkey, with an append-only file synced at each write, or with none.
    Redis {
        /// The program.
        program: &'a str,
        /// `appendfsync always`.
        always: bool,
    },
}

impl Kind<'_> {
    /// True when a write is on disk before it is answered.
    pub fn is_durable(self) -> bool {
        matches!(
            self,
            Kind::Slotcore {
                durability: "always",
                ..
            } | Kind::Redis { always: true, .. }
        )
    }
}

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Slotcore { durability, .. } => write!(f, "Slotcore, {durability}"),
            Kind::Redis { program, always: true } => write!(f, "{program}, appendfsync always"),
            Kind::Redis { program, always: false } => write!(f, "{program}, no log"),
        }
    }
}

impl Peer {
    /// Starts a server on a free port with its data in `dir`, and waits until it answers.
    ///
    /// # Errors
    /// The program is missing, or did not start on any of several ports: it says why on standard error.
    pub fn start(kind: Kind<'_>, server: &Path, dir: &Path) -> io::Result<Peer> {
        let mut started = Self::try_start(kind, server, dir);
        // A server may listen on ports beside the one it is given, and any of them may be taken.
        for _ in 1..START_TRIES {
            if started.is_ok() {
                break;
            }
            started = Self::try_start(kind, server, dir);
        }
        started
    }

    fn try_start(kind: Kind<'_>, server: &Path, dir: &Path) -> io::Result<Peer> {
        // Free a moment ago: nothing else on this machine takes ports in between.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        fs::create_dir_all(dir)?;
        let mut command = Command::new("taskset");
        command.args(["-c", &SERVER_CPU.0.to_string()]);
        match kind {
            Kind::Slotcore { durability, cores } => {
                command
                    .arg(server)
                    .args(["server", "--admin-port", "0", "--core-port-base", "0"])
                    .args(["--cores", &cores.to_string(), "--log-level", "error"]);
                command
                    .args(["--durability", durability, "--port", &port.to_string(), "--dir"])
                    .arg(dir);
            }
            Kind::Redis { program, always } => {
                command
                    .args([program, "--save", "", "--port", &port.to_string(), "--dir"])
                    .arg(dir);
                command.args([
                    "--appendonly",
                    if always { "yes" } else { "no" },
                    "--appendfsync",
                    "always",
                ]);
            }
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut peer = Peer { child, port };
        let began = Instant::now();
        while !peer.answers() {
            if began.elapsed() > READY_PATIENCE || peer.child.try_wait()?.is_some() {
                return Err(io::Error::other(format!("{kind} did not start")));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(peer)
    }

    fn answers(&self) -> bool {
        self.ask("PING\r\n").is_ok_and(|reply| reply.starts_with("+PONG"))
    }

    /// Sends an inline command and returns the first bytes of its reply.
    pub fn ask(&self, command: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(READY_PATIENCE))?;
        stream.write_all(command.as_bytes())?;
        let mut reply = [0; 4096];
        let n = stream.read(&mut reply)?;
        Ok(String::from_utf8_lossy(&reply[..n]).into_owned())
    }

    /// Microseconds of processor time its threads have used so far, user and system.
    pub fn cpu_us(&self) -> io::Result<f64> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // Exact to the nanosecond, where `stat` counts hundredths of a second.
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = text
                .split_whitespace()
                .next()
                .and_then(|field| field.parse::<u64>().ok());
            nanoseconds += on_cpu.ok_or_else(|| io::Error::other("/proc has no processor times of threads"))?;
        }
        Ok(nanoseconds as f64 / 1e3)
    }

    /// Bytes of memory resident.
    pub fn rss_bytes(&self) -> io::Result<u64> {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        Ok(statm
            .split_whitespace()
            .nth(1)
            .and_then(|t| t.parse::<u64>().ok())
            .unwrap_or(0)
            * 4096)
    }

    /// Ends it without a chance to do anything.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Asks it to end and waits.
    pub fn stop(mut self) -> io::Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Already ended in the ordinary case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
