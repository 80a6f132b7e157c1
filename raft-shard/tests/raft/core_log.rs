//! A single voter on the core's real log, over a device in memory: restart both ways, and a full disk.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::support::machine::{DurableSnapshot, Machine};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use openraft_rt::AsyncRuntime;
use slotcore_engine::log::{CoreLog, FrameRange, LogEffect, LogOptions, SEGMENT_BYTES_MIN, SegmentSource};
use slotcore_raft_shard::runtime::sim::SimRuntime;
use slotcore_raft_shard::{
    Applied, Consensus, CoreLogHandle, Group, GroupOptions, GroupState, LogHub, NoPeers, ProposeError, ReadFrames,
    Replay,
};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ids::{CoreId, GroupId, ReplicaId, SegmentId};
use slotcore_rt::sim::exec;

const GROUP: GroupId = GroupId(5);
const ME: ReplicaId = ReplicaId(1);

/// Segment files in memory; every write is durable at once.
#[derive(Clone, Default)]
struct Device {
    files: Rc<RefCell<BTreeMap<SegmentId, Vec<u8>>>>,
    full: Rc<Cell<bool>>,
    frames_read: Rc<Cell<u64>>,
}

impl SegmentSource for Device {
    fn list(&mut self) -> io::Result<Vec<(SegmentId, u64)>> {
        Ok(self
            .files
            .borrow()
            .iter()
            .map(|(id, bytes)| (*id, bytes.len() as u64))
            .collect())
    }

    fn read_at(&mut self, segment: SegmentId, offset: u64, buf: &mut AlignedBuf) -> io::Result<()> {
        let at = offset as usize;
        let len = buf.len();
        buf.copy_from_slice(&self.files.borrow()[&segment][at..at + len]);
        Ok(())
    }
}

impl ReadFrames for Device {
    fn read(&self, frame: FrameRange) -> LocalBoxFuture<'_, io::Result<Vec<u8>>> {
        self.frames_read.set(self.frames_read.get() + 1);
        let (at, len) = (frame.offset as usize, frame.len as usize);
        let bytes = self.files.borrow()[&frame.segment][at..at + len].to_vec();
        Box::pin(async move { Ok(bytes) })
    }
}

impl Device {
    fn carry_out(&self, log: &RefCell<CoreLog>) {
        let mut effects = Vec::new();
        log.borrow_mut().step(exec::now(), &mut effects);
        for effect in effects {
            let mut log = log.borrow_mut();
            match effect {
                LogEffect::Write {
                    ticket,
                    segment,
                    offset,
                    buf,
                    ..
                } => {
                    let at = offset as usize;
                    self.files.borrow_mut().get_mut(&segment).unwrap()[at..at + buf.len()].copy_from_slice(&buf);
                    log.on_done(exec::now(), ticket, Some(buf), Ok(())).unwrap();
                }
                LogEffect::Sync { ticket, .. } => log.on_done(exec::now(), ticket, None, Ok(())).unwrap(),
                LogEffect::CreateSegment { id, .. } if self.full.get() => {
                    log.on_segment_failed(exec::now(), id, 28 /* ENOSPC */);
                }
                LogEffect::CreateSegment { id, bytes } => {
                    self.files.borrow_mut().insert(id, vec![0; bytes as usize]);
                    log.on_segment_ready(id, id.0 + 99);
                }
                LogEffect::RecycleSegment { from, to } => {
                    let bytes = self.files.borrow_mut().remove(&from).unwrap();
                    self.files.borrow_mut().insert(to, bytes);
                    log.on_segment_ready(to, to.0 + 99);
                }
                LogEffect::DeleteSegment { id } => drop(self.files.borrow_mut().remove(&id)),
            }
        }
    }
}

/// How a restarted state machine gets its entries.
#[derive(Clone, Copy)]
enum Comeback {
    /// While recovery reads the log.
    Replayed,
    /// Through openraft, which reads them from the device again.
    Reread,
}

struct Core {
    device: Device,
    log: Rc<RefCell<CoreLog>>,
    hub: Rc<LogHub<SimRuntime>>,
    group: Group<SimRuntime, Machine>,
    machine: Rc<RefCell<Machine>>,
}

impl Core {
    async fn open(device: Device, comeback: Comeback) -> Core {
        let mut options = LogOptions::new(CoreId(0)).with_segment_bytes(SEGMENT_BYTES_MIN);
        options.cache_bytes_max = 256;
        let mut records = Vec::new();
        let log = CoreLog::recover(options, &mut device.clone(), &mut |found| records.push(found.record)).unwrap();
        let log = Rc::new(RefCell::new(log));
        device.carry_out(&log);

        let handle = CoreLogHandle::open(log.clone(), GROUP, Rc::new(device.clone())).unwrap();
        let (mut machine, mut at) = Machine::restored(1, Rc::default(), DurableSnapshot::default());
        if matches!(comeback, Comeback::Replayed) {
            let mut replay = Replay::new(ME, handle.slot(), &mut machine, Applied::default());
            records.into_iter().for_each(|record| replay.visit(record).unwrap());
            at = replay.finish().unwrap();
        }
        let (hub, machine) = (LogHub::new(), Rc::new(RefCell::new(machine)));
        let state = Rc::new(GroupState::default());
        let options = GroupOptions::alone(ME);
        let group = Group::open(options, handle, hub.clone(), NoPeers, machine.clone(), at, state)
            .await
            .unwrap();
        let mut core = Core {
            device,
            log,
            hub,
            group,
            machine,
        };
        core.turns_until("ready to read", |core| core.group.may_read(exec::now()))
            .await;
        core
    }

    /// Turns of a core loop until `done`.
    async fn turns_until(&mut self, what: &str, mut done: impl FnMut(&mut Core) -> bool) {
        for _ in 0..20_000 {
            if done(self) {
                return;
            }
            self.device.carry_out(&self.log);
            let durable = self.log.borrow().durable();
            self.hub.advance(durable, durable);
            exec::sleep(Duration::from_micros(5)).await;
        }
        panic!(
            "not within 20,000 turns: {what}; {:?}, {:?}",
            self.group.progress(),
            self.group.failure()
        );
    }

    fn propose(&mut self, write: u64) -> Result<(), ProposeError> {
        self.group
            .propose(Bytes::copy_from_slice(&write.to_be_bytes()))
            .map(drop)
    }

    async fn execute(&mut self, writes: std::ops::Range<u64>) {
        for write in writes {
            self.propose(write).unwrap();
            self.turns_until("executed", |core| core.executed().last() == Some(&write))
                .await;
        }
    }

    fn executed(&self) -> Vec<u64> {
        self.machine.borrow().executed.iter().map(|(_, write)| *write).collect()
    }
}

fn check_restarts(comeback: Comeback) -> u64 {
    SimRuntime::run(async move {
        let device = Device::default();
        for life in 0..4 {
            let mut core = Core::open(device.clone(), comeback).await;
            assert_eq!(core.executed(), (0..life * 50).collect::<Vec<_>>(), "life {life}");
            assert_eq!(core.group.term().0, life + 1);
            core.execute(life * 50..(life + 1) * 50).await;
            core.group.shutdown().await;
        }
        device.frames_read.get()
    })
}

#[test]
fn everything_durable_comes_back_while_the_log_is_read() {
    // openraft looks for the places where terms begin, by halving; it never reads the whole log again.
    let read = check_restarts(Comeback::Replayed);
    assert!(read < 60, "{read} entries were read a second time");
}

#[test]
fn entries_no_longer_in_memory_are_read_back() {
    let read = check_restarts(Comeback::Reread);
    assert!(
        read > 150,
        "only {read} entries were read back: the rest came from memory"
    );
}

#[test]
fn a_full_disk_stops_proposals_and_not_reads_until_space_returns() {
    SimRuntime::run(async {
        let mut core = Core::open(Device::default(), Comeback::Replayed).await;
        core.device.full.set(true);
        let mut taken = 0;
        let refused = loop {
            match core.propose(taken) {
                Ok(()) => taken += 1,
                Err(refused) if core.hub.waits_for_room() => break refused,
                Err(_) => {}
            }
            core.turns_until("one turn", {
                let mut turns = 0;
                move |_| {
                    turns += 1;
                    turns > 1
                }
            })
            .await;
        };
        assert_eq!(refused, ProposeError::Busy);
        assert!(core.group.may_read(exec::now()), "reads stopped with the writes");
        assert_eq!(core.group.failure(), None);

        core.device.full.set(false);
        core.turns_until("executed", |core| core.executed().len() as u64 == taken)
            .await;
        assert_eq!(core.executed(), (0..taken).collect::<Vec<_>>());
    });
}
