//! `slotcore check`: reads every byte of a stopped directory and says what is damaged, whom it touches, and whether
//! anything was lost that had been acknowledged. With `--repair` it mends first.

mod repair;

use std::cell::RefCell;
use std::rc::Rc;

use slotcore_engine::audit::{CoreAudit, Finding, Verdict, audit_core};
use slotcore_engine::log::{CoreLog, SegmentSource as _};
use slotcore_engine::store::FileSource as _;
use slotcore_rt::disk::DataDir;
use slotcore_rt::ids::{CoreId, LogIndex};

use super::inspect::damage_line;
use super::options::CheckOptions;
use super::out::{Line, Out};
use super::progress::Progress;
use super::sources::{Told, sources};
use super::{CoreFiles, Failure, Outcome, Stopped};
use crate::boot::{cut_short, missing_since_opened};

/// Checks a directory.
///
/// # Errors
/// The directory cannot be taken or read.
pub fn run(options: &CheckOptions) -> Result<Outcome, Failure> {
    let mut out = Out::new(options.json, None);
    // A damaged layout is a damage like others, but without it nobody knows what else there should be.
    let data = DataDir::open_existing(&options.dir)?;
    if let Err(error @ slotcore_rt::disk::LayoutError::Unreadable { .. }) = data.layout_found() {
        let line = Line::new("damage")
            .with("verdict", Verdict::Corrupt.name())
            .with("file", "layout")
            .with("what", error.to_string());
        out.line(&line);
        out.finish()?;
        return Ok(Outcome::Damaged);
    }
    drop(data);
    let stopped = Stopped::open(&options.dir)?;
    if options.repair {
        for files in stopped.cores(None)? {
            repair::repair(&stopped, &files, &options.lose, &mut out)?;
        }
    }
    let outcome = check(&stopped, &mut out)?;
    out.finish()?;
    Ok(outcome)
}

/// Reads everything and prints what is found.
fn check(stopped: &Stopped, out: &mut Out) -> Result<Outcome, Failure> {
    let cores = stopped.cores(None)?;
    let mut total = 0;
    for files in &cores {
        let (mut segments, mut store) = sources(files, &None);
        // The log is read as a start does it, and then all of it.
        total += 2 * segments.list()?.iter().map(|(_, bytes)| bytes).sum::<u64>();
        total += store.list()?.iter().map(|(_, bytes)| bytes).sum::<u64>();
    }
    let progress = Rc::new(RefCell::new(Progress::new("check", total)));
    let mut damaged = false;
    for files in &cores {
        let audit = check_core(files, &Some(progress.clone()))?;
        damaged |= audit.is_damaged();
        print_core(files.core, &audit, out);
    }
    if let Some(progress) = Rc::into_inner(progress) {
        progress.into_inner().finish();
    }
    let line = Line::new("checked")
        .with("cores", cores.len())
        .with("bytes", total)
        .with("result", if damaged { "damaged" } else { "sound" });
    out.line(&line);
    Ok(if damaged { Outcome::Damaged } else { Outcome::Sound })
}

/// Audits a core: its files, and that the segment is there in which its log was last opened.
pub(super) fn check_core(files: &CoreFiles, told: &Told) -> Result<CoreAudit, Failure> {
    let (mut segments, mut store) = sources(files, told);
    let (kept, damaged) = match files.kept_snapshot()? {
        Ok(kept) => (kept.unwrap_or_default(), None),
        Err(what) => (LogIndex(0), Some(Finding::damaged_snapshot(what))),
    };
    let mut audit = audit_core(files.core, &mut segments, &mut store, kept)?;
    audit.findings.extend(damaged);
    // A core that was never opened has no log.
    let has_log = files.log.path().is_dir();
    let mut missing = match has_log {
        true => cut_short(&files.log)?,
        false => None,
    };
    if missing.is_none() && audit.log.refused.is_none() && (has_log || files.was_served) {
        let newest = audit.log.log.as_ref().and_then(CoreLog::newest_segment);
        missing = missing_since_opened(&files.log, newest, files.was_served)?;
    }
    if let Some(missing) = missing {
        let finding = Finding::missing_segment(missing.segment, missing.offset, missing.what);
        audit.findings.insert(0, finding);
    }
    Ok(audit)
}

fn print_core(core: CoreId, audit: &CoreAudit, out: &mut Out) {
    for finding in &audit.findings {
        out.line(&damage_line(core, finding));
    }
    let count = |verdict| {
        audit
            .findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .count()
    };
    let frames = audit.log.segments.iter().map(|survey| survey.count).sum::<u64>();
    let versions = || audit.groups.iter().filter_map(|group| group.version.as_ref());
    let line = Line::new("core")
        .with("core", core.0)
        .with("segments", audit.log.segments.len())
        .with("frames", frames)
        .with("groups", audit.groups.len())
        .with(
            "files",
            versions().map(|version| version.files().count()).sum::<usize>(),
        )
        .with("blobs", versions().map(|version| version.blobs.len()).sum::<usize>())
        .with("corrupt", count(Verdict::Corrupt))
        .with("torn", count(Verdict::Torn))
        .with("unused", count(Verdict::Unused))
        .with("left_over", count(Verdict::LeftOver))
        .with_some("refused", audit.log.refused.clone());
    out.line(&line);
}
