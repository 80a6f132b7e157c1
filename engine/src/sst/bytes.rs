//! Fixed-width little-endian numbers, appended and taken in order; and the padding to whole pages.

use super::PAGE_BYTES;

/// The bytes ended before what should be in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Short;

/// Bytes being taken from the front.
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn bytes(&mut self, n: usize) -> Result<&'a [u8], Short> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Short)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Short> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Short> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Short> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

pub(crate) fn put32(out: &mut Vec<u8>, n: u32) {
    out.extend_from_slice(&n.to_le_bytes());
}

pub(crate) fn put64(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(&n.to_le_bytes());
}

/// The u32 at `at`, which the caller knows to be inside.
pub(super) fn get32(buf: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(buf[at..at + 4].try_into().expect("four bytes"))
}

/// Appends zero bytes up to the next page.
pub(super) fn pad_to_page(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(PAGE_BYTES), 0);
}

/// A length as stored: files are far below 4 GiB, and lengths are checked where they come in.
pub(crate) fn len32(len: usize) -> u32 {
    u32::try_from(len).expect("sections and blocks are below 4 GiB: the builder refuses larger records")
}
