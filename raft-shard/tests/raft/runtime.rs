//! openraft's own conformance suite, on each of our runtimes.

use glommio::{LocalExecutorBuilder, Placement};
use openraft_rt::AsyncRuntime;
use openraft_rt::testing::Suite;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::runtime::sim::SimRuntime;

#[test]
fn glommio_runtime_passes_openrafts_suite() {
    Suite::<GlommioRuntime>::test_all();
}

#[test]
fn sim_runtime_passes_openrafts_suite() {
    Suite::<SimRuntime>::test_all();
}

/// A Raft task that dies must take the core with it: nothing may go on acknowledging without it.
#[test]
#[should_panic(expected = "a task of Raft")]
fn a_task_that_panics_ends_its_executor() {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
    executor.run(async {
        drop(GlommioRuntime::spawn(async { panic!("a task of Raft") }));
        for _ in 0..100 {
            glommio::executor().yield_now().await;
        }
    });
}
