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

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// All first nodes, in the order of the list: the first is node 1.
    pub nodes: Vec<NodeAddress>,
    /// Which of them this one is.
    pub me: usize,
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
    /// `--announce`
    pub announce: String,
    /// `--peer-port`
    pub peer_port: String,
    /// `--cluster-secret`
    pub secret: String,
    /// `--cluster-secret-file`
    pub secret_file: String,
}

impl ClusterTexts {
    pub(super) fn of(raw: &RawOptions) -> Self {
        let text = |option: &Option<String>| option.clone().unwrap_or_default();
        Self {
            initial_cluster: text(&raw.initial_cluster),
            announce: text(&raw.announce),
            peer_port: text(&raw.peer_port),
            secret: raw.cluster_secret.clone(),
            secret_file: text(&raw.cluster_secret_file),
        }
    }
}

impl ClusterConfig {
    /// Reads the options about other nodes. `own`: host and port of this node when `--announce` does not say. `None`: there
    /// are no other nodes.
    pub(super) fn check(raw: &RawOptions, own: (String, u16)) -> Result<Option<Self>, ConfigError> {
        let Some(list) = given(raw.initial_cluster.clone()) else {
            return Ok(None);
        };
        let nodes = option("initial-cluster", &list, nodes)?;
        let own = match given(raw.announce.clone()) {
            Some(text) => {
                let node = option("announce", &text, node)?;
                (node.host, node.port)
            }
            None => own,
        };
        let found = nodes.iter().position(|node| (&node.host, node.port) == (&own.0, own.1));
        let Some(me) = found else {
            return Err(ConfigError::Option {
                name: "initial-cluster",
                value: list,
                message: format!(
                    "this node, {}:{}, must be among the nodes: say with --announce HOST:PORT which of them it is",
                    own.0, own.1
                ),
            });
        };
        let listen_port = match given(raw.peer_port.clone()) {
            Some(text) => option("peer-port", &text, |t| parse::integer(t, 1, 65535))? as u16,
            None => nodes[me].peer_port,
        };
        let secret = secret(raw)?;
        if secret.is_empty() && nodes.iter().any(|node| !is_this_machine(&node.host)) {
            return Err(ConfigError::Option {
                name: "cluster-secret",
                value: String::new(),
                message: "nodes on several machines need a secret of at least 16 characters, the same on all of them, \
                          so that nobody else can pass for one: give it with --cluster-secret-file"
                    .into(),
            });
        }
        Ok(Some(Self {
            nodes,
            me,
            listen_port,
            secret,
        }))
    }

    /// This node.
    pub fn own(&self) -> &NodeAddress {
        &self.nodes[self.me]
    }

    /// The list as all nodes were given it.
    pub fn names(&self) -> Vec<String> {
        let name = |node: &NodeAddress| format!("{}:{}@{}", node.host, node.port, node.peer_port);
        self.nodes.iter().map(name).collect()
    }
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

/// `host:port` or `host:port@peer-port`.
fn node(text: &str) -> Result<NodeAddress, String> {
    let wrong = || format!("'{text}' is not a node: HOST:PORT or HOST:PORT@PEER-PORT is needed");
    let (client, peer) = match text.split_once('@') {
        Some((client, peer)) => (client, Some(peer)),
        None => (text, None),
    };
    let (name, port) = client.rsplit_once(':').ok_or_else(wrong)?;
    // An IPv6 address stands in brackets, as in a URL.
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    if name.is_empty() || name.len() > HOST_BYTES_MAX {
        return Err(wrong());
    }
    let number = |text: &str| parse::integer(text, 1, 65535).map_err(|_| wrong());
    let port = number(port)? as u16;
    let peer_port = match peer {
        Some(text) => number(text)? as u16,
        None => port.checked_add(PEER_PORT_OFFSET).ok_or_else(|| {
            format!("'{text}': the port for other nodes would be above 65535: name it as {text}@PEER-PORT")
        })?,
    };
    Ok(NodeAddress {
        host: host(name)?,
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
}
