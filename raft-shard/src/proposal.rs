//! What becomes of a proposal that is not applied.
//!
//! Success needs no message: the entry itself says whose proposal it was when it is applied. Only refusals travel back.

use std::rc::Rc;

use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;
use openraft::{OptionalSend, RaftTypeConfig};

use crate::consensus::{ProposalId, Refusal};
use crate::group_state::GroupState;

/// Waits inside openraft beside a proposal's entry.
///
/// openraft's responders are generic over the result, so what to do with it comes as a function pointer from the one
/// place where the result's type is known.
#[derive(Debug)]
pub struct Outcome<T> {
    group: Rc<GroupState>,
    id: ProposalId,
    complete: fn(&GroupState, ProposalId, T),
}

impl<C: RaftTypeConfig> Outcome<ClientWriteResult<C>> {
    /// The outcome of proposal `id` of `group`.
    pub(crate) fn of(group: Rc<GroupState>, id: ProposalId) -> Self {
        Outcome {
            group,
            id,
            complete: complete::<C>,
        }
    }
}

impl<C: RaftTypeConfig, T: OptionalSend + 'static> Responder<C, T> for Outcome<T> {
    fn on_complete(self, result: T) {
        (self.complete)(&self.group, self.id, result);
    }
}

fn complete<C: RaftTypeConfig>(group: &GroupState, id: ProposalId, result: ClientWriteResult<C>) {
    match result {
        Ok(_) => {}
        // Counted as digested when it was appended; only its fate is news.
        Err(ClientWriteError::LogEntryDiscarded(_)) => group.refuse(id, Refusal::Unknown),
        Err(_) => {
            group.digested();
            group.refuse(id, Refusal::NotExecuted);
        }
    }
}
