//! The manifest of each group: which files hold its state, up to which entry.

use slotcore_engine::audit::audit_log;
use slotcore_engine::manifest::{FileRef, TreeVersion, Version};
use slotcore_rt::ids::{CoreId, GroupSlot};

use super::damage_line;
use crate::metadata::machine::kept_in;
use crate::upkeep::out::{Line, Out};
use crate::upkeep::sources::sources;
use crate::upkeep::{CoreFiles, Failure};

/// Prints the manifests of a core. True when the log that holds them, or one of them, is damaged.
pub(super) fn print(files: &CoreFiles, out: &mut Out) -> Result<bool, Failure> {
    let (mut segments, _) = sources(files, &None);
    let audit = audit_log(files.core, &mut segments)?;
    for finding in &audit.findings {
        out.line_always(&damage_line(files.core, finding));
    }
    let mut damaged = audit.refused.is_some();
    let manifests: Vec<_> = match &audit.log {
        Some(log) => log
            .groups()
            .map(|(slot, group)| (slot, Some(group.id().0), group.manifest().clone()))
            .collect(),
        // The newest that can be read; there may have been newer ones.
        None => audit
            .manifests
            .iter()
            .map(|(&slot, bytes)| (slot, None, bytes.clone()))
            .collect(),
    };
    for (slot, id, bytes) in manifests {
        match Version::decode(&bytes) {
            Ok(version) => {
                print_version(files.core, slot, id, &version, out);
                print_metadata(files.core, slot, &version, out);
            }
            Err(error) => {
                damaged = true;
                let line = Line::new("unreadable")
                    .with("core", files.core.0)
                    .with("group", slot.0)
                    .with("what", error.to_string());
                out.line_always(&line);
            }
        }
    }
    Ok(damaged)
}

/// What the metadata group of a cluster keeps beside its files, of which it has none.
fn print_metadata(core: CoreId, slot: GroupSlot, version: &Version, out: &mut Out) {
    let Some(state) = kept_in(version) else { return };
    let line = Line::new("metadata").with("core", core.0).with("group", slot.0);
    match state {
        Ok(state) => {
            let line = line
                .with("epoch", state.epoch)
                .with("replicas", state.replicas)
                .with("nodes", state.nodes.len())
                .with("removed", state.removed.len());
            out.line(&line);
        }
        Err(error) => out.line_always(&line.with("what", error.to_string())),
    }
}

fn print_version(core: CoreId, slot: GroupSlot, id: Option<u64>, version: &Version, out: &mut Out) {
    let line = Line::new("manifest")
        .with("core", core.0)
        .with("group", slot.0)
        .with_some("id", id)
        .with("flushed_index", version.flushed.index.0)
        .with("flushed_term", version.flushed.term.0)
        .with("clock_ms", version.clock_ms)
        .with("keys", version.key_count.total())
        .with("next_file", version.next_file.0)
        .with("files", version.files().count())
        .with("blobs", version.blobs.len())
        .with("side_states", version.side.len());
    out.line(&line);
    for (family, tree) in [("keys", &version.keys), ("elements", &version.elements)] {
        print_tree(core, slot, family, tree, out);
    }
    for blob in &version.blobs {
        let line = Line::new("blob")
            .with("core", core.0)
            .with("group", slot.0)
            .with("file", blob.file.0)
            .with("bytes", blob.file_bytes)
            .with("value_bytes", blob.value_bytes);
        out.line(&line);
    }
}

fn print_tree(core: CoreId, slot: GroupSlot, family: &'static str, tree: &TreeVersion, out: &mut Out) {
    let upper = tree.upper.iter().enumerate();
    let runs = upper.map(|(at, run)| (format!("upper {at}"), run.level, run.live_from, &run.files));
    let lowest = ("lowest".to_string(), 0, 0, &tree.bottom);
    for (run, level, live_from, files) in runs.chain([lowest]) {
        if files.is_empty() {
            continue;
        }
        let line = Line::new("run")
            .with("core", core.0)
            .with("group", slot.0)
            .with("family", family)
            .with("run", run)
            .with("level", level)
            .with("live_from", live_from)
            .with("files", files.len());
        out.line(&line);
        for file in files {
            out.line(&file_line(core, slot, file));
        }
    }
}

fn file_line(core: CoreId, slot: GroupSlot, file: &FileRef) -> Line {
    let props = &file.props;
    Line::new("file")
        .with("core", core.0)
        .with("group", slot.0)
        .with("file", file.file.0)
        .with("bytes", file.file_bytes)
        .with("checksum", format!("{:08x}", file.footer_crc))
        .with("from_ord", file.from_ord)
        .with("records", props.entries)
        .with("tombstones", props.tombstones)
        .with("expiring", props.expiring)
        .with("ord_first", props.ord_min)
        .with("ord_last", props.ord_max)
        .with("index_first", props.index_min.0)
        .with("index_last", props.index_max.0)
        .with("blobs", props.blobs.len())
}
