//! [`pick`]: what to merge next. Pure: the same shape always gives the same answer, also after a restart, so that nothing
//! about work under way has to be remembered but what the shape itself shows.
//!
//! Lazy leveling (Dostoevsky, SIGMOD 2018): runs are merged with each other only when eight of a level stand side by side,
//! and the lowest level, where nearly all bytes are, is rewritten only when the runs above have grown to a part of it.
//! That part decides both costs: with 250 of 1,000, an overwrite is written about four times into the lowest level, and
//! garbage is a fifth of all bytes when a sink begins. Files of the upper runs keep their room until all of them has sunk,
//! which adds as much again while it lasts. Data that is only inserted makes no garbage and is rewritten less.
//! `engine/tests/compact_space.rs` measures it.

use super::shape::{FileShape, RunShape, TreeShape};
use std::ops::Range;

/// The measures of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PickOptions {
    /// Runs of one level that are merged with each other: more of them cost lookups, fewer cost writes.
    pub tier_runs: usize,
    /// Upper runs that are this part of the lowest level sink rather than merge with each other.
    pub sink_divisor: u64,
    /// Garbage, in 1,000ths of the lowest level, from which the upper runs sink.
    pub garbage_permille: u64,
    /// Dead bytes, in 1,000ths of a file of the lowest level, from which it is rewritten alone.
    pub dead_permille: u64,
    /// What one step of a sink reads at most, in bytes: as much room it needs for a while.
    pub piece_bytes: u64,
}

impl Default for PickOptions {
    fn default() -> Self {
        Self {
            tier_runs: 8,
            sink_divisor: 4,
            garbage_permille: 250,
            dead_permille: 300,
            piece_bytes: 256 << 20,
        }
    }
}

/// A merge to be done. Its result replaces its sources by one record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Merge these upper runs with each other. Not at the bottom.
    Tier {
        /// Which of [`TreeShape::upper`].
        runs: Range<usize>,
        /// Level of the run that takes their place.
        level: u8,
    },
    /// Merge what these upper runs and the lowest level have between two orders. The result becomes part of the lowest
    /// level, `live_from` of the runs becomes `to_ord`, and they go when it is `None`.
    Sink {
        /// Which of [`TreeShape::upper`]: the oldest ones.
        runs: Range<usize>,
        /// First order.
        from_ord: u64,
        /// Order behind the last; `None`: no end. Of a file in which it falls, the rest stays in use.
        to_ord: Option<u64>,
        /// Which of [`TreeShape::bottom`] have anything of it.
        bottom: Range<usize>,
    },
    /// Rewrite one file of the lowest level, without what has expired.
    Clean {
        /// Which of [`TreeShape::bottom`].
        bottom: usize,
    },
}

/// The next merge; `None` when all is well.
pub fn pick(tree: &TreeShape, options: &PickOptions) -> Option<Pick> {
    let sinking = tree.sinking_from();
    // Runs that are newer than a sink under way pile up during it: they come first, being small.
    if let Some(runs) = tier(&tree.upper[..sinking], options) {
        let level = tree.upper[runs.start].level + 1;
        let from = runs.start;
        let no_sink = sinking == tree.upper.len();
        if no_sink && tree.sink_bytes(from, 0, None) - tree.bottom_bytes() >= tree.bottom_bytes() / options.sink_divisor
        {
            return Some(sink_piece(tree, from, 0, options));
        }
        return Some(Pick::Tier { runs, level });
    }
    if let Some(run) = tree.upper.get(sinking) {
        return Some(sink_piece(tree, sinking, run.live_from, options));
    }
    if !tree.upper.is_empty() && garbage_permille(tree, options) > options.garbage_permille {
        return Some(sink_piece(tree, 0, 0, options));
    }
    let dirtiest = (0..tree.bottom.len()).max_by_key(|&n| dead_permille(&tree.bottom[n]))?;
    let dead = dead_permille(&tree.bottom[dirtiest]);
    (dead >= options.dead_permille).then_some(Pick::Clean { bottom: dirtiest })
}

/// Garbage in 1,000ths of the lowest level, or of one piece if that is more: a tree of a few megabytes may be half garbage.
fn garbage_permille(tree: &TreeShape, options: &PickOptions) -> u64 {
    tree.garbage_bytes() * 1_000 / tree.bottom_bytes().max(options.piece_bytes).max(1)
}

/// The newest eight or more neighbours of one level.
fn tier(runs: &[RunShape], options: &PickOptions) -> Option<Range<usize>> {
    let mut start = 0;
    for group in runs.chunk_by(|a, b| a.level == b.level) {
        if group.len() >= options.tier_runs {
            return Some(start..start + group.len());
        }
        start += group.len();
    }
    None
}

fn dead_permille(file: &FileShape) -> u64 {
    file.dead_bytes * 1_000 / file.bytes.max(1)
}

/// The next piece of a sink: as far as the bytes go, but up to the end of a file if one ends in the second half of that.
fn sink_piece(tree: &TreeShape, first: usize, from: u64, options: &PickOptions) -> Pick {
    let bytes_to = |to| tree.sink_bytes(first, from, to);
    let mut to_ord = None;
    if from < u64::MAX && bytes_to(None) > options.piece_bytes {
        // Invariant: up to `low` it fits (one order always counts as fitting), up to `high` it does not.
        let (mut low, mut high) = (from + 1, u64::MAX);
        while high - low > 1 {
            let mid = low.midpoint(high);
            if bytes_to(Some(mid)) <= options.piece_bytes {
                low = mid;
            } else {
                high = mid;
            }
        }
        let boundary = tree.bottom.iter().rev().map(|f| f.ord_min).find(|&ord| ord <= low);
        let boundary = boundary.filter(|&ord| ord > from && bytes_to(Some(ord)) >= options.piece_bytes / 2);
        to_ord = Some(boundary.unwrap_or(low));
    }
    let start = tree.bottom.partition_point(|f| f.ord_max < from);
    let end = tree.bottom.partition_point(|f| to_ord.is_none_or(|to| f.ord_min < to));
    Pick::Sink {
        runs: first..tree.upper.len(),
        from_ord: from,
        to_ord,
        bottom: start..end.max(start),
    }
}

/// How far a tree is from rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Upper runs: what a lookup has to ask.
    pub upper_runs: usize,
    /// Bytes nobody can see, in 1,000ths of the lowest level, or of one piece if that is more.
    pub garbage_permille: u64,
    /// Bytes that the merges which are due now will read.
    pub backlog_bytes: u64,
}

/// How far a tree is from rest.
pub fn pressure(tree: &TreeShape, options: &PickOptions) -> Pressure {
    let backlog_bytes = match pick(tree, options) {
        None => 0,
        Some(Pick::Tier { runs, .. }) => tree.upper[runs].iter().map(RunShape::bytes).sum(),
        Some(Pick::Sink { runs, from_ord, .. }) => tree.sink_bytes(runs.start, from_ord, None),
        Some(Pick::Clean { bottom }) => tree.bottom[bottom].bytes,
    };
    Pressure {
        upper_runs: tree.upper.len(),
        garbage_permille: (tree.garbage_bytes() * 1_000)
            .checked_div(tree.bottom_bytes())
            .unwrap_or(0),
        backlog_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sst::FileId;

    const MIB: u64 = 1 << 20;

    fn file(bytes: u64, ord_min: u64, ord_max: u64) -> FileShape {
        let (file, dead_bytes) = (FileId(0), 0);
        FileShape {
            file,
            bytes,
            dead_bytes,
            ord_min,
            ord_max,
        }
    }

    fn run(level: u8, bytes: u64) -> RunShape {
        RunShape {
            level,
            live_from: 0,
            files: vec![file(bytes, 0, u64::MAX)],
        }
    }

    fn tree(upper: Vec<RunShape>, bottom_files: u64) -> TreeShape {
        let step = u64::MAX / bottom_files.max(1);
        TreeShape {
            upper,
            bottom: (0..bottom_files)
                .map(|n| file(64 * MIB, n * step, (n + 1) * step - 1))
                .collect(),
            replaced_bytes: 0,
        }
    }

    fn picked(tree: &TreeShape) -> Option<Pick> {
        pick(tree, &PickOptions::default())
    }

    #[test]
    fn a_tree_at_rest_is_left_alone() {
        assert_eq!(picked(&tree(vec![], 0)), None);
        assert_eq!(picked(&tree(vec![], 9)), None);
        assert_eq!(picked(&tree(vec![run(0, 64 * MIB); 7], 100)), None);
    }

    #[test]
    fn eight_small_runs_merge_with_each_other() {
        let mut upper = vec![run(0, 64 * MIB); 8];
        upper.push(run(1, 512 * MIB));
        let level = 1;
        assert_eq!(picked(&tree(upper, 100)), Some(Pick::Tier { runs: 0..8, level }));
    }

    #[test]
    fn runs_that_are_a_quarter_of_the_bottom_sink_in_pieces() {
        let tree = tree(vec![run(0, 64 * MIB); 8], 20);
        let Some(Pick::Sink {
            runs,
            from_ord: 0,
            to_ord: Some(to),
            bottom,
        }) = picked(&tree)
        else {
            panic!("{:?}", picked(&tree));
        };
        // 256 MiB are three files of 64 MiB and what lies above them, with the boundary of a file as the end.
        assert_eq!((runs, bottom, to), (0..8, 0..2, tree.bottom[2].ord_min));
    }

    #[test]
    fn a_sink_goes_on_where_it_was_and_newer_runs_do_not_join() {
        let mut tree = tree(vec![run(0, 64 * MIB); 10], 20);
        let middle = tree.bottom[10].ord_min;
        tree.upper[3..].iter_mut().for_each(|run| run.live_from = middle);
        let Some(Pick::Sink { runs, from_ord, .. }) = picked(&tree) else {
            panic!("{:?}", picked(&tree));
        };
        assert_eq!((runs, from_ord), (3..10, middle));
        // Eight newer ones are merged first.
        tree.upper.splice(0..0, vec![run(0, 64 * MIB); 5]);
        assert_eq!(picked(&tree), Some(Pick::Tier { runs: 0..8, level: 1 }));
    }

    #[test]
    fn garbage_sinks_few_runs_and_inserts_do_not() {
        let mut tree = tree(vec![run(1, 600 * MIB)], 20);
        assert_eq!(picked(&tree), None);
        tree.replaced_bytes = 600 * MIB;
        assert!(matches!(picked(&tree), Some(Pick::Sink { .. })));
    }

    #[test]
    fn the_file_with_most_expired_records_is_rewritten() {
        let mut tree = tree(vec![], 20);
        tree.bottom[3].dead_bytes = 25 * MIB;
        tree.bottom[7].dead_bytes = 40 * MIB;
        assert_eq!(picked(&tree), Some(Pick::Clean { bottom: 7 }));
        tree.bottom[7].dead_bytes = 10 * MIB;
        assert_eq!(picked(&tree), Some(Pick::Clean { bottom: 3 }));
        tree.bottom[3].dead_bytes = 10 * MIB;
        assert_eq!(picked(&tree), None);
    }

    #[test]
    fn a_sink_ends_even_when_everything_has_one_order() {
        let mut tree = tree(vec![], 0);
        for ord in [0, 7, u64::MAX] {
            tree.upper = vec![
                RunShape {
                    level: 0,
                    live_from: 0,
                    files: vec![file(1 << 40, ord, ord)],
                };
                8
            ];
            let mut from = 0;
            for steps in 0.. {
                assert!(steps < 4, "order {ord}");
                let Pick::Sink { to_ord, .. } = sink_piece(&tree, 0, from, &PickOptions::default()) else {
                    unreachable!("a piece is a sink");
                };
                let Some(to) = to_ord else { break };
                assert!(to > from);
                from = to;
                tree.upper.iter_mut().for_each(|run| run.live_from = to);
            }
        }
    }
}
