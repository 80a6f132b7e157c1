//! A snapshot is written.

use super::{MAGIC, SECTION_BYTES, SECTION_HEAD_BYTES, Section, VERSION, flag};
use crate::digest::combine;
use crate::keyspace::{Keyspace, Loaded};
use crate::sst;
use crate::varint::{put_bytes, put_u64};
use std::cell::Cell;

/// What looking at a bucket of keys costs, whatever is in it, as bytes written: empty ones take time, too.
const BUCKET_BYTES: usize = 64;

/// The whole state, between two entries. `server`: what the server wants back with it.
pub fn export(ks: &Keyspace, server: &[u8]) -> Vec<u8> {
    let (mut export, mut all) = (Export::begin(server), Vec::new());
    while export.next(ks, SECTION_BYTES, &mut all) {}
    all
}

/// A snapshot that is written a slice at a time. Nothing is executed between the first slice and the last.
#[derive(Debug)]
pub struct Export {
    next: Next,
    keys: u64,
    digest: u128,
    server: Vec<u8>,
}

/// What comes next in a snapshot.
#[derive(Clone, Copy, Debug)]
enum Next {
    Begin,
    /// Keys from here on; 0 at first.
    Keys(u64),
    Beside,
    Nothing,
}

impl Export {
    /// Nothing is written yet. `server`: what the server wants back with it.
    pub fn begin(server: &[u8]) -> Self {
        Self {
            next: Next::Begin,
            keys: 0,
            digest: 0,
            server: server.to_vec(),
        }
    }

    /// Appends what follows: keys with about `bytes` bytes, and those that share a bucket with the last. False: nothing
    /// follows, it is whole.
    pub fn next(&mut self, ks: &Keyspace, bytes: usize, out: &mut Vec<u8>) -> bool {
        self.next = match self.next {
            Next::Begin => {
                out.extend_from_slice(&MAGIC);
                out.push(VERSION);
                section(out, Section::Begin, |body| {
                    body.extend_from_slice(&ks.hash_seed().to_le_bytes());
                    put_u64(body, ks.now_ms());
                });
                Next::Keys(0)
            }
            Next::Keys(from) => self.put_keys(ks, from, bytes, out),
            Next::Beside => {
                section(out, Section::Waiters, |body| ks.waiters().export(body));
                if let Some(functions) = ks.export_functions() {
                    section(out, Section::Functions, |body| body.extend_from_slice(&functions));
                }
                section(out, Section::Server, |body| body.extend_from_slice(&self.server));
                section(out, Section::End, |body| {
                    put_u64(body, self.keys);
                    body.extend_from_slice(&ks.digest_with_libraries(self.digest).to_le_bytes());
                });
                Next::Nothing
            }
            Next::Nothing => return false,
        };
        true
    }

    fn put_keys(&mut self, ks: &Keyspace, from: u64, bytes: usize, out: &mut Vec<u8>) -> Next {
        let end = out.len().saturating_add(bytes);
        let (mut head, mut buckets) = (open(out, Section::Keys), 0);
        let written = Cell::new(out.len());
        let next = ks.values_from(
            from,
            &mut |key, value, digest| {
                if out.len() - head >= SECTION_BYTES {
                    close(out, head);
                    head = open(out, Section::Keys);
                }
                self.keys += 1;
                self.digest = combine(self.digest, digest);
                put_key(out, key, &value);
                written.set(out.len());
            },
            &mut || {
                buckets += 1;
                written.get() + buckets * BUCKET_BYTES < end
            },
        );
        close(out, head);
        match next {
            0 => Next::Beside,
            next => Next::Keys(next),
        }
    }
}

fn put_key(out: &mut Vec<u8>, key: &[u8], value: &Loaded<'_>) {
    let expires = if value.expire_ms.is_some() { flag::EXPIRES } else { 0 };
    let collection = if value.kind == sst::Kind::Str {
        0
    } else {
        flag::COLLECTION
    };
    out.push(expires | collection);
    if let Some(at) = value.expire_ms {
        put_u64(out, at);
    }
    put_bytes(out, key);
    put_bytes(out, value.bytes);
}

/// Appends a section; `write` its contents.
fn section(out: &mut Vec<u8>, section: Section, write: impl FnOnce(&mut Vec<u8>)) {
    let head = open(out, section);
    write(out);
    close(out, head);
}

/// Begins a section. Returns where its head is.
fn open(out: &mut Vec<u8>, section: Section) -> usize {
    let head = out.len();
    out.extend_from_slice(&[0; SECTION_HEAD_BYTES - 1]);
    out.push(section as u8);
    head
}

/// Everything behind `head` is the section that begins there.
fn close(out: &mut [u8], head: usize) {
    let (head, body) = out[head..].split_at_mut(SECTION_HEAD_BYTES - 1);
    let len = u32::try_from(body.len()).expect("a section holds a MiB and one key at most, below 4 GiB");
    head[..4].copy_from_slice(&len.to_le_bytes());
    head[4..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
}
