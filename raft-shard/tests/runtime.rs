//! openraft's own conformance suite, on each of our runtimes.

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
