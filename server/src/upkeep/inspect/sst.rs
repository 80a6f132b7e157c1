//! Sorted files and blob files: what they are, their blocks and records.

use std::collections::BTreeSet;

use slotcore_engine::audit::{AuditedFile, Verdict, audit_core, open_sorted};
use slotcore_engine::database::split;
use slotcore_engine::ord::SLOT_SHIFT;
use slotcore_engine::sst::{Body, Family, Kind, Record, SstReader};
use slotcore_engine::store::{FileKind, FileName, FileSource as _};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ids::{CoreId, LogIndex};

use super::damage_line;
use crate::upkeep::out::{Line, Out, show};
use crate::upkeep::sources::{Files, sources};
use crate::upkeep::{CoreFiles, Failure};

/// Prints the files of a core. True when one that counts is damaged.
pub(super) fn print(files: &CoreFiles, out: &mut Out) -> Result<bool, Failure> {
    let (mut segments, mut source) = sources(files, &None);
    let audit = audit_core(files.core, &mut segments, &mut source, LogIndex(0))?;
    for finding in &audit.findings {
        if matches!(finding.file, AuditedFile::Store(_)) {
            out.line_always(&damage_line(files.core, finding));
        }
    }
    let versions = audit.groups.iter().filter_map(|group| group.version.as_ref());
    let named: BTreeSet<FileName> = versions
        .flat_map(|version| {
            let blobs = version.blobs.iter().map(|blob| FileName::blob(blob.file));
            version.files().map(|file| FileName::sorted(file.file)).chain(blobs)
        })
        .collect();
    for (file, bytes) in source.list()? {
        let line = Line::new(match file.kind {
            FileKind::Sorted => "sst",
            FileKind::Blob => "blob",
        });
        let line = line
            .with("core", files.core.0)
            .with("file", file.id.0)
            .with("bytes", bytes)
            .with("in_manifest", named.contains(&file));
        let opened = match file.kind {
            FileKind::Sorted => Some(open_sorted(&mut source, file.id, bytes)?),
            FileKind::Blob => None,
        };
        match opened {
            None => out.line(&line),
            Some(Ok(reader)) => {
                out.line(&with_props(line, &reader));
                print_blocks(files.core, &reader, &mut source, out);
            }
            Some(Err(error)) => out.line_always(&line.with("unreadable", error.to_string())),
        }
        if out.is_full() {
            break;
        }
    }
    let hit = |finding: &slotcore_engine::audit::Finding| finding.verdict == Verdict::Corrupt;
    Ok(audit.findings.iter().any(hit))
}

fn with_props(line: Line, reader: &SstReader) -> Line {
    let props = reader.props();
    let family = match reader.family() {
        Family::Keys => "keys",
        Family::Elements => "elements",
    };
    line.with("family", family)
        .with("blocks", reader.blocks())
        .with("records", props.entries)
        .with("tombstones", props.tombstones)
        .with("expiring", props.expiring)
        .with("user_bytes", props.user_bytes)
        .with("filter_bytes", reader.filter_bytes())
        .with("ord_first", props.ord_min)
        .with("ord_last", props.ord_max)
        .with("index_first", props.index_min.0)
        .with("index_last", props.index_max.0)
        .with("blobs", props.blobs.len())
}

fn print_blocks(core: CoreId, reader: &SstReader, source: &mut Files, out: &mut Out) {
    for block in 0..reader.blocks() {
        if out.is_full() {
            return;
        }
        let range = reader.block_range(block);
        let (first, last) = reader.block_ords(block);
        let line = Line::new("block")
            .with("core", core.0)
            .with("file", reader.file().0)
            .with("block", block)
            .with("offset", range.offset)
            .with("bytes", range.bytes)
            .with("ord_first", first)
            .with("ord_last", last);
        let mut buf = AlignedBuf::with_capacity(range.bytes);
        if let Err(error) = source.read_at(FileName::sorted(reader.file()), range, &mut buf) {
            out.line_always(&line.with("unreadable", error.to_string()));
            continue;
        }
        // Records before a damaged place are shown, too.
        let mut records = Vec::new();
        let visited = reader.visit_block(block, &buf, &mut |record| records.push(record_line(reader, &record)));
        match visited {
            Ok(()) => out.line(&line),
            Err(error) => out.line_always(&line.with("unreadable", error.to_string())),
        }
        records.iter().for_each(|record| out.line(record));
    }
}

fn record_line(reader: &SstReader, record: &Record<'_>) -> Line {
    let (what, bytes, blob) = match record.body {
        Body::Tombstone => ("deleted", 0, None),
        Body::DeadCollection => ("dead collection", 0, None),
        Body::Inline(kind, value) => (kind_name(kind), value.len(), None),
        Body::Blob(kind, ptr) => (kind_name(kind), ptr.len as usize, Some(ptr)),
    };
    let line = match reader.family() {
        Family::Keys => {
            let (database, users_key) = split(record.key.tail);
            Line::new("record")
                .with("database", database.number())
                .with("key", show(users_key))
        }
        Family::Elements => Line::new("element").with("place", show(record.key.tail)),
    };
    line.with("slot", record.key.ord >> SLOT_SHIFT)
        .with("ord", record.key.ord)
        .with("kind", what)
        .with("bytes", bytes)
        .with_some("expire_ms", record.expire_ms)
        .with_some("blob", blob.map(|ptr| ptr.file.0))
        .with_some("blob_offset", blob.map(|ptr| ptr.offset))
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Str => "string",
        Kind::Packed => "collection",
        Kind::Meta => "collection in elements",
        Kind::Element => "element",
    }
}
