//! Nodes with links to each other over real sockets, turned by the test.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use slotcore_netio::peer::{Identity, PeerEvent, PeerId, PeerNet, PeerOptions};
use slotcore_rt::clock::{Clock, SystemClock, Tick};
use slotcore_rt::ring::{Class, Completion, Ring};
use slotcore_rt::rng::SeededRng;

/// A test that waits this long has failed.
pub const HANG: Duration = Duration::from_secs(60);

pub struct Node {
    pub ring: Ring,
    pub net: PeerNet,
    pub id: PeerId,
    pub address: SocketAddr,
    pub events: VecDeque<PeerEvent>,
    pub completions: Vec<Completion>,
}

pub fn identity(me: u64) -> Identity {
    Identity {
        me: PeerId(me),
        cluster: 0xc1,
        secret: b"secret".to_vec(),
        incarnation: u128::from(me) + 1000,
        known: BTreeMap::new(),
        removed: BTreeSet::new(),
    }
}

impl Node {
    pub fn new(me: u64) -> Self {
        Self::with(identity(me), PeerOptions::default(), "127.0.0.1:0".parse().unwrap())
    }

    pub fn with(identity: Identity, options: PeerOptions, address: SocketAddr) -> Self {
        let id = identity.me;
        let mut net = PeerNet::new(identity, options, SeededRng::new(id.0));
        let (listener, address) = slotcore_netio::bind(address).unwrap();
        net.listen(listener).unwrap();
        Self {
            ring: Ring::new(64).unwrap(),
            net,
            id,
            address,
            events: VecDeque::new(),
            completions: Vec::new(),
        }
    }

    pub fn turn(&mut self) {
        self.net.flush(&mut self.ring, SystemClock.tick()).unwrap();
        self.ring.submit_and_wait(1, Duration::from_millis(1)).unwrap();
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.reap(&mut completions);
        for completion in completions.drain(..) {
            assert_eq!(completion.class, Class::Peer);
            self.net.on_completion(completion);
        }
        self.completions = completions;
        self.events.extend(std::iter::from_fn(|| self.net.next_event()));
    }

    pub fn wants(&mut self, others: &[(PeerId, SocketAddr)]) {
        self.net.want(others.iter().copied(), SystemClock.tick());
    }

    pub fn frames(&mut self) -> Vec<Bytes> {
        let mut frames = Vec::new();
        self.events.retain(|event| match event {
            PeerEvent::Frame(_, frame) => {
                frames.push(frame.clone());
                false
            }
            _ => true,
        });
        frames
    }

    pub fn saw(&self, wanted: impl Fn(&PeerEvent) -> bool) -> bool {
        self.events.iter().any(wanted)
    }
}

/// Turns all nodes until `done`.
pub fn turn_until(nodes: &mut [&mut Node], what: &str, mut done: impl FnMut(&mut [&mut Node]) -> bool) {
    let limit: Tick = SystemClock.tick() + HANG;
    while !done(nodes) {
        for node in nodes.iter_mut() {
            node.turn();
        }
        let seen: Vec<_> = nodes.iter().map(|node| &node.events).collect();
        assert!(SystemClock.tick() < limit, "{what}: {seen:?}");
    }
}

pub fn connected(a: &mut Node, b: &mut Node) {
    a.wants(&[(b.id, b.address)]);
    b.wants(&[(a.id, a.address)]);
    turn_until(&mut [a, b], "a link", |nodes| {
        nodes.iter().all(|node| node.net.open_count() == 1)
    });
}

pub fn frame(len: usize, fill: u8) -> Bytes {
    let mut bytes = (len as u32).to_le_bytes().to_vec();
    bytes.resize(len + 4, fill);
    bytes.into()
}
