//! A sorted file: its frame, each of its blocks, and every value that it refers to in a damaged blob file.

use std::collections::BTreeMap;

use slotcore_rt::buf::AlignedBuf;

use super::finding::{AuditError, AuditedFile, Finding, Verdict};
use crate::manifest::FileRef;
use crate::sst::{Body, FileId, Opening, PageRange, SstError, SstReader, blob_value};
use crate::store::{FileName, FileSource};

/// Reads whole pages of a file that is long enough.
pub(super) fn read(
    files: &mut dyn FileSource,
    file: FileName,
    range: PageRange,
    buf: &mut AlignedBuf,
) -> Result<(), AuditError> {
    if buf.capacity() < range.bytes {
        *buf = AlignedBuf::with_capacity(range.bytes);
    }
    buf.clear();
    files.read_at(file, range, buf).map_err(|error| AuditError::Io {
        file: Some(AuditedFile::Store(file)),
        error,
    })
}

/// What is wrong, and where, in a clause.
pub(super) fn describe(error: &SstError) -> (u64, String) {
    use crate::sst::Damage;
    match *error {
        SstError::Corrupt { damage, offset, .. } => {
            let what = match damage {
                Damage::Magic => "not a file of this kind".to_string(),
                Damage::Checksum => "bytes that do not match their checksum".to_string(),
                Damage::Identity => "a page of another file".to_string(),
                Damage::Length { expected: 0, found } => format!("{found} bytes are not whole pages"),
                Damage::Length { expected, found } => format!("{found} bytes instead of {expected}"),
                Damage::Contents => "contents that make no sense".to_string(),
            };
            (offset, what)
        }
        SstError::Version { version, .. } => (0, format!("format version {version}, which is not known here")),
    }
}

/// Checks the file that `named` means, whose length is as it says. `bad_blobs`: blob files with damage
/// somewhere, and how many bytes of each are there.
pub(super) fn audit_sorted(
    files: &mut dyn FileSource,
    named: &FileRef,
    bad_blobs: &BTreeMap<FileId, u64>,
    findings: &mut Vec<Finding>,
) -> Result<(), AuditError> {
    let file = FileName::sorted(named.file);
    let in_use = (named.props.ord_min.max(named.from_ord), named.props.ord_max);
    let corrupt = |offset, bytes, what: String, ords| Finding {
        ords: Some(ords),
        ..Finding::new(Verdict::Corrupt, AuditedFile::Store(file), offset, bytes, what)
    };
    let reader = match open(files, file, named.file_bytes)? {
        Ok(reader) => reader,
        Err(error) => {
            let (offset, what) = describe(&error);
            // Without index or filter none of its records can be found.
            findings.push(corrupt(offset, 0, what, in_use));
            return Ok(());
        }
    };
    if reader.footer_crc() != named.footer_crc || reader.props() != &named.props {
        findings.push(corrupt(
            0,
            0,
            "not the file that the manifest means".to_string(),
            in_use,
        ));
        return Ok(());
    }
    let (mut buf, mut blob) = (AlignedBuf::with_capacity(0), AlignedBuf::with_capacity(0));
    let (mut records, mut damaged) = (0, false);
    for block in 0..reader.blocks() {
        let range = reader.block_range(block);
        read(files, file, range, &mut buf)?;
        let mut pointers = Vec::new();
        let mut strangers = 0;
        let visited = reader.visit_block(block, &buf, &mut |record| {
            records += 1;
            strangers += u64::from(!reader.covers(record.key));
            if let Body::Blob(_, ptr) = record.body
                && bad_blobs.contains_key(&ptr.file)
                && record.key.ord >= named.from_ord
            {
                pointers.push((record.key.ord, ptr));
            }
        });
        if let Err(error) = visited {
            damaged = true;
            let (offset, what) = describe(&error);
            let (first, last) = reader.block_ords(block);
            findings.push(if last < named.from_ord {
                let file = AuditedFile::Store(file);
                Finding::new(Verdict::Unused, file, offset, range.bytes as u64, what)
            } else {
                corrupt(offset, range.bytes as u64, what, (first.max(named.from_ord), last))
            });
            continue;
        }
        if strangers > 0 {
            let what = format!("{strangers} records outside the orders that the file says it has");
            findings.push(corrupt(
                range.offset,
                range.bytes as u64,
                what,
                reader.block_ords(block),
            ));
        }
        for (ord, ptr) in pointers {
            let name = FileName::blob(ptr.file);
            let pages = ptr.range();
            let there = bad_blobs[&ptr.file] >= pages.offset + pages.bytes as u64;
            let is_sound = there && {
                read(files, name, pages, &mut blob)?;
                blob_value(&ptr, &blob).is_ok()
            };
            if !is_sound {
                let what = "a value that cannot be read".to_string();
                findings.push(Finding {
                    ords: Some((ord, ord)),
                    ..Finding::new(
                        Verdict::Corrupt,
                        AuditedFile::Store(name),
                        ptr.offset,
                        u64::from(ptr.len),
                        what,
                    )
                });
            }
        }
    }
    if !damaged && records != named.props.entries {
        let what = format!("{records} records instead of {}", named.props.entries);
        findings.push(corrupt(0, 0, what, in_use));
    }
    Ok(())
}

/// Opens a sorted file as a start does.
fn open(
    files: &mut dyn FileSource,
    file: FileName,
    file_bytes: u64,
) -> Result<Result<SstReader, SstError>, AuditError> {
    let mut opening = match Opening::new(file.id, file_bytes) {
        Ok(opening) => opening,
        Err(error) => return Ok(Err(error)),
    };
    let mut buf = AlignedBuf::with_capacity(0);
    loop {
        read(files, file, opening.need(), &mut buf)?;
        match opening.feed(&buf) {
            Ok(None) => {}
            Ok(Some(reader)) => return Ok(Ok(reader)),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Opens any sorted file, named by a manifest or not: for those who look inside.
///
/// # Errors
/// The file cannot be read; or, inside, it is damaged.
pub fn open_sorted(
    files: &mut dyn FileSource,
    file: FileId,
    file_bytes: u64,
) -> Result<Result<SstReader, SstError>, AuditError> {
    open(files, FileName::sorted(file), file_bytes)
}
