//! [`PeerNet`]: all links of a core to cores of other nodes, driven by its ring.
//!
//! Of two cores the one with the smaller number dials. At most one send and one receive are in flight on a link; what is
//! to be sent meanwhile goes together into the next send. Memory handed to the kernel belongs to the link until the
//! operation's completion, and a link is dropped only when no operation of it is left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::ops::Bound;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use io_uring::{cqueue, opcode, types};
use slotcore_rt::clock::Tick;
use slotcore_rt::ring::{Class, Completion, Ring};
use slotcore_rt::rng::SeededRng;

use super::dialing::Dialing;
use super::event::{AskerId, LinkEnd, OPEN_WITHIN, PeerEvent, PeerOptions};
use super::handshake::{Handshake, Identity, NONCE_BYTES, PeerId, Step};
use super::link::{Link, Phase, SEND_FRAMES};
use super::place::PeerPlace;
use super::refusal::{REFUSED, Refusal, refuse};
use super::tls::{TlsEnd, TlsSession};
use crate::socket;

/// One who asks is given up when there is no answer after this long: several elections of whoever has to decide.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Most who ask at once: nodes are started by people, and each asks again.
const ASKERS_MAX: usize = 8;
/// Most accepted connections that have proved nothing yet: more than a cluster has nodes. One more ends the oldest.
const STRANGERS_MAX: usize = 64;
/// Longest question, in bytes: addresses of a node.
const QUESTION_BYTES_MAX: usize = 4 << 10;
/// Longest answer, in bytes: some hundred for each node of a cluster.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Bytes before a question or an answer that say how long it is: a little-endian number.
const LENGTH_BYTES: usize = 4;
/// Seconds of silence before TCP probes a peer. (Whether it lives is Raft's business, which hears of it much sooner.)
const KEEPALIVE_S: u32 = 15;
/// A link on which the peer's machine has acknowledged nothing for this long is given up, and opened anew. TCP by itself sends
/// again ever more rarely: after a cut of the network it would be silent for as long again as the cut has lasted, and nobody
/// be elected who needs that link. Five times what an election takes; a peer that stands still is heard of sooner by Raft.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_millis(1_500);

/// Where a peer is, and when it is dialed.
struct Target {
    place: PeerPlace,
    dialing: Dialing,
}

/// See the module's text.
pub struct PeerNet {
    identity: Identity,
    options: PeerOptions,
    rng: SeededRng,
    listener: Option<OwnedFd>,
    accept_armed: bool,
    targets: BTreeMap<PeerId, Target>,
    /// By the number in tokens, which is never used again.
    links: BTreeMap<u64, Link>,
    next_link: u64,
    open: BTreeMap<PeerId, u64>,
    addresses: BTreeMap<u64, Box<(libc::sockaddr_storage, u32)>>,
    events: VecDeque<PeerEvent>,
    /// To be asked, and where.
    questions: VecDeque<(PeerPlace, Bytes)>,
    now: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Accept = 0,
    Connect = 1,
    Recv = 2,
    Send = 3,
}

const OP_BITS: u32 = 2;

fn token(op: Op, link: u64) -> u64 {
    link << OP_BITS | op as u64
}

impl PeerNet {
    /// Nobody is known yet. `rng`: for the nonces, so it must not be guessable.
    pub fn new(identity: Identity, options: PeerOptions, rng: SeededRng) -> Self {
        Self {
            identity,
            options,
            rng,
            listener: None,
            accept_armed: false,
            targets: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 1,
            open: BTreeMap::new(),
            addresses: BTreeMap::new(),
            events: VecDeque::new(),
            questions: VecDeque::new(),
            now: Tick::ZERO,
        }
    }

    /// Peers are accepted on a bound socket ([`crate::bind`]).
    ///
    /// # Errors
    /// What the system says when the socket cannot listen.
    pub fn listen(&mut self, listener: OwnedFd) -> io::Result<()> {
        socket::listen(&listener)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// There shall be a link with each of these and with nobody else. Links that are no longer wanted are closed.
    pub fn want(&mut self, peers: impl IntoIterator<Item = (PeerId, impl Into<PeerPlace>)>, now: Tick) {
        let mut wanted: BTreeMap<_, _> = peers
            .into_iter()
            .filter(|(peer, _)| *peer != self.identity.me)
            .map(|(peer, place)| (peer, place.into()))
            .collect();
        self.targets
            .retain(|peer, target| wanted.get(peer) == Some(&target.place));
        let kept: Vec<_> = self.targets.keys().copied().collect();
        let unwanted: Vec<_> = self
            .open
            .iter()
            .filter(|(peer, _)| !wanted.contains_key(peer))
            .map(|(_, &id)| id)
            .collect();
        for id in unwanted {
            self.end(id, LinkEnd::Unwanted);
        }
        for peer in kept {
            wanted.remove(&peer);
        }
        for (peer, place) in wanted {
            let dialing = Dialing::new(now);
            self.targets.insert(peer, Target { place, dialing });
        }
    }

    /// Asks whoever listens for peers there, core 0 of a node, to be answered by [`PeerEvent::Answered`]. Who asks has to
    /// know the secret, and the cluster unless that is 0. `question`: at most 4 KiB.
    pub fn ask(&mut self, place: impl Into<PeerPlace>, question: &[u8]) {
        assert!(question.len() <= QUESTION_BYTES_MAX, "longer than a question can be");
        self.questions.push_back((place.into(), framed(question)));
    }

    /// Answers one who asks; whoever has gone is not there to hear it. `answer`: at most 1 MiB.
    pub fn answer(&mut self, asker: AskerId, answer: &[u8]) {
        assert!(answer.len() <= ANSWER_BYTES_MAX, "longer than an answer can be");
        if let Some(link) = self.links.get_mut(&asker.0)
            && matches!(link.phase, Phase::Answering)
        {
            // Its last word: then it is closed.
            link.greeting.extend_from_slice(&framed(answer));
            link.phase = Phase::Closing;
        }
    }

    /// From now on whoever has one of these incarnations is refused as a peer, and told why.
    pub fn set_removed(&mut self, removed: BTreeSet<u128>) {
        self.identity.removed = removed;
    }

    /// True while frames flow to and from `peer`.
    pub fn is_open(&self, peer: PeerId) -> bool {
        self.open.contains_key(&peer)
    }

    /// From now on a peer is refused unless it has this incarnation.
    pub fn know(&mut self, peer: PeerId, incarnation: u128) {
        self.identity.known.insert(peer, incarnation);
    }

    /// The incarnation of a peer, once it has been heard from.
    pub fn incarnation_of(&self, peer: PeerId) -> Option<u128> {
        self.identity.known.get(&peer).copied()
    }

    /// How many links are open.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Sends a frame, whose first four bytes say how many follow. False: there is no link; the frame is dropped.
    pub fn send(&mut self, peer: PeerId, frame: Bytes) -> bool {
        let Some(&id) = self.open.get(&peer) else { return false };
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        link.out_bytes += frame.len();
        link.out.push_back(frame);
        if link.out_bytes > self.options.unsent_bytes_max {
            self.end(id, LinkEnd::Backlog);
            return false;
        }
        true
    }

    /// What came cannot be understood: the link is closed, and opened again.
    pub fn reject(&mut self, peer: PeerId) {
        if let Some(&id) = self.open.get(&peer) {
            self.end(id, LinkEnd::Unreadable);
        }
    }

    /// What happened since the last call, in order.
    pub fn next_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// Takes in one completion of class [`Class::Peer`].
    pub fn on_completion(&mut self, c: Completion) {
        let id = c.token >> OP_BITS;
        match c.token & ((1 << OP_BITS) - 1) {
            0 => self.on_accept(c),
            1 => self.on_connect(id, c.result),
            2 => self.on_recv(id, c.result),
            _ => self.on_send(id, c.result),
        }
    }

    /// Ends a turn: dials who is to be dialed, gives up what takes too long, queues sends and receives. Submits nothing.
    pub fn flush(&mut self, ring: &mut Ring, now: Tick) -> io::Result<()> {
        self.now = now;
        let late: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.deadline().is_some_and(|at| at < now))
            .map(|(&id, _)| id)
            .collect();
        for id in late {
            self.end(id, LinkEnd::Late);
        }
        self.dial_due(ring)?;
        while let Some((place, question)) = self.questions.pop_front() {
            if let Err(error) = self.dial(ring, &place, None, Some(question))? {
                self.events.push_back(PeerEvent::Answered(Err(error)));
            }
        }
        if let Some(listener) = &self.listener
            && !self.accept_armed
        {
            self.accept_armed = true;
            let accept = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd()))
                .flags(libc::SOCK_CLOEXEC)
                .build();
            // SAFETY: the entry names no memory; the listener lives as long as `self`.
            unsafe { ring.push(Class::Peer, token(Op::Accept, 0), accept)? };
        }
        let mut failed = Vec::new();
        for (&id, link) in &mut self.links {
            if let Err(end) = arm(ring, id, link, self.options.frame_bytes_max)? {
                failed.push((id, end));
            }
        }
        for (id, end) in failed {
            self.end(id, LinkEnd::Tls(end));
        }
        let addresses = &mut self.addresses;
        self.links.retain(|id, link| {
            let gone = link.is_closing() && !link.is_busy() && !link.has_last_word();
            if gone {
                addresses.remove(id);
            }
            !gone
        });
        Ok(())
    }

    /// When [`PeerNet::flush`] has something to do although nothing happens.
    pub fn next_wake(&self) -> Option<Tick> {
        let mine = self
            .targets
            .range((Bound::Excluded(self.identity.me), Bound::Unbounded));
        let dials = mine.filter_map(|(_, target)| target.dialing.due());
        dials.chain(self.links.values().filter_map(Link::deadline)).min()
    }

    fn dial_due(&mut self, ring: &mut Ring) -> io::Result<()> {
        let (now, me) = (self.now, self.identity.me);
        let due: Vec<_> = self
            .targets
            .iter_mut()
            .filter_map(|(&peer, target)| {
                (me < peer && target.dialing.is_due(now)).then_some((peer, target.place.clone()))
            })
            .collect();
        for (peer, place) in due {
            if let Err(error) = self.dial(ring, &place, Some(peer), None)? {
                self.failed(peer, error, Duration::ZERO);
            }
        }
        Ok(())
    }

    /// Begins to connect, with a peer or to ask. The inner error: there is no socket, or no certificate for such a host.
    fn dial(
        &mut self,
        ring: &mut Ring,
        place: &PeerPlace,
        peer: Option<PeerId>,
        question: Option<Bytes>,
    ) -> io::Result<Result<(), LinkEnd>> {
        let fd = match socket::stream(place.address) {
            Ok(fd) => fd,
            Err(error) => return Ok(Err(no_socket(&error))),
        };
        let tls = self.options.tls.as_ref().map(|tls| TlsSession::dial(tls, &place.host));
        let tls = match tls.transpose() {
            Ok(tls) => tls.map(Box::new),
            Err(end) => return Ok(Err(LinkEnd::Tls(end))),
        };
        let id = self.next_link;
        self.next_link += 1;
        let target = &**self
            .addresses
            .entry(id)
            .or_insert(Box::new(socket::to_storage(place.address)));
        let connect = opcode::Connect::new(types::Fd(fd.as_raw_fd()), (&raw const target.0).cast(), target.1).build();
        let mut link = Link::new(fd, peer, Phase::Connecting, self.now);
        (link.connect_pending, link.question, link.tls) = (true, question, tls);
        self.links.insert(id, link);
        // SAFETY: the address lies in a box that is kept until the link is gone, which waits for the completion.
        unsafe { ring.push(Class::Peer, token(Op::Connect, id), connect)? };
        Ok(Ok(()))
    }

    fn nonce(&mut self) -> [u8; NONCE_BYTES] {
        let (a, b) = (self.rng.next_u64(), self.rng.next_u64());
        (u128::from(a) << 64 | u128::from(b)).to_le_bytes()
    }

    fn on_accept(&mut self, c: Completion) {
        self.accept_armed &= cqueue::more(c.flags);
        if c.result < 0 {
            self.events.push_back(PeerEvent::Failed(None, LinkEnd::Io(-c.result)));
            return;
        }
        // SAFETY: the kernel made this descriptor for us in this very completion.
        let fd = unsafe { OwnedFd::from_raw_fd(c.result) };
        tune(&fd);
        let mut strangers = self.links.iter().filter(|(_, link)| !link.dialed && link.is_greeting());
        if strangers.clone().count() >= STRANGERS_MAX
            && let Some((&oldest, _)) = strangers.next()
        {
            self.end(oldest, LinkEnd::Crowded);
        }
        let handshake = Handshake::accept(self.nonce());
        let id = self.next_link;
        self.next_link += 1;
        let mut link = Link::new(fd, None, Phase::Greeting(handshake), self.now);
        let tls = self.options.tls.as_ref().map(TlsSession::accept).transpose();
        match tls {
            Ok(tls) => link.tls = tls.map(Box::new),
            Err(end) => return self.events.push_back(PeerEvent::Failed(None, LinkEnd::Tls(end))),
        }
        self.links.insert(id, link);
    }

    fn on_connect(&mut self, id: u64, result: i32) {
        let nonce = self.nonce();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.connect_pending = false;
        if link.is_closing() {
            return;
        }
        if result < 0 {
            self.end(id, LinkEnd::Io(-result));
            return;
        }
        tune(&link.fd);
        let handshake = match link.peer {
            Some(peer) => Handshake::dial(&self.identity, peer, nonce, &mut link.greeting),
            None => Handshake::ask(&self.identity, nonce, &mut link.greeting),
        };
        link.phase = Phase::Greeting(handshake);
    }

    fn on_recv(&mut self, id: u64, result: i32) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.recv_pending = false;
        if link.is_closing() {
            return;
        }
        match result {
            0 => return self.end(id, LinkEnd::Closed),
            ..0 if matches!(-result, libc::EINTR | libc::EAGAIN) => return,
            ..0 => return self.end(id, LinkEnd::Io(-result)),
            _ => {
                if let Err(end) = link.arrived(result as usize) {
                    return self.end(id, end);
                }
            }
        }
        if let Phase::Greeting(handshake) = &mut link.phase {
            let mut rest = &link.input[..];
            let step = handshake.advance(&self.identity, &mut rest, &mut link.greeting);
            let used = link.input.len() - rest.len();
            drop(link.input.split_to(used));
            match step {
                Step::Wait => return,
                Step::Refused { why, told } => {
                    link.peer = link.peer.or(handshake.lost());
                    return self.end(id, LinkEnd::Refused { why, told });
                }
                Step::Open(peer, incarnation) => {
                    if !self.opened(id, peer) {
                        return;
                    }
                    self.identity.known.insert(peer, incarnation);
                }
                Step::Asked => {
                    (link.phase, link.since) = (Phase::Asking, self.now);
                    if self
                        .links
                        .values()
                        .filter(|link| link.is_asking() && !link.dialed)
                        .count()
                        > ASKERS_MAX
                    {
                        return self.turn_away(id, Refusal::Busy);
                    }
                }
                Step::MayAsk => {
                    let question = link.question.take().unwrap_or_default();
                    link.greeting.extend_from_slice(&question);
                    (link.phase, link.since) = (Phase::Asking, self.now);
                }
            }
        }
        match self.links.get(&id) {
            Some(link) if link.is_asking() => self.take_question(id),
            _ => self.take_frames(id),
        }
    }

    /// A link has proved to lead to `peer`. False: it is not wanted.
    fn opened(&mut self, id: u64, peer: PeerId) -> bool {
        if !self.targets.contains_key(&peer) {
            self.end(id, LinkEnd::Unwanted);
            return false;
        }
        if let Some(&old) = self.open.get(&peer) {
            self.end(old, LinkEnd::Replaced);
        }
        if let Some(link) = self.links.get_mut(&id) {
            (link.peer, link.phase, link.since) = (Some(peer), Phase::Open, self.now);
        }
        self.open.insert(peer, id);
        self.events.push_back(PeerEvent::Up(peer));
        true
    }

    /// The one frame of a link that is there to ask: a question, or the answer to ours.
    fn take_question(&mut self, id: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.dialed && link.input.starts_with(REFUSED) {
            // Refused by who had proved itself before: there were others.
            let (why, told) = (Refusal::Busy, true);
            return self.end(id, LinkEnd::Refused { why, told });
        }
        let longest = LENGTH_BYTES
            + if link.dialed {
                ANSWER_BYTES_MAX
            } else {
                QUESTION_BYTES_MAX
            };
        match link.next_frame(longest) {
            // Whoever asks says one thing, and nothing more.
            Ok(_) if matches!(link.phase, Phase::Answering) => {
                if !link.input.is_empty() {
                    self.end(id, LinkEnd::Unreadable);
                }
            }
            Ok(Some(frame)) if link.dialed => {
                link.phase = Phase::Closing;
                socket::shutdown(link.fd.as_raw_fd());
                self.events
                    .push_back(PeerEvent::Answered(Ok(frame.slice(LENGTH_BYTES..))));
            }
            Ok(Some(frame)) => {
                link.phase = Phase::Answering;
                self.events
                    .push_back(PeerEvent::Asked(AskerId(id), frame.slice(LENGTH_BYTES..)));
            }
            Ok(None) => {}
            Err(length) => self.end(id, LinkEnd::FrameLength(length)),
        }
    }

    /// Says why, and ends.
    fn turn_away(&mut self, id: u64, why: Refusal) {
        if let Some(link) = self.links.get_mut(&id) {
            refuse(why, &mut link.greeting);
        }
        self.end(id, LinkEnd::Refused { why, told: false });
    }

    fn take_frames(&mut self, id: u64) {
        let longest = self.options.frame_bytes_max;
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(peer) = link.peer else { return };
        loop {
            match link.next_frame(longest) {
                Ok(Some(frame)) => self.events.push_back(PeerEvent::Frame(peer, frame)),
                Ok(None) => return,
                Err(length) => return self.end(id, LinkEnd::FrameLength(length)),
            }
        }
    }

    fn on_send(&mut self, id: u64, result: i32) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.send_pending = false;
        match result {
            0.. => {
                link.took(result as usize);
                if link.is_closing() && !link.has_last_word() {
                    // The last word is said.
                    socket::shutdown(link.fd.as_raw_fd());
                }
            }
            _ if matches!(-result, libc::EINTR | libc::EAGAIN) => {}
            _ => {
                link.silence();
                self.end(id, LinkEnd::Io(-result));
            }
        }
    }

    /// Gives a link up. It goes when the ring has let go of it.
    fn end(&mut self, id: u64, end: LinkEnd) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.is_closing()) else {
            return;
        };
        let was_open = link.is_open();
        let lasted = if was_open {
            self.now.since(link.since)
        } else {
            Duration::ZERO
        };
        let (peer, dialed) = (link.peer, link.dialed);
        link.phase = Phase::Closing;
        if !end.is_to_be_told() {
            link.silence();
            socket::shutdown(link.fd.as_raw_fd());
        }
        if was_open && let Some(peer) = peer {
            self.open.remove(&peer);
            self.events.push_back(PeerEvent::Down(peer, end));
        } else if dialed && peer.is_none() {
            self.events.push_back(PeerEvent::Answered(Err(end)));
        } else {
            self.events.push_back(PeerEvent::Failed(peer, end));
        }
        if dialed && let Some(target) = peer.and_then(|peer| self.targets.get_mut(&peer)) {
            target.dialing.lost(self.now, lasted, &mut self.rng);
        }
    }

    /// A try has failed before there was a link.
    fn failed(&mut self, peer: PeerId, end: LinkEnd, lasted: Duration) {
        self.events.push_back(PeerEvent::Failed(Some(peer), end));
        if let Some(target) = self.targets.get_mut(&peer) {
            target.dialing.lost(self.now, lasted, &mut self.rng);
        }
    }
}

/// Queues what a link needs. The inner error: TLS failed.
fn arm(ring: &mut Ring, id: u64, link: &mut Link, longest: usize) -> io::Result<Result<(), TlsEnd>> {
    if link.connect_pending {
        return Ok(Ok(()));
    }
    let fd = types::Fd(link.fd.as_raw_fd());
    if !link.recv_pending && !link.is_closing() {
        let (room, len) = link.room(longest);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let recv = opcode::Recv::new(fd, room, len).build();
        // SAFETY: the input, or with TLS what has arrived, is not touched before the completion, and the link stays until then.
        unsafe { ring.push(Class::Peer, token(Op::Recv, id), recv)? };
        link.recv_pending = true;
    }
    if link.send_pending {
        return Ok(Ok(()));
    }
    if let Err(end) = link.seal() {
        link.silence();
        socket::shutdown(link.fd.as_raw_fd());
        return Ok(Err(end));
    }
    let send = if let Some(tls) = &link.tls {
        let rest = tls.unsent();
        if rest.is_empty() {
            return Ok(Ok(()));
        }
        let len = u32::try_from(rest.len()).expect("what goes at once is bounded");
        opcode::Send::new(fd, rest.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL)
            .build()
    } else if !link.greeting.is_empty() {
        let rest = &link.greeting[link.sent..];
        let len = u32::try_from(rest.len()).expect("a greeting is short");
        opcode::Send::new(fd, rest.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL)
            .build()
    } else if link.is_open() && !link.out.is_empty() {
        let mut skip = link.sent;
        let mut count = 0;
        for frame in link.out.iter().take(SEND_FRAMES) {
            let rest = &frame[skip..];
            link.vectors[count] = libc::iovec {
                iov_base: rest.as_ptr().cast_mut().cast(),
                iov_len: rest.len(),
            };
            (skip, count) = (0, count + 1);
        }
        opcode::Writev::new(fd, link.vectors.as_ptr().cast(), count as u32).build()
    } else {
        return Ok(Ok(()));
    };
    // SAFETY: greeting, frames, vectors and records are not touched before the completion, and the link stays until then.
    unsafe { ring.push(Class::Peer, token(Op::Send, id), send)? };
    link.send_pending = true;
    Ok(Ok(()))
}

impl Link {
    /// When it is given up if nothing more comes of it.
    fn deadline(&self) -> Option<Tick> {
        let within = match self.phase {
            Phase::Connecting | Phase::Greeting(_) => OPEN_WITHIN,
            Phase::Asking | Phase::Answering => ANSWER_WITHIN,
            Phase::Open | Phase::Closing => return None,
        };
        Some(self.since + within)
    }

    fn is_greeting(&self) -> bool {
        matches!(self.phase, Phase::Greeting(_))
    }
}

fn tune(fd: &OwnedFd) {
    socket::tune(fd.as_raw_fd(), KEEPALIVE_S);
    socket::give_up_after(fd.as_raw_fd(), UNACKNOWLEDGED_MAX);
}

/// With its length before it.
fn framed(bytes: &[u8]) -> Bytes {
    let len = u32::try_from(bytes.len()).expect("its length was looked at");
    [&len.to_le_bytes()[..], bytes].concat().into()
}

fn no_socket(error: &io::Error) -> LinkEnd {
    LinkEnd::Io(error.raw_os_error().unwrap_or(libc::EIO))
}
