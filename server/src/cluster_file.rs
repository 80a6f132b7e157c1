//! [`ClusterFile`]: what a node was told of its cluster, and has learned of the other nodes: it can be started again without
//! a word about them.
//!
//! A text in the data directory that nobody else may read. What is said at a later start must not contradict it: a directory
//! belongs to one cluster, and to one node of it, for ever. Format: `docs/formats/cluster.md`.
//!
//! It also keeps the incarnations of the other nodes, and whether all of them keep this node's. A node that has lost its
//! directory has forgotten its votes and what it had called durable, and must not pass for the old one. So a node takes part
//! in no group before every other node has written its incarnation down: whoever could make a quorum with a node that has
//! forgotten knows that it is another one, even if all were started anew in between.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use slotcore_rt::config_file;

use crate::config::{ClusterConfig, Config, NodeAddress};
use crate::nodes::NodeNumber;
use crate::startup::StartupError;

const FILE: &str = "cluster";
const HEADING: &str = "slotcore cluster, layout 1";

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    cluster: ClusterConfig,
    bind: Vec<IpAddr>,
    port: u16,
    /// The incarnations of nodes that have been heard from.
    known: BTreeMap<NodeNumber, u128>,
    /// All other nodes have written down this node's incarnation.
    takes_part: bool,
}

impl Kept {
    /// Whether these are all of the other nodes.
    fn is_known_by_all(&self, known_by: &BTreeSet<NodeNumber>) -> bool {
        let others = (0..self.cluster.nodes.len()).filter(|&node| node != self.cluster.me);
        others
            .map(|node| NodeNumber(node as u32 + 1))
            .all(|node| known_by.contains(&node))
    }
}

/// See the module's text. One for all cores.
#[derive(Debug)]
pub struct ClusterFile {
    path: PathBuf,
    /// This node's own.
    incarnation: u128,
    /// Locked when a link opens, and while this node takes no part.
    kept: Mutex<Kept>,
    /// Nodes that have written down this node's incarnation, as far as they had to be asked.
    known_by: Mutex<BTreeSet<NodeNumber>>,
    takes_part: AtomicBool,
}

impl ClusterFile {
    /// Completes `config` by what its data directory knows, and writes down what is new. `incarnation`: names the directory.
    /// `None`: there are no other nodes, and never were.
    ///
    /// # Errors
    /// The directory belongs to another cluster or node; the file is damaged, or cannot be read or written.
    pub fn open(config: &mut Config, incarnation: u128) -> Result<Option<Self>, StartupError> {
        let path = config.dir.join(FILE);
        let kept = read(&path)?;
        let kept = match (kept, &config.cluster) {
            (None, None) => return Ok(None),
            (Some(kept), None) => {
                let defaults = Config::defaults();
                if config.port == defaults.port || config.port == 0 {
                    config.port = kept.port;
                }
                if config.bind == defaults.bind {
                    config.bind.clone_from(&kept.bind);
                }
                config.cluster = Some(kept.cluster.clone());
                config.check_for_cluster().map_err(StartupError::Config)?;
                kept
            }
            (kept, Some(told)) => {
                if let Some(kept) = &kept
                    && (kept.cluster.names(), kept.cluster.me) != (told.names(), told.me)
                {
                    return Err(StartupError::OtherCluster {
                        dir: config.dir.clone(),
                    });
                }
                // Another secret, address to listen at, or port is fine: all nodes are given the new one.
                let kept = Kept {
                    cluster: told.clone(),
                    bind: config.bind.clone(),
                    port: config.port,
                    takes_part: kept.as_ref().is_some_and(|kept| kept.takes_part),
                    known: kept.map(|kept| kept.known).unwrap_or_default(),
                };
                write(&path, &kept).map_err(|error| not_written(&path, error))?;
                kept
            }
        };
        Ok(Some(Self {
            path,
            incarnation,
            takes_part: AtomicBool::new(kept.takes_part),
            known_by: Mutex::default(),
            kept: Mutex::new(kept),
        }))
    }

    /// This node's own incarnation.
    pub fn incarnation(&self) -> u128 {
        self.incarnation
    }

    /// The incarnations of the nodes that have been met.
    pub fn known(&self) -> BTreeMap<NodeNumber, u128> {
        self.lock().known.clone()
    }

    /// True once all other nodes keep this node's incarnation.
    pub fn takes_part(&self) -> bool {
        self.takes_part.load(Ordering::Relaxed)
    }

    /// That node keeps this node's incarnation. Returns whether all do now, which is written down.
    ///
    /// # Errors
    /// What the system says when the file cannot be written.
    pub fn known_by(&self, node: NodeNumber) -> io::Result<bool> {
        if self.takes_part() {
            return Ok(true);
        }
        let mut kept = self.lock();
        let mut known_by = self.known_by.lock().unwrap_or_else(PoisonError::into_inner);
        known_by.insert(node);
        if !kept.is_known_by_all(&known_by) {
            return Ok(false);
        }
        kept.takes_part = true;
        write(&self.path, &kept)?;
        self.takes_part.store(true, Ordering::Relaxed);
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node was heard from. On return this is written down. The result is the incarnation that is known of it if that is
    /// another one, met by another core meanwhile.
    ///
    /// # Errors
    /// What the system says when the file cannot be written.
    pub fn met(&self, node: NodeNumber, incarnation: u128) -> io::Result<Option<u128>> {
        let mut kept = self.lock();
        if let Some(&known) = kept.known.get(&node) {
            return Ok(Some(known).filter(|&known| known != incarnation));
        }
        kept.known.insert(node, incarnation);
        if let Err(error) = write(&self.path, &kept) {
            kept.known.remove(&node);
            return Err(error);
        }
        Ok(None)
    }
}

fn not_written(path: &Path, error: io::Error) -> StartupError {
    StartupError::ClusterFile {
        file: path.to_owned(),
        what: error.to_string(),
    }
}

fn read(path: &Path) -> Result<Option<Kept>, StartupError> {
    match config_file::read(path) {
        Ok(text) => parse(&text).map(Some).ok_or_else(|| StartupError::ClusterFile {
            file: path.to_owned(),
            what: "it is damaged, or a newer version wrote it".into(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(not_written(path, error)),
    }
}

fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    config_file::replace(path, &format(kept))
}

fn format(kept: &Kept) -> String {
    let mut text = format!("{HEADING}\n");
    let cluster = &kept.cluster;
    let mut line =
        |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a String takes what is written to it");
    for node in &cluster.nodes {
        line(format_args!("node {} {} {}", node.host, node.port, node.peer_port));
    }
    line(format_args!("me {}", cluster.me + 1));
    line(format_args!("port {}", kept.port));
    line(format_args!("peer-port {}", cluster.listen_port));
    for ip in &kept.bind {
        line(format_args!("bind {ip}"));
    }
    if !cluster.secret.is_empty() {
        let secret: String = cluster.secret.iter().map(|byte| format!("{byte:02x}")).collect();
        line(format_args!("secret {secret}"));
    }
    for (node, incarnation) in &kept.known {
        line(format_args!("met {node} {incarnation:032x}"));
    }
    if kept.takes_part {
        line(format_args!("takes-part"));
    }
    text
}

/// `None`: these are not lines of [`format`].
fn parse(text: &str) -> Option<Kept> {
    let mut lines = text.lines();
    if lines.next()? != HEADING {
        return None;
    }
    let (mut nodes, mut bind, mut known, mut secret) = (Vec::new(), Vec::new(), BTreeMap::new(), Vec::new());
    let (mut me, mut port, mut listen_port) = (None, None, None);
    let mut takes_part = false;
    for line in lines {
        let mut words = line.split(' ');
        match words.next()? {
            "node" => nodes.push(NodeAddress {
                host: words.next()?.to_owned(),
                port: words.next()?.parse().ok()?,
                peer_port: words.next()?.parse().ok()?,
            }),
            "me" => me = Some(words.next()?.parse::<usize>().ok()?.checked_sub(1)?),
            "port" => port = Some(words.next()?.parse().ok()?),
            "peer-port" => listen_port = Some(words.next()?.parse().ok()?),
            "bind" => bind.push(words.next()?.parse().ok()?),
            "secret" => secret = from_hex(words.next()?)?,
            "met" => {
                let node = NodeNumber(words.next()?.parse().ok()?);
                known.insert(node, u128::from_str_radix(words.next()?, 16).ok()?);
            }
            "takes-part" => takes_part = true,
            _ => return None,
        }
    }
    let me = me.filter(|&me| me < nodes.len())?;
    let cluster = ClusterConfig {
        nodes,
        me,
        listen_port: listen_port?,
        secret,
    };
    Some(Kept {
        cluster,
        bind,
        port: port?,
        known,
        takes_part,
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        let node = |host: &str, port| NodeAddress {
            host: host.into(),
            port,
            peer_port: port + 10_000,
        };
        Kept {
            cluster: ClusterConfig {
                nodes: vec![node("a", 7000), node("::1", 7100), node("10.0.0.3", 7200)],
                me: 1,
                listen_port: 17_100,
                secret: b"between \xff us, only us".to_vec(),
            },
            bind: vec!["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()],
            port: 7100,
            known: [(NodeNumber(1), u128::MAX), (NodeNumber(3), 7)].into(),
            takes_part: true,
        }
    }

    #[test]
    fn what_was_told_comes_back() {
        let mut kept = kept();
        assert_eq!(parse(&format(&kept)), Some(kept.clone()));
        kept.cluster.secret.clear();
        kept.known.clear();
        kept.takes_part = false;
        assert_eq!(parse(&format(&kept)), Some(kept));
    }

    #[test]
    fn a_node_takes_part_once_every_other_one_knows_it() {
        let known_by = |nodes: &[u32]| nodes.iter().copied().map(NodeNumber).collect();
        let kept = kept();
        for nodes in [&[][..], &[1], &[3], &[2, 3]] {
            assert!(!kept.is_known_by_all(&known_by(nodes)), "{nodes:?}");
        }
        assert!(kept.is_known_by_all(&known_by(&[1, 3])));
    }

    #[test]
    fn what_is_not_such_a_file_is_refused() {
        let text = format(&kept());
        for bad in [
            text.replace("layout 1", "layout 2"),
            text.replace("me 2", "me 4"),
            text.replace("me 2\n", ""),
            text.replace("met 3", "met x"),
            text.replace("secret ", "secret \u{e9}"),
            text.replace("port 7100", "port 71000"),
            text.replace("bind ", "bound "),
            String::new(),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }
}
