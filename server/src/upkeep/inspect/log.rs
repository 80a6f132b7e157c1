//! The log: segments, frames, records, and the commands of entries.

use bytes::BytesMut;
use slotcore_engine::audit::audit_log;
use slotcore_engine::cmd::op::{self, BATCH_HEADER_BYTES};
use slotcore_engine::cmd::{Args, by_id};
use slotcore_engine::log::frame::FrameFlags;
use slotcore_engine::log::record::RecordHeader;
use slotcore_engine::log::{RecordKind, SegmentSource as _, Surveyed, SurveyedRecord, survey_segment};
use slotcore_rt::ids::{CoreId, SegmentId};

use super::damage_line;
use crate::metadata::{Change, METADATA_GROUP};
use crate::upkeep::out::{Line, Out, show};
use crate::upkeep::sources::sources;
use crate::upkeep::{CoreFiles, Failure};

/// Record flags (`docs/formats/log.md`, "Record").
const MORE: u8 = 1;
const CONT: u8 = 2;
/// Arguments of a command that are shown; how many there are is said.
const ARGS_SHOWN_MAX: usize = 16;

/// Prints the log of a core. True when something of it is damaged that had been durable.
pub(super) fn print(files: &CoreFiles, out: &mut Out) -> Result<bool, Failure> {
    let (mut segments, _) = sources(files, &None);
    let audit = audit_log(files.core, &mut segments)?;
    for finding in &audit.findings {
        out.line_always(&damage_line(files.core, finding));
    }
    let mut listed = segments.list()?;
    listed.sort_unstable();
    for survey in &audit.segments {
        let state = if audit.chain.contains(&survey.id) {
            "in use"
        } else if survey.frames.is_some() {
            "not needed"
        } else {
            "spare"
        };
        let line = Line::new("segment")
            .with("core", files.core.0)
            .with("segment", survey.id.0)
            .with("bytes", survey.file_bytes)
            .with("state", state)
            .with("frames", survey.count)
            .with("end", survey.end)
            .with_some("first_frame", survey.frames.map(|(first, _)| first.0))
            .with_some("last_frame", survey.frames.map(|(_, last)| last.0))
            .with_some("next", survey.next.map(|next| next.0));
        out.line(&line);
        let mut frames = Frames::new(files.core, survey.id, out);
        // What it says of damage was printed already.
        let _ = survey_segment(&mut segments, files.core, survey.id, survey.file_bytes, &mut |found| {
            frames.print(&found);
        });
        if out.is_full() {
            break;
        }
    }
    Ok(audit.refused.is_some())
}

struct Frames<'a> {
    core: CoreId,
    segment: SegmentId,
    out: &'a mut Out,
    /// The payload of an entry, while its fragments come.
    pending: BytesMut,
}

impl<'a> Frames<'a> {
    fn new(core: CoreId, segment: SegmentId, out: &'a mut Out) -> Self {
        let pending = BytesMut::new();
        Self {
            core,
            segment,
            out,
            pending,
        }
    }

    fn print(&mut self, found: &Surveyed<'_>) {
        if self.out.is_full() {
            return;
        }
        let Surveyed::Frame {
            offset,
            header,
            records,
        } = found
        else {
            self.pending.clear();
            return;
        };
        let line = Line::new("frame")
            .with("core", self.core.0)
            .with("segment", self.segment.0)
            .with("offset", *offset)
            .with("frame", header.frame_no.0)
            .with("durable", header.durable_no.0)
            .with("bytes", header.frame_bytes())
            .with("records", header.nrec)
            .with("flags", flags(header.flags));
        self.out.line(&line);
        records.iter().for_each(|record| self.record(record));
    }

    fn record(&mut self, record: &SurveyedRecord<'_>) {
        let head = &record.head;
        let line = Line::new("record")
            .with("core", self.core.0)
            .with("group", head.group.0)
            .with("kind", kind(head.kind))
            .with("index", head.index)
            .with("term", head.term)
            .with("bytes", head.len);
        let fragment = match (head.flags & CONT != 0, head.flags & MORE != 0) {
            (false, false) => None,
            (false, true) => Some("first"),
            (true, true) => Some("middle"),
            (true, false) => Some("last"),
        };
        self.out.line(&line.with_some("fragment", fragment));
        if !matches!(head.kind, RecordKind::Entry | RecordKind::Rewrite) {
            return;
        }
        if head.flags & CONT == 0 {
            self.pending.clear();
        }
        self.pending.extend_from_slice(record.payload);
        if head.flags & MORE == 0 {
            let payload = std::mem::take(&mut self.pending);
            self.entry(head, &payload);
        }
    }

    /// An entry of the metadata group of a cluster.
    fn metadata_entry(&mut self, head: &RecordHeader, payload: &[u8]) {
        let line = |what| {
            Line::new(what)
                .with("core", self.core.0)
                .with("group", head.group.0)
                .with("index", head.index)
        };
        match Change::decode(payload) {
            Ok(change) => {
                let line = line("entry").with("form", "metadata");
                self.out.line(&line.with("change", format!("{change:?}")));
            }
            Err(error) => self
                .out
                .line_always(&line("unreadable").with("what", error.to_string())),
        }
    }

    /// The commands of an entry.
    fn entry(&mut self, head: &RecordHeader, payload: &[u8]) {
        let base = |what| {
            Line::new(what)
                .with("core", self.core.0)
                .with("group", head.group.0)
                .with("index", head.index)
        };
        let batch = match payload.first() {
            None | Some(0xF0..) => {
                let line = base("entry").with("form", if payload.is_empty() { "blank" } else { "membership" });
                self.out.line(&line);
                return;
            }
            Some(_) if head.group == METADATA_GROUP => return self.metadata_entry(head, payload),
            Some(_) => op::decode_header(payload),
        };
        let header = match batch {
            Ok(header) => header,
            Err(error) => {
                let line = base("unreadable").with("what", error.to_string());
                self.out.line_always(&line);
                return;
            }
        };
        let line = base("entry")
            .with("form", "commands")
            .with("time_ms", header.time_ms)
            .with("origin", header.origin)
            .with("batch", header.batch_seq);
        self.out.line(&line);
        let (mut at, mut spans) = (BATCH_HEADER_BYTES, Vec::new());
        while at < payload.len() && !self.out.is_full() {
            match op::decode_op(&payload[at..], &mut spans) {
                Ok((id, bytes)) => {
                    let args = Args::new(&payload[at..], &spans);
                    let name = by_id(id).map_or_else(|| format!("command {}", id.0), |spec| spec.name.to_string());
                    let shown: Vec<String> = args.iter_from(1).take(ARGS_SHOWN_MAX).map(show).collect();
                    let line = base("command")
                        .with("name", name)
                        .with("argc", args.len() - 1)
                        .with("args", shown);
                    self.out.line(&line);
                    at += bytes;
                }
                Err(error) => {
                    let line = base("unreadable").with("what", error.to_string());
                    self.out.line_always(&line);
                    return;
                }
            }
        }
    }
}

fn flags(flags: FrameFlags) -> String {
    let names = [
        (FrameFlags::CKPT_BEGIN, "ckpt-begin"),
        (FrameFlags::CKPT_END, "ckpt-end"),
        (FrameFlags::SEAL, "seal"),
        (FrameFlags::CLEAN, "clean"),
        (FrameFlags::OPENED, "opened"),
    ];
    let set = names.iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, name)| *name);
    set.collect::<Vec<_>>().join(",")
}

fn kind(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Entry => "entry",
        RecordKind::Rewrite => "rewrite",
        RecordKind::Vote => "vote",
        RecordKind::Commit => "commit",
        RecordKind::TruncateAfter => "truncate-after",
        RecordKind::Purge => "purge",
        RecordKind::GroupCreate => "group-create",
        RecordKind::GroupDrop => "group-drop",
        RecordKind::Manifest => "manifest",
        RecordKind::SnapshotInstalled => "snapshot-installed",
        RecordKind::CkptHead => "checkpoint-head",
        RecordKind::CkptGroup => "checkpoint-group",
        RecordKind::SegmentEnd => "segment-end",
    }
}
