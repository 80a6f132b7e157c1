//! [`PeerDriver`]: a core's links to the same core of the other nodes: sockets below ([`PeerNet`]), Raft's messages above
//! ([`PeerHub`]).
//!
//! In a turn: completions, then [`PeerDriver::deliver`], which hands whole frames to the hub, whose tasks run when the loop
//! yields; at the turn's end [`PeerDriver::flush`] sends what all groups have to say, one frame a peer.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use slotcore_netio::peer::{Identity, PeerEvent, PeerId, PeerNet, PeerOptions};
use slotcore_raft_shard::peer::PeerHub;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{CoreId, ReplicaId};
use slotcore_rt::ring::{Completion, Ring};
use slotcore_rt::rng::SeededRng;

use crate::logging::Event;
use crate::nodes::{NodeList, NodeNumber};
use crate::relay::BadMessage;

/// What is not for Raft.
pub enum Heard<'a> {
    /// There is a link to that node now, or there is none any more.
    Linked(NodeNumber, bool),
    /// It has sent this by [`PeerDriver::carry`].
    Message(NodeNumber, &'a [u8]),
}

/// See the module's text.
pub struct PeerDriver {
    net: PeerNet,
    hub: Rc<PeerHub<GlommioRuntime>>,
    core: CoreId,
    /// When a frame of each peer last came.
    heard: BTreeMap<PeerId, Tick>,
}

impl PeerDriver {
    /// Links of core `core` to those of `nodes`, over `hub`. `listener`: a socket bound where peers dial this core. `rng`
    /// must not be guessable.
    ///
    /// # Errors
    /// What the system says when a socket cannot listen.
    pub fn new(
        nodes: &NodeList,
        core: CoreId,
        listener: OwnedFd,
        hub: Rc<PeerHub<GlommioRuntime>>,
        rng: SeededRng,
        now: Tick,
    ) -> io::Result<Self> {
        let identity = Identity {
            me: nodes.me.peer(core),
            cluster: nodes.cluster,
            secret: nodes.secret.clone(),
        };
        let mut net = PeerNet::new(identity, PeerOptions::default(), rng);
        net.listen(listener)?;
        let mut driver = Self {
            net,
            hub,
            core,
            heard: BTreeMap::new(),
        };
        driver.set_nodes(nodes, now);
        Ok(driver)
    }

    /// There shall be links to the nodes of this list, and no others.
    pub fn set_nodes(&mut self, nodes: &NodeList, now: Tick) {
        self.net.want(nodes.peers_of(self.core), now);
    }

    /// Takes in a completion of class [`Class::Peer`](slotcore_rt::ring::Class::Peer).
    pub fn on_completion(&mut self, c: Completion) {
        self.net.on_completion(c);
    }

    /// Hands what has arrived to the groups, and everything else to `tell`, in order. True when there was a frame: their
    /// tasks want to run.
    pub fn deliver(&mut self, now: Tick, mut tell: impl FnMut(Heard<'_>) -> Result<(), BadMessage>) -> bool {
        let mut any = false;
        while let Some(event) = self.net.next_event() {
            match event {
                PeerEvent::Frame(peer, frame) => {
                    any = true;
                    self.heard.insert(peer, now);
                    if let Err(error) = self.hub.on_frame(ReplicaId(peer.0), &frame) {
                        Event::PeerUnreadable {
                            core: self.core,
                            node: node_of(peer),
                            error: &error,
                        }
                        .log();
                        self.net.reject(peer);
                    }
                    let mut bad = None;
                    self.hub.take_carried(|_, message| {
                        if bad.is_none() {
                            bad = tell(Heard::Message(node_of(peer), &message)).err();
                        }
                    });
                    if let Some(error) = bad {
                        Event::PeerUnreadable {
                            core: self.core,
                            node: node_of(peer),
                            error: &error,
                        }
                        .log();
                        self.net.reject(peer);
                    }
                }
                PeerEvent::Up(peer) => {
                    // Which cannot fail.
                    _ = tell(Heard::Linked(node_of(peer), true));
                    Event::PeerUp {
                        core: self.core,
                        node: node_of(peer),
                    }
                    .log();
                }
                PeerEvent::Down(peer, why) => {
                    _ = tell(Heard::Linked(node_of(peer), false));
                    self.hub.on_lost(ReplicaId(peer.0));
                    self.heard.remove(&peer);
                    Event::PeerDown {
                        core: self.core,
                        node: node_of(peer),
                        why: &why,
                    }
                    .log();
                    any = true;
                }
                PeerEvent::Failed(peer, why) => Event::PeerFailed {
                    core: self.core,
                    node: peer.map(node_of),
                    why: &why,
                }
                .log(),
            }
        }
        any
    }

    /// Sends everything there is to send, dials who is to be dialed. Submits nothing.
    ///
    /// # Errors
    /// Those of the ring.
    pub fn flush(&mut self, ring: &mut Ring, now: Tick) -> io::Result<()> {
        let net = &mut self.net;
        // Without a link the frame is lost, as it might be on the way: Raft sends again.
        self.hub.take_frames(|peer, frame| _ = net.send(PeerId(peer.0), frame));
        self.net.flush(ring, now)
    }

    /// Sends a message to that node's core, behind what Raft has for it so far. It gets there, or the link is lost.
    pub fn carry(&self, node: NodeNumber, message: Vec<u8>) {
        self.hub.carry(node.replica(self.core), message.into());
    }

    /// True when there is something to send.
    pub fn has_frames(&self) -> bool {
        self.hub.has_frames()
    }

    /// When [`PeerDriver::flush`] has something to do although nothing happens.
    pub fn next_wake(&self) -> Option<Tick> {
        self.net.next_wake()
    }

    /// True when a frame of that node's core came within the last `within`.
    pub fn heard_lately(&self, node: NodeNumber, now: Tick, within: Duration) -> bool {
        self.heard
            .get(&node.peer(self.core))
            .is_some_and(|&at| now.since(at) <= within)
    }
}

fn node_of(peer: PeerId) -> NodeNumber {
    NodeNumber::of(ReplicaId(peer.0))
}
