//! Parts of replies: ids, entries, ranges of entries.

use crate::cmd::Reply;
use crate::cmd::resolve::one_line;
use crate::collections::stream::{Entries, Fields, ID_TEXT_BYTES_MAX, StreamId};
use crate::database::users_key;

pub(super) fn put_id(id: StreamId, reply: &mut dyn Reply) {
    reply.bulk(id.text(&mut [0; ID_TEXT_BYTES_MAX]));
}

/// An entry: its id, then fields and values by turns.
pub(super) fn put_entry(id: StreamId, fields: Fields<'_>, reply: &mut dyn Reply) {
    reply.array(2);
    put_id(id, reply);
    reply.array(2 * fields.len());
    for (name, value) in fields.iter() {
        reply.bulk(name);
        reply.bulk(value);
    }
}

/// An array of the entries in a range, at most `limit`; from the last one if `reverse`.
pub(super) fn put_range(
    entries: &Entries,
    range: (StreamId, StreamId),
    reverse: bool,
    limit: usize,
    reply: &mut dyn Reply,
) {
    reply.array(entries.count(range.0, range.1, limit));
    entries.visit(range, reverse, limit, |id, fields| put_entry(id, fields, reply));
}

/// A COUNT as it limits a range: 0 is no limit.
pub(super) fn limit(count: u64) -> usize {
    match usize::try_from(count) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(count) => count,
    }
}

/// The name and the entries of one stream, in the answer of a read from several.
pub(super) fn put_stream_name(key: &[u8], reply: &mut dyn Reply) {
    if reply.proto() == 2 {
        reply.array(2);
    }
    reply.bulk(users_key(key));
}

/// The error of a command that needs a group, where the key or the group is missing.
pub(super) fn no_key_or_group(key: &[u8], group: &[u8], behind: &str, reply: &mut dyn Reply) {
    let (key, group) = (one_line(users_key(key)), one_line(group));
    reply.error(&format!(
        "NOGROUP No such key '{key}' or consumer group '{group}'{behind}"
    ));
}

/// The error of a command that needs a group, where the group is missing.
pub(super) fn no_group(key: &[u8], group: &[u8], reply: &mut dyn Reply) {
    let (key, group) = (one_line(users_key(key)), one_line(group));
    reply.error(&format!(
        "NOGROUP No such consumer group '{group}' for key name '{key}'"
    ));
}
