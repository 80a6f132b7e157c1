//! A store in a world of its own: a disk that completes in any order, loses what was not synced, and may be full; a log that
//! keeps every command until the store says that it need not.

#![allow(dead_code, reason = "each test file uses its part")]

use super::cmd_support::machine::{Machine, pack};
use super::cmd_support::random::Random;
use super::cmd_support::wire::Value;
use slotcore_engine::cmd::{Args, Exec, for_each_needed_key, is_rehearsed, rehearse, resolve};
use slotcore_engine::compact::PickOptions;
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions, Missed, Residency};
use slotcore_engine::log::LogPos;
use slotcore_engine::manifest::Version;
use slotcore_engine::sst::{PAGE_BYTES, PageRange};
use slotcore_engine::store::{
    Budget, Done, Fetch, FetchId, FileName, FileSource, SideState, Store, StoreEffect, StoreError, StoreOptions, Ticket,
};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ids::{LogIndex, Term};
use std::collections::BTreeMap;

const ENOENT: i32 = 2;
pub const START: u64 = 1_700_000_000_000;

/// Everything small, so that everything happens often.
pub fn tiny() -> StoreOptions {
    StoreOptions {
        maker: 0,
        dirty_bytes_max: 16 << 10,
        log_bytes_target: 1 << 20,
        file_bytes_target: 12 << 10,
        blob_file_bytes_target: 48 << 10,
        blob_value_bytes_min: 1 << 10,
        compress: true,
        blob_garbage_permille: 300,
        pick: PickOptions {
            tier_runs: 3,
            sink_divisor: 4,
            garbage_permille: 250,
            dead_permille: 300,
            piece_bytes: 40 << 10,
        },
    }
}

#[derive(Clone, Default)]
struct File {
    /// As written, and as a power cut leaves it.
    bytes: Vec<u8>,
    durable: Option<Vec<u8>>,
}

/// Files, and effects under way.
#[derive(Default)]
pub struct Disk {
    files: BTreeMap<FileName, File>,
    under_way: Vec<StoreEffect>,
    /// The last manifest that is durable.
    pub manifest: Vec<u8>,
    /// Entries up to this one were let go of.
    pub purged: u64,
    pub full: bool,
    pub reads: u64,
    pub completions: u64,
}

impl FileSource for Disk {
    fn list(&mut self) -> std::io::Result<Vec<(FileName, u64)>> {
        Ok(self
            .files
            .iter()
            .map(|(&name, file)| (name, file.bytes.len() as u64))
            .collect())
    }

    fn read_at(&mut self, file: FileName, range: PageRange, buf: &mut AlignedBuf) -> std::io::Result<()> {
        buf.extend_from_slice(self.slice(file, range));
        Ok(())
    }
}

/// The files of a disk with nothing under way.
impl Clone for Disk {
    fn clone(&self) -> Self {
        assert!(self.under_way.is_empty(), "what is under way cannot be copied");
        Self {
            files: self.files.clone(),
            manifest: self.manifest.clone(),
            purged: self.purged,
            ..Self::default()
        }
    }
}

impl Disk {
    fn slice(&self, file: FileName, range: PageRange) -> &[u8] {
        let bytes = &self
            .files
            .get(&file)
            .unwrap_or_else(|| panic!("{file} is read and not there"))
            .bytes;
        &bytes[range.offset as usize..][..range.bytes]
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    pub fn accept(&mut self, effects: Vec<StoreEffect>) {
        self.under_way.extend(effects);
    }

    /// Does one thing of what is under way.
    fn complete(&mut self, at: usize) -> Option<(Ticket, Done)> {
        self.completions += 1;
        let effect = self.under_way.swap_remove(at);
        match effect {
            StoreEffect::Write {
                ticket,
                file,
                offset,
                buf,
            } => {
                assert!(
                    offset % PAGE_BYTES as u64 == 0 && buf.len() % PAGE_BYTES == 0,
                    "whole pages"
                );
                if self.full {
                    return Some((ticket, Done::NoSpace(Some(buf))));
                }
                self.write(file, offset, &buf);
                Some((ticket, Done::Ok(None)))
            }
            StoreEffect::Finish {
                ticket,
                file,
                file_bytes,
            } => {
                let writes = self.under_way.iter();
                let unwritten = writes.filter(|e| matches!(e, StoreEffect::Write { file: f, .. } if *f == file));
                assert_eq!(unwritten.count(), 0, "a file is finished when all is written");
                if self.full && at.is_multiple_of(2) {
                    return Some((ticket, Done::NoSpace(None)));
                }
                self.finish(file, file_bytes);
                Some((ticket, Done::Ok(None)))
            }
            StoreEffect::Read {
                ticket, file, range, ..
            } => {
                self.reads += 1;
                if !self.files.contains_key(&file) {
                    // Only a fetch that a FLUSHALL made void may come too late: the store says so if it is another.
                    return Some((ticket, Done::Failed(ENOENT)));
                }
                let mut buf = AlignedBuf::with_capacity(range.bytes);
                buf.extend_from_slice(self.slice(file, range));
                Some((ticket, Done::Ok(Some(buf))))
            }
            StoreEffect::Manifest { ticket, bytes } => {
                self.tell(&bytes);
                Some((ticket, Done::Ok(None)))
            }
            StoreEffect::Flushed { at } => {
                let durable = Version::decode(&self.manifest).unwrap();
                assert!(at.index <= durable.flushed.index, "the log lets go of what no file has");
                self.purged = self.purged.max(at.index.0);
                None
            }
            StoreEffect::Delete { file } => {
                self.delete(file);
                None
            }
        }
    }

    fn write(&mut self, file: FileName, offset: u64, bytes: &[u8]) {
        let file = self.files.entry(file).or_default();
        let end = offset as usize + bytes.len();
        if file.bytes.len() < end {
            file.bytes.resize(end, 0);
        }
        file.bytes[offset as usize..end].copy_from_slice(bytes);
    }

    fn finish(&mut self, file: FileName, file_bytes: u64) {
        let file = self.files.get_mut(&file).expect("it was written");
        assert_eq!(file.bytes.len() as u64, file_bytes);
        file.durable = Some(file.bytes.clone());
    }

    /// The log has the record durably: every file it names is durable, too.
    fn tell(&mut self, bytes: &[u8]) {
        let version = Version::decode(bytes).unwrap();
        for file in version.files() {
            let there = self
                .files
                .get(&FileName::sorted(file.file))
                .expect("a named file exists");
            assert_eq!(there.durable.as_ref().map(|b| b.len() as u64), Some(file.file_bytes));
        }
        for blob in &version.blobs {
            let there = self.files.get(&FileName::blob(blob.file)).expect("a named file exists");
            assert_eq!(there.durable.as_ref().map(|b| b.len() as u64), Some(blob.file_bytes));
        }
        self.manifest = bytes.to_vec();
    }

    fn delete(&mut self, file: FileName) {
        let version = Version::decode(&self.manifest).unwrap();
        let named = version.files().any(|f| FileName::sorted(f.file) == file)
            || version.blobs.iter().any(|b| FileName::blob(b.file) == file);
        assert!(!named, "{file} is deleted and the durable manifest names it");
        self.files.remove(&file);
    }

    /// The power fails: of what is under way anything may have happened, and nothing of it was reported.
    pub fn cut(&mut self, r: &mut Random) {
        for effect in std::mem::take(&mut self.under_way) {
            if r.below(2) == 0 {
                continue;
            }
            match effect {
                StoreEffect::Write { file, offset, buf, .. } => {
                    let part = r.below(buf.len() / PAGE_BYTES + 1) * PAGE_BYTES;
                    self.write(file, offset, &buf[..part]);
                }
                StoreEffect::Finish { file, file_bytes, .. } => self.finish(file, file_bytes),
                StoreEffect::Manifest { bytes, .. } => self.tell(&bytes),
                StoreEffect::Delete { file } => self.delete(file),
                StoreEffect::Read { .. } | StoreEffect::Flushed { .. } => {}
            }
        }
        self.files.retain(|_, file| match &file.durable {
            Some(durable) => {
                file.bytes = durable.clone();
                true
            }
            None if r.below(2) == 0 => false,
            None => {
                file.bytes.truncate(r.below(file.bytes.len() + 1));
                file.durable = Some(file.bytes.clone());
                true
            }
        });
    }

    pub fn file_bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes.len() as u64).sum()
    }

    pub fn names(&self) -> Vec<FileName> {
        self.files.keys().copied().collect()
    }

    /// A file that came from elsewhere, durable.
    pub fn put(&mut self, file: FileName, bytes: &[u8]) {
        let durable = Some(bytes.to_vec());
        let bytes = bytes.to_vec();
        let before = self.files.insert(file, File { bytes, durable });
        assert!(before.is_none(), "{file} is there already");
    }

    /// The bytes of a file.
    pub fn bytes(&self, file: FileName) -> &[u8] {
        &self.files[&file].bytes
    }

    /// The bytes of a file, to be damaged.
    pub fn bytes_mut(&mut self, file: FileName) -> &mut Vec<u8> {
        &mut self.files.get_mut(&file).unwrap().bytes
    }

    pub fn remove(&mut self, file: FileName) {
        self.files.remove(&file);
    }
}

/// A command and what decided its outcome.
#[derive(Clone)]
pub struct Past {
    pub words: Vec<Vec<u8>>,
    pub now: u64,
    pub executed: u64,
}

/// A keyspace and its store.
pub struct Node {
    pub machine: Machine,
    pub store: Store,
    pub disk: Disk,
    /// All commands; entry `n` is at `n - 1`.
    pub log: Vec<Past>,
    pub options: StoreOptions,
    pub r: Random,
    /// The background stops when the device has done so many things.
    pub stop_at: u64,
    /// Steps that went on with large collections somebody waited for.
    pub steps_of_reads: u64,
    done: Vec<FetchId>,
    lent: Option<(FetchId, slotcore_engine::keyspace::FileKeys)>,
}

/// What the group keeps beside its keys: here, which entry it is at.
pub fn side(at: LogPos) -> SideState {
    SideState {
        kind: 1,
        bytes: at.index.0.to_le_bytes().to_vec(),
    }
}

fn open(disk: &mut Disk, options: StoreOptions) -> Result<(Machine, Store), StoreError> {
    let mut machine = Machine::new();
    machine.ks = Keyspace::new(KeyspaceOptions::default());
    machine.ks.take_in_pages_from(512);
    let manifest = disk.manifest.clone();
    let (store, orphans) = Store::open(options, &manifest, disk, &mut machine.ks)?;
    for file in orphans {
        disk.delete(file);
    }
    Ok((machine, store))
}

impl Node {
    pub fn new(options: StoreOptions, seed: u64) -> Self {
        let mut disk = Disk::default();
        let (mut machine, store) = open(&mut disk, options).expect("an empty disk");
        machine.set_time(START);
        Self {
            machine,
            store,
            disk,
            log: Vec::new(),
            options,
            r: Random::new(seed),
            stop_at: u64::MAX,
            steps_of_reads: 0,
            done: Vec::new(),
            lent: None,
        }
    }

    /// A node that ended, with these files.
    pub fn stopped(disk: Disk, log: &[Past], options: StoreOptions, seed: u64) -> Self {
        let mut node = Self::new(options, seed);
        (node.disk, node.log) = (disk, log.to_vec());
        node
    }

    pub fn ks(&mut self) -> &mut Keyspace {
        &mut self.machine.ks
    }

    pub fn applied(&self) -> LogPos {
        LogPos {
            term: Term(1),
            index: LogIndex(self.log.len() as u64),
        }
    }

    /// Hands effects to the disk, and completes one of those under way.
    pub fn turn(&mut self) -> Result<(), StoreError> {
        let mut effects = Vec::new();
        self.store.effects(&mut effects);
        self.disk.accept(effects);
        if self.disk.under_way.is_empty() {
            return Ok(());
        }
        let at = self.r.below(self.disk.under_way.len());
        if let Some((ticket, done)) = self.disk.complete(at) {
            self.store.on_done(&mut self.machine.ks, ticket, done)?;
        }
        self.take_fetched();
        Ok(())
    }

    fn take_fetched(&mut self) {
        while let Some((id, keys)) = self.store.take_fetched() {
            self.done.push(id);
            self.lent = keys.map(|keys| (id, keys));
        }
    }

    fn wait(&mut self, id: FetchId) -> Result<(), StoreError> {
        self.take_fetched();
        let mut turns = 0;
        while !self.done.contains(&id) {
            if self.store.is_reading() {
                self.steps_of_reads += 1;
                let (work, merge_bytes) = (1 + self.r.below(30), 1);
                self.store.step(&mut self.machine.ks, Budget { work, merge_bytes })?;
            }
            self.turn()?;
            self.take_fetched();
            turns += 1;
            assert!(turns < 100_000, "a fetch never ends");
        }
        self.done.retain(|&done| done != id);
        if let Some((of, keys)) = self.lent.take()
            && of == id
        {
            self.machine.ks.lend_keys(Some(keys));
        }
        Ok(())
    }

    /// Whether that fetch is done.
    pub fn has_fetched(&self, id: FetchId) -> bool {
        self.done.contains(&id)
    }

    pub fn fetch(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let hash = self.machine.ks.key_hash(key);
        match self.store.fetch(&mut self.machine.ks, hash, key)? {
            Fetch::Known => {}
            Fetch::Wait(id) => self.wait(id)?,
        }
        assert_ne!(self.machine.ks.residency(hash, key), Residency::Unknown);
        Ok(())
    }

    fn is_unknown(&self, key: &[u8]) -> bool {
        let hash = self.machine.ks.key_hash(key);
        self.machine.ks.residency(hash, key) == Residency::Unknown
    }

    fn fetch_missed(&mut self, missed: Missed) -> Result<(), StoreError> {
        match self.store.fetch_missed(&mut self.machine.ks, missed)? {
            Fetch::Known => Ok(()),
            Fetch::Wait(id) => self.wait(id),
        }
    }

    /// KEYS as a server does it: in pieces.
    pub fn all_keys(&mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        let (mut keys, mut cursor) = (Vec::new(), 0);
        loop {
            let count = 1 + self.r.below(30);
            cursor = self
                .machine
                .ks
                .scan(cursor, count, &mut |key, _| keys.push(key.to_vec()));
            if let Some(missed) = self.ks().take_missed() {
                self.ks().lend_keys(None);
                self.fetch_missed(missed)?;
                continue;
            }
            self.ks().lend_keys(None);
            if cursor == 0 {
                return Ok(keys);
            }
        }
    }

    /// Executes a command as the server does: what it needs is fetched first, and a read is repeated when it missed something.
    pub fn execute(&mut self, words: &[Vec<u8>], now: u64) -> Result<Value, StoreError> {
        let executed = self.machine.executed;
        self.log.push(Past {
            words: words.to_vec(),
            now,
            executed,
        });
        self.machine.set_time(now);
        let (buf, spans) = pack(words);
        let args = Args::new(&buf, &spans);
        let (mut needed, mut pinned) = (Vec::new(), Vec::new());
        let spec = resolve(&args).ok();
        if let Some(spec) = spec {
            for_each_needed_key(spec, &args, |at| needed.push(args.get(at).to_vec()));
        }
        for word in &words[1..] {
            let hash = self.machine.ks.key_hash(word);
            self.store.foresee(&mut self.machine.ks, hash, word);
        }
        for key in &needed {
            let hash = self.ks().key_hash(key);
            self.ks().pin(hash);
            pinned.push(hash);
        }
        // The first eviction ends that keys without a record are known to be absent: so it is asked again.
        while needed.iter().any(|key| self.is_unknown(key)) {
            for key in &needed {
                self.fetch(key)?;
                if self.r.below(4) == 0 {
                    // Pinned keys stay.
                    self.ks().evict(usize::MAX, 50);
                }
            }
        }
        while let Some(spec) = spec.filter(|spec| is_rehearsed(spec)) {
            let mut exec = Exec::nested(&mut self.machine.ks, args, 0);
            rehearse(spec, &mut exec);
            let Some(missed) = self.ks().take_missed() else { break };
            self.fetch_missed(missed)?;
        }
        let reply = loop {
            self.machine.executed = executed;
            let reply = self.machine.execute(words);
            let missed = self.ks().take_missed();
            self.ks().lend_keys(None);
            let Some(missed) = missed else { break reply };
            let writes = spec.is_some_and(|spec| spec.is_write());
            assert!(!writes, "a write missed {missed:?}: {words:?}");
            self.fetch_missed(missed)?;
        };
        pinned.into_iter().for_each(|hash| self.ks().unpin(hash));
        Ok(reply)
    }

    /// Some of what goes on beside commands.
    pub fn background(&mut self) -> Result<(), StoreError> {
        let log_bytes = (self.log.len() as u64 - self.store.flushed().index.0) * 2048;
        let wanted = self.store.wants_flush(&self.machine.ks, log_bytes);
        if wanted.is_some() || self.r.below(60) == 0 {
            let at = self.applied();
            self.store.begin_flush(&mut self.machine.ks, at, vec![side(at)]);
        }
        let budget = Budget {
            work: 1 + self.r.below(30),
            merge_bytes: 1 + self.r.below(60_000) as u64,
        };
        if self.r.below(2) == 0 {
            self.store.step(&mut self.machine.ks, budget)?;
        }
        for _ in 0..self.r.below(4) {
            if self.disk.completions >= self.stop_at {
                return Ok(());
            }
            self.turn()?;
        }
        if self.r.below(12) == 0 {
            let looks = 1 + self.r.below(200);
            self.ks().evict(usize::MAX, looks);
        }
        if self.r.below(3) == 0 {
            self.ks().expire_work(20);
            self.ks().free_work(10);
        }
        if self.disk.full {
            if self.r.below(40) == 0 {
                self.disk.full = false;
                self.store.retry();
            }
        } else if self.store.is_out_of_space() {
            self.store.retry();
        }
        Ok(())
    }

    /// Everything under way ends.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        self.disk.full = false;
        self.store.retry();
        self.store.settle();
        for _ in 0..1_000_000 {
            let worked = self.store.step(&mut self.machine.ks, Budget::SLICE)?;
            if worked.idle && self.disk.is_idle() && !self.store.has_effects() && !self.store.is_flushing() {
                return Ok(());
            }
            self.turn()?;
        }
        panic!("the store does not come to rest");
    }

    /// The process ends, by a power cut or by itself, and a new one begins: the state of its files, and all entries since
    /// executed again.
    pub fn restart(self, power_cut: bool) -> Result<Self, StoreError> {
        self.restart_with(power_cut, |_, log| log)
    }

    /// The same with a log that `choose` gives, who is told the last entry that is in files, and what the log was.
    pub fn restart_with(
        self,
        power_cut: bool,
        choose: impl FnOnce(u64, Vec<Past>) -> Vec<Past>,
    ) -> Result<Self, StoreError> {
        let Self {
            mut disk,
            log,
            options,
            mut r,
            machine,
            ..
        } = self;
        if power_cut {
            disk.cut(&mut r);
        } else {
            disk.under_way.clear();
        }
        disk.full = false;
        let (now, executed) = (machine.ks.now_ms(), machine.executed);
        let (machine, store) = open(&mut disk, options)?;
        let mut node = Self {
            machine,
            store,
            disk,
            log: Vec::new(),
            options,
            r,
            stop_at: u64::MAX,
            steps_of_reads: 0,
            done: Vec::new(),
            lent: None,
        };
        let flushed = node.store.flushed().index.0 as usize;
        let log = choose(flushed as u64, log);
        assert!(
            node.disk.purged as usize <= flushed,
            "the log has what the files do not"
        );
        if flushed > 0 {
            assert_eq!(node.store.side(), [side(node.store.flushed())]);
        }
        node.log = log[..flushed].to_vec();
        for past in &log[flushed..] {
            node.machine.executed = past.executed;
            for key in &past.words[1..] {
                let hash = node.machine.ks.key_hash(key);
                if node.r.below(2) == 0 {
                    node.store.fetch_now(&mut node.machine.ks, hash, key, &mut node.disk)?;
                }
            }
            node.execute(&past.words, past.now)?;
        }
        node.machine.set_time(now);
        // Also when there was nothing to execute again: what is random depends on it.
        node.machine.executed = executed;
        Ok(node)
    }

    /// Digest of everything, all of it brought into memory.
    pub fn digest(&mut self) -> Result<u128, StoreError> {
        let keys = self.all_keys()?;
        for key in &keys {
            let hash = self.ks().key_hash(key);
            self.ks().pin(hash);
            self.fetch(key)?;
        }
        let digest = self.ks().digest();
        for key in &keys {
            let hash = self.ks().key_hash(key);
            self.ks().unpin(hash);
        }
        Ok(digest)
    }
}
