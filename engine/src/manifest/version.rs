//! [`Version`]: all files of a group, and what the choice of compactions sees of them.

use crate::compact::{FileShape, RunShape, TreeShape};
use crate::database::Counts;
use crate::log::LogPos;
use crate::sst::{Family, FileId, Finished, Props};
use std::collections::BTreeMap;

/// A sorted file, or the part of it that is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRef {
    /// The file.
    pub file: FileId,
    /// Its length, in bytes: what the file system must say.
    pub file_bytes: u64,
    /// [`SstReader::footer_crc`](crate::sst::SstReader::footer_crc) of the file that is meant.
    pub footer_crc: u32,
    /// First order in use; what lies before it was merged into other files. 0: all of it is in use.
    pub from_ord: u64,
    /// What it holds, all of it.
    pub props: Props,
}

impl From<Finished> for FileRef {
    fn from(file: Finished) -> Self {
        Self {
            file: file.file,
            file_bytes: file.file_bytes,
            footer_crc: file.footer_crc,
            from_ord: 0,
            props: file.props,
        }
    }
}

impl FileRef {
    /// First order that is in use.
    pub(super) fn first(&self, live_from: u64) -> u64 {
        self.props.ord_min.max(self.from_ord).max(live_from)
    }

    fn bytes_with_blobs(&self) -> u64 {
        let blob_bytes: u64 = self.props.blobs.iter().map(|refs| refs.bytes).sum();
        self.file_bytes.saturating_add(blob_bytes)
    }

    /// What is in use of something that the whole file has so much of, from `live_from` on, about: orders are hashes, so
    /// that what is left of the orders is what is left of the bytes.
    fn part(&self, live_from: u64, of: u64) -> u64 {
        let props = &self.props;
        let Some(left) = props.ord_max.checked_sub(self.first(live_from)) else {
            return 0;
        };
        let whole = u128::from(props.ord_max - props.ord_min) + 1;
        (u128::from(of) * (u128::from(left) + 1) / whole) as u64
    }

    /// How the file looks from `live_from` on; `None` when nothing of that is in use.
    fn shape(&self, live_from: u64, clock_ms: u64) -> Option<FileShape> {
        let props = &self.props;
        let ord_min = self.first(live_from);
        if ord_min > props.ord_max {
            return None;
        }
        let part = |of| self.part(live_from, of);
        Some(FileShape {
            file: self.file,
            bytes: part(self.bytes_with_blobs()),
            dead_bytes: part(props.expired_bytes_estimate(clock_ms)),
            ord_min,
            ord_max: props.ord_max,
        })
    }
}

/// A run above the lowest level: see [`RunShape`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunVersion {
    /// 0 for a flush, one more for each merge of runs with each other.
    pub level: u8,
    /// Everything before this order has sunk into the lowest level.
    pub live_from: u64,
    /// Files with anything in use, in order.
    pub files: Vec<FileRef>,
}

/// The files of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeVersion {
    /// Runs above the lowest level, newest first.
    pub upper: Vec<RunVersion>,
    /// The lowest level, in order.
    pub bottom: Vec<FileRef>,
}

impl TreeVersion {
    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        self.upper.iter().flat_map(|run| &run.files).chain(&self.bottom)
    }

    /// What the choice of compactions sees, at a moment of the group's clock, when so many keys can be seen.
    fn shape(&self, clock_ms: u64, keys: u64) -> TreeShape {
        let shapes = |files: &[FileRef], from| files.iter().filter_map(|f| f.shape(from, clock_ms)).collect();
        let upper = self.upper.iter().map(|run| RunShape {
            level: run.level,
            live_from: run.live_from,
            files: shapes(&run.files, run.live_from),
        });
        TreeShape {
            upper: upper.collect(),
            bottom: shapes(&self.bottom, 0),
            replaced_bytes: self.replaced_bytes(keys),
        }
    }

    /// See [`TreeShape::replaced_bytes`]. Every record that is neither the one of a key nor a deletion has been replaced or
    /// deleted by a newer one, and each record of the upper runs replaces one at most. How large those were is not known,
    /// only how large records are.
    fn replaced_bytes(&self, keys: u64) -> u64 {
        let mut upper = Weight::default();
        for run in &self.upper {
            run.files.iter().for_each(|file| upper.add(file, run.live_from));
        }
        let mut all = upper;
        self.bottom.iter().for_each(|file| all.add(file, 0));
        let replaced = all
            .values
            .saturating_sub(u128::from(keys))
            .min(upper.values + upper.tombstones);
        let bytes = (replaced * all.value_bytes).checked_div(all.values).unwrap_or(0) + all.tombstone_bytes;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Records in use, and their bytes, about.
#[derive(Clone, Copy, Default)]
struct Weight {
    values: u128,
    value_bytes: u128,
    tombstones: u128,
    tombstone_bytes: u128,
}

impl Weight {
    fn add(&mut self, file: &FileRef, live_from: u64) {
        let props = &file.props;
        let (entries, bytes) = (props.entries, file.bytes_with_blobs());
        let part = |of| u128::from(file.part(live_from, of));
        self.values += part(entries.saturating_sub(props.tombstones));
        self.tombstones += part(props.tombstones);
        self.value_bytes += part(bytes.saturating_sub(props.tombstone_bytes));
        self.tombstone_bytes += part(props.tombstone_bytes);
    }
}

/// A blob file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobFile {
    /// The file.
    pub file: FileId,
    /// Its length, in bytes.
    pub file_bytes: u64,
    /// Bytes of the values in it.
    pub value_bytes: u64,
}

/// State of the group besides its keys, whose meaning only its owner knows; stored with the keys, at the same entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideState {
    /// Whose it is: never used again for another.
    pub kind: u16,
    /// What it is.
    pub bytes: Vec<u8>,
}

/// The whole manifest of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Last entry of the log whose effect is in the files.
    pub flushed: LogPos,
    /// The group's clock at that entry, in milliseconds since 1970.
    pub clock_ms: u64,
    /// The next file of the group has this id or a higher one: ids are never used again.
    pub next_file: FileId,
    /// Top-level keys.
    pub keys: TreeVersion,
    /// Elements of big collections.
    pub elements: TreeVersion,
    /// Blob files, by id.
    pub blobs: Vec<BlobFile>,
    /// Keys that there were at the flushed entry, as the keyspace counted them.
    pub key_count: Counts,
    /// What else belongs to the group's state at the flushed entry.
    pub side: Vec<SideState>,
}

impl Version {
    /// The tree of a family.
    pub fn tree(&self, family: Family) -> &TreeVersion {
        match family {
            Family::Keys => &self.keys,
            Family::Elements => &self.elements,
        }
    }

    /// What the choice of compactions sees of the keys' files.
    pub fn shape_of_keys(&self) -> TreeShape {
        self.keys.shape(self.clock_ms, self.key_count.total())
    }

    pub(super) fn tree_mut(&mut self, family: Family) -> &mut TreeVersion {
        match family {
            Family::Keys => &mut self.keys,
            Family::Elements => &mut self.elements,
        }
    }

    /// All sorted files.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        self.keys.files().chain(self.elements.files())
    }

    /// Bytes of values that sorted files refer to, by blob file.
    pub(super) fn blob_use(&self) -> BTreeMap<FileId, u64> {
        let mut used = BTreeMap::new();
        for refs in self.files().flat_map(|f| &f.props.blobs) {
            *used.entry(refs.file).or_default() += refs.bytes;
        }
        used
    }

    /// Blob files of which at least `garbage_permille` of 1,000 bytes are not referred to: merges move what is left of
    /// them into a new file. A file that several sorted files share in part counts as used by each of them.
    pub fn sparse_blobs(&self, garbage_permille: u64) -> Vec<FileId> {
        let used = self.blob_use();
        let is_sparse = |blob: &&BlobFile| {
            let live = used.get(&blob.file).copied().unwrap_or(0);
            blob.value_bytes.saturating_sub(live) * 1_000 >= blob.value_bytes.max(1) * garbage_permille
        };
        self.blobs.iter().filter(is_sparse).map(|blob| blob.file).collect()
    }
}
