//! [`ClusterFile`]: what a node was told of its cluster, and has learned of the other nodes: it can be started again without
//! a word about them.
//!
//! A text in the data directory that nobody else may read. What is said at a later start must not contradict it: a directory
//! belongs to one cluster, and to one node of it, for ever. Format: `docs/formats/cluster.md`.
//!
//! It also keeps the incarnations of the other nodes, and whether all of them keep this node's. A node that has lost its
//! directory has forgotten its votes and what it had called durable, and must not pass for the old one. So one of the first nodes
//! takes part in no group before every other one has written its incarnation down: whoever could make a quorum with a node that has
//! forgotten knows that it is another one, even if all were started anew in between. A node that has joined takes part at once:
//! nobody knows its number without its incarnation, since they stand in the same list.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slotcore_rt::config_file;

use crate::config::{Begin, ClusterConfig, Config, NodeAddress};
use crate::host_names;
use crate::nodes::lines::{self, Line};
use crate::nodes::{Node, NodeList, NodeNumber, NodeState, Zone, cluster_of_list};
use crate::startup::StartupError;

const FILE: &str = "cluster";
const HEADING: &str = "slotcore cluster, layout 2";
const HEADING_1: &str = "slotcore cluster, layout 1";
/// The last line: without it the file is not whole.
const END: &str = "end";

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    list: NodeList,
    /// The first port that it listens on for other nodes.
    listen_port: u16,
    bind: Vec<IpAddr>,
    port: u16,
    /// The incarnations of nodes that have been heard from.
    known: BTreeMap<NodeNumber, u128>,
    /// All other nodes know this node's incarnation.
    takes_part: bool,
    /// Where this node is, as it was told last.
    zone: Option<Zone>,
}

impl Kept {
    /// Whether these are all of the other first nodes.
    fn is_known_by_all(&self, known_by: &BTreeSet<NodeNumber>) -> bool {
        let numbers = self.list.nodes.iter().map(|node| node.number);
        let mut others = numbers.filter(|&node| node != self.list.me && node.0 <= self.list.first);
        others.all(|node| known_by.contains(&node))
    }
}

/// What a directory knows of a cluster.
pub enum Found {
    /// There are no other nodes, and never were.
    Alone,
    /// This node is one of these.
    Member(Arc<ClusterFile>),
    /// This node is to become one: see [`ClusterFile::create`].
    Joins,
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
    /// `cores`: of this node, as of all.
    ///
    /// # Errors
    /// The directory belongs to another cluster or node; the file is damaged, or cannot be read or written; a node of the
    /// first list cannot be found.
    pub fn open(config: &mut Config, incarnation: u128, cores: u16) -> Result<Found, StartupError> {
        let path = config.dir.join(FILE);
        let kept = read(&path, cores)?;
        let (mut kept, is_new) = match (kept, &config.cluster) {
            (None, None) => return Ok(Found::Alone),
            (None, Some(told)) => match &told.begin {
                Begin::First { nodes, me } => (first_kept(config, told, nodes, *me, cores)?, true),
                Begin::Join { .. } | Begin::Again => return Ok(Found::Joins),
            },
            (Some(mut kept), None) => {
                let defaults = Config::defaults();
                if config.port == defaults.port || config.port == 0 {
                    config.port = kept.port;
                }
                if config.bind == defaults.bind {
                    config.bind.clone_from(&kept.bind);
                }
                config.cluster = Some(ClusterConfig {
                    begin: Begin::Again,
                    listen_port: kept.listen_port,
                    secret: kept.list.secret.clone(),
                });
                config.check_for_cluster().map_err(StartupError::Config)?;
                look_up_again(&mut kept.list);
                (kept, false)
            }
            (Some(mut kept), Some(told)) => {
                if let Begin::First { nodes, me } = &told.begin
                    && (cluster_of_list(&names(nodes)), NodeNumber(*me as u32 + 1)) != (kept.list.cluster, kept.list.me)
                {
                    return Err(StartupError::OtherCluster {
                        dir: config.dir.clone(),
                    });
                }
                // Another secret, address to listen at, or port is fine: all nodes are given the new one.
                kept.list.secret.clone_from(&told.secret);
                kept.listen_port = told.listen_port;
                (kept.bind, kept.port) = (config.bind.clone(), config.port);
                look_up_again(&mut kept.list);
                (kept, true)
            }
        };
        if kept.list.cores != cores {
            return Err(StartupError::OtherCluster {
                dir: config.dir.clone(),
            });
        }
        let is_moved = config.zone.is_some() && config.zone != kept.zone;
        match is_moved {
            true => kept.zone.clone_from(&config.zone),
            false => config.zone.clone_from(&kept.zone),
        }
        if is_new || is_moved {
            write(&path, &kept).map_err(|error| not_written(&path, error))?;
        }
        Ok(Found::Member(Arc::new(Self::new(path, incarnation, kept))))
    }

    /// That of a node which has just become one of `list`. On return it is written down.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(config: &Config, listen_port: u16, incarnation: u128, list: NodeList) -> Result<Self, StartupError> {
        let path = config.dir.join(FILE);
        let mut kept = Kept {
            listen_port,
            bind: config.bind.clone(),
            port: config.port,
            known: BTreeMap::new(),
            takes_part: true,
            zone: config.zone.clone(),
            list,
        };
        kept.learn();
        write(&path, &kept).map_err(|error| not_written(&path, error))?;
        Ok(Self::new(path, incarnation, kept))
    }

    fn new(path: PathBuf, incarnation: u128, kept: Kept) -> Self {
        Self {
            path,
            incarnation,
            takes_part: AtomicBool::new(kept.takes_part),
            known_by: Mutex::default(),
            kept: Mutex::new(kept),
        }
    }

    /// The nodes of the cluster, as they were written down last.
    pub fn list(&self) -> NodeList {
        self.lock().list.clone()
    }

    /// Another list holds. On return it is written down.
    ///
    /// # Errors
    /// What the system says when the file cannot be written: the old list holds.
    pub fn keep(&self, list: &NodeList) -> io::Result<()> {
        let mut kept = self.lock();
        let mut next = kept.clone();
        next.list = list.clone();
        next.learn();
        write(&self.path, &next)?;
        *kept = next;
        Ok(())
    }

    /// This node's own incarnation.
    pub fn incarnation(&self) -> u128 {
        self.incarnation
    }

    /// The incarnations of the nodes that have been met.
    pub fn known(&self) -> BTreeMap<NodeNumber, u128> {
        self.lock().known.clone()
    }

    /// Where this node is, as it was told last.
    pub fn zone(&self) -> Option<Zone> {
        self.lock().zone.clone()
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

impl Kept {
    /// Takes over what the list says of incarnations.
    fn learn(&mut self) {
        let Self { list, known, .. } = self;
        known.retain(|&node, _| list.node(node).is_some());
        for node in list.nodes.iter().filter(|node| node.number != list.me) {
            if let Some(incarnation) = node.incarnation {
                known.entry(node.number).or_insert(incarnation);
            }
        }
    }
}

fn names(nodes: &[NodeAddress]) -> Vec<String> {
    nodes.iter().map(NodeAddress::name).collect()
}

/// What is known at the first start of all: the nodes that are told.
fn first_kept(
    config: &Config,
    told: &ClusterConfig,
    nodes: &[NodeAddress],
    me: usize,
    cores: u16,
) -> Result<Kept, StartupError> {
    Ok(Kept {
        list: first_list(nodes, me, cores, told.secret.clone())?,
        listen_port: told.listen_port,
        bind: config.bind.clone(),
        port: config.port,
        known: BTreeMap::new(),
        takes_part: false,
        zone: config.zone.clone(),
    })
}

/// The list of `--initial-cluster`.
fn first_list(nodes: &[NodeAddress], me: usize, cores: u16, secret: Vec<u8>) -> Result<NodeList, StartupError> {
    let list = nodes.iter().zip(1..).map(|(node, number)| {
        let highest = node.port.checked_add(cores).zip(node.peer_port.checked_add(cores - 1));
        highest.ok_or(StartupError::PortsBeyondRange { cores })?;
        Ok(Node {
            number: NodeNumber(number),
            host: node.host.clone(),
            address: host_names::find(&node.host)?,
            port: node.port,
            core_port_base: node.port + 1,
            peer_port_base: node.peer_port,
            state: NodeState::Up,
            incarnation: None,
            zone: None,
        })
    });
    Ok(NodeList {
        cluster: cluster_of_list(&names(nodes)),
        secret,
        me: NodeNumber(me as u32 + 1),
        cores,
        epoch: 0,
        first: nodes.len() as u32,
        nodes: list.collect::<Result<_, StartupError>>()?,
        removed: BTreeSet::new(),
    })
}

/// Names may stand for other addresses than at the last start; one that is not known now stands for the old one.
fn look_up_again(list: &mut NodeList) {
    for node in &mut list.nodes {
        if let Ok(address) = host_names::look_up(&node.host) {
            node.address = address;
        }
    }
}

fn not_written(path: &Path, error: io::Error) -> StartupError {
    StartupError::ClusterFile {
        file: path.to_owned(),
        what: error.to_string(),
    }
}

fn read(path: &Path, cores: u16) -> Result<Option<Kept>, StartupError> {
    let text = match config_file::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(not_written(path, error)),
    };
    match parse(&text) {
        Some(Parsed::Newest(kept)) => Ok(Some(kept)),
        Some(Parsed::Layout1(kept, nodes, me)) => {
            let list = first_list(&nodes, me, cores, kept.list.secret.clone())?;
            Ok(Some(Kept { list, ..kept }))
        }
        None => Err(StartupError::ClusterFile {
            file: path.to_owned(),
            what: "it is damaged, or a newer version wrote it".into(),
        }),
    }
}

fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    config_file::replace(path, &format(kept))
}

fn format(kept: &Kept) -> String {
    let mut text = format!("{HEADING}\n");
    lines::put(&kept.list, &mut text);
    let mut line =
        |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a String takes what is written to it");
    line(format_args!("me {}", kept.list.me));
    line(format_args!("port {}", kept.port));
    line(format_args!("peer-port {}", kept.listen_port));
    for ip in &kept.bind {
        line(format_args!("bind {ip}"));
    }
    if let Some(zone) = &kept.zone {
        line(format_args!("zone {zone}"));
    }
    if !kept.list.secret.is_empty() {
        let secret: String = kept.list.secret.iter().map(|byte| format!("{byte:02x}")).collect();
        line(format_args!("secret {secret}"));
    }
    for (node, incarnation) in &kept.known {
        line(format_args!("met {node} {incarnation:032x}"));
    }
    if kept.takes_part {
        line(format_args!("takes-part"));
    }
    line(format_args!("{END}"));
    text
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Parsed {
    Newest(Kept),
    /// Of the first layout: it names the nodes of `--initial-cluster`, to be looked up, and which of them this one is. The list
    /// has but the secret.
    Layout1(Kept, Vec<NodeAddress>, usize),
}

/// `None`: these are not lines of [`format`], nor all of them.
fn parse(text: &str) -> Option<Parsed> {
    let is_newest = match text.split_once('\n')?.0 {
        HEADING => true,
        HEADING_1 => false,
        _ => return None,
    };
    let whole = if is_newest {
        text.strip_suffix(&format!("{END}\n"))?
    } else {
        text
    };
    let (mut list, mut nodes) = (lines::Reader::default(), Vec::new());
    let (mut bind, mut known, mut secret) = (Vec::new(), BTreeMap::new(), Vec::new());
    let (mut me, mut port, mut listen_port) = (None, None, None);
    let (mut takes_part, mut zone) = (false, None);
    for line in whole.lines().skip(1) {
        match if is_newest { list.take(line) } else { Line::Other } {
            Line::Taken => continue,
            Line::Malformed => return None,
            Line::Other => {}
        }
        let mut words = line.split(' ');
        match words.next()? {
            "node" if !is_newest => nodes.push(NodeAddress {
                host: words.next()?.to_owned(),
                port: words.next()?.parse().ok()?,
                peer_port: words.next()?.parse().ok()?,
            }),
            "me" => me = Some(NodeNumber(words.next()?.parse().ok()?)),
            "port" => port = Some(words.next()?.parse().ok()?),
            "peer-port" => listen_port = Some(words.next()?.parse().ok()?),
            "bind" => bind.push(words.next()?.parse().ok()?),
            "secret" => secret = from_hex(words.next()?)?,
            "met" => {
                let node = NodeNumber(words.next()?.parse().ok()?);
                known.insert(node, u128::from_str_radix(words.next()?, 16).ok()?);
            }
            "takes-part" => takes_part = true,
            "zone" => zone = Some(Zone::parse(line.strip_prefix("zone ")?).ok()?),
            _ => return None,
        }
    }
    let me: NodeNumber = me?;
    let kept = |list| {
        Some(Kept {
            list,
            listen_port: listen_port?,
            bind,
            port: port?,
            known,
            takes_part,
            zone,
        })
    };
    if is_newest {
        return kept(list.finish(me, secret)?).map(Parsed::Newest);
    }
    let at = (me.0 as usize).checked_sub(1).filter(|&at| at < nodes.len())?;
    let empty = NodeList {
        cluster: 0,
        secret,
        me,
        cores: 0,
        epoch: 0,
        first: 0,
        nodes: Vec::new(),
        removed: BTreeSet::new(),
    };
    Some(Parsed::Layout1(kept(empty)?, nodes, at))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::list_for_tests;

    fn kept() -> Kept {
        let mut list = list_for_tests(2, 4);
        (list.epoch, list.first) = (3, 3);
        list.secret = b"between \xff us, only us".to_vec();
        list.nodes[3].incarnation = Some(44);
        list.removed.insert(55);
        Kept {
            list,
            listen_port: 17_200,
            bind: vec!["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()],
            port: 7200,
            known: [(NodeNumber(1), u128::MAX), (NodeNumber(3), 7), (NodeNumber(4), 44)].into(),
            takes_part: true,
            zone: Zone::parse("rack-7").ok(),
        }
    }

    #[test]
    fn what_was_told_comes_back() {
        let mut kept = kept();
        assert_eq!(parse(&format(&kept)), Some(Parsed::Newest(kept.clone())));
        kept.list.secret.clear();
        kept.known.clear();
        (kept.takes_part, kept.zone) = (false, None);
        assert_eq!(parse(&format(&kept)), Some(Parsed::Newest(kept)));
    }

    #[test]
    fn a_file_of_the_first_layout_is_read() {
        let text = "slotcore cluster, layout 1\nnode 10.0.0.1 7000 17000\nnode ::1 7000 9000\nme 2\nport 7001\n\
                    peer-port 9001\nbind ::1\nsecret 6162\nmet 1 0f\ntakes-part\n";
        let Some(Parsed::Layout1(kept, nodes, me)) = parse(text) else {
            panic!("it is one");
        };
        assert_eq!((nodes.len(), me, kept.takes_part), (2, 1, true));
        assert_eq!((kept.port, kept.listen_port), (7001, 9001));
        assert_eq!(kept.known, [(NodeNumber(1), 15)].into());
        let list = first_list(&nodes, me, 2, kept.list.secret).unwrap();
        assert_eq!((list.me, list.first, list.epoch), (NodeNumber(2), 2, 0));
        assert_eq!(
            list.cluster,
            cluster_of_list(&["10.0.0.1:7000@17000".into(), "::1:7000@9000".into()])
        );
        assert_eq!(
            list.nodes[1].peer_address(slotcore_rt::ids::CoreId(1)),
            "[::1]:9001".parse().unwrap()
        );
        for bad in [text.replace("me 2", "me 3"), text.replace("me 2", "me 0")] {
            assert_eq!(parse(&bad), None);
        }
    }

    #[test]
    fn one_of_the_first_nodes_takes_part_once_every_other_one_knows_it() {
        let known_by = |nodes: &[u32]| nodes.iter().copied().map(NodeNumber).collect();
        let kept = kept();
        for nodes in [&[][..], &[1], &[3], &[2, 3, 4]] {
            assert!(!kept.is_known_by_all(&known_by(nodes)), "{nodes:?}");
        }
        assert!(kept.is_known_by_all(&known_by(&[1, 3])));
    }

    #[test]
    fn incarnations_come_with_the_list_and_go_with_it() {
        let mut kept = kept();
        kept.list.nodes.remove(0);
        kept.list.nodes[1].incarnation = Some(8);
        kept.known.remove(&NodeNumber(4));
        kept.learn();
        // What was met first holds.
        assert_eq!(kept.known, [(NodeNumber(3), 7), (NodeNumber(4), 44)].into());
    }

    #[test]
    fn what_is_not_such_a_file_is_refused() {
        let text = format(&kept());
        for bad in [
            text.replace("layout 2", "layout 3"),
            text.replace("me 2", "me 5"),
            text.replace("me 2\n", ""),
            text.replace("met 3", "met x"),
            text.replace("secret ", "secret \u{e9}"),
            text.replace("\nport 7200", "\nport 72000"),
            text.replace("bind ", "bound "),
            text.replace("zone rack-7", "zone rack 7"),
            text.replace("cores 2\n", ""),
        ] {
            assert_ne!(bad, text);
            assert_eq!(parse(&bad), None, "{bad}");
        }
        // Torn, wherever.
        assert!((0..text.len()).all(|len| parse(&text[..len]).is_none()));
    }
}
