//! [`Cluster`]: several nodes as child processes, each with its directory, which can be stopped, killed, frozen and started
//! again; and [`Follower`], a client that goes where the nodes send it.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use slotcore_engine::ord::slot_of;

use crate::PATIENCE;
use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

/// Ports are looked for in this range, below those that the system gives to connections.
const PORTS: std::ops::Range<u16> = 12_000..30_000;
/// Ports that a node takes: one for every key, one for each core, and so many again for the other nodes.
const CORES_MAX: u16 = 7;
/// How long a client waits for a reply before it asks elsewhere: longer than an election.
const SILENCE: Duration = Duration::from_secs(2);
/// Tried next, so that clusters of tests that run at once do not look in the same place.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// See the module's text. All processes end with it.
pub struct Cluster {
    dir: Scratch,
    list: String,
    ports: Vec<u16>,
    pub cores: u16,
    nodes: Vec<Option<Server>>,
}

impl Cluster {
    /// Starts `nodes` nodes of `cores` cores and waits until each serves; who leads is not known then.
    pub fn start(nodes: usize, cores: u16) -> Self {
        let mut cluster = Self::prepare(nodes, cores);
        (0..nodes).for_each(|node| cluster.start_node(node));
        cluster
    }

    /// The same without starting any.
    pub fn prepare(nodes: usize, cores: u16) -> Self {
        assert!(cores <= CORES_MAX);
        let ports: Vec<u16> = (0..nodes).map(|_| free_ports()).collect();
        let list: Vec<String> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}@{}", peer_port(*port)))
            .collect();
        Self {
            dir: Scratch::new(),
            list: list.join(","),
            ports,
            cores,
            nodes: (0..nodes).map(|_| None).collect(),
        }
    }

    /// Starts a node, for the first time or again.
    pub fn start_node(&mut self, node: usize) {
        let dir = self.node_dir(node);
        let (port, cores) = (self.ports[node].to_string(), self.cores.to_string());
        let options = ["--port", &port, "--cores", &cores, "--initial-cluster", &self.list];
        self.nodes[node] = Some(Server::start(&dir, &options));
    }

    /// Starts a node again without a word about the others.
    pub fn start_node_untold(&mut self, node: usize) {
        self.nodes[node] = Some(Server::start(&self.node_dir(node), &[]));
    }

    /// Where a node has its data.
    pub fn node_dir(&self, node: usize) -> PathBuf {
        self.dir.join(&format!("node-{}", node + 1))
    }

    /// Waits for a line of a node's log.
    pub fn wait_for_line(&mut self, node: usize, text: &str) {
        let server = self.nodes[node].as_mut().expect("it runs");
        server.next_line_with(text).expect("it goes on running");
    }

    /// A node that runs.
    pub fn node(&self, node: usize) -> &Server {
        self.nodes[node].as_ref().expect("it runs")
    }

    /// Ends a node in order.
    pub fn stop_node(&mut self, node: usize) {
        self.nodes[node].take().expect("it runs").stop();
    }

    /// Ends a node with SIGKILL. Its log.
    pub fn kill_node(&mut self, node: usize) -> String {
        self.nodes[node].take().expect("it runs").kill().log
    }

    /// Those that run.
    pub fn running(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&node| self.nodes[node].is_some())
            .collect()
    }

    /// A node's port for every key.
    pub fn port(&self, node: usize) -> u16 {
        self.ports[node]
    }

    /// Where a core of a node is a node of a Redis Cluster.
    pub fn core_port(&self, node: usize, core: u16) -> u16 {
        self.ports[node] + 1 + core
    }

    /// The core that has a key.
    pub fn core_of(&self, key: &str) -> u16 {
        (u32::from(slot_of(key.as_bytes())) * u32::from(self.cores) / 16_384) as u16
    }

    /// The node that leads the group of `core`, once one does: it takes a write.
    pub fn leader_of(&self, core: u16) -> usize {
        let key = (0..)
            .map(|n| format!("who leads:{n}"))
            .find(|key| self.core_of(key) == core)
            .unwrap();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            for node in self.running() {
                let reply = try_call(self.core_port(node, core), &["SET", &key, "x"]);
                if reply.is_ok_and(|reply| !reply.is_error()) {
                    return node;
                }
            }
        }
        panic!("nobody leads the group of core {core}");
    }

    /// A client that finds its way.
    pub fn client(&self) -> Follower {
        Follower::new((0..self.nodes.len()).map(|node| self.core_port(node, 0)).collect())
    }
}

/// A client of the cores' ports that goes where it is sent, and elsewhere when nobody answers.
pub struct Follower {
    /// Where to begin.
    ports: Vec<u16>,
    at: u16,
    conn: Option<Client<TcpStream>>,
}

impl Follower {
    pub fn new(ports: Vec<u16>) -> Self {
        Self {
            at: ports[0],
            ports,
            conn: None,
        }
    }

    /// One command, sent until it is answered by whoever has its keys. Only for commands that may be executed twice.
    pub fn call(&mut self, words: &[&str]) -> Reply {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.try_call(words) {
                Ok(reply) => return reply,
                Err(error) => assert!(Instant::now() < until, "{words:?}: {error}"),
            }
        }
    }

    /// One try, which follows redirections. Err: it may have been executed, or not.
    pub fn try_call(&mut self, words: &[&str]) -> io::Result<Reply> {
        self.try_call_from(words, || ())
    }

    /// The same; `begin` is called whenever the command is sent, and nothing sent before that was executed.
    pub fn try_call_from(&mut self, words: &[&str], mut begin: impl FnMut()) -> io::Result<Reply> {
        let until = Instant::now() + PATIENCE;
        loop {
            begin();
            let reply = self.ask(words);
            match reply {
                Ok(Reply::Error(text)) if not_executed(&text) && Instant::now() < until => self.redirected(&text),
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                    self.elsewhere();
                    if !refused || Instant::now() >= until {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn ask(&mut self, words: &[&str]) -> io::Result<Reply> {
        let conn = match &mut self.conn {
            Some(conn) => conn,
            None => {
                let stream = TcpStream::connect(("127.0.0.1", self.at))?;
                // A node that is frozen takes connections and says nothing.
                stream.set_read_timeout(Some(SILENCE))?;
                self.conn.insert(Client::over(stream))
            }
        };
        conn.send(&request(words))?;
        conn.reply()
    }

    fn redirected(&mut self, text: &str) {
        let port = text
            .strip_prefix("MOVED ")
            .and_then(|rest| rest.rsplit(':').next()?.parse().ok());
        match port {
            Some(port) if port != self.at => {
                self.at = port;
                self.conn = None;
            }
            _ => {}
        }
    }

    fn elsewhere(&mut self) {
        let at = self.ports.iter().position(|&port| port == self.at).unwrap_or(0);
        self.at = self.ports[(at + 1) % self.ports.len()];
        self.conn = None;
    }
}

/// Asks again and again until something holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
    }
}

/// Whether an error says that the command was not executed and may be sent again.
pub fn not_executed(text: &str) -> bool {
    ["MOVED ", "CLUSTERDOWN ", "TRYAGAIN "]
        .iter()
        .any(|start| text.starts_with(start))
}

fn try_call(port: u16, words: &[&str]) -> io::Result<Reply> {
    let mut client = Client::try_connect(port)?;
    client.send(&request(words))?;
    client.reply()
}

/// Where a node with this port listens for the others.
fn peer_port(port: u16) -> u16 {
    port + 1 + CORES_MAX
}

/// The first of as many ports as a node takes, none of them in use.
fn free_ports() -> u16 {
    let block = 1 + 2 * CORES_MAX;
    let blocks = (PORTS.end - PORTS.start) / block;
    let first = (std::process::id() % u32::from(blocks)) as u16;
    for _ in 0..blocks {
        let at = (first + NEXT.fetch_add(1, Ordering::Relaxed)) % blocks;
        let port = PORTS.start + at * block;
        if (port..port + block).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return port;
        }
    }
    panic!("no free ports");
}
