//! Slotcore's engine as a core drives it: log, keyspace and sorted files on one thread, without a network.

mod files;

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use slotcore_engine::cmd::op::{BatchHeader, encode_header, encode_op};
use slotcore_engine::cmd::{Args, CommandId, lookup};
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions, Missed};
use slotcore_engine::log::{AppendError, CoreLog, LogOptions, LogPos, Record};
use slotcore_engine::store::{Budget, Done, Fetch, Store, StoreEffect, StoreOptions, Ticket};
use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::disk::{DataDir, DirectIo, SegmentDir, SegmentWorker, StoreDir};
use slotcore_rt::ids::{CoreId, FrameNo, GroupId, GroupSlot, LogIndex, Term};
use slotcore_rt::ring::{Class, Ring};
use slotcore_rt::rng::SeededRng;
use slotcore_rt::wake;
use slotcore_server::entry_ops::EntryOps;
use slotcore_server::log_driver::{LogDriver, SegmentReader};

use crate::contestant::{Contestant, Failure};
use files::{FileWorker, Files};

const GROUP: GroupSlot = GroupSlot(0);
/// Longest wait for the log's device in one turn.
const WAIT: Duration = Duration::from_millis(1);
/// Records looked at for eviction behind one call.
const EVICT_LOOKS: usize = 256;
/// Bytes evicted beyond what is needed, so that not every call has to: as in a core.
const EVICT_SLACK_BYTES: usize = 64 << 10;
/// Part of the memory, as a divisor, that may be dirty before a flush begins; and, in quarters of it, at which writes wait.
const FLUSH_DIVISOR: u64 = 4;
const STOP_QUARTERS: u64 = 3;
/// Slices of background work behind one batch, at most.
const SLICES: usize = 4;
/// Turns of the log, each of [`WAIT`], in which it gets rid of what files have.
const LOG_TURNS: usize = 200;
/// Keys of one step of a walk.
const WALK_KEYS: usize = 1000;

/// See the module's text.
pub struct Slotcore {
    // Dropped before the worker that it talks to.
    driver: LogDriver,
    _worker: SegmentWorker,
    _data: DataDir,
    ring: Ring,
    log: CoreLog,
    ks: Keyspace,
    store: Store,
    files: FileWorker,
    ops: EntryOps,
    index: u64,
    set: CommandId,
    /// Manifests in the log, and the frames that make them durable.
    manifests: VecDeque<(FrameNo, Ticket)>,
    memory: u64,
}

impl Slotcore {
    /// `memory`: of keys and values, in bytes.
    pub fn open(dir: &Path, memory: u64) -> Result<Self, Failure> {
        let data = DataDir::open(dir)?;
        let core = CoreId(0);
        let segments = SegmentDir::open(&data.core_log(core)?, DirectIo::Preferred)?;
        let worker = SegmentWorker::start()?;
        let client = worker.client(core, segments.clone(), wake::eventfd()?);
        let mut rng = SeededRng::from_os()?;
        let mut driver = LogDriver::new(client, segments.clone(), rng.derive("segment salts"));
        let mut ring = Ring::new(256)?;
        let mut log = CoreLog::recover(LogOptions::new(core), &mut SegmentReader::new(segments), &mut |_| {})?;
        while !log.takes_records() {
            let now = SystemClock.tick();
            driver.step(&mut log, now, &mut ring)?;
            driver.wait_report(&mut log, now);
        }
        let id = GroupId(rng.next_u64());
        log.append(Record::GroupCreate { group: GROUP, id })?;
        let mut ks = Keyspace::new(KeyspaceOptions { hash_seed: id.0 });
        let mut files = Files::new(StoreDir::new(&data.core_store(core)?, DirectIo::Preferred));
        let options = StoreOptions {
            dirty_bytes_max: (memory / FLUSH_DIVISOR) as usize,
            ..StoreOptions::default()
        };
        let (store, _) = Store::open(options, &[], &mut files, &mut ks)?;
        Ok(Self {
            driver,
            _worker: worker,
            _data: data,
            ring,
            log,
            ks,
            store,
            files: FileWorker::start(files),
            ops: EntryOps::default(),
            index: 0,
            set: lookup(b"set").ok_or("SET is a command")?.id,
            manifests: VecDeque::new(),
            memory,
        })
    }

    /// One turn of the log: takes in what is done, starts what is due. Waits for the device when `wait`.
    fn pump(&mut self, wait: bool) -> Result<(), Failure> {
        let now = SystemClock.tick();
        self.driver.take_reports(&mut self.log, now);
        self.driver.step(&mut self.log, now, &mut self.ring)?;
        self.ring
            .submit_and_wait(usize::from(wait), if wait { WAIT } else { Duration::ZERO })?;
        let mut done = Vec::new();
        self.ring.reap(&mut done);
        for completion in done {
            if completion.class == Class::Log {
                self.driver
                    .on_completion(&mut self.log, SystemClock.tick(), completion)?;
            }
        }
        let durable = self.log.durable();
        while let Some((_, ticket)) = self.manifests.pop_front_if(|(frame, _)| *frame <= durable) {
            self.store.on_done(&mut self.ks, ticket, Done::Ok(None))?;
        }
        Ok(())
    }

    /// Hands on what the store asks for, and takes in what is done. True when there was something.
    fn carry_out(&mut self, wait: bool) -> Result<bool, Failure> {
        let (mut effects, mut any) = (Vec::new(), false);
        self.store.effects(&mut effects);
        for effect in effects {
            any = true;
            match effect {
                StoreEffect::Manifest { ticket, bytes } => {
                    let frame = self.append(Record::Manifest { group: GROUP, bytes })?;
                    self.log.request_sync();
                    self.manifests.push_back((frame, ticket));
                }
                StoreEffect::Flushed { at } => {
                    self.append(Record::Purge { group: GROUP, pos: at })?;
                    self.log.request_sync();
                }
                effect => self.files.begin(effect),
            }
        }
        for (ticket, buf) in self.files.done(wait && self.files.is_busy())? {
            any = true;
            self.store.on_done(&mut self.ks, ticket, Done::Ok(buf))?;
        }
        Ok(any)
    }

    /// Waits until a file operation, or a piece of the log, is done. False: nothing is under way.
    fn wait(&mut self) -> Result<bool, Failure> {
        match self.files.is_busy() {
            true => self.carry_out(true),
            false if !self.manifests.is_empty() => self.pump(true).map(|()| true),
            false => Ok(false),
        }
    }

    fn append(&mut self, record: Record) -> Result<FrameNo, Failure> {
        loop {
            match self.log.append(record.clone()) {
                Ok(frame) => return Ok(frame),
                Err(AppendError::NotReady | AppendError::Backlog) => self.pump(true)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A slice of flushing and merging, as much as a core gives beside its commands. True when it did something.
    fn slice(&mut self) -> Result<bool, Failure> {
        if self.store.wants_flush(&self.ks, 0).is_some() {
            let at = self.at();
            self.store.begin_flush(&mut self.ks, at, Vec::new());
        }
        let worked = self.store.step(&mut self.ks, Budget::SLICE)?;
        let answered = self.carry_out(false)?;
        Ok(answered || !worked.idle)
    }

    fn at(&self) -> LogPos {
        LogPos {
            term: Term(1),
            index: LogIndex(self.index),
        }
    }

    /// Back within the memory: dirty keys wait for files, clean ones go.
    fn keep_within(&mut self) -> Result<(), Failure> {
        let stop = self.memory / 4 * STOP_QUARTERS;
        while self.ks.tier_use().dirty_bytes as u64 > stop && (self.slice()? || self.wait()?) {
            self.pump(false)?;
        }
        let over = (self.ks.memory().total() as u64).saturating_sub(self.memory);
        if over > 0 {
            self.ks.evict(over as usize + EVICT_SLACK_BYTES, EVICT_LOOKS);
            self.ks.free_work(EVICT_LOOKS);
        }
        Ok(())
    }

    fn fetch_missed(&mut self, missed: Missed) -> Result<(), Failure> {
        if let Fetch::Wait(id) = self.store.fetch_missed(&mut self.ks, missed)? {
            loop {
                self.carry_out(false)?;
                match self.store.take_fetched() {
                    Some((done, keys)) if done == id => {
                        self.ks.lend_keys(keys);
                        return Ok(());
                    }
                    Some(_) => {}
                    None => drop(self.wait()?),
                }
            }
        }
        Ok(())
    }
}

impl Contestant for Slotcore {
    fn name(&self) -> String {
        format!("Slotcore's engine, {} MiB of keys, direct I/O", self.memory >> 20)
    }

    fn set(&mut self, pairs: &[(Vec<u8>, Vec<u8>)], durable: bool) -> Result<(), Failure> {
        self.index += 1;
        let header = BatchHeader {
            time_ms: SystemClock.wall_us() / 1000,
            seed: self.index,
            origin: 1,
            batch_seq: self.index,
        };
        let mut payload = Vec::new();
        encode_header(&mut payload, &header);
        for (key, value) in pairs {
            let words = [b"SET", key.as_slice(), value.as_slice()].concat();
            let at = 3 + key.len() as u32;
            let spans = [(0, 3), (3, key.len() as u32), (at, value.len() as u32)];
            encode_op(&mut payload, self.set, &Args::new(&words, &spans));
        }
        let payload = Bytes::from(payload);
        let frame = self.append(Record::Entry {
            group: GROUP,
            pos: self.at(),
            payload: payload.clone(),
        })?;
        if !self.ks.is_complete() {
            // So that the number of keys stays right.
            for (key, _) in pairs {
                let hash = self.ks.key_hash(key);
                self.store.foresee(&mut self.ks, hash, key);
            }
        }
        let mut ops = std::mem::take(&mut self.ops);
        ops.begin(&mut self.ks, &header);
        ops.run_all(&mut self.ks, &payload);
        self.ops = ops;
        self.log.release(GROUP, LogIndex(self.index));
        self.pump(false)?;
        while durable && self.log.durable() < frame {
            self.pump(true)?;
        }
        for _ in 0..SLICES {
            if !self.slice()? {
                break;
            }
        }
        self.keep_within()
    }

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Failure> {
        value.clear();
        let hash = self.ks.key_hash(key);
        if let Fetch::Wait(id) = self.store.fetch(&mut self.ks, hash, key)? {
            loop {
                self.carry_out(false)?;
                match self.store.take_fetched() {
                    Some((done, _)) if done == id => break,
                    Some(_) => {}
                    None => drop(self.wait()?),
                }
            }
        }
        let found = self.ks.get_str_hashed(hash, key).map_err(|_| "a value is no string")?;
        if let Some(found) = found {
            value.extend_from_slice(found);
        }
        let found = found.is_some();
        self.keep_within()?;
        Ok(found)
    }

    fn walk(&mut self) -> Result<u64, Failure> {
        let (mut count, mut cursor) = (0, 0);
        loop {
            let mut seen = 0;
            let next = self.ks.scan(cursor, WALK_KEYS, &mut |_, _| seen += 1);
            let missed = self.ks.take_missed();
            self.ks.lend_keys(None);
            if let Some(missed) = missed {
                self.fetch_missed(missed)?;
                continue;
            }
            count += seen;
            cursor = next;
            if cursor == 0 {
                return Ok(count);
            }
        }
    }

    fn settle(&mut self) -> Result<(), Failure> {
        while self.store.is_flushing() || self.store.flushed().index.0 < self.index {
            let at = self.at();
            self.store.begin_flush(&mut self.ks, at, Vec::new());
            if !self.slice()? {
                self.wait()?;
            }
            self.pump(false)?;
        }
        while self.slice()? || self.wait()? {
            self.pump(false)?;
        }
        // As a core does that has not begun a flush for a while.
        self.store.settle();
        while self.slice()? || self.wait()? {
            self.pump(false)?;
        }
        // The log forgets what files have, and its own files go, by another thread.
        for _ in 0..LOG_TURNS {
            self.pump(true)?;
        }
        self.keep_within()
    }
}
