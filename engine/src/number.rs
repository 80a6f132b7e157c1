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

/// Reads a floating point number as Redis does: decimal or hexadecimal, infinities allowed; NaN, and what is too large or
/// too small for 64 bits, not.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    // Most scores are integers that a float holds exactly.
    if let Some(n) = parse_i64(text).filter(|n| n.unsigned_abs() < 1 << 53) {
        return Some(n as f64);
    }
    let n = parse_any_f64(text)?;
    let digits = || text.iter().take_while(|c| !matches!(c, b'e' | b'E'));
    // An infinity must have been written as such, and a zero, too: strtod reports overflow and underflow.
    let overflowed = n.is_infinite() && digits().any(u8::is_ascii_digit);
    let underflowed = n == 0.0 && digits().any(|c| matches!(c, b'1'..=b'9'));
    (!overflowed && !underflowed).then_some(n)
}

/// Reads a floating point number as Redis reads the ends of a range, with C's `strtod` alone: spaces may come first, nothing
/// at all is zero, what is too large is infinite, and a zero byte ends the text.
pub fn parse_f64_lenient(text: &[u8]) -> Option<f64> {
    let text = text.split(|c| *c == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    parse_any_f64(text.trim_ascii_start())
}

/// Anything but NaN.
fn parse_any_f64(text: &[u8]) -> Option<f64> {
    if let Some(n) = parse_hexadecimal(text) {
        return Some(n);
    }
    let n: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!n.is_nan()).then_some(n)
}

/// `[sign]0x<digits>[.<digits>][p<exponent>]`, of up to 30 digits.
fn parse_hexadecimal(text: &[u8]) -> Option<f64> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let [b'0', b'x' | b'X', rest @ ..] = unsigned else {
        return None;
    };
    let (mut mantissa, mut exponent, mut digits, mut fraction) = (0u128, 0i32, 0, false);
    let mut rest = rest.iter();
    while let Some(c) = rest.next() {
        match (char::from(*c), char::from(*c).to_digit(16)) {
            (_, Some(digit)) if digits < 30 => {
                mantissa = mantissa << 4 | u128::from(digit);
                digits += 1;
                exponent -= if fraction { 4 } else { 0 };
            }
            ('.', _) if !fraction => fraction = true,
            ('p' | 'P', _) if digits > 0 => {
                let written: i32 = std::str::from_utf8(rest.as_slice()).ok()?.parse().ok()?;
                exponent = exponent.checked_add(written)?;
                break;
            }
            _ => return None,
        }
    }
    // Two steps, so that the power of two itself never overflows.
    let half = exponent.clamp(-2200, 2200) / 2;
    let n = mantissa as f64 * 2f64.powi(half) * 2f64.powi(exponent.clamp(-2200, 2200) - half);
    (digits > 0).then_some(if negative { -n } else { n })
}

/// Writes a number with up to 17 significant digits, as C's `%.17g`.
pub fn format_f64(n: f64) -> String {
    const DIGITS: i32 = 17;
    if n.is_infinite() {
        return if n > 0.0 { "inf" } else { "-inf" }.to_string();
    }
    if n == n.trunc() && n.abs() < 1e15 && n != 0.0 {
        return (n as i64).to_string();
    }
    let scientific = format!("{n:.16e}");
    let (digits, exponent) = scientific.split_once('e').expect("formatted with an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is an integer");
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if (-4..DIGITS).contains(&exponent) {
        return trim(&format!("{n:.*}", (DIGITS - 1 - exponent) as usize));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim(digits), exponent.abs())
}

/// Writes a number as Redis stores it in a listpack: an integer in full, anything else as [`format_f64`].
pub fn format_f64_stored(n: f64) -> String {
    // Beyond this Redis does not try whether it is an integer.
    const INTEGER_MAX: f64 = (i64::MAX / 2) as f64;
    if n == n.trunc() && n.abs() <= INTEGER_MAX && n != 0.0 {
        (n as i64).to_string()
    } else {
        format_f64(n)
    }
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
        for text in ["", "nan", "1e400", "1e-400", "0x", "0x1g", " 1", "1 ", "1x", "\u{ff}"] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
        for (text, n) in [("0x10", 16.0), ("-0x1.8p1", -3.0), ("0e-9", 0.0), ("0x0.1", 0.0625)] {
            assert_eq!(parse_f64(text.as_bytes()), Some(n), "{text}");
        }
        for (text, n) in [
            ("", Some(0.0)),
            ("  1", Some(1.0)),
            ("1\0x", Some(1.0)),
            (" ", None),
            ("1 ", None),
        ] {
            assert_eq!(parse_f64_lenient(text.as_bytes()), n, "{text}");
        }
    }

    #[test]
    fn floats_are_written_with_17_digits() {
        for (n, general, stored) in [
            (0.1, "0.10000000000000001", "0.10000000000000001"),
            (-0.0, "-0", "-0"),
            (3.0, "3", "3"),
            (1e17, "1e+17", "100000000000000000"),
            (1e16, "10000000000000000", "10000000000000000"),
            (123456789.5, "123456789.5", "123456789.5"),
            (1e-5, "1.0000000000000001e-05", "1.0000000000000001e-05"),
            (f64::NEG_INFINITY, "-inf", "-inf"),
        ] {
            assert_eq!(
                (format_f64(n).as_str(), format_f64_stored(n).as_str()),
                (general, stored)
            );
        }
    }
}
