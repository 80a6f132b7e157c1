//! [`SliceDigest`]: a fingerprint of some keys in the order of all, which replicas compare at the same entry of their log.
//!
//! Where a slice ends follows from the state alone, never from how a replica has arranged it in memory: equal states give equal
//! slices. What it costs is bounded whatever lies there: of large values only a part is looked at ([`STRING_BYTES_MAX`],
//! [`ELEMENTS_MAX`]).

use super::Keyspace;
use super::object::Object;
use crate::collections::Collection;
use crate::digest::{Digest, combine};
use crate::table::{Rec, RecKind};

/// Of a longer string so many bytes at each end count, and its length.
pub const STRING_BYTES_MAX: usize = 32 << 10;
/// Of a collection of more elements only kind and number count; of a hash with fields that expire not even the number.
pub const ELEMENTS_MAX: usize = 2048;
/// Elements that cost as much as a key, and bytes that cost as much as an element.
const ELEMENTS_PER_KEY: usize = 4;
const BYTES_PER_ELEMENT: usize = 64;
/// Orders that a slice covers at most: where there are few keys, it is empty space that costs.
const SPAN_MAX: u64 = 1 << 60;
/// Home buckets between two looks at how far it is.
const HOMES_AT_ONCE: usize = 64;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceDigest {
    /// First order of the slice.
    pub from: u64,
    /// Where the next one begins; 0: this was the last.
    pub next: u64,
    /// Of the visible keys in it with their values and expiries, of the group's clock, and of where it ends; in the first slice of the
    /// libraries, too.
    pub digest: u128,
}

impl Keyspace {
    /// From now on slices that entries of the log name are looked at, or are not. They are not at first: whoever reads an old log
    /// has nobody to compare them with.
    pub fn compare_slices(&mut self, compare: bool) {
        self.compares_slices = compare;
    }

    /// The slice that was looked at last, given out once.
    pub fn take_compared(&mut self) -> Option<SliceDigest> {
        self.compared.take()
    }

    /// An entry names the slice from `from` on.
    pub(crate) fn compare_slice(&mut self, from: u64, weight: usize) {
        self.compared = match self.compares_slices {
            true => self.slice_digest(from, weight),
            false => None,
        };
    }

    /// The fingerprint of the keys from order `from` on, of about `weight` of them or fewer that cost as much. `None`: some keys are
    /// only in files.
    pub fn slice_digest(&self, from: u64, weight: usize) -> Option<SliceDigest> {
        if !self.is_complete() {
            return None;
        }
        let end = from.checked_add(SPAN_MAX);
        let (mut sum, mut digest) = (0, Digest::new());
        let (mut weighed, mut last, mut stop) = (0, None, None);
        let mut cursor = from;
        while stop.is_none() {
            let mut homes = 0;
            cursor = self.table.walk_ordered(cursor, &mut |records| {
                for &(ord, at) in records {
                    let rec = self.table.rec(at);
                    if stop.is_some() || self.is_gone(rec) {
                        continue;
                    }
                    // Keys of one order, of which none comes first, are never parted.
                    if end.is_some_and(|end| ord >= end) || weighed >= weight && last != Some(ord) {
                        stop = Some(ord);
                        continue;
                    }
                    let (share, elements) = self.bounded_digest_of(rec, &mut digest);
                    sum = combine(sum, share);
                    weighed += 1 + elements / ELEMENTS_PER_KEY;
                    last = Some(ord);
                }
                homes += 1;
                stop.is_none() && homes < HOMES_AT_ONCE
            });
            if stop.is_none() && (cursor == 0 || end.is_some_and(|end| cursor >= end)) {
                stop = Some(end.unwrap_or(0));
            }
        }
        let stop = stop.unwrap_or(0);
        let next = end.map_or(stop, |end| stop.min(end));
        digest.reset();
        digest.u64(from);
        digest.u64(next);
        digest.u64(self.clock_ms);
        digest.unordered(match from {
            0 => self.digest_with_libraries(sum),
            _ => sum,
        });
        let digest = digest.finish();
        Some(SliceDigest { from, next, digest })
    }

    /// A visible key's share, and how many elements were looked at.
    fn bounded_digest_of(&self, rec: Rec, digest: &mut Digest) -> (u128, usize) {
        let elements = match rec.kind() {
            RecKind::Str => return (self.digest_of(rec, digest), 0),
            _ => match self.objects.get(rec.object()) {
                Object::Str(bytes) => {
                    let looked_at = bytes.len().min(2 * STRING_BYTES_MAX);
                    let elements = looked_at / BYTES_PER_ELEMENT;
                    if looked_at == bytes.len() {
                        return (self.digest_of(rec, digest), elements);
                    }
                    self.begin_digest(rec, digest);
                    digest.u64(bytes.len() as u64);
                    digest.bytes(&bytes[..STRING_BYTES_MAX]);
                    digest.bytes(&bytes[bytes.len() - STRING_BYTES_MAX..]);
                    elements
                }
                Object::Coll(coll) if coll.len() > ELEMENTS_MAX => {
                    self.begin_digest(rec, digest);
                    // Which fields are gone already is each replica's own matter.
                    if !matches!(coll, Collection::Hash(hash) if hash.has_expiry()) {
                        digest.u64(coll.len() as u64);
                    }
                    0
                }
                Object::Coll(coll) => return (self.digest_of(rec, digest), coll.len()),
            },
        };
        (digest.finish(), elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Expire;
    use crate::keyspace::KeyspaceOptions;

    /// Keys `from..to`, set in the order that `step` gives, each with its number as value.
    fn filled(range: std::ops::Range<u32>, step: u32) -> Keyspace {
        let mut ks = Keyspace::new(KeyspaceOptions { hash_seed: 7 });
        ks.set_time(1_000, 1_000);
        let count = range.end - range.start;
        for n in (0..count).map(|n| range.start + n * step % count) {
            ks.set_str(format!("key:{n}").as_bytes(), n.to_string().as_bytes(), Expire::Clear);
        }
        ks
    }

    fn slices(ks: &Keyspace, weight: usize) -> Vec<SliceDigest> {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let slice = ks.slice_digest(from, weight).unwrap();
            assert!(slice.next == 0 || slice.next > from);
            (all, from) = ([all, vec![slice]].concat(), slice.next);
            if from == 0 {
                return all;
            }
        }
    }

    #[test]
    fn equal_states_give_equal_slices_whatever_their_histories() {
        let one = filled(0..3_000, 1);
        // Others were there before, and the table has grown beyond what it needs.
        let mut two = filled(0..60_000, 7_919);
        for n in 3_000..60_000 {
            two.del(format!("key:{n}").as_bytes());
        }
        for weight in [1, 100, 1_000, usize::MAX] {
            let slices = slices(&one, weight);
            assert_eq!(slices, self::slices(&two, weight), "{weight}");
            let least = (3_000 / weight).max(16);
            assert!(slices.len() >= least, "{weight}: {}", slices.len());
        }
    }

    #[test]
    fn whatever_is_other_shows_in_one_slice() {
        let one = filled(0..3_000, 1);
        let changes: [fn(&mut Keyspace); 4] = [
            |ks| ks.set_str(b"key:77", b"other", Expire::Clear),
            |ks| ks.set_str(b"key:77", b"77", Expire::At(5_000)),
            |ks| ks.set_str(b"one more", b"", Expire::Clear),
            |ks| _ = ks.del(b"key:77"),
        ];
        for (no, change) in changes.into_iter().enumerate() {
            let mut two = filled(0..3_000, 1);
            change(&mut two);
            let differ = slices(&one, usize::MAX)
                .iter()
                .zip(slices(&two, usize::MAX))
                .filter(|(one, two)| *one != two)
                .count();
            assert_eq!(differ, 1, "change {no}");
        }
    }
}
