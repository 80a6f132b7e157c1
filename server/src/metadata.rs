//! Who is in the cluster: the state of the metadata group, and what follows from it.
//!
//! The metadata group is a Raft group of its own, whose replicas live on core 0 of the nodes, in a slot of that core's log
//! beside the group of keys (`docs/decisions/0013-growing-a-cluster.md`). Its state ([`ClusterState`]) is small and says who
//! there is and which nodes are to replicate which group. It changes only by entries of its log ([`Change`]). The commands of
//! clients never wait for it.
//!
//! - [`schedule`] decides, on the leader, which changes to propose. Pure.
//! - [`voters`] decides, on the leader, who votes in the metadata group. Pure.
//! - [`spread`] says how both are spread over zones. Pure.
//! - [`silence`] counts, on the leader, for how long each node was not heard. Pure.
//! - A group's own leader makes true what is wanted of its group, with `Group::step_towards`, and reports who replicates it; so a
//!   decision is carried out wherever the group is led, and goes on when a leader is lost.

mod bytes;
pub mod change;
pub mod machine;
mod read;
pub mod schedule;
pub mod silence;
pub mod spread;
pub mod state;
pub mod voters;

use sha2::{Digest, Sha256};
use slotcore_rt::ids::{CoreId, GroupId, GroupSlot};

pub use change::Change;
pub use machine::MetadataMachine;
pub use state::{ClusterState, GroupRecord, Refused};

/// The core of every node that has a replica of the metadata group.
pub const CORE: CoreId = CoreId(0);
/// Where the metadata group is in the log of core 0: behind the group of keys, which is always the first.
pub const METADATA_GROUP: GroupSlot = GroupSlot(1);

/// The metadata group of a cluster: the same on all its nodes.
pub fn group_of(cluster: u128) -> GroupId {
    let mut hash = Sha256::new();
    hash.update(b"slotcore metadata group");
    hash.update(cluster.to_le_bytes());
    GroupId(u64::from_le_bytes(
        hash.finalize()[..8].try_into().expect("eight bytes were cut"),
    ))
}
