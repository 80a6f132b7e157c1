//! New entries of several streams: XREAD, XREADGROUP.

use super::groups::{knows, note_if_met};
use super::ids::id;
use super::reply::{limit, no_key_or_group, put_entry, put_id, put_range, put_stream_name};
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::waiting::WaitFor;
use crate::cmd::{Args, Exec, Reply};
use crate::collections::stream::{Group, Pending, Reading, StreamId};
use crate::keyspace::{Keyspace, Kind};

/// What follows the id from which on entries are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// Entries behind this one; those that were delivered to the consumer already, if it is a group that reads.
    Behind(StreamId),
    /// `>`: entries that no consumer of the group was given.
    New,
}

/// How the entries are read.
struct Options<'a> {
    /// Group and consumer.
    member: Option<(&'a [u8], &'a [u8])>,
    /// 0 for any number.
    count: u64,
    /// What is delivered does not become pending.
    no_ack: bool,
    /// How long to wait for an entry, in milliseconds; 0 is for ever.
    block_ms: Option<u64>,
    /// Number of the first key's argument; as many ids as keys follow.
    first_key: usize,
}

impl<'a> Options<'a> {
    fn parse(args: &Args<'a>, in_group: bool) -> Result<Self, CmdError> {
        let mut o = Options {
            member: None,
            count: 0,
            no_ack: false,
            block_ms: None,
            first_key: 0,
        };
        let mut at = 1;
        while let Some(word) = args.try_get(at) {
            match (args.try_get(at + 1), args.try_get(at + 2)) {
                (Some(ms), _) if is(word, "BLOCK") => {
                    let ms =
                        integer(ms).map_err(|_| CmdError::Other("ERR timeout is not an integer or out of range"))?;
                    o.block_ms = Some(u64::try_from(ms).map_err(|_| CmdError::Other("ERR timeout is negative"))?);
                    at += 2;
                }
                (Some(count), _) if is(word, "COUNT") => {
                    o.count = integer(count)?.max(0) as u64;
                    at += 2;
                }
                (Some(_), _) if is(word, "STREAMS") => {
                    o.first_key = at + 1;
                    break;
                }
                (Some(group), Some(consumer)) if is(word, "GROUP") => {
                    if !in_group {
                        return Err(CmdError::Other(
                            "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                        ));
                    }
                    o.member = Some((group, consumer));
                    at += 3;
                }
                _ if is(word, "NOACK") => {
                    if !in_group {
                        return Err(CmdError::Other(
                            "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                        ));
                    }
                    o.no_ack = true;
                    at += 1;
                }
                _ => return Err(CmdError::Syntax),
            }
        }
        if o.first_key > 0 && (args.len() - o.first_key) % 2 == 1 {
            return Err(CmdError::Other(
                "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
            ));
        }
        if o.first_key == 0 {
            return Err(CmdError::Syntax);
        }
        if in_group && o.member.is_none() {
            return Err(CmdError::Other("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(o)
    }

    fn keys(&self, args: &Args<'a>) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let count = (args.len() - self.first_key) / 2;
        args.iter_from(self.first_key).take(count)
    }

    /// The arguments that mean the same when there are further entries: each id as it is now.
    fn resume(&self, args: &Args<'a>, ids: impl Iterator<Item = StreamId>) -> Vec<Vec<u8>> {
        let up_to_keys = args.iter_from(1).take(self.first_key - 1).map(<[u8]>::to_vec);
        let keys = self.keys(args).map(<[u8]>::to_vec);
        let ids = ids.map(|id| format!("{}-{}", id.ms, id.seq).into_bytes());
        up_to_keys.chain(keys).chain(ids).collect()
    }

    /// Waits for entries, to go on with `resume` then, or with the same arguments if that is empty. False: it shall not
    /// wait, or may not.
    fn wait(&self, x: &mut Exec<'a>, command: &'static str, resume: &[Vec<u8>], even_if_gone: bool) -> bool {
        let Some(timeout_ms) = self.block_ms else { return false };
        let keys: Vec<&[u8]> = self.keys(&x.args).collect();
        let resume: Vec<&[u8]> = resume.iter().map(Vec::as_slice).collect();
        x.wait(WaitFor {
            command,
            kind: Kind::Stream,
            keys: &keys,
            timeout_ms,
            resume: (!resume.is_empty()).then_some(&resume),
            even_if_gone,
        })
    }

    fn ids(&self, args: &Args<'a>) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let count = (args.len() - self.first_key) / 2;
        args.iter_from(self.first_key + count)
    }
}

/// The header of an answer about `len` streams.
fn put_header(len: usize, reply: &mut dyn Reply) {
    if reply.proto() == 2 {
        reply.array(len);
    } else {
        reply.map(len);
    }
}

/// XREAD [COUNT count] [BLOCK ms] STREAMS key ... id ...
pub(in crate::cmd) fn xread(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let args = x.args;
        let o = Options::parse(&args, false)?;
        let mut wanted = Vec::new();
        for (key, from) in o.keys(&args).zip(o.ids(&args)) {
            let has_waited = x.has_waited();
            let stream = match x.ks.stream(key) {
                Err(_) if has_waited => None,
                found => found?,
            };
            let last_id = stream.map_or(StreamId::MIN, |stream| stream.last_id);
            let highest = stream.and_then(|stream| stream.entries().last_id());
            let behind = match from {
                b"$" => last_id,
                b">" => {
                    return Err(CmdError::Other(
                        "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> \
                         option.",
                    ));
                }
                _ => id(from)?,
            };
            wanted.push((key, behind, highest.is_some_and(|highest| highest > behind)));
        }
        let found = wanted.iter().filter(|(.., found)| *found).count();
        if found == 0 {
            let resume = o.resume(&args, wanted.iter().map(|(_, behind, _)| *behind));
            if !o.wait(x, "xread", &resume, false) {
                reply.null_array();
            }
            return Ok(());
        }
        put_header(found, reply);
        for (key, behind, _) in wanted.into_iter().filter(|(.., found)| *found) {
            put_stream_name(key, reply);
            let stream = x.ks.stream(key)?.expect("it was there above");
            let first = behind.next().expect("there is a higher id");
            put_range(stream.entries(), (first, StreamId::MAX), false, limit(o.count), reply);
        }
        Ok(())
    });
}

/// XREADGROUP GROUP group consumer [COUNT count] [BLOCK ms] [NOACK] STREAMS key ... id ...
pub(in crate::cmd) fn xreadgroup(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let args = x.args;
        let o = Options::parse(&args, true)?;
        let member = o.member.expect("parsing demands it");
        let mut wanted = Vec::new();
        for (key, from) in o.keys(&args).zip(o.ids(&args)) {
            let has_waited = x.has_waited();
            let stream = match x.ks.stream(key) {
                Ok(None) | Err(_) if has_waited => {
                    return Err(CmdError::Other("UNBLOCKED the stream key no longer exists"));
                }
                found => found?,
            };
            if has_waited && stream.is_some_and(|stream| stream.group(member.0).is_none()) {
                return Err(CmdError::Other(
                    "NOGROUP the consumer group this client was blocked on no longer exists",
                ));
            }
            let Some((stream, group)) = stream.and_then(|s| Some((s, s.group(member.0)?))) else {
                no_key_or_group(key, member.0, " in XREADGROUP with GROUP option", reply);
                return Ok(());
            };
            let from = match from {
                b">" => From::New,
                b"$" => {
                    return Err(CmdError::Other(
                        "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                         consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just \
                         return an empty result set.",
                    ));
                }
                _ => match id(from)? {
                    // The highest id means what `>` means.
                    StreamId::MAX => From::New,
                    id => From::Behind(id),
                },
            };
            let found = match group.last_id.next() {
                _ if from != From::New => true,
                None => false,
                Some(first) => {
                    // Where a stream is named several times, each mention takes up to `count` entries.
                    let earlier = wanted.iter().filter(|(k, f, _)| *k == key && *f == From::New).count();
                    let taken = limit(o.count).saturating_mul(earlier);
                    stream.entries().count(first, StreamId::MAX, taken.saturating_add(1)) > taken
                }
            };
            wanted.push((key, from, found));
        }
        let found = wanted.iter().filter(|(.., found)| *found).count();
        if found == 0 {
            if !o.wait(x, "xreadgroup", &[], true) {
                reply.null_array();
            }
            return Ok(());
        }
        put_header(found, reply);
        for (key, from, _) in wanted.into_iter().filter(|(.., found)| *found) {
            put_stream_name(key, reply);
            deliver(x.ks, key, from, &o, member, reply)?;
        }
        Ok(())
    });
}

/// Gives a consumer entries of one stream; key and group are there.
fn deliver(
    ks: &mut Keyspace,
    key: &[u8],
    from: From,
    o: &Options<'_>,
    (group, consumer): (&[u8], &[u8]),
    reply: &mut dyn Reply,
) -> Result<(), CmdError> {
    let now_ms = ks.now_ms();
    let was_known = knows(ks, key, group, consumer)?;
    let stream = ks.stream_mut(key)?.expect("it was there above");
    let delivered = stream.with_group(group, |group, reading| match from {
        From::Behind(id) => deliver_again(group, reading, consumer, id, limit(o.count), now_ms, reply),
        From::New => deliver_new(group, reading, consumer, o, now_ms, reply),
    });
    delivered.expect("it was there above");
    if !was_known {
        note_if_met(ks, key, group, consumer)?;
    }
    Ok(())
}

fn deliver_new(
    group: &mut Group,
    reading: &Reading<'_>,
    consumer: &[u8],
    o: &Options<'_>,
    now_ms: u64,
    reply: &mut dyn Reply,
) {
    let consumer = group.meet(consumer, now_ms);
    let first = group.last_id.next().expect("there is a higher id");
    let range = (first, StreamId::MAX);
    reply.array(reading.entries.count(range.0, range.1, limit(o.count)));
    reading.entries.visit(range, false, limit(o.count), |id, fields| {
        reading.note_read(group, id);
        put_entry(id, fields, reply);
        if !o.no_ack {
            // It may be pending already, since the group was set back to an id before it.
            let pending = Pending {
                consumer,
                delivered_ms: now_ms,
                deliveries: 1,
            };
            group.set_pending(id, pending);
        }
    });
}

/// Entries that the consumer was given before and has not acknowledged.
fn deliver_again(
    group: &mut Group,
    reading: &Reading<'_>,
    consumer: &[u8],
    behind: StreamId,
    limit: usize,
    now_ms: u64,
    reply: &mut dyn Reply,
) {
    let consumer = group.meet(consumer, now_ms);
    let first = behind.next().expect("the highest id means something else");
    let pending = group.consumer(consumer).pending(first..=StreamId::MAX);
    let ids: Vec<_> = pending.take(limit).collect();
    reply.array(ids.len());
    for id in ids {
        let Some(fields) = reading.entries.get(id) else {
            reply.array(2);
            put_id(id, reply);
            reply.null_array();
            continue;
        };
        put_entry(id, fields, reply);
        let old = group.pending_entry(id).expect("the consumer has it");
        let again = Pending {
            delivered_ms: now_ms,
            deliveries: old.deliveries.wrapping_add(1),
            ..old
        };
        group.set_pending(id, again);
    }
}
