//! [`Handshake`]: the first bytes of a link, by which both sides prove that they belong to the same cluster. Pure.
//!
//! ```text
//! dialer:    hello
//! acceptor:  hello, proof of both hellos                       or a refusal
//! dialer:    proof of both hellos                              or a refusal
//! hello:     "SLPR" | version u8 | cluster 16 | from u64 | to u64 | incarnation 16 | nonce 16         (little endian)
//! proof:     HMAC-SHA256(secret, "acceptor" or "dialer" | the dialer's hello | the acceptor's hello)
//! refusal:   "SLNO" | reason u8
//! ```
//! The nonces make a proof good for one link only; the words keep one side's proof from being sent back as the other's.
//! A node that has lost its data directory may have promised what it does not remember. It has another incarnation then, and
//! whoever knows the old one refuses it.
//! Version 2 is said by peers. Version 3 is said by a node that has no number, or does not know whether it still has one: it
//! asks. `from` and `to` of its hello are 0, and so may be the cluster, if it knows of none; it is answered in version 3 by any
//! core 0. Both prove the same as peers do, before anything is asked.
//!
//! Without a secret the proof says only that nobody configured one. What follows is encrypted only if all of it goes through TLS (`tls`).

use std::collections::{BTreeMap, BTreeSet};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::refusal::{REFUSAL_BYTES, REFUSED, Refusal, refuse};

/// A core of a node, as peers call it: node number in the high bits, core in the low 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// Who one is, and what one knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// This core.
    pub me: PeerId,
    /// The cluster it belongs to.
    pub cluster: u128,
    /// What all nodes of the cluster know; may be empty.
    pub secret: Vec<u8>,
    /// Names this node's data directory: drawn when that was made.
    pub incarnation: u128,
    /// The incarnations of peers, as far as they are known. One that has another is refused.
    pub known: BTreeMap<PeerId, u128>,
    /// The incarnations of those that belong to the cluster no more.
    pub removed: BTreeSet<u128>,
}

impl PeerId {
    /// Who has no number: as `from` and `to` of one who asks.
    pub const NOBODY: PeerId = PeerId(0);

    /// True for a core that answers those who ask.
    fn is_first_core(self) -> bool {
        self.0 & 0xffff == 0
    }
}

const HELLO: &[u8; 4] = b"SLPR";
/// With it whoever dials with TLS begins.
const TLS_HANDSHAKE: u8 = 0x16;
/// Of peers.
const VERSION: u8 = 2;
/// Of those who ask, and of what they are answered.
const ASKING: u8 = 3;
const HELLO_BYTES: usize = 4 + 1 + 16 + 8 + 8 + 16 + NONCE_BYTES;
const PROOF_BYTES: usize = 32;
/// Bytes of randomness of each side.
pub(super) const NONCE_BYTES: usize = 16;

/// How far a handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More bytes are needed.
    Wait,
    /// The other side is who it says; frames follow.
    Open(PeerId, u128),
    /// The other side asks, and knows the secret; its question follows.
    Asked,
    /// The other side is a node of the cluster; the question is to follow.
    MayAsk,
    /// It is over. `told`: by the other side.
    Refused { why: Refusal, told: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The dialer has said hello.
    Dialed {
        to: PeerId,
    },
    /// The one who asks has said hello.
    Asks,
    /// The acceptor waits for a hello.
    Accepted,
    /// The acceptor waits for the dialer's proof.
    Proving {
        from: PeerId,
        incarnation: u128,
    },
    /// The acceptor waits for the proof of one who asks.
    ProvingAsker,
    Done,
}

/// See the module's text.
pub(super) struct Handshake {
    state: State,
    nonce: [u8; NONCE_BYTES],
    /// Both hellos, the dialer's first.
    hellos: Vec<u8>,
    /// Who says of itself that it is a node which, as is known, has lost its directory.
    lost: Option<PeerId>,
}

impl Handshake {
    /// Begins as the one who dials; `out` gets what is to be sent.
    pub fn dial(identity: &Identity, to: PeerId, nonce: [u8; NONCE_BYTES], out: &mut Vec<u8>) -> Self {
        Self::say(State::Dialed { to }, hello(identity, to, nonce), nonce, out)
    }

    /// Begins as the one who asks; `out` gets what is to be sent.
    pub fn ask(identity: &Identity, nonce: [u8; NONCE_BYTES], out: &mut Vec<u8>) -> Self {
        let hello = asking_hello(identity, PeerId::NOBODY, nonce);
        Self::say(State::Asks, hello, nonce, out)
    }

    fn say(state: State, hello: Vec<u8>, nonce: [u8; NONCE_BYTES], out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&hello);
        Self {
            state,
            nonce,
            hellos: hello,
            lost: None,
        }
    }

    /// Begins as the one who was dialed.
    pub fn accept(nonce: [u8; NONCE_BYTES]) -> Self {
        Self {
            state: State::Accepted,
            nonce,
            hellos: Vec::new(),
            lost: None,
        }
    }

    /// Whose hello was refused with [`Refusal::Incarnation`]; nothing has proved that.
    pub fn lost(&self) -> Option<PeerId> {
        self.lost
    }

    /// Takes what has come from the front of `input`, appends what is to be sent to `out`.
    pub fn advance(&mut self, identity: &Identity, input: &mut &[u8], out: &mut Vec<u8>) -> Step {
        loop {
            if input.starts_with(REFUSED) {
                let Some(&reason) = input.get(REFUSAL_BYTES - 1) else {
                    return Step::Wait;
                };
                self.state = State::Done;
                return Step::Refused {
                    why: Refusal::from_byte(reason),
                    told: true,
                };
            }
            // Whoever speaks another protocol is told so by its first bytes, not when enough of them have come.
            let magic = input.len().min(HELLO.len());
            if matches!(self.state, State::Dialed { .. } | State::Asks | State::Accepted)
                && input[..magic] != HELLO[..magic]
                && input[..magic] != REFUSED[..magic]
            {
                let uses_tls = input.first() == Some(&TLS_HANDSHAKE);
                let why = if uses_tls { Refusal::Tls } else { Refusal::NotAPeer };
                return self.refuse(why, out);
            }
            match self.state {
                State::Dialed { to } => {
                    let Some((theirs, proof)) = input
                        .get(..HELLO_BYTES + PROOF_BYTES)
                        .map(|bytes| bytes.split_at(HELLO_BYTES))
                    else {
                        return Step::Wait;
                    };
                    let incarnation = match checked(identity, theirs) {
                        Ok((from, incarnation)) if from == to => incarnation,
                        Ok(_) => return self.refuse(Refusal::WrongCore, out),
                        Err(why) => return self.refuse(why, out),
                    };
                    self.hellos.extend_from_slice(theirs);
                    if !self.proves(identity, b"acceptor", proof) {
                        return self.refuse(Refusal::Proof, out);
                    }
                    out.extend_from_slice(&self.proof(identity, b"dialer"));
                    *input = &input[HELLO_BYTES + PROOF_BYTES..];
                    self.state = State::Done;
                    return Step::Open(to, incarnation);
                }
                State::Accepted => {
                    let Some(theirs) = input.get(..HELLO_BYTES) else {
                        return Step::Wait;
                    };
                    let mine = if theirs[4] == ASKING {
                        if let Err(why) = checked_asker(identity, theirs) {
                            return self.refuse(why, out);
                        }
                        self.state = State::ProvingAsker;
                        asking_hello(identity, identity.me, self.nonce)
                    } else {
                        let (from, incarnation) = match checked(identity, theirs) {
                            Ok(who) => who,
                            Err(why) => {
                                self.lost = (why == Refusal::Incarnation).then(|| sender(theirs));
                                return self.refuse(why, out);
                            }
                        };
                        self.state = State::Proving { from, incarnation };
                        hello(identity, from, self.nonce)
                    };
                    self.hellos.extend_from_slice(theirs);
                    self.hellos.extend_from_slice(&mine);
                    out.extend_from_slice(&mine);
                    out.extend_from_slice(&self.proof(identity, b"acceptor"));
                    *input = &input[HELLO_BYTES..];
                }
                State::Asks => {
                    let Some((theirs, proof)) = input
                        .get(..HELLO_BYTES + PROOF_BYTES)
                        .map(|bytes| bytes.split_at(HELLO_BYTES))
                    else {
                        return Step::Wait;
                    };
                    if let Err(why) = checked_answerer(identity, theirs) {
                        return self.refuse(why, out);
                    }
                    self.hellos.extend_from_slice(theirs);
                    if !self.proves(identity, b"acceptor", proof) {
                        return self.refuse(Refusal::Proof, out);
                    }
                    out.extend_from_slice(&self.proof(identity, b"dialer"));
                    *input = &input[HELLO_BYTES + PROOF_BYTES..];
                    self.state = State::Done;
                    return Step::MayAsk;
                }
                State::ProvingAsker => {
                    let Some(proof) = input.get(..PROOF_BYTES) else {
                        return Step::Wait;
                    };
                    if !self.proves(identity, b"dialer", proof) {
                        return self.refuse(Refusal::Proof, out);
                    }
                    *input = &input[PROOF_BYTES..];
                    self.state = State::Done;
                    return Step::Asked;
                }
                State::Proving { from, incarnation } => {
                    let Some(proof) = input.get(..PROOF_BYTES) else {
                        return Step::Wait;
                    };
                    if !self.proves(identity, b"dialer", proof) {
                        return self.refuse(Refusal::Proof, out);
                    }
                    *input = &input[PROOF_BYTES..];
                    self.state = State::Done;
                    return Step::Open(from, incarnation);
                }
                State::Done => return Step::Wait,
            }
        }
    }

    fn refuse(&mut self, why: Refusal, out: &mut Vec<u8>) -> Step {
        self.state = State::Done;
        refuse(why, out);
        Step::Refused { why, told: false }
    }

    fn mac(&self, identity: &Identity, side: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&identity.secret).expect("HMAC takes keys of any length");
        mac.update(side);
        mac.update(&self.hellos);
        mac
    }

    fn proof(&self, identity: &Identity, side: &[u8]) -> [u8; PROOF_BYTES] {
        self.mac(identity, side).finalize().into_bytes().into()
    }

    /// In the same time whatever differs.
    fn proves(&self, identity: &Identity, side: &[u8], proof: &[u8]) -> bool {
        self.mac(identity, side).verify_slice(proof).is_ok()
    }
}

fn hello(identity: &Identity, to: PeerId, nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
    write_hello(VERSION, identity, (identity.me, to), nonce)
}

/// Of one who asks, who is nobody, and of the one who answers.
fn asking_hello(identity: &Identity, from: PeerId, nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
    write_hello(ASKING, identity, (from, PeerId::NOBODY), nonce)
}

fn write_hello(version: u8, identity: &Identity, (from, to): (PeerId, PeerId), nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * HELLO_BYTES);
    bytes.extend_from_slice(HELLO);
    bytes.push(version);
    bytes.extend_from_slice(&identity.cluster.to_le_bytes());
    bytes.extend_from_slice(&from.0.to_le_bytes());
    bytes.extend_from_slice(&to.0.to_le_bytes());
    bytes.extend_from_slice(&identity.incarnation.to_le_bytes());
    bytes.extend_from_slice(&nonce);
    bytes
}

/// Who says this hello.
fn sender(hello: &[u8]) -> PeerId {
    PeerId(u64::from_le_bytes(
        hello[21..29].try_into().expect("eight bytes were cut"),
    ))
}

/// Whom this hello is said to.
fn receiver(hello: &[u8]) -> PeerId {
    PeerId(u64::from_le_bytes(
        hello[29..37].try_into().expect("eight bytes were cut"),
    ))
}

/// The cluster and the incarnation of whoever says this hello, in this version.
fn read_hello(version: u8, hello: &[u8]) -> Result<(u128, u128), Refusal> {
    let name = |at: usize| u128::from_le_bytes(hello[at..at + 16].try_into().expect("sixteen bytes were cut"));
    if &hello[..4] != HELLO {
        return Err(Refusal::NotAPeer);
    }
    if hello[4] != version {
        return Err(Refusal::Version);
    }
    Ok((name(5), name(37)))
}

/// Who says this hello, and its incarnation, if it is meant for us.
fn checked(identity: &Identity, hello: &[u8]) -> Result<(PeerId, u128), Refusal> {
    let (cluster, incarnation) = read_hello(VERSION, hello)?;
    if cluster != identity.cluster {
        return Err(Refusal::Cluster);
    }
    let from = sender(hello);
    if receiver(hello) != identity.me || from == identity.me {
        return Err(Refusal::WrongCore);
    }
    if identity.removed.contains(&incarnation) {
        return Err(Refusal::Removed);
    }
    match identity.known.get(&from) {
        Some(&known) if known != incarnation => Err(Refusal::Incarnation),
        _ => Ok((from, incarnation)),
    }
}

/// Whether one who asks, and says this hello, can be answered. Whoever was removed can: with that, which is then proved.
fn checked_asker(identity: &Identity, hello: &[u8]) -> Result<(), Refusal> {
    let (cluster, _) = read_hello(ASKING, hello)?;
    if cluster != 0 && cluster != identity.cluster {
        return Err(Refusal::Cluster);
    }
    let meant = (sender(hello), receiver(hello)) == (PeerId::NOBODY, PeerId::NOBODY);
    if !meant || !identity.me.is_first_core() || identity.me == PeerId::NOBODY {
        return Err(Refusal::WrongCore);
    }
    Ok(())
}

/// Whether whoever says this hello is the one to ask.
fn checked_answerer(identity: &Identity, hello: &[u8]) -> Result<(), Refusal> {
    let (cluster, _) = read_hello(ASKING, hello)?;
    if identity.cluster != 0 && cluster != identity.cluster {
        return Err(Refusal::Cluster);
    }
    match receiver(hello) {
        PeerId::NOBODY => Ok(()),
        _ => Err(Refusal::WrongCore),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(me: u64) -> Identity {
        Identity {
            me: PeerId(me),
            cluster: 7,
            secret: b"between us".to_vec(),
            incarnation: u128::from(me) * 100,
            known: BTreeMap::new(),
            removed: BTreeSet::new(),
        }
    }

    /// Core 0 of a node.
    fn answerer() -> Identity {
        identity(3 << 16)
    }

    /// One who knows of no cluster.
    fn asker() -> Identity {
        let cluster = 0;
        let asker = identity(0);
        Identity { cluster, ..asker }
    }

    /// Lets both sides talk, a few bytes at a time, until neither says anything.
    fn talk(dialer: &Identity, to: u64, acceptor: &Identity, piece: usize) -> (Step, Step) {
        let mut there = Vec::new();
        let dialing = Handshake::dial(dialer, PeerId(to), [1; NONCE_BYTES], &mut there);
        talk_from(dialing, there, dialer, acceptor, piece)
    }

    /// The same with one who asks.
    fn ask(asker: &Identity, acceptor: &Identity, piece: usize) -> (Step, Step) {
        let mut there = Vec::new();
        let asking = Handshake::ask(asker, [1; NONCE_BYTES], &mut there);
        talk_from(asking, there, asker, acceptor, piece)
    }

    fn talk_from(
        mut dialing: Handshake,
        mut there: Vec<u8>,
        dialer: &Identity,
        acceptor: &Identity,
        piece: usize,
    ) -> (Step, Step) {
        let mut back = Vec::new();
        let mut accepting = Handshake::accept([2; NONCE_BYTES]);
        let (mut dialer_got, mut acceptor_got) = (Vec::new(), Vec::new());
        let (mut ends, mut quiet) = ((Step::Wait, Step::Wait), false);
        while !quiet {
            quiet = there.is_empty() && back.is_empty();
            acceptor_got.extend(there.drain(..piece.min(there.len())));
            let mut input = &acceptor_got[..];
            let step = accepting.advance(acceptor, &mut input, &mut back);
            acceptor_got = input.to_vec();
            if step != Step::Wait {
                ends.1 = step;
            }
            dialer_got.extend(back.drain(..piece.min(back.len())));
            let mut input = &dialer_got[..];
            let step = dialing.advance(dialer, &mut input, &mut there);
            dialer_got = input.to_vec();
            if step != Step::Wait {
                ends.0 = step;
            }
        }
        ends
    }

    fn refused(why: Refusal, told: bool) -> Step {
        Step::Refused { why, told }
    }

    #[test]
    fn two_of_one_cluster_open_however_the_bytes_are_cut() {
        for piece in 1..120 {
            let ends = talk(&identity(1), 2, &identity(2), piece);
            assert_eq!(
                ends,
                (Step::Open(PeerId(2), 200), Step::Open(PeerId(1), 100)),
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn whoever_is_not_meant_is_refused_and_told_why() {
        let mut other = identity(2);
        other.cluster = 8;
        let ends = talk(&identity(1), 2, &other, 9);
        assert_eq!(
            ends,
            (refused(Refusal::Cluster, true), refused(Refusal::Cluster, false))
        );
        let ends = talk(&identity(1), 3, &identity(2), 9);
        assert_eq!(
            ends,
            (refused(Refusal::WrongCore, true), refused(Refusal::WrongCore, false))
        );
        let mut other = identity(2);
        other.secret.push(b'!');
        let ends = talk(&identity(1), 2, &other, 9);
        assert_eq!(ends, (refused(Refusal::Proof, false), refused(Refusal::Proof, true)));
    }

    #[test]
    fn a_node_that_has_lost_its_directory_is_refused_whoever_dials() {
        let mut old = identity(1);
        old.known.insert(PeerId(2), 200);
        assert_eq!(talk(&old, 2, &identity(2), 9).0, Step::Open(PeerId(2), 200));
        let mut new = identity(2);
        new.incarnation = 201;
        let refused = |told| refused(Refusal::Incarnation, told);
        assert_eq!(talk(&old, 2, &new, 9), (refused(false), refused(true)));
        assert_eq!(talk(&new, 1, &old, 9), (refused(true), refused(false)));
        let (mut hello, mut answer) = (Vec::new(), Vec::new());
        Handshake::dial(&new, PeerId(1), [1; NONCE_BYTES], &mut hello);
        let mut accepting = Handshake::accept([2; NONCE_BYTES]);
        accepting.advance(&old, &mut &hello[..], &mut answer);
        assert_eq!(accepting.lost(), Some(PeerId(2)), "whoever refuses can name it");
    }

    #[test]
    fn who_knows_the_secret_may_ask_core_0_however_the_bytes_are_cut() {
        for piece in 1..120 {
            assert_eq!(
                ask(&asker(), &answerer(), piece),
                (Step::MayAsk, Step::Asked),
                "pieces of {piece}"
            );
        }
        // Also one who knows the cluster, and one who was removed from it.
        let (member, mut answerer) = (identity(2), answerer());
        answerer.removed.insert(member.incarnation);
        assert_eq!(ask(&member, &answerer, 9), (Step::MayAsk, Step::Asked));
    }

    #[test]
    fn who_may_not_ask_is_refused_and_told_why() {
        let ends = |why, told| (refused(why, told), refused(why, !told));
        let mut foreign = asker();
        foreign.cluster = 8;
        assert_eq!(ask(&foreign, &answerer(), 9), ends(Refusal::Cluster, true));
        let mut ignorant = asker();
        ignorant.secret = b"what was it?".to_vec();
        assert_eq!(ask(&ignorant, &answerer(), 9), ends(Refusal::Proof, false));
        assert_eq!(ask(&asker(), &identity(3 << 16 | 1), 9), ends(Refusal::WrongCore, true));
        // Nobody, who asks himself, answers nobody.
        assert_eq!(ask(&asker(), &asker(), 9), ends(Refusal::WrongCore, true));
    }

    #[test]
    fn a_proof_given_to_ask_opens_no_link() {
        let (mut said, mut answer) = (Vec::new(), Vec::new());
        let mut asking = Handshake::ask(&asker(), [1; NONCE_BYTES], &mut said);
        let mut first = Handshake::accept([2; NONCE_BYTES]);
        first.advance(&answerer(), &mut &said[..], &mut answer);
        asking.advance(&asker(), &mut &answer[..], &mut said);
        // The same bytes as if a peer had sent them: the version is among what is proved.
        said[4] = VERSION;
        said[5..21].copy_from_slice(&7u128.to_le_bytes());
        said[29..37].copy_from_slice(&answerer().me.0.to_le_bytes());
        let step = Handshake::accept([2; NONCE_BYTES]).advance(&answerer(), &mut &said[..], &mut answer);
        assert_eq!(step, refused(Refusal::Proof, false));
    }

    #[test]
    fn a_node_that_was_removed_is_refused_as_a_peer() {
        let mut old = identity(1);
        old.removed.insert(identity(2).incarnation);
        let refused = |told| refused(Refusal::Removed, told);
        assert_eq!(talk(&old, 2, &identity(2), 9), (refused(false), refused(true)));
        assert_eq!(talk(&identity(2), 1, &old, 9), (refused(true), refused(false)));
    }

    #[test]
    fn other_protocols_are_refused_at_their_first_bytes() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"*1\r\n", b"S", b"SX", b"\0"] {
            let mut out = Vec::new();
            let step = Handshake::accept([0; NONCE_BYTES]).advance(&identity(1), &mut { bytes }, &mut out);
            let expected = if bytes == b"S" {
                Step::Wait
            } else {
                refused(Refusal::NotAPeer, false)
            };
            assert_eq!(step, expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_recorded_handshake_does_not_open_another_link() {
        let (dialer, acceptor) = (identity(1), identity(2));
        let (mut said, mut answer) = (Vec::new(), Vec::new());
        let mut dialing = Handshake::dial(&dialer, PeerId(2), [1; NONCE_BYTES], &mut said);
        let mut first = Handshake::accept([2; NONCE_BYTES]);
        first.advance(&acceptor, &mut &said[..], &mut answer);
        dialing.advance(&dialer, &mut &answer[..], &mut said);
        assert_eq!(
            first.advance(&acceptor, &mut &said[HELLO_BYTES..], &mut answer),
            Step::Open(PeerId(1), 100)
        );
        let mut second = Handshake::accept([3; NONCE_BYTES]);
        let step = second.advance(&acceptor, &mut &said[..], &mut answer);
        assert_eq!(step, refused(Refusal::Proof, false));
        // Nor can a side be answered with its own proof.
        let mut back = Vec::new();
        let mut dialing = Handshake::dial(&dialer, PeerId(2), [1; NONCE_BYTES], &mut back);
        let mut mirror = hello(&acceptor, PeerId(1), [9; NONCE_BYTES]);
        let mut fake = Handshake::accept([9; NONCE_BYTES]);
        fake.hellos = [hello(&dialer, PeerId(2), [1; NONCE_BYTES]), mirror.clone()].concat();
        mirror.extend_from_slice(&fake.proof(&dialer, b"dialer"));
        let step = dialing.advance(&dialer, &mut &mirror[..], &mut back);
        assert_eq!(step, refused(Refusal::Proof, false));
    }
}
