//! [`Decoder`]: requests from a connection's bytes, without copying and without looking at a byte twice.
//!
//! A request is an array of bulk strings, or an inline line. The decoder is handed the connection's unconsumed input,
//! always from the start of the request, and remembers how far it came, so a request may be split at any byte. Limits
//! and error texts are those of Redis 7.0 (`networking.c`, `processMultibulkBuffer` and `processInlineBuffer`).

use std::fmt;

use super::inline;

/// Longest line that announces a count or length, and longest inline request, in bytes: as in Redis.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Arguments before authentication.
const UNAUTHENTICATED_ARGS_MAX: i64 = 10;
/// Bytes of an argument before authentication.
const UNAUTHENTICATED_BULK_BYTES_MAX: i64 = 16 * 1024;

/// What a connection may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest argument, in bytes (`proto-max-bulk-len`).
    pub bulk_bytes_max: u64,
    /// Most arguments of one request.
    pub args_max: u32,
    /// False as long as a password is needed and was not given.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bulk_bytes_max: 512 << 20,
            args_max: 1024 * 1024,
            authenticated: true,
        }
    }
}

/// The bytes are no request, and what follows cannot be found: the connection is to be closed after the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A count line without end.
    CountTooLong,
    /// The number of arguments is no number or too large.
    Count,
    /// Too many arguments for an unauthenticated connection.
    UnauthenticatedCount,
    /// A length line without end.
    LengthTooLong,
    /// Something else than `$` where a length was due.
    ExpectedDollar(u8),
    /// A length that is no number, negative, or beyond the limit.
    Length,
    /// An argument too long for an unauthenticated connection.
    UnauthenticatedLength,
    /// An inline request without end.
    InlineTooLong,
    /// An inline request with an open quote.
    Quotes,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ERR Protocol error: ")?;
        match self {
            Self::CountTooLong => f.write_str("too big mbulk count string"),
            Self::Count => f.write_str("invalid multibulk length"),
            Self::UnauthenticatedCount => f.write_str("unauthenticated multibulk length"),
            Self::LengthTooLong => f.write_str("too big bulk count string"),
            Self::ExpectedDollar(c) => write!(f, "expected '$', got '{}'", printable(*c)),
            Self::Length => f.write_str("invalid bulk length"),
            Self::UnauthenticatedLength => f.write_str("unauthenticated bulk length"),
            Self::InlineTooLong => f.write_str("too big inline request"),
            Self::Quotes => f.write_str("unbalanced quotes in request"),
        }
    }
}

impl std::error::Error for ProtocolError {}

fn printable(c: u8) -> char {
    match c {
        b'\r' | b'\n' => ' ',
        c => c as char,
    }
}

/// What [`Decoder::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A request of that many bytes; its arguments were appended to the spans. No arguments: skip it, as Redis does.
    Complete(usize),
    /// An inline request of that many bytes, whose words are quoted: they stand nowhere in the input as they are. Put
    /// what [`as_array`](super::inline::as_array) makes of it in its place, and decode that.
    Quoted(usize),
    /// More bytes are needed.
    Incomplete,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Bytes of the request already understood.
    at: usize,
    /// Bytes beyond `at` known to hold no line end.
    scanned: usize,
    /// Arguments still due, once the count is known.
    due: Option<u32>,
    /// Length of the argument at `at`, once known.
    bulk: Option<u32>,
    /// Arguments of an incomplete request.
    partial: Vec<(u32, u32)>,
}

impl Decoder {
    /// Bytes the input must have before it is worth asking again; 0 when that is unknown.
    pub fn wants(&self) -> usize {
        self.bulk.map_or(0, |len| self.at + len as usize + 2)
    }

    /// Bytes of an incomplete request that need not be looked at again.
    pub fn understood(&self) -> usize {
        self.at
    }

    /// Decodes the request at the start of `buf`. Arguments are appended to `spans` as `(offset, length)` in `buf`.
    /// After [`Request::Complete`] the decoder is ready for the next request, which starts that many bytes later.
    ///
    /// # Errors
    /// [`ProtocolError`]: nothing after this can be understood.
    #[inline]
    pub fn next(&mut self, buf: &[u8], limits: &Limits, spans: &mut Vec<(u32, u32)>) -> Result<Request, ProtocolError> {
        let base = spans.len();
        if !self.partial.is_empty() {
            spans.append(&mut self.partial);
        }
        let found = self.step(buf, limits, spans);
        match found {
            Ok(Request::Complete(_) | Request::Quoted(_)) => {
                (self.at, self.scanned, self.due, self.bulk) = (0, 0, None, None)
            }
            Ok(Request::Incomplete) => {
                self.partial.extend_from_slice(&spans[base..]);
                spans.truncate(base);
            }
            Err(_) => spans.truncate(base),
        }
        found
    }

    #[inline]
    fn step(&mut self, buf: &[u8], limits: &Limits, spans: &mut Vec<(u32, u32)>) -> Result<Request, ProtocolError> {
        let mut due = match self.due {
            Some(due) => due,
            None => {
                match buf.first() {
                    None => return Ok(Request::Incomplete),
                    Some(b'*') => {}
                    Some(_) => return self.inline(buf, spans),
                }
                let Some((count, next)) = self.number_line(buf, 1, ProtocolError::CountTooLong)? else {
                    return Ok(Request::Incomplete);
                };
                let count = count
                    .filter(|n| *n <= i64::from(limits.args_max))
                    .ok_or(ProtocolError::Count)?;
                if count > UNAUTHENTICATED_ARGS_MAX && !limits.authenticated {
                    return Err(ProtocolError::UnauthenticatedCount);
                }
                (self.at, self.scanned) = (next, 0);
                if count <= 0 {
                    return Ok(Request::Complete(next));
                }
                count as u32
            }
        };
        while due > 0 {
            let len = match self.bulk {
                Some(len) => len,
                None => {
                    match buf.get(self.at) {
                        None => break,
                        Some(b'$') => {}
                        // Redis looks for the end of the line first.
                        Some(&c) => {
                            let line = &buf[self.at..];
                            if find_cr(line, 0).is_none() {
                                if line.len() > LINE_BYTES_MAX {
                                    return Err(ProtocolError::LengthTooLong);
                                }
                                break;
                            }
                            return Err(ProtocolError::ExpectedDollar(c));
                        }
                    }
                    let Some((len, next)) = self.number_line(buf, self.at + 1, ProtocolError::LengthTooLong)? else {
                        break;
                    };
                    let len = len
                        .filter(|n| *n >= 0 && *n as u64 <= limits.bulk_bytes_max)
                        .ok_or(ProtocolError::Length)?;
                    if len > UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
                        return Err(ProtocolError::UnauthenticatedLength);
                    }
                    (self.at, self.scanned) = (next, 0);
                    u32::try_from(len).map_err(|_| ProtocolError::Length)?
                }
            };
            let end = self.at + len as usize + 2;
            if buf.len() < end {
                self.bulk = Some(len);
                break;
            }
            let start = u32::try_from(self.at).map_err(|_| ProtocolError::Length)?;
            spans.push((start, len));
            (self.at, self.bulk) = (end, None);
            due -= 1;
        }
        if due == 0 {
            return Ok(Request::Complete(self.at));
        }
        self.due = Some(due);
        Ok(Request::Incomplete)
    }

    /// The number on the line that starts at `from`, and where the next line starts. `None`: the line has no end yet.
    /// The number is `None` when the line is none.
    #[inline(always)]
    fn number_line(
        &mut self,
        buf: &[u8],
        from: usize,
        too_long: ProtocolError,
    ) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
        match short_number_line(buf, from) {
            Some((n, next)) => Ok(Some((Some(n), next))),
            None => self.any_number_line(buf, from, too_long),
        }
    }

    /// The same for any number.
    #[inline(never)]
    fn any_number_line(
        &mut self,
        buf: &[u8],
        from: usize,
        too_long: ProtocolError,
    ) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
        let mut n: i64 = 0;
        let mut i = from;
        while let Some(digit) = buf.get(i).map(|c| c.wrapping_sub(b'0')).filter(|d| *d <= 9) {
            if i - from >= 9 {
                break;
            }
            n = n * 10 + i64::from(digit);
            i += 1;
        }
        // As Redis does, the byte after CR is skipped unseen.
        if i > from && i + 1 < buf.len() && buf[i] == b'\r' && (buf[from] != b'0' || i == from + 1) {
            return Ok(Some((Some(n), i + 2)));
        }
        let line = buf.get(from..).unwrap_or_default();
        match find_cr(line, self.scanned) {
            Some(cr) if from + cr + 1 < buf.len() => Ok(Some((parse_i64(&line[..cr]), from + cr + 2))),
            Some(_) => Ok(None),
            None if line.len() >= LINE_BYTES_MAX => Err(too_long),
            None => {
                self.scanned = line.len();
                Ok(None)
            }
        }
    }

    /// An inline request: see [`super::inline`].
    #[cold]
    fn inline(&mut self, buf: &[u8], spans: &mut Vec<(u32, u32)>) -> Result<Request, ProtocolError> {
        let newline = buf[self.scanned..].iter().position(|c| *c == b'\n');
        let line_bytes = newline.map_or(buf.len(), |at| at + self.scanned);
        if line_bytes > LINE_BYTES_MAX {
            return Err(ProtocolError::InlineTooLong);
        }
        if newline.is_none() {
            self.scanned = buf.len();
            return Ok(Request::Incomplete);
        }
        let line = &buf[..line_bytes];
        if line.iter().any(|c| matches!(c, b'"' | b'\'')) {
            inline::split(line, &mut Vec::new())?;
            return Ok(Request::Quoted(line_bytes + 1));
        }
        let mut at = 0;
        while at < line.len() {
            let start = at + line[at..].iter().take_while(|c| inline::is_space(**c)).count();
            let len = line[start..].iter().take_while(|c| !inline::is_separator(**c)).count();
            if len > 0 {
                spans.push((start as u32, len as u32));
            }
            at = start + len;
        }
        Ok(Request::Complete(line_bytes + 1))
    }
}

/// The number on the line that starts at `from` and where the next one starts, when it has one digit or two: nearly every
/// line does, and four bytes looked at together tell. As Redis does, the byte after CR is skipped unseen.
#[inline(always)]
fn short_number_line(buf: &[u8], from: usize) -> Option<(i64, usize)> {
    let &[first, second, third, _] = buf.get(from..)?.first_chunk::<4>()?;
    let (high, low) = (first.wrapping_sub(b'0'), second.wrapping_sub(b'0'));
    if high > 9 {
        return None;
    }
    if second == b'\r' {
        return Some((i64::from(high), from + 3));
    }
    (high != 0 && low <= 9 && third == b'\r').then(|| (i64::from(high) * 10 + i64::from(low), from + 4))
}

#[inline]
fn find_cr(line: &[u8], from: usize) -> Option<usize> {
    line[from.min(line.len())..]
        .iter()
        .position(|c| *c == b'\r')
        .map(|i| i + from)
}

/// A number as Redis's `string2ll` reads it: no sign but minus, no leading zeros, no spaces.
fn parse_i64(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) || digits.starts_with(['+', '-']) {
        return None;
    }
    text.parse().ok()
}
