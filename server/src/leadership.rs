//! Who leads: what a core knows of its own group ([`Standing`]), and what the cores of a node tell each other of all
//! groups ([`GroupLeaders`]), for MOVED and for what CLUSTER answers.
//!
//! Both are hints as far as others are concerned: whoever follows them to a node that does not lead any more is sent on.
//! Only a core's own [`Standing::Leads`] allows something, and what it allows (to propose) is checked again by Raft.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use slotcore_rt::ids::CoreId;

use crate::nodes::{NodeList, NodeLists, NodeNumber};
use crate::steering::Steering;

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

/// The leader of each group, as far as known on this node, and how many copies there are of what it has answered; group `i` is
/// that of the cores `i`.
#[derive(Debug)]
pub struct GroupLeaders(Box<[Facts]>);

#[derive(Debug, Default)]
struct Facts {
    leader: AtomicU32,
    certain_copies: AtomicUsize,
}

impl GroupLeaders {
    /// Of so many groups, whose leaders are not known yet.
    pub fn new(groups: u16) -> Self {
        Self((0..groups).map(|_| Facts::default()).collect())
    }

    /// The node that leads the group of `core`.
    pub fn of(&self, core: CoreId) -> Option<NodeNumber> {
        // Nothing else is read on the strength of it.
        match self.0[usize::from(core.0)].leader.load(Ordering::Relaxed) {
            0 => None,
            number => Some(NodeNumber(number)),
        }
    }

    /// Told by the core that has a replica of the group.
    pub fn set(&self, core: CoreId, leader: Option<NodeNumber>) {
        let number = leader.map_or(0, |node| node.0);
        self.0[usize::from(core.0)].leader.store(number, Ordering::Relaxed);
    }

    /// Told by the core that has a replica of the group: so many others have whatever is committed. 0 where nothing is known.
    pub fn set_certain_copies(&self, core: CoreId, copies: usize) {
        let known = &self.0[usize::from(core.0)].certain_copies;
        if known.load(Ordering::Relaxed) != copies {
            known.store(copies, Ordering::Relaxed);
        }
    }

    /// Copies besides one that there are of whatever was answered, of any group.
    pub fn certain_copies(&self) -> usize {
        let copies = self.0.iter().map(|facts| facts.certain_copies.load(Ordering::Relaxed));
        copies.min().unwrap_or(0)
    }
}

/// The cluster as a core of a node, or another of its threads, sees it.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// Who belongs to it, until the holder takes a newer list.
    pub nodes: Arc<NodeList>,
    /// Where newer lists come from.
    pub lists: Arc<NodeLists>,
    /// Who leads.
    pub leaders: Arc<GroupLeaders>,
    /// What the metadata group has decided of the groups.
    pub steering: Arc<Steering>,
}

impl ClusterView {
    /// Of these nodes; nobody is known to lead.
    pub fn new(nodes: NodeList) -> Self {
        let (cores, nodes) = (nodes.cores, Arc::new(nodes));
        Self {
            lists: Arc::new(NodeLists::new(nodes.clone())),
            nodes,
            leaders: Arc::new(GroupLeaders::new(cores)),
            steering: Arc::default(),
        }
    }

    /// Takes the newest list. True: it is another one.
    #[inline]
    pub fn renew(&mut self) -> bool {
        match self.lists.newer_than(self.nodes.epoch) {
            Some(newer) => {
                self.nodes = newer;
                true
            }
            None => false,
        }
    }

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
    use crate::nodes::list_for_tests;

    #[test]
    fn clients_are_sent_to_the_leader_and_without_one_to_this_node() {
        let mut view = ClusterView::new(list_for_tests(2, 2));
        assert_eq!(view.moved(5, CoreId(1)), "MOVED 5 n2:7202");
        view.leaders.set(CoreId(1), Some(NodeNumber(1)));
        assert_eq!(view.moved(5, CoreId(1)), "MOVED 5 n1:7102");
        assert_eq!(view.moved(5, CoreId(0)), "MOVED 5 n2:7201");
        // It is not in this node's list yet, or not any more.
        view.leaders.set(CoreId(1), Some(NodeNumber(9)));
        assert_eq!(view.moved(5, CoreId(1)), "MOVED 5 n2:7202");
        assert!(!view.renew());
        let list = list_for_tests(2, 9);
        view.lists.publish(Arc::new(NodeList { epoch: 1, ..list }));
        assert_eq!(view.moved(5, CoreId(1)), "MOVED 5 n2:7202", "the list is the old one");
        assert!(view.renew() && !view.renew());
        assert_eq!(view.moved(5, CoreId(1)), "MOVED 5 n9:7902");
        view.leaders.set(CoreId(1), None);
        assert_eq!(view.leaders.of(CoreId(1)), None);
    }

    #[test]
    fn the_group_with_the_fewest_copies_counts_however_many_nodes_there_are() {
        let view = ClusterView::new(list_for_tests(2, 5));
        assert_eq!(view.leaders.certain_copies(), 0, "nothing is known");
        view.leaders.set_certain_copies(CoreId(0), 2);
        assert_eq!(view.leaders.certain_copies(), 0);
        view.leaders.set_certain_copies(CoreId(1), 1);
        assert_eq!(view.leaders.certain_copies(), 1);
    }
}
