//! [`Scanner`]: where replies end in the bytes of one connection, and which of them are errors.
//!
//! A load generator needs no values. The scanner steps from line to line, jumps over the bytes of bulk strings, and
//! counts; arrays, maps and sets of any depth are one number, the elements still due, because the form of RESP is a
//! prefix code. Replies may be split at any byte between calls. RESP2 and RESP3 are told apart by nothing: every type of
//! either is understood. What a server pushes unasked (`>`) is passed over and counts as no reply.
//!
//! Format: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::fmt;

/// Longest line of a reply, in bytes: beyond the longest error text of any server, and a bound on what is kept of a line
/// that is split.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Elements an array may announce: as in Redis.
const ELEMENTS_MAX: i64 = 1 << 31;
/// Bytes a bulk string may announce: Redis's `proto-max-bulk-len`.
const BULK_BYTES_MAX: i64 = 512 << 20;

/// The bytes are no RESP reply; nothing after them can be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The beginning of the line that was not understood.
    pub line: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a RESP reply: {:?}", self.line)
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

/// A reply that names another node: `MOVED 3999 127.0.0.1:6381`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Which of the replies found by the last [`Scanner::scan`] it is; 0 is the first.
    pub reply: u64,
    /// Address of the node as it was given: the host may be empty, which means the one that answered.
    pub to: String,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Redirections are listed in `redirects` instead of counted as errors.
    follow: bool,
    /// Those found by the last [`Scanner::scan`].
    pub redirects: Vec<Redirect>,
    /// Replies that ended since the last [`Scanner::scan`] began.
    found: u64,
    /// What is being read was pushed by the server.
    pushed: bool,
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
    /// Between replies. `follow`: see [`Scanner::follow`].
    pub fn new(follow: bool) -> Self {
        Self {
            follow,
            ..Self::default()
        }
    }

    /// Takes the next bytes of the connection and returns how many replies end in them.
    ///
    /// # Errors
    /// [`Malformed`]: this connection cannot be used any further.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<u64, Malformed> {
        let mut rest = bytes;
        self.found = 0;
        if !self.redirects.is_empty() {
            self.redirects.clear();
        }
        while !rest.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(rest.len());
                self.skip -= passed;
                rest = &rest[passed..];
                if self.skip == 0 {
                    self.element_ended();
                }
                continue;
            }
            let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
                return self.keep(rest).map(|()| self.found);
            };
            let (line, after) = (&rest[..=end], &rest[end + 1..]);
            rest = after;
            if self.partial.is_empty() {
                self.line(line)?;
            } else {
                self.keep(line)?;
                let whole = std::mem::take(&mut self.partial);
                self.line(&whole)?;
            }
        }
        Ok(self.found)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > LINE_BYTES_MAX {
            return Err(malformed(&self.partial));
        }
        Ok(())
    }

    /// One whole line, its end included.
    #[inline]
    fn line(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let Some((&kind, text)) = line.strip_suffix(b"\r\n").and_then(<[u8]>::split_first) else {
            return Err(malformed(line));
        };
        let outermost = self.due == 0;
        self.due = self.due.max(1);
        match kind {
            b'+' | b':' | b',' | b'#' | b'(' => {}
            b'_' => self.tally.nulls += 1,
            b'-' => self.error(text, outermost),
            b'$' | b'=' | b'!' => match length(text) {
                Some(-1) => self.tally.nulls += 1,
                Some(bytes @ 0..=BULK_BYTES_MAX) => {
                    if kind == b'!' {
                        self.error(b"an error of several lines", outermost);
                    }
                    self.skip = bytes as usize + b"\r\n".len();
                    return Ok(());
                }
                _ => return Err(malformed(line)),
            },
            b'*' | b'~' | b'%' | b'>' | b'|' => match length(text) {
                Some(-1) => self.tally.nulls += 1,
                Some(elements @ 0..=ELEMENTS_MAX) => {
                    let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                    self.due += each * elements as u64;
                    if kind == b'|' {
                        // Attributes stand before the element they belong to, which is still to come.
                        return Ok(());
                    }
                    self.pushed |= kind == b'>' && outermost;
                }
                _ => return Err(malformed(line)),
            },
            _ => return Err(malformed(line)),
        }
        self.element_ended();
        Ok(())
    }

    #[cold]
    fn error(&mut self, text: &[u8], outermost: bool) {
        let text = String::from_utf8_lossy(text);
        if self.follow
            && outermost
            && let Some(("MOVED", place)) = text.split_once(' ')
            && let Some((_slot, to)) = place.split_once(' ')
        {
            self.redirects.push(Redirect {
                reply: self.found,
                to: to.to_owned(),
            });
            return;
        }
        self.tally.errors += 1;
        self.tally.first_error.get_or_insert_with(|| text.into_owned());
    }

    #[inline]
    fn element_ended(&mut self) {
        self.due -= 1;
        if self.due == 0 {
            self.found += u64::from(!self.pushed);
            self.pushed = false;
        }
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
    use redis_protocol::resp3::encode::complete as resp3;
    use redis_protocol::resp3::types::{BytesFrame as Resp3, VerbatimStringFormat};
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

    fn random_resp3(rng: &mut SeededRng, depth: u32) -> Resp3 {
        let text = |rng: &mut SeededRng| Bytes::from(vec![b'x'; rng.index(20)]);
        let attributes = None;
        match rng.below(if depth < 3 { 11 } else { 8 }) {
            0 => Resp3::Boolean { data: true, attributes },
            1 => Resp3::Double { data: 1.5, attributes },
            2 => Resp3::Null,
            3 => Resp3::BigNumber {
                data: Bytes::from_static(b"123456789012345678901234567890"),
                attributes,
            },
            4 => Resp3::VerbatimString {
                data: text(rng),
                format: VerbatimStringFormat::Text,
                attributes,
            },
            5 => Resp3::BlobString {
                data: text(rng),
                attributes,
            },
            6 => Resp3::BlobError {
                data: text(rng),
                attributes,
            },
            7 => Resp3::Number { data: -7, attributes },
            8 => Resp3::Array {
                data: (0..rng.below(4)).map(|_| random_resp3(rng, depth + 1)).collect(),
                attributes,
            },
            9 => Resp3::Push {
                data: vec![Resp3::BlobString {
                    data: text(rng),
                    attributes: None,
                }],
                attributes,
            },
            _ => {
                let pair = |n: u64| {
                    (
                        Resp3::Number {
                            data: n as i64,
                            attributes: None,
                        },
                        Resp3::Null,
                    )
                };
                Resp3::Map {
                    data: (0..rng.below(4)).map(pair).collect(),
                    attributes,
                }
            }
        }
    }

    #[test]
    fn every_type_of_resp3_is_counted_once_and_pushes_are_not() {
        let mut rng = SeededRng::new(2);
        let (mut scanner, mut pushes, mut replies) = (Scanner::default(), 0, 0);
        for _ in 0..2000 {
            let frame = random_resp3(&mut rng, 0);
            let mut input = bytes::BytesMut::new();
            resp3::extend_encode(&mut input, &frame, false).unwrap();
            let expected = u64::from(!matches!(frame, Resp3::Push { .. }));
            pushes += 1 - expected;
            replies += expected;
            let split = rng.index(input.len());
            let found = scanner.scan(&input[..split]).unwrap() + scanner.scan(&input[split..]).unwrap();
            assert_eq!(found, expected, "{frame:?}");
        }
        assert!(pushes > 50 && replies > 1000 && scanner.tally.nulls > 50);
        // An attribute belongs to the reply after it.
        assert_eq!(scanner.scan(b"|1\r\n+ttl\r\n:5\r\n").unwrap(), 0);
        assert_eq!(scanner.scan(b"*1\r\n#t\r\n").unwrap(), 1);
    }

    #[test]
    fn redirections_are_told_by_their_place_or_counted_as_errors() {
        let input = b"+OK\r\n-MOVED 3999 127.0.0.1:6381\r\n*1\r\n-MOVED 1 :7\r\n-ERR no\r\n-MOVED 2 :8\r\n";
        let mut scanner = Scanner::new(true);
        assert_eq!(scanner.scan(input).unwrap(), 5);
        let redirect = |reply, to: &str| Redirect {
            reply,
            to: to.to_owned(),
        };
        assert_eq!(scanner.redirects, [redirect(1, "127.0.0.1:6381"), redirect(4, ":8")]);
        assert_eq!(scanner.tally.errors, 2);
        let mut scanner = Scanner::default();
        scanner.scan(input).unwrap();
        assert_eq!((scanner.tally.errors, scanner.redirects.len()), (4, 0));
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
