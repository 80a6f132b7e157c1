//! Fetches: what commands want to know of keys that only files have.
//!
//! A fetch asks filters first and reads at most a few pages, one after the other. Fetches of one key are one.

use super::Store;
use super::effect::{FileName, FileSource};
use super::error::StoreError;
use super::options::Budget;
use super::outbox::Flight;
use super::range::RangeFetch;
use super::runs::Runs;
use super::stats::StoreStats;
use crate::collections::{Collection, DecodeError, Decoded, Decoder};
use crate::keyspace::{FileKeys, Keyspace, Loaded, Missed, Residency};
use crate::ord::KeyHash;
use crate::sst::{BlobPieces, BlobPtr, Body, Kind, Lookup, LookupStep, PageRange, Scratch, SstKey, blob_value};
use slotcore_rt::buf::AlignedBuf;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Names a fetch until [`Store::take_fetched`] gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// What asking for a key led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Nothing has to be read.
    Known,
    /// It will be known when [`Store::take_fetched`] gives this.
    Wait(FetchId),
}

/// How far a fetch came.
pub(super) enum Progress<T> {
    /// These pages are needed.
    Need(FileName, PageRange),
    /// There is more to do with what was read.
    More,
    Done(T),
}

/// What a fetch of a key found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Value,
    /// A value whose key has expired.
    Expired,
}

/// A large value to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlobValue {
    pub(super) ptr: BlobPtr,
    pub(super) kind: Kind,
    pub(super) expire_ms: Option<u64>,
}

/// A fetch of one key.
struct KeyFetch {
    hash: KeyHash,
    key: Box<[u8]>,
    lookup: Lookup<'static>,
    blob: Option<BlobValue>,
    /// A collection in a blob file, as far as it was read.
    reading: Option<Box<Reading>>,
    /// What was read before files changed: it counts if they still say that it is the key's value.
    kept: Option<Box<Kept>>,
    /// Where it looks.
    runs: Rc<Runs>,
    epoch: u64,
}

/// A collection on its way from a blob file.
struct Reading {
    pieces: BlobPieces,
    /// From the first piece on.
    decoder: Option<Decoder>,
}

/// A reading that was interrupted: flushes become durable more often than a large collection can be read.
struct Kept {
    ptr: BlobPtr,
    reading: Box<Reading>,
    /// The piece that came last, if it was not taken.
    pages: Option<AlignedBuf>,
    /// The file of it.
    _runs: Rc<Runs>,
}

const NO_KEY: SstKey<'static> = SstKey { ord: 0, tail: &[] };

impl KeyFetch {
    /// Goes on with the pages that were read.
    fn advance(
        &mut self,
        read: Option<AlignedBuf>,
        ks: &mut Keyspace,
        scratch: &mut Scratch,
        stats: &mut StoreStats,
    ) -> Result<Progress<Found>, StoreError> {
        let ord = self.hash.ord();
        let value_error = |error| StoreError::Value { ord, error };
        let clock_ms = ks.now_ms();
        let found = |expire_ms: Option<u64>| match expire_ms {
            Some(at) if at <= clock_ms => Found::Expired,
            _ => Found::Value,
        };
        if let (Some(blob), Some(reading)) = (self.blob, self.reading.take()) {
            return Ok(match self.advance_reading(&blob, reading, read.as_deref())? {
                Progress::Done(Whole::Collection(collection)) => {
                    ks.install_collection(self.hash, &self.key, collection, blob.expire_ms);
                    Progress::Done(found(blob.expire_ms))
                }
                Progress::Done(Whole::Bytes(bytes)) => {
                    let value = Loaded {
                        kind: blob.kind,
                        bytes,
                        expire_ms: blob.expire_ms,
                    };
                    ks.install(self.hash, &self.key, value).map_err(value_error)?;
                    Progress::Done(found(blob.expire_ms))
                }
                Progress::Need(file, range) => Progress::Need(file, range),
                Progress::More => Progress::More,
            });
        }
        if let (Some(blob), Some(pages)) = (self.blob, &read) {
            let bytes = blob_value(&blob.ptr, pages)?;
            let value = Loaded {
                kind: blob.kind,
                bytes,
                expire_ms: blob.expire_ms,
            };
            ks.install(self.hash, &self.key, value).map_err(value_error)?;
            return Ok(Progress::Done(found(blob.expire_ms)));
        }
        let tail = &*self.key;
        let mut lookup = self.lookup.with_key(SstKey { ord, tail });
        let step = lookup.step(&self.runs.runs, read.as_deref(), scratch)?;
        let next = lookup.with_key(NO_KEY);
        if let LookupStep::Found(record) = &step
            && let Body::Blob(kind, ptr) = record.body
            && let Some(kept) = self.kept.take_if(|kept| kept.ptr == ptr)
        {
            stats.found += 1;
            let expire_ms = record.expire_ms;
            (self.lookup, self.blob) = (next, Some(BlobValue { ptr, kind, expire_ms }));
            self.reading = Some(kept.reading);
            return self.advance(kept.pages, ks, scratch, stats);
        }
        let progress = match step {
            LookupStep::Need { file, range } => {
                stats.block_reads += 1;
                Progress::Need(FileName::sorted(file), range)
            }
            LookupStep::Absent => {
                ks.install_absent(self.hash, &self.key);
                stats.filtered += u64::from(next.reads() == 0);
                Progress::Done(Found::Nothing)
            }
            LookupStep::Found(record) => {
                stats.found += 1;
                let expire_ms = record.expire_ms;
                match record.body {
                    Body::Inline(kind, bytes) => {
                        let value = Loaded { kind, bytes, expire_ms };
                        ks.install(self.hash, &self.key, value).map_err(value_error)?;
                        Progress::Done(found(expire_ms))
                    }
                    Body::Blob(kind, ptr) => {
                        stats.blob_reads += 1;
                        self.blob = Some(BlobValue { ptr, kind, expire_ms });
                        let mut range = ptr.range();
                        if kind == Kind::Packed {
                            let pieces = BlobPieces::of(ptr);
                            range = pieces.need().expect("a record has a head");
                            self.reading = Some(Box::new(Reading { pieces, decoder: None }));
                        }
                        Progress::Need(FileName::blob(ptr.file), range)
                    }
                    Body::Tombstone | Body::DeadCollection => unreachable!("a lookup finds values"),
                }
            }
        };
        self.lookup = next;
        Ok(progress)
    }

    /// What was read of a collection so far, with the piece that has just come.
    fn keep(&mut self, pages: Option<AlignedBuf>) -> Option<Box<Kept>> {
        match (self.blob, self.reading.take()) {
            (Some(blob), Some(reading)) => Some(Box::new(Kept {
                ptr: blob.ptr,
                reading,
                pages,
                _runs: self.runs.clone(),
            })),
            // The place of the key was still being sought anew.
            _ => self.kept.take(),
        }
    }

    /// Goes on with a collection: takes the next piece if it was read, and decodes some of what there is.
    fn advance_reading<'a>(
        &mut self,
        blob: &BlobValue,
        mut reading: Box<Reading>,
        read: Option<&'a [u8]>,
    ) -> Result<Progress<Whole<'a>>, StoreError> {
        let ord = self.hash.ord();
        let value_error = |error| StoreError::Value { ord, error };
        let file = FileName::blob(blob.ptr.file);
        if let Some(pages) = read {
            let part = reading.pieces.feed(pages)?;
            match &mut reading.decoder {
                Some(decoder) => decoder.feed(part),
                None => reading.decoder = Decoder::begin(part).map_err(value_error)?,
            }
            if reading.decoder.is_none() {
                return Ok(match reading.pieces.need() {
                    None => Progress::Done(Whole::Bytes(part)),
                    // It cannot be taken in pieces: once more, all of it.
                    Some(_) => Progress::Need(file, blob.ptr.range()),
                });
            }
        }
        let decoder = reading.decoder.as_mut().expect("begun with the first piece");
        let decoded = decoder.step(DECODED_AT_ONCE).map_err(value_error)?;
        match (decoded, reading.pieces.need()) {
            (Decoded::More, _) => {
                self.reading = Some(reading);
                Ok(Progress::More)
            }
            (Decoded::Wanting, Some(range)) => {
                self.reading = Some(reading);
                Ok(Progress::Need(file, range))
            }
            (Decoded::Wanting, None) => Err(value_error(DecodeError::Truncated)),
            (Decoded::All, Some(_)) => Err(value_error(DecodeError::Length)),
            (Decoded::All, None) => {
                let decoder = reading.decoder.expect("looked at above");
                let collection = decoder.finish().map_err(value_error)?;
                Ok(Progress::Done(Whole::Collection(collection)))
            }
        }
    }
}

/// A collection of which all was read.
enum Whole<'a> {
    Collection(Collection),
    /// As it is encoded.
    Bytes(&'a [u8]),
}

enum FetchJob {
    Key(KeyFetch),
    Range(Box<RangeFetch>),
}

/// All fetches under way.
#[derive(Default)]
pub(super) struct Fetches {
    last: u64,
    jobs: BTreeMap<FetchId, FetchJob>,
    by_key: BTreeMap<(u64, Box<[u8]>), FetchId>,
    /// Those that read a large collection in steps, in turns.
    decoding: VecDeque<FetchId>,
    /// What is done, and for which epoch it holds.
    done: VecDeque<(FetchId, Option<(u64, FileKeys)>)>,
}

/// Elements of a large collection that are read at once: some 30 us.
const DECODED_AT_ONCE: usize = 64;
/// Bytes of memory that a fetch takes, about.
const FETCH_BYTES: usize = 512;

impl Fetches {
    fn new_id(&mut self) -> FetchId {
        self.last += 1;
        FetchId(self.last)
    }

    /// Everything is known: no file counts any more.
    pub(super) fn all_done(&mut self) {
        self.by_key.clear();
        self.decoding.clear();
        let ids = std::mem::take(&mut self.jobs).into_keys();
        self.done.extend(ids.map(|id| (id, None)));
    }

    pub(super) fn memory(&self) -> usize {
        self.jobs.len() * FETCH_BYTES
    }
}

impl Store {
    fn key_fetch(&self, hash: KeyHash, key: &[u8]) -> KeyFetch {
        KeyFetch {
            hash,
            key: key.into(),
            lookup: Lookup::new(NO_KEY),
            blob: None,
            reading: None,
            kept: None,
            runs: self.runs.clone(),
            epoch: self.epoch,
        }
    }

    /// Makes a key known. When the filters say that there is no such key, nothing is read.
    ///
    /// # Errors
    /// As [`Store::on_done`].
    pub fn fetch(&mut self, ks: &mut Keyspace, hash: KeyHash, key: &[u8]) -> Result<Fetch, StoreError> {
        self.notice_clear(ks);
        if ks.residency(hash, key) != Residency::Unknown {
            return Ok(Fetch::Known);
        }
        if !self.runs.may_hold(hash, key) {
            self.stats.lookups += 1;
            self.stats.filtered += 1;
            ks.install_absent(hash, key);
            return Ok(Fetch::Known);
        }
        let place = (hash.ord(), Box::from(key));
        if let Some(&id) = self.fetches.by_key.get(&place) {
            self.stats.joined += 1;
            return Ok(Fetch::Wait(id));
        }
        self.stats.lookups += 1;
        let mut job = self.key_fetch(hash, key);
        match job.advance(None, ks, &mut self.scratch, &mut self.stats)? {
            Progress::More => unreachable!("nothing was read yet"),
            Progress::Done(found) => {
                self.note_found(hash, found);
                Ok(Fetch::Known)
            }
            Progress::Need(file, range) => {
                let id = self.fetches.new_id();
                self.fetches.by_key.insert(place, id);
                self.fetches.jobs.insert(id, FetchJob::Key(job));
                self.read_for(id, file, range);
                Ok(Fetch::Wait(id))
            }
        }
    }

    /// Makes known what a command looked for in vain.
    ///
    /// # Errors
    /// As [`Store::on_done`].
    pub fn fetch_missed(&mut self, ks: &mut Keyspace, missed: Missed) -> Result<Fetch, StoreError> {
        match missed {
            Missed::Key(key) => self.fetch(ks, ks.key_hash(&key), &key),
            Missed::Range { from_ord, count } => {
                self.notice_clear(ks);
                if ks.is_complete() {
                    return Ok(Fetch::Known);
                }
                self.stats.ranges += 1;
                let id = self.fetches.new_id();
                let job = RangeFetch::new(self.runs.clone(), self.epoch, from_ord, count, ks.now_ms());
                self.fetches.jobs.insert(id, FetchJob::Range(Box::new(job)));
                self.go_on(ks, id, None)?;
                Ok(Fetch::Wait(id))
            }
        }
    }

    /// A key whose presence nobody needs to know is about to be overwritten: if filters say that there is none, that is noted,
    /// so that the number of keys stays right.
    pub fn foresee(&mut self, ks: &mut Keyspace, hash: KeyHash, key: &[u8]) {
        self.notice_clear(ks);
        if ks.residency(hash, key) == Residency::Unknown && !self.runs.may_hold(hash, key) {
            ks.install_absent(hash, key);
        }
    }

    /// [`Store::fetch`] with reads of its own: for entries that are executed again at the start, and for a key that turns out
    /// to be needed when it is too late to put its command off.
    ///
    /// # Errors
    /// A file is damaged, or cannot be read.
    pub fn fetch_now(
        &mut self,
        ks: &mut Keyspace,
        hash: KeyHash,
        key: &[u8],
        files: &mut dyn FileSource,
    ) -> Result<(), StoreError> {
        self.notice_clear(ks);
        if ks.residency(hash, key) != Residency::Unknown {
            return Ok(());
        }
        self.stats.lookups += 1;
        let mut job = self.key_fetch(hash, key);
        let mut pages: Option<AlignedBuf> = None;
        loop {
            match job.advance(pages.take(), ks, &mut self.scratch, &mut self.stats)? {
                Progress::Need(file, range) => pages = Some(read_now(files, file, range)?),
                Progress::More => {}
                Progress::Done(found) => {
                    self.note_found(hash, found);
                    return Ok(());
                }
            }
        }
    }

    /// All keys that files have from `from_ord` on, `count` of them or a few more, with reads of its own: for a command that
    /// cannot be put off any more.
    ///
    /// # Errors
    /// A file is damaged, or cannot be read.
    pub fn range_now(
        &mut self,
        ks: &Keyspace,
        from_ord: u64,
        count: usize,
        files: &mut dyn FileSource,
    ) -> Result<FileKeys, StoreError> {
        let mut found = FileKeys {
            from_ord,
            ..FileKeys::default()
        };
        self.notice_clear(ks);
        if ks.is_complete() {
            return Ok(found);
        }
        loop {
            self.stats.ranges += 1;
            let from = found.to_ord.unwrap_or(from_ord);
            let wanted = count.saturating_sub(found.keys.len());
            let mut job = RangeFetch::new(self.runs.clone(), self.epoch, from, wanted, ks.now_ms());
            let mut pages = None;
            let keys = loop {
                match job.advance(pages.take())? {
                    Progress::Done(keys) => break keys,
                    Progress::More => unreachable!("names of keys are read at once"),
                    Progress::Need(file, range) => pages = Some(read_now(files, file, range)?),
                }
            };
            found.keys.extend(keys.keys);
            found.to_ord = keys.to_ord;
            if found.to_ord.is_none() || found.keys.len() >= count {
                return Ok(found);
            }
        }
    }

    /// A fetch that is done: the key is known now, or, of a range, here are its keys, for [`Keyspace::lend_keys`] in the same
    /// turn. A range without keys is to be asked for again if it is still missed.
    pub fn take_fetched(&mut self) -> Option<(FetchId, Option<FileKeys>)> {
        let (id, keys) = self.fetches.done.pop_front()?;
        let valid = keys.filter(|(epoch, _)| *epoch == self.epoch && !self.cleared);
        Some((id, valid.map(|(_, keys)| keys)))
    }

    fn note_found(&mut self, hash: KeyHash, found: Found) {
        if found == Found::Expired {
            self.expired_was_loaded(hash.ord());
        }
    }

    fn read_for(&mut self, id: FetchId, file: FileName, range: PageRange) {
        let offset = range.offset;
        self.outbox.read(Flight::Fetch { id, file, offset }, file, range);
    }

    /// Pages for a fetch.
    pub(super) fn fetched(&mut self, ks: &mut Keyspace, id: FetchId, pages: AlignedBuf) -> Result<(), StoreError> {
        self.go_on(ks, id, Some(pages))
    }

    /// Whether a large collection is being read, in steps.
    pub fn is_reading(&self) -> bool {
        !self.fetches.decoding.is_empty()
    }

    /// Goes on with what reads large collections. Returns whether there is more to do.
    pub(super) fn step_fetches(&mut self, ks: &mut Keyspace, budget: &mut Budget) -> Result<bool, StoreError> {
        while budget.work > 0 {
            let Some(id) = self.fetches.decoding.pop_front() else {
                return Ok(false);
            };
            self.go_on(ks, id, None)?;
            budget.work = budget.work.saturating_sub(DECODED_AT_ONCE);
        }
        Ok(!self.fetches.decoding.is_empty())
    }

    fn go_on(&mut self, ks: &mut Keyspace, id: FetchId, mut pages: Option<AlignedBuf>) -> Result<(), StoreError> {
        let Some(mut job) = self.fetches.jobs.remove(&id) else {
            return Ok(());
        };
        let progress = match &mut job {
            FetchJob::Key(job) => {
                if job.epoch != self.epoch {
                    // The key may have been written and evicted since: another file may have the newest word.
                    let kept = job.keep(pages.take());
                    *job = self.key_fetch(job.hash, &job.key);
                    job.kept = kept;
                }
                match job.advance(pages, ks, &mut self.scratch, &mut self.stats)? {
                    Progress::Need(file, range) => Progress::Need(file, range),
                    Progress::More => Progress::More,
                    Progress::Done(found) => {
                        self.fetches.by_key.remove(&(job.hash.ord(), job.key.clone()));
                        self.note_found(job.hash, found);
                        Progress::Done(None)
                    }
                }
            }
            FetchJob::Range(job) => match job.advance(pages)? {
                Progress::Need(file, range) => Progress::Need(file, range),
                Progress::More => Progress::More,
                Progress::Done(keys) => Progress::Done(Some((job.epoch, keys))),
            },
        };
        match progress {
            Progress::Need(file, range) => {
                self.fetches.jobs.insert(id, job);
                self.read_for(id, file, range);
            }
            Progress::More => {
                self.fetches.jobs.insert(id, job);
                self.fetches.decoding.push_back(id);
            }
            Progress::Done(keys) => self.fetches.done.push_back((id, keys)),
        }
        Ok(())
    }
}

pub(super) fn read_now(files: &mut dyn FileSource, file: FileName, range: PageRange) -> Result<AlignedBuf, StoreError> {
    let mut buf = AlignedBuf::with_capacity(range.bytes);
    match files.read_at(file, range, &mut buf) {
        Ok(()) => Ok(buf),
        Err(error) => Err(StoreError::Io {
            file: Some(file),
            error,
        }),
    }
}
