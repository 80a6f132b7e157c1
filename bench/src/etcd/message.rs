//! The few messages of etcd's API that are sent here, as bytes: gRPC's frame around Protocol Buffers.
//!
//! Format: etcd's `rpc.proto` for the numbers of fields, "Encoding" of the Protocol Buffers manual, "gRPC over HTTP2".

/// Protocol Buffers' wire types that occur.
const VARINT: u64 = 0;
const LEN: u64 = 2;
/// Bytes before a message: a flag (not compressed) and the length.
const FRAME_HEADER_BYTES: usize = 5;

/// `PutRequest` with this key and value, in its frame.
pub fn put_request(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(key.len() + value.len() + 16);
    for (number, bytes) in [(1, key), (2, value)] {
        push_varint(&mut message, number << 3 | LEN);
        push_varint(&mut message, bytes.len() as u64);
        message.extend_from_slice(bytes);
    }
    framed(&message)
}

/// `StatusRequest`, which is empty, in its frame.
pub fn status_request() -> Vec<u8> {
    framed(&[])
}

/// What a `StatusResponse` tells of who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The member that answered.
    pub member: u64,
    /// The one that it takes for the leader; 0 when it knows none.
    pub leader: u64,
}

/// Reads a `StatusResponse` in its frame; none when it is something else.
pub fn status_response(frame: &[u8]) -> Option<Status> {
    let message = frame.get(FRAME_HEADER_BYTES..)?;
    let header = bytes_field(message, 1)?;
    Some(Status {
        // What is 0 is left out.
        member: number_field(header, 2).unwrap_or(0),
        leader: number_field(message, 4).unwrap_or(0),
    })
}

fn framed(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("a key and a value are far below 4 GiB");
    let mut frame = vec![0];
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A field as it stands in a message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn field(mut message: &[u8], wanted: u64) -> Option<Field<'_>> {
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let field = match tag & 7 {
            VARINT => Field::Number(take_varint(&mut message)?),
            LEN => {
                let len = usize::try_from(take_varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(len)?;
                message = rest;
                Field::Bytes(bytes)
            }
            _ => return None,
        };
        if tag >> 3 == wanted {
            return Some(field);
        }
    }
    None
}

fn number_field(message: &[u8], wanted: u64) -> Option<u64> {
    match field(message, wanted)? {
        Field::Number(number) => Some(number),
        Field::Bytes(_) => None,
    }
}

fn bytes_field(message: &[u8], wanted: u64) -> Option<&[u8]> {
    match field(message, wanted)? {
        Field::Bytes(bytes) => Some(bytes),
        Field::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_written_as_the_manual_says() {
        assert_eq!(put_request(b"k", b"vw"), b"\0\0\0\0\x07\x0a\x01k\x12\x02vw");
        let long = put_request(b"k", &[b'v'; 300]);
        assert_eq!(long[8..11], [0x12, 0xac, 0x02]);
    }

    #[test]
    fn a_status_is_read_whatever_else_is_in_it() {
        // header { cluster_id: 9, member_id: 300 }, version: "3", db_size: 1, leader: 300
        let message = b"\x0a\x05\x08\x09\x10\xac\x02\x12\x013\x18\x01\x20\xac\x02";
        let expected = Status {
            member: 300,
            leader: 300,
        };
        assert_eq!(status_response(&framed(message)), Some(expected));
        let nobody = status_response(&framed(b"\x0a\x02\x10\x07"));
        assert_eq!(nobody, Some(Status { member: 7, leader: 0 }));
        for cut in 0..message.len() {
            // Whatever is missing, nothing is made up.
            let found = status_response(&framed(&message[..cut]));
            assert!(found.is_none_or(|status| status.leader == 0), "{cut}");
        }
    }
}
