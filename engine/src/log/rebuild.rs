//! [`Rebuild`]: recovery's picture of the groups, record by record.
//!
//! Before the checkpoint only entries matter, and for them alone older segments are read; the checkpoint then states
//! everything else. Older segments may be gone already, so entries may be missing for a while: a rewrite, purge or
//! truncation that comes later must make up for it, which [`Rebuild::finish`] verifies.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use slotcore_rt::ids::{FrameNo, GroupId, GroupSlot, LogIndex, SegmentId};

use super::checkpoint::CkptGroup;
use super::group::{EntryLoc, FrameRange, GroupLog, GroupSlots};
use super::record::{
    FRAG_CONT, FRAG_MORE, LogPos, Record, RecordHeader, RecordKind, Records, SNAPSHOT_KEEPS_TAIL, to_record,
};

/// Indices beyond this are no indices but damage.
const INDEX_LIMIT: u64 = 1 << 62;

struct FoundEntry {
    loc: EntryLoc,
    chain: Vec<FrameRange>,
    payload: Option<Bytes>,
}

struct FoundGroup {
    /// Everything but the entries.
    state: GroupLog,
    last: LogPos,
    entries: BTreeMap<u64, FoundEntry>,
}

impl FoundGroup {
    fn new(id: GroupId) -> Self {
        Self {
            state: GroupLog::new(id),
            last: LogPos::default(),
            entries: BTreeMap::new(),
        }
    }

    fn purge(&mut self, pos: LogPos) {
        if pos.index <= self.state.purged.index {
            return;
        }
        self.entries = self.entries.split_off(&(pos.index.0 + 1));
        self.state.purge(pos, &mut |_, _| {});
        if self.last.index <= pos.index {
            self.last = pos;
        }
    }
}

/// A record whose fragments are being collected.
struct Pending {
    head: RecordHeader,
    frames: Vec<FrameRange>,
    data: BytesMut,
}

/// One frame, as the scan found it.
#[derive(Clone, Copy)]
pub(crate) struct FoundFrame<'a> {
    pub(crate) at: FrameRange,
    pub(crate) frame_no: FrameNo,
    pub(crate) nrec: u16,
    pub(crate) body: &'a [u8],
}

/// What a frame said about the log itself.
#[derive(Default)]
pub(crate) struct Structure {
    pub(crate) next_segment: Option<u64>,
}

/// The records of a sound frame make no sense.
pub(crate) struct Nonsense;

/// See the file's head.
pub(crate) struct Rebuild {
    groups: BTreeMap<u16, FoundGroup>,
    pending: Option<Pending>,
    /// Groups are complete from here on.
    past_checkpoint: bool,
    cached: VecDeque<(GroupSlot, u64, u64)>,
    cached_bytes: u64,
    cache_bytes_max: u64,
    pub(crate) records: u64,
}

impl Rebuild {
    pub(crate) fn new(cache_bytes_max: u64) -> Self {
        Self {
            groups: BTreeMap::new(),
            pending: None,
            past_checkpoint: false,
            cached: VecDeque::new(),
            cached_bytes: 0,
            cache_bytes_max,
            records: 0,
        }
    }

    /// Takes in one frame; calls `visit` for each record that is complete with it.
    pub(crate) fn frame(
        &mut self,
        frame: FoundFrame<'_>,
        visit: &mut dyn FnMut(FoundFrame<'_>, Record),
    ) -> Result<Structure, Nonsense> {
        // One copy per frame; the payloads of its entries share it.
        let body = Bytes::copy_from_slice(frame.body);
        let mut structure = Structure::default();
        let mut count = 0;
        for record in Records::new(frame.body) {
            let (head, start, payload) = record.map_err(|_| Nonsense)?;
            count += 1;
            if head.index >= INDEX_LIMIT && head.kind != RecordKind::GroupCreate {
                return Err(Nonsense);
            }
            if head.kind == RecordKind::SegmentEnd {
                structure.next_segment = Some(head.index);
            }
            if head.kind.is_structure() {
                continue;
            }
            let payload = body.slice(start..start + payload.len());
            let Some((head, frames, payload)) = self.assemble(head, frame.at, payload) else {
                continue;
            };
            let record = to_record(&head, &payload).ok_or(Nonsense)?;
            self.apply(&head, &record, frames)?;
            self.records += 1;
            visit(frame, record);
        }
        if count == frame.nrec {
            Ok(structure)
        } else {
            Err(Nonsense)
        }
    }

    /// Joins fragments. `None`: more to come, or the rest of a record whose beginning is gone.
    fn assemble(
        &mut self,
        head: RecordHeader,
        at: FrameRange,
        payload: Bytes,
    ) -> Option<(RecordHeader, Vec<FrameRange>, Bytes)> {
        let whole = head.flags & (FRAG_MORE | FRAG_CONT) == 0;
        if whole || head.flags & FRAG_CONT == 0 {
            // A chain that was cut off by a crash ends here.
            self.pending = None;
        }
        if whole {
            return Some((head, vec![at], payload));
        }
        if head.flags & FRAG_CONT == 0 {
            self.pending = Some(Pending {
                head,
                frames: Vec::new(),
                data: BytesMut::new(),
            });
        }
        let same = |p: &Pending| {
            (p.head.kind, p.head.group, p.head.index, p.head.term) == (head.kind, head.group, head.index, head.term)
        };
        if !self.pending.as_ref().is_some_and(same) {
            self.pending = None;
            return None;
        }
        let pending = self.pending.as_mut()?;
        pending.frames.push(at);
        pending.data.extend_from_slice(&payload);
        if head.flags & FRAG_MORE != 0 {
            return None;
        }
        let done = self.pending.take()?;
        Some((done.head, done.frames, done.data.freeze()))
    }

    fn apply(&mut self, head: &RecordHeader, record: &Record, frames: Vec<FrameRange>) -> Result<(), Nonsense> {
        let slot = head.group.0;
        match record {
            Record::GroupCreate { id, .. } => {
                self.groups.insert(slot, FoundGroup::new(*id));
                return Ok(());
            }
            Record::GroupDrop { .. } => {
                self.groups.remove(&slot);
                return Ok(());
            }
            _ => {}
        }
        if self.past_checkpoint && !self.groups.contains_key(&slot) {
            return Err(Nonsense);
        }
        let group = self.groups.entry(slot).or_insert_with(|| FoundGroup::new(GroupId(0)));
        match record {
            // An index may lie beyond the last one: the entry between lay partly in a segment that is gone, and is no
            // longer needed. `finish` sees to it that none that is needed is missing.
            Record::Entry { pos, payload, .. } | Record::Rewrite { pos, payload, .. } => {
                if self.past_checkpoint && pos.index <= group.state.purged.index {
                    return Err(Nonsense);
                }
                if head.kind == RecordKind::Entry {
                    group.entries.split_off(&pos.index.0);
                    group.last = *pos;
                }
                group.entries.insert(pos.index.0, found(*pos, frames, payload));
                self.note_cached(head.group, pos.index, payload.len() as u64);
            }
            Record::Vote { vote, .. } => group.state.vote = Some(*vote),
            Record::Commit { pos, .. } => group.state.committed = *pos,
            Record::TruncateAfter { index, .. } => {
                group.entries.split_off(&(index.0 + 1));
                // Written with the position that is the last one from then on.
                group.last = head.pos();
            }
            Record::Purge { pos, .. } => group.purge(*pos),
            Record::Manifest { bytes, .. } => group.state.manifest = bytes.clone(),
            Record::SnapshotInstalled { pos, manifest, .. } => {
                if head.flags & SNAPSHOT_KEEPS_TAIL == 0 {
                    group.entries.clear();
                    group.last = group.state.purged;
                }
                group.purge(*pos);
                group.state.manifest = manifest.clone();
            }
            Record::GroupCreate { .. } | Record::GroupDrop { .. } => {}
        }
        Ok(())
    }

    /// Keeps the memory of payloads bounded: the oldest go first.
    fn note_cached(&mut self, slot: GroupSlot, index: LogIndex, bytes: u64) {
        self.cached.push_back((slot, index.0, bytes));
        self.cached_bytes += bytes;
        while self.cached_bytes > self.cache_bytes_max
            && let Some((slot, index, bytes)) = self.cached.pop_front()
        {
            self.cached_bytes -= bytes;
            let entry = self.groups.get_mut(&slot.0).and_then(|g| g.entries.get_mut(&index));
            if let Some(entry) = entry {
                entry.payload = None;
            }
        }
    }

    /// The checkpoint has been read: what it says of the groups replaces everything but the entries it names.
    pub(crate) fn checkpoint(&mut self, groups: &[CkptGroup]) -> Result<(), Nonsense> {
        let mut before = std::mem::take(&mut self.groups);
        for ckpt in groups {
            if ckpt.purged.index > ckpt.last.index || ckpt.last.index.0 >= INDEX_LIMIT {
                return Err(Nonsense);
            }
            let mut group = FoundGroup::new(ckpt.id);
            group.state.vote = ckpt.vote;
            group.state.committed = ckpt.committed;
            group.state.purged = ckpt.purged;
            group.state.manifest = ckpt.manifest.clone();
            group.last = ckpt.last;
            if let Some(found) = before.remove(&ckpt.slot.0) {
                group.entries = found.entries;
                group
                    .entries
                    .retain(|&i, _| i > ckpt.purged.index.0 && i <= ckpt.last.index.0);
            }
            self.groups.insert(ckpt.slot.0, group);
        }
        self.past_checkpoint = true;
        Ok(())
    }

    /// The groups as they now are, and the payload bytes they hold. An error names a group with entries missing, or left
    /// in segments before `oldest`, which were given back.
    pub(crate) fn finish(self, oldest: SegmentId) -> Result<(GroupSlots, u64), GroupSlot> {
        let mut groups = Vec::new();
        let mut cached_bytes = 0;
        for (slot, found) in self.groups {
            let purged = found.state.purged.index.0;
            // The map's keys lie within (purged, last], so the right number of them means all of them.
            let complete = found.entries.keys().all(|&i| i > purged && i <= found.last.index.0)
                && found.entries.len() as u64 == found.last.index.0.saturating_sub(purged)
                && found.entries.values().all(|e| e.loc.segment() >= oldest);
            if !complete {
                return Err(GroupSlot(slot));
            }
            let mut group = found.state;
            for (_, entry) in found.entries {
                group.push(entry.loc, entry.chain, entry.payload);
            }
            cached_bytes += group.cached_bytes();
            groups.resize_with(usize::from(slot) + 1, || None);
            groups[usize::from(slot)] = Some(Box::new(group));
        }
        Ok((groups, cached_bytes))
    }
}

fn found(pos: LogPos, frames: Vec<FrameRange>, payload: &Bytes) -> FoundEntry {
    let chained = frames.len() > 1;
    let loc = EntryLoc::new(pos.term, payload.len(), frames[0], chained);
    FoundEntry {
        loc,
        chain: if chained { frames } else { Vec::new() },
        payload: Some(payload.clone()),
    }
}
