//! Values as people write them: numbers within bounds, sizes with units, one of several words. The error texts are those
//! of Redis 7.0's `CONFIG SET`, because flags, file and `CONFIG SET` all end up here.

/// A whole number from `min` to `max`.
///
/// # Errors
/// The text Redis answers with.
pub fn integer(text: &str, min: i64, max: i64) -> Result<i64, String> {
    let value: i64 = text
        .trim()
        .parse()
        .map_err(|_| "argument couldn't be parsed into an integer".to_string())?;
    within(value, min, max)
}

/// A size in bytes from `min` to `max`; see [`memory_bytes`] for the units.
///
/// # Errors
/// The text Redis answers with.
pub fn memory(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let value = memory_bytes(text).ok_or_else(|| "argument must be a memory value".to_string())?;
    if value < min || value > max {
        return Err(format!("argument must be between {min} and {max} inclusive"));
    }
    Ok(value)
}

/// A size in bytes, or a share of the machine's memory with a percent sign, which must be at most 100: its number.
///
/// # Errors
/// The text Redis answers with.
pub fn memory_or_percent(text: &str) -> Result<u64, String> {
    let Some(percent) = text.trim().strip_suffix('%') else {
        return memory_bytes(text).ok_or_else(|| "argument must be a memory or percent value".to_string());
    };
    match percent.parse::<u64>() {
        Ok(percent @ 0..=100) => Ok(percent),
        Ok(_) => Err("percentage argument must be less or equal to 100".to_string()),
        Err(_) => Err("argument must be a memory or percent value".to_string()),
    }
}

/// Pairs of seconds and changes, as `save` of Redis has them, or nothing.
///
/// # Errors
/// The text Redis answers with.
pub fn save_points(text: &str) -> Result<(), String> {
    let numbers: Vec<Option<i64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
    let is_point = |pair: &[Option<i64>]| matches!(pair, [Some(1..), Some(0..)]);
    match numbers.chunks(2).all(is_point) {
        true => Ok(()),
        false => Err("Invalid save parameters".to_string()),
    }
}

/// One of `words`, in any case; gives back its position.
///
/// # Errors
/// The text Redis answers with.
pub fn choice(text: &str, words: &[&str]) -> Result<usize, String> {
    words
        .iter()
        .position(|word| word.eq_ignore_ascii_case(text.trim()))
        .ok_or_else(|| format!("argument(s) must be one of the following: {}", words.join(", ")))
}

/// Bytes from a number and a unit, as Redis reads them: `b` or none = 1, `k` = 1000, `kb` = 1024, `m` = 1000², `mb` =
/// 1024², `g` = 1000³, `gb` = 1024³, in any case. `None` when it is no such thing or too large for 63 bits.
pub fn memory_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unit: u64 = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    text[..digits]
        .parse::<u64>()
        .ok()?
        .checked_mul(unit)
        .filter(|&bytes| bytes <= i64::MAX as u64)
}

fn within(value: i64, min: i64, max: i64) -> Result<i64, String> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(format!("argument must be between {min} and {max} inclusive"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_redis_units() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17b", 17),
            ("1k", 1000),
            ("1kb", 1024),
            ("2M", 2_000_000),
            ("2mB", 2 << 20),
            ("3g", 3_000_000_000),
            (" 3GB ", 3 << 30),
        ] {
            assert_eq!(memory_bytes(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "gb",
            "-1",
            "1.5gb",
            "10zz",
            "1 gb",
            "99999999999999999999",
            "9223372036854775808",
        ] {
            assert_eq!(memory_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn errors_say_what_redis_says() {
        assert_eq!(
            integer("abc", 1, 9).unwrap_err(),
            "argument couldn't be parsed into an integer"
        );
        assert_eq!(
            integer("0", 1, 4294967295).unwrap_err(),
            "argument must be between 1 and 4294967295 inclusive"
        );
        assert_eq!(memory("10zz", 0, 9).unwrap_err(), "argument must be a memory value");
        assert_eq!(
            choice("x", &["a", "b"]).unwrap_err(),
            "argument(s) must be one of the following: a, b"
        );
        assert_eq!(choice("B", &["a", "b"]), Ok(1));
    }
}
