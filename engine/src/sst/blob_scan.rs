//! [`BlobScan`]: checks a blob file from its beginning to its end, piece by piece, whatever the size of its values.
//!
//! Format: `docs/formats/blob.md`.

use super::blob::{BLOB_ALIGN, BLOB_HEAD};
use super::bytes::get32;
use super::frame::{BLOB_FOOTER, BLOB_HEADER, check_file_bytes, take_page};
use super::record::blob_crc_of_len;
use super::{Damage, FileId, PAGE_BYTES, SstError};

/// What comes next in the file.
#[derive(Clone, Copy, Debug)]
enum Part {
    Header,
    /// A value's length and checksum, of which `have` bytes are in `head`.
    Head {
        have: usize,
    },
    Value {
        from: u64,
        left: u64,
        crc: u32,
        expected: u32,
    },
    /// Zeroes.
    Padding {
        left: u64,
    },
    /// Nothing more can be made out.
    Lost,
}

/// See the module's text.
#[derive(Debug)]
pub struct BlobScan {
    file: FileId,
    file_bytes: u64,
    /// Bytes taken.
    at: u64,
    part: Part,
    head: [u8; BLOB_HEAD],
    values: u64,
    value_bytes: u64,
}

impl BlobScan {
    /// `file_bytes`: what the manifest says.
    ///
    /// # Errors
    /// No blob file is that long.
    pub fn new(file: FileId, file_bytes: u64) -> Result<Self, SstError> {
        check_file_bytes(file, file_bytes)?;
        Ok(Self {
            file,
            file_bytes,
            at: 0,
            part: Part::Header,
            head: [0; BLOB_HEAD],
            values: 0,
            value_bytes: 0,
        })
    }

    /// Bytes checked so far: where the next piece begins.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Whether everything has been looked at.
    pub fn is_done(&self) -> bool {
        self.at == self.file_bytes
    }

    fn corrupt(&self, damage: Damage, offset: u64) -> SstError {
        let file = self.file;
        SstError::Corrupt { damage, file, offset }
    }

    /// Takes the next piece: whole pages. `found` hears of each damage; the scan goes on behind it where that can be told.
    pub fn feed(&mut self, pages: &[u8], found: &mut dyn FnMut(SstError)) {
        let footer_at = self.file_bytes - PAGE_BYTES as u64;
        let mut rest = pages;
        while !rest.is_empty() {
            if self.at >= footer_at {
                self.footer(rest, found);
                self.at = self.file_bytes;
                return;
            }
            let before_footer = usize::try_from(footer_at - self.at).unwrap_or(usize::MAX);
            let (data, behind) = rest.split_at(rest.len().min(before_footer));
            self.data(data, found);
            rest = behind;
        }
    }

    /// Takes bytes before the footer.
    fn data(&mut self, mut data: &[u8], found: &mut dyn FnMut(SstError)) {
        while !data.is_empty() {
            let taken = match self.part {
                Part::Header => {
                    if let Err(error) = take_page(&data[..PAGE_BYTES.min(data.len())], BLOB_HEADER, self.file, 0) {
                        found(error);
                    }
                    self.part = Part::Head { have: 0 };
                    PAGE_BYTES.min(data.len())
                }
                Part::Head { have } => self.head(have, data, found),
                Part::Value {
                    from,
                    left,
                    crc,
                    expected,
                } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                    let crc = crc32c::crc32c_append(crc, &data[..here]);
                    let left = left - here as u64;
                    self.part = Part::Value {
                        from,
                        left,
                        crc,
                        expected,
                    };
                    if left == 0 {
                        self.end_value(self.at + here as u64, from, crc == expected, found);
                    }
                    here
                }
                Part::Padding { left } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                    if data[..here].iter().any(|&byte| byte != 0) {
                        found(self.corrupt(Damage::Contents, self.at));
                    }
                    let left = left - here as u64;
                    self.part = if left == 0 {
                        Part::Head { have: 0 }
                    } else {
                        Part::Padding { left }
                    };
                    here
                }
                Part::Lost => data.len(),
            };
            self.at += taken as u64;
            data = &data[taken..];
        }
    }

    /// Takes bytes of a value's head. Returns how many.
    fn head(&mut self, have: usize, data: &[u8], found: &mut dyn FnMut(SstError)) -> usize {
        let here = (BLOB_HEAD - have).min(data.len());
        self.head[have..have + here].copy_from_slice(&data[..here]);
        if have + here < BLOB_HEAD {
            self.part = Part::Head { have: have + here };
            return here;
        }
        let from = self.at + here as u64 - BLOB_HEAD as u64;
        let footer_at = self.file_bytes - PAGE_BYTES as u64;
        let (len, expected) = (get32(&self.head, 0), get32(&self.head, 4));
        if len == 0 && expected == 0 {
            // Behind the last value there are zeroes up to the footer, which says how many values there are. No value has
            // these eight bytes: the checksum of an empty one is another.
            let left = footer_at - (self.at + here as u64);
            self.part = if left == 0 {
                Part::Head { have: 0 }
            } else {
                Part::Padding { left }
            };
            return here;
        }
        if from + BLOB_HEAD as u64 + u64::from(len) > footer_at {
            found(self.corrupt(Damage::Contents, from));
            self.part = Part::Lost;
            return here;
        }
        let crc = blob_crc_of_len(len);
        self.part = Part::Value {
            from,
            left: len.into(),
            crc,
            expected,
        };
        if len == 0 {
            self.end_value(self.at + here as u64, from, crc == expected, found);
        }
        here
    }

    /// A value that begins at `from` ends before `end`.
    fn end_value(&mut self, end: u64, from: u64, is_sound: bool, found: &mut dyn FnMut(SstError)) {
        if !is_sound {
            found(self.corrupt(Damage::Checksum, from));
        }
        self.values += 1;
        self.value_bytes += end - from - BLOB_HEAD as u64;
        let left = end
            .next_multiple_of(BLOB_ALIGN as u64)
            .min(self.file_bytes - PAGE_BYTES as u64)
            - end;
        self.part = if left == 0 {
            Part::Head { have: 0 }
        } else {
            Part::Padding { left }
        };
    }

    fn footer(&mut self, page: &[u8], found: &mut dyn FnMut(SstError)) {
        let at = self.file_bytes - PAGE_BYTES as u64;
        let mut fields = match take_page(page, BLOB_FOOTER, self.file, at) {
            Ok(fields) => fields,
            Err(error) => return found(error),
        };
        let mut field = || fields.u64().ok();
        let said = (field(), field(), field());
        let is_lost = matches!(self.part, Part::Lost);
        if !is_lost && said != (Some(self.file_bytes), Some(self.values), Some(self.value_bytes)) {
            found(self.corrupt(Damage::Contents, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BlobBuilder;
    use super::*;

    const FILE: FileId = FileId(9);

    fn file() -> Vec<u8> {
        let (mut builder, mut bytes) = (BlobBuilder::new(FILE), Vec::new());
        for n in 0..60_usize {
            builder.push(&vec![n as u8; n * n * 7 % 9_000]);
        }
        builder.finish();
        while let Some(chunk) = builder.take_chunk() {
            bytes.extend_from_slice(&chunk.buf);
        }
        bytes
    }

    #[test]
    fn values_in_parts_are_those_in_one_piece() {
        let (mut whole, mut parts) = (BlobBuilder::new(FILE), BlobBuilder::new(FILE));
        let (mut expected, mut written) = (Vec::new(), Vec::new());
        let take = |builder: &mut BlobBuilder, bytes: &mut Vec<u8>| {
            while let Some(chunk) = builder.take_chunk() {
                let (from, to) = (chunk.offset as usize, chunk.offset as usize + chunk.buf.len());
                bytes.resize(bytes.len().max(to), 0xff);
                bytes[from..to].copy_from_slice(&chunk.buf);
            }
        };
        for n in 0..40_usize {
            let value: Vec<u8> = (0..n * n * n * 37 % 900_000).map(|at| (at * 7 + n) as u8).collect();
            let ptr = whole.push(&value);
            take(&mut whole, &mut expected);
            if n % 3 == 0 {
                assert_eq!(parts.push(&value), ptr);
            } else {
                parts.begin();
                for part in value.chunks(1 + n * 997) {
                    parts.part(part);
                    take(&mut parts, &mut written);
                }
                assert_eq!(parts.end(), ptr, "value {n}");
            }
            take(&mut parts, &mut written);
        }
        assert_eq!(parts.finish(), whole.finish());
        take(&mut whole, &mut expected);
        take(&mut parts, &mut written);
        assert!(expected == written && damages(&written, 3 * PAGE_BYTES) == 0);
        // Whoever gives up in the middle leaves a sound file with a value that nobody refers to.
        let (mut given_up, mut bytes) = (BlobBuilder::new(FILE), Vec::new());
        given_up.begin();
        given_up.part(&[7; 600_000]);
        take(&mut given_up, &mut bytes);
        given_up.finish();
        take(&mut given_up, &mut bytes);
        assert_eq!(damages(&bytes, PAGE_BYTES), 0);
    }

    fn damages(bytes: &[u8], piece: usize) -> usize {
        let (mut scan, mut found) = (BlobScan::new(FILE, bytes.len() as u64).unwrap(), 0);
        for pages in bytes.chunks(piece) {
            scan.feed(pages, &mut |_| found += 1);
        }
        assert!(scan.is_done());
        found
    }

    #[test]
    fn a_sound_file_is_sound_in_pieces_of_any_size() {
        for pages in [1, 2, 7, 1_000] {
            assert_eq!(damages(&file(), pages * PAGE_BYTES), 0, "{pages} pages at once");
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let sound = file();
        for at in (0..sound.len()).step_by(101) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            for pages in [1, 5] {
                assert!(
                    damages(&bytes, pages * PAGE_BYTES) > 0,
                    "byte {at}, {pages} pages at once"
                );
            }
        }
    }
}
