//! [`SimNet`]: messages between nodes, over links that delay, reset, repeat and fall silent.
//!
//! A link from one node to another is what a TCP connection gives: messages arrive in order, or the connection is reset
//! and everything under way on it is gone; both ends then hear of the reset. A message that arrives twice stands for a
//! sender that reconnected and repeated itself. Both directions of a pair are separate links, so a partition may be one
//! way. What a link carries is generic: nothing is encoded.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::clock::Tick;
use crate::rng::SeededRng;
use crate::sim::disk::Rate;
use crate::sim::exec::{self, NodeId, Sim};

/// What a node hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent<M> {
    /// A message came.
    Message {
        /// Its sender.
        from: NodeId,
        /// Its content.
        body: M,
    },
    /// The connection with `peer` broke: any message to it that was not answered may or may not have arrived.
    Reset {
        /// The other end.
        peer: NodeId,
    },
}

/// How a link behaves.
#[derive(Clone, Copy, Debug)]
pub struct LinkQuality {
    /// Shortest time a message takes.
    pub delay_min: Duration,
    /// Longest time a message takes.
    pub delay_max: Duration,
    /// Messages upon which the connection breaks.
    pub reset: Rate,
    /// Messages that arrive twice.
    pub duplicate: Rate,
}

impl Default for LinkQuality {
    /// A healthy local network.
    fn default() -> Self {
        Self {
            delay_min: Duration::from_micros(30),
            delay_max: Duration::from_micros(200),
            reset: Rate::NEVER,
            duplicate: Rate::NEVER,
        }
    }
}

/// How long it takes until the sender on a silent link gives up and sees a reset.
pub const SILENCE_TIMEOUT: Duration = Duration::from_millis(500);

type Link = (NodeId, NodeId);

struct Mailbox<M> {
    events: VecDeque<NetEvent<M>>,
    waiter: Option<Waker>,
}

struct State<M> {
    rng: SeededRng,
    /// Of links without one of their own.
    quality: LinkQuality,
    qualities: BTreeMap<Link, LinkQuality>,
    blocked: BTreeSet<Link>,
    mailboxes: BTreeMap<NodeId, Mailbox<M>>,
    /// Under way, in order, with the time of arrival.
    under_way: BTreeMap<Link, VecDeque<(Tick, M)>>,
    delivered: u64,
}

/// A network of nodes; clones are the same network.
pub struct SimNet<M>(Rc<RefCell<State<M>>>);

impl<M> Clone for SimNet<M> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// A node's place in the network. Dropping it is the node going down: see [`SimNet::join`].
pub struct Endpoint<M: Clone + 'static> {
    node: NodeId,
    net: SimNet<M>,
}

impl<M: Clone + 'static> SimNet<M> {
    /// A healthy network without nodes, drawing from the world's stream "net".
    pub fn new(sim: &Sim) -> Self {
        Self(Rc::new(RefCell::new(State {
            rng: sim.rng("net"),
            quality: LinkQuality::default(),
            qualities: BTreeMap::new(),
            blocked: BTreeSet::new(),
            mailboxes: BTreeMap::new(),
            under_way: BTreeMap::new(),
            delivered: 0,
        })))
    }

    /// Brings `node` up, with an empty mailbox. While it is down, whoever sends to it sees a reset.
    pub fn join(&self, node: NodeId) -> Endpoint<M> {
        let mailbox = Mailbox {
            events: VecDeque::new(),
            waiter: None,
        };
        let old = self.0.borrow_mut().mailboxes.insert(node, mailbox);
        assert!(old.is_none(), "{node} is up already");
        Endpoint {
            node,
            net: self.clone(),
        }
    }

    /// How all links without a quality of their own behave from now on.
    pub fn set_quality(&self, quality: LinkQuality) {
        self.0.borrow_mut().quality = quality;
    }

    /// How the link `from` -> `to` behaves from now on.
    pub fn set_link_quality(&self, from: NodeId, to: NodeId, quality: LinkQuality) {
        self.0.borrow_mut().qualities.insert((from, to), quality);
    }

    /// Silences the link `from` -> `to`: nothing arrives any more, and who sends sees a reset after
    /// [`SILENCE_TIMEOUT`]. What is under way is lost.
    pub fn block(&self, from: NodeId, to: NodeId) {
        let mut state = self.0.borrow_mut();
        state.blocked.insert((from, to));
        state.under_way.remove(&(from, to));
    }

    /// Ends a [`SimNet::block`].
    pub fn unblock(&self, from: NodeId, to: NodeId) {
        self.0.borrow_mut().blocked.remove(&(from, to));
    }

    /// Silences all links between the nodes of `one` and those of `other`, both ways.
    pub fn partition(&self, one: &[NodeId], other: &[NodeId]) {
        for &a in one {
            for &b in other {
                self.block(a, b);
                self.block(b, a);
            }
        }
    }

    /// All links carry again.
    pub fn heal(&self) {
        self.0.borrow_mut().blocked.clear();
    }

    /// Messages that arrived so far.
    pub fn delivered(&self) -> u64 {
        self.0.borrow().delivered
    }

    fn send(&self, from: NodeId, to: NodeId, body: M) {
        let mut state = self.0.borrow_mut();
        let link = (from, to);
        if state.blocked.contains(&link) {
            return self.later(SILENCE_TIMEOUT, move |net| {
                net.tell(from, NetEvent::Reset { peer: to });
            });
        }
        let state = &mut *state;
        let quality = *state.qualities.get(&link).unwrap_or(&state.quality);
        if quality.reset.strikes(&mut state.rng) {
            let delay = draw_delay(&quality, &mut state.rng);
            return self.later(delay, move |net| net.reset(from, to));
        }
        let copies = if quality.duplicate.strikes(&mut state.rng) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let under_way = state.under_way.entry(link).or_default();
            let arrival = exec::now() + draw_delay(&quality, &mut state.rng);
            // In order: nothing overtakes what was sent before it.
            let arrival = under_way.back().map_or(arrival, |(last, _)| arrival.max(*last));
            under_way.push_back((arrival, body.clone()));
            self.later(arrival.since(exec::now()), move |net| net.arrive(from, to));
        }
    }

    fn later(&self, delay: Duration, act: impl FnOnce(&Self) + 'static) {
        let net = self.clone();
        exec::spawn_on(NodeId::WORLD, async move {
            exec::sleep(delay).await;
            act(&net);
        });
    }

    /// Hands over the link's oldest message, if it is due: a reset may have removed the one this call was made for.
    fn arrive(&self, from: NodeId, to: NodeId) {
        let now = exec::now();
        let body = {
            let mut state = self.0.borrow_mut();
            let under_way = state.under_way.get_mut(&(from, to));
            under_way.and_then(|queue| queue.pop_front_if(|(arrival, _)| *arrival <= now))
        };
        let Some((_, body)) = body else { return };
        if self.tell(to, NetEvent::Message { from, body }) {
            self.0.borrow_mut().delivered += 1;
        } else {
            self.reset(from, to);
        }
    }

    /// Breaks the connection between two nodes; both hear of it.
    pub fn reset(&self, a: NodeId, b: NodeId) {
        {
            let mut state = self.0.borrow_mut();
            state.under_way.remove(&(a, b));
            state.under_way.remove(&(b, a));
        }
        self.tell(a, NetEvent::Reset { peer: b });
        self.tell(b, NetEvent::Reset { peer: a });
    }

    /// False when `node` is down.
    fn tell(&self, node: NodeId, event: NetEvent<M>) -> bool {
        let waiter = match self.0.borrow_mut().mailboxes.get_mut(&node) {
            Some(mailbox) => {
                mailbox.events.push_back(event);
                mailbox.waiter.take()
            }
            None => return false,
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        true
    }
}

fn draw_delay(quality: &LinkQuality, rng: &mut SeededRng) -> Duration {
    let spread = quality.delay_max.saturating_sub(quality.delay_min).as_nanos() as u64;
    quality.delay_min + Duration::from_nanos(rng.below(spread + 1))
}

impl<M: Clone + 'static> Endpoint<M> {
    /// Sends; never waits. Whether it arrives, only an answer tells.
    pub fn send(&self, to: NodeId, body: M) {
        self.net.send(self.node, to, body);
    }

    /// The next event; waits for one.
    pub async fn recv(&self) -> NetEvent<M> {
        poll_fn(|cx| {
            let mut state = self.net.0.borrow_mut();
            let mailbox = state
                .mailboxes
                .get_mut(&self.node)
                .expect("the mailbox lives as long as its endpoint");
            match mailbox.events.pop_front() {
                Some(event) => Poll::Ready(event),
                None => {
                    mailbox.waiter = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Which node this is.
    pub fn node(&self) -> NodeId {
        self.node
    }
}

impl<M: Clone + 'static> Drop for Endpoint<M> {
    fn drop(&mut self) {
        let gone = {
            let mut state = self.net.0.borrow_mut();
            let node = self.node;
            state.under_way.retain(|(from, to), _| *from != node && *to != node);
            state.mailboxes.remove(&node)
        };
        drop(gone);
    }
}

#[cfg(test)]
mod tests;
