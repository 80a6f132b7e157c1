//! [`ClusterConfig`]: what the command line says of the other nodes.

use std::path::Path;

use super::{ConfigError, HOST_BYTES_MAX, RawOptions, given, host, option, parse};
use slotcore_rt::config_file;

/// How far a node's first peer port is above its port, unless it is named: as for the bus of a Redis Cluster.
pub const PEER_PORT_OFFSET: u16 = 10_000;
/// Most nodes of `--initial-cluster`: each holds a replica of every group, and a quorum of more gains nothing.
pub const INITIAL_NODES_MAX: usize = 5;
/// Shortest secret, in bytes: shorter ones can be guessed by whoever has seen one handshake.
pub const SECRET_BYTES_MIN: usize = 16;

/// A node as the list names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// Address or name.
    pub host: String,
    /// Its port for every key.
    pub port: u16,
    /// Its first port for other nodes.
    pub peer_port: u16,
}

/// How this node is to find the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// They are all told the same list.
    First {
        /// All first nodes, in the order of the list: the first is node 1.
        nodes: Vec<NodeAddress>,
        /// Which of them this one is.
        me: usize,
    },
    /// It asks to become one of them.
    Join {
        /// Host and first peer port of some that are there, to be asked in turn.
        seeds: Vec<(String, u16)>,
        /// Where this one will be reached.
        own: NodeAddress,
    },
    /// It knows them from before.
    Again,
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Which are the others.
    pub begin: Begin,
    /// The first port that this node listens on for the others.
    pub listen_port: u16,
    /// What only the nodes of the cluster know; may be empty when all of them are on this machine.
    pub secret: Vec<u8>,
}

/// Options about other nodes as they were given, for CONFIG GET and REWRITE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterTexts {
    /// `--initial-cluster`
    pub initial_cluster: String,
    /// `--join`
    pub join: String,
    /// `--announce`
    pub announce: String,
    /// `--peer-port`
    pub peer_port: String,
    /// `--cluster-secret`
    pub secret: String,
    /// `--cluster-secret-file`
    pub secret_file: String,
    /// `--peer-tls-cert`
    pub tls_cert: String,
    /// `--peer-tls-key`
    pub tls_key: String,
    /// `--peer-tls-ca`
    pub tls_ca: String,
}

impl ClusterTexts {
    pub(super) fn of(raw: &RawOptions) -> Self {
        let text = |option: &Option<String>| option.clone().unwrap_or_default();
        Self {
            initial_cluster: text(&raw.initial_cluster),
            join: text(&raw.join),
            announce: text(&raw.announce),
            peer_port: text(&raw.peer_port),
            secret: raw.cluster_secret.clone(),
            secret_file: text(&raw.cluster_secret_file),
            tls_cert: text(&raw.peer_tls_cert),
            tls_key: text(&raw.peer_tls_key),
            tls_ca: text(&raw.peer_tls_ca),
        }
    }
}

impl ClusterConfig {
    /// Reads the options about other nodes. `own`: host and port of this node when `--announce` does not say. `None`: there
    /// are no other nodes.
    pub(super) fn check(raw: &RawOptions, own: (String, u16)) -> Result<Option<Self>, ConfigError> {
        let announced = match given(raw.announce.clone()) {
            Some(text) => Some(option("announce", &text, node)?),
            None => None,
        };
        let peer_port = match given(raw.peer_port.clone()) {
            Some(text) => Some(option("peer-port", &text, |t| parse::integer(t, 1, 65535))? as u16),
            None => None,
        };
        let (begin, own) = match (given(raw.initial_cluster.clone()), given(raw.join.clone())) {
            (None, None) => return Ok(None),
            (Some(_), Some(join)) => {
                return Err(refused(
                    "join",
                    join,
                    "a node is one of the first ones, or joins them later: leave --initial-cluster or this option out",
                ));
            }
            (Some(list), None) => {
                let own = announced.map_or(own, |node| (node.host, node.port));
                let nodes = option("initial-cluster", &list, nodes)?;
                let found = nodes.iter().position(|node| (&node.host, node.port) == (&own.0, own.1));
                let Some(me) = found else {
                    let message = format!(
                        "this node, {}:{}, must be among the nodes: say with --announce HOST:PORT which of them it is",
                        own.0, own.1
                    );
                    return Err(refused("initial-cluster", list, &message));
                };
                let own = nodes[me].clone();
                (Begin::First { nodes, me }, own)
            }
            (None, Some(list)) => {
                let seeds = option("join", &list, seeds)?;
                let own = match announced {
                    Some(node) => node,
                    None => own_address(own, peer_port)?,
                };
                if is_this_machine(&own.host) && !seeds.iter().all(|(host, _)| is_this_machine(host)) {
                    return Err(refused(
                        "join",
                        list,
                        "nodes on other machines cannot reach this one at its loopback address: set --bind, \
                         --announce-host or --announce",
                    ));
                }
                let begin = Begin::Join {
                    seeds,
                    own: own.clone(),
                };
                (begin, own)
            }
        };
        let config = Self {
            listen_port: peer_port.unwrap_or(own.peer_port),
            begin,
            secret: secret(raw)?,
        };
        if config.secret.is_empty() && !config.hosts().all(is_this_machine) {
            return Err(refused(
                "cluster-secret",
                String::new(),
                "nodes on several machines need a secret of at least 16 characters, the same on all of them, so that \
                 nobody else can pass for one: give it with --cluster-secret-file",
            ));
        }
        Ok(Some(config))
    }

    /// Every host that it names.
    fn hosts(&self) -> impl Iterator<Item = &str> {
        let (nodes, seeds) = match &self.begin {
            Begin::First { nodes, .. } => (&nodes[..], &[][..]),
            Begin::Join { seeds, own } => (std::slice::from_ref(own), &seeds[..]),
            Begin::Again => (&[][..], &[][..]),
        };
        let hosts = nodes.iter().map(|node| &node.host);
        hosts.chain(seeds.iter().map(|(host, _)| host)).map(String::as_str)
    }
}

impl NodeAddress {
    /// Reads `HOST:PORT` or `HOST:PORT@PEER-PORT`; without the last other nodes reach it 10000 above PORT.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        node(text)
    }

    /// As all nodes were given it.
    pub fn name(&self) -> String {
        format!("{}:{}@{}", self.host, self.port, self.peer_port)
    }
}

fn refused(name: &'static str, value: String, message: &str) -> ConfigError {
    ConfigError::Option {
        name,
        value,
        message: message.into(),
    }
}

/// Where a node that joins is reached when `--announce` does not say.
fn own_address((host, port): (String, u16), peer_port: Option<u16>) -> Result<NodeAddress, ConfigError> {
    let wrong = |message| refused("port", port.to_string(), message);
    if port == 0 {
        return Err(wrong("the other nodes have to know the port of one that joins"));
    }
    let follows = port.checked_add(PEER_PORT_OFFSET);
    let peer_port = peer_port.or(follows).ok_or_else(|| {
        wrong("the port for other nodes, 10000 above it, would be above 65535: name another one with --peer-port")
    })?;
    Ok(NodeAddress { host, port, peer_port })
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn secret(raw: &RawOptions) -> Result<Vec<u8>, ConfigError> {
    let (name, secret) = match (
        given(Some(raw.cluster_secret.clone())),
        given(raw.cluster_secret_file.clone()),
    ) {
        (Some(_), Some(file)) => {
            return Err(ConfigError::Option {
                name: "cluster-secret-file",
                value: file,
                message: "the secret is given already by --cluster-secret: leave one of them out".into(),
            });
        }
        (Some(secret), None) => ("cluster-secret", secret.into_bytes()),
        (None, Some(file)) => {
            let path = Path::new(&file);
            let refused = |message: String| ConfigError::Option {
                name: "cluster-secret-file",
                value: file.clone(),
                message,
            };
            if config_file::others_may_read(path).map_err(|error| refused(error.to_string()))? {
                return Err(refused("others may read this file: chmod 600 it".into()));
            }
            let text = config_file::read(path).map_err(|error| refused(error.to_string()))?;
            ("cluster-secret-file", text.trim_end().as_bytes().to_vec())
        }
        (None, None) => return Ok(Vec::new()),
    };
    if secret.len() < SECRET_BYTES_MIN {
        return Err(ConfigError::Option {
            name,
            value: "...".into(),
            message: format!("a secret has at least {SECRET_BYTES_MIN} bytes"),
        });
    }
    Ok(secret)
}

fn nodes(text: &str) -> Result<Vec<NodeAddress>, String> {
    let nodes: Vec<NodeAddress> = text
        .split(',')
        .map(|entry| node(entry.trim()))
        .collect::<Result<_, _>>()?;
    if nodes.len() > INITIAL_NODES_MAX {
        return Err(format!(
            "at most {INITIAL_NODES_MAX} nodes hold the first replicas: others join later"
        ));
    }
    for (at, one) in nodes.iter().enumerate() {
        if nodes[..at]
            .iter()
            .any(|other| (&other.host, other.port) == (&one.host, one.port))
        {
            return Err(format!("{}:{} is there twice", one.host, one.port));
        }
    }
    Ok(nodes)
}

/// `host:peer-port`, several of them with commas between.
fn seeds(text: &str) -> Result<Vec<(String, u16)>, String> {
    let seed = |text: &str| {
        let wrong = || format!("'{text}' is not the address of a node: HOST:PEER-PORT is needed");
        let (name, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = parse::integer(port, 1, 65535).map_err(|_| wrong())? as u16;
        Ok((named_host(name).ok_or_else(wrong)??, port))
    };
    text.split(',').map(|text| seed(text.trim())).collect()
}

/// A host before a port. `None`: there is none.
fn named_host(text: &str) -> Option<Result<String, String>> {
    // An IPv6 address stands in brackets, as in a URL.
    let name = text.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name = name.unwrap_or(text);
    (!name.is_empty() && name.len() <= HOST_BYTES_MAX).then(|| host(name))
}

/// `host:port` or `host:port@peer-port`.
fn node(text: &str) -> Result<NodeAddress, String> {
    let wrong = || format!("'{text}' is not a node: HOST:PORT or HOST:PORT@PEER-PORT is needed");
    let (client, peer) = match text.split_once('@') {
        Some((client, peer)) => (client, Some(peer)),
        None => (text, None),
    };
    let (name, port) = client.rsplit_once(':').ok_or_else(wrong)?;
    let host = named_host(name).ok_or_else(wrong)?;
    let number = |text: &str| parse::integer(text, 1, 65535).map_err(|_| wrong());
    let port = number(port)? as u16;
    let peer_port = match peer {
        Some(text) => number(text)? as u16,
        None => port.checked_add(PEER_PORT_OFFSET).ok_or_else(|| {
            format!("'{text}': the port for other nodes would be above 65535: name it as {text}@PEER-PORT")
        })?,
    };
    Ok(NodeAddress {
        host: host?,
        port,
        peer_port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_named_by_host_and_port() {
        let found = nodes("a:7000, [::1]:7100,10.0.0.1:7200@9000").unwrap();
        let of = |node: &NodeAddress| (node.host.clone(), node.port, node.peer_port);
        assert_eq!(
            found.iter().map(of).collect::<Vec<_>>(),
            [
                ("a".into(), 7000, 17000),
                ("::1".into(), 7100, 17100),
                ("10.0.0.1".into(), 7200, 9000)
            ]
        );
        for (text, why) in [
            ("a", "HOST:PORT"),
            (":7000", "HOST:PORT"),
            ("a:0", "HOST:PORT"),
            ("a:7000,a:7000", "twice"),
            ("a:60000", "PEER-PORT"),
            ("a:1,b:1,c:1,d:1,e:1,f:1", "at most 5"),
            ("0.0.0.0:1", "every interface"),
        ] {
            let error = nodes(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn nodes_to_join_are_named_by_host_and_peer_port() {
        assert_eq!(
            seeds("a:17000, [::1]:17100").unwrap(),
            [("a".into(), 17000), ("::1".into(), 17100)]
        );
        for text in ["a", ":17000", "a:0", "a:17000,", "a b:17000", "a:7000@17000"] {
            assert!(seeds(text).is_err(), "{text}");
        }
        let own = |port, peer_port| own_address(("a".into(), port), peer_port).map(|own| own.peer_port);
        assert_eq!(own(7000, None).unwrap(), 17_000);
        assert_eq!(own(7000, Some(9)).unwrap(), 9);
        assert!(own(0, Some(9)).is_err() && own(60_000, None).is_err());
    }
}
