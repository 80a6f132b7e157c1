//! The manifest as bytes, and back. The log checksums them; what is checked here is that they make sense.
//!
//! Format: `docs/formats/manifest.md`.

use super::edit::in_order;
use super::version::{BlobFile, FileRef, RunVersion, SideState, TreeVersion, Version};
use crate::database::{Counts, DATABASES, Database};
use crate::log::LogPos;
use crate::sst::bytes::{Short, Take, len32, put32, put64};
use crate::sst::{Family, FileId, Props};
use slotcore_rt::ids::{LogIndex, Term};

/// What is written.
const VERSION: u32 = 4;
/// Each tree begins with a figure that is computed now: read, and left alone.
const VERSION_WITH_OVERWRITES: u32 = 3;
/// All keys are counted together: read, and taken to be those of database 0.
const VERSION_OF_ONE_DATABASE: u32 = 2;
/// Without the number of keys and without side state: read, and taken to have neither.
const VERSION_WITHOUT_SIDE: u32 = 1;

/// Why bytes are not a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// Another format version.
    Version(u32),
    /// They end too early, go on too long, or name files that cannot stand side by side.
    Malformed,
}

impl std::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ManifestError::Version(version) => write!(f, "manifest format version {version} is not known here"),
            ManifestError::Malformed => f.write_str("the manifest makes no sense"),
        }
    }
}

impl std::error::Error for ManifestError {}

impl From<Short> for ManifestError {
    fn from(_: Short) -> Self {
        ManifestError::Malformed
    }
}

impl Version {
    /// The payload of a `Manifest` record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put32(&mut out, VERSION);
        put64(&mut out, self.flushed.term.0);
        put64(&mut out, self.flushed.index.0);
        put64(&mut out, self.clock_ms);
        put64(&mut out, self.next_file.0);
        for tree in [&self.keys, &self.elements] {
            put32(&mut out, len32(tree.upper.len()));
            for run in &tree.upper {
                put32(&mut out, u32::from(run.level));
                put64(&mut out, run.live_from);
                put_files(&mut out, &run.files);
            }
            put_files(&mut out, &tree.bottom);
        }
        put32(&mut out, len32(self.blobs.len()));
        for blob in &self.blobs {
            put64(&mut out, blob.file.0);
            put64(&mut out, blob.file_bytes);
            put64(&mut out, blob.value_bytes);
        }
        for database in Database::all() {
            put64(&mut out, self.key_count.of(database));
        }
        put32(&mut out, len32(self.side.len()));
        for side in &self.side {
            put32(&mut out, u32::from(side.kind));
            put32(&mut out, len32(side.bytes.len()));
            out.extend_from_slice(&side.bytes);
        }
        out
    }

    /// Reads what [`Version::encode`] wrote; no bytes at all are the manifest of a group that never flushed.
    ///
    /// # Errors
    /// The bytes are no manifest, or one of another format version.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut from = Take(bytes);
        let version = from.u32()?;
        if !(VERSION_WITHOUT_SIDE..=VERSION).contains(&version) {
            return Err(ManifestError::Version(version));
        }
        let flushed = LogPos {
            term: Term(from.u64()?),
            index: LogIndex(from.u64()?),
        };
        let (clock_ms, next_file) = (from.u64()?, FileId(from.u64()?));
        let keys = take_tree(&mut from, Family::Keys, version)?;
        let elements = take_tree(&mut from, Family::Elements, version)?;
        let mut blobs: Vec<BlobFile> = Vec::new();
        for _ in 0..from.u32()? {
            let blob = BlobFile {
                file: FileId(from.u64()?),
                file_bytes: from.u64()?,
                value_bytes: from.u64()?,
            };
            if blobs.last().is_some_and(|last| last.file >= blob.file) {
                return Err(ManifestError::Malformed);
            }
            blobs.push(blob);
        }
        let (mut key_count, mut side) = ([0; DATABASES as usize], Vec::new());
        if version >= VERSION_OF_ONE_DATABASE {
            let databases = if version > VERSION_OF_ONE_DATABASE {
                key_count.len()
            } else {
                1
            };
            for count in &mut key_count[..databases] {
                *count = from.u64()?;
            }
            for _ in 0..from.u32()? {
                let kind = u16::try_from(from.u32()?).map_err(|_| ManifestError::Malformed)?;
                let len = from.u32()? as usize;
                let bytes = from.bytes(len)?.to_vec();
                side.push(SideState { kind, bytes });
            }
        }
        if !from.0.is_empty() {
            return Err(ManifestError::Malformed);
        }
        Ok(Self {
            flushed,
            clock_ms,
            next_file,
            keys,
            elements,
            blobs,
            key_count: Counts::new(key_count),
            side,
        })
    }
}

fn put_files(out: &mut Vec<u8>, files: &[FileRef]) {
    put32(out, len32(files.len()));
    for file in files {
        put64(out, file.file.0);
        put64(out, file.file_bytes);
        put32(out, file.footer_crc);
        put64(out, file.from_ord);
        file.props.put(out);
    }
}

fn take_files(from: &mut Take<'_>, family: Family) -> Result<Vec<FileRef>, ManifestError> {
    let mut files = Vec::new();
    for _ in 0..from.u32()? {
        files.push(FileRef {
            file: FileId(from.u64()?),
            file_bytes: from.u64()?,
            footer_crc: from.u32()?,
            from_ord: from.u64()?,
            props: Props::take(from)?,
        });
    }
    if in_order(&files, family) {
        Ok(files)
    } else {
        Err(ManifestError::Malformed)
    }
}

fn take_tree(from: &mut Take<'_>, family: Family, version: u32) -> Result<TreeVersion, ManifestError> {
    if version <= VERSION_WITH_OVERWRITES {
        from.u32()?;
    }
    let mut upper = Vec::new();
    for _ in 0..from.u32()? {
        upper.push(RunVersion {
            level: u8::try_from(from.u32()?).map_err(|_| ManifestError::Malformed)?,
            live_from: from.u64()?,
            files: take_files(from, family)?,
        });
    }
    Ok(TreeVersion {
        upper,
        bottom: take_files(from, family)?,
    })
}
