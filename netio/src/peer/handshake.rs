//! [`Handshake`]: the first bytes of a link, by which both sides prove that they belong to the same cluster. Pure.
//!
//! ```text
//! dialer:    hello
//! acceptor:  hello, proof of both hellos                       or a refusal
//! dialer:    proof of both hellos                              or a refusal
//! hello:     "SLPR" | version u8 = 2 | cluster 16 | from u64 | to u64 | incarnation 16 | nonce 16     (little endian)
//! proof:     HMAC-SHA256(secret, "acceptor" or "dialer" | the dialer's hello | the acceptor's hello)
//! refusal:   "SLNO" | reason u8
//! ```
//! The nonces make a proof good for one link only; the words keep one side's proof from being sent back as the other's.
//! A node that has lost its data directory may have promised what it does not remember. It has another incarnation then, and
//! whoever knows the old one refuses it.
//! Without a secret the proof says only that nobody configured one. What follows is not encrypted.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

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
}

const HELLO: &[u8; 4] = b"SLPR";
const REFUSED: &[u8; 4] = b"SLNO";
const VERSION: u8 = 2;
const HELLO_BYTES: usize = 4 + 1 + 16 + 8 + 8 + 16 + NONCE_BYTES;
const PROOF_BYTES: usize = 32;
const REFUSAL_BYTES: usize = 5;
/// Bytes of randomness of each side.
pub(super) const NONCE_BYTES: usize = 16;

/// Why a link is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// These are not the bytes of a peer.
    NotAPeer = 1,
    /// Another version of this protocol.
    Version = 2,
    /// Another cluster.
    Cluster = 3,
    /// It was meant for another core: the addresses are out of date.
    WrongCore = 4,
    /// The proof does not fit: the secrets differ.
    Proof = 5,
    /// The node has another data directory than before.
    Incarnation = 6,
}

impl Refusal {
    fn from_byte(byte: u8) -> Self {
        match byte {
            2 => Self::Version,
            3 => Self::Cluster,
            4 => Self::WrongCore,
            5 => Self::Proof,
            6 => Self::Incarnation,
            _ => Self::NotAPeer,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAPeer => "what answers there is not a peer",
            Self::Version => "the other node speaks another version of the peer protocol",
            Self::Cluster => "the other node belongs to another cluster",
            Self::WrongCore => "the address is that of another core",
            Self::Proof => "the other node has another cluster secret",
            Self::Incarnation => "the node has lost its data directory, and what it had promised with it",
        })
    }
}

/// How far a handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More bytes are needed.
    Wait,
    /// The other side is who it says; frames follow.
    Open(PeerId, u128),
    /// It is over. `told`: by the other side.
    Refused { why: Refusal, told: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The dialer has said hello.
    Dialed {
        to: PeerId,
    },
    /// The acceptor waits for a hello.
    Accepted,
    /// The acceptor waits for the dialer's proof.
    Proving {
        from: PeerId,
        incarnation: u128,
    },
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
        let hellos = hello(identity, to, nonce);
        out.extend_from_slice(&hellos);
        Self {
            state: State::Dialed { to },
            nonce,
            hellos,
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
            if matches!(self.state, State::Dialed { .. } | State::Accepted)
                && input[..magic] != HELLO[..magic]
                && input[..magic] != REFUSED[..magic]
            {
                return self.refuse(Refusal::NotAPeer, out);
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
                    let (from, incarnation) = match checked(identity, theirs) {
                        Ok(who) => who,
                        Err(why) => {
                            self.lost = (why == Refusal::Incarnation).then(|| sender(theirs));
                            return self.refuse(why, out);
                        }
                    };
                    self.hellos.extend_from_slice(theirs);
                    let mine = hello(identity, from, self.nonce);
                    self.hellos.extend_from_slice(&mine);
                    out.extend_from_slice(&mine);
                    out.extend_from_slice(&self.proof(identity, b"acceptor"));
                    *input = &input[HELLO_BYTES..];
                    self.state = State::Proving { from, incarnation };
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
        out.extend_from_slice(REFUSED);
        out.push(why as u8);
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
    let mut bytes = Vec::with_capacity(2 * HELLO_BYTES);
    bytes.extend_from_slice(HELLO);
    bytes.push(VERSION);
    bytes.extend_from_slice(&identity.cluster.to_le_bytes());
    bytes.extend_from_slice(&identity.me.0.to_le_bytes());
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

/// Who says this hello, and its incarnation, if it is meant for us.
fn checked(identity: &Identity, hello: &[u8]) -> Result<(PeerId, u128), Refusal> {
    let number = |at: usize| u64::from_le_bytes(hello[at..at + 8].try_into().expect("eight bytes were cut"));
    if &hello[..4] != HELLO {
        return Err(Refusal::NotAPeer);
    }
    if hello[4] != VERSION {
        return Err(Refusal::Version);
    }
    if hello[5..21] != identity.cluster.to_le_bytes() {
        return Err(Refusal::Cluster);
    }
    let (from, to) = (sender(hello), PeerId(number(29)));
    if to != identity.me || from == to {
        return Err(Refusal::WrongCore);
    }
    let incarnation = u128::from_le_bytes(hello[37..53].try_into().expect("sixteen bytes were cut"));
    match identity.known.get(&from) {
        Some(&known) if known != incarnation => Err(Refusal::Incarnation),
        _ => Ok((from, incarnation)),
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
        }
    }

    /// Lets both sides talk, a few bytes at a time, until neither says anything.
    fn talk(dialer: &Identity, to: u64, acceptor: &Identity, piece: usize) -> (Step, Step) {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        let mut dialing = Handshake::dial(dialer, PeerId(to), [1; NONCE_BYTES], &mut there);
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
