//! The log: what recovery makes of it, and all damage behind the first.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use slotcore_rt::ids::{CoreId, FrameNo, GroupSlot, SegmentId};

use super::finding::{AuditError, AuditedFile, Finding, Verdict};
use crate::log::record::FRAG_MORE;
use crate::log::{
    CKPT_GROUP_BYTES, CoreLog, Damage, Gap, LogOptions, RecordKind, RecoverError, SegmentSource, SegmentSurvey,
    Surveyed, Tail, survey_segment,
};

/// What a log holds, and what of it is damaged.
pub struct LogAudit {
    /// The log as the next start has it, unless it refuses.
    pub log: Option<CoreLog>,
    /// Why the next start refuses it.
    pub refused: Option<String>,
    /// Each segment file.
    pub segments: Vec<SegmentSurvey>,
    /// Segments that count, oldest first.
    pub chain: Vec<SegmentId>,
    /// The newest manifest of each group that can be read, when the log cannot be opened.
    pub manifests: BTreeMap<GroupSlot, Bytes>,
    /// Everything damaged.
    pub findings: Vec<Finding>,
}

/// Reads a whole log. It is read twice: as a start does it, and all of it.
///
/// # Errors
/// The files cannot be listed or read. Damage is no error.
pub fn audit_log(core: CoreId, src: &mut dyn SegmentSource) -> Result<LogAudit, AuditError> {
    let options = LogOptions {
        // Nobody asks for an entry.
        cache_bytes_max: 0,
        ..LogOptions::new(core)
    };
    let recovered = match CoreLog::recover(options, src, &mut |_| {}) {
        Err(RecoverError::Io { segment, error, .. }) => return Err(io_error(segment, error)),
        recovered => recovered,
    };
    let mut listed = src.list().map_err(|error| AuditError::Io { file: None, error })?;
    listed.sort_unstable();
    let mut audit = LogAudit {
        log: None,
        refused: None,
        segments: Vec::new(),
        chain: Vec::new(),
        manifests: BTreeMap::new(),
        findings: Vec::new(),
    };
    for (id, bytes) in listed {
        let mut manifests = Manifests::default();
        match survey_segment(src, core, id, bytes, &mut |found| manifests.take(&found)) {
            Ok(survey) => {
                if recovered.is_err() {
                    audit.manifests.append(&mut manifests.found);
                }
                audit.segments.push(survey);
            }
            Err(RecoverError::Io { segment, error, .. }) => return Err(io_error(segment, error)),
            // What it means is said by recovery, which meets it as well if it matters.
            Err(_) => audit.segments.push(SegmentSurvey {
                id,
                file_bytes: bytes,
                ..SegmentSurvey::default()
            }),
        }
    }
    audit.find_chain();
    match recovered {
        Ok(log) => {
            audit.judge_tail(log.recovery().tail);
            audit.log = Some(log);
        }
        Err(error) => {
            audit.judge_refusal(&error);
            audit.refused = Some(error.to_string());
        }
    }
    audit.findings.sort_by_key(|finding| (finding.file, finding.offset));
    Ok(audit)
}

fn io_error(segment: Option<SegmentId>, error: std::io::Error) -> AuditError {
    let file = segment.map(AuditedFile::Segment);
    AuditError::Io { file, error }
}

/// A finding about a gap.
fn gap_finding(gap: &Gap, verdict: Verdict) -> Finding {
    let file = AuditedFile::Segment(gap.segment);
    Finding {
        groups: gap.groups.clone(),
        frame: Some(gap.frame).filter(|frame| frame.0 > 0),
        entries: gap.entries,
        ..Finding::new(verdict, file, gap.offset, gap.bytes, describe(gap.damage))
    }
}

fn describe(damage: Damage) -> &'static str {
    match damage {
        Damage::Header => "no sound frame header",
        Damage::Identity => "a frame that belongs elsewhere",
        Damage::Body => "a frame whose body does not match its checksum",
        Damage::Chain => "a frame that does not continue the one before",
        Damage::Records => "records that make no sense",
        Damage::MissingSegment => "the file is missing",
        Damage::MissingEntries => "entries that must be there are in no file",
    }
}

impl LogAudit {
    fn survey(&self, id: SegmentId) -> Option<&SegmentSurvey> {
        self.segments.iter().find(|survey| survey.id == id)
    }

    /// The segment whose checkpoint counts, and those that it names.
    fn find_chain(&mut self) {
        let anchor = self.segments.iter().rev().find(|survey| survey.checkpoint.is_some());
        self.chain = match anchor {
            Some(anchor) => {
                let older = anchor.checkpoint.iter().flatten().map(|old| old.id);
                older.chain([anchor.id]).collect()
            }
            None => Vec::new(),
        };
    }

    /// The log can be opened: whatever cannot be read behind the last frame that counts never counted.
    fn judge_tail(&mut self, tail: Tail) {
        let Some(&anchor) = self.chain.last() else { return };
        let newer = self.segments.iter().filter(|survey| survey.id >= anchor);
        let torn: Vec<Finding> = newer
            .flat_map(|survey| &survey.gaps)
            .map(|gap| gap_finding(gap, Verdict::Torn))
            .collect();
        self.findings.extend(torn);
        if let Tail::Torn { segment, offset, frame } = tail {
            let file = AuditedFile::Segment(segment);
            let known = |f: &Finding| f.file == file && (f.offset..f.offset + f.bytes.max(1)).contains(&offset);
            if !self.findings.iter().any(known) {
                let end = self.survey(segment).map_or(offset, |survey| survey.end.max(offset));
                let what = "frames that were never completed";
                let mut finding = Finding::new(Verdict::Torn, file, offset, end - offset, what);
                finding.frame = Some(frame);
                self.findings.push(finding);
            }
        }
    }

    /// The log cannot be opened.
    fn judge_refusal(&mut self, error: &RecoverError) {
        match error {
            RecoverError::Corrupt {
                damage,
                segment,
                offset,
                frame,
                groups,
            } => {
                let survey = self.survey(*segment);
                let gap = survey.and_then(|survey| survey.gaps.iter().find(|gap| gap.offset == *offset));
                let mut finding = match gap {
                    Some(gap) => gap_finding(gap, Verdict::Corrupt),
                    None => {
                        let file = AuditedFile::Segment(*segment);
                        Finding::new(Verdict::Corrupt, file, *offset, 0, describe(*damage))
                    }
                };
                finding.groups.clone_from(groups);
                finding.frame = Some(*frame).filter(|frame| frame.0 > 0);
                self.findings.push(finding);
            }
            RecoverError::Version { segment, offset, .. } => {
                let file = AuditedFile::Segment(*segment);
                let finding = Finding::new(Verdict::Corrupt, file, *offset, 0, error.to_string());
                self.findings.push(finding);
            }
            RecoverError::Io { .. } => {}
        }
        self.judge_others();
    }

    /// What is damaged besides the place at which recovery gave up.
    fn judge_others(&mut self) {
        let anchor = self.chain.last().copied().unwrap_or(SegmentId(0));
        let durable = self.segments.iter().filter(|survey| survey.id >= anchor);
        let durable = durable.map(|survey| survey.durable).max().unwrap_or_default();
        let mut more = Vec::new();
        let ends = self
            .survey(anchor)
            .and_then(|survey| survey.checkpoint.clone())
            .unwrap_or_default();
        for old in &ends {
            let file = AuditedFile::Segment(old.id);
            // A segment that is missing was given back; whether it is missed, recovery says.
            let Some(survey) = self.survey(old.id) else { continue };
            let gaps = survey.gaps.iter().filter(|gap| gap.offset < old.end);
            more.extend(gaps.map(|gap| gap_finding(gap, Verdict::Corrupt)));
            let covered = survey.gaps.iter().any(|gap| gap.offset + gap.bytes >= old.end);
            if survey.end < old.end && !covered {
                let what = format!("its frames end before frame {}", old.last_frame);
                more.push(Finding::new(
                    Verdict::Corrupt,
                    file,
                    survey.end,
                    old.end - survey.end,
                    what,
                ));
            }
        }
        for survey in self.segments.iter().filter(|survey| survey.id >= anchor) {
            for gap in &survey.gaps {
                let verdict = if gap.frame <= durable && gap.frame > FrameNo(0) {
                    Verdict::Corrupt
                } else {
                    Verdict::Torn
                };
                more.push(gap_finding(gap, verdict));
            }
        }
        for finding in more {
            let known = |f: &Finding| f.file == finding.file && f.offset == finding.offset;
            if !self.findings.iter().any(known) {
                self.findings.push(finding);
            }
        }
    }
}

/// The last manifest of each group that a segment's sound frames hold.
#[derive(Default)]
struct Manifests {
    found: BTreeMap<GroupSlot, Bytes>,
    pending: BytesMut,
}

impl Manifests {
    fn take(&mut self, found: &Surveyed<'_>) {
        let Surveyed::Frame { records, .. } = found else {
            self.pending.clear();
            return;
        };
        for record in records.iter() {
            let at = match record.head.kind {
                RecordKind::Manifest | RecordKind::SnapshotInstalled => 0,
                RecordKind::CkptGroup => CKPT_GROUP_BYTES,
                _ => continue,
            };
            self.pending.extend_from_slice(record.payload);
            if record.head.flags & FRAG_MORE == 0 {
                let whole = std::mem::take(&mut self.pending).freeze();
                if let Some(manifest) = whole.get(at..) {
                    self.found.insert(record.head.group, whole.slice_ref(manifest));
                }
            }
        }
    }
}
