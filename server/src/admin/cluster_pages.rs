//! What the admin endpoint says of the cluster, as JSON: [`Seen`] makes it from what the cores tell, `slotcore ctl` reads it.
//!
//! A node knows its own replicas exactly, others as far as they have told: how far a follower is behind is known where its
//! group is led. Fields may be added, and never change their meaning.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use slotcore_raft_shard::Role;
use slotcore_rt::ids::CoreId;

use crate::cluster_map::ClusterMap;
use crate::group_facts::{GroupFacts, ReplicaFacts, Vote};
use crate::leadership::ClusterView;
use crate::nodes::{Node, NodeNumber, NodeState};

/// `/cluster`: whether all is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusPage {
    /// Of this node.
    pub version: String,
    /// The cluster's name, 32 hexadecimal digits; `None`: the node is on its own.
    pub cluster: Option<String>,
    /// The node that tells this; 0: it is on its own.
    pub node: u32,
    /// Clients are served.
    pub ready: bool,
    /// Since clients were served.
    pub uptime_seconds: u64,
    /// Cores of every node, which is how many groups there are.
    pub groups: usize,
    /// Groups that this node leads.
    pub groups_led: Vec<u16>,
    /// Groups that nobody is known to lead.
    pub groups_without_leader: Vec<u16>,
    /// Cores of this node that do not answer; what is said of their groups is old.
    pub cores_stuck: Vec<u16>,
    /// How many nodes there are.
    pub nodes: usize,
    /// Nodes to which some core of this one has no link.
    pub nodes_unreachable: Vec<u32>,
}

impl StatusPage {
    /// True when nothing is missing.
    pub fn is_well(&self) -> bool {
        let missing = [&self.groups_without_leader, &self.cores_stuck];
        self.ready && missing.iter().all(|list| list.is_empty()) && self.nodes_unreachable.is_empty()
    }
}

/// One of `/nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePage {
    /// Its number; 0: it is on its own.
    pub node: u32,
    /// It is the one that tells this.
    pub me: bool,
    /// `up`, or `draining`: it is to hold no replicas.
    #[serde(default = "up")]
    pub state: String,
    /// What clients are told to connect to.
    pub host: String,
    /// The port that answers for every key.
    pub port: u16,
    /// The port of core 0; core `i` has the `i`-th after it.
    pub core_port_base: u16,
    /// Where core 0 listens for other nodes, likewise; `None`: there are none.
    pub peer_port_base: Option<u16>,
    /// All cores of the node that tells this have links to it.
    pub reachable: bool,
    /// Groups that it is known to lead.
    pub leads: Vec<u16>,
    /// What it may fail together with, if it was told.
    #[serde(default)]
    pub zone: Option<String>,
}

/// What a node is used for when an older one does not say it.
fn up() -> String {
    NodeState::Up.name().to_owned()
}

/// One of `/groups`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPage {
    /// Its number, which is that of its core on every node.
    pub group: u16,
    /// Its first slot.
    pub slot_first: u16,
    /// Its last slot.
    pub slot_last: u16,
    /// The node that leads, if one is known to.
    pub leader: Option<u32>,
    /// What the replica of the node that tells this is: `leader`, `follower`, `candidate`, `learner` or `stopped`.
    pub role: String,
    /// Raft's election counter.
    pub term: u64,
    /// The last entry of this node's log.
    pub last_index: u64,
    /// The last entry known to be on a quorum.
    pub committed_index: u64,
    /// The last entry executed.
    pub applied_index: u64,
    /// The last entry of the newest snapshot; 0: there is none.
    pub snapshot_index: u64,
    /// The last entry that the log has forgotten.
    pub purged_index: u64,
    /// False: the core did not answer, and this is what it told last.
    pub fresh: bool,
    /// All replicas.
    pub replicas: Vec<ReplicaPage>,
}

/// A replica of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaPage {
    /// The node it is on.
    pub node: u32,
    /// `voter`; `leaving`: it votes until it is gone; `learner`: it only gets the log.
    pub vote: String,
    /// The core of the node that tells this has a link to it.
    pub reachable: bool,
    /// Since it was last heard from, in milliseconds.
    pub silent_ms: Option<u64>,
    /// Entries it lacks of the leader's log, if the node that tells this leads.
    pub lag: Option<u64>,
}

/// `/metadata`: what the metadata group has decided, as far as this node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataPage {
    /// Counts the changes of the list of nodes; 0: nothing has been decided.
    pub epoch: u64,
    /// Nodes that shall replicate each group.
    pub replicas: u8,
    /// Nodes that vote on this.
    #[serde(default)]
    pub voters: Vec<u32>,
    /// Which of them leads, if one is known to.
    #[serde(default)]
    pub leader: Option<u32>,
    /// Nodes that may replicate groups, and those that are to be removed.
    pub nodes: Vec<MemberPage>,
}

/// A node as the metadata group has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPage {
    /// Its number.
    pub node: u32,
    /// `up`, or `draining`: it is to hold no replicas.
    pub state: String,
    /// Groups that it replicates, or is to.
    pub groups: Vec<u16>,
    /// What it may fail together with, if it was told.
    #[serde(default)]
    pub zone: Option<String>,
}

impl MetadataPage {
    /// As `view` knows it.
    pub fn of(view: Option<&ClusterView>) -> Self {
        let Some(view) = view else { return Self::default() };
        let (state, council) = (view.steering.state(), view.steering.council());
        let member = |node: &Node| MemberPage {
            node: node.number.0,
            state: node.state.name().to_owned(),
            groups: state.groups_of(node.number).map(|core| core.0).collect(),
            zone: zone_name(node),
        };
        Self {
            epoch: state.epoch,
            replicas: state.replicas,
            voters: council.voters.iter().map(|node| node.0).collect(),
            leader: council.leader.map(|node| node.0),
            nodes: state.nodes.values().map(member).collect(),
        }
    }

    /// The node of this number.
    pub fn node(&self, number: u32) -> Option<&MemberPage> {
        self.nodes.iter().find(|node| node.node == number)
    }
}

/// The cluster at one moment, as a node sees it.
pub struct Seen<'a> {
    /// Which core has which slots.
    pub map: &'a ClusterMap,
    /// The nodes; `None`: there are no others.
    pub view: Option<ClusterView>,
    /// What each core knows of its group, and whether it has told just now.
    pub groups: Vec<(Option<GroupFacts>, bool)>,
    /// Clients are served.
    pub ready: bool,
    /// Since clients were served.
    pub uptime: Duration,
}

impl Seen<'_> {
    /// `/cluster`
    pub fn status(&self) -> StatusPage {
        let me = self.me();
        let nodes = self.nodes();
        let known = |number: u16| self.groups[usize::from(number)].0.as_ref();
        let groups = 0..u16::try_from(self.groups.len()).unwrap_or(u16::MAX);
        let leader = |number: u16| known(number).and_then(|facts| facts.leader);
        StatusPage {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: self.view.as_ref().map(|view| format!("{:032x}", view.nodes.cluster)),
            node: me.0,
            ready: self.ready,
            uptime_seconds: self.uptime.as_secs(),
            groups: self.groups.len(),
            groups_led: groups.clone().filter(|&group| leader(group) == Some(me)).collect(),
            groups_without_leader: groups.clone().filter(|&group| leader(group).is_none()).collect(),
            cores_stuck: groups.filter(|&core| !self.groups[usize::from(core)].1).collect(),
            nodes_unreachable: nodes
                .iter()
                .filter(|node| !node.reachable)
                .map(|node| node.node)
                .collect(),
            nodes: nodes.len(),
        }
    }

    /// `/nodes`
    pub fn nodes(&self) -> Vec<NodePage> {
        let Some(view) = &self.view else {
            return vec![NodePage {
                node: NodeNumber::ALONE.0,
                me: true,
                state: up(),
                host: self.map.host.clone(),
                port: self.map.any_slot_port,
                core_port_base: self.map.node(CoreId(0)).port,
                peer_port_base: None,
                reachable: true,
                leads: self.led_by(NodeNumber::ALONE),
                zone: None,
            }];
        };
        let page = |node: &Node| NodePage {
            node: node.number.0,
            me: node.number == view.nodes.me,
            state: node.state.name().to_owned(),
            host: node.host.clone(),
            port: node.port,
            core_port_base: node.core_port_base,
            peer_port_base: Some(node.peer_port_base),
            reachable: node.number == view.nodes.me || self.is_reachable(node.number),
            leads: self.led_by(node.number),
            zone: zone_name(node),
        };
        view.nodes.nodes.iter().map(page).collect()
    }

    /// `/groups`
    pub fn groups(&self) -> Vec<GroupPage> {
        let told = (0..).zip(&self.groups);
        told.filter_map(|(number, (facts, fresh))| {
            let facts = facts.as_ref()?;
            let slots = self.map.range_of(CoreId(number));
            let at = facts.positions;
            Some(GroupPage {
                group: number,
                slot_first: *slots.start(),
                slot_last: *slots.end(),
                leader: facts.leader.map(|node| node.0),
                role: role_name(facts.role).to_owned(),
                term: facts.term.0,
                last_index: at.last.0,
                committed_index: at.committed.0,
                applied_index: at.applied.0,
                snapshot_index: at.snapshot.0,
                purged_index: at.purged.0,
                fresh: *fresh,
                replicas: facts.replicas.iter().map(replica_page).collect(),
            })
        })
        .collect()
    }

    fn me(&self) -> NodeNumber {
        self.view.as_ref().map_or(NodeNumber::ALONE, |view| view.nodes.me)
    }

    fn led_by(&self, node: NodeNumber) -> Vec<u16> {
        let told = (0..).zip(&self.groups);
        let led = told.filter(|(_, (facts, _))| facts.as_ref().is_some_and(|facts| facts.leader == Some(node)));
        led.map(|(number, _)| number).collect()
    }

    /// Whether every core has a link to the node.
    fn is_reachable(&self, node: NodeNumber) -> bool {
        let mut told = self.groups.iter().map(|(facts, _)| facts.as_ref());
        told.all(|facts| facts.is_some_and(|facts| facts.linked.contains(&node)))
    }
}

fn zone_name(node: &Node) -> Option<String> {
    node.zone.as_ref().map(ToString::to_string)
}

fn replica_page(facts: &ReplicaFacts) -> ReplicaPage {
    let vote = match facts.vote {
        Vote::Voter => "voter",
        Vote::Leaving => "leaving",
        Vote::Learner => "learner",
    };
    ReplicaPage {
        node: facts.node.0,
        vote: vote.to_owned(),
        reachable: facts.linked,
        silent_ms: facts
            .silent
            .map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
        lag: facts.lag,
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Learner => "learner",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use slotcore_raft_shard::LogPositions;
    use slotcore_rt::ids::{LogIndex, Term};

    use super::*;
    use crate::nodes::list_for_tests;

    fn facts(leader: Option<u32>, linked: bool) -> GroupFacts {
        let replica = |node: u32| ReplicaFacts {
            node: NodeNumber(node),
            vote: Vote::Voter,
            linked: node == 2 || linked,
            silent: None,
            lag: None,
        };
        GroupFacts {
            role: Role::Follower,
            leader: leader.map(NodeNumber),
            term: Term(3),
            positions: LogPositions {
                last: LogIndex(9),
                ..LogPositions::default()
            },
            replicas: vec![replica(1), replica(2)],
            linked: linked.then_some(NodeNumber(1)).into_iter().collect(),
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let (map, view) = (
            ClusterMap::single("n2", 7000, 7001),
            ClusterView::new(list_for_tests(2, 2)),
        );
        let of = |groups| Seen {
            map: &map,
            view: Some(view.clone()),
            groups,
            ready: true,
            uptime: Duration::from_secs(7),
        };
        let well = of(vec![
            (Some(facts(Some(2), true)), true),
            (Some(facts(Some(1), true)), true),
        ]);
        assert!(well.status().is_well());
        assert_eq!(well.status().groups_led, [0]);
        assert_eq!(well.nodes()[0].leads, [1]);

        let ill = of(vec![
            (Some(facts(None, false)), true),
            (Some(facts(Some(2), true)), false),
        ]);
        let status = ill.status();
        assert!(!status.is_well());
        assert_eq!((status.groups_without_leader, status.cores_stuck), (vec![0], vec![1]));
        assert_eq!(status.nodes_unreachable, [1], "one core without a link is enough");

        let silent = of(vec![(None, false), (None, false)]);
        assert_eq!(silent.groups(), []);
        assert_eq!(silent.status().groups_without_leader, [0, 1]);
    }

    #[test]
    fn a_node_on_its_own_is_well() {
        let map = ClusterMap::single("127.0.0.1", 6379, 6380);
        let mut alone = facts(Some(0), true);
        alone.replicas.truncate(1);
        let seen = Seen {
            map: &map,
            view: None,
            groups: vec![(Some(alone), true)],
            ready: true,
            uptime: Duration::ZERO,
        };
        assert!(seen.status().is_well());
        assert_eq!(seen.nodes()[0].leads, [0]);
        let groups = seen.groups();
        assert_eq!((groups[0].slot_first, groups[0].slot_last), (0, 16_383));
        let text = serde_json::to_string(&groups).unwrap();
        assert_eq!(serde_json::from_str::<Vec<GroupPage>>(&text).unwrap(), groups);
    }
}
