//! Where recovery starts: the newest checkpoint that is complete and before which nothing is torn.
//!
//! Segments are looked at from the newest to the oldest. One without a complete checkpoint was never begun, was being
//! begun when the power went, or is damaged; what later headers knew to be durable tells which.

use bytes::{Bytes, BytesMut};
use slotcore_rt::ids::{FrameNo, GroupSlot, SegmentId};

use super::checkpoint::{CkptGroup, CkptSegment, decode_group, decode_head};
use super::error::{Damage, RecoverError};
use super::frame::{FrameFlags, FrameHeader};
use super::record::{FRAG_MORE, RecordKind, Records};
use super::recover::{Left, Place, Scan};
use super::scan::{Expect, Seen};

/// How far into a segment that nothing points to recovery looks for frames, in bytes: more than any checkpoint's first
/// frames, little enough to look at every spare.
const STRAY_BYTES: u64 = 4 << 20;

/// A complete checkpoint.
pub(super) struct Checkpoint {
    pub(super) segment: SegmentId,
    pub(super) first_frame: FrameNo,
    pub(super) last_frame: FrameNo,
    pub(super) segments: Vec<CkptSegment>,
    pub(super) groups: Vec<CkptGroup>,
}

impl Scan<'_> {
    /// Looks at the start of every file. Returns those that were written to under their present name.
    pub(super) fn survey(&mut self) -> Result<Vec<SegmentId>, RecoverError> {
        let mut used = Vec::new();
        for (id, bytes) in self.files.clone() {
            self.reader.enter(id, bytes);
            let mut seen = Seen::default();
            if let Some(header) = self.reader.header_at(0)? {
                seen.note(&header);
            } else {
                self.reader.look_ahead(0..STRAY_BYTES, None, &mut seen)?;
            }
            if seen.first.0 > 0 {
                used.push(id);
                // What these headers knew to be durable counts when their segment's turn comes.
                self.seen.merge(&Seen {
                    durable: FrameNo(0),
                    ..seen
                });
            }
        }
        Ok(used)
    }

    /// The newest checkpoint that is complete and whose log before it is, too.
    pub(super) fn choose_checkpoint(&mut self) -> Result<Option<Checkpoint>, RecoverError> {
        for (id, bytes) in self.files.clone().into_iter().rev() {
            self.reader.enter(id, bytes);
            match self.read_checkpoint(id)? {
                Ok(ckpt) => {
                    if self.is_anchored(&ckpt)? {
                        return Ok(Some(ckpt));
                    }
                }
                Err((place, damage)) => self.check_stray(place, damage)?,
            }
            // Numbers of frames dropped before the log was opened here say nothing about older segments: only what the
            // opening frame itself knew does, and that is all there was.
            if let Some(first) = self.reopen(id, bytes)?.filter(|h| h.flags.has(FrameFlags::OPENED)) {
                self.seen.durable = first.durable_no;
            }
        }
        Ok(None)
    }

    fn reopen(&mut self, id: SegmentId, bytes: u64) -> Result<Option<FrameHeader>, RecoverError> {
        self.reader.enter(id, bytes);
        self.reader.header_at(0)
    }

    /// A segment without a complete checkpoint: never begun, begun when the power went, or damaged.
    fn check_stray(&mut self, place: Place, damage: Damage) -> Result<(), RecoverError> {
        let mut stray = Seen::default();
        self.reader
            .look_ahead(place.offset..place.offset + STRAY_BYTES, None, &mut stray)?;
        self.seen.merge(&stray);
        // When even the first header is unreadable, its number is at most the one before the lowest seen.
        let broken = if place.frame.0 > 0 {
            place.frame.0
        } else {
            stray.first.0.saturating_sub(1)
        };
        if broken > 0 && self.seen.durable.0 >= broken {
            return Err(self.corrupt(
                Place {
                    frame: FrameNo(broken),
                    ..place
                },
                damage,
            )?);
        }
        Ok(())
    }

    /// Reads the checkpoint at the start of the segment entered.
    fn read_checkpoint(&mut self, id: SegmentId) -> Result<Result<Checkpoint, (Place, Damage)>, RecoverError> {
        let mut place = Place {
            segment: id,
            offset: 0,
            frame: FrameNo(0),
        };
        let Some(first) = self
            .reader
            .header_at(0)?
            .filter(|h| h.flags.has(FrameFlags::CKPT_BEGIN))
        else {
            return Ok(Err((place, Damage::Header)));
        };
        place.frame = first.frame_no;
        let mut expect = Expect {
            frame_no: first.frame_no,
            salt: Some(first.salt),
            prev_body_crc: None,
        };
        let mut ckpt = Checkpoint {
            segment: id,
            first_frame: first.frame_no,
            last_frame: first.frame_no,
            segments: Vec::new(),
            groups: Vec::new(),
        };
        let mut pending = BytesMut::new();
        loop {
            let header = match self.reader.frame_at(place.offset, expect)? {
                Err(damage) => return Ok(Err((place, damage))),
                Ok((header, body)) => {
                    if ckpt.take_in(body, &mut pending).is_none() {
                        return Ok(Err((place, Damage::Records)));
                    }
                    header
                }
            };
            self.seen.note(&header);
            if header.flags.has(FrameFlags::CKPT_END) {
                ckpt.last_frame = header.frame_no;
                return Ok(if ckpt.is_sane() {
                    Ok(ckpt)
                } else {
                    Err((place, Damage::Records))
                });
            }
            place.offset += header.frame_bytes() as u64;
            place.frame = FrameNo(header.frame_no.0 + 1);
            expect.frame_no = place.frame;
            expect.prev_body_crc = Some(header.body_crc);
        }
    }

    /// True when every frame before the checkpoint is there: some header knew it durable, or reading shows it.
    fn is_anchored(&mut self, ckpt: &Checkpoint) -> Result<bool, RecoverError> {
        let Some(before) = ckpt.segments.last() else {
            return Ok(true);
        };
        if self.seen.durable < before.last_frame {
            let bytes = self.files[&ckpt.segment];
            self.reader.enter(ckpt.segment, bytes);
            let salt = self.reader.header_at(0)?.map(|h| h.salt);
            let mut seen = Seen::default();
            self.reader.look_ahead(0..bytes, salt, &mut seen)?;
            self.seen.merge(&seen);
        }
        self.prev_body_crc = None;
        for old in &ckpt.segments {
            if old.last_frame <= self.seen.durable {
                continue;
            }
            let Some(&bytes) = self.files.get(&old.id) else {
                // Given back, which happens only once a later checkpoint is durable; no header needs to say so yet.
                self.prev_body_crc = None;
                continue;
            };
            self.reader.enter(old.id, bytes);
            let mut place = old.place();
            let left = self.segment(&mut place, Some(old.last_frame), &mut |_, _| Ok(None))?;
            if let Left::Broken(damage) = left {
                if place.frame <= self.seen.durable {
                    return Err(self.corrupt(place, damage)?);
                }
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Checkpoint {
    /// Takes in one frame of the checkpoint; `None` when it makes no sense.
    fn take_in(&mut self, body: &[u8], pending: &mut BytesMut) -> Option<()> {
        for record in Records::new(body) {
            let (head, _, payload) = record.ok()?;
            pending.extend_from_slice(payload);
            if head.flags & FRAG_MORE != 0 {
                continue;
            }
            let whole: Bytes = std::mem::take(pending).freeze();
            match head.kind {
                RecordKind::CkptHead => self.segments = decode_head(&whole)?,
                RecordKind::CkptGroup => self.groups.push(decode_group(GroupSlot(head.group.0), &whole)?),
                _ => return None,
            }
        }
        Some(())
    }

    /// Older segments have lower ids and lower frames, in order.
    fn is_sane(&self) -> bool {
        let here = CkptSegment {
            id: self.segment,
            first_frame: self.first_frame,
            last_frame: FrameNo(0),
            end: 0,
        };
        let chain = self.segments.iter().chain([&here]);
        self.segments.iter().zip(chain.skip(1)).all(|(a, b)| {
            a.id < b.id && a.first_frame <= a.last_frame && a.last_frame < b.first_frame && a.first_frame.0 > 0
        })
    }
}
