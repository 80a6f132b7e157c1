//! The first and the last page of a file: what it is, and where its parts are.
//!
//! Formats: `docs/formats/sst.md`, "Header" and "Footer"; `docs/formats/blob.md`.

use super::bytes::{Short, Take, put32, put64};
use super::{Damage, Family, FileId, PAGE_BYTES, SstError};

/// The only format version so far, of sorted and of blob files.
pub(super) const VERSION: u32 = 1;

/// What a page claims to be, in its first four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Magic(pub(super) [u8; 4]);

pub(super) const SST_HEADER: Magic = Magic(*b"SLSH");
pub(super) const SST_FOOTER: Magic = Magic(*b"SLSF");
pub(super) const BLOB_HEADER: Magic = Magic(*b"SLBH");
pub(super) const BLOB_FOOTER: Magic = Magic(*b"SLBF");

/// The checksum is the page's last four bytes, over all others.
const CRC_AT: usize = PAGE_BYTES - 4;

/// Appends a whole page: magic, version, file, `fields`, zeroes, checksum.
pub(super) fn put_page(out: &mut Vec<u8>, magic: Magic, file: FileId, fields: &[u8]) {
    let at = out.len();
    out.extend_from_slice(&magic.0);
    put32(out, VERSION);
    put64(out, file.0);
    out.extend_from_slice(fields);
    debug_assert!(out.len() - at <= CRC_AT);
    out.resize(at + CRC_AT, 0);
    let crc = crc32c::crc32c(&out[at..]);
    put32(out, crc);
}

/// The fields of the page at `offset`.
pub(super) fn take_page(page: &[u8], magic: Magic, file: FileId, offset: u64) -> Result<Take<'_>, SstError> {
    let corrupt = |damage| SstError::Corrupt { damage, file, offset };
    if page.len() != PAGE_BYTES {
        return Err(corrupt(Damage::Length {
            expected: PAGE_BYTES as u64,
            found: page.len() as u64,
        }));
    }
    let (body, crc) = page.split_at(CRC_AT);
    if crc32c::crc32c(body).to_le_bytes() != crc {
        let known = body.starts_with(&magic.0);
        return Err(corrupt(if known { Damage::Checksum } else { Damage::Magic }));
    }
    let mut take = Take(body);
    let mut head = || Ok::<_, Short>((take.bytes(4)?, take.u32()?, take.u64()?));
    let (found_magic, version, id) = head().map_err(|Short| corrupt(Damage::Contents))?;
    if found_magic != magic.0 {
        return Err(corrupt(Damage::Magic));
    }
    if version != VERSION {
        return Err(SstError::Version { file, version });
    }
    if id != file.0 {
        return Err(corrupt(Damage::Identity));
    }
    Ok(take)
}

/// Checks that a file of `bytes` can have a header and a footer.
pub(super) fn check_file_bytes(file: FileId, bytes: u64) -> Result<(), SstError> {
    let page = PAGE_BYTES as u64;
    if bytes < 2 * page || !bytes.is_multiple_of(page) {
        let expected = if bytes < 2 * page { 2 * page } else { 0 };
        return Err(SstError::Corrupt {
            damage: Damage::Length { expected, found: bytes },
            file,
            offset: bytes,
        });
    }
    Ok(())
}

/// A part between data and footer: whole pages with one checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// Bytes, padding included.
    pub(super) bytes: u64,
    /// CRC32C of them.
    pub(super) crc: u32,
}

/// Where the parts of a sorted file are: filter, index and properties stand in this order before the footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) family: Family,
    pub(super) file_bytes: u64,
    pub(super) filter: Section,
    pub(super) index: Section,
    pub(super) props: Section,
}

impl Footer {
    pub(super) fn put(&self, out: &mut Vec<u8>, file: FileId) {
        let mut fields = vec![family_byte(self.family)];
        put64(&mut fields, self.file_bytes);
        for section in [self.filter, self.index, self.props] {
            put64(&mut fields, section.bytes);
            put32(&mut fields, section.crc);
        }
        put_page(out, SST_FOOTER, file, &fields);
    }

    /// Reads the last page of a file of `file_bytes`.
    pub(super) fn take(page: &[u8], file: FileId, file_bytes: u64) -> Result<Self, SstError> {
        let offset = file_bytes - PAGE_BYTES as u64;
        let corrupt = |damage| SstError::Corrupt { damage, file, offset };
        let mut take = take_page(page, SST_FOOTER, file, offset)?;
        let mut fields = || {
            let family = take.u8()?;
            let bytes = take.u64()?;
            let mut section = || {
                Ok::<_, Short>(Section {
                    bytes: take.u64()?,
                    crc: take.u32()?,
                })
            };
            Ok::<_, Short>((family, bytes, section()?, section()?, section()?))
        };
        let (family, bytes, filter, index, props) = fields().map_err(|Short| corrupt(Damage::Contents))?;
        if bytes != file_bytes {
            return Err(corrupt(Damage::Length {
                expected: bytes,
                found: file_bytes,
            }));
        }
        let family = family_of(family).ok_or(corrupt(Damage::Contents))?;
        let footer = Self {
            family,
            file_bytes,
            filter,
            index,
            props,
        };
        footer.meta_offset().map(|_| footer).ok_or(corrupt(Damage::Contents))
    }

    /// Where the data ends and the sections begin; `None` when the sections do not fit the file.
    pub(super) fn meta_offset(&self) -> Option<u64> {
        let page = PAGE_BYTES as u64;
        let mut at = self.file_bytes - page;
        for section in [self.filter, self.index, self.props] {
            if !section.bytes.is_multiple_of(page) {
                return None;
            }
            at = at.checked_sub(section.bytes)?;
        }
        (at >= page).then_some(at)
    }
}

pub(super) fn family_byte(family: Family) -> u8 {
    match family {
        Family::Keys => 1,
        Family::Elements => 2,
    }
}

pub(super) fn family_of(byte: u8) -> Option<Family> {
    match byte {
        1 => Some(Family::Keys),
        2 => Some(Family::Elements),
        _ => None,
    }
}
