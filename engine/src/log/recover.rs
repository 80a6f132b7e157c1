//! Opening a log: find the newest checkpoint that can be trusted, read from the oldest segment it needs, decide whether
//! the end is an end or damage.
//!
//! A frame that cannot be read is *torn* when nothing says that it had been durable: it and everything after it is
//! dropped, and nothing dropped was ever acknowledged. It is *corrupt* when any later sound header carries a
//! `durable_no` that covers it; then nothing is changed and the place is named. Recovery itself writes nothing: the log
//! goes on in a segment of its own, whose checkpoint says where the old ones end. So recovering twice gives the same.

use std::collections::BTreeMap;

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{FrameNo, SegmentId};

use super::anchor::Checkpoint;
use super::builder::FrameBuilder;
use super::checkpoint::CkptSegment;
use super::error::{Damage, RecoverError};
use super::flights::Flights;
use super::frame::{FrameFlags, FrameHeader};
use super::group::{FrameRange, GroupSlots};
use super::options::LogOptions;
use super::rebuild::{FoundFrame, Rebuild};
use super::record::{Record, Records};
use super::scan::{Expect, Reader, Seen, SegmentSource};
use super::segments::{LiveSegment, Segments};
use super::stats::LogStats;
use super::writer::{CoreLog, Held, Seal, remember};

/// A record met in recovery, in log order; also such as were superseded later.
#[derive(Clone, Debug)]
pub struct RecoveredRecord {
    /// The frame that holds it (its last part).
    pub frame: FrameNo,
    /// Where that frame is.
    pub at: FrameRange,
    /// The record.
    pub record: Record,
}

/// How the log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// There was no log.
    New,
    /// By [`CoreLog::seal`].
    Clean,
    /// Not on purpose, but nothing was half written.
    Ended,
    /// In frames that had not become durable, now dropped.
    Torn {
        /// The segment.
        segment: SegmentId,
        /// Where the first dropped frame starts, in bytes.
        offset: u64,
        /// Its number.
        frame: FrameNo,
    },
}

/// What recovery found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// How the log ended.
    pub tail: Tail,
    /// Segments read.
    pub segments: u64,
    /// Frames read.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The last frame of the log.
    pub last_frame: FrameNo,
}

/// A place in the log's frames.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
    pub(super) frame: FrameNo,
}

/// How a segment was left by [`Scan::segment`].
pub(super) enum Left {
    /// After its last frame, which named the next segment if that is `Some`.
    End(Option<SegmentId>),
    /// At a frame that cannot be read.
    Broken(Damage),
}

/// Takes in one frame; returns the next segment if the frame names it.
pub(super) type Take<'a> = dyn FnMut(&FrameHeader, FoundFrame<'_>) -> Result<Option<SegmentId>, Damage> + 'a;

/// A recovery under way.
pub(super) struct Scan<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) files: BTreeMap<SegmentId, u64>,
    pub(super) seen: Seen,
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) prev_body_crc: Option<u32>,
    /// The segment that the last one names as its successor, though nothing of it was kept.
    pub(super) successor: Option<SegmentId>,
}

impl CoreLog {
    /// Opens the log found in `src`; no segments = a new log. `visit` sees every record in order. The log takes its first
    /// record after the segment that it asks for by [`CoreLog::step`] is there.
    ///
    /// # Errors
    /// [`RecoverError::Corrupt`] names what had been durable and cannot be read. Nothing was changed in any case.
    pub fn recover(
        opts: LogOptions,
        src: &mut dyn SegmentSource,
        visit: &mut dyn FnMut(RecoveredRecord),
    ) -> Result<CoreLog, RecoverError> {
        opts.check();
        let mut reader = Reader::new(src, opts.core);
        let files: BTreeMap<_, _> = reader.list()?.into_iter().collect();
        let (seen, prev_body_crc) = (Seen::default(), None);
        let mut scan = Scan {
            reader,
            files,
            seen,
            frames: 0,
            bytes: 0,
            prev_body_crc,
            successor: None,
        };
        let used = scan.survey()?;
        match scan.choose_checkpoint()? {
            Some(ckpt) => scan.read_log(opts, &ckpt, &used, visit),
            None => Ok(scan.open(opts, Vec::new(), 0, Vec::new(), &used, Tail::New, 0)),
        }
    }
}

impl Scan<'_> {
    /// Reads frames of the segment entered, from `place` on, up to frame `last` or the segment's own end. `place` is
    /// left at the first frame not read. `take` returns the next segment if the frame names it.
    pub(super) fn segment(
        &mut self,
        place: &mut Place,
        last: Option<FrameNo>,
        take: &mut Take<'_>,
    ) -> Result<Left, RecoverError> {
        let mut expect = Expect {
            frame_no: place.frame,
            salt: None,
            prev_body_crc: self.prev_body_crc,
        };
        while last.is_none_or(|last| place.frame <= last) {
            let (header, next) = match self.reader.frame_at(place.offset, expect)? {
                Err(damage) => return Ok(Left::Broken(damage)),
                Ok((header, body)) => {
                    let at = FrameRange {
                        segment: place.segment,
                        offset: place.offset,
                        len: header.frame_bytes() as u32,
                    };
                    let frame = FoundFrame {
                        at,
                        frame_no: header.frame_no,
                        nrec: header.nrec,
                        body,
                    };
                    match take(&header, frame) {
                        Err(damage) => return Ok(Left::Broken(damage)),
                        Ok(next) => (header, next),
                    }
                }
            };
            self.seen.note(&header);
            place.offset += header.frame_bytes() as u64;
            place.frame = FrameNo(header.frame_no.0 + 1);
            expect = Expect {
                frame_no: place.frame,
                salt: Some(header.salt),
                prev_body_crc: Some(header.body_crc),
            };
            if next.is_some() && last.is_none() {
                self.prev_body_crc = expect.prev_body_crc;
                return Ok(Left::End(next));
            }
            if last.is_none() || last == Some(header.frame_no) {
                self.prev_body_crc = expect.prev_body_crc;
            }
        }
        Ok(Left::End(None))
    }

    fn read_log(
        mut self,
        opts: LogOptions,
        ckpt: &Checkpoint,
        used: &[SegmentId],
        visit: &mut dyn FnMut(RecoveredRecord),
    ) -> Result<CoreLog, RecoverError> {
        self.prev_body_crc = None;
        let mut rebuild = Rebuild::new(opts.cache_bytes_max);
        let mut live = Vec::new();
        let mut missing = None;
        let (mut frames, mut bytes_read, mut clean) = (0, 0, false);
        let mut visit = |frame: FoundFrame<'_>, record| {
            visit(RecoveredRecord {
                frame: frame.frame_no,
                at: frame.at,
                record,
            });
        };
        let current = CkptSegment {
            id: ckpt.segment,
            first_frame: ckpt.first_frame,
            last_frame: FrameNo(0),
            end: 0,
        };
        let mut tail = Tail::Ended;
        for old in ckpt.segments.iter().chain([&current]) {
            let Some(&bytes) = self.files.get(&old.id) else {
                // Given back since the checkpoint, and with it all older ones, whether their files are still there or
                // not. Whether any of them was needed after all shows at the end.
                missing = Some(old.place());
                self.prev_body_crc = None;
                live.clear();
                continue;
            };
            self.reader.enter(old.id, bytes);
            let is_current = old.id == ckpt.segment;
            let last = (!is_current).then_some(old.last_frame);
            let mut place = old.place();
            let left = self.segment(&mut place, last, &mut |header, frame| {
                let structure = rebuild.frame(frame, &mut visit).map_err(|_| Damage::Records)?;
                if is_current && header.frame_no == ckpt.last_frame {
                    rebuild.checkpoint(&ckpt.groups).map_err(|_| Damage::Records)?;
                }
                frames += 1;
                bytes_read += u64::from(frame.at.len);
                clean = header.flags.has(FrameFlags::CLEAN);
                Ok(structure.next_segment.map(SegmentId))
            })?;
            let mut segment = LiveSegment::new(old.id, old.first_frame);
            segment.last_frame = FrameNo(place.frame.0 - 1);
            segment.end = place.offset;
            if is_current {
                segment.ckpt_end = ckpt.last_frame;
                tail = self.judge_tail(place, bytes, left)?;
            } else {
                match left {
                    Left::Broken(damage) => return Err(self.corrupt(place, damage)?),
                    Left::End(_) if place.offset != old.end => return Err(self.corrupt(place, Damage::Identity)?),
                    Left::End(_) => {}
                }
            }
            live.push(segment);
        }
        (self.frames, self.bytes) = (frames, bytes_read);
        if clean && tail == Tail::Ended {
            tail = Tail::Clean;
        }
        let records = rebuild.records;
        match rebuild.finish(live.first().map_or(ckpt.segment, |s| s.id)) {
            Ok((groups, cached)) => Ok(self.open(opts, groups, cached, live, used, tail, records)),
            Err(slot) => {
                let (place, damage) = match missing {
                    Some(place) => (place, Damage::MissingSegment),
                    None => (current.place(), Damage::MissingEntries),
                };
                let Place { segment, offset, frame } = place;
                Err(RecoverError::Corrupt {
                    damage,
                    segment,
                    offset,
                    frame,
                    groups: vec![slot],
                })
            }
        }
    }

    /// The newest segment was left at `place`: is that the end?
    fn judge_tail(&mut self, place: Place, bytes: u64, left: Left) -> Result<Tail, RecoverError> {
        let damage = match left {
            Left::Broken(damage) => damage,
            Left::End(None) => return Ok(Tail::Ended),
            Left::End(Some(next)) => {
                // It has no complete checkpoint, else the log would have been read from there.
                let there = self.files.contains_key(&next);
                if there && self.seen.durable < place.frame {
                    self.successor = Some(next);
                    return Ok(Tail::Ended);
                }
                let place = Place {
                    segment: next,
                    offset: 0,
                    frame: place.frame,
                };
                let damage = if there { Damage::Header } else { Damage::MissingSegment };
                return Err(self.corrupt(place, damage)?);
            }
        };
        let salt = self.reader.header_at(0)?.map(|h| h.salt);
        let mut beyond = Seen::default();
        self.reader.look_ahead(place.offset..bytes, salt, &mut beyond)?;
        self.seen.merge(&beyond);
        if self.seen.durable >= place.frame {
            return Err(self.corrupt(place, damage)?);
        }
        let Place { segment, offset, frame } = place;
        Ok(if beyond.last >= frame {
            Tail::Torn { segment, offset, frame }
        } else {
            Tail::Ended
        })
    }

    pub(super) fn corrupt(&mut self, place: Place, damage: Damage) -> Result<RecoverError, RecoverError> {
        let mut groups = Vec::new();
        if let Some(&bytes) = self.files.get(&place.segment) {
            self.reader.enter(place.segment, bytes);
            let body = self.reader.damaged_body(place.offset)?;
            // As far as the heads of its records can be believed.
            groups.extend(Records::new(&body).map_while(Result::ok).map(|(head, ..)| head.group));
            groups.sort_unstable();
            groups.dedup();
        }
        let Place { segment, offset, frame } = place;
        Ok(RecoverError::Corrupt {
            damage,
            segment,
            offset,
            frame,
            groups,
        })
    }

    /// Builds the log that goes on from here.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call per way a log can begin; a struct would only rename them"
    )]
    fn open(
        self,
        opts: LogOptions,
        groups: GroupSlots,
        cached_bytes: u64,
        live: Vec<LiveSegment>,
        used: &[SegmentId],
        tail: Tail,
        records: u64,
    ) -> CoreLog {
        let newest = self.files.keys().next_back().map_or(0, |id| id.0);
        let mut segments = Segments::new(opts.segment_bytes, opts.spare_segments, SegmentId(newest + 1));
        let last_frame = live.last().map_or(FrameNo(0), |s| s.last_frame);
        let mut held = Held::Nothing;
        for (&id, &bytes) in &self.files {
            if live.iter().any(|s| s.id == id) {
                continue;
            }
            if used.contains(&id) || self.successor == Some(id) {
                held = Held::UntilCheckpoint;
                segments.add_held(id, bytes);
            } else {
                segments.add_free(id, bytes);
            }
        }
        // Numbers of dropped frames are not used again: nothing that lies about can be taken for something new.
        let written = self.seen.last.max(last_frame);
        let durable = self.seen.durable.min(last_frame);
        let mut dirty: Vec<_> = live
            .iter()
            .filter(|s| s.last_frame > durable)
            .map(|s| (s.id, s.last_frame))
            .collect();
        if let Some(newest) = dirty.last_mut() {
            newest.1 = written;
        }
        let report = RecoveryReport {
            tail,
            segments: live.len() as u64,
            frames: self.frames,
            records,
            bytes: self.bytes,
            last_frame,
        };
        segments.live.extend(live);
        for group in groups.iter().flatten() {
            group.locs().for_each(|loc| remember(&mut segments, loc));
        }
        let next_frame = FrameNo(written.0 + 1);
        let prev_body_crc = self.prev_body_crc.unwrap_or(0);
        CoreLog {
            builder: FrameBuilder::new(
                opts.block_bytes,
                opts.frame_bytes_max,
                opts.core,
                next_frame,
                prev_body_crc,
            ),
            flights: Flights::new(written, durable, dirty),
            groups,
            segments,
            cached_bytes,
            has_pinned: false,
            failed: None,
            seal: Seal::Open,
            tail_sealed: false,
            cut_at: Tick::ZERO,
            active_at: Tick::ZERO,
            write_ns: 0,
            held,
            stats: LogStats::default(),
            first_frame: next_frame,
            report,
            opts,
        }
    }
}

impl CkptSegment {
    pub(super) fn place(&self) -> Place {
        Place {
            segment: self.id,
            offset: 0,
            frame: self.first_frame,
        }
    }
}
