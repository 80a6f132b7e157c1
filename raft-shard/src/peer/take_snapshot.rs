//! [`Arriving`]: a snapshot that comes from a peer, part by part. Pure, but for its [`Landing`].
//!
//! Parts are asked for by what is answered: how much is there. A part that comes twice, or whose predecessor was lost, changes
//! nothing; one of another snapshot begins anew. So whoever sends it goes on where it stopped, also after the link was lost.

use std::io;

use bytes::Bytes;

use super::hub::Peer;
use super::landing::{InMemory, Landed, Landing};
use super::message::SnapshotPart;
use crate::state_machine::Applied;
use crate::types::SnapshotMeta;

/// What has come so far.
pub(super) struct Arriving {
    of: Option<Of>,
    landing: Box<dyn Landing>,
    /// Bytes of it that the landing has.
    have: u64,
    /// Their checksum.
    crc: u32,
    /// The one that is whole, and is being looked at; the number of those before.
    whole: Option<SnapshotMeta>,
    number: u64,
}

impl Default for Arriving {
    fn default() -> Self {
        Self::onto(Box::<InMemory>::default())
    }
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
    /// It is whole, and its checksum is right: [`Arriving::finish`] comes next. What follows begins anew.
    Whole(Finishing),
}

/// Names a snapshot that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finishing(u64);

/// What looking at a snapshot has led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// To be called again.
    More,
    /// It cannot be kept, or another one has begun to come.
    Gone,
    /// All is well with it.
    Kept(SnapshotMeta, Bytes),
}

impl Arriving {
    /// What comes goes there.
    pub fn onto(landing: Box<dyn Landing>) -> Self {
        Self {
            of: None,
            landing,
            have: 0,
            crc: 0,
            whole: None,
            number: 0,
        }
    }

    /// Takes in a part.
    pub fn take(&mut self, from: Peer, part: SnapshotPart) -> Arrived {
        let of = Of {
            from,
            meta: part.meta,
            total: part.total,
            crc: part.crc,
        };
        // Whoever lands it tells why it cannot be kept; whoever sends it tries again later.
        self.land(of, part.offset, &part.bytes).unwrap_or_else(|_| {
            self.of = None;
            Arrived::Bytes(0)
        })
    }

    fn land(&mut self, of: Of, offset: u64, bytes: &[u8]) -> io::Result<Arrived> {
        if self.of.as_ref() != Some(&of) {
            (self.of, self.have, self.crc, self.whole) = (None, 0, 0, None);
            self.landing.begin(&Applied::of_snapshot(&of.meta), of.total)?;
        }
        if offset == self.have && self.have + bytes.len() as u64 <= of.total {
            self.landing.append(bytes)?;
            self.have += bytes.len() as u64;
            self.crc = crc32c::crc32c_append(self.crc, bytes);
        }
        if self.have != of.total {
            self.of = Some(of);
            return Ok(Arrived::Bytes(self.have));
        }
        self.of = None;
        match self.crc == of.crc {
            true => {
                self.whole = Some(of.meta);
                self.number += 1;
                Ok(Arrived::Whole(Finishing(self.number)))
            }
            // Each frame has its checksum: this is memory that changes by itself, or a bug. Once more, then.
            false => Ok(Arrived::Bytes(0)),
        }
    }

    /// Goes on to look at the snapshot of this name.
    pub fn finish(&mut self, of: Finishing) -> Finished {
        let Some(meta) = self.whole.take_if(|_| of.0 == self.number) else {
            return Finished::Gone;
        };
        match self.landing.finish() {
            Ok(Landed::More) => {
                self.whole = Some(meta);
                Finished::More
            }
            Ok(Landed::Whole(bytes)) => Finished::Kept(meta, bytes),
            Err(_) => Finished::Gone,
        }
    }

    /// See [`Landing::settle`].
    pub fn settle(&mut self) {
        self.landing.settle();
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

    fn whole(arriving: &mut Arriving, part: SnapshotPart) -> Bytes {
        let arrived = arriving.take(FROM, part);
        let Arrived::Whole(name) = arrived else {
            panic!("{arrived:?}");
        };
        loop {
            match arriving.finish(name) {
                Finished::More => {}
                Finished::Kept(_, bytes) => return bytes,
                Finished::Gone => panic!("it is gone"),
            }
        }
    }

    #[test]
    fn parts_that_come_twice_or_too_early_change_nothing() {
        let mut arriving = Arriving::default();
        for (offset, end, have) in [(0, 3, 3), (0, 3, 3), (6, 8, 3), (3, 6, 6), (3, 6, 6), (0, 2, 6)] {
            let arrived = arriving.take(FROM, part(b"snapshot", 5, offset, end));
            assert_eq!(arrived, Arrived::Bytes(have), "{offset}..{end}");
        }
        let last = whole(&mut arriving, part(b"snapshot", 5, 6, 8));
        assert_eq!(last, b"snapshot"[..]);
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
        assert_eq!(whole(&mut arriving, part(b"", 5, 0, 0)), b""[..]);
    }

    #[test]
    fn one_that_is_being_looked_at_gives_way_to_another() {
        let mut arriving = Arriving::onto(Box::new(Small(40, 1, InMemory::default())));
        let Arrived::Whole(first) = arriving.take(FROM, part(b"snapshot", 5, 0, 8)) else {
            panic!("all of it has come");
        };
        assert_eq!(arriving.finish(first), Finished::More);
        let other = part(b"snapshot", 6, 0, 8);
        let Arrived::Whole(second) = arriving.take(FROM, other) else {
            panic!("all of it has come");
        };
        assert_eq!(arriving.finish(first), Finished::Gone);
        let kept = arriving.finish(second);
        assert!(
            matches!(kept, Finished::Kept(meta, bytes) if meta == part(b"", 6, 0, 0).meta && bytes == b"snapshot"[..])
        );
        assert_eq!(arriving.finish(second), Finished::Gone, "it was given out");
    }

    /// Has room for so many bytes, and takes so many looks.
    struct Small(usize, usize, InMemory);

    impl Landing for Small {
        fn begin(&mut self, at: &Applied, total: u64) -> io::Result<()> {
            self.2.begin(at, total)
        }

        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            self.2.append(bytes)
        }

        fn finish(&mut self) -> io::Result<Landed> {
            if self.1 > 0 {
                self.1 -= 1;
                return Ok(Landed::More);
            }
            self.2.finish()
        }
    }

    #[test]
    fn what_finds_no_room_begins_anew() {
        let mut arriving = Arriving::onto(Box::new(Small(12, 2, InMemory::default())));
        assert_eq!(arriving.take(FROM, part(b"snapshot", 5, 0, 6)), Arrived::Bytes(6));
        assert_eq!(whole(&mut arriving, part(b"snapshot", 5, 6, 8)), b"snapshot"[..]);
        let mut take = |offset, end| arriving.take(FROM, part(b"snapshot", 5, offset, end));
        assert_eq!(take(0, 3), Arrived::Bytes(3));
        assert_eq!(take(3, 8), Arrived::Bytes(0), "no room");
        assert_eq!(take(3, 8), Arrived::Bytes(0), "nothing is left of it");
    }

    #[test]
    fn changed_bytes_are_noticed() {
        let mut arriving = Arriving::default();
        let mut changed = part(b"snapshot", 5, 0, 8);
        changed.bytes = Bytes::from_static(b"snapshut");
        assert_eq!(arriving.take(FROM, changed), Arrived::Bytes(0));
        assert_eq!(whole(&mut arriving, part(b"snapshot", 5, 0, 8)), b"snapshot"[..]);
    }
}
