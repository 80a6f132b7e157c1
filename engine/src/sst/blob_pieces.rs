//! [`BlobPieces`]: one value of a blob file, read piece by piece, so that nobody waits for all of a large one.

use super::blob::BLOB_HEAD;
use super::bytes::get32;
use super::record::blob_crc_of_len;
use super::{BlobPtr, Damage, PAGE_BYTES, PageRange, SstError};

/// Bytes of a piece, whole pages: checking them takes some 20 us.
const PIECE_BYTES: usize = 256 << 10;

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct BlobPieces {
    ptr: BlobPtr,
    /// Bytes of the file before this were taken, or are of no interest.
    at: u64,
    /// Of the length, and of the value's bytes so far.
    crc: u32,
    /// What stands before the value is not what the pointer says.
    is_foreign: bool,
}

impl BlobPieces {
    /// Those of the value that `ptr` names.
    pub fn of(ptr: BlobPtr) -> Self {
        Self {
            ptr,
            at: ptr.range().offset,
            crc: blob_crc_of_len(ptr.len),
            is_foreign: false,
        }
    }

    /// The next pages to be read; `None`: that was all.
    pub fn need(&self) -> Option<PageRange> {
        let PageRange { offset, bytes } = self.ptr.range();
        let left = (offset + bytes as u64).saturating_sub(self.at);
        (left > 0).then(|| PageRange {
            offset: self.at,
            bytes: left.min(PIECE_BYTES as u64) as usize,
        })
    }

    /// Takes what [`BlobPieces::need`] asked for. Returns the part of the value that is in it; only with the last one is it known
    /// that all of them are what was written.
    ///
    /// # Errors
    /// They are not.
    ///
    /// # Panics
    /// Nothing was asked for.
    pub fn feed<'a>(&mut self, pages: &'a [u8]) -> Result<&'a [u8], SstError> {
        let range = self.need().expect("pages were asked for");
        let corrupt = |damage| SstError::Corrupt {
            damage,
            file: self.ptr.file,
            offset: self.ptr.offset,
        };
        if pages.len() != range.bytes {
            let (expected, found) = (range.bytes as u64, pages.len() as u64);
            return Err(corrupt(Damage::Length { expected, found }));
        }
        let value = self.ptr.offset + BLOB_HEAD as u64;
        let end = value + u64::from(self.ptr.len);
        if range.offset < value {
            // A head does not cross a page, as records are aligned.
            let head = &pages[(self.ptr.offset - range.offset) as usize..];
            self.is_foreign = get32(head, 0) != self.ptr.len || get32(head, 4) != self.ptr.crc;
        }
        let from = value.saturating_sub(range.offset).min(range.bytes as u64) as usize;
        let to = (end - range.offset).min(range.bytes as u64) as usize;
        let part = &pages[from..to];
        self.crc = crc32c::crc32c_append(self.crc, part);
        self.at = range.offset + range.bytes as u64;
        let is_last = self.need().is_none();
        if is_last && self.crc != self.ptr.crc {
            return Err(corrupt(Damage::Checksum));
        }
        if is_last && self.is_foreign {
            return Err(corrupt(Damage::Identity));
        }
        Ok(part)
    }
}

const _: () = assert!(PIECE_BYTES.is_multiple_of(PAGE_BYTES));

#[cfg(test)]
mod tests {
    use super::super::{BlobBuilder, FileId};
    use super::*;

    fn pieces_of(ptr: BlobPtr, file: &[u8]) -> Result<Vec<u8>, SstError> {
        let (mut pieces, mut value) = (BlobPieces::of(ptr), Vec::new());
        while let Some(PageRange { offset, bytes }) = pieces.need() {
            value.extend_from_slice(pieces.feed(&file[offset as usize..][..bytes])?);
        }
        Ok(value)
    }

    #[test]
    fn pieces_are_the_value_and_each_damage_is_found() {
        let mut builder = BlobBuilder::new(FileId(3));
        let lens = [
            0,
            1,
            4_080,
            4_088,
            4_096,
            PIECE_BYTES - 8,
            PIECE_BYTES,
            PIECE_BYTES * 3 + 77,
            9,
        ];
        let values = lens.map(|len| (0..len).map(|at| (at * 11 + len) as u8).collect::<Vec<_>>());
        let ptrs = values.each_ref().map(|value| builder.push(value));
        builder.finish();
        let mut file = Vec::new();
        while let Some(chunk) = builder.take_chunk() {
            file.extend_from_slice(&chunk.buf);
        }
        for (ptr, value) in ptrs.iter().zip(&values) {
            assert_eq!(&pieces_of(*ptr, &file).unwrap(), value);
            let first = ptr.offset as usize;
            for at in [
                first,
                first + 5,
                first + BLOB_HEAD + value.len() / 2,
                first + BLOB_HEAD + value.len() - 1,
            ] {
                if at >= first + BLOB_HEAD + value.len() || at < first {
                    continue;
                }
                file[at] ^= 4;
                assert!(pieces_of(*ptr, &file).is_err(), "a flip at {at}");
                file[at] ^= 4;
            }
            let elsewhere = BlobPtr {
                offset: ptr.offset + 8,
                ..*ptr
            };
            assert!(pieces_of(elsewhere, &file).is_err());
        }
    }
}
