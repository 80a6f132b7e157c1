//! Faults of processes, over the loopback interface: what every machine can run.

use crate::cluster::Cluster;
use crate::faults::Fault;
use crate::run::{fault_count, run, seeds};

/// Faults of one run, when nobody asks for more: both runs end within 40 seconds.
const FAULTS: usize = 5;

#[test]
fn histories_are_linearizable_and_complete_while_nodes_are_killed_and_frozen() {
    for seed in seeds() {
        let mut cluster = Cluster::start(3, 2);
        let test = "histories_are_linearizable";
        run(test, seed, fault_count(FAULTS), &mut cluster, None, Fault::of_processes);
    }
}
