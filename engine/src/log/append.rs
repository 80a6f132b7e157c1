//! Appending: from a [`Record`] to its place in a frame, segment changes included.

use bytes::Bytes;
use slotcore_rt::ids::{FrameNo, GroupSlot, LogIndex, Term};

use super::checkpoint::{CKPT_GROUP_BYTES, CKPT_SEGMENT_BYTES, encode_group, encode_head};
use super::error::AppendError;
use super::frame::{FRAME_HEADER_BYTES, FrameFlags};
use super::group::{EntryLoc, FrameRange, GroupLog};
use super::record::{
    FRAG_CONT, FRAG_MORE, LogPos, PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES, Record, RecordHeader, RecordKind,
    SNAPSHOT_KEEPS_TAIL, encode_vote, record_bytes,
};
use super::segments::LiveSegment;
use super::writer::{CoreLog, Held, Seal, forget, remember};

/// A fragment of a big entry is not made smaller than this only to fill a segment, in bytes of payload.
const FRAGMENT_BYTES_MIN: usize = 4096;

/// Part of a segment that entries leave to records of state while no other segment is ready.
const RESERVE_DIVISOR: u64 = 4;

/// Where an entry was placed.
struct Placed {
    loc: EntryLoc,
    chain: Vec<FrameRange>,
    frame: FrameNo,
}

impl CoreLog {
    /// Appends a record: it can be read at once, and is durable once [`CoreLog::durable`] reaches the frame returned.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was written and nothing changed.
    pub fn append(&mut self, record: Record) -> Result<FrameNo, AppendError> {
        if let Some(failure) = self.failed {
            return Err(AppendError::Failed(failure));
        }
        if self.seal != Seal::Open {
            return Err(AppendError::Sealed);
        }
        match record {
            Record::Entry { group, pos, payload } => self.append_entry(group, pos, payload),
            Record::Rewrite { group, pos, payload } => self.append_rewrite(group, pos, &payload),
            state => self.append_state(state),
        }
    }

    /// Whether entries of `payload_bytes` altogether can be appended now: asked before they are proposed, because an
    /// entry that cannot be appended stops its group.
    ///
    /// # Errors
    /// [`AppendError::NotReady`] and [`AppendError::Backlog`] pass by themselves; [`AppendError::NoSpace`] when the disk
    /// has space again; the others stay.
    pub fn admit(&mut self, payload_bytes: usize) -> Result<(), AppendError> {
        if let Some(failure) = self.failed {
            return Err(AppendError::Failed(failure));
        }
        if self.seal != Seal::Open {
            return Err(AppendError::Sealed);
        }
        // The entries' frames, and the commit positions written along with them.
        self.check_entry_room(payload_bytes + 2 * self.opts.block_bytes)
    }

    fn group_mut(&mut self, slot: GroupSlot) -> Result<&mut GroupLog, AppendError> {
        let group = self.groups.get_mut(usize::from(slot.0)).and_then(Option::as_deref_mut);
        group.ok_or(AppendError::UnknownGroup(slot))
    }

    fn append_entry(&mut self, slot: GroupSlot, pos: LogPos, payload: Bytes) -> Result<FrameNo, AppendError> {
        let group = self.group_mut(slot)?;
        let (min, max) = (LogIndex(group.purged.index.0 + 1), LogIndex(group.last().index.0 + 1));
        if pos.index < min || pos.index > max {
            return Err(AppendError::OutOfOrder {
                index: pos.index,
                min,
                max,
            });
        }
        let placed = self.place_entry(RecordKind::Entry, slot, pos, &payload)?;
        let bytes = payload.len() as u64;
        let Self {
            groups,
            segments,
            cached_bytes,
            ..
        } = self;
        let group = groups[usize::from(slot.0)].as_deref_mut().expect("checked above");
        if pos.index < max {
            group.truncate_after(LogIndex(pos.index.0 - 1), &mut |loc, freed| {
                forget(segments, &loc);
                *cached_bytes -= freed;
            });
        }
        remember(segments, &placed.loc);
        group.push(placed.loc, placed.chain, Some(payload));
        *cached_bytes += bytes;
        if *cached_bytes > self.opts.cache_bytes_max {
            self.trim_cache(slot);
        }
        Ok(placed.frame)
    }

    fn append_rewrite(&mut self, slot: GroupSlot, pos: LogPos, payload: &Bytes) -> Result<FrameNo, AppendError> {
        let group = self.group_mut(slot)?;
        let (min, max) = (LogIndex(group.purged.index.0 + 1), group.last().index);
        if group
            .loc(pos.index)
            .is_none_or(|loc| loc.term() != pos.term || loc.payload_len() != payload.len() as u64)
        {
            return Err(AppendError::OutOfOrder {
                index: pos.index,
                min,
                max,
            });
        }
        let placed = self.place_entry(RecordKind::Rewrite, slot, pos, payload)?;
        remember(&mut self.segments, &placed.loc);
        let group = self.group_mut(slot).expect("checked above");
        let old = group.relocate(pos.index, placed.loc, placed.chain);
        if group.cached(pos.index).is_none() {
            group.pin(pos.index, payload.clone());
            self.has_pinned = true;
        }
        forget(&mut self.segments, &old);
        Ok(placed.frame)
    }

    fn place_entry(
        &mut self,
        kind: RecordKind,
        slot: GroupSlot,
        pos: LogPos,
        payload: &Bytes,
    ) -> Result<Placed, AppendError> {
        let len = payload.len();
        if !self.builder.fits_open(len) {
            self.check_entry_room(len)?;
            if len > self.builder.payload_max() {
                return Ok(self.place_fragments(kind, slot, pos, payload));
            }
            self.open_frame(record_bytes(len));
        }
        self.builder.write(header(kind, slot, pos, len), payload);
        let loc = EntryLoc::new(pos.term, len, self.builder.open_range(), false);
        self.builder.touched.push((slot, pos.index));
        Ok(Placed {
            loc,
            chain: Vec::new(),
            frame: self.builder.next_frame(),
        })
    }

    /// Each fragment becomes a frame of its own. Room was checked.
    fn place_fragments(&mut self, kind: RecordKind, slot: GroupSlot, pos: LogPos, payload: &Bytes) -> Placed {
        self.close_frame();
        let mut chain = Vec::new();
        let mut done = 0;
        while done < payload.len() {
            let left = payload.len() - done;
            let Some(len) = self.fragment_len(self.builder.room_in_segment(), left) else {
                self.roll_over();
                continue;
            };
            let more = if len < left { FRAG_MORE } else { 0 };
            let cont = if done > 0 { FRAG_CONT } else { 0 };
            let head = RecordHeader {
                flags: more | cont,
                ..header(kind, slot, pos, len)
            };
            chain.push(self.builder.place_fragment(head, payload.slice(done..done + len)));
            done += len;
        }
        let loc = EntryLoc::new(pos.term, payload.len(), chain[0], true);
        Placed {
            loc,
            chain,
            frame: self.builder.last_frame(),
        }
    }

    /// Payload of the next fragment when the segment has `room` bytes; `None`: change to the next segment first.
    fn fragment_len(&self, room: u64, left: usize) -> Option<usize> {
        let head = (FRAME_HEADER_BYTES + RECORD_HEADER_BYTES) as u64;
        let fits = usize::try_from(room.checked_sub(head)?).unwrap_or(usize::MAX);
        let len = left.min(fits / 8 * 8).min(self.builder.payload_max() / 8 * 8);
        (len >= left.min(FRAGMENT_BYTES_MIN)).then_some(len)
    }

    /// Walks the segments that are ready as placing the entry would.
    fn check_entry_room(&mut self, len: usize) -> Result<(), AppendError> {
        if len > PAYLOAD_BYTES_MAX {
            return Err(AppendError::TooLarge {
                bytes: len as u64,
                bytes_max: PAYLOAD_BYTES_MAX as u64,
            });
        }
        if self.builder.queued_bytes() > self.opts.backlog_bytes_max {
            return Err(AppendError::Backlog);
        }
        let block = self.opts.block_bytes;
        let fresh = self
            .opts
            .segment_bytes
            .saturating_sub(block as u64 + self.checkpoint_bytes(0));
        let whole = len <= self.builder.payload_max();
        let mut room = self.builder.room_behind_open();
        let mut ready = self.segments.ready_count();
        // The checkpoint lists every live segment: their number is bounded by what it may take.
        let live_max = self.opts.segment_bytes / 4 / CKPT_SEGMENT_BYTES as u64;
        let crowded = (self.segments.live.len() + ready) as u64 > live_max;
        let mut left = len;
        loop {
            let fragment = if whole {
                (room >= (FRAME_HEADER_BYTES + record_bytes(len)) as u64).then_some(len)
            } else {
                self.fragment_len(room, left)
            };
            match fragment {
                Some(part) => {
                    left -= part;
                    room -= ((FRAME_HEADER_BYTES + record_bytes(part)).next_multiple_of(block) as u64).min(room);
                }
                None if ready > 0 && !crowded => {
                    ready -= 1;
                    room = fresh;
                    continue;
                }
                None => break,
            }
            if left == 0 {
                break;
            }
        }
        let reserve = self.opts.segment_bytes / RESERVE_DIVISOR;
        if left == 0 && (ready > 0 || room >= reserve) {
            return Ok(());
        }
        self.segments.demand(2 + (len as u64 / (fresh.max(1))) as usize);
        Err(if self.segments.refused().is_some() || crowded {
            AppendError::NoSpace
        } else {
            AppendError::NotReady
        })
    }

    fn append_state(&mut self, record: Record) -> Result<FrameNo, AppendError> {
        let slot = record.group();
        let vote;
        let empty = Bytes::new();
        let group = self.group(slot);
        if group.is_none() && !matches!(record, Record::GroupCreate { .. }) {
            return Err(AppendError::UnknownGroup(slot));
        }
        let zero = LogPos::default();
        let (kind, pos, payload): (_, _, &[u8]) = match &record {
            Record::Entry { .. } | Record::Rewrite { .. } => unreachable!("entries are placed elsewhere"),
            Record::Vote { vote: v, .. } => {
                vote = encode_vote(v);
                (
                    RecordKind::Vote,
                    LogPos {
                        term: v.term,
                        index: LogIndex(0),
                    },
                    &vote,
                )
            }
            Record::Commit { pos, .. } => (RecordKind::Commit, *pos, &empty),
            Record::TruncateAfter { index, .. } => {
                let group = group.expect("looked up above");
                let (min, max) = (group.purged.index, group.last().index);
                if *index < min {
                    return Err(AppendError::OutOfOrder {
                        index: *index,
                        min,
                        max,
                    });
                }
                // The last entry that will be there, so that a reader without older segments knows it.
                let index = (*index).min(max);
                let term = group.term_of(index).unwrap_or(Term(0));
                (RecordKind::TruncateAfter, LogPos { term, index }, &empty)
            }
            Record::Purge { pos, .. } => (RecordKind::Purge, *pos, &empty),
            Record::GroupCreate { id, .. } => {
                if group.is_some() {
                    return Err(AppendError::GroupExists(slot));
                }
                (
                    RecordKind::GroupCreate,
                    LogPos {
                        index: LogIndex(id.0),
                        ..zero
                    },
                    &empty,
                )
            }
            Record::GroupDrop { .. } => (RecordKind::GroupDrop, zero, &empty),
            Record::Manifest { bytes, .. } => (RecordKind::Manifest, zero, bytes),
            Record::SnapshotInstalled { pos, manifest, .. } => (RecordKind::SnapshotInstalled, *pos, manifest),
        };
        let mut head = header(kind, slot, pos, payload.len());
        if kind == RecordKind::SnapshotInstalled && group.and_then(|g| g.term_of(pos.index)) == Some(pos.term) {
            head.flags = SNAPSHOT_KEEPS_TAIL;
        }
        self.check_state_room(payload.len())?;
        if !self.builder.fits_open(payload.len()) {
            self.close_frame();
            if self.builder.room_in_segment() < self.state_bytes(payload.len()) {
                self.roll_over();
            }
        }
        self.write_long(head, payload);
        let frame = self.builder.next_frame();
        self.apply_state(record, head.flags & SNAPSHOT_KEEPS_TAIL != 0, frame);
        Ok(frame)
    }

    /// Bytes that a record of state takes at most when it begins a frame of its own.
    fn state_bytes(&self, payload_len: usize) -> u64 {
        let per_frame = FRAME_HEADER_BYTES + RECORD_HEADER_BYTES + self.opts.block_bytes;
        let frames = 1 + payload_len / (self.opts.frame_bytes_max - per_frame);
        (payload_len + 8 + frames * per_frame) as u64
    }

    /// Bytes of the largest manifest that a record takes, as long as the checkpoint has little else.
    pub fn manifest_bytes_max(&self) -> usize {
        let bytes_max = (self.opts.segment_bytes / 4) as usize;
        let beside = self.state_bytes(bytes_max) as usize - bytes_max;
        bytes_max.saturating_sub(beside)
    }

    /// A record of state must be in one segment as a whole, and the next checkpoint must be able to hold it.
    fn check_state_room(&mut self, payload_len: usize) -> Result<(), AppendError> {
        let bytes_max = self.opts.segment_bytes / 4;
        if self.state_bytes(payload_len) > bytes_max {
            return Err(AppendError::TooLarge {
                bytes: payload_len as u64,
                bytes_max,
            });
        }
        // Half a segment: what is left must take the record that forced the change of segment.
        let checkpoint_max = self.opts.segment_bytes / 2;
        let checkpoint = self.checkpoint_bytes(payload_len);
        if checkpoint > checkpoint_max {
            return Err(AppendError::TooLarge {
                bytes: checkpoint,
                bytes_max: checkpoint_max,
            });
        }
        let fits = self.builder.fits_open(payload_len)
            || self.builder.room_behind_open() >= self.state_bytes(payload_len)
            || self.segments.ready_count() > 0;
        match fits {
            true => Ok(()),
            false if self.segments.refused().is_some() => Err(AppendError::NoSpace),
            false => Err(AppendError::NotReady),
        }
    }

    fn apply_state(&mut self, record: Record, keep_tail: bool, frame: FrameNo) {
        let at = usize::from(record.group().0);
        if let Record::GroupCreate { id, .. } = record {
            if self.groups.len() <= at {
                self.groups.resize_with(at + 1, || None);
            }
            self.groups[at] = Some(Box::new(GroupLog::new(id)));
            return;
        }
        let Self {
            groups,
            segments,
            cached_bytes,
            flights,
            ..
        } = self;
        let group = groups[at].as_deref_mut().expect("the caller looked it up");
        let mut gone = |loc: EntryLoc, freed: u64| {
            forget(segments, &loc);
            *cached_bytes -= freed;
        };
        match record {
            Record::Vote { vote, .. } => {
                group.vote = Some(vote);
                flights.want_durable(frame);
            }
            Record::Commit { pos, .. } => group.committed = pos,
            Record::TruncateAfter { index, .. } => group.truncate_after(index, &mut gone),
            Record::Purge { pos, .. } => group.purge(pos, &mut gone),
            Record::Manifest { bytes, .. } => group.manifest = bytes,
            Record::SnapshotInstalled { pos, manifest, .. } => {
                group.install(pos, keep_tail, &mut gone);
                group.manifest = manifest;
            }
            Record::GroupDrop { .. } => {
                group.truncate_after(group.purged.index, &mut gone);
                groups[at] = None;
            }
            Record::Entry { .. } | Record::Rewrite { .. } | Record::GroupCreate { .. } => {}
        }
    }

    /// Opens a frame that takes a record of `bytes`, in the next segment if need be. Room was checked.
    fn open_frame(&mut self, bytes: usize) {
        self.close_frame();
        if self.builder.room_in_segment() < (FRAME_HEADER_BYTES + bytes) as u64 {
            self.roll_over();
        }
        self.builder.open(FrameFlags::NONE);
    }

    /// Closes the open frame and tells the entries in it how long it became.
    pub(crate) fn close_frame(&mut self) {
        let Some(range) = self.builder.close() else { return };
        for (slot, index) in self.builder.touched.drain(..) {
            // The entry may be gone by now, or lie elsewhere.
            let group = self.groups[usize::from(slot.0)].as_mut();
            if let Some(loc) = group.and_then(|g| g.loc_mut(index)) {
                loc.close(range);
            }
        }
    }

    /// Writes a record of state, in fragments where it does not fit one frame. Room in the segment was checked.
    fn write_long(&mut self, head: RecordHeader, payload: &[u8]) {
        let (mut rest, mut cont) = (payload, 0);
        loop {
            if !self.builder.is_open() {
                self.builder.open(FrameFlags::NONE);
            }
            if self.builder.fits_open(rest.len()) {
                let head = RecordHeader {
                    len: rest.len() as u32,
                    flags: head.flags | cont,
                    ..head
                };
                return self.builder.write(head, rest);
            }
            let room = self.builder.open_payload_room().min(rest.len());
            if room > 0 {
                let (part, after) = rest.split_at(room);
                let head = RecordHeader {
                    len: part.len() as u32,
                    flags: head.flags | cont | FRAG_MORE,
                    ..head
                };
                self.builder.write(head, part);
                (rest, cont) = (after, FRAG_CONT);
            }
            self.close_frame();
        }
    }

    /// Bytes a checkpoint takes at most, with a manifest grown by `more` bytes and one more group.
    pub(crate) fn checkpoint_bytes(&self, more: usize) -> u64 {
        let mut records = record_bytes(self.segments.live.len() * CKPT_SEGMENT_BYTES);
        for group in self.groups.iter().flatten() {
            records += record_bytes(CKPT_GROUP_BYTES + group.manifest.len());
        }
        records += record_bytes(CKPT_GROUP_BYTES + more);
        let per_frame = FRAME_HEADER_BYTES + RECORD_HEADER_BYTES + 8;
        let frames = 1 + records / (self.opts.frame_bytes_max - per_frame);
        (records + frames * per_frame + self.opts.block_bytes * 2) as u64
    }

    /// Ends the current segment and begins the next one with a checkpoint. A segment is ready.
    pub(crate) fn roll_over(&mut self) {
        self.close_frame();
        let (id, salt) = self
            .segments
            .take_ready()
            .expect("the caller made sure that a segment is ready");
        if self.builder.position().is_some() {
            let next = LogPos {
                term: Term(0),
                index: LogIndex(id.0),
            };
            self.builder
                .end_segment(header(RecordKind::SegmentEnd, GroupSlot(0), next, 0));
            let pos = self.builder.position().expect("looked at above");
            let old = self
                .segments
                .live
                .back_mut()
                .expect("the segment being written is live");
            old.last_frame = self.builder.last_frame();
            old.end = pos.offset;
        }
        self.builder.enter_segment(id, salt, self.opts.segment_bytes);
        let (head, table) = encode_head(self.segments.live.iter());
        self.segments
            .live
            .push_back(LiveSegment::new(id, self.builder.next_frame()));
        let opened = self.builder.next_frame() == self.first_frame;
        self.builder.open(if opened {
            FrameFlags::CKPT_BEGIN.with(FrameFlags::OPENED)
        } else {
            FrameFlags::CKPT_BEGIN
        });
        self.write_long(head, &table);
        for at in 0..self.groups.len() {
            let Some(group) = self.groups[at].as_deref() else {
                continue;
            };
            let (head, state) = encode_group(GroupSlot(at as u16), group);
            self.write_long(head, &state);
        }
        self.builder.set_open_flags(FrameFlags::CKPT_END);
        self.close_frame();
        let current = self.segments.live.back_mut().expect("just pushed");
        current.ckpt_end = self.builder.last_frame();
        if self.held == Held::UntilCheckpoint {
            self.held = Held::Until(current.ckpt_end);
        }
    }
}

fn header(kind: RecordKind, group: GroupSlot, pos: LogPos, len: usize) -> RecordHeader {
    let len = u32::try_from(len).expect("payloads are bounded below 1 GiB");
    RecordHeader {
        len,
        kind,
        flags: 0,
        group,
        index: pos.index.0,
        term: pos.term.0,
    }
}
