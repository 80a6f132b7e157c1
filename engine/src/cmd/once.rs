//! A write that counts once: an operation of the log around another one.
//!
//! It has no row in the table of commands: no client can send it, and nothing executes it. Whoever executes an entry takes
//! it apart and asks [`crate::sessions::Sessions`] whether the operation in it is to be executed.
//!
//! Format: `docs/formats/op.md`, "A write that counts once".

use super::op::{OpError, encode_op};
use super::{Args, CommandId};
use crate::sessions::{Once, SessionId};

/// Its number in the log. On disk: never renumbered.
pub const ONCE: CommandId = CommandId(969);
/// Bytes of its first argument: session, serial, floor, after, version of RESP.
pub const ONCE_BYTES: usize = 16 + 3 * 8 + 1;

/// Appends what makes a write count once.
pub fn encode_once(out: &mut Vec<u8>, once: &Once) {
    out.extend_from_slice(&once.session.0.to_le_bytes());
    for number in [once.serial, once.floor, once.after] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.push(once.proto);
}

/// Reads it back; `None` when the bytes are not [`ONCE_BYTES`] many or make no sense.
pub fn decode_once(bytes: &[u8]) -> Option<Once> {
    let bytes: &[u8; ONCE_BYTES] = bytes.try_into().ok()?;
    let number = |n: usize| {
        let at = 16 + n * 8;
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were cut"))
    };
    let once = Once {
        session: SessionId(u128::from_le_bytes(
            bytes[..16].try_into().expect("sixteen bytes were cut"),
        )),
        serial: number(0),
        floor: number(1),
        after: number(2),
        proto: bytes[ONCE_BYTES - 1],
    };
    (once.serial > 0 && once.proto <= 3).then_some(once)
}

/// Appends `operation`, which is encoded already, as one that counts once.
pub fn encode_once_op(out: &mut Vec<u8>, once: &Once, operation: &[u8]) {
    let mut both = Vec::with_capacity(ONCE_BYTES + operation.len());
    encode_once(&mut both, once);
    both.extend_from_slice(operation);
    let len = |n: usize| u32::try_from(n).expect("an operation is below 4 GiB");
    let spans = [(0, 0), (0, len(ONCE_BYTES)), (len(ONCE_BYTES), len(operation.len()))];
    encode_op(out, ONCE, &Args::new(&both, &spans));
}

/// Takes apart an operation with the number [`ONCE`]. `args`: its arguments, argument 0 being empty. Returns what makes it
/// count once, and the operation in it.
///
/// # Errors
/// [`OpError::Truncated`]: it is something else.
pub fn open_once<'a>(args: &Args<'a>) -> Result<(Once, &'a [u8]), OpError> {
    if args.len() != 3 {
        return Err(OpError::Truncated);
    }
    let once = decode_once(args.get(1)).ok_or(OpError::Truncated)?;
    Ok((once, args.get(2)))
}

#[cfg(test)]
mod tests {
    use super::super::by_id;
    use super::super::op::decode_op;
    use super::*;

    #[test]
    fn an_operation_comes_back_out_with_what_makes_it_count_once() {
        let once = Once {
            session: SessionId(7 << 100 | 5),
            serial: 3,
            floor: 2,
            after: 1,
            proto: 3,
        };
        let mut bytes = Vec::new();
        encode_once_op(&mut bytes, &once, b"operation");
        let mut spans = Vec::new();
        let (id, len) = decode_op(&bytes, &mut spans).unwrap();
        assert_eq!((id, len), (ONCE, bytes.len()));
        let args = Args::new(&bytes, &spans);
        assert_eq!(open_once(&args), Ok((once, b"operation".as_slice())));
        for end in 0..spans.len() {
            assert!(open_once(&Args::new(&bytes, &spans[..end.max(1)])).is_err());
        }
    }

    #[test]
    fn no_command_has_its_number_and_nonsense_is_refused() {
        assert!(by_id(ONCE).is_none());
        let mut bytes = Vec::new();
        encode_once(&mut bytes, &Once::default());
        assert_eq!(decode_once(&bytes), None, "serials begin at 1");
        bytes[16] = 1;
        assert!(decode_once(&bytes).is_some());
        bytes[ONCE_BYTES - 1] = 4;
        assert_eq!(decode_once(&bytes), None, "there is no RESP4");
        assert_eq!(decode_once(&bytes[1..]), None);
    }
}
