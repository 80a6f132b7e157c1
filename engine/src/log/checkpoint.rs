//! What a segment's first frames say: the segments before it, and each group's state at that moment.
//!
//! With it nothing but entries ever pins an old segment, and recovery knows exactly where each older segment ends.
//! Format: `docs/formats/log.md`, "Checkpoint".

use bytes::Bytes;
use slotcore_rt::ids::{FrameNo, GroupId, GroupSlot, LogIndex, SegmentId, Term};

use super::frame::{get64, put64};
use super::group::GroupLog;
use super::record::{LogPos, RecordHeader, RecordKind, Vote, decode_vote, encode_vote};
use super::segments::LiveSegment;

/// Bytes of one segment in a `CkptHead`.
pub(crate) const CKPT_SEGMENT_BYTES: usize = 32;
/// Bytes of a `CkptGroup` before the manifest.
pub(crate) const CKPT_GROUP_BYTES: usize = 88;

const VOTE_PRESENT: u8 = 4;

/// An older segment, as a checkpoint describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CkptSegment {
    pub(crate) id: SegmentId,
    pub(crate) first_frame: FrameNo,
    pub(crate) last_frame: FrameNo,
    pub(crate) end: u64,
}

/// A group's state, as a checkpoint describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CkptGroup {
    pub(crate) slot: GroupSlot,
    pub(crate) id: GroupId,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: LogPos,
    pub(crate) purged: LogPos,
    pub(crate) last: LogPos,
    pub(crate) manifest: Bytes,
}

pub(crate) fn encode_head<'a>(segments: impl Iterator<Item = &'a LiveSegment>) -> (RecordHeader, Vec<u8>) {
    let mut payload = Vec::new();
    for s in segments {
        let mut raw = [0; CKPT_SEGMENT_BYTES];
        put64(&mut raw, 0, s.id.0);
        put64(&mut raw, 8, s.first_frame.0);
        put64(&mut raw, 16, s.last_frame.0);
        put64(&mut raw, 24, s.end);
        payload.extend_from_slice(&raw);
    }
    (header(RecordKind::CkptHead, GroupSlot(0)), payload)
}

pub(crate) fn decode_head(payload: &[u8]) -> Option<Vec<CkptSegment>> {
    let (segments, rest) = payload.as_chunks::<CKPT_SEGMENT_BYTES>();
    rest.is_empty().then(|| {
        let one = |raw: &[u8; CKPT_SEGMENT_BYTES]| CkptSegment {
            id: SegmentId(get64(raw, 0)),
            first_frame: FrameNo(get64(raw, 8)),
            last_frame: FrameNo(get64(raw, 16)),
            end: get64(raw, 24),
        };
        segments.iter().map(one).collect()
    })
}

pub(crate) fn encode_group(slot: GroupSlot, group: &GroupLog) -> (RecordHeader, Vec<u8>) {
    let mut raw = vec![0; CKPT_GROUP_BYTES];
    let vote = group.vote.unwrap_or_default();
    let last = group.last();
    put64(&mut raw, 0, group.id.0);
    put64(&mut raw, 8, vote.term.0);
    raw[16..32].copy_from_slice(&encode_vote(&vote));
    raw[24] |= if group.vote.is_some() { VOTE_PRESENT } else { 0 };
    for (at, pos) in [(32, group.committed), (48, group.purged), (64, last)] {
        put64(&mut raw, at, pos.term.0);
        put64(&mut raw, at + 8, pos.index.0);
    }
    raw.extend_from_slice(&group.manifest);
    (header(RecordKind::CkptGroup, slot), raw)
}

pub(crate) fn decode_group(slot: GroupSlot, payload: &Bytes) -> Option<CkptGroup> {
    let raw = payload.get(..CKPT_GROUP_BYTES)?;
    let pos = |at| LogPos {
        term: Term(get64(raw, at)),
        index: LogIndex(get64(raw, at + 8)),
    };
    let vote = decode_vote(Term(get64(raw, 8)), &raw[16..])?;
    Some(CkptGroup {
        slot,
        id: GroupId(get64(raw, 0)),
        vote: (raw[24] & VOTE_PRESENT != 0).then_some(vote),
        committed: pos(32),
        purged: pos(48),
        last: pos(64),
        manifest: payload.slice(CKPT_GROUP_BYTES..),
    })
}

fn header(kind: RecordKind, group: GroupSlot) -> RecordHeader {
    RecordHeader {
        len: 0,
        kind,
        flags: 0,
        group,
        index: 0,
        term: 0,
    }
}

#[cfg(test)]
mod tests {
    use slotcore_rt::ids::ReplicaId;

    use super::*;

    #[test]
    fn a_group_survives_the_round_trip() {
        let mut group = GroupLog::new(GroupId(77));
        group.vote = Some(Vote {
            term: Term(5),
            voted_for: Some(ReplicaId(0x10002)),
            committed: true,
        });
        group.committed = LogPos {
            term: Term(4),
            index: LogIndex(9),
        };
        group.purged = LogPos {
            term: Term(3),
            index: LogIndex(8),
        };
        group.manifest = Bytes::from_static(b"tree");
        let (_, raw) = encode_group(GroupSlot(3), &group);
        let back = decode_group(GroupSlot(3), &Bytes::from(raw)).expect("just encoded");
        assert_eq!(
            (back.id, back.vote, back.committed),
            (GroupId(77), group.vote, group.committed)
        );
        assert_eq!(
            (back.purged, back.last, &back.manifest[..]),
            (group.purged, group.purged, &b"tree"[..])
        );
    }
}
