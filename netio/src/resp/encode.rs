//! [`RespWriter`]: replies as RESP2 or RESP3 bytes, appended to a connection's output.

use std::io::Write;

/// Writes values of the protocol version a connection speaks.
pub struct RespWriter<'a> {
    out: &'a mut Vec<u8>,
    proto: u8,
}

impl<'a> RespWriter<'a> {
    /// Appends to `out`; `proto` is 2 or 3.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, proto: u8) -> Self {
        Self { out, proto }
    }

    /// 2 or 3.
    #[inline]
    pub fn proto(&self) -> u8 {
        self.proto
    }

    #[inline]
    fn header(&mut self, kind: u8, n: i64) {
        if (0..10).contains(&n) {
            self.out.extend_from_slice(&[kind, b'0' + n as u8, b'\r', b'\n']);
        } else {
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(n).as_bytes();
            self.out.reserve(digits.len() + 3);
            self.out.push(kind);
            self.out.extend_from_slice(digits);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// A status line.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        if text == "OK" {
            self.out.extend_from_slice(b"+OK\r\n");
            return;
        }
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// An error line, code included.
    #[cold]
    pub fn error(&mut self, text: &str) {
        self.out.push(b'-');
        self.out
            .extend(text.bytes().map(|c| if matches!(c, b'\r' | b'\n') { b' ' } else { c }));
        self.out.extend_from_slice(b"\r\n");
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 24);
        self.header(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Verbatim text.
    pub fn verbatim(&mut self, text: &[u8]) {
        self.verbatim_as("txt", text);
    }

    /// Verbatim text of another format, of which three bytes are told: what is missing is filled up with spaces.
    pub fn verbatim_as(&mut self, format: &str, text: &[u8]) {
        if self.proto < 3 {
            return self.bulk(text);
        }
        self.header(b'=', text.len() as i64 + 4);
        self.out.extend(format.bytes().chain(*b"   ").take(3));
        self.out.push(b':');
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer of any size, as text.
    pub fn big_number(&mut self, text: &str) {
        if self.proto < 3 {
            return self.bulk(text.as_bytes());
        }
        let _ = write!(self.out, "({text}\r\n");
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.out
            .extend_from_slice(if self.proto < 3 { b"$-1\r\n" } else { b"_\r\n" });
    }

    /// No array.
    pub fn null_array(&mut self) {
        self.out
            .extend_from_slice(if self.proto < 3 { b"*-1\r\n" } else { b"_\r\n" });
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, n: i64) {
        self.header(b':', n);
    }

    /// A floating point number, as Redis 7.0 prints it (`%.17g`).
    pub fn double(&mut self, value: f64) {
        self.double_text(&format_double(value));
    }

    /// A floating point number that is written already.
    pub fn double_text(&mut self, text: &str) {
        if self.proto < 3 {
            return self.bulk(text.as_bytes());
        }
        let _ = write!(self.out, ",{text}\r\n");
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) {
        let text: &[u8] = match (self.proto < 3, value) {
            (true, true) => b":1\r\n",
            (true, false) => b":0\r\n",
            (false, true) => b"#t\r\n",
            (false, false) => b"#f\r\n",
        };
        self.out.extend_from_slice(text);
    }

    /// Header of an array.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    /// Header of a map of `len` pairs.
    pub fn map(&mut self, len: usize) {
        if self.proto < 3 {
            self.header(b'*', len as i64 * 2)
        } else {
            self.header(b'%', len as i64)
        }
    }

    /// Header of an attribute of `len` pairs; false, and nothing, in RESP2.
    pub fn attribute(&mut self, len: usize) -> bool {
        if self.proto >= 3 {
            self.header(b'|', len as i64);
        }
        self.proto >= 3
    }

    /// Header of a set.
    pub fn set(&mut self, len: usize) {
        self.header(if self.proto < 3 { b'*' } else { b'~' }, len as i64);
    }

    /// Header of a push message.
    pub fn push(&mut self, len: usize) {
        self.header(if self.proto < 3 { b'*' } else { b'>' }, len as i64);
    }
}

/// Shortest text that reads back as `value`, in the shapes Redis uses for scores.
fn format_double(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if value == value.trunc() && value.abs() < 1e17 {
        return format!("{value:.0}");
    }
    let mut digits = ryu::Buffer::new();
    let text = digits.format_finite(value);
    match text.split_once('e') {
        // As C prints it: with a sign.
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::format_double;

    #[test]
    fn doubles_have_the_shapes_of_redis() {
        for (value, text) in [
            (3.0, "3"),
            (-0.5, "-0.5"),
            (1e16, "10000000000000000"),
            (1e20, "1e+20"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1.5e-9, "1.5e-9"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(format_double(value), text);
        }
    }
}
