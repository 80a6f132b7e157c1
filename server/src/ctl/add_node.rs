//! `ctl add-node`: how a new node is started so that it joins this cluster, and, if asked to, whether it has.
//!
//! Nothing is changed by it: a node joins by itself, with the cluster's secret, and only then there is something to write down. So no
//! member is left behind that nobody starts.

use std::net::IpAddr;
use std::time::Duration;

use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::thread::hold;

use super::fetch::page;
use super::options::{AddOptions, CtlOptions};
use super::table::listed;
use super::{Failure, Outcome};
use crate::admin::cluster_pages::{GroupPage, MetadataPage, NodePage};
use crate::config::NodeAddress;

/// It is looked for this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// So many nodes to ask are named: one of them may be away.
const SEEDS_MAX: usize = 3;

/// Carries it out.
///
/// # Errors
/// What was given is no address, other nodes could not reach it, a port of it is another node's, or there is no cluster.
pub fn run(options: &CtlOptions, wanted: &AddOptions) -> Result<Outcome, Failure> {
    let new = NodeAddress::parse(&wanted.node)?;
    let (_, groups): (_, Vec<GroupPage>) = page(&options.admin, "/groups")?;
    let mut nodes = nodes(options)?;
    let words = match find(&nodes, &new) {
        None => Some(command(&nodes, groups.len(), &new)?),
        Some(_) => None,
    };
    if let Some(words) = words.as_ref().filter(|_| !options.json) {
        println!(
            "start the node there, as a user who owns the directory, with the secret of the cluster in the file:\n\n  {}\n",
            words.join(" ")
        );
    }
    let end = SystemClock.tick() + Duration::from_secs(u64::from(wanted.wait));
    let has_joined = |nodes: &[NodePage]| find(nodes, &new).is_some_and(|node| node.reachable);
    while !has_joined(&nodes) && SystemClock.tick() < end {
        hold(LOOK_EVERY);
        nodes = self::nodes(options)?;
    }
    let found = find(&nodes, &new);
    let done = has_joined(&nodes);
    if options.json {
        let number = found.map(|node| node.node);
        println!(
            "{}",
            serde_json::json!({ "command": words, "node": number, "joined": done })
        );
    } else if let Some(node) = found {
        let metadata: MetadataPage = page(&options.admin, "/metadata")?.1;
        let held = metadata
            .node(node.node)
            .map(|node| listed(&node.groups))
            .unwrap_or_default();
        let reached = if done { "" } else { ", and not reached" };
        println!(
            "node {} is one of the cluster{reached}: it replicates, or is to, groups {held}",
            node.node
        );
    } else if wanted.wait > 0 {
        eprintln!("slotcore: no node has joined from there: its log says why");
    }
    // Who did not ask to wait was told how, which is all there was to do.
    match done || wanted.wait == 0 {
        true => Ok(Outcome::Well),
        false => Ok(Outcome::NotWell),
    }
}

fn nodes(options: &CtlOptions) -> Result<Vec<NodePage>, Failure> {
    Ok(page(&options.admin, "/nodes")?.1)
}

/// The node that clients reach there.
fn find<'a>(nodes: &'a [NodePage], new: &NodeAddress) -> Option<&'a NodePage> {
    nodes
        .iter()
        .find(|node| (&node.host, node.port) == (&new.host, new.port))
}

/// The words that start it.
fn command(nodes: &[NodePage], cores: usize, new: &NodeAddress) -> Result<Vec<String>, Failure> {
    let others: Vec<(&NodePage, u16)> = nodes
        .iter()
        .filter_map(|node| Some((node, node.peer_port_base?)))
        .collect();
    if others.is_empty() {
        return Err(
            "this node belongs to no cluster: one begins with nodes that have the same --initial-cluster".into(),
        );
    }
    let is_here = |host: &str| host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if is_here(&new.host) && !others.iter().all(|(node, _)| is_here(&node.host)) {
        return Err(format!(
            "nodes on other machines cannot reach {}: give the address that they use",
            new.host
        )
        .into());
    }
    // A node takes one port for every key, one for each core behind it, and as many for other nodes.
    let ports = |port: u16, peer_port: u16| {
        let (port, peer_port, cores) = (usize::from(port), usize::from(peer_port), cores);
        [port..port + 1 + cores, peer_port..peer_port + cores]
    };
    let wanted = ports(new.port, new.peer_port);
    for (node, peer_port) in others.iter().filter(|(node, _)| node.host == new.host) {
        for taken in ports(node.port, *peer_port) {
            if wanted
                .iter()
                .any(|wanted| wanted.start < taken.end && taken.start < wanted.end)
            {
                return Err(format!(
                    "node {} has ports {} to {} there: a node needs one for clients and the {cores} behind it, and {cores} for other nodes",
                    node.node,
                    taken.start,
                    taken.end - 1
                )
                .into());
            }
        }
    }
    if wanted.iter().any(|ports| ports.end > 1 << 16)
        || wanted[0].end > wanted[1].start && wanted[1].end > wanted[0].start
    {
        return Err(format!(
            "a node needs its port for clients and the {cores} behind it, and {cores} others for nodes, all below 65536"
        )
        .into());
    }
    let bracketed = |host: &str| match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    // Those that are reached first.
    let mut seeds: Vec<_> = others.iter().collect();
    seeds.sort_by_key(|(node, _)| (!node.reachable, node.node));
    let seeds: Vec<String> = seeds
        .iter()
        .take(SEEDS_MAX)
        .map(|(node, peer_port)| format!("{}:{peer_port}", bracketed(&node.host)))
        .collect();
    let bind = match new.host.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => "0.0.0.0".to_owned(),
    };
    let announce = format!("{}:{}@{}", bracketed(&new.host), new.port, new.peer_port);
    let (port, cores) = (new.port.to_string(), cores.to_string());
    let words = [
        "slotcore",
        "server",
        "--dir",
        "DIR",
        "--cluster-secret-file",
        "FILE",
        "--cores",
        &cores,
        "--bind",
        &bind,
        "--port",
        &port,
        "--announce",
        &announce,
        "--join",
        &seeds.join(","),
    ];
    Ok(words.map(ToString::to_string).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(hosts: &[(&str, u16)]) -> Vec<NodePage> {
        let page = |(number, (host, port)): (u32, &(&str, u16))| NodePage {
            node: number,
            me: number == 1,
            state: "up".into(),
            host: (*host).into(),
            port: *port,
            core_port_base: port + 1,
            peer_port_base: Some(port + 10_000),
            reachable: number != 1,
            leads: Vec::new(),
            zone: None,
        };
        (1..).zip(hosts).map(page).collect()
    }

    fn said(nodes: &[NodePage], new: &str) -> String {
        match command(nodes, 2, &NodeAddress::parse(new).unwrap()) {
            Ok(words) => words.join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_words_say_all_that_a_node_needs_to_know() {
        let there = nodes(&[("10.0.0.1", 7000), ("10.0.0.2", 7000), ("::1", 7000), ("n4", 7000)]);
        assert_eq!(
            said(&there, "10.0.0.5:7000"),
            "slotcore server --dir DIR --cluster-secret-file FILE --cores 2 --bind 10.0.0.5 --port 7000 \
             --announce 10.0.0.5:7000@17000 --join 10.0.0.2:17000,[::1]:17000,n4:17000"
        );
        assert!(said(&there, "n5:7000@9000").contains("--bind 0.0.0.0 --port 7000 --announce n5:7000@9000"));
        assert!(said(&there, "127.0.0.1:7000").contains("cannot reach 127.0.0.1"));
        for (new, why) in [
            ("10.0.0.1:7002", "ports 7000 to 7002"),
            ("10.0.0.1:9000@17001", "ports 17000 to 17001"),
            ("10.0.0.1:6998@9000", "ports 7000 to 7002"),
            ("10.0.0.5:65534@9000", "below 65536"),
            ("10.0.0.5:9000@9002", "below 65536"),
        ] {
            assert!(said(&there, new).contains(why), "{new}: {}", said(&there, new));
        }
        assert!(said(&there, "10.0.0.1:6997@9000").starts_with("slotcore server"));
        assert!(said(&[], "10.0.0.5:7000").contains("belongs to no cluster"));
    }

    #[test]
    fn a_node_is_found_by_what_clients_are_told() {
        let there = nodes(&[("a", 7000), ("b", 7000)]);
        let found = |new: &str| find(&there, &NodeAddress::parse(new).unwrap()).map(|node| node.node);
        assert_eq!(
            [found("b:7000"), found("b:7001"), found("c:7000")],
            [Some(2), None, None]
        );
    }
}
