//! Who leads: what a core knows of its own group ([`Standing`]), and what the cores of a node tell each other of all
//! groups ([`GroupLeaders`]), for MOVED and for what CLUSTER answers.
//!
//! Both are hints as far as others are concerned: whoever follows them to a node that does not lead any more is sent on.
//! Only a core's own [`Standing::Leads`] allows something, and what it allows (to propose) is checked again by Raft.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use slotcore_rt::ids::CoreId;

use crate::nodes::{NodeList, NodeNumber};

/// What a core is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It leads, has executed the first entry of its term, and a quorum has been heard from lately: it takes commands.
    Leads,
    /// The same core of this node leads, and was heard from lately.
    Follows(NodeNumber),
    /// Nobody is known to lead: there is an election, or no quorum.
    Unknown,
}

/// The leader of each group, as far as known on this node; group `i` is that of the cores `i`.
#[derive(Debug)]
pub struct GroupLeaders(Box<[AtomicU32]>);

impl GroupLeaders {
    /// Of so many groups, whose leaders are not known yet.
    pub fn new(groups: u16) -> Self {
        Self((0..groups).map(|_| AtomicU32::new(0)).collect())
    }

    /// The node that leads the group of `core`.
    pub fn of(&self, core: CoreId) -> Option<NodeNumber> {
        // Nothing else is read on the strength of it.
        match self.0[usize::from(core.0)].load(Ordering::Relaxed) {
            0 => None,
            number => Some(NodeNumber(number)),
        }
    }

    /// Told by the core that has a replica of the group.
    pub fn set(&self, core: CoreId, leader: Option<NodeNumber>) {
        self.0[usize::from(core.0)].store(leader.map_or(0, |node| node.0), Ordering::Relaxed);
    }
}

/// The cluster as the cores of a node see it.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// Who belongs to it.
    pub nodes: Arc<NodeList>,
    /// Who leads.
    pub leaders: Arc<GroupLeaders>,
}

impl ClusterView {
    /// Where the group of `core` is to be asked: its leader as far as known, otherwise this node, which will know.
    pub fn leader_or_me(&self, core: CoreId) -> NodeNumber {
        self.leaders
            .of(core)
            .filter(|&node| self.nodes.node(node).is_some())
            .unwrap_or(self.nodes.me)
    }

    /// `MOVED slot host:port` to where the group of `core` is to be asked.
    pub fn moved(&self, slot: u16, core: CoreId) -> String {
        let node = self
            .nodes
            .node(self.leader_or_me(core))
            .expect("this node is in the list, and others were looked up");
        format!("MOVED {slot} {}:{}", node.host, node.core_port(core))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::Node;

    #[test]
    fn clients_are_sent_to_the_leader_and_without_one_to_this_node() {
        let node = |number| Node {
            number: NodeNumber(number),
            host: format!("n{number}"),
            address: "127.0.0.1".parse().unwrap(),
            port: 7000,
            core_port_base: 7001,
            peer_port_base: 17000,
        };
        let view = ClusterView {
            nodes: Arc::new(NodeList {
                cluster: 1,
                secret: Vec::new(),
                me: NodeNumber(2),
                cores: 2,
                nodes: vec![node(1), node(2)],
            }),
            leaders: Arc::new(GroupLeaders::new(2)),
        };
        assert_eq!(view.moved(5, CoreId(1)), "MOVED 5 n2:7002");
        view.leaders.set(CoreId(1), Some(NodeNumber(1)));
        assert_eq!(view.moved(5, CoreId(1)), "MOVED 5 n1:7002");
        assert_eq!(view.moved(5, CoreId(0)), "MOVED 5 n2:7001");
        // It is not in this node's list yet, or not any more.
        view.leaders.set(CoreId(1), Some(NodeNumber(9)));
        assert_eq!(view.moved(5, CoreId(1)), "MOVED 5 n2:7002");
        view.leaders.set(CoreId(1), None);
        assert_eq!(view.leaders.of(CoreId(1)), None);
    }
}
