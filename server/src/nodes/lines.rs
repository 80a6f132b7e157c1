//! A [`NodeList`] as lines of text: a part of the file `cluster`, and of the answer to a node that joins.
//!
//! Format: `docs/formats/cluster.md`, "Nodes".

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Node, NodeList, NodeNumber, NodeState, Zone};

/// What stands for an incarnation that is not known.
const UNKNOWN: &str = "-";

/// Appends the lines of a list; neither the secret nor which node this one is.
pub fn put(list: &NodeList, text: &mut String) {
    let mut line =
        |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a String takes what is written to it");
    line(format_args!("cluster {:032x}", list.cluster));
    line(format_args!("epoch {}", list.epoch));
    line(format_args!("cores {}", list.cores));
    line(format_args!("first {}", list.first));
    for node in &list.nodes {
        let Node {
            number,
            host,
            address,
            port,
            core_port_base,
            peer_port_base,
            state,
            incarnation,
            zone,
        } = node;
        let incarnation = incarnation.map_or(UNKNOWN.to_owned(), |is| format!("{is:032x}"));
        let zone = zone.as_ref().map_or(String::new(), |zone| format!(" {zone}"));
        line(format_args!(
            "node {number} {} {host} {address} {port} {core_port_base} {peer_port_base} {incarnation}{zone}",
            state.name()
        ));
    }
    for incarnation in &list.removed {
        line(format_args!("removed {incarnation:032x}"));
    }
}

/// A list that is read line by line.
#[derive(Debug, Default)]
pub struct Reader {
    cluster: Option<u128>,
    epoch: Option<u64>,
    cores: Option<u16>,
    first: Option<u32>,
    nodes: Vec<Node>,
    removed: BTreeSet<u128>,
}

/// What a line was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// One of a list.
    Taken,
    /// Something else.
    Other,
    /// It should be one of a list, but makes no sense.
    Malformed,
}

impl Reader {
    /// Takes in a line.
    pub fn take(&mut self, line: &str) -> Line {
        let mut words = line.split(' ');
        let known = match words.next() {
            Some("cluster") => words.next().and_then(incarnation).map(|name| self.cluster = Some(name)),
            Some("epoch") => number(&mut words).map(|epoch| self.epoch = Some(epoch)),
            Some("cores") => number(&mut words).map(|cores| self.cores = Some(cores)),
            Some("first") => number(&mut words).map(|first| self.first = Some(first)),
            Some("node") => node(&mut words).map(|node| self.nodes.push(node)),
            Some("removed") => words.next().and_then(incarnation).map(|is| _ = self.removed.insert(is)),
            _ => return Line::Other,
        };
        match known {
            Some(()) if words.next().is_none() => Line::Taken,
            _ => Line::Malformed,
        }
    }

    /// The list as node `me` has it. `None`: it is not whole, or `me` is not in it.
    pub fn finish(self, me: NodeNumber, secret: Vec<u8>) -> Option<NodeList> {
        let in_order = self.nodes.windows(2).all(|pair| pair[0].number < pair[1].number);
        let (first, joined) = (self.first?, |node: &&Node| {
            node.number.0 > self.first.unwrap_or_default()
        });
        if !in_order || first == 0 || self.nodes.iter().filter(joined).any(|node| node.incarnation.is_none()) {
            return None;
        }
        let list = NodeList {
            cluster: self.cluster?,
            secret,
            me,
            cores: self.cores.filter(|&cores| cores > 0)?,
            epoch: self.epoch?,
            first,
            nodes: self.nodes,
            removed: self.removed,
        };
        list.node(me)?;
        Some(list)
    }
}

fn node<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Node> {
    Some(Node {
        number: NodeNumber(number(words).filter(|&number| number > 0)?),
        state: match words.next()? {
            "up" => NodeState::Up,
            "draining" => NodeState::Draining,
            _ => return None,
        },
        host: words.next().filter(|host| !host.is_empty())?.to_owned(),
        address: number(words)?,
        port: number(words)?,
        core_port_base: number(words)?,
        peer_port_base: number(words)?,
        incarnation: match words.next()? {
            UNKNOWN => None,
            text => Some(incarnation(text)?),
        },
        zone: match words.next() {
            None => None,
            Some(name) => Some(Zone::parse(name).ok()?),
        },
    })
}

fn number<'a, T: std::str::FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Option<T> {
    words.next()?.parse().ok()
}

/// 32 hexadecimal digits.
pub fn incarnation(text: &str) -> Option<u128> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::super::list_for_tests;
    use super::*;

    fn list() -> NodeList {
        let mut list = list_for_tests(4, 5);
        (list.epoch, list.first) = (9, 3);
        list.nodes.remove(1);
        for (node, incarnation) in list.nodes.iter_mut().zip([None, Some(3), Some(u128::MAX), Some(5)]) {
            node.incarnation = incarnation;
        }
        list.nodes[1].state = NodeState::Draining;
        list.nodes[2].zone = Some(Zone::parse("rack-7").unwrap());
        list.nodes[3].address = "::1".parse().unwrap();
        list.removed.extend([2, 77]);
        list
    }

    fn read(text: &str, me: u32) -> Option<NodeList> {
        let mut reader = Reader::default();
        if !text.lines().all(|line| reader.take(line) == Line::Taken) {
            return None;
        }
        reader.finish(NodeNumber(me), b"s".to_vec())
    }

    #[test]
    fn a_list_comes_back() {
        let (list, mut text) = (list(), String::new());
        put(&list, &mut text);
        assert_eq!(read(&text, 4), Some(list));
        assert_eq!(read(&text, 2), None, "node 2 is not in it");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let mut text = String::new();
        put(&list(), &mut text);
        for (good, bad) in [
            ("epoch 9\n", ""),
            ("cores 2", "cores 0"),
            ("cores 2", "cores 2 2"),
            ("first 3", "first -3"),
            ("node 4 up", "node 4 well"),
            ("node 4 up", "node 1 up"),
            ("7501 17500", "7501 175000"),
            ("ffffffffffffffffffffffffffffffff", "-"),
            ("ffffffffffffffffffffffffffffffff", "+fffffffffffffffffffffffffffffff"),
            (" rack-7", " "),
            (" rack-7", " rack 7"),
            ("removed 0", "removed "),
            ("node 5", "nodes 5"),
        ] {
            assert!(text.contains(good), "{good} in {text}");
            assert_eq!(read(&text.replacen(good, bad, 1), 4), None, "{bad}");
        }
    }
}
