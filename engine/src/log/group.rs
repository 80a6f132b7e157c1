//! [`GroupLog`]: what the log knows of one group, in memory.
//!
//! Where each live entry lies (24 bytes an entry), the payloads of recent ones, and the latest vote, commit, purge and
//! manifest. Always equal to what recovery would build from the records appended so far.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use slotcore_rt::ids::{GroupId, LogIndex, SegmentId, Term};

use super::frame::BLOCK_BYTES_MIN;
use super::record::{LogPos, Vote};

/// A frame on disk: what to read to get at an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRange {
    /// The file.
    pub segment: SegmentId,
    /// Where the frame starts, in bytes.
    pub offset: u64,
    /// Bytes of the frame, a multiple of the block size.
    pub len: u32,
}

impl FrameRange {
    /// Frames are written in this order.
    pub(crate) fn place(&self) -> (SegmentId, u64) {
        (self.segment, self.offset)
    }
}

/// Where an entry's (first) frame lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryLoc {
    /// Segment ids stay far below 2^32: that many segments are 256 EiB.
    segment: u32,
    offset: u32,
    payload_len: u32,
    /// Frame length in [`BLOCK_BYTES_MIN`]; 0 while the frame is open.
    frame_units: u16,
    /// The entry fills several frames, listed in `GroupLog::chains`.
    chained: bool,
    term: Term,
}

const _: () = assert!(size_of::<EntryLoc>() == 24);

impl EntryLoc {
    pub(crate) fn new(term: Term, payload_len: usize, frame: FrameRange, chained: bool) -> Self {
        Self {
            segment: u32::try_from(frame.segment.0).expect("2^32 segments are never written"),
            offset: u32::try_from(frame.offset).expect("segments are below 2 GiB"),
            payload_len: u32::try_from(payload_len).expect("payloads are bounded below 1 GiB"),
            frame_units: (frame.len as usize / BLOCK_BYTES_MIN) as u16,
            chained,
            term,
        }
    }

    pub(crate) fn segment(&self) -> SegmentId {
        SegmentId(u64::from(self.segment))
    }

    pub(crate) fn payload_len(&self) -> u64 {
        u64::from(self.payload_len)
    }

    pub(crate) fn term(&self) -> Term {
        self.term
    }

    pub(crate) fn frame(&self) -> FrameRange {
        let len = u32::from(self.frame_units) * BLOCK_BYTES_MIN as u32;
        FrameRange {
            segment: self.segment(),
            offset: u64::from(self.offset),
            len,
        }
    }

    /// The frame at `frame` was closed: its length is now known.
    pub(crate) fn close(&mut self, frame: FrameRange) {
        if self.segment() == frame.segment && u64::from(self.offset) == frame.offset {
            self.frame_units = (frame.len as usize / BLOCK_BYTES_MIN) as u16;
        }
    }
}

/// The groups of a log by slot.
pub(crate) type GroupSlots = Vec<Option<Box<GroupLog>>>;

/// One group's part of the log.
pub struct GroupLog {
    pub(crate) id: GroupId,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: LogPos,
    pub(crate) purged: LogPos,
    pub(crate) manifest: Bytes,
    /// Entries `purged + 1 ..= last`.
    ring: VecDeque<EntryLoc>,
    /// Payloads of the newest entries, up to the last one.
    cache: VecDeque<Bytes>,
    chains: BTreeMap<u64, Vec<FrameRange>>,
    /// Payloads of rewritten entries whose new place is not written yet.
    pinned: BTreeMap<u64, Bytes>,
}

impl GroupLog {
    pub(crate) fn new(id: GroupId) -> Self {
        Self {
            id,
            vote: None,
            committed: LogPos::default(),
            purged: LogPos::default(),
            manifest: Bytes::new(),
            ring: VecDeque::new(),
            cache: VecDeque::new(),
            chains: BTreeMap::new(),
            pinned: BTreeMap::new(),
        }
    }

    /// The group's cluster-wide name.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// The latest vote.
    pub fn vote(&self) -> Option<Vote> {
        self.vote
    }

    /// The last entry known to be committed; index 0 = none.
    pub fn committed(&self) -> LogPos {
        self.committed
    }

    /// The last entry no longer kept; index 0 = none.
    pub fn purged(&self) -> LogPos {
        self.purged
    }

    /// The last entry; the purged one when none is kept.
    pub fn last(&self) -> LogPos {
        match self.ring.back() {
            Some(loc) => LogPos {
                term: loc.term,
                index: LogIndex(self.purged.index.0 + self.ring.len() as u64),
            },
            None => self.purged,
        }
    }

    /// The latest manifest; empty = none yet.
    pub fn manifest(&self) -> &Bytes {
        &self.manifest
    }

    /// The term of a kept entry, or of the purged one.
    pub fn term_of(&self, index: LogIndex) -> Option<Term> {
        if index == self.purged.index {
            return (index.0 > 0).then_some(self.purged.term);
        }
        self.loc(index).map(|l| l.term)
    }

    /// Entries whose payload is in memory start here.
    pub(crate) fn cache_first(&self) -> LogIndex {
        LogIndex(self.last().index.0 + 1 - self.cache.len() as u64)
    }

    fn at(&self, index: LogIndex) -> Option<usize> {
        let at = index.0.checked_sub(self.purged.index.0 + 1)?;
        usize::try_from(at).ok().filter(|&at| at < self.ring.len())
    }

    pub(crate) fn loc(&self, index: LogIndex) -> Option<&EntryLoc> {
        self.at(index).map(|at| &self.ring[at])
    }

    pub(crate) fn loc_mut(&mut self, index: LogIndex) -> Option<&mut EntryLoc> {
        self.at(index).map(|at| &mut self.ring[at])
    }

    pub(crate) fn cached(&self, index: LogIndex) -> Option<&Bytes> {
        match index.0.checked_sub(self.cache_first().0) {
            Some(at) => self.cache.get(usize::try_from(at).ok()?),
            None => self.pinned.get(&index.0),
        }
    }

    /// The frames to read for an entry.
    pub(crate) fn frames_of(&self, index: LogIndex) -> Option<Vec<FrameRange>> {
        let loc = self.loc(index)?;
        Some(if loc.chained {
            self.chains[&index.0].clone()
        } else {
            vec![loc.frame()]
        })
    }

    pub(crate) fn locs(&self) -> impl Iterator<Item = &EntryLoc> {
        self.ring.iter()
    }

    /// Kept entries whose (first) frame lies in `segment`, oldest first.
    pub(crate) fn indices_in(&self, segment: SegmentId) -> impl Iterator<Item = (LogIndex, &EntryLoc)> {
        let first = self.purged.index.0 + 1;
        let of = self
            .ring
            .iter()
            .enumerate()
            .filter(move |(_, l)| l.segment() == segment);
        of.map(move |(at, l)| (LogIndex(first + at as u64), l))
    }

    /// Appends the entry after the last one. `chain`: its frames when there are several. Returns bytes now cached.
    pub(crate) fn push(&mut self, loc: EntryLoc, chain: Vec<FrameRange>, payload: Option<Bytes>) {
        self.ring.push_back(loc);
        if !chain.is_empty() {
            self.chains.insert(self.last().index.0, chain);
        }
        match payload {
            Some(p) => self.cache.push_back(p),
            None => self.cache.clear(),
        }
    }

    /// Keeps the payload of a rewritten entry until [`GroupLog::unpin`].
    pub(crate) fn pin(&mut self, index: LogIndex, payload: Bytes) {
        self.pinned.insert(index.0, payload);
    }

    /// Lets go of the rewritten payloads whose new frames `written` accepts. Returns how many stay.
    pub(crate) fn unpin(&mut self, written: impl Fn(FrameRange) -> bool) -> usize {
        for index in self.pinned.keys().copied().collect::<Vec<_>>() {
            let frames = self.frames_of(LogIndex(index));
            if frames.is_none_or(|f| f.last().is_some_and(|&last| written(last))) {
                self.pinned.remove(&index);
            }
        }
        self.pinned.len()
    }

    /// A live entry has moved.
    pub(crate) fn relocate(&mut self, index: LogIndex, loc: EntryLoc, chain: Vec<FrameRange>) -> EntryLoc {
        let slot = self.loc_mut(index).expect("the caller checked that the entry is kept");
        let old = std::mem::replace(slot, loc);
        self.chains.remove(&index.0);
        if !chain.is_empty() {
            self.chains.insert(index.0, chain);
        }
        old
    }

    /// Drops entries after `index`; hands each place, and cached bytes freed, to `gone`.
    pub(crate) fn truncate_after(&mut self, index: LogIndex, gone: &mut impl FnMut(EntryLoc, u64)) {
        while self.last().index > index
            && let Some(loc) = self.ring.pop_back()
        {
            let bytes = self.cache.pop_back().map_or(0, |p| p.len() as u64);
            gone(loc, bytes);
        }
        self.chains.split_off(&(index.0 + 1));
        self.pinned.split_off(&(index.0 + 1));
    }

    /// Drops entries up to `pos`, which may lie beyond the last one.
    pub(crate) fn purge(&mut self, pos: LogPos, gone: &mut impl FnMut(EntryLoc, u64)) {
        if pos.index <= self.purged.index {
            return;
        }
        while self.purged.index < pos.index
            && let Some(loc) = self.ring.pop_front()
        {
            let bytes = if self.cache.len() > self.ring.len() {
                self.cache.pop_front().map_or(0, |p| p.len() as u64)
            } else {
                0
            };
            self.purged.index.0 += 1;
            gone(loc, bytes);
        }
        self.purged = pos;
        self.chains = self.chains.split_off(&(pos.index.0 + 1));
        self.pinned = self.pinned.split_off(&(pos.index.0 + 1));
        self.committed = if self.committed.index < pos.index {
            pos
        } else {
            self.committed
        };
    }

    /// A snapshot that ends at `pos` was installed: entries up to it are gone, those after it only stay with `keep_tail`.
    pub(crate) fn install(&mut self, pos: LogPos, keep_tail: bool, gone: &mut impl FnMut(EntryLoc, u64)) {
        if !keep_tail {
            self.truncate_after(self.purged.index, gone);
        }
        self.purge(pos, gone);
    }

    /// Forgets the oldest cached payload; returns its size.
    pub(crate) fn evict_oldest(&mut self) -> Option<u64> {
        self.cache.pop_front().map(|p| p.len() as u64)
    }

    pub(crate) fn cached_bytes(&self) -> u64 {
        self.cache.iter().map(|p| p.len() as u64).sum()
    }
}
