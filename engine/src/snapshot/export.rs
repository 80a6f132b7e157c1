//! A snapshot is written.

use super::{MAGIC, SECTION_BYTES, SECTION_HEAD_BYTES, Section, VERSION, flag};
use crate::keyspace::{Keyspace, Loaded};
use crate::sst;
use crate::varint::{put_bytes, put_u64};

/// The whole state, between two entries. `server`: what the server wants back with it.
pub fn export(ks: &Keyspace, server: &[u8]) -> Vec<u8> {
    let mut out = Writer::begin();
    out.section(Section::Begin, |bytes| {
        bytes.extend_from_slice(&ks.hash_seed().to_le_bytes());
        put_u64(bytes, ks.now_ms());
    });
    let mut keys = 0;
    out.open(Section::Keys);
    ks.for_each_value(&mut |key, value| {
        keys += 1;
        put_key(&mut out.bytes, key, &value);
        if out.is_full() {
            out.close();
            out.open(Section::Keys);
        }
    });
    out.close();
    out.section(Section::Waiters, |bytes| ks.waiters().export(bytes));
    if let Some(functions) = ks.export_functions() {
        out.section(Section::Functions, |bytes| bytes.extend_from_slice(&functions));
    }
    out.section(Section::Server, |bytes| bytes.extend_from_slice(server));
    out.section(Section::End, |bytes| {
        put_u64(bytes, keys);
        bytes.extend_from_slice(&ks.digest().to_le_bytes());
    });
    out.bytes
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

struct Writer {
    bytes: Vec<u8>,
    /// Where the open section's head is.
    head: usize,
}

impl Writer {
    fn begin() -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        Self { bytes, head: 0 }
    }

    fn open(&mut self, section: Section) {
        self.head = self.bytes.len();
        self.bytes.extend_from_slice(&[0; SECTION_HEAD_BYTES - 1]);
        self.bytes.push(section as u8);
    }

    fn is_full(&self) -> bool {
        self.bytes.len() - self.head >= SECTION_BYTES
    }

    fn close(&mut self) {
        let (head, body) = self.bytes[self.head..].split_at_mut(SECTION_HEAD_BYTES - 1);
        let len = u32::try_from(body.len()).expect("a section holds a MiB and one key at most, below 4 GiB");
        head[..4].copy_from_slice(&len.to_le_bytes());
        head[4..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    }

    fn section(&mut self, section: Section, write: impl FnOnce(&mut Vec<u8>)) {
        self.open(section);
        write(&mut self.bytes);
        self.close();
    }
}
