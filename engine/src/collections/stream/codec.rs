//! A stream as bytes. Its chunks are kept as they are, because a trim "about" a length removes whole chunks.
//!
//! Format: `docs/formats/collection.md`, "Stream".

use super::{Fields, Group, Pending, Stream, StreamId};
use crate::collections::codec::{DecodeError, Source};
use crate::varint::{put_bytes, put_u64};

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_u64(out, id.ms);
    put_u64(out, id.seq);
}

fn take_id(source: &mut Source<'_>) -> Result<StreamId, DecodeError> {
    Ok(StreamId {
        ms: source.number()?,
        seq: source.number()?,
    })
}

impl Stream {
    pub(in crate::collections) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.last_id);
        put_id(out, self.max_deleted_id);
        put_u64(out, self.entries_added);
        put_u64(out, self.entries.chunk_count() as u64);
        self.entries.for_each_chunk(|base, deleted, entries| {
            put_id(out, base);
            put_u64(out, u64::from(deleted));
            put_u64(out, entries.len() as u64);
            for (id, fields) in entries {
                put_id(out, *id);
                put_u64(out, fields.len() as u64);
                for (name, value) in fields.iter() {
                    put_bytes(out, name);
                    put_bytes(out, value);
                }
            }
        });
        put_u64(out, self.groups.len() as u64);
        for (name, group) in &self.groups {
            put_bytes(out, name);
            encode_group(out, group);
        }
    }

    pub(in crate::collections) fn decode(len: usize, source: &mut Source<'_>) -> Result<Self, DecodeError> {
        let mut stream = Stream {
            last_id: take_id(source)?,
            max_deleted_id: take_id(source)?,
            entries_added: source.number()?,
            ..Stream::default()
        };
        // Bases and ids ascend; only the first id of a chunk may equal its base.
        let mut lowest = Some(StreamId::MIN);
        for _ in 0..source.number()? {
            let base = take_id(source)?;
            let deleted = u32::try_from(source.number()?).map_err(|_| DecodeError::Length)?;
            let count = source.number()?;
            if count == 0 || lowest.is_none_or(|lowest| base < lowest) {
                return Err(DecodeError::Element);
            }
            lowest = Some(base);
            for n in 0..count {
                let id = take_id(source)?;
                let pairs = take_pairs(source)?;
                if lowest.is_none_or(|lowest| id < lowest) || id > stream.last_id {
                    return Err(DecodeError::Element);
                }
                if n == 0 {
                    stream.entries.push_chunk(base, deleted, pairs.iter().copied());
                }
                stream.entries.push_to_chunk(id, pairs.iter().copied());
                lowest = id.next();
            }
        }
        if stream.entries.len() != len {
            return Err(DecodeError::Element);
        }
        for _ in 0..source.number()? {
            let name = source.bytes()?;
            let group = decode_group(source)?;
            if !stream.add_group(name, group) {
                return Err(DecodeError::Element);
            }
        }
        Ok(stream)
    }
}

type Pair<'a> = (&'a [u8], &'a [u8]);

fn take_pairs<'a>(source: &mut Source<'a>) -> Result<Vec<Pair<'a>>, DecodeError> {
    let mut pairs = Vec::new();
    for _ in 0..source.number()? {
        pairs.push((source.bytes()?, source.bytes()?));
    }
    if pairs.is_empty() {
        return Err(DecodeError::Element);
    }
    Ok(pairs)
}

fn encode_group(out: &mut Vec<u8>, group: &Group) {
    put_id(out, group.last_id);
    out.push(u8::from(group.entries_read.is_some()));
    put_u64(out, group.entries_read.unwrap_or(0));
    put_u64(out, group.consumer_count() as u64);
    for consumer in group.consumers() {
        put_bytes(out, consumer.name());
        put_u64(out, consumer.seen_ms);
        put_u64(out, consumer.pending_len() as u64);
        for id in consumer.pending(StreamId::MIN..=StreamId::MAX) {
            let pending = group.pending_entry(id).expect("what a consumer has is pending");
            put_id(out, id);
            put_u64(out, pending.delivered_ms);
            put_u64(out, pending.deliveries);
        }
    }
}

fn decode_group(source: &mut Source<'_>) -> Result<Group, DecodeError> {
    let last_id = take_id(source)?;
    let (known, read) = (source.one()?, source.number()?);
    if known > 1 {
        return Err(DecodeError::Element);
    }
    let mut group = Group::new(last_id, (known == 1).then_some(read));
    for _ in 0..source.number()? {
        let (name, seen_ms) = (source.bytes()?, source.number()?);
        if group.find(name).is_some() {
            return Err(DecodeError::Element);
        }
        let consumer = group.add_consumer(name, seen_ms);
        for _ in 0..source.number()? {
            let id = take_id(source)?;
            let pending = Pending {
                consumer,
                delivered_ms: source.number()?,
                deliveries: source.number()?,
            };
            if group.pending_entry(id).is_some() {
                return Err(DecodeError::Element);
            }
            group.set_pending(id, pending);
        }
    }
    Ok(group)
}

impl Fields<'_> {
    /// Whether these are the names of `other`, in the same order.
    pub(crate) fn same_names(&self, other: &Fields<'_>) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(a, b)| a.0 == b.0)
    }
}
