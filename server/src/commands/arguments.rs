//! Reading arguments, and the errors that several commands share.

use slotcore_engine::cmd::Reply;

use super::Flow;

/// Words in the wrong place.
pub(super) const SYNTAX: &str = "ERR syntax error";
/// Not a whole number.
pub(super) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

/// Writes an error; the command is over.
pub(super) fn refuse(out: &mut dyn Reply, text: &str) -> Flow {
    out.error(text);
    Flow::Done
}

/// A whole number as Redis reads it: no sign but a minus, no leading zeros, no spaces.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let leading = *digits.first()?;
    let canonical = leading.is_ascii_digit() && (leading != b'0' || text == b"0");
    std::str::from_utf8(text).ok().filter(|_| canonical)?.parse().ok()
}

/// `on` or `off`, in any case.
pub(super) fn on_off(text: &[u8]) -> Option<bool> {
    if is(text, "on") {
        Some(true)
    } else if is(text, "off") {
        Some(false)
    } else {
        None
    }
}

/// Whether an argument is this word, in any case.
pub(super) fn is(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}

/// An argument as it may stand in an error line: at most 128 bytes, without line breaks.
pub(super) fn quoted(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(128)]).replace(['\r', '\n'], " ")
}

/// Whether a text can stand in `CLIENT LIST`: printable ASCII without spaces.
pub(super) fn is_attribute(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// What Redis answers when a subcommand is unknown or has the wrong number of arguments, decided by the command itself.
pub(super) fn bad_subcommand(container: &str, given: &[u8]) -> String {
    format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {container} HELP.",
        quoted(given)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_canonical() {
        for (text, value) in [("0", 0), ("-1", -1), ("17", 17), ("9223372036854775807", i64::MAX)] {
            assert_eq!(integer(text.as_bytes()), Some(value));
        }
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "1.0", "9223372036854775808", "x"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }
}
