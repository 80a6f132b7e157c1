//! [`Reply`]: where a command's answer goes. The engine speaks of types, not of a protocol; `netio`'s writer renders
//! them as RESP2 or RESP3.

/// Receives one command's answer, piece by piece.
///
/// A command writes exactly one value: a scalar, or an aggregate header followed by as many values as it announced.
pub trait Reply {
    /// `+OK`.
    fn ok(&mut self) {
        self.simple("OK");
    }
    /// A short status line without CR or LF.
    fn simple(&mut self, text: &str);
    /// A string of bytes.
    fn bulk(&mut self, bytes: &[u8]);
    /// Text that RESP3 marks as verbatim (`txt`), a bulk string in RESP2.
    fn verbatim(&mut self, text: &[u8]);
    /// "No such value": `$-1` in RESP2, `_` in RESP3.
    fn null(&mut self);
    /// "No such array": `*-1` in RESP2, `_` in RESP3.
    fn null_array(&mut self);
    /// A signed integer.
    fn int(&mut self, value: i64);
    /// A floating point number: bulk string in RESP2, `,` in RESP3; 17 significant digits at most.
    fn double(&mut self, value: f64);
    /// A floating point number that is written already, in a way of its own.
    fn double_text(&mut self, text: &str);
    /// A truth value: `:1`/`:0` in RESP2, `#t`/`#f` in RESP3.
    fn bool(&mut self, value: bool);
    /// Header of an array of `len` values.
    fn array(&mut self, len: usize);
    /// Header of a map of `len` pairs (an array of twice as many values in RESP2).
    fn map(&mut self, len: usize);
    /// Header of a set of `len` values (an array in RESP2).
    fn set(&mut self, len: usize);
    /// An integer of any size, as text: `(` in RESP3, a bulk string in RESP2.
    fn big_number(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }
    /// Text of another format than `txt`, named by three characters.
    fn verbatim_as(&mut self, _format: &str, text: &[u8]) {
        self.verbatim(text);
    }
    /// Header of an attribute of `len` pairs, which says something about the value that follows it. False where there are
    /// none, as in RESP2: then no pairs may be written.
    fn attribute(&mut self, _len: usize) -> bool {
        false
    }
    /// Header of a push of `len` values that comes before the answer. False where there are none: no values either.
    fn push(&mut self, _len: usize) -> bool {
        false
    }
    /// An error line, prefix included, for example `WRONGTYPE Operation against ...`; no CR or LF.
    fn error(&mut self, text: &str);
    /// 3 when the connection speaks RESP3, else 2: a few commands answer with other shapes.
    fn proto(&self) -> u8;
}

/// A [`Reply`] that forgets everything: replicas and replays apply commands that nobody waits for.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReply;

impl Reply for NoReply {
    fn simple(&mut self, _: &str) {}
    fn bulk(&mut self, _: &[u8]) {}
    fn verbatim(&mut self, _: &[u8]) {}
    fn null(&mut self) {}
    fn null_array(&mut self) {}
    fn int(&mut self, _: i64) {}
    fn double(&mut self, _: f64) {}
    fn double_text(&mut self, _: &str) {}
    fn bool(&mut self, _: bool) {}
    fn array(&mut self, _: usize) {}
    fn map(&mut self, _: usize) {}
    fn set(&mut self, _: usize) {}
    fn error(&mut self, _: &str) {}
    fn proto(&self) -> u8 {
        2
    }
}
