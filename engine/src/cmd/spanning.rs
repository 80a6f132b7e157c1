//! Transactions that span cores: one operation in the log of each core that has something to write, each with the whole
//! transaction in it.
//!
//! Every such operation, a *copy*, names the transaction by a number that grows, and holds the parts of all cores that
//! write. A core carries out its own part only; the others are there for the moment after a crash: whichever core finds
//! the transaction in its log can give it to those that have lost it or never got it. So it is enough that one copy is
//! durable: from then on the transaction will have happened everywhere. Who finds out, and what the numbers rest on, is
//! the server's: `docs/decisions/0011-transactions-over-cores.md`. Format: `docs/formats/op.md`, "Transaction over cores".

use super::op::{decode_op, encode_op};
use super::{Args, CommandSpec, NoReply, by_id, transaction};
use crate::keyspace::Keyspace;

/// Number of the operation in the log. On disk: never renumbered.
const SPANS_CORES: u16 = 970;
/// Bytes of the first argument: the transaction's number, and which of the parts is the own one.
const HEAD_BYTES: usize = 10;
/// Bytes of a part before its carrier: the core.
const CORE_BYTES: usize = 2;

/// One core's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whose it is.
    pub core: u16,
    /// What it does: a carrier ([`transaction::carrier`]), encoded as an operation.
    pub operation: Vec<u8>,
}

/// A transaction with the parts of all cores that write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanning {
    /// Larger than that of every such transaction before it. Not 0.
    pub number: u64,
    /// At least two, by core.
    pub parts: Vec<Part>,
}

impl Spanning {
    /// The operation that brings it to `core`; `None` when it has no part for that core.
    pub fn operation_for(&self, core: u16) -> Option<Vec<u8>> {
        let own = self.parts.iter().position(|part| part.core == core)?;
        let (mut bytes, mut spans) = (Vec::new(), vec![(0, 0)]);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&(own as u16).to_le_bytes());
        spans.push((0, HEAD_BYTES as u32));
        for part in &self.parts {
            let at = bytes.len();
            bytes.extend_from_slice(&part.core.to_le_bytes());
            bytes.extend_from_slice(&part.operation);
            spans.push((at as u32, (bytes.len() - at) as u32));
        }
        let mut operation = Vec::with_capacity(bytes.len() + 16);
        encode_op(&mut operation, spec().id, &Args::new(&bytes, &spans));
        Some(operation)
    }

    /// Reads the whole of it from a copy's arguments.
    pub fn decode(args: &Args<'_>) -> Self {
        let parts = args.iter_from(2).map(|part| Part {
            core: u16::from_le_bytes(cut(part, 0)),
            operation: part[CORE_BYTES..].to_vec(),
        });
        Self {
            number: number(args),
            parts: parts.collect(),
        }
    }
}

/// The operation in the log.
pub fn spec() -> &'static CommandSpec {
    by_id(super::CommandId(SPANS_CORES)).expect("the table has it")
}

/// The number of the transaction of which `args` are a copy's arguments.
pub fn number(args: &Args<'_>) -> u64 {
    u64::from_le_bytes(cut(args.get(1), 0))
}

/// Calls `f` with the carrier of the own part and its arguments.
///
/// # Panics
/// When the copy cannot be read: it was encoded by this process, or read from a checksummed log.
pub fn with_own_part<T>(args: &Args<'_>, f: impl FnOnce(&'static CommandSpec, Args<'_>) -> T) -> T {
    let own = usize::from(u16::from_le_bytes(cut(args.get(1), 8)));
    let operation = &args.get(2 + own)[CORE_BYTES..];
    let mut spans = Vec::new();
    let spec = decode_op(operation, &mut spans).ok().and_then(|(id, _)| by_id(id));
    match spec {
        Some(spec) if spec.run.is_carrier() => f(spec, Args::new(operation, &spans)),
        _ => panic!("a part of a transaction over several cores cannot be read"),
    }
}

/// Carries out the own part of a transaction for which nobody waits here.
pub fn replay(ks: &mut Keyspace, args: &Args<'_>, seed: u64) {
    note(ks, args);
    with_own_part(args, |_, args| transaction::replay(ks, &args, seed, &mut NoReply));
}

/// Notes in the keyspace that this transaction is part of its state.
pub fn note(ks: &mut Keyspace, args: &Args<'_>) {
    ks.set_last_spanning(number(args));
}

fn cut<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N]
        .try_into()
        .expect("as many bytes as were asked for were cut")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::KeyspaceOptions;

    fn words(line: &str) -> (Vec<u8>, Vec<(u32, u32)>) {
        let (mut at, mut spans) = (0, Vec::new());
        for word in line.split(' ') {
            spans.push((at, word.len() as u32));
            at += word.len() as u32 + 1;
        }
        (line.as_bytes().to_vec(), spans)
    }

    /// The carrier of one command.
    fn carrier_of(line: &str) -> Vec<u8> {
        let (text, spans) = words(line);
        let args = Args::new(&text, &spans);
        let (mut operation, mut carrier) = (Vec::new(), Vec::new());
        encode_op(&mut operation, super::super::resolve(&args).unwrap().id, &args);
        let spans = [(0, 0), (0, operation.len() as u32)];
        encode_op(
            &mut carrier,
            transaction::carrier(true, false).id,
            &Args::new(&operation, &spans),
        );
        carrier
    }

    #[test]
    fn each_core_carries_out_its_own_part_and_has_the_whole() {
        let parts = [(3, "incrby a 5"), (7, "incrby b 6")];
        let whole = Spanning {
            number: 41,
            parts: parts
                .map(|(core, line)| Part {
                    core,
                    operation: carrier_of(line),
                })
                .to_vec(),
        };
        assert_eq!(whole.operation_for(4), None);
        for (core, key, value) in [(3, b"a", b"5"), (7, b"b", b"6")] {
            let operation = whole.operation_for(core).unwrap();
            let mut spans = Vec::new();
            let (id, len) = decode_op(&operation, &mut spans).unwrap();
            assert_eq!((id, len), (spec().id, operation.len()));
            let args = Args::new(&operation, &spans);
            assert_eq!(Spanning::decode(&args), whole);
            let mut ks = Keyspace::new(KeyspaceOptions::default());
            replay(&mut ks, &args, 1);
            assert_eq!((ks.last_spanning(), ks.len()), (41, 1));
            assert_eq!(ks.get_str(key).unwrap(), Some(&value[..]));
        }
    }
}
