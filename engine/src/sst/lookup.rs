//! [`Lookup`]: one key, sought in runs from the newest to the oldest, one block at a time.

use super::block::Scratch;
use super::{Body, FileId, PageRange, Record, SstError, SstKey, SstReader};
use std::rc::Rc;

/// Files of one age that follow one another in the order of keys, no `ord` in two of them (of elements, no tail).
#[derive(Clone, Debug, Default)]
pub struct Run {
    files: Vec<RunFile>,
    /// First order in use of each file, side by side: every lookup searches them.
    starts: Vec<u64>,
    /// Of all files, parts that are not in use included.
    records: u64,
    bytes: u64,
}

/// A file of a run, or the part of it that is in use: what lies before `from_ord` was merged into other files, and must
/// not be read any more.
#[derive(Clone, Debug)]
pub struct RunFile {
    /// The file.
    pub reader: Rc<SstReader>,
    /// First order in use.
    pub from_ord: u64,
}

impl RunFile {
    /// First order in use that the file may have.
    fn ord_min(&self) -> u64 {
        self.reader.props().ord_min.max(self.from_ord)
    }

    /// Whether anything of these orders may be in use.
    pub(super) fn meets(&self, from: u64, to: Option<u64>) -> bool {
        self.reader.props().ord_max >= from.max(self.from_ord) && to.is_none_or(|to| self.ord_min() < to)
    }
}

impl Run {
    /// A run of these files, in order, all of each in use.
    pub fn new(files: Vec<Rc<SstReader>>) -> Self {
        let whole = |reader| RunFile { reader, from_ord: 0 };
        Self::of_parts(files.into_iter().map(whole).collect())
    }

    /// A run of parts of files, in order.
    pub fn of_parts(files: Vec<RunFile>) -> Self {
        debug_assert!(files.windows(2).all(|w| w[0].reader.props().ord_max <= w[1].ord_min()));
        let props = || files.iter().map(|file| file.reader.props());
        Self {
            starts: files.iter().map(RunFile::ord_min).collect(),
            records: props().map(|p| p.entries).sum(),
            bytes: props().map(|p| p.user_bytes).sum(),
            files,
        }
    }

    /// Records of the files, those that are not in use any more included.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of these records, as [`Props::user_bytes`](super::Props::user_bytes) counts them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The files, in order.
    pub fn files(&self) -> &[RunFile] {
        &self.files
    }

    /// Whether the filters let the run have `key`.
    pub fn may_hold(&self, key: SstKey<'_>) -> bool {
        self.locate(key).is_some()
    }

    /// The block that can hold `key`: which file, which block of it.
    fn locate(&self, key: SstKey<'_>) -> Option<(usize, usize)> {
        let end = self.starts.partition_point(|&start| start <= key.ord);
        // A collection may go on from one file to the next; keys of one order are in one file, the last of these.
        let mut candidates = (0..end)
            .rev()
            .take_while(|&n| self.files[n].reader.props().ord_max >= key.ord);
        let file = candidates.find(|&n| self.files[n].reader.index.begins_before(key))?;
        self.files[file].reader.locate(key).map(|block| (file, block))
    }
}

/// What a lookup wants, or found.
#[derive(Debug, PartialEq, Eq)]
pub enum LookupStep<'a> {
    /// Read these pages and step again with them.
    Need {
        /// Of which file.
        file: FileId,
        /// Which pages.
        range: PageRange,
    },
    /// The newest record of the key: a value, which may have expired, never a deletion.
    Found(Record<'a>),
    /// No run has the key, or it was deleted.
    Absent,
}

/// A lookup under way.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'k> {
    key: SstKey<'k>,
    /// Run to be asked next, or whose block is awaited.
    run: usize,
    waiting: Option<(usize, usize)>,
    reads: u32,
}

impl<'k> Lookup<'k> {
    /// Seeks `key`.
    pub fn new(key: SstKey<'k>) -> Self {
        Self {
            key,
            run: 0,
            waiting: None,
            reads: 0,
        }
    }

    /// The same lookup, with its key in another place.
    pub fn with_key(self, key: SstKey<'_>) -> Lookup<'_> {
        let Self {
            run, waiting, reads, ..
        } = self;
        Lookup {
            key,
            run,
            waiting,
            reads,
        }
    }

    /// Blocks read so far.
    pub fn reads(&self) -> u32 {
        self.reads
    }

    /// Goes on as far as possible. `runs`: newest first, the same at each step. `pages`: what the last step asked for;
    /// without it the same is asked for again.
    ///
    /// # Errors
    /// The pages are damaged; the lookup is over.
    pub fn step<'a>(
        &mut self,
        runs: &[Run],
        pages: Option<&'a [u8]>,
        scratch: &'a mut Scratch,
    ) -> Result<LookupStep<'a>, SstError> {
        if let (Some((file, block)), Some(pages)) = (self.waiting, pages) {
            self.waiting = None;
            self.reads += 1;
            let reader = &runs[self.run].files[file].reader;
            match reader.search(block, pages, self.key, scratch)? {
                Some(record) if matches!(record.body, Body::Tombstone | Body::DeadCollection) => {
                    return Ok(LookupStep::Absent);
                }
                Some(record) => return Ok(LookupStep::Found(record)),
                None => self.run += 1,
            }
        }
        while let Some(run) = runs.get(self.run) {
            if self.waiting.is_none() {
                self.waiting = run.locate(self.key);
            }
            if let Some((file, block)) = self.waiting {
                let reader = &run.files[file].reader;
                return Ok(LookupStep::Need {
                    file: reader.file(),
                    range: reader.block_range(block),
                });
            }
            self.run += 1;
        }
        Ok(LookupStep::Absent)
    }
}
