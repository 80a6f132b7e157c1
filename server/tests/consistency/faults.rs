//! What happens to a cluster of three under load, and what clients may expect meanwhile: with two nodes that hear each other
//! and run, they get on.

use std::time::Duration;

use slotcore_rt::rng::SeededRng;

use crate::cluster::{Cluster, wait_until};
use crate::history::Shared;
use crate::namespaces::Namespaces;

/// Moments that pass, two for each call, under a fault and after it.
const MOMENTS: u64 = 300;

/// One of them. Nodes are counted from 0; a core stands for whoever leads its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of the leader.
    KillLeader(u16),
    /// kill -9 of a node.
    Kill(usize),
    /// kill -9 of all nodes, started again in another order.
    KillAll,
    /// SIGTERM of a leader, which hands over.
    StopLeader(u16),
    /// SIGSTOP of the leader, and SIGCONT.
    FreezeLeader(u16),
    /// The same of a node.
    Freeze(usize),
    /// The leader and the other nodes do not hear each other; clients reach all of them.
    CutOffLeader(u16),
    /// A node and the others do not hear each other.
    CutOff(usize),
    /// What the leader sends the others is lost; what they send it arrives.
    MuteLeader(u16),
    /// What the others send the leader is lost.
    DeafenLeader(u16),
    /// The first node does not hear from the second.
    CutOneWay(usize, usize),
    /// The disk of a node has no room.
    FillDisk(usize),
}

impl Fault {
    /// One of those that need no more than processes.
    pub fn of_processes(rng: &mut SeededRng, cores: u16) -> Self {
        let (core, node) = (rng.below(u64::from(cores)) as u16, rng.index(3));
        match rng.below(8) {
            0..3 => Self::KillLeader(core),
            3 => Self::Kill(node),
            4 => Self::KillAll,
            5 => Self::StopLeader(core),
            6 => Self::FreezeLeader(core),
            _ => Self::Freeze(node),
        }
    }

    /// Any.
    pub fn of_all(rng: &mut SeededRng, cores: u16) -> Self {
        let (core, node) = (rng.below(u64::from(cores)) as u16, rng.index(3));
        match rng.below(10) {
            0 => Self::CutOffLeader(core),
            1 => Self::CutOff(node),
            2 => Self::MuteLeader(core),
            3 => Self::DeafenLeader(core),
            4 => Self::CutOneWay(node, (node + 1 + rng.index(2)) % 3),
            5 => Self::FillDisk(node),
            _ => Self::of_processes(rng, cores),
        }
    }

    /// Lets it happen, and end. When the leader was killed: how long no write of its keys was acknowledged.
    pub fn happen(self, cluster: &mut Cluster, namespaces: Option<&Namespaces>, shared: &Shared) -> Option<Duration> {
        let links = || namespaces.expect("links are cut between namespaces only");
        let mut failover = None;
        match self {
            Self::KillLeader(core) => {
                let leader = cluster.leader_of(core);
                failover = Some(shared.silence_around(core, || drop(cluster.kill_node(leader))));
                shared.let_pass(MOMENTS);
                cluster.start_node(leader);
            }
            Self::Kill(node) => {
                cluster.kill_node(node);
                shared.let_pass(MOMENTS);
                cluster.start_node(node);
            }
            Self::KillAll => {
                [2, 0, 1].iter().for_each(|&node| drop(cluster.kill_node(node)));
                [1, 0, 2].iter().for_each(|&node| cluster.start_node(node));
            }
            Self::StopLeader(core) => {
                let leader = cluster.leader_of(core);
                cluster.stop_node(leader);
                shared.let_pass(MOMENTS);
                cluster.start_node(leader);
            }
            Self::FreezeLeader(core) => {
                let leader = cluster.leader_of(core);
                freeze(cluster, leader, shared);
            }
            Self::Freeze(node) => freeze(cluster, node, shared),
            Self::CutOffLeader(core) => {
                let leader = cluster.leader_of(core);
                links().cut_off(leader);
                succeeded(cluster, core, leader);
                shared.let_pass(MOMENTS);
            }
            Self::CutOff(node) => {
                links().cut_off(node);
                shared.let_pass(MOMENTS);
            }
            Self::MuteLeader(core) => {
                let leader = cluster.leader_of(core);
                others(leader).for_each(|other| links().cut(leader, other));
                succeeded(cluster, core, leader);
                shared.let_pass(MOMENTS);
            }
            Self::DeafenLeader(core) => {
                let leader = cluster.leader_of(core);
                others(leader).for_each(|other| links().cut(other, leader));
                succeeded(cluster, core, leader);
                shared.let_pass(MOMENTS);
            }
            Self::CutOneWay(to, from) => {
                links().cut(from, to);
                shared.let_pass(MOMENTS);
            }
            Self::FillDisk(node) => {
                // Groups that this node leads take no writes meanwhile, and it goes on to lead them: reads are answered.
                links().fill_disk(&cluster.node_dir(node));
                shared.let_pass(MOMENTS / 4);
                links().free_disk(&cluster.node_dir(node));
            }
        }
        if let Some(namespaces) = namespaces {
            namespaces.heal();
        }
        shared.let_pass(MOMENTS);
        failover
    }
}

/// Waits until another node leads the group: what cuts a leader off does so.
fn succeeded(cluster: &Cluster, core: u16, leader: usize) {
    wait_until("another one leads", || cluster.leader_of(core) != leader);
}

fn freeze(cluster: &Cluster, node: usize, shared: &Shared) {
    cluster.node(node).freeze();
    shared.let_pass(MOMENTS);
    cluster.node(node).thaw();
}

fn others(node: usize) -> impl Iterator<Item = usize> {
    (0..3).filter(move |&other| other != node)
}
