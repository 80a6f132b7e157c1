//! Limits and failures: a full disk, a failing device, big entries, changes of the sync policy, a clean end.

mod log_model;

use std::time::Duration;

use bytes::Bytes;
use log_model::{Bug, Sim, recover_state, small_options};
use slotcore_engine::log::{AppendError, CoreLog, LogEffect, LogOptions, LogPos, Record, SyncPolicy, Tail, Vote};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{CoreId, FrameNo, GroupId, GroupSlot, LogIndex, Term};

const G: GroupSlot = GroupSlot(0);

fn pos(index: u64) -> LogPos {
    LogPos {
        term: Term(1),
        index: LogIndex(index),
    }
}

fn entry(index: u64, len: usize) -> Record {
    Record::Entry {
        group: G,
        pos: pos(index),
        payload: Bytes::from(vec![index as u8; len]),
    }
}

/// A log with one group, at rest.
fn opened(opts: LogOptions) -> Sim {
    let mut sim = Sim::new(1, opts, Bug::None);
    assert_eq!(sim.append(entry(1, 10)), Err(AppendError::UnknownGroup(G)));
    sim.settle();
    sim.append(Record::GroupCreate {
        group: G,
        id: GroupId(5),
    })
    .expect("a segment is ready");
    sim.settle();
    sim
}

#[test]
fn a_full_disk_refuses_entries_takes_votes_and_recovers() {
    let mut sim = opened(small_options());
    sim.files_max = sim.disk.files.len();
    let mut index = 0;
    let refused = loop {
        match sim.append(entry(index + 1, 900)) {
            Ok(_) => index += 1,
            Err(AppendError::NotReady) if sim.log.stats().segment_errno.is_none() => sim.settle(),
            Err(error) => break error,
        }
        assert!(index < 1000, "the disk never fills");
        sim.step();
        sim.complete_one();
    };
    assert_eq!(refused, AppendError::NoSpace);
    for term in 2..6 {
        let vote = Vote {
            term: Term(term),
            voted_for: None,
            committed: false,
        };
        sim.append(Record::Vote { group: G, vote })
            .expect("votes have room left");
        for _ in 0..10 {
            sim.step();
            sim.complete_one();
        }
    }
    sim.check_running().expect("reads go on");
    // Space comes back by purging: old segments are used again although the disk is as full as before.
    sim.append(Record::Purge {
        group: G,
        pos: pos(index),
    })
    .expect("a purge has room left");
    sim.settle();
    sim.append(entry(index + 1, 900)).expect("there is space again");
    // And so it does when the disk grows.
    sim.files_max = usize::MAX;
    for k in 2..200 {
        while sim.append(entry(index + k, 900)).is_err() {
            sim.now.0 += 3_000_000_000;
            sim.settle();
        }
    }
    sim.settle();
    sim.crash().expect("nothing durable is lost");
}

#[test]
fn a_failed_write_poisons_the_log() {
    for sync_fails in [false, true] {
        let mut sim = opened(small_options());
        sim.log.set_sync(SyncPolicy::Every(Duration::ZERO));
        sim.append(entry(1, 100)).expect("there is room");
        let mut out = Vec::new();
        sim.log.step(sim.now, &mut out);
        if sync_fails {
            let Some(LogEffect::Write { ticket, buf, .. }) = out.pop() else {
                panic!("a write")
            };
            sim.log
                .on_done(sim.now, ticket, Some(buf), Ok(()))
                .expect("the write went well");
            sim.log.step(sim.now, &mut out);
        }
        let (Some(LogEffect::Write { ticket, .. }) | Some(LogEffect::Sync { ticket, .. })) = out.pop() else {
            panic!("something to fail")
        };
        let failure = sim.log.on_done(sim.now, ticket, None, Err(5)).expect_err("EIO");
        assert_eq!(failure.errno, 5);
        assert_eq!(sim.log.append(entry(2, 1)), Err(AppendError::Failed(failure)));
        sim.log.step(sim.now, &mut out);
        assert!(out.is_empty(), "a poisoned log does nothing");
        assert_eq!(sim.log.next_wake(), None);
    }
}

#[test]
fn an_entry_bigger_than_a_segment_survives() {
    let opts = LogOptions {
        cache_bytes_max: 0,
        ..LogOptions::new(CoreId(3))
    }
    .with_segment_bytes(1 << 20);
    let mut sim = opened(opts);
    let payload: Bytes = (0..5_000_000u32)
        .flat_map(|k| [k as u8, (k >> 8) as u8])
        .take(5_000_003)
        .collect();
    let big = Record::Entry {
        group: G,
        pos: pos(1),
        payload,
    };
    assert_eq!(
        sim.append(big.clone()),
        Err(AppendError::NotReady),
        "two spares are too few"
    );
    sim.settle();
    let frame = sim.append(big).expect("enough segments were made ready");
    sim.append(entry(2, 10)).expect("there is room");
    sim.settle();
    assert!(sim.log.durable() >= frame);
    sim.check_running().expect("the entry reads back from its fragments");
    sim.crash().expect("the entry is recovered");
    assert_eq!(sim.state[&0].entries[&1].1.len(), 5_000_003);
}

#[test]
fn a_switch_to_each_reports_nothing_before_older_frames_are_flushed() {
    let mut sim = opened(small_options());
    sim.log.set_sync(SyncPolicy::Never);
    let before = sim.log.durable();
    let frame = sim.append(entry(1, 10)).expect("there is room");
    sim.settle();
    assert_eq!((sim.log.written(), sim.log.durable()), (frame, before));
    sim.log.set_sync(SyncPolicy::Each);
    sim.append(entry(2, 10)).expect("there is room");
    let mut out = Vec::new();
    sim.log.step(sim.now, &mut out);
    let mut flush = None;
    for effect in out {
        match effect {
            LogEffect::Write { ticket, buf, sync, .. } => {
                assert!(sync);
                sim.log.on_done(sim.now, ticket, Some(buf), Ok(())).expect("no failure");
            }
            LogEffect::Sync { ticket, .. } => flush = Some(ticket),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(sim.log.durable(), before, "the older frame is not flushed");
    sim.log
        .on_done(sim.now, flush.expect("the switch flushes"), None, Ok(()))
        .expect("no failure");
    assert!(sim.log.durable() >= frame);
}

#[test]
fn every_interval_flushes_and_a_vote_does_not_wait_for_it() {
    let mut sim = opened(small_options());
    sim.log.set_sync(SyncPolicy::Every(Duration::from_secs(1)));
    let frame = sim.append(entry(1, 10)).expect("there is room");
    let asked_at = sim.now;
    sim.settle();
    assert!(sim.log.durable() >= frame);
    assert!(
        sim.now.since(asked_at) <= Duration::from_millis(1100),
        "flushed within the interval"
    );
    let vote = Vote {
        term: Term(4),
        voted_for: None,
        committed: true,
    };
    let frame = sim.append(Record::Vote { group: G, vote }).expect("there is room");
    for _ in 0..20 {
        sim.step();
        sim.complete_one();
    }
    assert!(sim.log.durable() >= frame, "a vote is flushed without time passing");
}

#[test]
fn a_sealed_log_ends_clean_and_an_idle_one_is_sealed() {
    let mut sim = opened(small_options());
    sim.append(entry(1, 10)).expect("there is room");
    sim.settle();
    let (log, _) = recover_state(&sim.opts, &mut sim.disk).expect("sound");
    assert_eq!(log.recovery().tail, Tail::Ended);
    let frames = sim.log.submitted();
    sim.settle();
    assert_eq!(sim.log.submitted(), frames, "one seal is enough");
    sim.log.seal();
    assert_eq!(sim.append(entry(2, 10)), Err(AppendError::Sealed));
    sim.settle();
    assert!(sim.log.is_sealed());
    let (log, state) = recover_state(&sim.opts, &mut sim.disk).expect("sound");
    assert_eq!(log.recovery().tail, Tail::Clean);
    assert_eq!(state, sim.state);
}

#[test]
fn memory_and_buffers_stay_bounded() {
    let mut sim = opened(small_options());
    let mut index = 0;
    for _ in 0..3000 {
        index += 1;
        while sim.append(entry(index, 200)).is_err() {
            sim.settle();
        }
        sim.step();
        sim.complete_one();
        if index % 50 == 0 {
            sim.append(Record::Purge {
                group: G,
                pos: pos(index - 20),
            })
            .expect("there is room");
        }
    }
    sim.settle();
    let stats = sim.log.stats();
    assert!(stats.cached_bytes <= sim.opts.cache_bytes_max);
    assert!(
        stats.segments_live <= 3,
        "{} segments for twenty entries",
        stats.segments_live
    );
    assert!(sim.disk.files.len() <= 8, "{} files", sim.disk.files.len());
    assert!(stats.submit_to_durable.count > 0 && stats.records > 3000);
}

#[test]
fn what_does_not_follow_is_refused() {
    let mut sim = opened(small_options());
    let refused = |r| matches!(r, Err(AppendError::OutOfOrder { .. }));
    assert!(refused(sim.append(entry(2, 1))));
    sim.append(entry(1, 1)).expect("the first entry");
    sim.append(Record::Purge { group: G, pos: pos(1) })
        .expect("there is room");
    assert!(refused(sim.append(entry(1, 1))));
    let create = Record::GroupCreate {
        group: G,
        id: GroupId(9),
    };
    assert_eq!(sim.append(create), Err(AppendError::GroupExists(G)));
    let manifest = Record::Manifest {
        group: G,
        bytes: Bytes::from(vec![0; 1 << 20]),
    };
    assert!(matches!(sim.append(manifest), Err(AppendError::TooLarge { .. })));
}

#[test]
fn a_new_log_waits_for_its_first_segment() {
    let mut disk = log_model::Disk::default();
    let mut log = CoreLog::recover(small_options(), &mut disk, &mut |_| {}).expect("an empty disk is a new log");
    assert_eq!(log.recovery().tail, Tail::New);
    let create = Record::GroupCreate {
        group: G,
        id: GroupId(9),
    };
    assert_eq!(log.append(create.clone()), Err(AppendError::NotReady));
    let mut out = Vec::new();
    log.step(Tick(1), &mut out);
    let Some(LogEffect::CreateSegment { id, .. }) = out.pop() else {
        panic!("a segment is asked for")
    };
    log.on_segment_ready(id, 99);
    assert_eq!(log.append(create), Ok(FrameNo(2)), "the checkpoint is frame 1");
}
