//! The bytes of a replicated batch: a header with what makes execution deterministic, then commands, back to back.
//!
//! Written once by the leader, executed by every replica and again at every replay. A command is its number and its
//! arguments; its name is left out, so argument 0 of a decoded command is empty.
//!
//! Format: `docs/formats/op.md`.

use super::{Args, CommandId};
use crate::varint::{LengthError, put_bytes, put_len, take, take_len};

/// Version of the batch format this code writes, and the only one it reads.
pub const BATCH_VERSION: u8 = 1;
/// Bytes of an encoded [`BatchHeader`].
pub const BATCH_HEADER_BYTES: usize = 34;
/// Arguments that one command may have, its name not counted: Redis's own limit on a request (`1024 * 1024`).
pub const OP_ARGS_MAX: u32 = 1024 * 1024;

/// What every command of a batch is executed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchHeader {
    /// The leader's wall clock, forced never to go back, in milliseconds since 1970: becomes the group clock.
    pub time_ms: u64,
    /// Source of all random choices of the batch; see [`op_seed`].
    pub seed: u64,
    /// Who proposed the batch: node and process run.
    pub origin: u64,
    /// The proposer's number of the batch, counting up within one origin.
    pub batch_seq: u64,
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpError {
    /// They end in the middle of a header or a command.
    Truncated,
    /// The header's version or flags are not ours.
    Version {
        /// Version found.
        version: u8,
        /// Flags found; none is defined yet.
        flags: u8,
    },
    /// A length takes more than five bytes or 32 bits.
    BadLength,
    /// A command has more than [`OP_ARGS_MAX`] arguments.
    TooManyArgs(u32),
}

impl std::fmt::Display for OpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpError::Truncated => f.write_str("batch ends in the middle of a command"),
            OpError::Version { version, flags } => {
                write!(
                    f,
                    "batch has version {version} and flags {flags:#x}; only version {BATCH_VERSION} is known"
                )
            }
            OpError::BadLength => f.write_str("batch holds a malformed length"),
            OpError::TooManyArgs(n) => write!(f, "a command of the batch has {n} arguments, more than {OP_ARGS_MAX}"),
        }
    }
}

impl std::error::Error for OpError {}

impl From<LengthError> for OpError {
    fn from(error: LengthError) -> Self {
        match error {
            LengthError::Truncated => OpError::Truncated,
            LengthError::Malformed => OpError::BadLength,
        }
    }
}

/// Appends the header that starts a batch.
pub fn encode_header(out: &mut Vec<u8>, header: &BatchHeader) {
    out.extend_from_slice(&[BATCH_VERSION, 0]);
    for field in [header.time_ms, header.seed, header.origin, header.batch_seq] {
        out.extend_from_slice(&field.to_le_bytes());
    }
}

/// Reads the header of a batch; the commands follow at [`BATCH_HEADER_BYTES`].
pub fn decode_header(batch: &[u8]) -> Result<BatchHeader, OpError> {
    let head = batch.get(..BATCH_HEADER_BYTES).ok_or(OpError::Truncated)?;
    let (version, flags) = (head[0], head[1]);
    if version != BATCH_VERSION || flags != 0 {
        return Err(OpError::Version { version, flags });
    }
    let field = |n: usize| {
        let at = 2 + n * 8;
        u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes were cut"))
    };
    Ok(BatchHeader {
        time_ms: field(0),
        seed: field(1),
        origin: field(2),
        batch_seq: field(3),
    })
}

/// The seed of command number `op` (from 0) of a batch.
#[inline]
pub fn op_seed(batch_seed: u64, op: u64) -> u64 {
    // The finaliser of splitmix64: neighbouring commands must not make neighbouring choices.
    let mut x = batch_seed.wrapping_add(op.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Appends one command: `args` without the name, known by `id`.
#[inline]
pub fn encode_op(out: &mut Vec<u8>, id: CommandId, args: &Args<'_>) {
    out.extend_from_slice(&id.0.to_le_bytes());
    put_len(out, args.len() - 1);
    for arg in args.iter_from(1) {
        put_bytes(out, arg);
    }
}

/// Reads the command at the start of `buf`. `spans` is cleared and receives `(offset, length)` of every argument within
/// `buf`, number 0 being empty. Returns the command's number and how many bytes it took.
#[inline]
pub fn decode_op(buf: &[u8], spans: &mut Vec<(u32, u32)>) -> Result<(CommandId, usize), OpError> {
    spans.clear();
    decode_next_op(buf, spans)
}

/// The same, for several commands in a row: `spans` is not cleared, the arguments of this one are appended.
#[inline]
pub fn decode_next_op(buf: &[u8], spans: &mut Vec<(u32, u32)>) -> Result<(CommandId, usize), OpError> {
    let id = buf.get(..2).ok_or(OpError::Truncated)?;
    let id = CommandId(u16::from_le_bytes([id[0], id[1]]));
    let mut at = 2;
    let count = take_len(buf, &mut at)?;
    if count > OP_ARGS_MAX {
        return Err(OpError::TooManyArgs(count));
    }
    spans.push((0, 0));
    for _ in 0..count {
        let len = take_len(buf, &mut at)?;
        spans.push((u32::try_from(at).map_err(|_| OpError::BadLength)?, len));
        take(buf, &mut at, len as usize)?;
    }
    Ok((id, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        encode_header(
            &mut out,
            &BatchHeader {
                time_ms: 1,
                seed: 2,
                origin: 3,
                batch_seq: 4,
            },
        );
        let buf = [b"set".as_slice(), b"k", &[7; 300]].concat();
        let spans = [(0, 3), (3, 1), (4, 300), (4, 0)];
        encode_op(&mut out, CommandId(17), &Args::new(&buf, &spans));
        encode_op(&mut out, CommandId(0x1234), &Args::new(&buf, &spans[..1]));
        out
    }

    #[test]
    fn what_was_written_is_read_back() {
        let batch = sample();
        assert_eq!(
            decode_header(&batch),
            Ok(BatchHeader {
                time_ms: 1,
                seed: 2,
                origin: 3,
                batch_seq: 4
            })
        );
        let (mut at, mut spans, mut seen) = (BATCH_HEADER_BYTES, Vec::new(), Vec::new());
        while at < batch.len() {
            let (id, used) = decode_op(&batch[at..], &mut spans).unwrap();
            let args = Args::new(&batch[at..at + used], &spans);
            seen.push((id, args.iter_from(1).map(<[u8]>::to_vec).collect::<Vec<_>>()));
            at += used;
        }
        let expected = [
            (CommandId(17), vec![b"k".to_vec(), vec![7; 300], vec![]]),
            (CommandId(0x1234), vec![]),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn every_prefix_is_refused() {
        let batch = sample();
        let whole = decode_op(&batch[BATCH_HEADER_BYTES..], &mut Vec::new()).unwrap().1;
        for len in 0..whole {
            let cut = &batch[BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + len];
            assert_eq!(decode_op(cut, &mut Vec::new()), Err(OpError::Truncated), "{len}");
        }
        for len in 0..BATCH_HEADER_BYTES {
            assert_eq!(decode_header(&batch[..len]), Err(OpError::Truncated));
        }
    }

    #[test]
    fn foreign_versions_and_wild_lengths_are_refused() {
        let mut batch = sample();
        batch[0] = 2;
        assert_eq!(decode_header(&batch), Err(OpError::Version { version: 2, flags: 0 }));
        let spans = &mut Vec::new();
        assert_eq!(
            decode_op(&[1, 0, 0xff, 0xff, 0xff, 0xff, 0x7f], spans),
            Err(OpError::BadLength)
        );
        assert_eq!(
            decode_op(&[1, 0, 0xff, 0xff, 0xff, 0x7f], spans),
            Err(OpError::TooManyArgs(0x0fff_ffff))
        );
        assert_eq!(
            decode_op(&[1, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f], spans),
            Err(OpError::Truncated)
        );
    }
}
