//! The scrubber: reads every file again, at a low rate, and finds out whether it is still what was written.
//!
//! A *round* goes through all files of the store in the order of their names: of a sorted file each block, then index, filter,
//! properties, header and footer; of a blob file each value. One read at a time ([`Store::scrub`]), so that it can be as slow
//! as it likes. A damage is a [`ScrubFinding`] for people: nothing is served from a damaged block anyway, as every read checks
//! it. A file that goes while it is looked at is left; new ones have their turn when the round comes to their names.

use super::Store;
use super::effect::FileName;
use super::outbox::Flight;
use super::runs::Runs;
use crate::sst::{BlobScan, Opening, PAGE_BYTES, PageRange, SstError, SstReader};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Findings that nobody has taken yet, at most: a file that is damaged all over need not be told block by block.
const FINDINGS_MAX: usize = 64;
/// Damaged places that are remembered, so that each is told once.
const KNOWN_MAX: usize = 10_000;

/// A damage that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubFinding {
    /// In which file.
    pub file: FileName,
    /// Where, in bytes.
    pub offset: u64,
    /// First and last order of the keys whose values it may concern; `None`: any that the file has.
    pub ords: Option<(u64, u64)>,
    /// What is wrong.
    pub error: ScrubError,
}

/// What is wrong with a place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScrubError {
    /// It is not what was written.
    Damaged(SstError),
    /// It cannot be read: an error number.
    Unreadable(i32),
}

/// What scrubbing has done, and how far the present round is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubStats {
    /// Rounds that came to their end.
    pub rounds: u64,
    /// Bytes read, since the start.
    pub bytes: u64,
    /// Damaged places found, each counted once.
    pub damages: u64,
    /// Bytes of files that this round is through with.
    pub round_bytes: u64,
}

enum Target {
    Blocks { reader: Rc<SstReader>, next: usize },
    Rest(Opening),
    Blob(BlobScan),
}

/// What is being read.
enum Piece {
    /// These blocks.
    Blocks {
        first: usize,
        count: usize,
    },
    Other,
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Scrub {
    target: Option<(FileName, u64, Target)>,
    /// The last file that this round is through with.
    after: Option<FileName>,
    /// The read under way; its files are kept meanwhile.
    reading: Option<(Piece, Rc<Runs>)>,
    findings: Vec<ScrubFinding>,
    known: BTreeSet<(FileName, u64)>,
    stats: ScrubStats,
}

impl Scrub {
    fn found(&mut self, file: FileName, offset: u64, ords: Option<(u64, u64)>, error: ScrubError) {
        if self.known.len() >= KNOWN_MAX || !self.known.insert((file, offset)) {
            return;
        }
        self.stats.damages += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(ScrubFinding {
                file,
                offset,
                ords,
                error,
            });
        }
    }

    fn end_file(&mut self, file: FileName, bytes: u64) {
        self.after = Some(file);
        self.stats.round_bytes += bytes;
    }
}

fn place(error: &SstError) -> u64 {
    match error {
        SstError::Corrupt { offset, .. } => *offset,
        SstError::Version { .. } => 0,
    }
}

impl Store {
    /// Reads the next piece, of about `bytes_max` bytes, unless one is on its way. Returns how many bytes it is; `None` when
    /// the round has come to its end, and nothing was asked for.
    pub fn scrub(&mut self, bytes_max: usize) -> Option<usize> {
        if self.scrub.reading.is_some() {
            return Some(0);
        }
        if let Some((file, bytes, _)) = self.scrub.target.take_if(|(file, ..)| !self.runs.has(*file)) {
            self.scrub.end_file(file, bytes);
        }
        if self.scrub.target.is_none() {
            self.scrub.target = self.next_to_scrub();
        }
        let Some((file, file_bytes, target)) = &self.scrub.target else {
            let scrub = &mut self.scrub;
            scrub.stats.rounds += u64::from(scrub.after.is_some());
            (scrub.after, scrub.stats.round_bytes) = (None, 0);
            return None;
        };
        let (range, piece) = match target {
            Target::Blocks { reader, next } => blocks_from(reader, *next, bytes_max),
            Target::Rest(opening) => (opening.need(), Piece::Other),
            Target::Blob(scan) => {
                let whole = bytes_max.max(PAGE_BYTES) / PAGE_BYTES * PAGE_BYTES;
                let left = usize::try_from(file_bytes - scan.at()).unwrap_or(usize::MAX);
                let range = PageRange {
                    offset: scan.at(),
                    bytes: whole.min(left),
                };
                (range, Piece::Other)
            }
        };
        let (file, offset) = (*file, range.offset);
        self.scrub.reading = Some((piece, self.runs.clone()));
        self.scrub.stats.bytes += range.bytes as u64;
        self.outbox.read(Flight::Scrub { file, offset }, file, range);
        Some(range.bytes)
    }

    /// The file whose turn it is.
    fn next_to_scrub(&mut self) -> Option<(FileName, u64, Target)> {
        loop {
            let after = self.scrub.after;
            let sorted = self.version.files().map(|f| (FileName::sorted(f.file), f.file_bytes));
            let blobs = self
                .version
                .blobs
                .iter()
                .map(|b| (FileName::blob(b.file), b.file_bytes));
            let all = sorted.chain(blobs).filter(|(file, _)| self.runs.has(*file));
            let (file, bytes) = all.filter(|(file, _)| after.is_none_or(|after| *file > after)).min()?;
            if let Some(reader) = self.readers.get(&file.id) {
                let (reader, next) = (reader.clone(), 0);
                return Some((file, bytes, Target::Blocks { reader, next }));
            }
            match BlobScan::new(file.id, bytes) {
                Ok(scan) => return Some((file, bytes, Target::Blob(scan))),
                Err(error) => self.scrub.found(file, 0, None, ScrubError::Damaged(error)),
            }
            self.scrub.after = Some(file);
        }
    }

    /// What was read has come.
    pub(super) fn scrubbed(&mut self, pages: &[u8]) {
        let scrub = &mut self.scrub;
        let Some((piece, _)) = scrub.reading.take() else { return };
        let Some((file, bytes, target)) = scrub.target.take() else {
            return;
        };
        let next = match (target, piece) {
            (Target::Blocks { reader, .. }, Piece::Blocks { first, count }) => {
                let mut at = 0;
                for block in first..first + count {
                    let range = reader.block_range(block);
                    if let Err(error) = reader.check_block(block, &pages[at..at + range.bytes]) {
                        scrub.found(
                            file,
                            range.offset,
                            Some(reader.block_ords(block)),
                            ScrubError::Damaged(error),
                        );
                    }
                    at += range.bytes;
                }
                match first + count < reader.blocks() {
                    true => {
                        let next = first + count;
                        Some(Target::Blocks { reader, next })
                    }
                    false => Opening::new(file.id, bytes).ok().map(Target::Rest),
                }
            }
            (Target::Rest(mut opening), _) => match opening.feed(pages) {
                Ok(None) => Some(Target::Rest(opening)),
                Ok(Some(_)) => None,
                Err(error) => {
                    scrub.found(file, place(&error), None, ScrubError::Damaged(error));
                    None
                }
            },
            (Target::Blob(mut scan), _) => {
                scan.feed(pages, &mut |error| {
                    scrub.found(file, place(&error), None, ScrubError::Damaged(error));
                });
                (!scan.is_done()).then_some(Target::Blob(scan))
            }
            (Target::Blocks { .. }, Piece::Other) => None,
        };
        match next {
            Some(target) => scrub.target = Some((file, bytes, target)),
            None => scrub.end_file(file, bytes),
        }
    }

    /// What was to be read cannot be: the rest of the file is left for the next round.
    pub(super) fn scrub_failed(&mut self, file: FileName, offset: u64, errno: i32) {
        self.scrub.reading = None;
        self.scrub.found(file, offset, None, ScrubError::Unreadable(errno));
        if let Some((file, bytes, _)) = self.scrub.target.take() {
            self.scrub.end_file(file, bytes);
        }
    }

    /// Damages found since the last call.
    pub fn take_scrub_findings(&mut self) -> Vec<ScrubFinding> {
        std::mem::take(&mut self.scrub.findings)
    }

    /// What scrubbing has done.
    pub fn scrub_stats(&self) -> ScrubStats {
        self.scrub.stats
    }
}

/// Blocks from `first` on of about `bytes_max` bytes together, one at least; they lie one behind the other.
fn blocks_from(reader: &SstReader, first: usize, bytes_max: usize) -> (PageRange, Piece) {
    let mut range = reader.block_range(first);
    let mut count = 1;
    while first + count < reader.blocks() {
        let next = reader.block_range(first + count);
        if range.bytes + next.bytes > bytes_max || next.offset != range.offset + range.bytes as u64 {
            break;
        }
        range.bytes += next.bytes;
        count += 1;
    }
    (range, Piece::Blocks { first, count })
}
