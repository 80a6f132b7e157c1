//! Looking at a log without believing it: every frame that can be read, and every place where one should be.
//!
//! Recovery stops at the first damage, because nothing behind it may be served. A survey goes on behind it, so that a
//! person learns how much is damaged, and what is still there. It decides nothing: see [`crate::audit`].

use bytes::BytesMut;
use slotcore_rt::ids::{CoreId, FrameNo, GroupSlot, LogIndex, SegmentId};

use super::checkpoint::{CkptSegment, decode_head};
use super::error::{Damage, RecoverError};
use super::frame::{BLOCK_BYTES_MIN, FRAME_HEADER_BYTES, FrameFlags, FrameHeader};
use super::record::{FRAG_MORE, RecordHeader, RecordKind, Records};
use super::scan::{Expect, Reader, SegmentSource};

/// One record of a frame, or a fragment of it.
#[derive(Clone, Copy, Debug)]
pub struct SurveyedRecord<'a> {
    /// Its head.
    pub head: RecordHeader,
    /// Its payload, or that of the fragment.
    pub payload: &'a [u8],
}

/// What lies at a place of a segment.
#[derive(Debug)]
pub enum Surveyed<'a> {
    /// A frame whose header and body have their checksums.
    Frame {
        /// Where it starts, in bytes.
        offset: u64,
        /// Its header.
        header: &'a FrameHeader,
        /// Its records, up to the first that makes no sense.
        records: &'a [SurveyedRecord<'a>],
    },
    /// No readable frame, though one behind it shows that there was one.
    Gap(Gap),
}

/// A part of a segment that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The segment.
    pub segment: SegmentId,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its length, in bytes.
    pub bytes: u64,
    /// The first frame that is missing; 0 = not known.
    pub frame: FrameNo,
    /// What is wrong with that one.
    pub damage: Damage,
    /// Groups whose records were in it, as far as can be told; empty = it may be any group.
    pub groups: Vec<GroupSlot>,
    /// The last entry before it and the first behind it in the segment, of any group; `None`: there is none.
    pub entries: (Option<LogIndex>, Option<LogIndex>),
}

/// An older segment, as the checkpoint of a later one knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainedSegment {
    /// Its id.
    pub id: SegmentId,
    /// Its first frame.
    pub first_frame: FrameNo,
    /// Its last frame that counts.
    pub last_frame: FrameNo,
    /// Bytes of frames up to that one.
    pub end: u64,
}

impl From<CkptSegment> for ChainedSegment {
    fn from(s: CkptSegment) -> Self {
        let CkptSegment {
            id,
            first_frame,
            last_frame,
            end,
        } = s;
        Self {
            id,
            first_frame,
            last_frame,
            end,
        }
    }
}

/// What a segment holds.
#[derive(Clone, Debug, Default)]
pub struct SegmentSurvey {
    /// The segment.
    pub id: SegmentId,
    /// Bytes of its file.
    pub file_bytes: u64,
    /// First and last frame that can be read; `None`: there is none under this name of the file.
    pub frames: Option<(FrameNo, FrameNo)>,
    /// Frames that can be read.
    pub count: u64,
    /// Where the last of them ends, in bytes.
    pub end: u64,
    /// The highest frame that any of its headers knew to be durable.
    pub durable: FrameNo,
    /// The segments before it, when its checkpoint is whole.
    pub checkpoint: Option<Vec<ChainedSegment>>,
    /// The segment that follows it, when it says so.
    pub next: Option<SegmentId>,
    /// Its last frame was written on purpose at the end of a process.
    pub clean: bool,
    /// What cannot be read.
    pub gaps: Vec<Gap>,
}

/// Looks at a segment from its beginning to its end; `visit` is shown what is there, in order.
///
/// # Errors
/// Reading fails, or a sound frame has a format that this version does not know. Damage is no error.
pub fn survey_segment(
    src: &mut dyn SegmentSource,
    core: CoreId,
    id: SegmentId,
    file_bytes: u64,
    visit: &mut dyn FnMut(Surveyed<'_>),
) -> Result<SegmentSurvey, RecoverError> {
    let mut reader = Reader::new(src, core);
    reader.enter(id, file_bytes);
    let survey = SegmentSurvey {
        id,
        file_bytes,
        ..SegmentSurvey::default()
    };
    let mut walk = Walk {
        reader,
        survey,
        salt: None,
        prev_body_crc: None,
        last_entry: None,
        checkpoint: Some(BytesMut::new()),
        gap: None,
    };
    walk.run(visit)?;
    Ok(walk.survey)
}

struct Walk<'a> {
    reader: Reader<'a>,
    survey: SegmentSurvey,
    salt: Option<u64>,
    prev_body_crc: Option<u32>,
    last_entry: Option<LogIndex>,
    /// The list of older segments, while the checkpoint is being read and whole so far.
    checkpoint: Option<BytesMut>,
    /// Shown once it is known which entry comes behind it.
    gap: Option<Gap>,
}

impl Walk<'_> {
    fn run(&mut self, visit: &mut dyn FnMut(Surveyed<'_>)) -> Result<(), RecoverError> {
        let mut offset = 0;
        while let Some((at, header)) = self.next_header(offset)? {
            if at > offset {
                self.prev_body_crc = None;
                self.open_gap(offset, at, Damage::Header)?;
            }
            offset = at + header.frame_bytes() as u64;
            self.frame(at, &header, visit)?;
        }
        // One that never ended.
        self.spoil_checkpoint();
        self.show_gap(None, visit);
        Ok(())
    }

    fn spoil_checkpoint(&mut self) {
        if self.checkpoint.take().is_some() {
            self.survey.checkpoint = None;
        }
    }

    /// The first header at `from` or behind it that goes on with this use of the segment.
    fn next_header(&mut self, from: u64) -> Result<Option<(u64, FrameHeader)>, RecoverError> {
        let last = self.survey.frames.map_or(FrameNo(0), |(_, last)| last);
        let mut at = from;
        while at + FRAME_HEADER_BYTES as u64 <= self.survey.file_bytes {
            let found = match self.reader.header_at(at) {
                // Behind the frames of this use lie those of an earlier one, of whatever version.
                Err(RecoverError::Version { .. }) if self.salt.is_some() => None,
                found => found?,
            };
            if let Some(header) = found
                && self.salt.is_none_or(|salt| salt == header.salt)
                && header.frame_no > last
            {
                return Ok(Some((at, header)));
            }
            at += BLOCK_BYTES_MIN as u64;
        }
        Ok(None)
    }

    /// The frame of a sound header, whose body may be damaged.
    fn frame(
        &mut self,
        offset: u64,
        header: &FrameHeader,
        visit: &mut dyn FnMut(Surveyed<'_>),
    ) -> Result<(), RecoverError> {
        self.salt.get_or_insert(header.salt);
        let first = self.survey.frames.map_or(header.frame_no, |(first, _)| first);
        self.survey.frames = Some((first, header.frame_no));
        self.survey.durable = self.survey.durable.max(header.durable_no);
        let end = offset + header.frame_bytes() as u64;
        let expect = Expect {
            frame_no: header.frame_no,
            salt: self.salt,
            prev_body_crc: self.prev_body_crc,
        };
        let body = match self.reader.frame_at(offset, expect)? {
            // A copy: whoever is shown it may take its time.
            Ok((_, body)) => body.to_vec(),
            Err(damage) => {
                // The next frame states the checksum that this one should have.
                self.prev_body_crc = Some(header.body_crc);
                return self.open_gap(offset, end, damage);
            }
        };
        let mut records = Vec::with_capacity(usize::from(header.nrec));
        let mut bad = false;
        for record in Records::new(&body) {
            match record {
                Ok((head, _, payload)) => records.push(SurveyedRecord { head, payload }),
                Err(_) => bad = true,
            }
        }
        let is_entry =
            |record: &&SurveyedRecord<'_>| matches!(record.head.kind, RecordKind::Entry | RecordKind::Rewrite);
        let first_entry = records.iter().find(is_entry).map(|r| LogIndex(r.head.index));
        let last_entry = records.iter().rev().find(is_entry).map(|r| LogIndex(r.head.index));
        if let Some(ckpt) = &mut self.checkpoint {
            let heads = records.iter().filter(|r| r.head.kind == RecordKind::CkptHead);
            let mut whole = offset > 0 || header.flags.has(FrameFlags::CKPT_BEGIN);
            for record in heads {
                ckpt.extend_from_slice(record.payload);
                if record.head.flags & FRAG_MORE == 0 {
                    let decoded = decode_head(ckpt).map(|list| list.into_iter().map(Into::into).collect());
                    whole &= decoded.is_some();
                    self.survey.checkpoint = decoded;
                }
            }
            if !whole {
                self.spoil_checkpoint();
            } else if header.flags.has(FrameFlags::CKPT_END) {
                self.checkpoint = None;
            }
        }
        let survey = &mut self.survey;
        let ends = records.iter().find(|r| r.head.kind == RecordKind::SegmentEnd);
        survey.next = ends.map(|r| SegmentId(r.head.index)).or(survey.next);
        survey.clean = header.flags.has(FrameFlags::CLEAN);
        survey.count += 1;
        survey.end = end;
        self.show_gap(first_entry, visit);
        visit(Surveyed::Frame {
            offset,
            header,
            records: &records,
        });
        self.last_entry = last_entry.or(self.last_entry);
        self.prev_body_crc = Some(header.body_crc);
        if bad {
            return self.open_gap(offset, end, Damage::Records);
        }
        Ok(())
    }

    /// A gap begins, or the one that ends where this one begins goes on.
    fn open_gap(&mut self, from: u64, to: u64, damage: Damage) -> Result<(), RecoverError> {
        let body = self.reader.damaged_body(from)?;
        // As far as the heads of its records can be believed.
        let mut groups: Vec<GroupSlot> = Records::new(&body)
            .map_while(Result::ok)
            .map(|(head, ..)| head.group)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        self.spoil_checkpoint();
        match &mut self.gap {
            Some(gap) => {
                gap.bytes = to - gap.offset;
                gap.groups.append(&mut groups);
                gap.groups.sort_unstable();
                gap.groups.dedup();
            }
            None => {
                let last = self.survey.frames.map_or(0, |(_, last)| last.0);
                let frame = if damage == Damage::Header && last > 0 {
                    last + 1
                } else {
                    last
                };
                self.gap = Some(Gap {
                    segment: self.survey.id,
                    offset: from,
                    bytes: to - from,
                    frame: FrameNo(frame),
                    damage,
                    groups,
                    entries: (self.last_entry, None),
                });
            }
        }
        Ok(())
    }

    fn show_gap(&mut self, entry_behind: Option<LogIndex>, visit: &mut dyn FnMut(Surveyed<'_>)) {
        if let Some(mut gap) = self.gap.take() {
            gap.entries.1 = entry_behind;
            visit(Surveyed::Gap(gap.clone()));
            self.survey.gaps.push(gap);
        }
    }
}
