//! Inline requests: a line of words, as a person types them into `nc`. The rules are those of Redis 7.0 (`sds.c`,
//! `sdssplitargs`):
//!
//! - words end at a space, tab, carriage return or zero byte;
//! - between `"` and `"` these are literal, and `\n \r \t \b \a`, `\xHH` and `\` before anything else are escapes;
//! - between `'` and `'` everything is literal but `\'`;
//! - behind a closing quote the word must end; a quote may open in the middle of a word.
//!
//! A line without quotes is words of the input itself. One with quotes has words that stand nowhere in the input, so the
//! caller puts [`as_array`] in its place and decodes that.

use super::decode::ProtocolError;

/// What separates words.
pub(super) fn is_separator(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\r' | b'\n' | 0)
}

/// What may stand before a word, and behind a closing quote.
pub(super) fn is_space(c: u8) -> bool {
    is_separator(c) || matches!(c, 0x0b | 0x0c)
}

/// Appends the words of a line (without its line feed) to `words`.
///
/// # Errors
/// [`ProtocolError::Quotes`]: a quote that is not closed, or behind which a word goes on.
pub(super) fn split(line: &[u8], words: &mut Vec<Vec<u8>>) -> Result<(), ProtocolError> {
    let mut rest = line;
    loop {
        while let [c, tail @ ..] = rest
            && is_space(*c)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let mut word = Vec::new();
        while let [c, tail @ ..] = rest
            && !is_separator(*c)
        {
            let behind = match c {
                b'"' => double_quoted(tail, &mut word)?,
                b'\'' => single_quoted(tail, &mut word)?,
                _ => {
                    word.push(*c);
                    rest = tail;
                    continue;
                }
            };
            rest = behind;
            if rest.first().is_some_and(|c| !is_space(*c)) {
                return Err(ProtocolError::Quotes);
            }
            break;
        }
        words.push(word);
    }
}

/// Takes the rest of a part in double quotes; returns what is behind it.
fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(*high) << 4 | hex(*low));
                tail
            }
            [b'\\', c, tail @ ..] => {
                word.push(match c {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    c => *c,
                });
                tail
            }
            [b'"', tail @ ..] => return Ok(tail),
            [c, tail @ ..] => {
                word.push(*c);
                tail
            }
            [] => return Err(ProtocolError::Quotes),
        }
    }
}

/// Takes the rest of a part in single quotes; returns what is behind it.
fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                tail
            }
            [b'\'', tail @ ..] => return Ok(tail),
            [c, tail @ ..] => {
                word.push(*c);
                tail
            }
            [] => return Err(ProtocolError::Quotes),
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// The request that a line with quotes means, as an array of bulk strings. `line`: what
/// [`Request::Quoted`](super::decode::Request::Quoted) measured.
pub fn as_array(line: &[u8]) -> Vec<u8> {
    let mut words = Vec::new();
    split(line, &mut words).expect("the decoder has split this line before");
    let mut array = format!("*{}\r\n", words.len()).into_bytes();
    for word in &words {
        array.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        array.extend_from_slice(word);
        array.extend_from_slice(b"\r\n");
    }
    array
}
