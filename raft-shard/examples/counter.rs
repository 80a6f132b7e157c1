//! A replicated counter: three replicas of one group, in one process and in simulated time, over nothing but this crate and
//! `slotcore-rt`. The machine of the leader fails; what was acknowledged is there, and the counter counts on.
//!
//! `cargo run -p slotcore-raft-shard --example counter`
//!
//! What a program brings of its own:
//! - a [`StateMachine`]: what payloads mean ([`Counter`]);
//! - a log: here a [`MemoryLog`], elsewhere the core's log through [`CoreLogHandle`](slotcore_raft_shard::CoreLogHandle), and
//!   a task that makes it durable and says so ([`LogHub::advance`]);
//! - a way for frames between the nodes: here [`sim_wire`], elsewhere sockets that fill and drain a
//!   [`PeerHub`](slotcore_raft_shard::peer::PeerHub) in the same manner.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use slotcore_raft_shard::runtime::sim::SimRuntime;
use slotcore_raft_shard::sim_wire::{self, Links, PATIENCE};
use slotcore_raft_shard::{
    Applied, BadSnapshot, Consensus, Group, GroupOptions, GroupState, Installing, LogHub, MemoryLog, StateMachine,
    Taking,
};
use slotcore_rt::ids::{GroupId, LogIndex, ReplicaId, Term};
use slotcore_rt::sim::exec::{self, RunEnd};
use slotcore_rt::sim::{NodeId, Sim, SimNet};

/// The only group.
const GROUP: GroupId = GroupId(1);
const REPLICAS: u64 = 3;
/// How often a disk looks for something to write, and how long it takes.
const DISK_TAKES: Duration = Duration::from_micros(200);
/// Longer than an election.
const SOON: Duration = Duration::from_secs(10);

/// First byte of each payload: the version of its layout, below 0xF0. Then eight bytes: what is added.
const ADD_V1: u8 = 1;

fn add(by: u64) -> Bytes {
    let mut payload = vec![ADD_V1];
    payload.extend_from_slice(&by.to_le_bytes());
    payload.into()
}

/// The state: a function of the payloads so far, and of nothing else.
#[derive(Default)]
struct Counter {
    count: u64,
}

impl StateMachine for Counter {
    fn apply(&mut self, _index: LogIndex, _term: Term, payload: &[u8]) {
        let by = payload.strip_prefix(&[ADD_V1]).expect("nobody proposes anything else");
        self.count += u64::from_le_bytes(by.try_into().expect("eight bytes follow"));
    }

    fn snapshot(&mut self, _at: &Applied) -> io::Result<Taking> {
        // Small enough to be taken at once.
        Ok(Taking::InMemory(Bytes::copy_from_slice(&self.count.to_le_bytes())))
    }

    fn install(&mut self, _at: &Applied, data: &Bytes) -> Result<Installing, BadSnapshot> {
        let count = data[..]
            .try_into()
            .map_err(|_| BadSnapshot("a counter has eight bytes".into()))?;
        self.count = u64::from_le_bytes(count);
        Ok(Installing::Done)
    }
}

/// A machine: its log stays when its process ends.
#[derive(Default)]
struct Node {
    log: MemoryLog,
    counter: Rc<RefCell<Counter>>,
    group: Rc<RefCell<Option<Group<SimRuntime, Counter>>>>,
}

struct Cluster {
    sim: Sim,
    net: SimNet<Bytes>,
    nodes: Vec<Node>,
}

fn address(id: u64) -> NodeId {
    NodeId(u32::try_from(id).expect("there are three"))
}

impl Cluster {
    fn start(seed: u64) -> Self {
        let sim = Sim::new(seed);
        let net = SimNet::new(&sim);
        let nodes = (0..REPLICAS).map(|_| Node::default()).collect();
        let mut cluster = Self { sim, net, nodes };
        (1..=REPLICAS).for_each(|id| cluster.start_node(id));
        cluster
    }

    /// Starts a node from what its log holds. Its counter begins at nothing: the log is executed again, as far as the leader
    /// says that it is committed. (A machine that keeps its state on disk says in `Applied` how far that has come.)
    fn start_node(&mut self, id: u64) {
        let node = &mut self.nodes[id as usize - 1];
        (node.counter, node.group) = (Rc::default(), Rc::default());
        let (log, counter, slot) = (node.log.clone(), node.counter.clone(), node.group.clone());
        let options = GroupOptions::among(ReplicaId(id), (1..=REPLICAS).map(ReplicaId));
        let endpoint = self.net.join(address(id));
        let main = async move {
            // What waits for the log is told how far it is durable: entries count, and votes leave, only then.
            let hub = LogHub::new();
            drop(exec::spawn(make_durable(log.clone(), hub.clone())));
            let peers = sim_wire::hub(PATIENCE);
            let links = Links {
                hub: peers.clone(),
                group: GROUP,
            };
            let (at, state) = (Applied::default(), Rc::new(GroupState::default()));
            let group = Group::open(options, log, hub, links, counter, at, state);
            let group = group.await.expect("the options are those of the crate");
            peers.serve(GROUP, group.inbound());
            *slot.borrow_mut() = Some(group);
            sim_wire::carry(peers, endpoint).await;
        };
        drop(self.sim.spawn_on(address(id), main));
    }

    /// The power of a node fails: what was not durable is gone.
    fn fail(&mut self, id: u64) {
        self.sim.kill(address(id));
        let node = &mut self.nodes[id as usize - 1];
        node.group = Rc::default();
        node.log = node.log.after_crash();
    }

    fn ask<T>(&self, id: u64, ask: impl FnOnce(&mut Group<SimRuntime, Counter>) -> T) -> Option<T> {
        let mut slot = self.nodes[id as usize - 1].group.borrow_mut();
        let group = slot.as_mut()?;
        Some(self.sim.enter_on(address(id), || ask(group)))
    }

    fn count(&self, id: u64) -> u64 {
        self.nodes[id as usize - 1].counter.borrow().count
    }

    /// Lets time pass until `done`.
    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = self.sim.run_until(self.sim.now() + SOON, &mut done);
        assert_eq!(end, RunEnd::Met, "not within {SOON:?}: {what}");
    }

    /// Waits for a leader that may answer reads from its own state alone.
    fn leader(&self) -> u64 {
        let reads = |id: &u64| self.ask(*id, |group| group.may_read(self.sim.now())) == Some(true);
        let leader = || (1..=REPLICAS).find(reads);
        self.until("a leader", || leader().is_some());
        leader().expect("it was there just now")
    }

    /// Adds to the counter: proposed to the leader, and done when the leader has executed it.
    fn add(&self, by: u64) -> u64 {
        let leader = self.leader();
        let wanted = self.count(leader) + by;
        let proposed = self.ask(leader, |group| group.propose(add(by)));
        proposed.expect("it is up").expect("it leads and has little to do");
        self.until("executed", || self.count(leader) == wanted);
        wanted
    }
}

/// A disk of the simplest kind. The core's log does this with O_DIRECT writes ([`CoreLog`](slotcore_engine::log::CoreLog)).
async fn make_durable(log: MemoryLog, hub: Rc<LogHub<SimRuntime>>) {
    loop {
        let written = log.submitted();
        exec::sleep(DISK_TAKES).await;
        log.sync_to(written);
        hub.advance(written, written);
    }
}

fn story(seed: u64) {
    let mut cluster = Cluster::start(seed);
    let first = cluster.leader();
    println!("replica {first} leads");
    for by in 1..=10 {
        cluster.add(by);
    }
    println!("the counter is at {}", cluster.count(first));
    cluster.fail(first);
    let second = cluster.leader();
    println!(
        "replica {first} has failed, {second} leads, and the counter is at {}",
        cluster.count(second)
    );
    assert_ne!(first, second);
    assert_eq!(cluster.count(second), 55, "what was acknowledged is there");
    cluster.add(45);
    cluster.start_node(first);
    cluster.until("all have everything", || {
        (1..=REPLICAS).all(|id| cluster.count(id) == 100)
    });
    println!("replica {first} is back, and all three are at 100");
}

fn main() {
    story(1);
}

#[cfg(test)]
mod tests {
    /// `cargo test` runs it, so that it is true.
    #[test]
    fn the_story_holds_whatever_the_seed() {
        (0..20).for_each(super::story);
    }
}
