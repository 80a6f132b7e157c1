//! [`Edit`]: what a flush or a merge changes, and [`Version::apply`], which makes the next version.

use super::version::{BlobFile, FileRef, RunVersion, SideState, Version};
use crate::compact::Pick;
use crate::database::Counts;
use crate::log::LogPos;
use crate::sst::{Family, FileId};
use std::collections::BTreeSet;

/// A change of the manifest. The files it adds are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The state at an entry was written: one run of each family, empty when there was nothing.
    Flush {
        /// The entry.
        flushed: LogPos,
        /// The group's clock at it, in milliseconds since 1970.
        clock_ms: u64,
        /// The new run of keys.
        keys: Vec<FileRef>,
        /// The new run of elements.
        elements: Vec<FileRef>,
        /// New blob files.
        blobs: Vec<BlobFile>,
        /// See [`Version::key_count`].
        key_count: Counts,
        /// See [`Version::side`].
        side: Vec<SideState>,
        /// All keys were deleted since the flush before: what was there before counts for nothing.
        anew: bool,
    },
    /// A merge was done.
    Merge {
        /// In which tree.
        family: Family,
        /// What was merged.
        pick: Pick,
        /// Upper runs there were when it was picked: flushes may have added some since.
        upper_runs: usize,
        /// The files that were read, in the order of [`Version::inputs`]: they must still be what `pick` names.
        inputs: Vec<FileId>,
        /// What came of it, in order.
        result: Vec<FileRef>,
        /// New blob files.
        blobs: Vec<BlobFile>,
        /// Keys of [`Version::key_count`] that had expired and are in no file any more.
        expired_keys: Counts,
    },
}

/// Why an edit does not fit the version. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditError {
    /// A flush of an entry that had been flushed.
    FlushedBefore,
    /// The files that were merged are not there any more.
    Stale,
    /// The files of the result are not in order, overlap, or have ids that were used.
    Result,
}

impl std::fmt::Display for EditError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            EditError::FlushedBefore => "the entry had been flushed before",
            EditError::Stale => "the merged files are not in the manifest",
            EditError::Result => "the new files do not fit into the manifest",
        })
    }
}

impl std::error::Error for EditError {}

/// Whether files stand in order and do not overlap. Files of elements may share the order at which they meet.
pub(super) fn in_order(files: &[FileRef], family: Family) -> bool {
    files
        .iter()
        .all(|f| f.props.ord_min <= f.props.ord_max && f.from_ord <= f.props.ord_max)
        && files.windows(2).all(|w| {
            let (end, start) = (w[0].props.ord_max, w[1].first(0));
            end < start || (end == start && family == Family::Elements)
        })
}

impl Version {
    /// The files that a merge reads, newest run first.
    pub fn inputs(&self, family: Family, pick: &Pick) -> Vec<FileId> {
        let tree = self.tree(family);
        let (runs, bottom) = match pick {
            Pick::Tier { runs, .. } => (runs.clone(), 0..0),
            Pick::Sink { runs, bottom, .. } => (runs.clone(), bottom.clone()),
            Pick::Clean { bottom } => (0..0, *bottom..bottom + 1),
        };
        let upper = tree.upper.get(runs).into_iter().flatten().flat_map(|run| &run.files);
        let bottom = tree.bottom.get(bottom).into_iter().flatten();
        upper.chain(bottom).map(|f| f.file).collect()
    }

    /// The next version, and the files that it does not need any more: to be unlinked once it is durable.
    ///
    /// # Errors
    /// The edit does not fit this version.
    pub fn apply(&self, edit: Edit) -> Result<(Version, Vec<FileId>), EditError> {
        let mut next = self.clone();
        match edit {
            Edit::Flush {
                flushed,
                clock_ms,
                keys,
                elements,
                blobs,
                key_count,
                side,
                anew,
            } => {
                if flushed.index <= self.flushed.index || clock_ms < self.clock_ms {
                    return Err(EditError::FlushedBefore);
                }
                (next.flushed, next.clock_ms) = (flushed, clock_ms);
                (next.key_count, next.side) = (key_count, side);
                if anew {
                    (next.keys, next.elements, next.blobs) = Default::default();
                }
                for (family, files) in [(Family::Keys, keys), (Family::Elements, elements)] {
                    next.admit(&files, family)?;
                    if !files.is_empty() {
                        let (level, live_from) = (0, 0);
                        let run = RunVersion {
                            level,
                            live_from,
                            files,
                        };
                        next.tree_mut(family).upper.insert(0, run);
                    }
                }
                next.admit_blobs(blobs)?;
            }
            Edit::Merge {
                family,
                pick,
                upper_runs,
                inputs,
                result,
                blobs,
                expired_keys,
            } => {
                let newer = self
                    .tree(family)
                    .upper
                    .len()
                    .checked_sub(upper_runs)
                    .ok_or(EditError::Stale)?;
                let pick = behind(pick, newer);
                let there = !inputs.is_empty() || self.is_spent(family, &pick);
                if inputs != self.inputs(family, &pick) || !there {
                    return Err(EditError::Stale);
                }
                next.admit(&result, family)?;
                next.admit_blobs(blobs)?;
                next.replace(family, pick, result);
                next.key_count.subtract(&expired_keys);
                if !in_order(&next.tree(family).bottom, family) {
                    return Err(EditError::Result);
                }
            }
        }
        let used = next.blob_use();
        next.blobs.retain(|blob| used.contains_key(&blob.file));
        if used
            .keys()
            .any(|file| next.blobs.binary_search_by_key(file, |b| b.file).is_err())
        {
            return Err(EditError::Result);
        }
        let before: BTreeSet<FileId> = self.all_ids().collect();
        let after: BTreeSet<FileId> = next.all_ids().collect();
        let gone = before.difference(&after).copied().collect();
        Ok((next, gone))
    }

    /// Whether this is the end of a sink that has left its runs nothing: the pieces before it have taken all.
    fn is_spent(&self, family: Family, pick: &Pick) -> bool {
        let Pick::Sink { runs, to_ord: None, .. } = pick else {
            return false;
        };
        let runs = self.tree(family).upper.get(runs.clone()).unwrap_or_default();
        !runs.is_empty() && runs.iter().all(|run| run.live_from > 0 && run.files.is_empty())
    }

    fn all_ids(&self) -> impl Iterator<Item = FileId> {
        self.files().map(|f| f.file).chain(self.blobs.iter().map(|b| b.file))
    }

    /// Checks new files, and keeps their ids from being used again.
    fn admit(&mut self, files: &[FileRef], family: Family) -> Result<(), EditError> {
        if !in_order(files, family) {
            return Err(EditError::Result);
        }
        files.iter().try_for_each(|f| self.admit_id(f.file))
    }

    fn admit_blobs(&mut self, mut blobs: Vec<BlobFile>) -> Result<(), EditError> {
        blobs.sort_unstable_by_key(|b| b.file);
        blobs.iter().try_for_each(|b| self.admit_id(b.file))?;
        self.blobs.extend(blobs);
        self.blobs.sort_unstable_by_key(|b| b.file);
        Ok(())
    }

    fn admit_id(&mut self, file: FileId) -> Result<(), EditError> {
        // Ids are given out when a file is begun, and files end in any order: only those in use can be told.
        if self.all_ids().any(|used| used == file) {
            return Err(EditError::Result);
        }
        self.next_file = self.next_file.max(FileId(file.0.saturating_add(1)));
        Ok(())
    }

    fn replace(&mut self, family: Family, pick: Pick, result: Vec<FileRef>) {
        let tree = self.tree_mut(family);
        match pick {
            Pick::Tier { runs, level } => {
                let run = RunVersion {
                    level,
                    live_from: 0,
                    files: result,
                };
                let run = Some(run).filter(|run| !run.files.is_empty());
                tree.upper.splice(runs, run);
            }
            Pick::Sink {
                runs, to_ord, bottom, ..
            } => {
                let last = tree.bottom[bottom.clone()].last().cloned();
                // What the last file has behind the piece stays in use, where it is.
                let rest = to_ord.zip(last).and_then(|(to, mut last)| {
                    last.from_ord = last.from_ord.max(to);
                    (last.props.ord_max >= to).then_some(last)
                });
                tree.bottom.splice(bottom, result.into_iter().chain(rest));
                match to_ord {
                    None => drop(tree.upper.drain(runs)),
                    Some(to) => {
                        for run in &mut tree.upper[runs] {
                            run.live_from = to;
                            run.files.retain(|f| f.props.ord_max >= to);
                        }
                    }
                }
            }
            Pick::Clean { bottom } => {
                tree.bottom.splice(bottom..bottom + 1, result);
            }
        }
    }
}

/// The same runs, when so many newer ones stand before them.
fn behind(pick: Pick, newer: usize) -> Pick {
    let shift = |runs: std::ops::Range<usize>| runs.start + newer..runs.end + newer;
    match pick {
        Pick::Tier { runs, level } => Pick::Tier {
            runs: shift(runs),
            level,
        },
        Pick::Sink {
            runs,
            from_ord,
            to_ord,
            bottom,
        } => Pick::Sink {
            runs: shift(runs),
            from_ord,
            to_ord,
            bottom,
        },
        Pick::Clean { bottom } => Pick::Clean { bottom },
    }
}
