//! What a completion was about: operation and connection, packed into the ring's 56-bit tokens.

use crate::conn::ConnId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Multishot accept; the index is the listener's.
    Accept = 0,
    Recv = 1,
    Send = 2,
    /// Accepting may be tried again.
    AcceptPause = 3,
    /// A connection has lingered long enough.
    Linger = 4,
}

/// At most 2 million connections on one core.
const INDEX_BITS: u32 = 21;
const GENERATION_BITS: u32 = 32;

pub(super) fn token(op: Op, id: ConnId) -> u64 {
    (op as u64) << (INDEX_BITS + GENERATION_BITS) | u64::from(id.generation) << INDEX_BITS | u64::from(id.index)
}

pub(super) fn untoken(token: u64) -> (Op, ConnId) {
    let op = match token >> (INDEX_BITS + GENERATION_BITS) {
        0 => Op::Accept,
        1 => Op::Recv,
        2 => Op::Send,
        3 => Op::AcceptPause,
        _ => Op::Linger,
    };
    let id = ConnId {
        index: (token & ((1 << INDEX_BITS) - 1)) as u32,
        generation: (token >> INDEX_BITS) as u32,
    };
    (op, id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked() {
        for op in [Op::Accept, Op::Recv, Op::Send, Op::AcceptPause, Op::Linger] {
            for (index, generation) in [(0, 0), (1, u32::MAX), ((1 << INDEX_BITS) - 1, 7)] {
                let id = ConnId { index, generation };
                assert_eq!(untoken(token(op, id)), (op, id));
                assert_eq!(token(op, id) >> slotcore_rt::ring::TOKEN_BITS, 0);
            }
        }
    }
}
