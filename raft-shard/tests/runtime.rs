//! openraft's own conformance suite, on each of our runtimes.

use openraft_rt::testing::Suite;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;

#[test]
fn glommio_runtime_passes_openrafts_suite() {
    Suite::<GlommioRuntime>::test_all();
}
