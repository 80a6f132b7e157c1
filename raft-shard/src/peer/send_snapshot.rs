//! Sending a snapshot to a replica that is too far behind for the log, part by part.
//!
//! One part is under way at a time, and the next is chosen by what the peer says it has: heartbeats and entries of other
//! followers pass between the parts, the peer is never sent more than it takes, and a try after a lost link goes on where
//! the last one stopped.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use openraft::errors::{ReplicationClosed, StreamingError, Unreachable};
use openraft::raft::SnapshotResponse;
use slotcore_rt::ids::GroupId;

use super::hub::{Peer, PeerHub};
use super::links::Link;
use super::message::{Answer, Request, SnapshotPart};
use crate::runtime::Runtime;
use crate::types::{RaftTypes, Snapshot, Vote};

/// Bytes of a part, unless the hub was told otherwise: its way and its cost are then mostly its bytes, and a heartbeat behind
/// it does not wait long.
pub const PART_BYTES: usize = 256 << 10;
/// Bytes of snapshots sent in a second to one replica: a tenth of a fast network, and little enough for the leader's core to
/// go on serving.
const BYTES_PER_S: u64 = 128 << 20;
/// How long the answer to the last part may take, until the state is looked at, installed and durable there: so long, and a second
/// more for so many bytes.
const INSTALL_PATIENCE: Duration = Duration::from_secs(60);
const INSTALL_BYTES_PER_S: u64 = 16 << 20;
/// Bytes that are looked at between two turns of the core.
const CHECKSUM_BYTES: usize = 1 << 20;
/// How long it waits for a turn to pass.
const PAUSE: Duration = Duration::from_micros(100);
/// Answers in a row that say that the peer has no more than before: it has begun anew that often.
const SETBACKS_MAX: u32 = 4;
/// How long a peer is left alone that takes nothing, or had part of it and has nothing any more: its disk is full, or what is sent
/// is damaged, and another try would end the same way.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// Sends it whole, or until `cancel`.
pub(super) async fn send<RT: Runtime>(
    link: &Link<RT>,
    vote: Vote,
    snapshot: Snapshot,
    cancel: impl Future<Output = ReplicationClosed> + 'static,
) -> Result<SnapshotResponse<RaftTypes<RT>>, StreamingError<RaftTypes<RT>>> {
    let sending = pin!(send_parts(&link.hub, link.group, link.to, vote, snapshot));
    match select(pin!(cancel), sending).await {
        Either::Left((closed, _)) => Err(closed.into()),
        Either::Right((sent, _)) => Ok(sent?),
    }
}

/// The state may be in a file: others get their turn while it is read.
async fn checksum<RT: Runtime>(data: &[u8]) -> u32 {
    let mut crc = 0;
    for slice in data.chunks(CHECKSUM_BYTES) {
        crc = crc32c::crc32c_append(crc, slice);
        RT::sleep(PAUSE).await;
    }
    crc
}

/// Sends it whole, as the leader of this vote.
pub(super) async fn send_parts<RT: Runtime>(
    hub: &Rc<PeerHub<RT>>,
    group: GroupId,
    to: Peer,
    vote: Vote,
    snapshot: Snapshot,
) -> Result<SnapshotResponse<RaftTypes<RT>>, Unreachable<RaftTypes<RT>>> {
    let Snapshot { meta, snapshot: data } = snapshot;
    let (total, crc) = (data.len(), checksum::<RT>(&data).await);
    let (mut at, mut setbacks) = (0, 0);
    loop {
        let began = RT::now();
        let end = total.min(at + hub.part_bytes());
        let part = SnapshotPart {
            meta: meta.clone(),
            total: total as u64,
            crc,
            offset: at as u64,
            bytes: data.slice(at..end),
        };
        let patience = match end == total {
            true => INSTALL_PATIENCE + Duration::from_secs(total as u64 / INSTALL_BYTES_PER_S),
            false => hub.patience(),
        };
        let request = Request::Snapshot(vote, part);
        let answer = hub.call_within(patience, to, group, request).await?;
        let Answer::Snapshot(answer) = answer else {
            return Err(Unreachable::from_string("the answer is to another kind of question"));
        };
        let have = usize::try_from(answer.have).unwrap_or(usize::MAX);
        if have >= total || answer.vote > vote {
            return Ok(SnapshotResponse::new(answer.vote));
        }
        let sent = (end - at) as u64;
        setbacks = if have > at { 0 } else { setbacks + 1 };
        if have == 0 && (at > 0 || setbacks > SETBACKS_MAX) {
            RT::sleep(REFUSED_PAUSE).await;
            return Err(Unreachable::from_string("the snapshot is not kept"));
        }
        if setbacks > SETBACKS_MAX {
            return Err(Unreachable::from_string("the snapshot makes no progress"));
        }
        at = have;
        let least = Duration::from_nanos(sent * 1_000_000_000 / BYTES_PER_S);
        let took = RT::now().since(began);
        if took < least {
            RT::sleep(least - took).await;
        }
    }
}
