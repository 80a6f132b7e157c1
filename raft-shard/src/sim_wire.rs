//! The hub of a node on the simulated network: the simulated twin of what carries frames over TCP.
//!
//! Frames of one peer arrive in the order in which they were sent; one may be lost, late, or belong to an earlier life of
//! whoever sent it. A peer is the replica whose number is the node's.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use slotcore_rt::ids::ReplicaId;
use slotcore_rt::sim::NodeId;
use slotcore_rt::sim::exec;
use slotcore_rt::sim::net::{Endpoint, NetEvent};

use crate::peer::{self, PeerHub};
use crate::runtime::sim::SimRuntime;

/// What simulated replicas ask of each other.
pub type Request = peer::Request<SimRuntime>;
/// The answers.
pub type Answer = peer::Answer<SimRuntime>;
/// Both.
pub type Message = peer::Message<SimRuntime>;
/// The links of a simulated group.
pub type Links = peer::Links<SimRuntime>;

pub use peer::hub::PATIENCE;

/// Parts of snapshots: small, so that the snapshots of simulations come in many.
const PART_BYTES: usize = 64;

/// A hub for the calling node, one life long.
pub fn hub(patience: Duration) -> Rc<PeerHub<SimRuntime>> {
    // Below the time in nanoseconds, and above the calls of earlier lives.
    let hub = PeerHub::new(patience, exec::now().0 << 8);
    hub.set_part_bytes(PART_BYTES);
    hub
}

/// Carries the hub's frames for ever.
pub async fn carry(hub: Rc<PeerHub<SimRuntime>>, endpoint: Endpoint<Bytes>) {
    let endpoint = Rc::new(endpoint);
    let (sender, out) = (hub.clone(), endpoint.clone());
    drop(exec::spawn(async move {
        loop {
            sender.something_to_send().await;
            sender.take_frames(|to, frame| out.send(node(to), frame));
        }
    }));
    loop {
        match endpoint.recv().await {
            NetEvent::Message { from, body } => {
                let told = hub.on_frame(peer(from), &body);
                told.unwrap_or_else(|error| panic!("{from} sent what it must not: {error}"));
            }
            NetEvent::Reset { peer: from } => hub.on_lost(peer(from)),
        }
    }
}

fn peer(node: NodeId) -> ReplicaId {
    ReplicaId(u64::from(node.0))
}

fn node(peer: ReplicaId) -> NodeId {
    NodeId(u32::try_from(peer.0).expect("replicas of a simulation are few"))
}
