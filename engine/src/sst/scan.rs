//! [`SstScan`]: the records of a run, in order, read ahead in large pieces.

use super::block::{Cursor, unpack};
use super::record::{EntryAt, SstKey};
use super::{Damage, FileId, PageRange, Record, Run, RunFile, SstError};
use slotcore_rt::buf::AlignedBuf;
use std::ops::Range;

/// Which part of the order is scanned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// First order, inclusive.
    pub from_ord: u64,
    /// First tail within `from_ord`, inclusive.
    pub from_tail: Vec<u8>,
    /// Order before which the scan ends; `None` for all.
    pub to_ord: Option<u64>,
}

impl Bounds {
    fn from(&self) -> SstKey<'_> {
        SstKey {
            ord: self.from_ord,
            tail: &self.from_tail,
        }
    }
}

/// What a scan wants, or has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanStep {
    /// Read these pages and [`SstScan::feed`] them.
    Need {
        /// Of which file.
        file: FileId,
        /// Which pages.
        range: PageRange,
    },
    /// [`SstScan::record`] is the next record.
    Ready,
    /// There is none any more.
    End,
}

/// A scan under way.
#[derive(Debug)]
pub struct SstScan {
    files: Vec<RunFile>,
    bounds: Bounds,
    read_bytes: usize,
    /// File and block that are read next.
    file: usize,
    block: usize,
    /// Blocks asked for.
    awaited: Option<Range<usize>>,
    /// What was read: blocks `piece_blocks` of the file, of which the first is open when there is a cursor.
    piece: Option<AlignedBuf>,
    piece_blocks: Range<usize>,
    raw: Vec<u8>,
    /// Where in `piece` the open body lies; in `raw` when it was compressed.
    body: Option<Range<usize>>,
    cursor: Option<Cursor>,
    /// Place of the last entry: its order, and its tail.
    last_ord: Option<u64>,
    tail: Vec<u8>,
    entry: Option<EntryAt>,
}

impl SstScan {
    /// Scans a part of a run. `read_bytes`: how much is read at once, at least one block.
    pub fn new(run: &Run, bounds: Bounds, read_bytes: usize) -> Self {
        let in_bounds = |f: &&RunFile| f.meets(bounds.from_ord, bounds.to_ord);
        let files: Vec<_> = run.files().iter().filter(in_bounds).cloned().collect();
        let block = files.first().map_or(0, |f| first_block(f, &bounds));
        Self {
            files,
            bounds,
            read_bytes,
            file: 0,
            block,
            awaited: None,
            piece: None,
            piece_blocks: 0..0,
            raw: Vec::new(),
            body: None,
            cursor: None,
            last_ord: None,
            tail: Vec::new(),
            entry: None,
        }
    }

    /// Whether the scan stands on a record.
    pub fn is_ready(&self) -> bool {
        self.entry.is_some()
    }

    /// What is next. The same until [`SstScan::advance`] or [`SstScan::feed`].
    pub fn state(&mut self) -> ScanStep {
        if self.entry.is_some() {
            return ScanStep::Ready;
        }
        let Some(RunFile { reader, .. }) = self.files.get(self.file) else {
            return ScanStep::End;
        };
        let awaited = self.awaited.get_or_insert_with(|| {
            let first = self.block;
            let beyond = |block: usize| self.bounds.to_ord.is_some_and(|to| reader.index.ord(block) >= to);
            let mut end = first + 1;
            while end < reader.blocks() && !beyond(end) && reader.index.range_of(first, end).bytes <= self.read_bytes {
                end += 1;
            }
            first..end
        });
        ScanStep::Need {
            file: reader.file(),
            range: reader.index.range_of(awaited.start, awaited.end - 1),
        }
    }

    /// Takes the pages that were asked for.
    ///
    /// # Errors
    /// They are damaged; the scan is over.
    pub fn feed(&mut self, pages: AlignedBuf) -> Result<(), SstError> {
        let blocks = self.awaited.take().expect("pages come when they were asked for");
        self.block = blocks.end;
        self.piece_blocks = blocks;
        self.piece = Some(pages);
        self.advance()
    }

    /// The record under the scan.
    ///
    /// # Panics
    /// When the state is not [`ScanStep::Ready`].
    pub fn record(&self) -> Record<'_> {
        let entry = self.entry.as_ref().expect("the scan stands on a record");
        entry.record(self.open_body(), &self.tail)
    }

    fn open_body(&self) -> &[u8] {
        match (&self.body, &self.piece) {
            (Some(range), Some(piece)) => &piece[range.clone()],
            _ => &self.raw,
        }
    }

    /// Moves to the next record, as far as what was read goes.
    ///
    /// # Errors
    /// A block is damaged; the scan is over.
    pub fn advance(&mut self) -> Result<(), SstError> {
        self.entry = None;
        while self.open_block()? {
            let mut cursor = self.cursor.expect("a block is open");
            let mut tail = std::mem::take(&mut self.tail);
            let next = cursor.next(self.open_body(), &mut tail);
            self.tail = tail;
            self.last_ord = cursor.last_ord();
            self.cursor = Some(cursor);
            match next.map_err(|_| self.damage(Damage::Contents))? {
                Some(entry) if self.bounds.to_ord.is_some_and(|to| entry.ord >= to) => {
                    self.files.clear();
                    self.piece = None;
                    return Ok(());
                }
                Some(entry) => {
                    let key = SstKey {
                        ord: entry.ord,
                        tail: &self.tail,
                    };
                    if key >= self.bounds.from() && key.ord >= self.files[self.file].from_ord {
                        self.entry = Some(entry);
                        return Ok(());
                    }
                }
                None => {
                    self.cursor = None;
                    self.piece_blocks.start += 1;
                }
            }
        }
        Ok(())
    }

    fn damage(&self, damage: Damage) -> SstError {
        self.files[self.file].reader.corrupt(self.piece_blocks.start, damage)
    }

    /// Opens the first block of the piece unless one is open. False when the next one has to be read, or there is none.
    fn open_block(&mut self) -> Result<bool, SstError> {
        let Some(piece) = &self.piece else { return Ok(false) };
        if self.cursor.is_some() {
            return Ok(true);
        }
        let Some(RunFile { reader, .. }) = self.files.get(self.file).cloned() else {
            return Ok(false);
        };
        if self.piece_blocks.is_empty() {
            self.piece = None;
            if self.block == reader.blocks() {
                self.file += 1;
                self.block = self.files.get(self.file).map_or(0, |f| first_block(f, &self.bounds));
                // A file of which a part is in use begins before the end of the one before it.
                self.last_ord = None;
            }
            return Ok(false);
        }
        let block = self.piece_blocks.start;
        let range = reader.index.range(block);
        // The piece ends with the last of its blocks.
        let last = reader.index.range(self.piece_blocks.end - 1);
        let from_end = (last.offset + last.bytes as u64 - range.offset) as usize;
        let Some(at) = piece.len().checked_sub(from_end) else {
            let (expected, found) = (from_end as u64, piece.len() as u64);
            return Err(self.damage(Damage::Length { expected, found }));
        };
        let pages = &piece[at..at + range.bytes];
        reader.check_block(block, pages)?;
        let body = unpack(pages, &mut self.raw).map_err(|_| reader.corrupt(block, Damage::Contents))?;
        self.body = body.map(|b| at + b.start..at + b.end);
        let opened = Cursor::start(self.open_body(), reader.index.ord(block), self.last_ord);
        self.cursor = Some(opened.map_err(|_| reader.corrupt(block, Damage::Contents))?);
        Ok(true)
    }
}

/// The first block that can hold something in use within the bounds.
fn first_block(file: &RunFile, bounds: &Bounds) -> usize {
    let part = SstKey {
        ord: file.from_ord,
        tail: &[],
    };
    file.reader.index.find(bounds.from().max(part)).unwrap_or(0)
}
