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

use slotcore_netio::peer::{AskerId, Identity, LinkEnd, PeerEvent, PeerId, PeerNet, PeerOptions, PeerTls, Refusal};
use slotcore_raft_shard::peer::PeerHub;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{CoreId, ReplicaId};
use slotcore_rt::ring::{Completion, Ring};
use slotcore_rt::rng::SeededRng;

use crate::cluster_file::ClusterFile;
use crate::joining::inquiry::{self, Inquiry};
use crate::joining::{Asker, JoinAnswer, JoinRefusal, JoinRequest, Question};
use crate::logging::Event;
use crate::nodes::{Node, NodeList, NodeNumber};
use crate::relay::BadMessage;

/// What is not for Raft.
pub enum Heard<'a> {
    /// There is a link to that node now, or there is none any more.
    Linked(NodeNumber, bool),
    /// It has sent this by [`PeerDriver::carry`].
    Message(NodeNumber, &'a [u8]),
    /// A node that this one does not know asks to join, and waits for [`PeerDriver::answer_join`]. Heard on core 0.
    AsksToJoin(Asker, JoinRequest),
    /// This node was removed from the cluster: others have proved to be of it, and say so. Heard on core 0.
    Removed,
    /// This list of the cluster's nodes is newer than that of this node, and written down. Heard on core 0.
    Nodes(NodeList),
}

/// Where peers dial a core, and what links with them are secured with.
pub struct PeerEntrance {
    /// A bound socket.
    pub listener: OwnedFd,
    /// Those of `--peer-tls-cert`.
    pub tls: Option<PeerTls>,
}

/// See the module's text.
pub struct PeerDriver {
    net: PeerNet,
    hub: Rc<PeerHub<GlommioRuntime>>,
    core: CoreId,
    nodes: Arc<NodeList>,
    kept: Arc<ClusterFile>,
    /// Only on core 0.
    inquiry: Option<Inquiry>,
    /// Who leads the metadata group was heard from lately.
    led: bool,
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
    /// Links of core `core` to those of `nodes`, over `hub`. `kept`: knows their incarnations. `entrance`: where peers dial this core.
    /// `rng` must not be guessable.
    ///
    /// # Errors
    /// What the system says when a socket cannot listen.
    pub fn new(
        nodes: Arc<NodeList>,
        core: CoreId,
        kept: Arc<ClusterFile>,
        entrance: PeerEntrance,
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
            removed: BTreeSet::new(),
        };
        let options = PeerOptions {
            tls: entrance.tls,
            ..PeerOptions::default()
        };
        let mut net = PeerNet::new(identity, options, rng);
        net.listen(entrance.listener)?;
        let takes_part = kept.takes_part();
        hub.set_silent(!takes_part);
        let mut driver = Self {
            net,
            hub,
            core,
            nodes: nodes.clone(),
            kept,
            inquiry: (core == CoreId(0)).then(|| Inquiry::new(now)),
            led: false,
            takes_part,
            met: BTreeSet::new(),
            lost: BTreeSet::new(),
            heard: BTreeMap::new(),
        };
        driver.set_nodes(nodes, now);
        Ok(driver)
    }

    /// There shall be links to the nodes of this list, and no others.
    pub fn set_nodes(&mut self, nodes: Arc<NodeList>, now: Tick) {
        for node in &nodes.nodes {
            if let Some(incarnation) = node.incarnation {
                self.net.know(node.number.peer(self.core), incarnation);
            }
        }
        self.net.set_removed(nodes.removed.clone());
        self.net.want(nodes.peers_of(self.core), now);
        self.nodes = nodes;
    }

    /// Whether the leader of the metadata group is known on this node, and was heard from lately.
    pub fn note_led(&mut self, led: bool) {
        self.led = led;
    }

    /// Takes in what this node is answered that asked whether it is one of the cluster.
    fn on_answer(&self, answer: JoinAnswer) -> Option<Heard<'static>> {
        match answer {
            JoinAnswer::Refused(JoinRefusal::Removed) => Some(Heard::Removed),
            JoinAnswer::Accepted(list) => {
                let list = inquiry::newer(*list, &self.nodes)?;
                // Before any core takes it.
                if let Err(error) = self.kept.keep(&list) {
                    Event::ListNotKept { error: &error }.log();
                    return None;
                }
                Some(Heard::Nodes(list))
            }
            _ => None,
        }
    }

    /// Answers one who asks to join; if it has gone, nobody hears it.
    pub fn answer_join(&mut self, asker: Asker, answer: &JoinAnswer) {
        self.net.answer(AskerId(asker.0), &answer.encode());
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
                PeerEvent::Asked(AskerId(asker), question) => {
                    let asker = Asker(asker);
                    match Question::decode(&question) {
                        None => {
                            let why = "it was not understood: the node that asks is of another version".to_owned();
                            self.answer_join(asker, &JoinAnswer::Refused(JoinRefusal::Other(why)));
                        }
                        Some(Question::AmIMember(incarnation)) => {
                            let answer = inquiry::answer(&self.nodes, incarnation);
                            self.answer_join(asker, &answer);
                        }
                        Some(Question::Join(request)) => match answer_known(&self.nodes, &request) {
                            Some(answer) => self.answer_join(asker, &answer),
                            None => _ = tell(Heard::AsksToJoin(asker, request)),
                        },
                    }
                }
                PeerEvent::Answered(answer) => {
                    let answer = answer
                        .ok()
                        .and_then(|bytes| JoinAnswer::decode(&bytes, &self.nodes.secret));
                    if let Some(heard) = answer.and_then(|answer| self.on_answer(answer)) {
                        _ = tell(heard);
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
        let mut unsent = Vec::new();
        // Without a link the frame is lost, as it might be on the way: Raft sends again.
        self.hub.take_frames(|peer, frame| {
            if met.contains(&PeerId(peer.0)) {
                net.send(PeerId(peer.0), frame);
            } else {
                unsent.push(peer);
            }
        });
        unsent.into_iter().for_each(|peer| self.hub.on_unsent(peer));
        if let Some(inquiry) = &mut self.inquiry
            && let Some(place) = inquiry.step(now, self.led && !met.is_empty(), &self.nodes)
        {
            let question = Question::AmIMember(self.kept.incarnation());
            net.ask(place, &question.encode());
        }
        self.net.flush(ring, now)
    }

    /// Sends a message to that node's core, behind what Raft has for it so far. It gets there, or the link is lost.
    pub fn carry(&self, node: NodeNumber, message: Vec<u8>) {
        self.hub.carry(node.replica(self.core), message.into());
    }

    /// The messages of this core's replicas.
    pub fn hub(&self) -> &Rc<PeerHub<GlommioRuntime>> {
        &self.hub
    }

    /// True when there is something to send.
    pub fn has_frames(&self) -> bool {
        self.hub.has_frames()
    }

    /// When [`PeerDriver::flush`] has something to do although nothing happens.
    pub fn next_wake(&self) -> Option<Tick> {
        let inquiry = self.inquiry.as_ref().map(Inquiry::next_wake);
        self.net.next_wake().into_iter().chain(inquiry).min()
    }

    /// The nodes to whose cores there are links.
    pub fn linked(&self) -> impl Iterator<Item = NodeNumber> {
        self.met.iter().map(|&peer| node_of(peer))
    }

    /// True while there is a link to that node's core.
    pub fn is_linked(&self, node: NodeNumber) -> bool {
        self.met.contains(&node.peer(self.core))
    }

    /// Since a frame of that node's core last came over the link that there is.
    pub fn silent_for(&self, node: NodeNumber, now: Tick) -> Option<Duration> {
        self.heard.get(&node.peer(self.core)).map(|&at| now.since(at))
    }

    /// True when a frame of that node's core came within the last `within`.
    pub fn heard_lately(&self, node: NodeNumber, now: Tick, within: Duration) -> bool {
        self.heard
            .get(&node.peer(self.core))
            .is_some_and(|&at| now.since(at) <= within)
    }
}

/// What a node that asks is answered whoever leads: who is known is told so, by the list or by its removal. Who is reached elsewhere
/// than the list says has to be heard by the leader.
fn answer_known(nodes: &NodeList, request: &JoinRequest) -> Option<JoinAnswer> {
    if nodes.removed.contains(&request.incarnation) {
        return Some(JoinAnswer::Refused(JoinRefusal::Removed));
    }
    let known = nodes.of_incarnation(request.incarnation)?;
    if !is_reached_as(known, request) {
        return None;
    }
    let mut list = nodes.clone();
    list.me = known.number;
    Some(JoinAnswer::Accepted(Box::new(list)))
}

/// Whether the list says of `node` what it says of itself.
fn is_reached_as(node: &Node, request: &JoinRequest) -> bool {
    (&node.host, node.address, node.port, node.peer_port_base)
        == (&request.host, request.address, request.port, request.peer_port_base)
}

fn node_of(peer: PeerId) -> NodeNumber {
    NodeNumber::of(ReplicaId(peer.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::list_for_tests;

    #[test]
    fn only_who_is_reached_where_the_list_says_is_answered_from_it() {
        let mut list = list_for_tests(1, 2);
        list.nodes[1].incarnation = Some(5);
        let node = &list.nodes[1];
        let told = JoinRequest {
            incarnation: 5,
            host: node.host.clone(),
            address: node.address,
            port: node.port,
            peer_port_base: node.peer_port_base,
            cores: list.cores,
            zone: None,
        };
        let Some(JoinAnswer::Accepted(answer)) = answer_known(&list, &told) else {
            panic!("it is one of the list")
        };
        assert_eq!(answer.me, NodeNumber(2));
        let elsewhere = |change: fn(&mut JoinRequest)| {
            let mut request = told.clone();
            change(&mut request);
            answer_known(&list, &request)
        };
        assert_eq!(elsewhere(|request| request.host = "other".into()), None);
        assert_eq!(elsewhere(|request| request.address = [9, 9, 9, 9].into()), None);
        assert_eq!(elsewhere(|request| request.port += 1), None);
        assert_eq!(elsewhere(|request| request.peer_port_base += 1), None);
        list.removed.insert(5);
        let removed = Some(JoinAnswer::Refused(JoinRefusal::Removed));
        assert_eq!(answer_known(&list, &told), removed);
    }
}
