//! Blob files: large values, referred to by the records of sorted files.
//!
//! A value is written once, when its record is flushed, and not again at each compaction. Nothing in a blob file says which
//! of its values are still needed: sorted files count what they refer to ([`BlobRefs`](super::BlobRefs)).
//!
//! Format: `docs/formats/blob.md`.

use super::bytes::{get32, len32, pad_to_page, put32, put64};
use super::frame::{BLOB_FOOTER, BLOB_HEADER, check_file_bytes, put_page, take_page};
use super::record::{BlobPtr, blob_crc, blob_crc_of_len};
use super::{CHUNK_BYTES, Chunk, Damage, FileId, PAGE_BYTES, PageRange, SstError};
use slotcore_rt::buf::AlignedBuf;

/// Largest value, in bytes: what its length has room for.
pub const BLOB_VALUE_BYTES_MAX: usize = u32::MAX as usize;
/// Bytes before a value: its length and checksum.
pub(super) const BLOB_HEAD: usize = 8;
/// Records start at multiples of this, in bytes.
pub(super) const BLOB_ALIGN: usize = 8;

/// Values become the bytes of a blob file, chunk by chunk.
pub struct BlobBuilder {
    file: FileId,
    pending: Vec<u8>,
    /// Where in the file `pending` begins.
    offset: u64,
    values: u64,
    value_bytes: u64,
    finished: bool,
    open: Option<OpenValue>,
    /// Bytes before `pending` that are held back while the head of the open value in them is not known.
    held: Option<Chunk>,
}

/// A value that comes in parts.
struct OpenValue {
    /// Where its record begins in the file.
    offset: u64,
    len: usize,
    /// Checksum of the bytes so far.
    crc: u32,
}

impl BlobBuilder {
    /// A file without values.
    pub fn new(file: FileId) -> Self {
        let mut pending = Vec::with_capacity(CHUNK_BYTES + PAGE_BYTES);
        put_page(&mut pending, BLOB_HEADER, file, &[]);
        Self {
            file,
            pending,
            offset: 0,
            values: 0,
            value_bytes: 0,
            finished: false,
            open: None,
            held: None,
        }
    }

    /// Appends a value, copied. Returns where it will be; durable when the caller wrote and synced all chunks.
    ///
    /// # Panics
    /// Beyond [`BLOB_VALUE_BYTES_MAX`] bytes.
    pub fn push(&mut self, value: &[u8]) -> BlobPtr {
        assert!(
            value.len() <= BLOB_VALUE_BYTES_MAX && !self.finished,
            "a value has less than 4 GiB"
        );
        let ptr = BlobPtr {
            file: self.file,
            offset: self.offset + self.pending.len() as u64,
            len: len32(value.len()),
            crc: blob_crc(value),
        };
        put32(&mut self.pending, ptr.len);
        put32(&mut self.pending, ptr.crc);
        self.pending.extend_from_slice(value);
        self.pending.resize(self.pending.len().next_multiple_of(BLOB_ALIGN), 0);
        self.values += 1;
        self.value_bytes += value.len() as u64;
        ptr
    }

    /// Begins a value whose bytes come in parts ([`BlobBuilder::part`]). Until its end, its first chunk is held back, as length and
    /// checksum stand before the bytes.
    pub fn begin(&mut self) {
        assert!(self.open.is_none() && !self.finished, "one value after the other");
        self.open = Some(OpenValue {
            offset: self.file_bytes(),
            len: 0,
            crc: 0,
        });
        self.pending.extend_from_slice(&[0; BLOB_HEAD]);
    }

    /// Appends bytes of the open value.
    ///
    /// # Panics
    /// As [`BlobBuilder::push`].
    pub fn part(&mut self, bytes: &[u8]) {
        let open = self.open.as_mut().expect("a value was begun");
        open.len += bytes.len();
        assert!(open.len <= BLOB_VALUE_BYTES_MAX, "a value has less than 4 GiB");
        open.crc = crc32c::crc32c_append(open.crc, bytes);
        self.pending.extend_from_slice(bytes);
    }

    /// Ends the open value. Returns where it will be, as [`BlobBuilder::push`] does.
    pub fn end(&mut self) -> BlobPtr {
        let open = self.open.take().expect("a value was begun");
        let len = len32(open.len);
        let ptr = BlobPtr {
            file: self.file,
            offset: open.offset,
            len,
            crc: crc32c::crc32c_combine(blob_crc_of_len(len), open.crc, open.len),
        };
        let mut head = [0; BLOB_HEAD];
        head[..4].copy_from_slice(&ptr.len.to_le_bytes());
        head[4..].copy_from_slice(&ptr.crc.to_le_bytes());
        let bytes: &mut [u8] = match &mut self.held {
            Some(held) => &mut held.buf[(open.offset - held.offset) as usize..],
            None => &mut self.pending[(open.offset - self.offset) as usize..],
        };
        bytes[..BLOB_HEAD].copy_from_slice(&head);
        self.pending.resize(self.pending.len().next_multiple_of(BLOB_ALIGN), 0);
        self.values += 1;
        self.value_bytes += open.len as u64;
        ptr
    }

    /// Bytes of the file so far.
    pub fn file_bytes(&self) -> u64 {
        self.offset + self.pending.len() as u64
    }

    /// Values so far, and their bytes.
    pub fn values(&self) -> (u64, u64) {
        (self.values, self.value_bytes)
    }

    /// The next bytes to be written: whole chunks, and after [`BlobBuilder::finish`] the rest.
    pub fn take_chunk(&mut self) -> Option<Chunk> {
        if self.open.is_none()
            && let Some(held) = self.held.take()
        {
            return Some(held);
        }
        let ready = if self.finished {
            self.pending.len()
        } else {
            self.pending.len() / CHUNK_BYTES * CHUNK_BYTES
        };
        if ready == 0 {
            return None;
        }
        let mut buf = AlignedBuf::with_capacity(ready);
        buf.extend_from_slice(&self.pending[..ready]);
        self.pending.drain(..ready);
        let chunk = Chunk {
            offset: self.offset,
            buf,
        };
        self.offset += ready as u64;
        match &self.open {
            Some(open) if (chunk.offset..self.offset).contains(&open.offset) => {
                self.held = Some(chunk);
                self.take_chunk()
            }
            _ => Some(chunk),
        }
    }

    /// Completes the file. Returns its length in bytes.
    pub fn finish(&mut self) -> u64 {
        if self.open.is_some() {
            // Nobody wants it any more: it stays as garbage.
            self.end();
        }
        pad_to_page(&mut self.pending);
        let mut fields = Vec::new();
        put64(&mut fields, self.file_bytes() + PAGE_BYTES as u64);
        put64(&mut fields, self.values);
        put64(&mut fields, self.value_bytes);
        put_page(&mut self.pending, BLOB_FOOTER, self.file, &fields);
        self.finished = true;
        self.file_bytes()
    }
}

impl BlobPtr {
    /// The pages to read for the value.
    pub fn range(&self) -> PageRange {
        let page = PAGE_BYTES as u64;
        let start = self.offset / page * page;
        let end = (self.offset + (BLOB_HEAD as u64 + u64::from(self.len))).next_multiple_of(page);
        PageRange {
            offset: start,
            bytes: (end - start) as usize,
        }
    }
}

/// The value `ptr` names. `pages`: what [`BlobPtr::range`] asked for.
///
/// # Errors
/// The pages are not what was written.
pub fn blob_value<'a>(ptr: &BlobPtr, pages: &'a [u8]) -> Result<&'a [u8], SstError> {
    let corrupt = |damage| SstError::Corrupt {
        damage,
        file: ptr.file,
        offset: ptr.offset,
    };
    let at = (ptr.offset - ptr.range().offset) as usize;
    let record = pages.get(at..at + BLOB_HEAD + ptr.len as usize);
    let Some((head, value)) = record.and_then(|r| r.split_at_checked(BLOB_HEAD)) else {
        return Err(corrupt(Damage::Length {
            expected: ptr.range().bytes as u64,
            found: pages.len() as u64,
        }));
    };
    if blob_crc(value) != ptr.crc {
        return Err(corrupt(Damage::Checksum));
    }
    if get32(head, 0) != ptr.len || get32(head, 4) != ptr.crc {
        return Err(corrupt(Damage::Identity));
    }
    Ok(value)
}

/// Checks a blob file from end to end, without any sorted file: for scrubbing and offline checks.
#[derive(Debug)]
pub struct BlobCheck {
    /// Values found.
    pub values: u64,
    /// Their bytes.
    pub value_bytes: u64,
}

impl BlobCheck {
    /// Checks the whole file.
    ///
    /// # Errors
    /// The first damage.
    pub fn whole(file: FileId, bytes: &[u8]) -> Result<Self, SstError> {
        check_file_bytes(file, bytes.len() as u64)?;
        let corrupt = |damage, at: usize| SstError::Corrupt {
            damage,
            file,
            offset: at as u64,
        };
        take_page(&bytes[..PAGE_BYTES], BLOB_HEADER, file, 0)?;
        let footer_at = bytes.len() - PAGE_BYTES;
        let mut footer = take_page(&bytes[footer_at..], BLOB_FOOTER, file, footer_at as u64)?;
        let mut field = || footer.u64().map_err(|_| corrupt(Damage::Contents, footer_at));
        let (file_bytes, values, value_bytes) = (field()?, field()?, field()?);
        if file_bytes != bytes.len() as u64 {
            let found = bytes.len() as u64;
            let expected = file_bytes;
            return Err(corrupt(Damage::Length { expected, found }, footer_at));
        }
        let mut check = Self {
            values: 0,
            value_bytes: 0,
        };
        let mut at = PAGE_BYTES;
        while check.values < values {
            let head = bytes[..footer_at].get(at..at + BLOB_HEAD);
            let head = head.ok_or(corrupt(Damage::Contents, at))?;
            let (len, crc) = (get32(head, 0) as usize, get32(head, 4));
            let value_at = at + BLOB_HEAD;
            let value = bytes[..footer_at].get(value_at..value_at + len);
            if value.map(blob_crc) != Some(crc) {
                return Err(corrupt(Damage::Checksum, at));
            }
            let end = (value_at + len).next_multiple_of(BLOB_ALIGN).min(footer_at);
            if bytes[value_at + len..end].iter().any(|&b| b != 0) {
                return Err(corrupt(Damage::Contents, value_at + len));
            }
            check.values += 1;
            check.value_bytes += len as u64;
            at = end;
        }
        if check.value_bytes != value_bytes || bytes[at..footer_at].iter().any(|&b| b != 0) {
            return Err(corrupt(Damage::Contents, at));
        }
        Ok(check)
    }
}
