//! A state machine that remembers everything, and can be brought back from its snapshot.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use slotcore_raft_shard::{Applied, BadSnapshot, StateMachine};
use slotcore_rt::ids::{LogIndex, Term};

use super::oracle::Oracle;

/// What a node's disk holds of its state machine.
pub type DurableSnapshot = Rc<RefCell<Option<(Applied, Bytes)>>>;

/// The payloads executed, with their positions.
pub struct Machine {
    node: u64,
    pub executed: Vec<(LogIndex, u64)>,
    /// The last position executed or installed.
    pub at: Rc<Cell<LogIndex>>,
    oracle: Rc<RefCell<Oracle>>,
    durable: DurableSnapshot,
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
    }

    fn snapshot(&mut self, at: &Applied) -> Bytes {
        let data: Vec<u8> = self
            .executed
            .iter()
            .flat_map(|(index, write)| [index.0.to_le_bytes(), write.to_le_bytes()].concat())
            .collect();
        let data = Bytes::from(data);
        *self.durable.borrow_mut() = Some((at.clone(), data.clone()));
        data
    }

    fn install(&mut self, at: &Applied, data: &[u8]) -> Result<(), BadSnapshot> {
        self.executed = decode(data);
        self.at.set(at.index);
        self.oracle.borrow_mut().installed(self.node, &self.executed);
        *self.durable.borrow_mut() = Some((at.clone(), Bytes::copy_from_slice(data)));
        Ok(())
    }
}

fn decode(data: &[u8]) -> Vec<(LogIndex, u64)> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    data.chunks(16)
        .map(|pair| (LogIndex(number(&pair[..8])), number(&pair[8..])))
        .collect()
}
