//! What must hold for the request decoder on any bytes, for tests with chosen inputs and for the fuzz target.
#![allow(dead_code, reason = "each user takes its part")]

use redis_protocol::resp2::decode::decode as oracle;
use redis_protocol::resp2::types::OwnedFrame;
use slotcore_netio::resp::decode::{Decoder, Limits, Request};
use slotcore_netio::resp::inline::as_array;

/// The arguments of each request, and the error that ended them.
pub type Found = (Vec<Vec<Vec<u8>>>, Option<String>);

/// Decodes a connection's bytes that arrive in pieces ending at `cuts`, which are in order.
pub fn decode(input: &[u8], cuts: impl IntoIterator<Item = usize>, limits: &Limits) -> Found {
    let (mut decoder, mut spans, mut requests) = (Decoder::default(), Vec::new(), Vec::new());
    let (mut all, mut start, mut arrived) = (Vec::new(), 0, 0);
    for end in cuts.into_iter().chain([input.len()]) {
        all.extend_from_slice(&input[arrived..end]);
        arrived = end;
        loop {
            spans.clear();
            let buf = &all[start..];
            // As the driver does: not asked before the argument it waits for is whole.
            if buf.len() < decoder.wants() {
                break;
            }
            assert!(decoder.understood() <= buf.len(), "more was understood than there is");
            match decoder.next(buf, limits, &mut spans) {
                Ok(Request::Quoted(bytes)) => {
                    let array = as_array(&buf[..bytes]);
                    all.splice(start..start + bytes, array);
                }
                Ok(Request::Complete(bytes)) => {
                    assert!(bytes > 0 && bytes <= buf.len());
                    let args: Vec<Vec<u8>> = spans
                        .iter()
                        .map(|&(at, len)| buf[at as usize..(at + len) as usize].to_vec())
                        .collect();
                    agrees_with_oracle(&buf[..bytes], &args);
                    if !args.is_empty() {
                        requests.push(args);
                    }
                    start += bytes;
                }
                Ok(Request::Incomplete) => break,
                Err(error) => return (requests, Some(error.to_string())),
            }
        }
    }
    (requests, None)
}

/// Where redis-protocol finds an array of bulk strings as well, it has the same arguments and the same length. (It is
/// stricter at the ends of lines, and knows no inline requests.)
fn agrees_with_oracle(request: &[u8], args: &[Vec<u8>]) {
    if let Ok(Some((OwnedFrame::Array(parts), bytes))) = oracle(request)
        && let Some(parts) = bulk_strings(parts)
    {
        assert_eq!((parts.as_slice(), bytes), (args, request.len()));
    }
}

/// The bytes of bulk strings, if all are.
pub fn bulk_strings(parts: Vec<OwnedFrame>) -> Option<Vec<Vec<u8>>> {
    let bytes_of = |part| match part {
        OwnedFrame::BulkString(bytes) => Some(bytes),
        _ => None,
    };
    parts.into_iter().map(bytes_of).collect()
}

/// One input of the fuzz target: a byte that says whether the client is authenticated and how the rest is cut into
/// pieces, and the bytes of a connection. In one piece, in pieces and byte by byte the same must be found.
pub fn check(data: &[u8]) {
    let Some((mode, input)) = data.split_first() else {
        return;
    };
    let limits = Limits {
        authenticated: mode & 1 == 0,
        bulk_bytes_max: 1 << 20,
        args_max: 1024,
    };
    let whole = decode(input, [], &limits);
    let step = usize::from(mode >> 1).max(1);
    assert_eq!(
        decode(input, (0..input.len()).step_by(step), &limits),
        whole,
        "in pieces of {step}"
    );
    assert_eq!(decode(input, 0..input.len(), &limits), whole, "byte by byte");
}
