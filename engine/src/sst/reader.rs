//! [`SstReader`]: what is kept in memory of a sorted file, and [`Opening`], how it gets there.

use super::block::{Scratch, search};
use super::bytes::{Take, get32};
use super::filter::{Filter, collection_hash, lookup_hash};
use super::frame::{Footer, SST_HEADER, Section, check_file_bytes, family_of, take_page};
use super::index::BlockIndex;
use super::record::SstKey;
use super::{Damage, Family, FileId, PAGE_BYTES, Props, Record, SstError};

/// Bytes of a file to be read: whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// Where, in bytes.
    pub offset: u64,
    /// How many.
    pub bytes: usize,
}

/// Reads filter, index and properties of a file: ask [`Opening::need`], read, [`Opening::feed`], until there is a reader.
#[derive(Debug)]
pub struct Opening {
    file: FileId,
    file_bytes: u64,
    footer_crc: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Footer,
    Header(Footer),
    Meta(Footer),
}

impl Opening {
    /// `file_bytes`: what the file system says; the footer must say the same.
    ///
    /// # Errors
    /// The file is too short, or not whole pages.
    pub fn new(file: FileId, file_bytes: u64) -> Result<Self, SstError> {
        check_file_bytes(file, file_bytes)?;
        Ok(Self {
            file,
            file_bytes,
            footer_crc: 0,
            stage: Stage::Footer,
        })
    }

    /// What to read next.
    pub fn need(&self) -> PageRange {
        let page = PAGE_BYTES as u64;
        match &self.stage {
            Stage::Footer => PageRange {
                offset: self.file_bytes - page,
                bytes: PAGE_BYTES,
            },
            Stage::Header(_) => PageRange {
                offset: 0,
                bytes: PAGE_BYTES,
            },
            Stage::Meta(footer) => {
                let offset = meta_offset(footer);
                PageRange {
                    offset,
                    bytes: (self.file_bytes - page - offset) as usize,
                }
            }
        }
    }

    /// Takes what was asked for. Returns the reader once it is complete.
    ///
    /// # Errors
    /// Any damage to what was read; the opening is over.
    pub fn feed(&mut self, pages: &[u8]) -> Result<Option<SstReader>, SstError> {
        match self.stage {
            Stage::Footer => {
                self.stage = Stage::Header(Footer::take(pages, self.file, self.file_bytes)?);
                self.footer_crc = get32(pages, PAGE_BYTES - 4);
                Ok(None)
            }
            Stage::Header(footer) => {
                let mut fields = take_page(pages, SST_HEADER, self.file, 0)?;
                if fields.u8().ok().and_then(family_of) != Some(footer.family) {
                    return Err(self.corrupt(Damage::Contents, 0));
                }
                self.stage = Stage::Meta(footer);
                Ok(None)
            }
            Stage::Meta(footer) => self.reader(&footer, pages).map(Some),
        }
    }

    fn corrupt(&self, damage: Damage, offset: u64) -> SstError {
        let file = self.file;
        SstError::Corrupt { damage, file, offset }
    }

    fn reader(&self, footer: &Footer, mut pages: &[u8]) -> Result<SstReader, SstError> {
        let meta = meta_offset(footer);
        let mut offset = meta;
        let mut next = |section: Section| {
            let at = offset;
            let Some((bytes, rest)) = usize::try_from(section.bytes)
                .ok()
                .and_then(|n| pages.split_at_checked(n))
            else {
                let (expected, found) = (section.bytes, pages.len() as u64);
                return Err(self.corrupt(Damage::Length { expected, found }, at));
            };
            pages = rest;
            offset += section.bytes;
            if crc32c::crc32c(bytes) != section.crc {
                return Err(self.corrupt(Damage::Checksum, at));
            }
            Ok((Take(bytes), at))
        };
        let (filter, filter_at) = next(footer.filter)?;
        let (index, index_at) = next(footer.index)?;
        let (mut props, props_at) = next(footer.props)?;
        let end_page = meta / PAGE_BYTES as u64;
        let index = BlockIndex::take(index, end_page).map_err(|_| self.corrupt(Damage::Contents, index_at))?;
        let filter = Filter::take(filter, index.len()).map_err(|_| self.corrupt(Damage::Contents, filter_at))?;
        let props = Props::take(&mut props).map_err(|_| self.corrupt(Damage::Contents, props_at))?;
        Ok(SstReader {
            file: self.file,
            family: footer.family,
            file_bytes: self.file_bytes,
            footer_crc: self.footer_crc,
            index,
            filter,
            props,
        })
    }
}

fn meta_offset(footer: &Footer) -> u64 {
    footer.meta_offset().expect("checked when the footer was read")
}

/// An open file: its filter, index and properties. Knows where every record is, reads none itself.
#[derive(Debug)]
pub struct SstReader {
    file: FileId,
    family: Family,
    file_bytes: u64,
    footer_crc: u32,
    pub(super) index: BlockIndex,
    filter: Filter,
    props: Props,
}

impl SstReader {
    /// The file's id.
    pub fn file(&self) -> FileId {
        self.file
    }

    /// Which records it holds.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Its length, in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Checksum of the footer, which holds those of all other parts: it stands for the whole contents.
    pub fn footer_crc(&self) -> u32 {
        self.footer_crc
    }

    /// What it holds.
    pub fn props(&self) -> &Props {
        &self.props
    }

    /// Data blocks.
    pub fn blocks(&self) -> usize {
        self.index.len()
    }

    /// Bytes of memory that filter and index take.
    pub fn memory(&self) -> usize {
        self.filter.bytes() + self.index.memory()
    }

    /// Bytes of filter fingerprints.
    pub fn filter_bytes(&self) -> usize {
        self.filter.bytes()
    }

    /// Where a block is.
    ///
    /// # Panics
    /// When there are not so many blocks.
    pub fn block_range(&self, block: usize) -> PageRange {
        self.index.range(block)
    }

    /// The one block in which `key` can be; `None` when the file surely does not have it.
    pub fn locate(&self, key: SstKey<'_>) -> Option<usize> {
        let block = self.index.find(key)?;
        self.filter
            .may_hold(block, lookup_hash(self.family, key))
            .then_some(block)
    }

    /// Whether there may be elements of this collection.
    pub fn may_hold_collection(&self, ord: u64, collection: u64) -> bool {
        let tail = collection.to_be_bytes();
        let key = SstKey { ord, tail: &tail };
        let hash = collection_hash(key);
        // All of it is behind `key`: it begins in the block of that place, or with the block after it.
        let first = self.index.find(key).unwrap_or(0);
        (first..self.blocks().min(first + 2)).any(|block| self.filter.may_hold(block, hash))
    }

    /// Checks a block's pages as they were read.
    ///
    /// # Errors
    /// They are not what was written.
    pub fn check_block(&self, block: usize, pages: &[u8]) -> Result<(), SstError> {
        let range = self.index.range(block);
        if pages.len() != range.bytes {
            let (expected, found) = (range.bytes as u64, pages.len() as u64);
            return Err(self.corrupt(block, Damage::Length { expected, found }));
        }
        if crc32c::crc32c(pages) != self.index.crc(block) {
            return Err(self.corrupt(block, Damage::Checksum));
        }
        Ok(())
    }

    /// The record with this key, if the block has it. `pages`: the block as it was read.
    ///
    /// # Errors
    /// The block is damaged.
    pub fn search<'a>(
        &self,
        block: usize,
        pages: &'a [u8],
        key: SstKey<'_>,
        scratch: &'a mut Scratch,
    ) -> Result<Option<Record<'a>>, SstError> {
        self.check_block(block, pages)?;
        search(pages, self.index.ord(block), key, scratch).map_err(|_| self.corrupt(block, Damage::Contents))
    }

    pub(super) fn corrupt(&self, block: usize, damage: Damage) -> SstError {
        SstError::Corrupt {
            damage,
            file: self.file,
            offset: self.index.range(block).offset,
        }
    }
}
