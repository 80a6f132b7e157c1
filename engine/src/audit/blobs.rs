//! Blob files: each checked from end to end.

use slotcore_rt::buf::AlignedBuf;

use super::finding::{AuditError, AuditedFile, Finding, Verdict};
use super::sorted::{describe, read};
use crate::manifest::BlobFile;
use crate::sst::{BlobCheck, PageRange};
use crate::store::{FileName, FileSource};

/// Checks a blob file of the right length. It is held in memory as a whole: files of values end at 256 MiB, or with the
/// one value that is larger.
///
/// True when it is sound. If not, the values in it that are in use are to be looked at one by one.
pub(super) fn audit_blob(
    files: &mut dyn FileSource,
    named: &BlobFile,
    findings: &mut Vec<Finding>,
) -> Result<bool, AuditError> {
    let file = FileName::blob(named.file);
    let mut buf = AlignedBuf::with_capacity(0);
    let bytes = usize::try_from(named.file_bytes).unwrap_or(usize::MAX);
    read(files, file, PageRange { offset: 0, bytes }, &mut buf)?;
    match BlobCheck::whole(named.file, &buf) {
        Ok(_) => Ok(true),
        Err(error) => {
            let (offset, what) = describe(&error);
            findings.push(Finding::new(
                Verdict::Corrupt,
                AuditedFile::Store(file),
                offset,
                0,
                what,
            ));
            Ok(false)
        }
    }
}
