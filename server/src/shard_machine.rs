//! [`ShardMachine`]: a core's keyspace as Raft sees it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use slotcore_engine::keyspace::Keyspace;
use slotcore_raft_shard::{Applied, BadSnapshot, Installing, StateMachine, Taking};
use slotcore_rt::ids::{LogIndex, Term};

use crate::core_state::CoreState;
use crate::logging::Event;
use crate::snapshot_files::SnapshotFiles;
use crate::unexecuted::Unexecuted;

/// See the module's text.
pub struct ShardMachine {
    state: Rc<RefCell<CoreState>>,
    /// `None`: nobody else has a replica.
    files: Option<SnapshotFiles>,
}

impl ShardMachine {
    /// The keyspace in `state`. `files`: what others may need of it, if there are any.
    pub fn new(state: Rc<RefCell<CoreState>>, files: Option<SnapshotFiles>) -> Self {
        Self { state, files }
    }
}

impl StateMachine for ShardMachine {
    fn apply(&mut self, _index: LogIndex, _term: Term, payload: &[u8]) {
        self.state.borrow_mut().apply(payload);
    }

    fn take_digest(&mut self) -> Option<u128> {
        self.state.borrow_mut().note_compared()
    }

    fn snapshot(&mut self, _at: &Applied) -> io::Result<Taking> {
        if self.files.is_none() {
            // Nobody asks a single voter for one. It is taken for openraft's sake, when files hold what is purged.
            return Ok(Taking::InMemory(Bytes::new()));
        }
        // What was flushed last is one, and openraft is to take note of it.
        let flushed = self.state.borrow().store.borrow().flushed();
        Ok(match flushed.index {
            LogIndex(0) => Taking::GivenUp,
            _ => Taking::Durable,
        })
    }

    fn kept(&mut self) -> io::Result<Option<(Applied, Bytes)>> {
        let state = self.state.borrow();
        let store = state.store.borrow();
        self.files.as_ref().map_or(Ok(None), |files| files.kept(&store))
    }

    fn install(&mut self, at: &Applied, data: &Bytes) -> Result<Installing, BadSnapshot> {
        let Some(files) = &mut self.files else {
            return Err(BadSnapshot("a single voter takes no snapshot from anybody".into()));
        };
        let mut state = self.state.borrow_mut();
        let step = files.install(data, &mut state).map_err(BadSnapshot)?;
        if step == Installing::Done {
            Event::SnapshotInstalled {
                core: state.server.core,
                at: at.index,
                keys: state.keyspace.len(),
            }
            .log();
        }
        Ok(step)
    }
}

impl CoreState {
    /// All keys are others now: those of a snapshot that a leader has sent.
    pub(crate) fn replace_keys(&mut self, keyspace: Keyspace) {
        self.keyspace.take_over(keyspace);
        self.watches.all_changed();
        self.tell_cleared();
        // What was proposed here and is in flight may be part of it, or not: nobody can tell.
        while let Some(replication) = &mut self.replication
            && let Some(payload) = replication.flights.give_up()
        {
            self.turn_away(&payload, Unexecuted::InDoubt);
        }
    }
}
