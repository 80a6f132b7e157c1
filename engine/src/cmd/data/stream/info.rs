//! What is known of a stream, its groups and its consumers: XINFO.

use super::groups::syntax_of_subcommand;
use super::reply::{limit, no_group, put_entry, put_id, put_range};
use crate::cmd::error::{CmdError, answer};
use crate::cmd::introspect;
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};
use crate::collections::Elements;
use crate::collections::stream::{Consumer, Group, Reading, Stream, StreamId};

/// Entries, and pending entries of each group and consumer, that XINFO STREAM FULL shows without COUNT.
const FULL_COUNT: u64 = 10;
const NO_SUCH_KEY: CmdError = CmdError::Other("ERR no such key");
const EVERYTHING: (StreamId, StreamId) = (StreamId::MIN, StreamId::MAX);

fn field(name: &str, reply: &mut dyn Reply) {
    reply.bulk(name.as_bytes());
}

fn put_int(name: &str, value: u64, reply: &mut dyn Reply) {
    field(name, reply);
    reply.int(value as i64);
}

fn put_named_id(name: &str, id: StreamId, reply: &mut dyn Reply) {
    field(name, reply);
    put_id(id, reply);
}

fn put_known(name: &str, value: Option<i64>, reply: &mut dyn Reply) {
    field(name, reply);
    match value {
        Some(value) => reply.int(value),
        None => reply.null(),
    }
}

/// XINFO STREAM key [FULL [COUNT count]]
pub(in crate::cmd) fn stream(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let stream = x.ks.stream(x.args.get(2))?.ok_or(NO_SUCH_KEY)?;
        let full = match x.args.len() {
            3 => None,
            4 if is(x.args.get(3), "FULL") => Some(FULL_COUNT),
            6 if is(x.args.get(3), "FULL") && is(x.args.get(4), "COUNT") => {
                Some(u64::try_from(integer(x.args.get(5))?).unwrap_or(FULL_COUNT))
            }
            _ => {
                syntax_of_subcommand(x, "XINFO", reply);
                return Ok(());
            }
        };
        reply.map(if full.is_some() { 9 } else { 10 });
        put_int("length", stream.len() as u64, reply);
        let chunks = stream.entries().chunk_count() as u64;
        put_int("radix-tree-keys", chunks, reply);
        // There is no radix tree: a key's node and the root would be the least it takes.
        put_int("radix-tree-nodes", chunks + 1, reply);
        put_named_id("last-generated-id", stream.last_id, reply);
        put_named_id("max-deleted-entry-id", stream.max_deleted_id, reply);
        put_int("entries-added", stream.entries_added, reply);
        let first = stream.entries().first_id().unwrap_or_default();
        put_named_id("recorded-first-entry-id", first, reply);
        match full {
            None => put_ends(stream, reply),
            Some(count) => {
                field("entries", reply);
                put_range(stream.entries(), EVERYTHING, false, limit(count), reply);
                field("groups", reply);
                reply.array(stream.group_count());
                for (name, group) in stream.groups() {
                    put_group_in_full(name, group, &stream.reading(), limit(count), reply);
                }
            }
        }
        Ok(())
    });
}

fn put_ends(stream: &Stream, reply: &mut dyn Reply) {
    put_int("groups", stream.group_count() as u64, reply);
    for (name, reverse) in [("first-entry", false), ("last-entry", true)] {
        field(name, reply);
        if stream.entries().is_empty() {
            reply.null();
        }
        stream
            .entries()
            .visit(EVERYTHING, reverse, 1, |id, fields| put_entry(id, fields, reply));
    }
}

fn put_group_in_full(name: &[u8], group: &Group, reading: &Reading<'_>, limit: usize, reply: &mut dyn Reply) {
    reply.map(7);
    field("name", reply);
    reply.bulk(name);
    put_named_id("last-delivered-id", group.last_id, reply);
    put_known("entries-read", group.entries_read.map(|n| n as i64), reply);
    put_known("lag", reading.lag(group), reply);
    put_int("pel-count", group.pending_len() as u64, reply);
    field("pending", reply);
    reply.array(group.pending_len().min(limit));
    for (id, pending) in group.pending(StreamId::MIN..=StreamId::MAX).take(limit) {
        reply.array(4);
        put_id(id, reply);
        reply.bulk(group.consumer(pending.consumer).name());
        reply.int(pending.delivered_ms as i64);
        reply.int(pending.deliveries as i64);
    }
    field("consumers", reply);
    reply.array(group.consumer_count());
    for consumer in group.consumers() {
        put_consumer_in_full(group, consumer, limit, reply);
    }
}

fn put_consumer_in_full(group: &Group, consumer: &Consumer, limit: usize, reply: &mut dyn Reply) {
    reply.map(4);
    field("name", reply);
    reply.bulk(consumer.name());
    put_int("seen-time", consumer.seen_ms, reply);
    put_int("pel-count", consumer.pending_len() as u64, reply);
    field("pending", reply);
    reply.array(consumer.pending_len().min(limit));
    for id in consumer.pending(StreamId::MIN..=StreamId::MAX).take(limit) {
        let pending = group.pending_entry(id).expect("what a consumer has is pending");
        reply.array(3);
        put_id(id, reply);
        reply.int(pending.delivered_ms as i64);
        reply.int(pending.deliveries as i64);
    }
}

/// XINFO GROUPS key
pub(in crate::cmd) fn groups(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let stream = x.ks.stream(x.args.get(2))?.ok_or(NO_SUCH_KEY)?;
        reply.array(stream.group_count());
        for (name, group) in stream.groups() {
            reply.map(6);
            field("name", reply);
            reply.bulk(name);
            put_int("consumers", group.consumer_count() as u64, reply);
            put_int("pending", group.pending_len() as u64, reply);
            put_named_id("last-delivered-id", group.last_id, reply);
            put_known("entries-read", group.entries_read.map(|n| n as i64), reply);
            put_known("lag", stream.reading().lag(group), reply);
        }
        Ok(())
    });
}

/// XINFO CONSUMERS key group
pub(in crate::cmd) fn consumers(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (key, name, now_ms) = (x.args.get(2), x.args.get(3), x.ks.wall_ms());
        let stream = x.ks.stream(key)?.ok_or(NO_SUCH_KEY)?;
        let Some(group) = stream.group(name) else {
            no_group(key, name, reply);
            return Ok(());
        };
        reply.array(group.consumer_count());
        for consumer in group.consumers() {
            reply.map(3);
            field("name", reply);
            reply.bulk(consumer.name());
            put_int("pending", consumer.pending_len() as u64, reply);
            put_int("idle", now_ms.saturating_sub(consumer.seen_ms), reply);
        }
        Ok(())
    });
}

/// XINFO HELP
pub(in crate::cmd) fn help(_: &mut Exec<'_>, reply: &mut dyn Reply) {
    introspect::help(crate::cmd::lookup(b"xinfo").expect("in the table"), reply);
}
