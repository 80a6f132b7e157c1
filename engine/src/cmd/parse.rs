//! Arguments as numbers, with Redis's errors.

use super::error::CmdError;
use crate::number::{parse_f64, parse_f64_lenient, parse_i64};

pub(super) fn integer(arg: &[u8]) -> Result<i64, CmdError> {
    parse_i64(arg).ok_or(CmdError::NotAnInteger)
}

pub(super) fn float(arg: &[u8]) -> Result<f64, CmdError> {
    parse_f64(arg).ok_or(CmdError::NotAFloat)
}

/// A count of elements, 0 or more.
pub(super) fn count(arg: &[u8]) -> Result<usize, CmdError> {
    parse_i64(arg)
        .and_then(|n| usize::try_from(n).ok())
        .ok_or(CmdError::NotPositive)
}

/// A number of things, 1 or more; `error` says otherwise.
pub(super) fn at_least_one(arg: &[u8], error: &'static str) -> Result<usize, CmdError> {
    parse_i64(arg)
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| *n > 0)
        .ok_or(CmdError::Other(error))
}

/// How long a command shall wait, written in seconds: in milliseconds, rounded up; 0 is for ever.
pub(super) fn timeout_ms(arg: &[u8]) -> Result<u64, CmdError> {
    let is_number = !arg.is_empty() && !arg[0].is_ascii_whitespace() && !arg.contains(&0);
    let seconds = parse_f64_lenient(arg).filter(|_| is_number);
    let seconds = seconds.ok_or(CmdError::Other("ERR timeout is not a float or out of range"))?;
    // Redis rounds to an integer of 64 bits, in which what is too large comes out negative.
    let ms = (seconds * 1000.0).ceil();
    if ms < 0.0 || ms >= i64::MAX as f64 {
        return Err(CmdError::Other("ERR timeout is negative"));
    }
    Ok(ms as u64)
}

/// A number and its negative: everything but the lowest integer.
pub(super) fn symmetric_integer(arg: &[u8]) -> Result<i64, CmdError> {
    integer(arg)?
        .checked_neg()
        .map(i64::wrapping_neg)
        .ok_or(CmdError::Other(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ))
}

/// Whether `arg` is the option called `name` (upper case).
#[inline]
pub(super) fn is(arg: &[u8], name: &str) -> bool {
    arg.eq_ignore_ascii_case(name.as_bytes())
}

/// First index and number of the elements from `start` to `end`, both inclusive and negative from the end, of `len`.
pub(super) fn index_range(start: i64, end: i64, len: usize) -> (usize, usize) {
    let len = len as i64;
    let from_end = |i: i64| if i < 0 { i.saturating_add(len) } else { i };
    let (start, end) = (from_end(start).max(0), from_end(end).min(len - 1));
    if start > end {
        (0, 0)
    } else {
        (start as usize, (end - start + 1) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::{CmdError, index_range, timeout_ms};

    #[test]
    fn timeouts_are_read_as_redis_reads_them() {
        let fine: [(&str, u64); 9] = [
            ("0", 0),
            ("0.001", 1),
            ("0.0001", 1),
            ("-0.0001", 0),
            (".5", 500),
            ("+1", 1000),
            ("1e3", 1_000_000),
            ("0x10", 16_000),
            ("9223370200000000", 9_223_370_200_000_000_000),
        ];
        for (text, ms) in fine {
            assert_eq!(timeout_ms(text.as_bytes()), Ok(ms), "{text}");
        }
        let refused = |text: &str, error| {
            assert_eq!(timeout_ms(text.as_bytes()), Err(CmdError::Other(error)), "{text:?}");
        };
        for text in ["abc", "nan", "", " 1", "1 ", "1\0"] {
            refused(text, "ERR timeout is not a float or out of range");
        }
        for text in [
            "-1",
            "1e400",
            "9223372036854775807",
            "inf",
            "-inf",
            "1e18",
            "92233720368547758",
        ] {
            refused(text, "ERR timeout is negative");
        }
    }

    #[test]
    fn index_ranges_are_cut_to_what_exists() {
        assert_eq!(index_range(0, -1, 5), (0, 5));
        assert_eq!(index_range(-3, 100, 5), (2, 3));
        assert_eq!(index_range(-100, 1, 5), (0, 2));
        assert_eq!(index_range(3, 2, 5), (0, 0));
        assert_eq!(index_range(5, 9, 5), (0, 0));
        assert_eq!(index_range(0, -6, 5), (0, 0));
        assert_eq!(index_range(i64::MIN, i64::MAX, 5), (0, 5));
        assert_eq!(index_range(0, 0, 0), (0, 0));
    }
}
