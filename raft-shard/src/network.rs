//! The network of a group that has no peers.

use std::future::Future;

use bytes::Bytes;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::EmptyNode;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};

use crate::runtime::Runtime;
use crate::types::{RaftTypes, Snapshot, Vote};

/// Reaches nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

fn unreachable<RT: Runtime>() -> Unreachable<RaftTypes<RT>> {
    Unreachable::from_string("this group has a single replica")
}

impl<RT: Runtime> RaftNetworkFactory<RaftTypes<RT>> for NoPeers {
    type Network = NoPeers;

    async fn new_client(&mut self, _target: u64, _node: &EmptyNode) -> NoPeers {
        NoPeers
    }
}

impl<RT: Runtime> RaftNetworkV2<RaftTypes<RT>> for NoPeers {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<RaftTypes<RT>>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftTypes<RT>>, RPCError<RaftTypes<RT>>> {
        Err(unreachable().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<RaftTypes<RT>>,
        _option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes<RT>>, RPCError<RaftTypes<RT>>> {
        Err(unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<RaftTypes<RT>>, StreamingError<RaftTypes<RT>>> {
        Err(unreachable().into())
    }
}
