//! DEBUG PROTOCOL: a reply of each kind that RESP has, for those who test clients.
//!
//! It touches nothing and says the same everywhere, so scripts may call it, too.

use crate::cmd::Reply;
use crate::cmd::parse::is;

#[allow(clippy::approx_constant, reason = "what Redis says")]
const DOUBLE: f64 = 3.141;
const BIG: &str = "1234567999999999999999999999999999999";
const UNKNOWN: &str = "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|\
                       set|map|attrib|push|verbatim|true|false";

/// `DEBUG PROTOCOL kind`
pub fn debug_protocol(kind: &[u8], reply: &mut dyn Reply) {
    match kind {
        _ if is(kind, "string") => reply.bulk(b"Hello World"),
        _ if is(kind, "integer") => reply.int(12345),
        _ if is(kind, "double") => reply.double(DOUBLE),
        _ if is(kind, "bignum") => reply.big_number(BIG),
        _ if is(kind, "null") => reply.null(),
        _ if is(kind, "array") => {
            reply.array(3);
            (0..3).for_each(|n| reply.int(n));
        }
        _ if is(kind, "set") => {
            reply.set(3);
            (0..3).for_each(|n| reply.int(n));
        }
        _ if is(kind, "map") => {
            reply.map(3);
            for n in 0..3 {
                reply.int(n);
                reply.bool(n == 1);
            }
        }
        _ if is(kind, "attrib") => {
            if reply.attribute(1) {
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.int(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        _ if is(kind, "push") => {
            if reply.proto() < 3 {
                return reply.error("ERR RESP2 is not supported by this command");
            }
            if reply.push(2) {
                reply.bulk(b"server-cpu-usage");
                reply.int(42);
            }
            reply.bulk(b"Some real reply following the push reply");
        }
        _ if is(kind, "verbatim") => reply.verbatim(b"This is a verbatim\nstring"),
        _ if is(kind, "true") => reply.bool(true),
        _ if is(kind, "false") => reply.bool(false),
        _ => reply.error(UNKNOWN),
    }
}
