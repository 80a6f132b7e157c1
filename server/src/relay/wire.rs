//! The bytes that cores of different nodes send each other besides Raft's: parcels, as between cores of one node, but
//! checked before anything relies on them.
//!
//! Format: `docs/formats/relay.md`.

use slotcore_engine::cmd::once::{ONCE_BYTES, decode_once};
use slotcore_engine::cmd::op::{decode_next_op, decode_op};
use slotcore_engine::cmd::transaction::Step;
use slotcore_engine::cmd::{Args, CALLED_AS, CALLED_AS_RO, CommandSpec, END_WAIT, Flags, Run, by_id};

use crate::metadata::Change;
use crate::parcel::{Cast, How, REPLY_HEAD_BYTES, REQUEST_HEAD_BYTES, request_at};
use crate::scripts;

/// The only version so far.
const VERSION: u8 = 1;
/// Bytes before the body: version, kind.
pub const HEAD_BYTES: usize = 2;
/// Connections of one core that commands may come from; the table of a leader has room for them.
const CONNECTIONS_MAX: u32 = 1 << 20;

/// In place of a reply: the command was not carried out here, and somebody else is to be asked.
pub const NOT_HERE: &[u8] = &[0];
/// In place of a reply: the command was carried out before, and its reply was too long to be kept.
pub const REPLY_LOST: &[u8] = &[1];

/// What a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Commands.
    Requests = 1,
    /// Replies to them.
    Replies = 2,
    /// What needs no answer.
    Casts = 3,
    /// Nothing: the leader of the group is asked to hand over to the node that sends this.
    HandOver = 4,
    /// An entry that the leader of the metadata group is asked to propose.
    Metadata = 5,
}

/// A message is not what it should be. The link must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMessage(pub &'static str);

impl std::fmt::Display for BadMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadMessage {}

/// The bytes of a message.
pub fn message(body: Body, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + bytes.len());
    out.extend_from_slice(&[VERSION, body as u8]);
    out.extend_from_slice(bytes);
    out
}

/// What a message holds, checked: [`crate::parcel`] can read it. `cores`: how many a node has.
///
/// # Errors
/// [`BadMessage`]: which no node of this version sends.
pub fn open(message: &[u8], cores: usize) -> Result<(Body, &[u8]), BadMessage> {
    let (head, body) = message
        .split_at_checked(HEAD_BYTES)
        .ok_or(BadMessage("a message has no head"))?;
    if head[0] != VERSION {
        return Err(BadMessage("a message of a version that is not known here"));
    }
    match head[1] {
        1 => check_requests(body, cores).map(|()| (Body::Requests, body)),
        2 => check_replies(body).map(|()| (Body::Replies, body)),
        3 => check_casts(body).map(|()| (Body::Casts, body)),
        4 if body.is_empty() => Ok((Body::HandOver, body)),
        4 => Err(BadMessage("a message that has no body has one")),
        5 if Change::decode(body).is_ok() => Ok((Body::Metadata, body)),
        5 => Err(BadMessage("no entry of the metadata group that is known here")),
        _ => Err(BadMessage("a message of a kind that is not known here")),
    }
}

fn check_requests(bytes: &[u8], cores: usize) -> Result<(), BadMessage> {
    const SHORT: BadMessage = BadMessage("a request ends too early");
    let mut spans = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes.len() - at < REQUEST_HEAD_BYTES {
            return Err(SHORT);
        }
        let (asker, how, mut op) = request_at(bytes, at);
        if asker.conn.parts().0 as u64 >= u64::from(CONNECTIONS_MAX) * cores as u64 {
            return Err(BadMessage("a request of a connection that cannot be"));
        }
        if !is_sound_how(how) {
            return Err(BadMessage("a request wants to be answered in a way that is not known"));
        }
        if how.once {
            let once = bytes.get(op..op + ONCE_BYTES).ok_or(SHORT)?;
            decode_once(once).ok_or(BadMessage("what makes a request count once makes no sense"))?;
            op += ONCE_BYTES;
        }
        let rest = &bytes[op..];
        spans.clear();
        let (id, len) = decode_next_op(rest, &mut spans).map_err(|_| BadMessage("a request holds no operation"))?;
        let spec = by_id(id).ok_or(BadMessage("a request is for a command that is not known here"))?;
        if !is_sound(spec, &Args::new(rest, &spans)) || (how.once && !spec.is_write()) {
            return Err(BadMessage("a request is for what is not done for other nodes"));
        }
        at = op + len;
    }
    Ok(())
}

fn is_sound_how(how: How) -> bool {
    let for_one_node = how.local || how.tracks;
    matches!(how.proto, 2 | 3) && !for_one_node && !(how.once && how.watches)
}

/// Whether a command may come from another node: it is about keys, and has as many arguments as it needs.
fn is_sound(spec: &'static CommandSpec, args: &Args<'_>) -> bool {
    match spec.run {
        _ if spec.id == END_WAIT.id => true,
        Run::Data(_) => spec.accepts(args.len()) && is_sound_script(spec, args),
        Run::Transaction(Step::Watch | Step::Unwatch) => spec.accepts(args.len()),
        Run::Transaction(Step::Carry) => args.iter_from(1).all(|operation| {
            let mut spans = Vec::new();
            let Ok((id, len)) = decode_op(operation, &mut spans) else {
                return false;
            };
            let inner = by_id(id).filter(|_| len == operation.len());
            inner.is_some_and(|inner| match inner.run {
                Run::Data(_) => {
                    let args = Args::new(operation, &spans);
                    inner.id != END_WAIT.id && inner.accepts(args.len()) && is_sound_script(inner, &args)
                }
                Run::Transaction(step) => step == Step::Unwatch,
                Run::Server(_) | Run::Container => false,
            })
        }),
        Run::Transaction(_) | Run::Server(_) | Run::Container => false,
    }
}

/// Whether a script with its caller's rights holds one; anything else is none, and sound.
fn is_sound_script(spec: &CommandSpec, args: &Args<'_>) -> bool {
    if spec.id != CALLED_AS && spec.id != CALLED_AS_RO {
        return true;
    }
    let opened = scripts::opened(spec, args);
    opened.is_some_and(|(inner, _, spans)| inner.flags.has(Flags::RUNS_SCRIPT) && inner.accepts(spans.len()))
}

fn check_replies(bytes: &[u8]) -> Result<(), BadMessage> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (head, behind) = rest
            .split_at_checked(REPLY_HEAD_BYTES)
            .ok_or(BadMessage("a reply has no head"))?;
        let len = u32_at(head, REPLY_HEAD_BYTES - 4);
        rest = behind.get(len..).ok_or(BadMessage("a reply ends too early"))?;
    }
    Ok(())
}

fn check_casts(bytes: &[u8]) -> Result<(), BadMessage> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (head, behind) = rest.split_at_checked(9).ok_or(BadMessage("a cast has no head"))?;
        // The others are between the cores of a node.
        if head[0] != Cast::Message as u8 {
            return Err(BadMessage("a cast of a kind that nodes do not send each other"));
        }
        let behind = behind.get(u32_at(head, 1)..);
        rest = behind
            .and_then(|behind| behind.get(u32_at(head, 5)..))
            .ok_or(BadMessage("a cast ends too early"))?;
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were cut")) as usize
}

#[cfg(test)]
mod tests {
    use slotcore_engine::cmd::op::encode_op;
    use slotcore_engine::cmd::{CallerText, CommandId, encode_called_as, lookup};
    use slotcore_engine::sessions::{Once, SessionId};
    use slotcore_netio::ConnId;
    use slotcore_rt::rng::SeededRng;

    use super::*;
    use crate::parcel::{Asker, Parcel};

    fn op(id: CommandId, words: &[&[u8]]) -> Vec<u8> {
        let (mut bytes, mut spans, mut op) = (Vec::new(), vec![(0, 0)], Vec::new());
        for word in words {
            spans.push((bytes.len() as u32, word.len() as u32));
            bytes.extend_from_slice(word);
        }
        encode_op(&mut op, id, &Args::new(&bytes, &spans));
        op
    }

    fn id(name: &str) -> CommandId {
        lookup(name.as_bytes()).unwrap().id
    }

    fn asker(conn: u32) -> Asker {
        Asker {
            conn: ConnId::from_parts((conn, 2)),
            part: 3,
        }
    }

    fn once() -> Once {
        Once {
            session: SessionId(1),
            serial: 2,
            proto: 3,
            ..Once::default()
        }
    }

    fn opened(parcel: &Parcel) -> Result<(), BadMessage> {
        open(&message(Body::Requests, &parcel.requests), 2).map(drop)
    }

    /// The operation with a caller's rights around it.
    fn called_as(operation: &[u8]) -> Vec<u8> {
        let caller = CallerText {
            rights: b"on ~k +@all".to_vec(),
            user: b"app".to_vec(),
            client: 7,
        };
        let mut op = Vec::new();
        encode_called_as(&mut op, &caller, true, operation);
        op
    }

    fn sound() -> Parcel {
        let mut parcel = Parcel::default();
        let carrier = slotcore_engine::cmd::transaction::carrier(true, false).id;
        let (set, unwatch) = (op(id("set"), &[b"k", b"v"]), op(id("unwatch"), &[]));
        parcel.push_encoded_request(asker(1), How::unheard(), Some(&once()), &set);
        parcel.push_encoded_request(asker(2), How::unheard(), None, &op(id("get"), &[b"k"]));
        let both = op(carrier, &[&set, &unwatch]);
        parcel.push_encoded_request(asker(3), How::unheard(), Some(&once()), &both);
        let script = called_as(&op(id("eval"), &[b"return 1", b"1", b"k"]));
        parcel.push_encoded_request(asker(3), How::unheard(), Some(&once()), &script);
        parcel.push_encoded_request(asker(3), How::unheard(), Some(&once()), &op(carrier, &[&script]));
        parcel.push_encoded_request(asker(4), How::unheard(), None, &op(id("watch"), &[b"k"]));
        parcel.push_encoded_request(asker(4), How::unheard(), None, &op(END_WAIT.id, &[]));
        parcel.push_reply(asker(1), |out| out.extend_from_slice(b"+OK\r\n"));
        parcel.push_reply(asker(2), |out| out.extend_from_slice(NOT_HERE));
        parcel.push_cast(Cast::Message, b"channel", b"message");
        parcel
    }

    #[test]
    fn what_nodes_send_each_other_is_taken_in() {
        let parcel = sound();
        for (body, bytes) in [
            (Body::Requests, &parcel.requests),
            (Body::Replies, &parcel.replies),
            (Body::Casts, &parcel.casts),
        ] {
            assert_eq!(open(&message(body, bytes), 2), Ok((body, bytes.as_slice())));
            assert!(open(&message(body, &bytes[..bytes.len() - 1]), 2).is_err());
            let mut later = message(body, bytes);
            later[0] = VERSION + 1;
            assert!(open(&later, 2).is_err());
        }
        assert!(open(&[VERSION], 2).is_err());
        assert!(open(&[VERSION, 9], 2).is_err());
    }

    #[test]
    fn nobody_asks_another_node_for_more_than_keys() {
        let carrier = slotcore_engine::cmd::transaction::carrier(true, false).id;
        let config = op(id("debug"), &[b"sleep", b"9"]);
        for (how, once_of, op) in [
            (How::unheard(), None, config.clone()),
            (How::unheard(), None, op(carrier, &[&config])),
            (How::unheard(), None, op(carrier, &[b"x"])),
            (How::unheard(), None, op(carrier, &[&op(END_WAIT.id, &[b"x"])])),
            (How::unheard(), None, called_as(b"x")),
            (How::unheard(), None, called_as(&config)),
            (
                How::unheard(),
                None,
                op(carrier, &[&called_as(&op(id("get"), &[b"k"]))]),
            ),
            (How::unheard(), None, op(id("get"), &[])),
            (How::unheard(), None, op(id("exec"), &[])),
            (How::unheard(), None, op(CommandId(u16::MAX), &[])),
            (How::unheard(), Some(once()), op(id("get"), &[b"k"])),
            (
                How {
                    local: true,
                    ..How::unheard()
                },
                None,
                op(id("get"), &[b"k"]),
            ),
        ] {
            let mut parcel = Parcel::default();
            parcel.push_encoded_request(asker(1), how, once_of.as_ref(), &op);
            assert!(opened(&parcel).is_err(), "{how:?} {op:?}");
        }
        let mut parcel = Parcel::default();
        let get = op(id("get"), &[b"k"]);
        parcel.push_encoded_request(asker(2 * CONNECTIONS_MAX), How::unheard(), None, &get);
        assert!(opened(&parcel).is_err());
    }

    #[test]
    fn wild_bytes_are_refused_or_understood_and_never_panic() {
        let parcel = sound();
        for seed in 0..30_000 {
            let mut rng = SeededRng::new(seed);
            let (body, bytes) = match rng.below(3) {
                0 => (Body::Replies, &parcel.replies),
                1 => (Body::Casts, &parcel.casts),
                _ => (Body::Requests, &parcel.requests),
            };
            let mut wild = message(body, bytes);
            for _ in 0..=rng.below(3) {
                let at = rng.below(wild.len() as u64) as usize;
                match rng.below(3) {
                    0 => wild[at] = rng.next_u64() as u8,
                    1 => drop(wild.remove(at)),
                    _ => wild.insert(at, 0xff),
                }
            }
            // Whatever passes can be read as parcels are.
            match open(&wild, 2) {
                Ok((Body::Replies, bytes)) => {
                    let mut at = 0;
                    while at < bytes.len() {
                        at = crate::parcel::reply_at(bytes, at).2;
                    }
                }
                Ok((Body::Casts, bytes)) => drop(crate::parcel::casts(bytes).count()),
                Ok((Body::HandOver, bytes)) => assert!(bytes.is_empty()),
                Ok((Body::Metadata, bytes)) => assert!(Change::decode(bytes).is_ok()),
                Ok((Body::Requests, _)) | Err(_) => {}
            }
        }
    }
}
