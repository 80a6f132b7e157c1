//! `slotcore inspect`: everything stored, printed. Damaged parts are named, never left out.

mod keys;
mod log;
mod manifest;
mod sst;

use slotcore_engine::audit::Finding;
use slotcore_rt::ids::CoreId;

use super::options::{InspectOptions, Inspected};
use super::out::{Line, Out};
use super::{Failure, Outcome, Stopped};

/// Prints what is asked for.
///
/// # Errors
/// The directory cannot be taken or read.
pub fn run(options: &InspectOptions) -> Result<Outcome, Failure> {
    let stopped = Stopped::open(&options.dir)?;
    let mut out = Out::new(options.json, options.limit);
    let mut damaged = false;
    for files in stopped.cores(options.core)? {
        damaged |= match options.what {
            Inspected::Log => log::print(&files, &mut out)?,
            Inspected::Sst => sst::print(&files, &mut out)?,
            Inspected::Keys => keys::print(&files, &mut out)?,
            Inspected::Manifest => manifest::print(&files, &mut out)?,
        };
        if out.is_full() {
            break;
        }
    }
    out.finish()?;
    Ok(if damaged { Outcome::Damaged } else { Outcome::Sound })
}

/// A damaged place, for people and programs; `check` prints the same.
pub(super) fn damage_line(core: CoreId, finding: &Finding) -> Line {
    let (before, behind) = finding.entries;
    let slots = finding.slots();
    let groups: Vec<u16> = finding.groups.iter().map(|group| group.0).collect();
    Line::new("damage")
        .with("verdict", finding.verdict.name())
        .with("core", core.0)
        .with("file", format!("core-{core}/{}", finding.file))
        .with("offset", finding.offset)
        .with("bytes", finding.bytes)
        .with("what", finding.what.clone())
        .with("groups", groups)
        .with_some("frame", finding.frame.map(|frame| frame.0))
        .with_some("entry_before", before.map(|index| index.0))
        .with_some("entry_behind", behind.map(|index| index.0))
        .with_some("ord_first", finding.ords.map(|(first, _)| first))
        .with_some("ord_last", finding.ords.map(|(_, last)| last))
        .with_some("slot_first", slots.map(|(first, _)| first))
        .with_some("slot_last", slots.map(|(_, last)| last))
}
