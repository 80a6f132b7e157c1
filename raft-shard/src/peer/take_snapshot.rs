//! [`Arriving`]: a snapshot that comes from a peer, part by part. Pure.
//!
//! Parts are asked for by what is answered: how much is there. A part that comes twice, or whose predecessor was lost, changes
//! nothing; one of another snapshot begins anew. So whoever sends it goes on where it stopped, also after the link was lost.

use bytes::Bytes;

use super::hub::Peer;
use super::message::SnapshotPart;
use crate::types::SnapshotMeta;

/// What has come so far.
#[derive(Default)]
pub(super) struct Arriving {
    of: Option<Of>,
    bytes: Vec<u8>,
    /// Their checksum.
    crc: u32,
}

/// Which snapshot it is. The same state may be other bytes when another replica has written it.
#[derive(PartialEq, Eq)]
struct Of {
    from: Peer,
    meta: SnapshotMeta,
    total: u64,
    crc: u32,
}

/// What a part has led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// So many bytes are there.
    Bytes(u64),
    /// It is whole, and its checksum is right. What follows begins anew.
    Whole(SnapshotMeta, Bytes),
}

impl Arriving {
    /// Takes in a part.
    pub fn take(&mut self, from: Peer, part: SnapshotPart) -> Arrived {
        let of = Of {
            from,
            meta: part.meta,
            total: part.total,
            crc: part.crc,
        };
        if self.of.as_ref() != Some(&of) {
            (self.bytes, self.crc) = (Vec::new(), 0);
            // Growing would copy all of it. Without so much room in one piece it is tried nevertheless.
            let _ = self.bytes.try_reserve_exact(usize::try_from(of.total).unwrap_or(0));
        }
        let have = self.bytes.len() as u64;
        if part.offset == have && have + part.bytes.len() as u64 <= part.total {
            self.bytes.extend_from_slice(&part.bytes);
            self.crc = crc32c::crc32c_append(self.crc, &part.bytes);
        }
        if self.bytes.len() as u64 != part.total {
            self.of = Some(of);
            return Arrived::Bytes(self.bytes.len() as u64);
        }
        self.of = None;
        let bytes = std::mem::take(&mut self.bytes);
        match self.crc == part.crc {
            true => Arrived::Whole(of.meta, bytes.into()),
            // Each frame has its checksum: this is memory that changes by itself, or a bug. Once more, then.
            false => Arrived::Bytes(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use slotcore_rt::ids::{LogIndex, ReplicaId, Term};

    use super::*;
    use crate::types::log_id;

    const FROM: Peer = ReplicaId(1);

    fn part(of: &'static [u8], index: u64, offset: usize, end: usize) -> SnapshotPart {
        SnapshotPart {
            meta: SnapshotMeta {
                last_log_id: log_id(LogIndex(index), Term(1)),
                ..SnapshotMeta::default()
            },
            total: of.len() as u64,
            crc: crc32c::crc32c(of),
            offset: offset as u64,
            bytes: Bytes::from_static(&of[offset..end]),
        }
    }

    fn whole(arrived: Arrived) -> Option<Bytes> {
        match arrived {
            Arrived::Whole(_, bytes) => Some(bytes),
            Arrived::Bytes(_) => None,
        }
    }

    #[test]
    fn parts_that_come_twice_or_too_early_change_nothing() {
        let mut arriving = Arriving::default();
        for (offset, end, have) in [(0, 3, 3), (0, 3, 3), (6, 8, 3), (3, 6, 6), (3, 6, 6), (0, 2, 6)] {
            let arrived = arriving.take(FROM, part(b"snapshot", 5, offset, end));
            assert_eq!(arrived, Arrived::Bytes(have), "{offset}..{end}");
        }
        let last = arriving.take(FROM, part(b"snapshot", 5, 6, 8));
        assert_eq!(whole(last).unwrap(), b"snapshot"[..]);
        let again = arriving.take(FROM, part(b"snapshot", 5, 6, 8));
        assert_eq!(again, Arrived::Bytes(0), "what was given out is gone");
    }

    #[test]
    fn another_snapshot_begins_anew() {
        let mut arriving = Arriving::default();
        arriving.take(FROM, part(b"snapshot", 5, 0, 3));
        for other in [part(b"snapshot", 6, 3, 6), part(b"snapshut", 5, 3, 6)] {
            assert_eq!(arriving.take(FROM, other), Arrived::Bytes(0));
        }
        arriving.take(FROM, part(b"snapshot", 5, 0, 3));
        assert_eq!(
            arriving.take(ReplicaId(2), part(b"snapshot", 5, 3, 6)),
            Arrived::Bytes(0)
        );
        assert_eq!(whole(arriving.take(FROM, part(b"", 5, 0, 0))).unwrap(), b""[..]);
    }

    #[test]
    fn changed_bytes_are_noticed() {
        let mut arriving = Arriving::default();
        let mut changed = part(b"snapshot", 5, 0, 8);
        changed.bytes = Bytes::from_static(b"snapshut");
        assert_eq!(arriving.take(FROM, changed), Arrived::Bytes(0));
        assert!(whole(arriving.take(FROM, part(b"snapshot", 5, 0, 8))).is_some());
    }
}
