//! [`Witness`]: sees everything that becomes visible in a world of replicas, and says what should not have.
//!
//! There is one order of batches. Whoever executes the k-th batch must execute the same one, and give the answers the
//! model gives. What has been executed anywhere has been answered or may be: it stays.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use slotcore_engine::cmd::op::decode_header;
use slotcore_raft_shard::{Applied, BadSnapshot, Installing, StateMachine, Taking};
use slotcore_rt::ids::{LogIndex, Term};

use crate::model::Model;
use crate::replica::Replica;
use crate::workload::Batch;

/// See the module.
#[derive(Default)]
pub struct Witness {
    /// Everything ever proposed, by its number.
    proposed: BTreeMap<u64, Batch>,
    order: Vec<(Bytes, Vec<String>)>,
    /// The state after `order`.
    model: Model,
    leaders: BTreeMap<Term, u64>,
    /// The state after so many batches, as somebody had it.
    digests: BTreeMap<usize, u128>,
    wrong: Vec<String>,
}

impl Witness {
    /// Somebody wants `batch` to be executed.
    pub fn proposed(&mut self, batch: Batch) {
        self.proposed.insert(batch.header.batch_seq, batch);
    }

    /// Batches executed anywhere.
    pub fn visible(&self) -> usize {
        self.order.len()
    }

    /// The expected state once everything visible is executed.
    pub fn model(&mut self) -> &mut Model {
        &mut self.model
    }

    /// The batches in their order.
    pub fn payloads(&self) -> impl Iterator<Item = &Bytes> {
        self.order.iter().map(|(payload, _)| payload)
    }

    /// `node` executed a batch as its `at`-th (from 1) and answered `answers`.
    fn executed(&mut self, node: u64, at: usize, payload: &[u8], answers: Vec<String>) {
        if let Some((known, expected)) = self.order.get(at - 1) {
            if known != payload {
                self.wrong.push(format!(
                    "node {node} executed another batch as number {at} than was executed before"
                ));
            } else if *expected != answers {
                self.wrong.push(format!(
                    "node {node} answered batch {at} with {answers:?}, expected {expected:?}"
                ));
            }
            return;
        }
        if at != self.order.len() + 1 {
            let visible = self.order.len();
            self.wrong
                .push(format!("node {node} executed batch {at} after {visible}"));
            return;
        }
        let number = decode_header(payload).map(|header| header.batch_seq);
        let batch = number.ok().and_then(|number| self.proposed.get(&number));
        let Some(batch) = batch.filter(|batch| batch.encode() == payload) else {
            self.wrong
                .push(format!("node {node} executed as number {at} what nobody proposed"));
            return;
        };
        let expected = self.model.apply(batch);
        if expected != answers {
            self.wrong.push(format!(
                "node {node} answered batch {at} with {answers:?}, expected {expected:?}"
            ));
        }
        self.order.push((Bytes::copy_from_slice(payload), expected));
    }

    /// `node` says that it leads in `term`.
    pub fn leads(&mut self, node: u64, term: Term) {
        let leader = *self.leaders.entry(term).or_insert(node);
        if leader != node {
            self.wrong
                .push(format!("nodes {leader} and {node} both lead in term {term}"));
        }
    }

    /// Terms that had a leader.
    pub fn term_count(&self) -> usize {
        self.leaders.len()
    }

    /// `node`, having executed `at` batches, would answer a read alone right now.
    pub fn would_read(&mut self, node: u64, at: usize) {
        let visible = self.order.len();
        if at < visible {
            self.wrong.push(format!(
                "node {node} would read its state after {at} batches of {visible}"
            ));
        }
    }

    /// `node`, having executed `at` batches, answers a read that was asked when `visible` were.
    pub fn would_answer(&mut self, node: u64, at: usize, visible: usize) {
        if at < visible {
            self.wrong.push(format!(
                "node {node} answers by ReadIndex after {at} batches; {visible} were visible when it was asked"
            ));
        }
    }

    /// `node` has this digest after `at` batches.
    ///
    /// # Errors
    /// Another one had another digest after as many.
    pub fn has_digest(&mut self, node: u64, at: usize, digest: u128) -> Result<(), String> {
        match *self.digests.entry(at).or_insert(digest) == digest {
            true => Ok(()),
            false => Err(format!(
                "node {node} has another state after {at} batches than somebody else"
            )),
        }
    }

    /// Something that must never be.
    pub fn accuse(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// The only replica lost the batches after the first `kept`, as its mode allows.
    pub fn forget_after(&mut self, kept: usize) {
        self.order.truncate(kept);
        self.model = Model::default();
        for (payload, _) in &self.order {
            let number = decode_header(payload).expect("it was executed once").batch_seq;
            self.model.apply(&self.proposed[&number]);
        }
    }

    /// The first thing that was wrong.
    ///
    /// # Errors
    /// What it was.
    pub fn verdict(&self) -> Result<(), String> {
        self.wrong.first().map_or(Ok(()), |wrong| Err(wrong.clone()))
    }
}

/// The state machine of one replica, under the eyes of the witness.
pub struct Shard {
    node: u64,
    /// Keys and values.
    pub replica: Replica,
    /// Batches executed.
    pub executed: usize,
    witness: Option<Rc<RefCell<Witness>>>,
}

impl Shard {
    /// The empty state of `node`. Without a witness nobody looks: for trials of recovery.
    pub fn new(node: u64, witness: Option<Rc<RefCell<Witness>>>) -> Self {
        Self {
            node,
            replica: Replica::default(),
            executed: 0,
            witness,
        }
    }
}

impl StateMachine for Shard {
    fn apply(&mut self, _index: LogIndex, _term: Term, payload: &[u8]) {
        self.executed += 1;
        let answers = self.replica.apply(payload, None);
        let Some(witness) = &self.witness else { return };
        match answers {
            Ok(answers) => witness
                .borrow_mut()
                .executed(self.node, self.executed, payload, answers),
            Err(what) => witness
                .borrow_mut()
                .accuse(format!("node {}, batch {}: {what}", self.node, self.executed)),
        }
    }

    fn snapshot(&mut self, _at: &Applied) -> io::Result<Taking> {
        unreachable!("logs are not purged here, so nobody needs a snapshot")
    }

    fn install(&mut self, _at: &Applied, _data: &Bytes) -> Result<Installing, BadSnapshot> {
        Err(BadSnapshot("nobody takes snapshots here".into()))
    }
}
