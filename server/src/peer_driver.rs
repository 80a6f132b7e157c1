//! [`PeerDriver`]: a core's links to the same core of the other nodes: sockets below ([`PeerNet`]), Raft's messages above
//! ([`PeerHub`]).
//!
//! In a turn: completions, then [`PeerDriver::deliver`], which hands whole frames to the hub, whose tasks run when the loop
//! yields; at the turn's end [`PeerDriver::flush`] sends what all groups have to say, one frame a peer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slotcore_netio::peer::{Identity, LinkEnd, PeerEvent, PeerId, PeerNet, PeerOptions, Refusal};
use slotcore_raft_shard::peer::PeerHub;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{CoreId, ReplicaId};
use slotcore_rt::ring::{Completion, Ring};
use slotcore_rt::rng::SeededRng;

use crate::cluster_file::ClusterFile;
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
    kept: Arc<ClusterFile>,
    /// This node's replicas take part in their groups.
    takes_part: bool,
    /// Peers whose incarnation is written down, and to whom there is a link.
    met: BTreeSet<PeerId>,
    /// Nodes whose links were refused because they have lost their directory: said once. `None`: this one.
    lost: BTreeSet<Option<NodeNumber>>,
    /// When a frame of each peer last came.
    heard: BTreeMap<PeerId, Tick>,
}

impl PeerDriver {
    /// Links of core `core` to those of `nodes`, over `hub`. `kept`: knows their incarnations. `listener`: a socket
    /// bound where peers dial this core. `rng` must not be guessable.
    ///
    /// # Errors
    /// What the system says when a socket cannot listen.
    pub fn new(
        nodes: &NodeList,
        core: CoreId,
        kept: Arc<ClusterFile>,
        listener: OwnedFd,
        hub: Rc<PeerHub<GlommioRuntime>>,
        rng: SeededRng,
        now: Tick,
    ) -> io::Result<Self> {
        let identity = Identity {
            me: nodes.me.peer(core),
            cluster: nodes.cluster,
            secret: nodes.secret.clone(),
            incarnation: kept.incarnation(),
            known: kept
                .known()
                .into_iter()
                .map(|(node, is)| (node.peer(core), is))
                .collect(),
        };
        let mut net = PeerNet::new(identity, PeerOptions::default(), rng);
        net.listen(listener)?;
        let takes_part = kept.takes_part();
        hub.set_silent(!takes_part);
        let mut driver = Self {
            net,
            hub,
            core,
            kept,
            takes_part,
            met: BTreeSet::new(),
            lost: BTreeSet::new(),
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

    /// A link has opened. The other node's incarnation is written down before anything it says is taken in, its first frame
    /// being an event behind this one, and before anything is said to it: whoever hears from a node is known there. False:
    /// nothing of it may be taken in.
    fn meet(&mut self, peer: PeerId) -> bool {
        let (core, node) = (self.core, node_of(peer));
        let incarnation = self.net.incarnation_of(peer).unwrap_or_default();
        let refused = match self.kept.met(node, incarnation) {
            Ok(None) => {
                self.met.insert(peer);
                self.lost.clear();
                self.hub.greet(ReplicaId(peer.0));
                Event::PeerUp { core, node }.log();
                return true;
            }
            Ok(Some(known)) => {
                self.net.know(peer, known);
                io::Error::other("it has lost its data directory")
            }
            Err(error) => error,
        };
        Event::PeerTurnedAway {
            core,
            node,
            error: &refused,
        }
        .log();
        self.net.reject(peer);
        false
    }

    /// Hands what has arrived to the groups, and everything else to `tell`, in order. True when there was a frame: their
    /// tasks want to run.
    pub fn deliver(&mut self, now: Tick, mut tell: impl FnMut(Heard<'_>) -> Result<(), BadMessage>) -> bool {
        let mut any = false;
        if !self.takes_part && self.kept.takes_part() {
            self.take_part();
        }
        while let Some(event) = self.net.next_event() {
            match event {
                // The end of its link is among the events.
                PeerEvent::Frame(peer, _) if !self.met.contains(&peer) => {}
                PeerEvent::Frame(peer, frame) => {
                    any = true;
                    self.is_known_by(node_of(peer));
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
                    if self.meet(peer) {
                        // Which cannot fail.
                        _ = tell(Heard::Linked(node_of(peer), true));
                    }
                }
                PeerEvent::Down(peer, why) => {
                    self.met.remove(&peer);
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
                PeerEvent::Failed(
                    peer,
                    LinkEnd::Refused {
                        why: Refusal::Incarnation,
                        told,
                    },
                ) => {
                    let (core, node) = (self.core, peer.filter(|_| !told).map(node_of));
                    if self.lost.insert(node) {
                        Event::DirectoryLost { core, node }.log();
                    }
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

    fn take_part(&mut self) {
        self.takes_part = true;
        self.hub.set_silent(false);
        Event::TakesPart { core: self.core }.log();
    }

    /// That node has sent something, so it has written down this node's incarnation.
    fn is_known_by(&mut self, node: NodeNumber) {
        if self.takes_part {
            return;
        }
        match self.kept.known_by(node) {
            Ok(true) => self.take_part(),
            Ok(false) => {}
            // It may not take part then; tried again with each frame.
            Err(error) => Event::PeerTurnedAway {
                core: self.core,
                node,
                error: &error,
            }
            .log(),
        }
    }

    /// Sends everything there is to send, dials who is to be dialed. Submits nothing.
    ///
    /// # Errors
    /// Those of the ring.
    pub fn flush(&mut self, ring: &mut Ring, now: Tick) -> io::Result<()> {
        let (net, met) = (&mut self.net, &self.met);
        // Without a link the frame is lost, as it might be on the way: Raft sends again.
        self.hub.take_frames(|peer, frame| {
            if met.contains(&PeerId(peer.0)) {
                net.send(PeerId(peer.0), frame);
            }
        });
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
