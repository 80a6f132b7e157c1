//! A disk that loses, tears and garbles what was not synced, a model of what a log holds, and a harness that drives a
//! `CoreLog` over the one and checks it against the other.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use slotcore_engine::log::{
    AppendError, CoreLog, EntryRead, GcAdvice, LogEffect, LogOptions, LogPos, Record, RecoverError, SegmentSource,
    SyncPolicy, Ticket, Vote, decode_entry,
};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{CoreId, FrameNo, GroupId, GroupSlot, LogIndex, ReplicaId, SegmentId, Term};

pub const SECTOR: usize = 512;

/// splitmix64.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Default)]
pub struct File {
    pub durable: Vec<u8>,
    /// Written, not flushed: sector number to (when, bytes).
    volatile: BTreeMap<usize, (u64, Vec<u8>)>,
}

#[derive(Clone, Default)]
pub struct Disk {
    pub files: BTreeMap<SegmentId, File>,
    written: u64,
}

impl Disk {
    fn write(&mut self, segment: SegmentId, offset: u64, bytes: &[u8], sync: bool) {
        self.written += 1;
        let file = self
            .files
            .get_mut(&segment)
            .expect("writes go to segments that are there");
        assert!(
            offset as usize + bytes.len() <= file.durable.len(),
            "a write beyond the segment"
        );
        for (k, sector) in bytes.chunks(SECTOR).enumerate() {
            let at = offset as usize / SECTOR + k;
            if sync {
                file.durable[at * SECTOR..][..SECTOR].copy_from_slice(sector);
                file.volatile.remove(&at);
            } else {
                file.volatile.insert(at, (self.written, sector.to_vec()));
            }
        }
    }

    fn sync(&mut self, segment: SegmentId, before: u64) {
        let file = self
            .files
            .get_mut(&segment)
            .expect("syncs go to segments that are there");
        for (at, (when, sector)) in std::mem::take(&mut file.volatile) {
            if when <= before {
                file.durable[at * SECTOR..][..SECTOR].copy_from_slice(&sector);
            } else {
                file.volatile.insert(at, (when, sector));
            }
        }
    }

    /// Power is cut. 0: nothing unsynced survives; 1: all of it (the process was killed); else a random part.
    fn cut(&mut self, mode: u64, rng: &mut Rng) {
        for file in self.files.values_mut() {
            for (at, (_, sector)) in std::mem::take(&mut file.volatile) {
                if mode == 1 || (mode > 1 && rng.one_in(2)) {
                    file.durable[at * SECTOR..][..SECTOR].copy_from_slice(&sector);
                }
            }
        }
    }
}

impl SegmentSource for Disk {
    fn list(&mut self) -> std::io::Result<Vec<(SegmentId, u64)>> {
        Ok(self.files.iter().map(|(&id, f)| (id, f.durable.len() as u64)).collect())
    }

    fn read_at(&mut self, segment: SegmentId, offset: u64, buf: &mut AlignedBuf) -> std::io::Result<()> {
        let file = &self.files[&segment];
        let (from, len) = (offset as usize, buf.len());
        buf.copy_from_slice(&file.durable[from..from + len]);
        for (&at, (_, sector)) in file.volatile.range(from / SECTOR..(from + len).div_ceil(SECTOR)) {
            buf[at * SECTOR - from..][..SECTOR].copy_from_slice(sector);
        }
        Ok(())
    }
}

/// What a group holds, as the model sees it and as the log tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    pub id: u64,
    pub vote: Option<Vote>,
    pub committed: LogPos,
    pub purged: LogPos,
    pub last: LogPos,
    pub manifest: Bytes,
    pub entries: BTreeMap<u64, (Term, Bytes)>,
}

pub type State = BTreeMap<u16, GroupState>;

pub fn apply(state: &mut State, record: &Record) {
    let slot = record.group().0;
    match record {
        Record::GroupCreate { id, .. } => {
            state.insert(
                slot,
                GroupState {
                    id: id.0,
                    ..GroupState::default()
                },
            );
            return;
        }
        Record::GroupDrop { .. } => {
            state.remove(&slot);
            return;
        }
        _ => {}
    }
    let g = state.get_mut(&slot).expect("the harness uses groups that are there");
    match record {
        Record::Entry { pos, payload, .. } => {
            g.entries.retain(|&i, _| i < pos.index.0);
            g.entries.insert(pos.index.0, (pos.term, payload.clone()));
        }
        Record::Vote { vote, .. } => g.vote = Some(*vote),
        Record::Commit { pos, .. } => g.committed = *pos,
        Record::TruncateAfter { index, .. } => g.entries.retain(|&i, _| i <= index.0),
        Record::Purge { pos, .. } => purge(g, *pos),
        Record::Manifest { bytes, .. } => g.manifest = bytes.clone(),
        Record::SnapshotInstalled { pos, manifest, .. } => {
            let here = g.entries.get(&pos.index.0).map(|e| e.0);
            if here != Some(pos.term) && g.purged != *pos {
                g.entries.clear();
            }
            purge(g, *pos);
            g.manifest = manifest.clone();
        }
        _ => {}
    }
    let newest = g.entries.iter().next_back();
    g.last = newest.map_or(g.purged, |(&i, e)| LogPos {
        term: e.0,
        index: LogIndex(i),
    });
}

fn purge(g: &mut GroupState, pos: LogPos) {
    if pos.index > g.purged.index {
        g.entries.retain(|&i, _| i > pos.index.0);
        g.purged = pos;
        if g.committed.index < pos.index {
            g.committed = pos;
        }
    }
}

/// Reads the whole state back out of a log.
pub fn state_of(log: &CoreLog, disk: &mut Disk) -> Result<State, String> {
    let mut state = State::new();
    for (slot, g) in log.groups() {
        let mut out = Vec::new();
        log.entries(slot, LogIndex(0), LogIndex(u64::MAX), u64::MAX, &mut out);
        let mut entries = BTreeMap::new();
        for read in out {
            let (pos, payload) = match read {
                EntryRead::Cached { pos, payload } => (pos, payload),
                EntryRead::Cold(cold) => {
                    let mut frames = Vec::new();
                    for range in &cold.frames {
                        let mut buf = AlignedBuf::with_capacity(range.len as usize);
                        buf.set_len(range.len as usize);
                        disk.read_at(range.segment, range.offset, &mut buf)
                            .map_err(|e| e.to_string())?;
                        frames.push(buf);
                    }
                    let frames: Vec<&[u8]> = frames.iter().map(|b| &b[..]).collect();
                    (cold.pos, decode_entry(&cold, &frames).map_err(|e| e.to_string())?)
                }
            };
            entries.insert(pos.index.0, (pos.term, payload));
        }
        let found = GroupState {
            id: g.id().0,
            vote: g.vote(),
            committed: g.committed(),
            purged: g.purged(),
            last: g.last(),
            manifest: g.manifest().clone(),
            entries,
        };
        state.insert(slot.0, found);
    }
    Ok(state)
}

/// What a planted bug does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// Any completed frame counts as durable, holes or not.
    AckAnyCompletion,
    /// Each write also rewrites the last block of the frame before it.
    RewriteTail,
}

enum Op {
    Write {
        ticket: Option<Ticket>,
        segment: SegmentId,
        offset: u64,
        buf: AlignedBuf,
        sync: bool,
    },
    Sync {
        ticket: Ticket,
        segment: SegmentId,
        before: u64,
    },
    Create {
        id: SegmentId,
        bytes: u64,
    },
    Recycle {
        from: SegmentId,
        to: SegmentId,
    },
}

pub fn small_options() -> LogOptions {
    let mut opts = LogOptions {
        block_bytes: 512,
        ..LogOptions::new(CoreId(3))
    }
    .with_segment_bytes(64 << 10);
    opts.cache_bytes_max = 8 << 10;
    opts.log_bytes_target = 4 * (64 << 10);
    opts
}

/// A log on a simulated disk, with its model.
pub struct Sim {
    pub rng: Rng,
    pub opts: LogOptions,
    pub disk: Disk,
    pub log: CoreLog,
    pub now: Tick,
    pub files_max: usize,
    ops: Vec<Op>,
    /// State when the log was last opened, and what was appended since: frame and record.
    base: State,
    pub appended: Vec<(FrameNo, Record)>,
    pub state: State,
    acked: FrameNo,
    bug: Bug,
    tail: Option<(SegmentId, u64, Vec<u8>)>,
    pub cuts: u64,
    term: u64,
    /// Effects started and completed: the events between which power can fail.
    pub events: u64,
}

impl Sim {
    pub fn new(seed: u64, opts: LogOptions, bug: Bug) -> Self {
        let mut disk = Disk::default();
        let log = CoreLog::recover(opts.clone(), &mut disk, &mut |_| {}).expect("an empty disk is a new log");
        Self {
            rng: Rng(seed),
            opts,
            disk,
            log,
            now: Tick(1),
            files_max: usize::MAX,
            ops: Vec::new(),
            base: State::new(),
            appended: Vec::new(),
            state: State::new(),
            acked: FrameNo(0),
            bug,
            tail: None,
            cuts: 0,
            term: 1,
            events: 0,
        }
    }

    pub fn append(&mut self, record: Record) -> Result<FrameNo, AppendError> {
        let frame = self.log.append(record.clone())?;
        apply(&mut self.state, &record);
        self.appended.push((frame, record));
        Ok(frame)
    }

    pub fn step(&mut self) {
        let mut out = Vec::new();
        self.log.step(self.now, &mut out);
        for effect in out {
            self.events += 1;
            match effect {
                LogEffect::Write {
                    ticket,
                    segment,
                    offset,
                    buf,
                    sync,
                } => self.start_write(ticket, segment, offset, buf, sync),
                LogEffect::Sync { ticket, segment } => {
                    self.ops.push(Op::Sync {
                        ticket,
                        segment,
                        before: self.disk.written,
                    });
                }
                LogEffect::CreateSegment { id, bytes } => self.ops.push(Op::Create { id, bytes }),
                LogEffect::RecycleSegment { from, to } => self.ops.push(Op::Recycle { from, to }),
                LogEffect::DeleteSegment { id } => {
                    self.disk.files.remove(&id);
                }
            }
        }
    }

    fn start_write(&mut self, ticket: Ticket, segment: SegmentId, offset: u64, buf: AlignedBuf, sync: bool) {
        if self.bug == Bug::RewriteTail
            && let Some((s, at, block)) = self.tail.take()
            && s == segment
            && at + SECTOR as u64 == offset
        {
            let mut again = AlignedBuf::with_capacity(SECTOR);
            again.extend_from_slice(&block);
            self.ops.push(Op::Write {
                ticket: None,
                segment,
                offset: at,
                buf: again,
                sync,
            });
        }
        let last = buf.len() - SECTOR;
        self.tail = Some((segment, offset + last as u64, buf[last..].to_vec()));
        self.ops.push(Op::Write {
            ticket: Some(ticket),
            segment,
            offset,
            buf,
            sync,
        });
    }

    /// Completes one operation, whichever.
    pub fn complete_one(&mut self) {
        if self.ops.is_empty() {
            return;
        }
        self.events += 1;
        let at = self.rng.below(self.ops.len() as u64) as usize;
        match self.ops.swap_remove(at) {
            Op::Write {
                ticket,
                segment,
                offset,
                buf,
                sync,
            } => {
                self.disk.write(segment, offset, &buf, sync);
                let Some(ticket) = ticket else { return };
                if self.bug == Bug::AckAnyCompletion {
                    self.acked = self.acked.max(FrameNo(ticket.0 >> 1));
                }
                self.log
                    .on_done(self.now, ticket, Some(buf), Ok(()))
                    .expect("no failure was injected");
            }
            Op::Sync {
                ticket,
                segment,
                before,
            } => {
                self.disk.sync(segment, before);
                self.log
                    .on_done(self.now, ticket, None, Ok(()))
                    .expect("no failure was injected");
            }
            Op::Create { id, bytes } => {
                if self.disk.files.len() >= self.files_max {
                    self.log.on_segment_failed(self.now, id, 28);
                } else {
                    self.disk.files.insert(
                        id,
                        File {
                            durable: vec![0; bytes as usize],
                            ..File::default()
                        },
                    );
                    self.log.on_segment_ready(id, self.rng.next());
                }
            }
            Op::Recycle { from, to } => {
                let file = self.disk.files.remove(&from).expect("a recycled file is there");
                self.disk.files.insert(to, file);
                self.log.on_segment_ready(to, self.rng.next());
            }
        }
        self.acked = self.acked.max(self.log.durable());
    }

    /// Steps and completes until nothing is left to do; time passes.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            self.step();
            if !self.ops.is_empty() {
                self.complete_one();
            } else {
                match self.log.next_wake() {
                    Some(at) if at > self.now => self.now = at,
                    Some(_) => self.now.0 += 1,
                    None => return,
                }
                if self.log.stats().segment_errno.is_some() {
                    return;
                }
            }
        }
        panic!("the log never comes to rest");
    }

    /// A random record for a random group.
    pub fn random_record(&mut self) -> Record {
        let slots: Vec<u16> = self.state.keys().copied().collect();
        let free = (0..4).find(|s| !self.state.contains_key(s));
        if let Some(slot) = free
            && (slots.is_empty() || self.rng.one_in(20))
        {
            return Record::GroupCreate {
                group: GroupSlot(slot),
                id: GroupId(self.rng.next()),
            };
        }
        let slot = slots[self.rng.below(slots.len() as u64) as usize];
        let (purged, last) = (self.state[&slot].purged, self.state[&slot].last);
        let group = GroupSlot(slot);
        let term_at = |sim: &Self, i: u64| sim.state[&slot].entries.get(&i).map_or(purged.term, |e| e.0);
        match self.rng.below(40) {
            0 | 1 => {
                self.term += 1;
                let voted_for = self.rng.one_in(2).then(|| ReplicaId(self.rng.next()));
                let vote = Vote {
                    term: Term(self.term),
                    voted_for,
                    committed: self.rng.one_in(2),
                };
                Record::Vote { group, vote }
            }
            2 | 3 if last.index > purged.index => Record::Commit { group, pos: last },
            4 => Record::TruncateAfter {
                group,
                index: LogIndex(purged.index.0 + self.rng.below(last.index.0 - purged.index.0 + 1)),
            },
            5..=8 if last.index > purged.index => {
                let index = purged.index.0 + 1 + self.rng.below(last.index.0 - purged.index.0);
                Record::Purge {
                    group,
                    pos: LogPos {
                        term: term_at(self, index),
                        index: LogIndex(index),
                    },
                }
            }
            9 => Record::Manifest {
                group,
                bytes: self.payload(3000),
            },
            10 => {
                let index = last.index.0.saturating_sub(3).max(purged.index.0) + self.rng.below(6);
                let known = self.state[&slot].entries.get(&index).map(|e| e.0);
                let pos = LogPos {
                    term: known.unwrap_or(Term(self.term)),
                    index: LogIndex(index),
                };
                if index <= purged.index.0 {
                    return Record::Commit { group, pos: purged };
                }
                Record::SnapshotInstalled {
                    group,
                    pos,
                    manifest: self.payload(500),
                }
            }
            11 if slots.len() > 2 && self.rng.one_in(4) => Record::GroupDrop { group },
            12 if last.index > purged.index => {
                // Another leader's entries replace the tail.
                self.term += 1;
                let index = purged.index.0 + 1 + self.rng.below(last.index.0 - purged.index.0);
                let payload = self.payload(300);
                Record::Entry {
                    group,
                    pos: LogPos {
                        term: Term(self.term),
                        index: LogIndex(index),
                    },
                    payload,
                }
            }
            n => {
                let max = if n == 13 {
                    24_000
                } else if n < 16 {
                    4000
                } else {
                    300
                };
                let payload = self.payload(max);
                let pos = LogPos {
                    term: Term(self.term.max(last.term.0)),
                    index: LogIndex(last.index.0 + 1),
                };
                Record::Entry { group, pos, payload }
            }
        }
    }

    fn payload(&mut self, max: u64) -> Bytes {
        let len = self.rng.below(max + 1) as usize;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.rng.next().to_le_bytes());
        }
        bytes.truncate(len);
        Bytes::from(bytes)
    }

    /// One random thing happens.
    pub fn act(&mut self) {
        self.now.0 += self.rng.below(40_000);
        match self.rng.below(10) {
            0..=3 => {
                let record = self.random_record();
                // Refusals are part of life here; what was refused must not show up.
                let _refused = self.append(record);
            }
            4..=5 => self.step(),
            6..=8 => self.complete_one(),
            _ => self.collect_garbage(),
        }
        if self.rng.one_in(200) {
            let policies = [
                SyncPolicy::Each,
                SyncPolicy::Every(std::time::Duration::from_micros(200)),
                SyncPolicy::Never,
            ];
            self.log.set_sync(policies[self.rng.below(3) as usize]);
        }
        for slot in self.state.keys().copied().collect::<Vec<_>>() {
            if self.rng.one_in(10) {
                let upto = self.state[&slot].last.index;
                self.log.release(GroupSlot(slot), upto);
            }
        }
    }

    fn collect_garbage(&mut self) {
        match self.log.gc_advice() {
            GcAdvice::Nothing => {}
            GcAdvice::Rewrite(entries) => {
                for (group, index) in entries {
                    let (term, payload) = self.state[&group.0].entries[&index.0].clone();
                    let _refused = self.append(Record::Rewrite {
                        group,
                        pos: LogPos { term, index },
                        payload,
                    });
                }
            }
            GcAdvice::Purge { group, upto } => {
                let term = self.state[&group.0].entries[&upto.0].0;
                let _refused = self.append(Record::Purge {
                    group,
                    pos: LogPos { term, index: upto },
                });
            }
        }
    }

    fn pull_the_plug(&mut self) {
        self.cuts += 1;
        let mode = self.rng.below(4);
        for op in std::mem::take(&mut self.ops) {
            match op {
                Op::Write {
                    segment, offset, buf, ..
                } => {
                    let how = self.rng.below(4);
                    for (k, sector) in buf.chunks(SECTOR).enumerate() {
                        let mut sector = sector.to_vec();
                        match how {
                            0 => continue,
                            1 => {}
                            _ if self.rng.one_in(2) => continue,
                            // The sector under the head when the power went is neither old nor new.
                            _ if self.rng.one_in(8) => sector.iter_mut().for_each(|b| *b ^= self.rng.next() as u8),
                            _ => {}
                        }
                        self.disk.write(segment, offset + (k * SECTOR) as u64, &sector, false);
                    }
                }
                Op::Create { id, bytes } if self.rng.one_in(2) && self.disk.files.len() < self.files_max => {
                    self.disk.files.insert(
                        id,
                        File {
                            durable: vec![0; bytes as usize],
                            ..File::default()
                        },
                    );
                }
                Op::Recycle { from, to } if self.rng.one_in(2) => {
                    let file = self.disk.files.remove(&from).expect("a recycled file is there");
                    self.disk.files.insert(to, file);
                }
                Op::Sync { .. } | Op::Create { .. } | Op::Recycle { .. } => {}
            }
        }
        self.disk.cut(mode, &mut self.rng);
        // A killed process leaves the device's cache alone: that is tested by cuts that follow at once.
    }

    /// Cuts the power, recovers twice, checks, goes on with what was recovered.
    pub fn crash(&mut self) -> Result<(), String> {
        self.pull_the_plug();
        let first = recover_state(&self.opts, &mut self.disk)?;
        let (log, state) = recover_state(&self.opts, &mut self.disk)?;
        if first.1 != state {
            return Err("recovering twice gave two states".into());
        }
        let durable = self.appended.iter().filter(|(frame, _)| *frame <= self.acked).count();
        let mut prefix = self.base.clone();
        let mut matched = false;
        for at in 0..=self.appended.len() {
            if at > 0 {
                apply(&mut prefix, &self.appended[at - 1].1);
            }
            if at >= durable && prefix == state {
                matched = true;
                break;
            }
        }
        if !matched {
            return Err(format!(
                "no prefix of at least {durable} of {} records gives {state:#?}",
                self.appended.len()
            ));
        }
        self.log = log;
        self.base = state.clone();
        self.state = state;
        self.appended.clear();
        self.acked = FrameNo(0);
        self.tail = None;
        Ok(())
    }

    /// The state read back while running equals the model.
    pub fn check_running(&mut self) -> Result<(), String> {
        let state = state_of(&self.log, &mut self.disk)?;
        if state == self.state {
            Ok(())
        } else {
            Err("the running log differs from the model".into())
        }
    }
}

pub fn recover_state(opts: &LogOptions, disk: &mut Disk) -> Result<(CoreLog, State), String> {
    let log = CoreLog::recover(opts.clone(), disk, &mut |_| {}).map_err(|e| e.to_string())?;
    let state = state_of(&log, disk)?;
    Ok((log, state))
}

pub fn recover_error(opts: &LogOptions, disk: &mut Disk) -> Option<RecoverError> {
    CoreLog::recover(opts.clone(), disk, &mut |_| {}).err()
}

/// Ids of the segments a log may have files for.
pub fn file_ids(disk: &Disk) -> BTreeSet<SegmentId> {
    disk.files.keys().copied().collect()
}
