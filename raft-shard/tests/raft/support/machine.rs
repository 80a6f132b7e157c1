//! A state machine that remembers everything, and can be brought back from its snapshot, which it writes a little at a time.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use slotcore_raft_shard::{Applied, BadSnapshot, Installing, StateMachine, Taking};
use slotcore_rt::ids::{LogIndex, Term};

use super::oracle::Oracle;

/// What a node's disk holds of its state machine.
pub type DurableSnapshot = Rc<RefCell<Option<(Applied, Bytes)>>>;

/// Bytes of a snapshot that are written or read at once.
const SLICE_BYTES: usize = 256;
/// Each write whose number is a multiple of it has replicas compare what they have executed.
pub const COMPARED_EVERY: u64 = 4;
/// An index and a number.
const ENTRY_BYTES: usize = 16;

/// The payloads executed, with their positions.
pub struct Machine {
    node: u64,
    pub executed: Vec<(LogIndex, u64)>,
    /// The last position executed or installed.
    pub at: Rc<Cell<LogIndex>>,
    oracle: Rc<RefCell<Oracle>>,
    durable: DurableSnapshot,
    /// What the last entry had replicas compare.
    digest: Option<u128>,
    /// How much had been executed when a snapshot was begun, and how many bytes of it are done.
    taking: Option<(usize, usize)>,
}

impl Machine {
    /// The machine of `node` as its disk has it, and what it stands for.
    pub fn restored(node: u64, oracle: Rc<RefCell<Oracle>>, durable: DurableSnapshot) -> (Machine, Applied) {
        let mut machine = Machine {
            node,
            executed: Vec::new(),
            at: Rc::default(),
            oracle,
            durable: durable.clone(),
            digest: None,
            taking: None,
        };
        let held = durable.borrow().clone();
        let at = held.map_or_else(Applied::default, |(at, data)| {
            machine.executed = decode(&data);
            machine.at.set(at.index);
            at
        });
        (machine, at)
    }
}

impl StateMachine for Machine {
    fn apply(&mut self, index: LogIndex, _term: Term, payload: &[u8]) {
        let write = u64::from_be_bytes(payload.try_into().expect("every payload of these tests is a number"));
        self.executed.push((index, write));
        self.at.set(index);
        self.oracle.borrow_mut().executed(self.node, index, write);
        if write.is_multiple_of(COMPARED_EVERY) {
            let sum = self.executed.iter().fold(0, |sum, (at, write)| {
                u128::wrapping_add(u128::wrapping_mul(sum, 31), u128::from(at.0 << 32 ^ write))
            });
            self.digest = Some(sum);
        }
    }

    fn take_digest(&mut self) -> Option<u128> {
        self.digest.take()
    }

    fn snapshot(&mut self, at: &Applied) -> io::Result<Taking> {
        assert_eq!(at.index, at.index.max(self.at.get()), "a snapshot of an older state");
        let (begun, _) = self.taking.get_or_insert((self.executed.len(), 0));
        assert_eq!(*begun, self.executed.len(), "something was executed between two slices");
        if self.slice_of(self.executed.len() * ENTRY_BYTES) {
            return Ok(Taking::More);
        }
        let data: Vec<u8> = self
            .executed
            .iter()
            .flat_map(|(index, write)| [index.0.to_le_bytes(), write.to_le_bytes()].concat())
            .collect();
        let mut durable = self.durable.borrow_mut();
        if durable.as_ref().is_none_or(|(newest, _)| newest.index < at.index) {
            *durable = Some((at.clone(), data.into()));
        }
        Ok(Taking::Durable)
    }

    fn kept(&mut self) -> io::Result<Option<(Applied, Bytes)>> {
        Ok(self.durable.borrow().clone())
    }

    fn install(&mut self, at: &Applied, data: &Bytes) -> Result<Installing, BadSnapshot> {
        self.taking.get_or_insert((0, 0));
        if self.slice_of(data.len()) {
            return Ok(Installing::More);
        }
        self.executed = decode(data);
        self.at.set(at.index);
        self.oracle.borrow_mut().installed(self.node, &self.executed);
        *self.durable.borrow_mut() = Some((at.clone(), data.clone()));
        Ok(Installing::Done)
    }
}

impl Machine {
    /// One more slice of `bytes` bytes. False: it was the last.
    fn slice_of(&mut self, bytes: usize) -> bool {
        let done = self.taking.as_mut().map_or(0, |(_, done)| {
            *done += SLICE_BYTES;
            *done
        });
        if done >= bytes {
            self.taking = None;
        }
        done < bytes
    }
}

fn decode(data: &[u8]) -> Vec<(LogIndex, u64)> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    data.chunks(ENTRY_BYTES)
        .map(|pair| (LogIndex(number(&pair[..8])), number(&pair[8..])))
        .collect()
}
