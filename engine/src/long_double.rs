//! [`LongDouble`]: INCRBYFLOAT's arithmetic. Redis computes with the x87's 80-bit `long double`, prints `%.17Lf` and drops
//! trailing zeros; that 3.0 + 1.1 is 4.1 and not 4.09999999999999964 depends on the 64-bit mantissa. This is the same in
//! integers, hence alike on every machine.

use std::cmp::Ordering;

/// Longest text Redis tries to read as a long double, in bytes.
const TEXT_BYTES_MAX: usize = 5 * 1024;
/// No finite long double has a decimal exponent beyond this, nor one that is not zero below its negative.
const DECIMAL_EXPONENT_MAX: i64 = 5000;
/// Finite values are below two to this power.
const BINARY_EXPONENT_END: i32 = 16384;
/// Digits behind the point that are printed.
const FRACTION_DIGITS: u32 = 17;

/// A number with a 64-bit mantissa: `mantissa * 2^exponent`, the mantissa's top bit set unless the number is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LongDouble {
    negative: bool,
    mantissa: u64,
    exponent: i32,
    infinite: bool,
}

impl LongDouble {
    pub(crate) const ZERO: LongDouble = LongDouble {
        negative: false,
        mantissa: 0,
        exponent: 0,
        infinite: false,
    };

    /// The nearest to `n * 2^exponent`, ties to even; `more` says that the true value is a little larger than `n`.
    fn round(negative: bool, n: u128, exponent: i32, more: bool) -> Self {
        if n == 0 {
            return LongDouble { negative, ..Self::ZERO };
        }
        let bits = 128 - n.leading_zeros() as i32;
        if bits <= 64 {
            let up = 64 - bits;
            return LongDouble {
                negative,
                mantissa: (n as u64) << up,
                exponent: exponent - up,
                infinite: false,
            };
        }
        let down = bits - 64;
        let (rest, half) = (n & ((1 << down) - 1), 1u128 << (down - 1));
        let kept = (n >> down) as u64;
        let up = rest > half || (rest == half && (more || kept & 1 == 1));
        let (mantissa, exponent) = match kept.checked_add(u64::from(up)) {
            Some(mantissa) => (mantissa, exponent + down),
            None => (1 << 63, exponent + down + 1),
        };
        LongDouble {
            negative,
            mantissa,
            exponent,
            infinite: exponent + 64 > BINARY_EXPONENT_END,
        }
    }

    /// Reads decimal text or an infinity; `None` for anything else, NaN, and what is too large or too small.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_BYTES_MAX {
            return None;
        }
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble {
                negative,
                infinite: true,
                ..Self::ZERO
            });
        }
        let (digits, exponent) = parse_decimal(rest)?;
        if digits.is_empty() {
            return Some(LongDouble { negative, ..Self::ZERO });
        }
        let top = exponent.saturating_add(digits.len() as i64);
        if !(-DECIMAL_EXPONENT_MAX..=DECIMAL_EXPONENT_MAX).contains(&top) {
            return None;
        }
        let (mut above, mut below) = (Big::from_digits(&digits), Big(vec![1]));
        if exponent >= 0 { &mut above } else { &mut below }.scale_by_ten(exponent.unsigned_abs());
        // Scaled so that the quotient has 66 or 67 bits, more than a mantissa: the rest only breaks ties.
        let scale = 66 - (above.bits() as i32 - below.bits() as i32);
        if scale >= 0 { &mut above } else { &mut below }.shift_left(scale.unsigned_abs());
        let (quotient, rest) = above.divide(&below);
        let value = Self::round(negative, quotient, -scale, rest);
        (!value.infinite).then_some(value)
    }

    /// The sum; `None` when it is infinite or not a number.
    pub(crate) fn add(self, other: Self) -> Option<Self> {
        if self.infinite || other.infinite {
            return None;
        }
        if self.mantissa == 0 || other.mantissa == 0 {
            return Some(if self.mantissa == 0 { other } else { self });
        }
        let (big, small) = if (self.exponent, self.mantissa) >= (other.exponent, other.mantissa) {
            (self, other)
        } else {
            (other, self)
        };
        // 62 bits below the mantissa, one above for the carry.
        let apart = big.exponent.abs_diff(small.exponent);
        let (a, b) = (u128::from(big.mantissa) << 62, u128::from(small.mantissa) << 62);
        let (b, lost) = if apart < 128 {
            (b >> apart, apart > 0 && b << (128 - apart) != 0)
        } else {
            (0, true)
        };
        let exponent = big.exponent - 62;
        let sum = if big.negative == small.negative {
            Self::round(big.negative, a + b, exponent, lost)
        } else {
            // What was lost is subtracted too: one less, and a little more than that.
            let n = a - b - u128::from(lost);
            Self::round(big.negative && n != 0, n, exponent, lost)
        };
        (!sum.infinite).then_some(sum)
    }

    /// Plain decimal digits, 17 behind the point at most, no trailing zeros, never an exponent.
    pub(crate) fn to_text(self) -> String {
        let one = 10u128.pow(FRACTION_DIGITS);
        let mut text = if self.exponent >= 0 {
            let mut n = Big(vec![self.mantissa as u32, (self.mantissa >> 32) as u32]);
            n.shift_left(self.exponent.unsigned_abs());
            n.into_digits()
        } else {
            let scaled = u128::from(self.mantissa) * one;
            let down = self.exponent.unsigned_abs();
            let n = if down >= 128 {
                0
            } else {
                let (kept, rest, half) = (scaled >> down, scaled & ((1 << down) - 1), 1u128 << (down - 1));
                kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
            };
            let fraction = format!("{:017}", n % one);
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            format!("{}{point}{fraction}", n / one)
        };
        if self.negative && text != "0" {
            text.insert(0, '-');
        }
        text
    }
}

/// Digits without leading and trailing zeros, and the power of ten they are to be multiplied with.
fn parse_decimal(text: &[u8]) -> Option<(Vec<u8>, i64)> {
    let (number, power) = match text.iter().position(|c| matches!(c, b'e' | b'E')) {
        Some(at) => (&text[..at], parse_power(&text[at + 1..])?),
        None => (text, 0),
    };
    let point = number.iter().position(|c| *c == b'.').unwrap_or(number.len());
    let fraction = number.get(point + 1..).unwrap_or_default();
    let mut digits = [&number[..point], fraction].concat();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut exponent = power.saturating_sub(fraction.len() as i64);
    while digits.last() == Some(&b'0') {
        digits.pop();
        exponent = exponent.saturating_add(1);
    }
    let zeros = digits.iter().take_while(|c| **c == b'0').count();
    digits.drain(..zeros);
    Some((digits, exponent))
}

/// The number behind the `e`; far beyond what counts, any number is as good as any other.
fn parse_power(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n = digits
        .iter()
        .fold(0i64, |n, c| n.saturating_mul(10).saturating_add(i64::from(c - b'0')));
    Some(if negative { -n } else { n })
}

/// A natural number of any size, least significant word first, no zero words at the end.
struct Big(Vec<u32>);

impl Big {
    fn from_digits(digits: &[u8]) -> Self {
        let mut n = Big(Vec::new());
        digits.iter().for_each(|c| n.multiply_add(10, u32::from(c - b'0')));
        n
    }

    fn multiply_add(&mut self, by: u32, plus: u32) {
        let mut carry = u64::from(plus);
        for word in &mut self.0 {
            let n = u64::from(*word) * u64::from(by) + carry;
            (*word, carry) = (n as u32, n >> 32);
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn scale_by_ten(&mut self, times: u64) {
        (0..times).for_each(|_| self.multiply_add(10, 0));
    }

    fn bits(&self) -> u32 {
        self.0
            .last()
            .map_or(0, |top| self.0.len() as u32 * 32 - top.leading_zeros())
    }

    fn shift_left(&mut self, by: u32) {
        if !by.is_multiple_of(32) {
            self.multiply_add(1 << (by % 32), 0);
        }
        self.0.splice(0..0, std::iter::repeat_n(0, (by / 32) as usize));
    }

    fn compare(&self, other: &Big) -> Ordering {
        self.0
            .len()
            .cmp(&other.0.len())
            .then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// `other` must not be larger.
    fn subtract(&mut self, other: &Big) {
        let mut borrow = 0;
        for (i, word) in self.0.iter_mut().enumerate() {
            let n = i64::from(*word) - i64::from(other.0.get(i).copied().unwrap_or(0)) - borrow;
            (*word, borrow) = (n as u32, i64::from(n < 0));
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// The quotient, which must have less than 128 bits, and whether something is left over.
    fn divide(mut self, by: &Big) -> (u128, bool) {
        let mut quotient = 0;
        for bit in (0..=self.bits().saturating_sub(by.bits())).rev() {
            let mut part = Big(by.0.clone());
            part.shift_left(bit);
            if self.compare(&part) != Ordering::Less {
                self.subtract(&part);
                quotient |= 1 << bit;
            }
        }
        (quotient, !self.0.is_empty())
    }

    fn into_digits(mut self) -> String {
        const BASE: u64 = 1_000_000_000;
        let mut groups = Vec::new();
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        while !self.0.is_empty() {
            let mut rest = 0;
            for word in self.0.iter_mut().rev() {
                let n = rest << 32 | u64::from(*word);
                (*word, rest) = ((n / BASE) as u32, n % BASE);
            }
            groups.push(rest);
            while self.0.last() == Some(&0) {
                self.0.pop();
            }
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        groups.iter().rev().for_each(|g| text.push_str(&format!("{g:09}")));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        Some(
            LongDouble::parse(a.as_bytes())?
                .add(LongDouble::parse(b.as_bytes())?)?
                .to_text(),
        )
    }

    #[test]
    fn sums_are_those_of_redis() {
        // Taken from redis-server 7.0.15 on x86-64.
        for (a, b, expected) in [
            ("3.0", "1.1", "4.1"),
            ("4.1", "1e20", "100000000000000000008"),
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0", "-0", "0"),
            ("1", "-1", "0"),
            ("-1.5", "0.25", "-1.25"),
            ("0.1", "0.2", "0.3"),
            ("1e-17", "0", "0.00000000000000001"),
            ("4e-18", "0", "0"),
            ("6e-18", "0", "0.00000000000000001"),
            ("-1e-30", "0", "0"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("9223372036854775807", "0.5", "9223372036854775807.5"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_or_too_large_is_refused() {
        for text in [
            "", "abc", "1x", " 1", "nan", "1e", "1e+", ".", "-", "1e4933", "1e-6000", "1.2.3",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!((sum("1", "inf"), sum("1e4932", "1e4932")), (None, None));
        assert!(sum("1e4900", "1e4900").is_some_and(|t| t.len() == 4901));
        assert_eq!(LongDouble::parse("0".repeat(6000).as_bytes()), None);
    }
}
