//! Lengths of at most 32 bits in one to five bytes: LEB128, seven bits a byte, least significant first.

/// Why bytes are not a length, or not followed by as many bytes as they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LengthError {
    /// The bytes end too early.
    Truncated,
    /// More than five bytes or 32 bits.
    Malformed,
}

/// Appends a length.
#[inline]
pub(crate) fn put_len(out: &mut Vec<u8>, len: usize) {
    let mut n = u32::try_from(len).expect("lengths are limited by proto-max-bulk-len, far below 4 GiB");
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends a string of bytes behind its length.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Reads the length at `at`, which moves behind it.
#[inline]
pub(crate) fn take_len(buf: &[u8], at: &mut usize) -> Result<u32, LengthError> {
    let mut n = 0u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = *buf.get(*at).ok_or(LengthError::Truncated)?;
        *at += 1;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return u32::try_from(n).map_err(|_| LengthError::Malformed);
        }
    }
    Err(LengthError::Malformed)
}

/// Reads the next `len` bytes; `at` moves behind them.
#[inline]
pub(crate) fn take<'a>(buf: &'a [u8], at: &mut usize, len: usize) -> Result<&'a [u8], LengthError> {
    let end = at.checked_add(len).ok_or(LengthError::Truncated)?;
    let bytes = buf.get(*at..end).ok_or(LengthError::Truncated)?;
    *at = end;
    Ok(bytes)
}

/// Reads a string of bytes behind its length.
#[inline]
pub(crate) fn take_bytes<'a>(buf: &'a [u8], at: &mut usize) -> Result<&'a [u8], LengthError> {
    let len = take_len(buf, at)?;
    take(buf, at, len as usize)
}
