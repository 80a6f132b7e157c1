//! Mending a core. Each step is tried on paper first: the log is opened as it would be afterwards, and only what then is
//! sound is done. Files are moved to `damaged/`, never deleted.

use std::io;

use slotcore_engine::audit::{AuditedFile, CoreAudit, Finding, Verdict, audit_core};
use slotcore_engine::log::{CoreLog, LogOptions, SegmentSource, segment_file_name};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::disk::aside::zero_from;
use slotcore_rt::disk::opening::OPENED_FILE;
use slotcore_rt::ids::{CoreId, SegmentId};

use super::check_core;
use crate::upkeep::out::{Line, Out};
use crate::upkeep::sources::{Segments, sources};
use crate::upkeep::{CoreFiles, Failure, Stopped};

/// Mends what can be mended of a core, and gives up the files in `lose`. Says what was done.
pub(super) fn repair(stopped: &Stopped, files: &CoreFiles, lose: &[String], out: &mut Out) -> Result<(), Failure> {
    let audit = check_core(files, &None)?;
    put_left_over_aside(stopped, files, &audit, out)?;
    if drop_unneeded_segments(stopped, files, &audit, out)? {
        return Ok(());
    }
    for finding in audit
        .findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Corrupt)
    {
        let name = format!("core-{}/{}", files.core, finding.file);
        if !lose.contains(&name) {
            continue;
        }
        match finding.file {
            AuditedFile::Segment(segment) => return cut_log(stopped, files, finding, segment, out),
            AuditedFile::Store(_) => {
                // Without it, older values of its keys would come back as if they were the newest.
                let what = "a file of keys cannot be given up: restore a backup";
                out.line(&Line::new("not-mended").with("file", name).with("what", what));
            }
            AuditedFile::Snapshot => {
                let what = "the log begins behind what it stood for: restore a backup";
                out.line(&Line::new("not-mended").with("file", name).with("what", what));
            }
        }
    }
    Ok(())
}

fn put_left_over_aside(stopped: &Stopped, files: &CoreFiles, audit: &CoreAudit, out: &mut Out) -> Result<(), Failure> {
    for finding in audit
        .findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::LeftOver)
    {
        let path = stopped.path(&format!("core-{}/{}", files.core, finding.file));
        let to = stopped.data.move_aside(&path)?;
        let line = Line::new("mended")
            .with("file", path.display().to_string())
            .with("moved_to", to.display().to_string())
            .with("lost", "nothing: no manifest names it");
        out.line(&line);
    }
    Ok(())
}

/// An old segment whose entries are in files by now is not needed any more, damaged or not.
fn drop_unneeded_segments(
    stopped: &Stopped,
    files: &CoreFiles,
    audit: &CoreAudit,
    out: &mut Out,
) -> Result<bool, Failure> {
    let newest = audit.log.chain.last().copied().unwrap_or(SegmentId(0));
    let damaged = audit
        .log
        .findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Corrupt);
    let damaged = damaged.filter_map(|finding| match finding.file {
        AuditedFile::Segment(segment) => Some(segment),
        AuditedFile::Store(_) | AuditedFile::Snapshot => None,
    });
    let Some(last) = damaged
        .max()
        .filter(|&last| audit.log.refused.is_some() && last < newest)
    else {
        return Ok(false);
    };
    let without = Limit {
        after: last,
        ..Limit::default()
    };
    if !is_sound(files, without)? {
        return Ok(false);
    }
    for survey in audit.log.segments.iter().filter(|survey| survey.id <= last) {
        let to = stopped.data.move_aside(&files.log.segment_path(survey.id))?;
        let line = Line::new("mended")
            .with(
                "file",
                format!("core-{}/log/{}", files.core, segment_file_name(survey.id)),
            )
            .with("moved_to", to.display().to_string())
            .with("lost", "nothing: all its entries are in files of keys");
        out.line(&line);
    }
    Ok(true)
}

/// Gives up the log from a damaged place on.
fn cut_log(
    stopped: &Stopped,
    files: &CoreFiles,
    finding: &Finding,
    segment: SegmentId,
    out: &mut Out,
) -> Result<(), Failure> {
    let name = format!("core-{}/{}", files.core, finding.file);
    let cut = Limit {
        cut: Some((segment, finding.offset)),
        ..Limit::default()
    };
    if !is_sound(files, cut)? {
        let what = "what would be left is not sound either: restore a backup";
        out.line(&Line::new("not-mended").with("file", name).with("what", what));
        return Ok(());
    }
    let mut left = Limited::new(files, cut);
    let log = CoreLog::recover(options(files.core), &mut left, &mut |_| {})?;
    let path = files.log.segment_path(segment);
    if path.is_file() {
        stopped.data.copy_aside(&path)?;
        zero_from(&path, finding.offset)?;
    }
    for found in files.log.list()?.into_iter().filter(|found| found.id > segment) {
        stopped.data.move_aside(&files.log.segment_path(found.id))?;
    }
    let opened = files.log.path().join(OPENED_FILE);
    if opened.is_file() {
        stopped.data.move_aside(&opened)?;
    }
    for (slot, group) in log.groups() {
        let line = Line::new("mended")
            .with("file", name.clone())
            .with("group", slot.0)
            .with("lost", format!("everything written after entry {}", group.last().index));
        out.line(&line);
    }
    Ok(())
}

fn options(core: CoreId) -> LogOptions {
    LogOptions {
        cache_bytes_max: 0,
        ..LogOptions::new(core)
    }
}

/// Whether a core would be sound with this much of its log.
fn is_sound(files: &CoreFiles, limit: Limit) -> Result<bool, Failure> {
    let (_, mut store) = sources(files, &None);
    // A damaged one is told by the check itself.
    let kept = files.kept_snapshot()?.ok().flatten().unwrap_or_default();
    let audit = audit_core(files.core, &mut Limited::new(files, limit), &mut store, kept)?;
    Ok(!audit.is_damaged() && !audit.groups.is_empty())
}

/// What of a log is looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Limit {
    /// Only segments behind this one.
    after: SegmentId,
    /// Nothing from this place on.
    cut: Option<(SegmentId, u64)>,
}

struct Limited {
    segments: Segments,
    limit: Limit,
}

impl Limited {
    fn new(files: &CoreFiles, limit: Limit) -> Self {
        let (segments, _) = sources(files, &None);
        Self { segments, limit }
    }
}

impl SegmentSource for Limited {
    fn list(&mut self) -> io::Result<Vec<(SegmentId, u64)>> {
        let limit = self.limit;
        let mut listed = self.segments.list()?;
        listed.retain(|(id, _)| *id > limit.after && limit.cut.is_none_or(|(last, _)| *id <= last));
        Ok(listed)
    }

    fn read_at(&mut self, segment: SegmentId, offset: u64, buf: &mut AlignedBuf) -> io::Result<()> {
        self.segments.read_at(segment, offset, buf)?;
        if let Some((last, end)) = self.limit.cut
            && segment == last
        {
            let keep = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
            let keep = keep.min(buf.len());
            buf[keep..].fill(0);
        }
        Ok(())
    }
}
