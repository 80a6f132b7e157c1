//! Carries N payloads through a single voter with a log in memory, one at a time: what consensus costs per turn of the
//! core loop. Run twice under `valgrind --tool=callgrind` with different N and divide the difference.
//!
//! `cargo run --release -p slotcore-raft-shard --features measure --example propose_cycle -- 10000`

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use glommio::{LocalExecutorBuilder, Placement};
use slotcore_raft_shard::runtime::Runtime;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{
    Applied, BadSnapshot, Consensus, Group, GroupOptions, GroupState, Installing, LogHub, MemoryLog, NoPeers,
    StateMachine, Taking,
};
use slotcore_rt::ids::{LogIndex, ReplicaId, Term};

#[derive(Default)]
struct Counter(u64);

impl StateMachine for Counter {
    fn apply(&mut self, _index: LogIndex, _term: Term, payload: &[u8]) {
        self.0 += payload.len() as u64;
    }
    fn snapshot(&mut self, _at: &Applied) -> io::Result<Taking> {
        Ok(Taking::InMemory(Bytes::new()))
    }
    fn install(&mut self, _at: &Applied, _data: &Bytes) -> Result<Installing, BadSnapshot> {
        Ok(Installing::Done)
    }
}

fn main() {
    let count: u64 = std::env::args()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .unwrap_or(10_000);
    LocalExecutorBuilder::new(Placement::Unbound)
        .make()
        .expect("an io_uring executor")
        .run(run(count));
}

async fn run(count: u64) {
    let (log, hub, machine) = (
        MemoryLog::default(),
        LogHub::new(),
        Rc::new(RefCell::new(Counter::default())),
    );
    let options = GroupOptions::alone(ReplicaId(1));
    let (at, state) = (Applied::default(), Rc::new(GroupState::default()));
    let group =
        Group::<GlommioRuntime, _>::open(options, log.clone(), hub.clone(), NoPeers, machine.clone(), at, state);
    let mut group = group.await.expect("a new group opens");
    let sync = || {
        log.sync_to(log.submitted());
        hub.advance(log.durable(), log.durable());
    };
    while !group.may_read(GlommioRuntime::now()) {
        sync();
        glommio::executor().yield_now().await;
    }

    let payload = Bytes::from_static(&[1; 64]);
    let mut turns = 0u64;
    for done in 1..=count {
        group.propose(payload.clone()).expect("the only voter leads");
        while group.progress().digested < done {
            glommio::executor().yield_now().await;
            turns += 1;
        }
        sync();
        while machine.borrow().0 < done * 64 {
            glommio::executor().yield_now().await;
            turns += 1;
        }
    }
    println!("{count} entries, {:.2} yields each", turns as f64 / count as f64);
}
