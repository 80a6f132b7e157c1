//! Sorted files in memory: built, opened and read as a device would.
#![allow(dead_code, reason = "each test file uses a part")]

use slotcore_engine::sst::{
    BlobPtr, Body, Bounds, Family, FileId, FilterBits, Finished, Kind, Lookup, LookupStep, Opening, PageRange, Record,
    Run, ScanStep, Scratch, SstBuilder, SstError, SstKey, SstOptions, SstReader, SstScan,
};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ids::LogIndex;
use std::collections::BTreeMap;
use std::rc::Rc;

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A record that owns its bytes; its place is the key in a [`Model`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub expire_ms: Option<u64>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Tombstone,
    Dead,
    Inline(Kind, Vec<u8>),
    Blob(Kind, BlobPtr),
}

pub type Model = BTreeMap<(u64, Vec<u8>), Value>;

impl Value {
    pub fn plain(kind: Kind, bytes: Vec<u8>) -> Self {
        Self {
            expire_ms: None,
            what: What::Inline(kind, bytes),
        }
    }

    pub fn tombstone() -> Self {
        Self {
            expire_ms: None,
            what: What::Tombstone,
        }
    }

    pub fn record<'a>(&'a self, (ord, tail): &'a (u64, Vec<u8>)) -> Record<'a> {
        Record {
            key: SstKey { ord: *ord, tail },
            expire_ms: self.expire_ms,
            body: match &self.what {
                What::Tombstone => Body::Tombstone,
                What::Dead => Body::DeadCollection,
                What::Inline(kind, bytes) => Body::Inline(*kind, bytes),
                What::Blob(kind, ptr) => Body::Blob(*kind, *ptr),
            },
        }
    }
}

pub fn owned(record: &Record<'_>) -> ((u64, Vec<u8>), Value) {
    let what = match record.body {
        Body::Tombstone => What::Tombstone,
        Body::DeadCollection => What::Dead,
        Body::Inline(kind, bytes) => What::Inline(kind, bytes.to_vec()),
        Body::Blob(kind, ptr) => What::Blob(kind, ptr),
    };
    let expire_ms = record.expire_ms;
    ((record.key.ord, record.key.tail.to_vec()), Value { expire_ms, what })
}

pub fn options(file: u64, family: Family) -> SstOptions {
    SstOptions {
        file: FileId(file),
        family,
        filter_bits: FilterBits::Eight,
        compress: false,
        index_min: LogIndex(10),
        index_max: LogIndex(20),
        file_bytes_target: 64 << 20,
    }
}

/// Takes all chunks there are, and checks that they follow one another.
pub fn drain(builder: &mut SstBuilder, file: &mut Vec<u8>) {
    while let Some(chunk) = builder.take_chunk() {
        assert_eq!((chunk.offset, chunk.buf.len() % 4096), (file.len() as u64, 0));
        file.extend_from_slice(&chunk.buf);
    }
}

pub fn build(options: SstOptions, model: &Model) -> (Vec<u8>, Finished) {
    let (mut builder, mut file) = (SstBuilder::new(options), Vec::new());
    for (key, value) in model {
        builder.push(&value.record(key)).expect("records of tests are small");
        drain(&mut builder, &mut file);
    }
    let finished = builder.finish();
    drain(&mut builder, &mut file);
    assert_eq!(finished.file_bytes, file.len() as u64);
    (file, finished)
}

pub fn slice(file: &[u8], range: PageRange) -> &[u8] {
    &file[range.offset as usize..][..range.bytes]
}

pub fn open(id: FileId, file: &[u8]) -> Result<SstReader, SstError> {
    let mut opening = Opening::new(id, file.len() as u64)?;
    loop {
        if let Some(reader) = opening.feed(slice(file, opening.need()))? {
            return Ok(reader);
        }
    }
}

/// Files by id, as a device holds them.
pub type Disk = BTreeMap<FileId, Vec<u8>>;

/// One file as a run, on a disk of its own.
pub fn single(model: &Model, options: SstOptions) -> (Disk, Run) {
    let (file, _) = build(options, model);
    let run = Run::new(vec![Rc::new(open(options.file, &file).expect("the file is sound"))]);
    (Disk::from([(options.file, file)]), run)
}

/// The newest record of a key, deletions left out, and the blocks read for it.
pub fn get(disk: &Disk, runs: &[Run], ord: u64, tail: &[u8]) -> Result<(Option<Value>, u32), SstError> {
    let mut scratch = Scratch::default();
    let mut lookup = Lookup::new(SstKey { ord, tail });
    let mut pages = None;
    loop {
        let found = match lookup.step(runs, pages, &mut scratch)? {
            LookupStep::Need { file, range } => {
                pages = Some(slice(&disk[&file], range));
                continue;
            }
            LookupStep::Found(record) => Some(owned(&record).1),
            LookupStep::Absent => None,
        };
        return Ok((found, lookup.reads()));
    }
}

pub fn aligned(bytes: &[u8]) -> AlignedBuf {
    let mut buf = AlignedBuf::with_capacity(bytes.len());
    buf.extend_from_slice(bytes);
    buf
}

pub fn scan(disk: &Disk, run: &Run, bounds: Bounds, read_bytes: usize) -> Result<Model, SstError> {
    let mut scan = SstScan::new(run, bounds, read_bytes);
    let mut model = Model::new();
    loop {
        match scan.state() {
            ScanStep::Need { file, range } => scan.feed(aligned(slice(&disk[&file], range)))?,
            ScanStep::Ready => {
                let (key, value) = owned(&scan.record());
                assert!(model.last_key_value().is_none_or(|(last, _)| *last < key), "in order");
                model.insert(key, value);
                scan.advance()?;
            }
            ScanStep::End => return Ok(model),
        }
    }
}
