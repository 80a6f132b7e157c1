//! Values to bytes.

use super::kind;
use super::listpack;
use super::stream::put_stream;
use crate::collections::{Collection, Elements, HashObj, List, Set, ZSet};
use crate::number::{format_f64_stored, parse_i64};

/// Longest text of a number of 32 bits.
const SHORT_NUMBER_BYTES_MAX: usize = 11;
/// Bytes of a listpack of a list: Redis's `list-max-listpack-size -2`.
const LIST_NODE_BYTES_MAX: usize = 8192;
/// What Redis reckons an element takes besides its own bytes, when it looks whether a node has room.
const ELEMENT_OVERHEAD_BYTES: usize = 8;
/// A node of a list that is a listpack.
const NODE_PACKED: usize = 2;

fn put_len(out: &mut Vec<u8>, len: usize) {
    put_len_u64(out, len as u64);
}

/// Appends a length, or a number of up to 64 bits.
pub(super) fn put_len_u64(out: &mut Vec<u8>, len: u64) {
    match len {
        0..64 => out.push(len as u8),
        64..16384 => out.extend_from_slice(&[0x40 | (len >> 8) as u8, len as u8]),
        _ => match u32::try_from(len) {
            Ok(len) => {
                out.push(0x80);
                out.extend_from_slice(&len.to_be_bytes());
            }
            Err(_) => {
                out.push(0x81);
                out.extend_from_slice(&len.to_be_bytes());
            }
        },
    }
}

/// Appends a string: as a number if it is a short one.
pub(super) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    let number = parse_i64(text).filter(|_| text.len() <= SHORT_NUMBER_BYTES_MAX);
    match number.map(i32::try_from) {
        Some(Ok(n)) if i8::try_from(n).is_ok() => out.extend_from_slice(&[0xc0, n as u8]),
        Some(Ok(n)) if i16::try_from(n).is_ok() => {
            out.push(0xc1);
            out.extend_from_slice(&(n as i16).to_le_bytes());
        }
        Some(Ok(n)) => {
            out.push(0xc2);
            out.extend_from_slice(&n.to_le_bytes());
        }
        _ => {
            put_len(out, text.len());
            out.extend_from_slice(text);
        }
    }
}

/// Appends a collection with its kind.
pub(super) fn put_collection(out: &mut Vec<u8>, value: &Collection) {
    match value {
        Collection::List(list) => put_list(out, list),
        Collection::Set(set) => put_set(out, set),
        Collection::Hash(hash) => put_hash(out, hash),
        Collection::ZSet(zset) => put_zset(out, zset),
        Collection::Stream(stream) => {
            out.push(kind::STREAM_2);
            put_stream(out, stream);
        }
    }
}

fn put_list(out: &mut Vec<u8>, list: &List) {
    let mut nodes = Vec::new();
    let mut node = listpack::Writer::default();
    for element in list.range(0, list.len()) {
        let needed = node.bytes() + element.len() + ELEMENT_OVERHEAD_BYTES;
        if needed > LIST_NODE_BYTES_MAX && !node.is_empty() {
            nodes.push(std::mem::take(&mut node).finish());
        }
        node.push(element);
    }
    nodes.push(node.finish());
    out.push(kind::LIST_QUICKLIST_2);
    put_len(out, nodes.len());
    for node in nodes {
        put_len(out, NODE_PACKED);
        put_string(out, &node);
    }
}

fn put_set(out: &mut Vec<u8>, set: &Set) {
    if set.encoding() == "intset" {
        out.push(kind::SET_INTSET);
        return put_string(out, &intset(set));
    }
    out.push(kind::SET);
    put_len(out, set.len());
    set.for_each(|member| put_string(out, member));
}

/// Sorted integers, all of the width that the widest needs.
fn intset(set: &Set) -> Vec<u8> {
    let mut numbers = Vec::with_capacity(set.len());
    set.for_each(|member| numbers.extend(parse_i64(member)));
    let fits = |n: &i64, bits: u32| (-1i64 << (bits - 1)..=i64::MAX >> (64 - bits)).contains(n);
    let width = [2, 4]
        .into_iter()
        .find(|width| numbers.iter().all(|n| fits(n, 8 * width)));
    let width = width.unwrap_or(8);
    let mut out = width.to_le_bytes().to_vec();
    out.extend_from_slice(&(numbers.len() as u32).to_le_bytes());
    for n in numbers {
        out.extend_from_slice(&n.to_le_bytes()[..width as usize]);
    }
    out
}

fn put_hash(out: &mut Vec<u8>, hash: &HashObj) {
    if hash.encoding() == "listpack" {
        let mut pack = listpack::Writer::default();
        hash.for_each(|field, value| {
            pack.push(field);
            pack.push(value);
        });
        out.push(kind::HASH_LISTPACK);
        return put_string(out, &pack.finish());
    }
    let first_expiry = hash.first_visible_expiry();
    match first_expiry {
        None => out.push(kind::HASH),
        Some(moment) => {
            out.push(kind::HASH_EXPIRING);
            out.extend_from_slice(&moment.to_le_bytes());
        }
    }
    put_len(out, hash.visible_len());
    hash.for_each(|field, value| {
        if let Some(first) = first_expiry {
            // 0 is for fields that live until deleted.
            let behind = hash.expire_at(field).flatten().map_or(0, |moment| moment - first + 1);
            put_len(out, behind as usize);
        }
        put_string(out, field);
        put_string(out, value);
    });
}

fn put_zset(out: &mut Vec<u8>, zset: &ZSet) {
    if zset.encoding() == "listpack" {
        let mut pack = listpack::Writer::default();
        zset.range(0, zset.len(), false, |member, score| {
            pack.push(member);
            pack.push(format_f64_stored(score).as_bytes());
        });
        out.push(kind::ZSET_LISTPACK);
        return put_string(out, &pack.finish());
    }
    out.push(kind::ZSET_2);
    put_len(out, zset.len());
    // The highest first, as Redis writes them: so each is put in front when they are read.
    zset.range(0, zset.len(), true, |member, score| {
        put_string(out, member);
        out.extend_from_slice(&score.to_le_bytes());
    });
}
