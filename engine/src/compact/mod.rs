//! Merging runs of sorted files: what a merge keeps, what to merge next, and how fast. All of it pure or sans-I/O.
//!
//! A group's tree is a list of runs, newest first. The last one is the lowest level: one record for each key, no
//! deletions. Above it stand the runs of flushes and of merges of flushes; they are merged with each other while they are
//! small ([`Pick::Tier`]), and sink into the lowest level piece by piece ([`Pick::Sink`]), so that no merge needs more
//! room than one piece and none holds up the next for long.
//!
//! Only runs that are neighbours in age are ever merged, so the order of runs stays the order of age.

mod merge;
mod pace;
mod pick;
mod shape;

pub use merge::{DeadCollection, ExpiredKey, Merge, MergeOptions, MergeStats, MergeStep};
pub use pace::{Pace, PaceInput, PaceOptions, pace};
pub use pick::{Pick, PickOptions, Pressure, pick, pressure};
pub use shape::{FileShape, RunShape, TreeShape};
