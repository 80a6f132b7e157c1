//! A group of one on the real executor: it elects itself, executes what is durable, and costs nothing idle.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use glommio::{LocalExecutorBuilder, Placement};
use slotcore_raft_shard::runtime::Runtime;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::runtime::sim::SimRuntime;
use slotcore_raft_shard::{
    Applied, BadSnapshot, Consensus, Group, GroupLogStore, GroupOptions, GroupState, Installing, LogHub, MemoryLog,
    NoPeers, ProposalId, ProposeError, Role, StateMachine, Taking,
};
use slotcore_rt::ids::{LogIndex, ReplicaId, Term};
use slotcore_rt::sim::exec::RunEnd;
use slotcore_rt::sim::{NodeId, Sim};

/// Remembers every payload it executed.
#[derive(Default)]
struct Recorder(Vec<Vec<u8>>);

impl StateMachine for Recorder {
    fn apply(&mut self, _index: LogIndex, _term: Term, payload: &[u8]) {
        self.0.push(payload.to_vec());
    }

    fn snapshot(&mut self, _at: &Applied) -> io::Result<Taking> {
        // Nobody asks a single voter for one; its own state is in files.
        Ok(Taking::InMemory(Bytes::new()))
    }

    fn install(&mut self, _at: &Applied, _data: &Bytes) -> Result<Installing, BadSnapshot> {
        unreachable!("nobody sends a single voter a snapshot")
    }
}

struct Node {
    group: Group<GlommioRuntime, Recorder>,
    hub: Rc<LogHub<GlommioRuntime>>,
    log: MemoryLog,
    machine: Rc<RefCell<Recorder>>,
}

impl Node {
    async fn open(log: MemoryLog) -> Node {
        Self::open_at(log, Applied::default()).await
    }

    /// Opens a node whose machine stands for `at` already.
    async fn open_at(log: MemoryLog, at: Applied) -> Node {
        let (hub, machine) = (LogHub::new(), Rc::new(RefCell::new(Recorder::default())));
        let options = GroupOptions::alone(ReplicaId(7));
        let state = Rc::new(GroupState::default());
        let group = Group::open(options, log.clone(), hub.clone(), NoPeers, machine.clone(), at, state);
        Node {
            group: group.await.unwrap(),
            hub,
            log,
            machine,
        }
    }

    /// Everything written becomes durable.
    fn sync(&self) {
        self.log.sync_to(self.log.submitted());
        self.hub.advance(self.log.durable(), self.log.durable());
    }

    /// Yields until `done`; returns how often it had to.
    async fn turns_until(&mut self, what: &str, mut done: impl FnMut(&mut Node) -> bool) -> u32 {
        for turns in 0..1000 {
            if done(self) {
                return turns;
            }
            glommio::executor().yield_now().await;
        }
        panic!(
            "not within 1000 turns: {what}; {:?}, {:?}",
            self.group.progress(),
            self.group.failure()
        );
    }

    async fn until_leader(&mut self) {
        self.turns_until("leader, ready to read", |node| {
            node.sync();
            node.group.may_read(GlommioRuntime::now())
        })
        .await;
        assert_eq!(self.group.role(), Role::Leader);
        assert_eq!(self.group.leader(), Some(ReplicaId(7)));
    }
}

fn on_executor<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    LocalExecutorBuilder::new(Placement::Unbound)
        .make()
        .unwrap()
        .run(async { test().await });
}

#[test]
fn a_proposal_is_executed_once_durable_and_not_before() {
    on_executor(|| async {
        let mut node = Node::open(MemoryLog::default()).await;
        node.until_leader().await;
        assert_eq!(node.group.term(), Term(1));

        let id = node.group.propose(Bytes::from_static(b"set a 1")).unwrap();
        assert_eq!(id, ProposalId(1));
        let to_log = node
            .turns_until("appended", |node| node.group.progress().digested == 1)
            .await;
        for _ in 0..100 {
            glommio::executor().yield_now().await;
        }
        assert!(node.machine.borrow().0.is_empty(), "executed before it was durable");

        node.sync();
        let to_state = node
            .turns_until("executed", |node| node.machine.borrow().0.len() == 1)
            .await;
        assert_eq!(node.machine.borrow().0, [b"set a 1"]);
        println!("turns from proposal to log: {to_log}; from durable to executed: {to_state}");
        assert!(
            to_log <= 2 && to_state <= 4,
            "openraft needs more turns than it did: {to_log}, {to_state}"
        );
    });
}

#[test]
fn a_restart_continues_in_a_new_term_with_everything_durable() {
    on_executor(|| async {
        let mut node = Node::open(MemoryLog::default()).await;
        node.until_leader().await;
        for i in 0..10u8 {
            node.group.propose(Bytes::from(vec![i])).unwrap();
        }
        node.turns_until("appended", |node| node.group.progress().digested == 10)
            .await;
        node.sync();
        node.turns_until("executed", |node| node.machine.borrow().0.len() == 10)
            .await;
        node.group.propose(Bytes::from_static(b"lost")).unwrap();
        node.turns_until("appended", |node| node.group.progress().digested == 11)
            .await;
        let log = node.log.after_crash();
        node.group.shutdown().await;

        let mut node = Node::open(log).await;
        assert!(
            !node.group.may_read(GlommioRuntime::now()),
            "reads before the new term's first entry is executed"
        );
        node.until_leader().await;
        assert_eq!(node.group.term(), Term(2));
        assert_eq!(node.machine.borrow().0, (0..10u8).map(|i| vec![i]).collect::<Vec<_>>());
    });
}

#[test]
fn what_was_flushed_is_purged_and_a_restart_goes_on_after_it() {
    on_executor(|| async {
        let mut node = Node::open(MemoryLog::default()).await;
        node.until_leader().await;
        for i in 0..10u8 {
            node.group.propose(Bytes::from(vec![i])).unwrap();
        }
        node.turns_until("executed", |node| {
            node.sync();
            node.machine.borrow().0.len() == 10
        })
        .await;
        let flushed = node.group.state().stands_for();
        let bytes = flushed.membership_bytes();
        node.group.propose(Bytes::from_static(b"later")).unwrap();
        node.turns_until("purged", |node| {
            node.sync();
            node.group.purge_flushed(flushed.index).unwrap();
            node.log.purged() == (flushed.index, flushed.term)
        })
        .await;
        node.turns_until("executed", |node| node.machine.borrow().0.len() == 11)
            .await;
        let log = node.log.after_crash();
        assert!(log.all_entries().iter().all(|entry| entry.index > flushed.index));
        node.group.shutdown().await;

        let at = Applied::flushed(flushed.index, flushed.term, &bytes).unwrap();
        let mut node = Node::open_at(log, at).await;
        node.until_leader().await;
        assert_eq!(node.machine.borrow().0, [b"later"]);
        assert_eq!(node.group.state().stands_for().membership, flushed.membership);
    });
}

#[test]
fn proposals_that_cannot_reach_the_log_are_bounded() {
    on_executor(|| async {
        let mut node = Node::open(MemoryLog::default()).await;
        node.until_leader().await;
        let taken = (0..)
            .take_while(|_| node.group.propose(Bytes::from_static(b"x")).is_ok())
            .count() as u64;
        assert_eq!(taken, slotcore_raft_shard::options::PROPOSALS_WAITING_MAX);
        assert_eq!(node.group.propose(Bytes::from_static(b"x")), Err(ProposeError::Busy));
        node.turns_until("appended", |node| node.group.progress().digested == taken)
            .await;
        assert!(node.group.propose(Bytes::from_static(b"x")).is_ok());
    });
}

#[test]
fn a_failed_log_is_visible_and_takes_no_more_proposals() {
    on_executor(|| async {
        let mut node = Node::open(MemoryLog::default()).await;
        node.until_leader().await;
        node.group.propose(Bytes::from_static(b"x")).unwrap();
        node.turns_until("appended", |node| node.group.progress().digested == 1)
            .await;
        node.hub.fail("segment 3: EIO at 4096");
        node.turns_until("failed", |node| node.group.failure().is_some()).await;
        assert!(node.group.failure().unwrap().contains("segment 3: EIO at 4096"));
        assert_eq!(node.group.role(), Role::Stopped);
        assert_eq!(node.group.propose(Bytes::from_static(b"y")), Err(ProposeError::Failed));
        assert!(node.machine.borrow().0.is_empty(), "executed what never became durable");
    });
}

#[test]
fn an_idle_single_voter_waits_for_nothing_but_its_caller() {
    type Opened = Rc<RefCell<Option<Group<SimRuntime, Recorder>>>>;
    let (sim, log, hub, opened) = (Sim::new(1), MemoryLog::default(), LogHub::new(), Opened::default());
    let open = {
        let (log, hub, opened) = (log.clone(), hub.clone(), opened.clone());
        async move {
            let (machine, state) = (Rc::default(), Rc::new(GroupState::default()));
            let options = GroupOptions::alone(ReplicaId(7));
            let group = Group::open(options, log, hub, NoPeers, machine, Applied::default(), state)
                .await
                .unwrap();
            *opened.borrow_mut() = Some(group);
        }
    };
    drop(sim.spawn_on(NodeId(1), open));
    for _ in 0..100 {
        sim.run_for(Duration::from_millis(1));
        log.sync_to(log.submitted());
        sim.enter(|| hub.advance(log.durable(), log.durable()));
    }
    let now = sim.now();
    assert!(
        opened.borrow_mut().as_mut().is_some_and(|group| group.may_read(now)),
        "not leading after 100 ms"
    );
    assert_eq!(
        sim.run_for(Duration::from_secs(10)),
        RunEnd::Stalled,
        "a timer is armed"
    );
    assert_eq!(sim.now(), now, "something ran");
}
