//! [`Cluster`]: several nodes as child processes, each with its directory, which can be stopped, killed, frozen and started
//! again; and [`Follower`], a client that goes where the nodes send it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
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
/// What nodes at several places know.
const SECRET: &str = "known to the nodes of a test";
/// How long a client waits for a reply before it asks elsewhere: longer than an election.
const SILENCE: Duration = Duration::from_secs(2);
/// Tried next, so that clusters of tests that run at once do not look in the same place.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// Where a node runs.
#[derive(Clone)]
pub struct Place {
    /// Its address.
    pub host: IpAddr,
    /// Words of a command that becomes the server, there.
    pub before: Vec<String>,
    /// Options besides those that every node needs.
    pub options: Vec<String>,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            before: Vec::new(),
            options: Vec::new(),
        }
    }
}

/// See the module's text. All processes end with it.
pub struct Cluster {
    dir: Scratch,
    places: Vec<Place>,
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
        Self::prepare_at(vec![Place::default(); nodes], cores)
    }

    /// The same with nodes at these places.
    pub fn prepare_at(places: Vec<Place>, cores: u16) -> Self {
        assert!(cores <= CORES_MAX);
        let nodes = places.len();
        let ports: Vec<u16> = (0..nodes).map(|_| free_ports()).collect();
        let list: Vec<String> = (ports.iter().zip(&places))
            .map(|(port, place)| format!("{}:{port}@{}", place.host, peer_port(*port)))
            .collect();
        Self {
            dir: Scratch::new(),
            places,
            list: list.join(","),
            ports,
            cores,
            nodes: (0..nodes).map(|_| None).collect(),
        }
    }

    /// The same with more options for each node.
    pub fn prepare_with(nodes: usize, cores: u16, options: &[&str]) -> Self {
        let place = Place {
            options: options.iter().map(ToString::to_string).collect(),
            ..Place::default()
        };
        Self::prepare_at(vec![place; nodes], cores)
    }

    /// Starts a node, for the first time or again.
    pub fn start_node(&mut self, node: usize) {
        let dir = self.node_dir(node);
        let (port, cores) = (self.ports[node].to_string(), self.cores.to_string());
        let place = &self.places[node];
        let host = place.host.to_string();
        let mut options = vec!["--port", &port, "--cores", &cores, "--initial-cluster", &self.list];
        if !place.host.is_loopback() {
            options.extend(["--bind", &host, "--cluster-secret", SECRET]);
        }
        options.extend(place.options.iter().map(String::as_str));
        self.nodes[node] = Some(Server::start_behind(&place.before, &dir, &options));
    }

    /// Starts a node again without a word about the others.
    pub fn start_node_untold(&mut self, node: usize) {
        self.nodes[node] = Some(Server::start(&self.node_dir(node), &[]));
    }

    /// The same with the options of its place.
    pub fn start_node_untold_with(&mut self, node: usize) {
        let options: Vec<&str> = self.places[node].options.iter().map(String::as_str).collect();
        self.nodes[node] = Some(Server::start(&self.node_dir(node), &options));
    }

    /// A node is started with these options from now on.
    pub fn set_options(&mut self, node: usize, options: &[&str]) {
        self.places[node].options = options.iter().map(ToString::to_string).collect();
    }

    /// One more node, which has not been started.
    pub fn add_node(&mut self, options: &[&str]) -> usize {
        self.places.push(Place {
            options: options.iter().map(ToString::to_string).collect(),
            ..Place::default()
        });
        self.ports.push(free_ports());
        self.nodes.push(None);
        self.nodes.len() - 1
    }

    /// With what a node that was added is started to join those that `seeds` are.
    pub fn join_options(&self, node: usize, seeds: &[usize]) -> Vec<String> {
        let port = self.ports[node];
        let seed = |&seed: &usize| format!("127.0.0.1:{}", peer_port(self.ports[seed]));
        let seeds: Vec<String> = seeds.iter().map(seed).collect();
        let (port, peer_port) = (port.to_string(), peer_port(port).to_string());
        let (cores, seeds) = (self.cores.to_string(), seeds.join(","));
        let usual = [
            "--port",
            &port,
            "--peer-port",
            &peer_port,
            "--cores",
            &cores,
            "--join",
            &seeds,
        ];
        let place = self.places[node].options.iter().map(String::as_str);
        usual.into_iter().chain(place).map(ToString::to_string).collect()
    }

    /// Starts a node that was added: it joins those that `seeds` are, or has.
    pub fn start_joining(&mut self, node: usize, seeds: &[usize]) {
        let options = self.join_options(node, seeds);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.nodes[node] = Some(Server::start(&self.node_dir(node), &options));
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

    /// The same with the host.
    pub fn core_address(&self, node: usize, core: u16) -> SocketAddr {
        (self.places[node].host, self.core_port(node, core)).into()
    }

    /// A node's port for every key, with the host.
    pub fn address(&self, node: usize) -> SocketAddr {
        (self.places[node].host, self.port(node)).into()
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
                let reply = try_call(self.core_address(node, core), &["SET", &key, "x"]);
                if reply.is_ok_and(|reply| !reply.is_error()) {
                    return node;
                }
            }
        }
        panic!("nobody leads the group of core {core}");
    }

    /// A client that finds its way.
    pub fn client(&self) -> Follower {
        Follower::to((0..self.nodes.len()).map(|node| self.core_address(node, 0)).collect())
    }
}

/// A client of the cores' ports that goes where it is sent, and elsewhere when nobody answers.
pub struct Follower {
    /// Where to begin.
    addresses: Vec<SocketAddr>,
    at: SocketAddr,
    conn: Option<Client<TcpStream>>,
}

impl Follower {
    pub fn new(ports: Vec<u16>) -> Self {
        Self::to(ports.iter().map(|&port| (Ipv4Addr::LOCALHOST, port).into()).collect())
    }

    /// A client that begins at one of these.
    pub fn to(addresses: Vec<SocketAddr>) -> Self {
        Self {
            at: addresses[0],
            addresses,
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
                let stream = TcpStream::connect_timeout(&self.at, SILENCE)?;
                // A node that is frozen takes connections and says nothing.
                stream.set_read_timeout(Some(SILENCE))?;
                self.conn.insert(Client::over(stream))
            }
        };
        conn.send(&request(words))?;
        conn.reply()
    }

    fn redirected(&mut self, text: &str) {
        let to = text
            .strip_prefix("MOVED ")
            .and_then(|rest| rest.rsplit(' ').next()?.parse().ok());
        match to {
            Some(to) if to != self.at => {
                self.at = to;
                self.conn = None;
            }
            // A node that others do not hear may know of no leader while they have one.
            _ if text.starts_with("CLUSTERDOWN ") => self.elsewhere(),
            _ => {}
        }
    }

    fn elsewhere(&mut self) {
        let at = self
            .addresses
            .iter()
            .position(|&address| address == self.at)
            .unwrap_or(0);
        self.at = self.addresses[(at + 1) % self.addresses.len()];
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
    ["MOVED ", "CLUSTERDOWN ", "TRYAGAIN ", "MISCONF "]
        .iter()
        .any(|start| text.starts_with(start))
}

fn try_call(to: SocketAddr, words: &[&str]) -> io::Result<Reply> {
    let stream = TcpStream::connect_timeout(&to, SILENCE)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut client = Client::over(stream);
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
