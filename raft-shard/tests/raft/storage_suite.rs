//! openraft's own storage suite, on our log and state machine adaptors.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::support::machine::{DurableSnapshot, Machine};
use crate::support::oracle::Oracle;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft_rt::AsyncRuntime;
use slotcore_raft_shard::log_store::LogStore;
use slotcore_raft_shard::runtime::sim::SimRuntime;
use slotcore_raft_shard::state_machine::Applier;
use slotcore_raft_shard::types::RaftTypes;
use slotcore_raft_shard::{Applied, GroupState, LogHub, MemoryLog};
use slotcore_rt::sim::exec;

type C = RaftTypes<SimRuntime>;
type Store = LogStore<SimRuntime, MemoryLog>;

struct Builder;

impl StoreBuilder<C, Store, Applier<Machine>> for Builder {
    async fn build(&self) -> Result<((), Store, Applier<Machine>), StorageError<C>> {
        // The suite begins logs anywhere, which no real one does.
        let (log, hub, group) = (
            MemoryLog::starting_anywhere(),
            LogHub::new(),
            Rc::new(GroupState::default()),
        );
        let store = LogStore::new(log.clone(), hub.clone(), group.clone());
        drop(exec::spawn(async move {
            // As long as the store lives.
            while Rc::strong_count(&hub) > 1 {
                exec::sleep(Duration::from_micros(10)).await;
                log.sync_to(log.submitted());
                hub.advance(log.durable(), log.durable());
            }
        }));
        let oracle = Rc::new(RefCell::new(Oracle::default()));
        let (machine, _) = Machine::restored(0, oracle, DurableSnapshot::default());
        Ok((
            (),
            store,
            Applier::new(Rc::new(RefCell::new(machine)), Applied::default(), group),
        ))
    }
}

#[test]
fn log_store_and_state_machine_pass_openrafts_suite() {
    SimRuntime::run(async { Suite::test_all(Builder).await }).unwrap();
}
