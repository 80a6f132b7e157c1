//! [`RespReply`]: a command's answer written as RESP, with errors noticed on the way.

use slotcore_engine::cmd::Reply;
use slotcore_netio::resp::encode::RespWriter;

/// See the module's text.
pub struct RespReply<'a> {
    writer: RespWriter<'a>,
    failed: bool,
}

impl<'a> RespReply<'a> {
    /// Appends to `out` in protocol version `proto`.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, proto: u8) -> Self {
        Self {
            writer: RespWriter::new(out, proto),
            failed: false,
        }
    }

    /// True when an error was written.
    #[inline]
    pub fn failed(&self) -> bool {
        self.failed
    }
}

impl Reply for RespReply<'_> {
    #[inline]
    fn simple(&mut self, text: &str) {
        self.writer.simple(text);
    }
    #[inline]
    fn bulk(&mut self, bytes: &[u8]) {
        self.writer.bulk(bytes);
    }
    fn verbatim(&mut self, text: &[u8]) {
        self.writer.verbatim(text);
    }
    fn verbatim_as(&mut self, format: &str, text: &[u8]) {
        self.writer.verbatim_as(format, text);
    }
    fn big_number(&mut self, text: &str) {
        self.writer.big_number(text);
    }
    #[inline]
    fn null(&mut self) {
        self.writer.null();
    }
    fn null_array(&mut self) {
        self.writer.null_array();
    }
    #[inline]
    fn int(&mut self, value: i64) {
        self.writer.int(value);
    }
    fn double(&mut self, value: f64) {
        self.writer.double(value);
    }
    fn double_text(&mut self, text: &str) {
        self.writer.double_text(text);
    }
    fn bool(&mut self, value: bool) {
        self.writer.bool(value);
    }
    #[inline]
    fn array(&mut self, len: usize) {
        self.writer.array(len);
    }
    fn map(&mut self, len: usize) {
        self.writer.map(len);
    }
    fn set(&mut self, len: usize) {
        self.writer.set(len);
    }
    fn attribute(&mut self, len: usize) -> bool {
        self.writer.attribute(len)
    }
    fn push(&mut self, len: usize) -> bool {
        self.writer.push(len);
        true
    }
    #[cold]
    fn error(&mut self, text: &str) {
        self.failed = true;
        self.writer.error(text);
    }
    #[inline]
    fn proto(&self) -> u8 {
        self.writer.proto()
    }
}
