//! Streams: chunks as listpacks, then what the stream remembers, then its groups.
//!
//! ```text
//! listpack: | entries | deleted | number of fields | field ... | 0 | entry ...
//! entry:    | flags | ms | seq | [number of fields] | field, value ... or value ... | elements of the entry |
//! ```
//!
//! `ms` and `seq` count from the chunk's base, `seq` modulo 2^64. Flag 1: deleted. Flag 2: the fields are those the listpack
//! begins with.

use super::listpack;
use super::read::Source;
use super::write::{put_len_u64, put_string};
use crate::collections::stream::{Fields, Group, Pending, StreamId};
use crate::collections::{Elements, Stream};
use crate::number::parse_i64;
use std::collections::BTreeMap;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// How an unknown number of entries read is written.
const READ_UNKNOWN: u64 = u64::MAX;

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_len_u64(out, id.ms);
    put_len_u64(out, id.seq);
}

/// Appends a stream.
pub(super) fn put_stream(out: &mut Vec<u8>, stream: &Stream) {
    let entries = stream.entries();
    put_len_u64(out, entries.chunk_count() as u64);
    entries.for_each_chunk(|base, _, entries| {
        put_string(out, &base.to_bytes());
        put_string(out, &packed_chunk(base, entries));
    });
    put_len_u64(out, stream.len() as u64);
    for id in [
        stream.last_id,
        entries.first_id().unwrap_or_default(),
        stream.max_deleted_id,
    ] {
        put_id(out, id);
    }
    put_len_u64(out, stream.entries_added);
    put_len_u64(out, stream.group_count() as u64);
    for (name, group) in stream.groups() {
        put_string(out, name);
        put_group(out, group);
    }
}

fn packed_chunk(base: StreamId, entries: &[(StreamId, Fields<'_>)]) -> Vec<u8> {
    let mut pack = listpack::Writer::default();
    let number = |pack: &mut listpack::Writer, n: i64| pack.push(itoa::Buffer::new().format(n).as_bytes());
    let shared = &entries[0].1;
    number(&mut pack, entries.len() as i64);
    // Entries that were deleted are not written, so there are none to count.
    number(&mut pack, 0);
    number(&mut pack, shared.len() as i64);
    shared.iter().for_each(|(name, _)| pack.push(name));
    number(&mut pack, 0);
    for (id, fields) in entries {
        let same = fields.same_names(shared);
        number(&mut pack, if same { SAME_FIELDS } else { 0 });
        number(&mut pack, (id.ms - base.ms) as i64);
        number(&mut pack, id.seq.wrapping_sub(base.seq) as i64);
        if !same {
            number(&mut pack, fields.len() as i64);
        }
        for (name, value) in fields.iter() {
            if !same {
                pack.push(name);
            }
            pack.push(value);
        }
        let elements = if same { fields.len() + 3 } else { 2 * fields.len() + 4 };
        number(&mut pack, elements as i64);
    }
    pack.finish()
}

fn put_group(out: &mut Vec<u8>, group: &Group) {
    put_id(out, group.last_id);
    put_len_u64(out, group.entries_read.unwrap_or(READ_UNKNOWN));
    put_len_u64(out, group.pending_len() as u64);
    for (id, pending) in group.pending(StreamId::MIN..=StreamId::MAX) {
        out.extend_from_slice(&id.to_bytes());
        out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
        put_len_u64(out, pending.deliveries);
    }
    put_len_u64(out, group.consumer_count() as u64);
    for consumer in group.consumers() {
        put_string(out, consumer.name());
        out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
        put_len_u64(out, consumer.pending_len() as u64);
        for id in consumer.pending(StreamId::MIN..=StreamId::MAX) {
            out.extend_from_slice(&id.to_bytes());
        }
    }
}

/// What the versions of the format tell beside the entries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// Of Redis 5.
    Plain,
    /// Of Redis 7.0: what was added and deleted in all, and how far groups have read.
    Counted,
    /// Of Redis 7.2: when consumers last got something, too.
    Active,
}

fn id(source: &mut Source<'_>) -> Option<StreamId> {
    Some(StreamId {
        ms: source.length()?,
        seq: source.length()?,
    })
}

fn raw_id(source: &mut Source<'_>) -> Option<StreamId> {
    source.array().map(StreamId::from_bytes)
}

/// Reads a stream.
pub(super) fn stream(source: &mut Source<'_>, form: Form) -> Option<Stream> {
    let mut stream = Stream::default();
    let mut lowest = Some(StreamId { ms: 0, seq: 1 });
    for _ in 0..source.length()? {
        let base = StreamId::from_bytes(source.string()?.try_into().ok()?);
        let elements = listpack::elements(&source.string()?)?;
        add_chunk(&mut stream, base, &elements, &mut lowest)?;
    }
    (source.length()? == stream.len() as u64).then_some(())?;
    stream.last_id = id(source)?;
    (stream.entries().last_id() <= Some(stream.last_id)).then_some(())?;
    if form >= Form::Counted {
        // The first id, which the entries tell, too.
        id(source)?;
        stream.max_deleted_id = id(source)?;
        stream.entries_added = source.length()?;
    } else {
        stream.entries_added = stream.len() as u64;
    }
    for _ in 0..source.length()? {
        let name = source.string()?;
        let group = group(source, form, &stream)?;
        stream.add_group(&name, group).then_some(())?;
    }
    Some(stream)
}

/// Elements of a listpack, yet to be read.
struct Rest<'a>(&'a [Vec<u8>]);

impl<'a> Rest<'a> {
    fn number(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        parse_i64(first)
    }

    /// The next elements, at least one.
    fn take(&mut self, len: i64) -> Option<&'a [Vec<u8>]> {
        let len = usize::try_from(len).ok().filter(|len| *len > 0)?;
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

fn slices<'a>((name, value): (&'a Vec<u8>, &'a Vec<u8>)) -> (&'a [u8], &'a [u8]) {
    (name, value)
}

/// Adds a chunk's entries. None may be below `lowest`, which moves behind the last.
fn add_chunk(stream: &mut Stream, base: StreamId, elements: &[Vec<u8>], lowest: &mut Option<StreamId>) -> Option<()> {
    let mut rest = Rest(elements);
    let (count, deleted) = (rest.number()?, rest.number()?);
    let shared_len = rest.number()?;
    let shared = rest.take(shared_len)?;
    (rest.number()? == 0).then_some(())?;
    let names = || shared.iter().map(|name| (name.as_slice(), &b""[..]));
    let (mut found, mut gone, mut begun) = (0, 0, false);
    while !rest.0.is_empty() {
        let (flags, ms, seq) = (rest.number()?, rest.number()?, rest.number()?);
        let id = StreamId {
            ms: base.ms.checked_add_signed(ms).filter(|_| ms >= 0)?,
            seq: base.seq.wrapping_add(seq as u64),
        };
        let (pairs, expected): (Vec<_>, usize) = if flags & SAME_FIELDS != 0 {
            let values = rest.take(shared_len)?;
            (shared.iter().zip(values).map(slices).collect(), shared.len() + 3)
        } else {
            let len = rest.number()?;
            let parts = rest.take(len.checked_mul(2)?)?;
            let pairs = parts
                .as_chunks::<2>()
                .0
                .iter()
                .map(|[name, value]| slices((name, value)));
            (pairs.collect(), parts.len() + 4)
        };
        (rest.number()? == expected as i64).then_some(())?;
        if flags & DELETED != 0 {
            gone += 1;
            continue;
        }
        (id >= base && (*lowest)? <= id).then_some(())?;
        if !begun {
            stream.begin_chunk(base, u32::try_from(deleted).ok()?, names());
            begun = true;
        }
        stream.push_to_chunk(id, pairs.into_iter());
        *lowest = id.next();
        found += 1;
    }
    (found == count && gone == deleted).then_some(())
}

fn group(source: &mut Source<'_>, form: Form, stream: &Stream) -> Option<Group> {
    let last_id = id(source)?;
    let entries_read = if form >= Form::Counted {
        Some(source.length()?).filter(|read| *read != READ_UNKNOWN)
    } else {
        stream.reading().entries_up_to(last_id)
    };
    let mut group = Group::new(last_id, entries_read);
    let mut pending = BTreeMap::new();
    for _ in 0..source.length()? {
        let id = raw_id(source)?;
        let what = (u64::from_le_bytes(source.array()?), source.length()?);
        pending.insert(id, what).is_none().then_some(())?;
    }
    for _ in 0..source.length()? {
        let name = source.string()?;
        group.find(&name).is_none().then_some(())?;
        let consumer = group.add_consumer(&name, u64::from_le_bytes(source.array()?));
        if form >= Form::Active {
            source.array::<8>()?;
        }
        for _ in 0..source.length()? {
            let id = raw_id(source)?;
            // Each is pending with one consumer.
            let (delivered_ms, deliveries) = pending.remove(&id)?;
            let entry = Pending {
                consumer,
                delivered_ms,
                deliveries,
            };
            group.set_pending(id, entry);
        }
    }
    pending.is_empty().then_some(group)
}
