//! [`TreeShape`]: what the choice of compactions knows of a tree.

use crate::sst::FileId;

/// A file, or the part of it that is still in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileShape {
    /// The file.
    pub file: FileId,
    /// Bytes in use: with the blobs referred to, and without what a merge has already taken away from the front.
    pub bytes: u64,
    /// Of these, bytes that a rewrite would surely save: what has expired.
    pub dead_bytes: u64,
    /// First order in use.
    pub ord_min: u64,
    /// Last order.
    pub ord_max: u64,
}

impl FileShape {
    /// Bytes from `from` until before `to`, about: orders are hashes and thus spread evenly within a slot.
    fn bytes_between(&self, from: u64, to: Option<u64>) -> u64 {
        let from = from.max(self.ord_min);
        let last = to.map_or(self.ord_max, |to| self.ord_max.min(to.saturating_sub(1)));
        if last < from || to == Some(0) {
            return 0;
        }
        let (part, whole) = (u128::from(last - from) + 1, u128::from(self.ord_max - self.ord_min) + 1);
        // At most `bytes`, since the part is at most the whole.
        (u128::from(self.bytes) * part / whole) as u64
    }
}

/// A run above the lowest level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunShape {
    /// 0 for a flush, one more for each merge of runs with each other.
    pub level: u8,
    /// Everything before this order has sunk into the lowest level; 0 while none has.
    pub live_from: u64,
    /// Files with anything in use, in order.
    pub files: Vec<FileShape>,
}

impl RunShape {
    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.bytes_between(0, None)
    }

    pub(super) fn bytes_between(&self, from: u64, to: Option<u64>) -> u64 {
        sum_between(&self.files, from.max(self.live_from), to)
    }
}

/// A group's tree of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeShape {
    /// Runs above the lowest level, newest first.
    pub upper: Vec<RunShape>,
    /// The lowest level: files in order.
    pub bottom: Vec<FileShape>,
    /// Bytes of records that were replaced or deleted by newer ones, and of what says so, about.
    pub replaced_bytes: u64,
}

impl TreeShape {
    /// Bytes of the upper runs.
    pub fn upper_bytes(&self) -> u64 {
        self.upper.iter().map(RunShape::bytes).sum()
    }

    /// Bytes of the lowest level.
    pub fn bottom_bytes(&self) -> u64 {
        self.bottom.iter().map(|f| f.bytes).sum()
    }

    /// The number of the first upper run of which a part has sunk; that of all runs when there is none.
    pub(super) fn sinking_from(&self) -> usize {
        let started = self.upper.iter().rev().take_while(|run| run.live_from > 0).count();
        self.upper.len() - started
    }

    /// Bytes that nobody can see, about.
    pub fn garbage_bytes(&self) -> u64 {
        self.replaced_bytes + self.bottom.iter().map(|f| f.dead_bytes).sum::<u64>()
    }

    /// Bytes that a sink of the upper runs from `first` on would read within these orders, about.
    pub(super) fn sink_bytes(&self, first: usize, from: u64, to: Option<u64>) -> u64 {
        let upper = self.upper[first..].iter().map(|run| run.bytes_between(from, to));
        upper.sum::<u64>() + sum_between(&self.bottom, from, to)
    }
}

fn sum_between(files: &[FileShape], from: u64, to: Option<u64>) -> u64 {
    files.iter().map(|f| f.bytes_between(from, to)).sum()
}
