//! What openraft is told about the disk, and when: the contract that others built on it got wrong.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::support::puppet::{candidate, log_id};
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft_rt::Oneshot;
use slotcore_raft_shard::log_store::LogStore;
use slotcore_raft_shard::runtime::oneshot::LocalOneshot;
use slotcore_raft_shard::runtime::sim::SimRuntime;
use slotcore_raft_shard::types::{Entry, Payload};
use slotcore_raft_shard::{GroupState, LogHub, MemoryLog};
use slotcore_rt::ids::FrameNo;

type Store = LogStore<SimRuntime, MemoryLog>;

struct Bench {
    log: MemoryLog,
    hub: Rc<LogHub<SimRuntime>>,
    store: Store,
}

impl Bench {
    /// A log of three entries, all durable.
    fn new() -> Bench {
        let (log, hub) = (MemoryLog::default(), LogHub::new());
        let store = LogStore::new(log.clone(), hub.clone(), Rc::new(GroupState::default()));
        let mut bench = Bench { log, hub, store };
        (1..=3).for_each(|index| bench.append(index, IOFlushed::noop()));
        bench.disk_has_everything();
        bench
    }

    fn append(&mut self, index: u64, flushed: IOFlushed<slotcore_raft_shard::types::RaftTypes<SimRuntime>>) {
        let entry = Entry {
            log_id: log_id(1, index),
            payload: EntryPayload::Normal(Payload::stored(Bytes::from_static(b"x"))),
        };
        let appended = poll(&mut Box::pin(self.store.append([entry], flushed)));
        assert!(matches!(appended, Poll::Ready(Ok(()))), "appending waits for nothing");
    }

    fn disk_has_everything(&self) {
        self.log.sync_to(self.log.submitted());
        self.hub.advance(self.log.submitted(), self.log.submitted());
    }

    /// `promise` must wait for the disk, also where entries count before they are there (`everysec`, `off`).
    fn check_waits(mut self, promise: impl AsyncFnOnce(&mut Store) -> std::io::Result<()>) {
        let before = self.log.durable();
        let (log, hub) = (self.log.clone(), self.hub.clone());
        let mut promise = Box::pin(promise(&mut self.store));
        assert!(poll(&mut promise).is_pending());
        assert_eq!(log.submitted(), FrameNo(before.0 + 1), "one record was written at once");
        hub.advance(log.submitted(), before);
        assert!(poll(&mut promise).is_pending(), "reported before it was durable");
        hub.advance(log.submitted(), log.submitted());
        assert!(matches!(poll(&mut promise), Poll::Ready(Ok(()))));
    }
}

fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_vote_is_durable_before_it_is_given() {
    Bench::new().check_waits(async |store| store.save_vote(&candidate(2, 1)).await);
}

/// Others had the vote durable and the truncation not: entries of two leaders side by side after a crash.
#[test]
fn a_truncation_is_durable_before_it_is_reported() {
    Bench::new().check_waits(async |store| store.truncate_after(Some(log_id(1, 1))).await);
}

/// Others did not keep how far they had forgotten, and could not start again.
#[test]
fn a_purge_is_durable_before_it_is_reported_and_is_remembered() {
    let bench = Bench::new();
    let log = bench.log.clone();
    bench.check_waits(async |store| store.purge(log_id(1, 2)).await);
    log.sync_to(log.submitted());
    let mut found = LogStore::new(
        log.after_crash(),
        LogHub::<SimRuntime>::new(),
        Rc::new(GroupState::default()),
    );
    let Poll::Ready(Ok(state)) = poll(&mut Box::pin(found.get_log_state())) else {
        panic!("nothing to wait for")
    };
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (Some(log_id(1, 2)), Some(log_id(1, 3)))
    );
}

/// #1960: completions that came out of order got lost. Here they cannot: whatever the disk does, the hub hears of a
/// prefix, and hands on each completion once, the oldest first.
#[test]
fn appends_complete_in_order_and_as_a_prefix() {
    let mut bench = Bench::new();
    let mut waiting = Vec::new();
    for index in 4..=7 {
        let (sender, receiver) = LocalOneshot::channel();
        bench.append(index, IOFlushed::signal(sender));
        waiting.push(Box::pin(receiver));
    }
    let mut done = move |upto: FrameNo| {
        bench.hub.advance(upto, FrameNo(0));
        let first_pending = waiting.iter_mut().position(|receiver| poll(receiver).is_pending());
        let ready = first_pending.unwrap_or(waiting.len());
        assert!(waiting[ready..].iter_mut().all(|receiver| poll(receiver).is_pending()));
        waiting.drain(..ready);
        ready
    };
    assert_eq!(done(FrameNo(3)), 0);
    assert_eq!(done(FrameNo(4)), 1);
    assert_eq!(done(FrameNo(2)), 0, "a prefix that has been reported already");
    assert_eq!(done(FrameNo(6)), 2);
    assert_eq!(done(FrameNo(7)), 1);
}

/// What is told once may be forgotten; what has failed stays failed, for those who wait and those who come.
#[test]
fn a_failed_disk_fails_everything_that_waits_or_comes() {
    let mut bench = Bench::new();
    let (sender, receiver) = LocalOneshot::channel();
    bench.append(4, IOFlushed::signal(sender));
    bench.hub.fail("EIO");
    assert!(matches!(poll(&mut Box::pin(receiver)), Poll::Ready(Ok(Err(_)))));
    bench.disk_has_everything();
    let (sender, receiver) = LocalOneshot::channel();
    bench.append(5, IOFlushed::signal(sender));
    assert!(matches!(poll(&mut Box::pin(receiver)), Poll::Ready(Ok(Err(_)))));
    let vote = candidate(2, 1);
    let mut vote = Box::pin(bench.store.save_vote(&vote));
    assert!(matches!(poll(&mut vote), Poll::Ready(Err(_))));
}
