//! [`Merge`]: several runs become one stream of records; what nobody can see any more is left out.
//!
//! Of records with one place the newest wins. Further:
//! - An *expired* record (by the group's clock, so every replica comes to the same) becomes a deletion, because an older
//!   record of its place may lie below; at the bottom it goes.
//! - A *deletion* goes at the bottom, where nothing older lies below.
//! - A *mark of a dead collection* takes all elements of the collection with it, of whatever run: ids of collections are
//!   never used again. Marks go at the bottom.
//! - When the record of a *collection* goes, and no newer one names the same id, its elements lie somewhere else without
//!   anybody knowing: the merge reports the id ([`Merge::take_dead`]), and the caller writes a mark.

use crate::sst::{Body, Element, Family, FileId, PageRange, Record, ScanStep, SstError, SstScan};
use slotcore_rt::buf::AlignedBuf;

/// Records that one step leaves out at most before it returns, so that a merge of garbage does not hold up a core: less
/// than 100 us of work.
const DROPS_PER_STEP: usize = 256;

/// What a merge must know besides its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeOptions {
    /// Of which kind the sources are.
    pub family: Family,
    /// No run below the sources holds anything of the merged range.
    pub bottom: bool,
    /// The group's clock, in milliseconds since 1970, at the last entry that was flushed.
    pub clock_ms: u64,
}

/// A collection whose elements nobody can reach any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadCollection {
    /// Order of its key.
    pub ord: u64,
    /// Its id.
    pub collection: u64,
}

/// What a merge did, in records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeStats {
    /// Taken from the sources.
    pub read: u64,
    /// Left out because a newer one has their place.
    pub shadowed: u64,
    /// Expired: left out, or turned into deletions.
    pub expired: u64,
    /// Deletions and marks left out at the bottom.
    pub tombstones: u64,
    /// Elements of dead collections, left out.
    pub dead_elements: u64,
}

/// What a merge wants, or has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeStep {
    /// Read these pages and [`Merge::feed`] them.
    Need {
        /// For which source.
        source: usize,
        /// Of which file.
        file: FileId,
        /// Which pages.
        range: PageRange,
    },
    /// [`Merge::record`] is the next record.
    Ready,
    /// Much was left out: step again, after others had their turn.
    Pause,
    /// There is nothing any more.
    End,
}

/// A merge under way.
#[derive(Debug)]
pub struct Merge {
    sources: Vec<SstScan>,
    options: MergeOptions,
    /// Source of the record under the merge, and whether it is passed on as a deletion.
    current: Option<(usize, bool)>,
    dead: Option<DeadCollection>,
    reported: Vec<DeadCollection>,
    stats: MergeStats,
    /// Keys left out because they had expired, if somebody wants to know.
    expired: Option<Vec<ExpiredKey>>,
}

/// Order and tail of a record that had expired.
pub type ExpiredKey = (u64, Box<[u8]>);

impl Merge {
    /// Merges `sources`, newest first, all of one family and with the same bounds.
    pub fn new(sources: Vec<SstScan>, options: MergeOptions) -> Self {
        Self {
            expired: None,
            sources,
            options,
            current: None,
            dead: None,
            reported: Vec::new(),
            stats: MergeStats::default(),
        }
    }

    /// Makes the merge report what had expired, by [`Merge::take_expired`] after each step.
    pub fn reporting_expired(mut self) -> Self {
        self.expired = Some(Vec::new());
        self
    }

    /// Takes the places of records that had expired and were left out, or became deletions, since the last call.
    pub fn take_expired(&mut self) -> Vec<ExpiredKey> {
        self.expired.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What was done so far.
    pub fn stats(&self) -> MergeStats {
        self.stats
    }

    /// Takes the collections whose records went and whose elements have to be marked. To be called after each step, and
    /// the marks must be durable before the merge's result replaces its sources.
    pub fn take_dead(&mut self) -> Vec<DeadCollection> {
        std::mem::take(&mut self.reported)
    }

    /// Takes the pages that `source` asked for.
    ///
    /// # Errors
    /// They are damaged; the merge is over.
    pub fn feed(&mut self, source: usize, pages: AlignedBuf) -> Result<(), SstError> {
        self.sources[source].feed(pages)
    }

    /// Goes on as far as possible.
    ///
    /// # Errors
    /// Something that was read is damaged; the merge is over.
    pub fn step(&mut self) -> Result<MergeStep, SstError> {
        for _ in 0..DROPS_PER_STEP {
            if self.current.is_some() {
                return Ok(MergeStep::Ready);
            }
            if let Some(need) = self.need() {
                return Ok(need);
            }
            let Some(winner) = self.newest_of_first() else {
                return Ok(MergeStep::End);
            };
            self.pass_shadowed(winner)?;
            match self.judge(winner) {
                Verdict::Keep => self.current = Some((winner, false)),
                Verdict::Delete => self.current = Some((winner, true)),
                Verdict::Drop => self.pass(winner)?,
            }
        }
        Ok(MergeStep::Pause)
    }

    fn need(&mut self) -> Option<MergeStep> {
        self.sources
            .iter_mut()
            .enumerate()
            .find_map(|(source, scan)| match scan.state() {
                ScanStep::Need { file, range } => Some(MergeStep::Need { source, file, range }),
                ScanStep::Ready | ScanStep::End => None,
            })
    }

    /// The newest source among those that stand on the smallest place.
    fn newest_of_first(&self) -> Option<usize> {
        let standing = self.sources.iter().enumerate().filter(|(_, scan)| scan.is_ready());
        // Of equal keys `min_by_key` takes the first, which is the newest.
        standing
            .min_by_key(|(_, scan)| scan.record().key)
            .map(|(source, _)| source)
    }

    /// Moves older sources past the winner's place. None of them may want pages first: `need` saw to that, and each has
    /// the place at most once.
    fn pass_shadowed(&mut self, winner: usize) -> Result<(), SstError> {
        for older in winner + 1..self.sources.len() {
            let (newer, rest) = self.sources.split_at_mut(older);
            let (newer, scan) = (&newer[winner], &mut rest[0]);
            if !scan.is_ready() || scan.record().key != newer.record().key {
                continue;
            }
            if let Some(collection) = scan.record().collection()
                && newer.record().collection() != Some(collection)
            {
                let ord = scan.record().key.ord;
                self.reported.push(DeadCollection { ord, collection });
            }
            self.stats.shadowed += 1;
            self.stats.read += 1;
            scan.advance()?;
        }
        Ok(())
    }

    fn judge(&mut self, winner: usize) -> Verdict {
        let record = self.sources[winner].record();
        let element = match self.options.family {
            Family::Keys => None,
            Family::Elements => Element::parse(record.key.tail),
        };
        let of_collection = element.map(|element| DeadCollection {
            ord: record.key.ord,
            collection: element.collection,
        });
        match record.body {
            Body::DeadCollection => {
                self.dead = of_collection;
                self.drop_at_bottom()
            }
            _ if of_collection.is_some() && self.dead == of_collection => {
                self.stats.dead_elements += 1;
                Verdict::Drop
            }
            Body::Tombstone => self.drop_at_bottom(),
            Body::Inline(..) | Body::Blob(..) if record.is_expired(self.options.clock_ms) => {
                self.stats.expired += 1;
                let ord = record.key.ord;
                if let Some(expired) = &mut self.expired {
                    expired.push((ord, record.key.tail.into()));
                }
                let collection = record.collection();
                self.reported
                    .extend(collection.map(|collection| DeadCollection { ord, collection }));
                if self.options.bottom {
                    Verdict::Drop
                } else {
                    Verdict::Delete
                }
            }
            Body::Inline(..) | Body::Blob(..) => Verdict::Keep,
        }
    }

    fn drop_at_bottom(&mut self) -> Verdict {
        if self.options.bottom {
            self.stats.tombstones += 1;
            Verdict::Drop
        } else {
            Verdict::Keep
        }
    }

    fn pass(&mut self, source: usize) -> Result<(), SstError> {
        self.stats.read += 1;
        self.sources[source].advance()
    }

    /// The record under the merge.
    ///
    /// # Panics
    /// When the last step did not return [`MergeStep::Ready`].
    pub fn record(&self) -> Record<'_> {
        let (source, deleted) = self.current.expect("the merge stands on a record");
        let record = self.sources[source].record();
        if !deleted {
            return record;
        }
        Record {
            body: Body::Tombstone,
            expire_ms: None,
            ..record
        }
    }

    /// Moves past the record under the merge; [`Merge::step`] finds the next one.
    ///
    /// # Errors
    /// What follows is damaged; the merge is over.
    pub fn advance(&mut self) -> Result<(), SstError> {
        let (source, _) = self.current.take().expect("the merge stands on a record");
        self.pass(source)
    }
}

enum Verdict {
    Keep,
    Delete,
    Drop,
}
