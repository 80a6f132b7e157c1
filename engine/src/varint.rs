//! Lengths of at most 32 bits in one to five bytes, and numbers of 64 bits in one to ten: LEB128, seven bits a byte, least
//! significant first.

/// Why bytes are not a length, or not followed by as many bytes as they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthError {
    /// The bytes end too early.
    Truncated,
    /// More than five bytes or 32 bits.
    Malformed,
}

/// Appends a length.
#[inline]
pub fn put_len(out: &mut Vec<u8>, len: usize) {
    let mut n = u32::try_from(len).expect("lengths are limited by proto-max-bulk-len, far below 4 GiB");
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends a string of bytes behind its length.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Reads the length at `at`, which moves behind it.
#[inline]
pub fn take_len(buf: &[u8], at: &mut usize) -> Result<u32, LengthError> {
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

/// Appends a number of up to 64 bits.
#[inline]
pub fn put_u64(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Reads the number at `at`, which moves behind it.
#[inline]
pub fn take_u64(buf: &[u8], at: &mut usize) -> Result<u64, LengthError> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *buf.get(*at).ok_or(LengthError::Truncated)?;
        *at += 1;
        let bits = u64::from(byte & 0x7f);
        if (bits << shift) >> shift != bits {
            return Err(LengthError::Malformed);
        }
        n |= bits << shift;
        if byte < 0x80 {
            return Ok(n);
        }
    }
    Err(LengthError::Malformed)
}

/// Reads the next `len` bytes; `at` moves behind them.
#[inline]
pub fn take<'a>(buf: &'a [u8], at: &mut usize, len: usize) -> Result<&'a [u8], LengthError> {
    let end = at.checked_add(len).ok_or(LengthError::Truncated)?;
    let bytes = buf.get(*at..end).ok_or(LengthError::Truncated)?;
    *at = end;
    Ok(bytes)
}

/// Reads a string of bytes behind its length.
#[inline]
pub fn take_bytes<'a>(buf: &'a [u8], at: &mut usize) -> Result<&'a [u8], LengthError> {
    let len = take_len(buf, at)?;
    take(buf, at, len as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_more_than_64_bits_are_refused() {
        for shift in 0..64 {
            for n in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut buf = Vec::new();
                put_u64(&mut buf, n);
                let mut at = 0;
                assert_eq!((take_u64(&buf, &mut at), at), (Ok(n), buf.len()));
                assert_eq!(take_u64(&buf[..at - 1], &mut 0), Err(LengthError::Truncated));
            }
        }
        let mut eleven = vec![0xff; 10];
        assert_eq!(take_u64(&eleven, &mut 0), Err(LengthError::Malformed));
        eleven[9] = 2;
        assert_eq!(take_u64(&eleven, &mut 0), Err(LengthError::Malformed));
    }
}
