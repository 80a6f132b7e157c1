//! Numbers as text, exactly as Redis reads and writes them.

/// Longest text of a 64-bit integer: `-9223372036854775808`.
const I64_TEXT_BYTES_MAX: usize = 20;

/// Reads a 64-bit integer in its only canonical form: no spaces, no plus sign, no leading zeros, no `-0`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    if text.len() > I64_TEXT_BYTES_MAX {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut n = 0u64;
    for &c in digits {
        if !c.is_ascii_digit() {
            return None;
        }
        n = n.checked_mul(10)?.checked_add(u64::from(c - b'0'))?;
    }
    if negative {
        (n <= 1 << 63).then(|| (n as i64).wrapping_neg())
    } else {
        i64::try_from(n).ok()
    }
}

/// Reads a floating point number; infinities allowed, NaN and what does not fit not.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    // Most scores are integers that a float holds exactly.
    if let Some(n) = parse_i64(text).filter(|n| n.unsigned_abs() < 1 << 53) {
        return Some(n as f64);
    }
    let text = std::str::from_utf8(text).ok()?;
    let n: f64 = text.parse().ok()?;
    // An infinity must have been written as such: overflow is an error, as in strtod.
    let overflowed = n.is_infinite() && text.bytes().any(|c| c.is_ascii_digit());
    (!n.is_nan() && !overflowed).then_some(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_are_integers() {
        for n in [0, 1, -1, 10, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1] {
            assert_eq!(parse_i64(n.to_string().as_bytes()), Some(n));
        }
        for text in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "-01",
            "+1",
            " 1",
            "1 ",
            "1a",
            "9223372036854775808",
            "-9223372036854775809",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_i64(b"99999999999999999999"), None);
    }

    #[test]
    fn floats_may_be_infinite_but_not_nan_or_overflowing() {
        for (text, n) in [
            ("1.5", 1.5),
            ("-3e2", -300.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            (".5", 0.5),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(n), "{text}");
        }
        for text in ["", "nan", "1e400", " 1", "1 ", "1x", "\u{ff}"] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
    }
}
