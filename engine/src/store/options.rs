//! How a store behaves, and how much it may do at once.

use crate::compact::PickOptions;

/// Bytes of all side states together: they are written with every change of the manifest and with every checkpoint of the
/// log.
pub const SIDE_BYTES_MAX: usize = 64 << 20;

/// How a store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Who makes the files: of all replicas of a group each another number, as a file may come to another replica and must not
    /// meet one of the same name there. A group with one replica has 0. The upper 16 bits of the numbers of files.
    pub maker: u16,
    /// Dirty bytes in memory from which a flush is wanted. More of them: less is written for keys that change often.
    pub dirty_bytes_max: usize,
    /// Bytes of log from which a flush is wanted, so that the log can let go of entries.
    pub log_bytes_target: u64,
    /// Where sorted files end, in bytes.
    pub file_bytes_target: u64,
    /// Where blob files end, in bytes.
    pub blob_file_bytes_target: u64,
    /// Values of this many bytes and more go into blob files, so that merges need not write them again.
    pub blob_value_bytes_min: usize,
    /// LZ4 in the lowest level.
    pub compress: bool,
    /// Garbage, in 1,000ths of a blob file, from which what is left of it is written anew.
    pub blob_garbage_permille: u64,
    /// When files are merged.
    pub pick: PickOptions,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            maker: 0,
            dirty_bytes_max: 64 << 20,
            log_bytes_target: 1 << 30,
            file_bytes_target: 64 << 20,
            blob_file_bytes_target: 256 << 20,
            blob_value_bytes_min: 4096,
            compress: false,
            blob_garbage_permille: 500,
            pick: PickOptions::default(),
        }
    }
}

/// How much one call may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Records and buckets to look at; about 500 ns each.
    pub work: usize,
    /// Bytes that a merge may take in; what it writes is at most as much.
    pub merge_bytes: u64,
}

impl Budget {
    /// About 50 us.
    pub const SLICE: Self = Self {
        work: 100,
        merge_bytes: u64::MAX,
    };
}

/// What a call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worked {
    /// There is nothing to do before an effect is answered, a flush begins or files change.
    pub idle: bool,
    /// Bytes that a merge took in.
    pub merge_bytes: u64,
}

/// Why a flush is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushReason {
    /// Everything was deleted, and the files are still there.
    Cleared,
    /// Too much of the memory is dirty.
    Dirty,
    /// The log is too long.
    Log,
}
