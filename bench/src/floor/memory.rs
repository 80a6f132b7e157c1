//! The processor's floor: a loop that reads requests from memory, finds their key in a flat table, and copies the value.
//!
//! As fast as a store of this kind can be: one hash, one probe, one record; requests in groups, whose table entries and
//! records are fetched ahead. No expiry, no types, no growth, no sockets.

use std::hint::black_box;
use std::io;
use std::time::Duration;

use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::rng::SeededRng;
use xxhash_rust::xxh3::xxh3_64;

use crate::load::keys::{Distribution, Keys};
use crate::load::stream::{Filling, Stream};
use crate::load::workload::Workload;

/// Keys in the table.
pub const KEYS: u64 = 1_000_000;
/// Requests whose memory is fetched together.
const GROUP: usize = 64;
/// Bytes of a value.
const VALUE_BYTES: usize = 50;
/// Bytes of a key: `key:` and 12 digits.
const KEY_BYTES: usize = 16;
/// Bytes of a record: key and value, one cache line and a bit.
const RECORD_BYTES: usize = KEY_BYTES + VALUE_BYTES;

/// Nanoseconds of a GET and of a SET on `keys` keys, each measured for `time`.
///
/// # Errors
/// A key was not found: never, unless the loop is wrong.
pub fn loops(keys: u64, time: Duration) -> io::Result<[f64; 2]> {
    let mut table = Table::new(keys);
    for stream in Filling::new(keys, VALUE_BYTES, 1) {
        for at in (0..stream.len()).step_by(GROUP) {
            table.fill(stream.batch(at, GROUP).0);
        }
    }
    let mut measured = [0.0; 2];
    for (command, ns) in ["get", "set"].iter().zip(&mut measured) {
        let workload = Workload::new(command, 0, VALUE_BYTES).map_err(io::Error::other)?;
        let mut drawn = Keys::new(Distribution::Uniform, keys, SeededRng::new(1));
        let stream = Stream::generate(&workload, &mut drawn, keys, &mut SeededRng::new(2));
        let mut out = Vec::with_capacity(GROUP * (VALUE_BYTES + 16));
        let start = SystemClock.tick();
        let (mut requests, mut at) = (0, 0);
        while SystemClock.tick().since(start) < time {
            let (bytes, count) = stream.batch(at, GROUP);
            out.clear();
            if table.answer(black_box(bytes), &mut out) != count {
                return Err(io::Error::other("a key is missing in the table of the floor"));
            }
            black_box(&out);
            requests += count;
            at = (at + count) % stream.len();
        }
        *ns = SystemClock.tick().since(start).as_nanos() as f64 / requests.max(1) as f64;
    }
    Ok(measured)
}

/// Open addressing with linear probing, at most half full; an entry is the hash and the number of the record, plus one.
struct Table {
    entries: Vec<(u64, u64)>,
    records: Vec<[u8; RECORD_BYTES]>,
    found: Vec<Request>,
}

/// A request understood: where its key and value lie, and the hash.
#[derive(Clone, Copy)]
struct Request {
    key: usize,
    value: Option<usize>,
    hash: u64,
}

impl Table {
    fn new(keys: u64) -> Self {
        Self {
            entries: vec![(0, 0); (keys as usize * 2).next_power_of_two()],
            records: Vec::with_capacity(keys as usize),
            found: Vec::with_capacity(GROUP),
        }
    }

    /// Executes SETs of keys that are not there yet.
    fn fill(&mut self, bytes: &[u8]) {
        self.parse(bytes);
        for request in std::mem::take(&mut self.found) {
            let mut record = [0; RECORD_BYTES];
            record[..KEY_BYTES].copy_from_slice(&bytes[request.key..][..KEY_BYTES]);
            let value = request.value.expect("only SETs fill the table");
            record[KEY_BYTES..].copy_from_slice(&bytes[value..][..VALUE_BYTES]);
            self.records.push(record);
            let mut at = self.home(request.hash);
            while self.entries[at].1 != 0 {
                at = (at + 1) & (self.entries.len() - 1);
            }
            self.entries[at] = (request.hash, self.records.len() as u64);
        }
    }

    /// Executes GETs and SETs, appends their replies to `out`; returns how many keys were found.
    #[inline(never)]
    fn answer(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        self.parse(bytes);
        let mut numbers = [0_usize; GROUP];
        for (request, number) in self.found.iter().zip(&mut numbers) {
            let mut at = self.home(request.hash);
            while self.entries[at].1 != 0 && self.entries[at].0 != request.hash {
                at = (at + 1) & (self.entries.len() - 1);
            }
            *number = self.entries[at].1 as usize;
            if let Some(record) = self.records.get(number.wrapping_sub(1)) {
                prefetch(record.as_ptr());
                prefetch(record[RECORD_BYTES - 1..].as_ptr());
            }
        }
        let mut found = 0;
        for (request, number) in self.found.iter().zip(numbers) {
            let Some(record) = self.records.get_mut(number.wrapping_sub(1)) else {
                continue;
            };
            found += usize::from(record[..KEY_BYTES] == bytes[request.key..][..KEY_BYTES]);
            match request.value {
                Some(value) => {
                    record[KEY_BYTES..].copy_from_slice(&bytes[value..][..VALUE_BYTES]);
                    out.extend_from_slice(b"+OK\r\n");
                }
                None => {
                    out.extend_from_slice(b"$50\r\n");
                    out.extend_from_slice(&record[KEY_BYTES..]);
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        found
    }

    /// Finds the arguments of all requests in `bytes`, and fetches the table entries of their keys.
    fn parse(&mut self, bytes: &[u8]) {
        self.found.clear();
        let mut at = 0;
        while at < bytes.len() {
            let arguments = number(bytes, &mut at);
            let mut starts = [0; 3];
            for start in &mut starts[..arguments] {
                let len = number(bytes, &mut at);
                *start = at;
                at += len + 2;
            }
            let hash = xxh3_64(&bytes[starts[1]..][..KEY_BYTES]);
            prefetch((&raw const self.entries[self.home(hash)]).cast());
            self.found.push(Request {
                key: starts[1],
                value: (arguments == 3).then_some(starts[2]),
                hash,
            });
        }
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.entries.len() - 1)
    }
}

/// The number of a line such as `*3` or `$16` at `at`, which moves behind the line.
#[inline]
fn number(bytes: &[u8], at: &mut usize) -> usize {
    *at += 1;
    let mut number = 0;
    while bytes[*at] != b'\r' {
        number = number * 10 + usize::from(bytes[*at] - b'0');
        *at += 1;
    }
    *at += 2;
    number
}

#[inline]
fn prefetch(ptr: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64, and a prefetch of any address has no effect but on the cache.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(ptr.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = ptr;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gets_answer_what_sets_wrote() {
        let mut table = Table::new(2);
        let value = |byte: u8| String::from_utf8(vec![byte; VALUE_BYTES]).unwrap();
        let set = |key: u8, byte: u8| format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n$50\r\n{}\r\n", value(byte));
        let get = |key: u8| format!("*2\r\n$3\r\nGET\r\n$16\r\nkey:{key:012}\r\n");
        table.fill((set(0, b'a') + &set(1, b'b')).as_bytes());
        let mut out = Vec::new();
        let found = table.answer(
            (get(1) + &set(1, b'c') + &get(1) + &get(0) + &get(2)).as_bytes(),
            &mut out,
        );
        let expected = format!(
            "$50\r\n{}\r\n+OK\r\n$50\r\n{}\r\n$50\r\n{}\r\n",
            value(b'b'),
            value(b'c'),
            value(b'a')
        );
        assert_eq!((found, String::from_utf8(out).unwrap()), (4, expected));
    }

    #[test]
    fn the_loops_find_every_key() {
        let measured = loops(1_000, Duration::from_millis(5)).unwrap();
        assert!(measured.iter().all(|&ns| ns > 0.0), "{measured:?}");
    }
}
