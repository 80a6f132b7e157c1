//! Merging runs of sorted files: what a merge keeps. All of it sans-I/O.
//!
//! A group's tree is a list of runs, newest first. The last one is the lowest level: one record for each key, no
//! deletions. Above it stand the runs of flushes and of merges of flushes.
//!
//! Only runs that are neighbours in age are ever merged, so the order of runs stays the order of age.

mod merge;

pub use merge::{DeadCollection, Merge, MergeOptions, MergeStats, MergeStep};
