//! [`Scanner`]: where replies end in the bytes of one connection, and which of them are errors.
//!
//! A load generator needs no values. The scanner steps from line to line, jumps over the bytes of bulk strings, and
//! counts; arrays of any depth are one number, the elements still due, because the form of RESP2 is a prefix code.
//! Replies may be split at any byte between calls.

use std::fmt;

/// Longest line of a reply, in bytes: beyond the longest error text of any server, and a bound on what is kept of a line
/// that is split.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Elements an array may announce: as in Redis.
const ELEMENTS_MAX: i64 = 1 << 31;
/// Bytes a bulk string may announce: Redis's `proto-max-bulk-len`.
const BULK_BYTES_MAX: i64 = 512 << 20;

/// The bytes are no RESP2 reply; nothing after them can be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The beginning of the line that was not understood.
    pub line: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a RESP2 reply: {:?}", self.line)
    }
}

/// What the replies scanned so far were, beside their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Error replies, also those inside arrays.
    pub errors: u64,
    /// Null bulk strings and null arrays: what a read of a missing key is answered.
    pub nulls: u64,
    /// Text of the first error.
    pub first_error: Option<String>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Elements due until the reply is complete; 0 between replies.
    due: u64,
    /// Bytes of a bulk string, its line end included, that are still to come.
    skip: usize,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// What was found.
    pub tally: Tally,
}

impl Scanner {
    /// Takes the next bytes of the connection and returns how many replies end in them.
    ///
    /// # Errors
    /// [`Malformed`]: this connection cannot be used any further.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<u64, Malformed> {
        let mut rest = bytes;
        let mut complete = 0;
        while !rest.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(rest.len());
                self.skip -= passed;
                rest = &rest[passed..];
                if self.skip == 0 {
                    complete += self.element_ended();
                }
                continue;
            }
            let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
                return self.keep(rest).map(|()| complete);
            };
            let (line, after) = (&rest[..=end], &rest[end + 1..]);
            rest = after;
            complete += if self.partial.is_empty() {
                self.line(line)?
            } else {
                self.keep(line)?;
                let whole = std::mem::take(&mut self.partial);
                self.line(&whole)?
            };
        }
        Ok(complete)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > LINE_BYTES_MAX {
            return Err(malformed(&self.partial));
        }
        Ok(())
    }

    /// One whole line, its end included. Returns the replies that end with it: 0 or 1.
    #[inline]
    fn line(&mut self, line: &[u8]) -> Result<u64, Malformed> {
        let Some((&kind, text)) = line.strip_suffix(b"\r\n").and_then(<[u8]>::split_first) else {
            return Err(malformed(line));
        };
        self.due = self.due.max(1);
        match kind {
            b'+' | b':' => {}
            b'-' => {
                self.tally.errors += 1;
                self.tally
                    .first_error
                    .get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
            }
            b'$' => match length(text) {
                Some(-1) => self.tally.nulls += 1,
                Some(bytes @ 0..=BULK_BYTES_MAX) => {
                    self.skip = bytes as usize + b"\r\n".len();
                    return Ok(0);
                }
                _ => return Err(malformed(line)),
            },
            b'*' => match length(text) {
                Some(-1) => self.tally.nulls += 1,
                Some(elements @ 0..=ELEMENTS_MAX) => self.due += elements as u64,
                _ => return Err(malformed(line)),
            },
            _ => return Err(malformed(line)),
        }
        Ok(self.element_ended())
    }

    #[inline]
    fn element_ended(&mut self) -> u64 {
        self.due -= 1;
        u64::from(self.due == 0)
    }
}

/// A decimal number of at most 10 digits, or -1.
#[inline]
fn length(text: &[u8]) -> Option<i64> {
    if text == b"-1" {
        return Some(-1);
    }
    if text.is_empty() || text.len() > 10 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')))
}

fn malformed(line: &[u8]) -> Malformed {
    Malformed {
        line: String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use redis_protocol::resp2::decode::decode_bytes;
    use redis_protocol::resp2::encode::extend_encode;
    use redis_protocol::resp2::types::BytesFrame;
    use slotcore_rt::rng::SeededRng;

    use super::*;

    fn random_frame(rng: &mut SeededRng, depth: u32) -> BytesFrame {
        let mut bytes = vec![0; rng.index(40)];
        rng.fill(&mut bytes);
        match rng.below(if depth < 4 { 7 } else { 5 }) {
            0 => BytesFrame::SimpleString(Bytes::from_static(b"OK")),
            1 => BytesFrame::Error("ERR something".into()),
            2 => BytesFrame::Integer(rng.next_u64() as i64),
            3 => BytesFrame::Null,
            4 => BytesFrame::BulkString(bytes.into()),
            _ => BytesFrame::Array((0..rng.below(5)).map(|_| random_frame(rng, depth + 1)).collect()),
        }
    }

    fn count(frame: &BytesFrame, tally: &mut Tally) {
        match frame {
            BytesFrame::Error(text) => {
                tally.errors += 1;
                tally.first_error.get_or_insert_with(|| text.to_string());
            }
            BytesFrame::Null => tally.nulls += 1,
            BytesFrame::Array(items) => items.iter().for_each(|item| count(item, tally)),
            _ => {}
        }
    }

    #[test]
    fn finds_the_ends_that_redis_protocol_finds_however_the_bytes_are_split() {
        let mut rng = SeededRng::new(1);
        for _ in 0..300 {
            let mut input = bytes::BytesMut::new();
            let mut expected = Tally::default();
            for _ in 0..1 + rng.below(8) {
                let frame = random_frame(&mut rng, 0);
                count(&frame, &mut expected);
                extend_encode(&mut input, &frame, false).unwrap();
            }
            let input = input.freeze();
            // Where the oracle says replies end.
            let mut ends = Vec::new();
            let mut at = 0;
            while at < input.len() {
                let (_, bytes) = decode_bytes(&input.slice(at..)).unwrap().unwrap();
                at += bytes;
                ends.push(at);
            }
            let mut scanner = Scanner::default();
            let mut at = 0;
            while at < input.len() {
                let to = (at + 1 + rng.index(30)).min(input.len());
                let found = scanner.scan(&input[at..to]).unwrap();
                assert_eq!(
                    found,
                    ends.iter().filter(|&&end| end > at && end <= to).count() as u64,
                    "{:?} at {at}..{to}",
                    &input[..]
                );
                assert_eq!(
                    scanner.due == 0 && scanner.skip == 0 && scanner.partial.is_empty(),
                    ends.contains(&to)
                );
                at = to;
            }
            assert_eq!(scanner.tally, expected);
        }
    }

    #[test]
    fn every_split_in_two_gives_the_same_count() {
        let input: &[u8] = b"+OK\r\n$5\r\nab\r\nc\r\n*2\r\n*1\r\n:-7\r\n$-1\r\n-ERR no\r\n*0\r\n*-1\r\n$0\r\n\r\n";
        for split in 0..=input.len() {
            let mut scanner = Scanner::default();
            let found = scanner.scan(&input[..split]).unwrap() + scanner.scan(&input[split..]).unwrap();
            assert_eq!(found, 7, "split at {split}");
            assert_eq!((scanner.tally.errors, scanner.tally.nulls), (1, 2));
            assert_eq!(scanner.tally.first_error.as_deref(), Some("ERR no"));
        }
    }

    #[test]
    fn what_is_no_reply_is_told() {
        for input in [
            &b"HTTP/1.1 400\r\n"[..],
            b"$x\r\n",
            b"$-2\r\n",
            b"*99999999999\r\n",
            b"\r\n",
            b"+OK\n",
        ] {
            assert!(Scanner::default().scan(input).is_err(), "{input:?}");
        }
        let mut scanner = Scanner::default();
        assert!(
            scanner.scan(&vec![b'+'; LINE_BYTES_MAX + 1]).is_err(),
            "a line without end"
        );
    }
}
