//! [`CoreDisk`]: one core's log over its simulated disk, and the turns between them.
//!
//! A turn is what the server's core does for its log: complete what the device has finished, let the log decide, start
//! what it wants. The group's share of a turn is one call of [`LogHub::advance`] after it; nothing else is needed in any
//! mode, because the log itself makes durable at once what promises wait for.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use slotcore_engine::log::{CoreLog, FrameRange, LogEffect, LogFailure, SyncPolicy, Ticket, segment_file_name};
use slotcore_raft_shard::runtime::sim::SimRuntime;
use slotcore_raft_shard::{LogHub, ReadFrames};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{FrameNo, SegmentId};
use slotcore_rt::rng::SeededRng;
use slotcore_rt::sim::disk::{DiskDone, DiskOp, SimDisk};
use slotcore_rt::sim::exec;

use crate::segments::{Request, Segments};

/// Longest time between two turns: how late the log takes in what its group has appended meanwhile.
pub const TURN_EVERY: Duration = Duration::from_micros(100);
/// Shortest time between two turns.
const TURN_TAKES: Duration = Duration::from_micros(4);

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// The loop as it should be.
    #[default]
    None,
    /// Entries count when they are in the log, although the mode promises durability.
    CountBeforeDurable,
    /// Votes, truncations and purges count when they are in the log.
    PromiseBeforeDurable,
    /// Nothing is flushed at intervals, although the mode promises it.
    FlushNever,
    /// Whatever a quorum has ever answered in the term confirms a read.
    AnyAnswerConfirms,
}

/// See the module.
pub struct CoreDisk {
    log: Rc<RefCell<CoreLog>>,
    disk: Rc<RefCell<SimDisk>>,
    segments: Segments,
    salts: SeededRng,
    plant: Plant,
    sync: SyncPolicy,
    idle_turn: Duration,
    effects: Vec<LogEffect>,
    done: Vec<DiskDone>,
    segments_failed: Vec<(SegmentId, i32)>,
}

impl CoreDisk {
    /// The log as it was recovered from `disk`.
    pub fn new(
        log: Rc<RefCell<CoreLog>>,
        disk: Rc<RefCell<SimDisk>>,
        salts: SeededRng,
        sync: SyncPolicy,
        plant: Plant,
    ) -> Self {
        let segments = Segments::open(&disk.borrow());
        Self {
            log,
            disk,
            segments,
            salts,
            plant,
            sync,
            idle_turn: TURN_EVERY,
            effects: Vec::new(),
            done: Vec::new(),
            segments_failed: Vec::new(),
        }
    }

    /// Turns when there is nothing to do come `every` so often instead of each [`TURN_EVERY`].
    pub fn turning_when_idle(mut self, every: Duration) -> Self {
        self.idle_turn = every;
        self
    }

    /// One turn.
    ///
    /// # Errors
    /// The device failed: the process ends.
    pub fn turn(&mut self, now: Tick) -> Result<(), LogFailure> {
        let (mut log, mut disk) = (self.log.borrow_mut(), self.disk.borrow_mut());
        disk.poll(now, &mut self.done);
        for done in self.done.drain(..) {
            match self.segments.ready(done.token) {
                Some(id) => log.on_segment_ready(id, self.salts.next_u64()),
                None => log.on_done(now, Ticket(done.token), done.buf, done.result)?,
            }
        }
        log.step(now, &mut self.effects);
        for effect in self.effects.drain(..) {
            let (ticket, op) = match effect {
                LogEffect::Write {
                    ticket,
                    segment,
                    offset,
                    buf,
                    sync,
                } => {
                    let file = self.segments.file(segment);
                    let write = DiskOp::Write {
                        file,
                        offset,
                        buf,
                        sync,
                    };
                    (ticket, write)
                }
                LogEffect::Sync { ticket, segment } => {
                    let file = self.segments.file(segment);
                    (ticket, DiskOp::Sync { file })
                }
                LogEffect::CreateSegment { id, bytes } => {
                    self.segments.request(Request::Create(id, bytes));
                    continue;
                }
                LogEffect::RecycleSegment { from, to } => {
                    self.segments.request(Request::Recycle(from, to));
                    continue;
                }
                LogEffect::DeleteSegment { id } => {
                    self.segments.request(Request::Delete(id));
                    continue;
                }
            };
            disk.submit(now, ticket.0, op);
        }
        self.segments.advance(&mut disk, now, &mut self.segments_failed);
        for (id, errno) in self.segments_failed.drain(..) {
            log.on_segment_failed(now, id, errno);
        }
        Ok(())
    }

    /// Tells the group how far the log has come, as far as the mode counts it: `counted` and `durable`.
    pub fn reached(&self) -> (FrameNo, FrameNo) {
        let log = self.log.borrow();
        let counted = match self.sync {
            SyncPolicy::Each if self.plant != Plant::CountBeforeDurable => log.durable(),
            SyncPolicy::Each | SyncPolicy::Every(_) | SyncPolicy::Never => log.appended(),
        };
        let durable = match self.plant {
            Plant::PromiseBeforeDurable => log.appended(),
            Plant::None | Plant::CountBeforeDurable | Plant::FlushNever | Plant::AnyAnswerConfirms => log.durable(),
        };
        (counted, durable)
    }

    /// Turns for ever; `after` each one.
    ///
    /// # Errors
    /// As [`CoreDisk::turn`]; the groups have been told.
    pub async fn run(mut self, hub: Rc<LogHub<SimRuntime>>, mut after: impl FnMut()) -> Result<(), LogFailure> {
        let mut every = TURN_EVERY;
        loop {
            let now = exec::now();
            if let Err(failure) = self.turn(now) {
                hub.fail(&failure.to_string());
                return Err(failure);
            }
            let (counted, durable) = self.reached();
            hub.advance(counted, durable);
            after();
            let next = [self.disk.borrow().next_due(), self.log.borrow().next_wake()];
            let next = next.into_iter().flatten().min();
            every = match next {
                Some(_) => TURN_EVERY,
                None => (2 * every).min(self.idle_turn),
            };
            let next = next.unwrap_or(now + every);
            exec::sleep_until(next.clamp(now + TURN_TAKES, now + every)).await;
        }
    }
}

/// Reads back entries that are no longer in memory.
pub struct DiskReader(pub Rc<RefCell<SimDisk>>);

impl ReadFrames for DiskReader {
    fn read(&self, frame: FrameRange) -> LocalBoxFuture<'_, io::Result<Vec<u8>>> {
        let mut disk = self.0.borrow_mut();
        let read = match disk.open(&segment_file_name(frame.segment)) {
            Some(file) => disk
                .read(file, frame.offset, frame.len as usize)
                .map_err(io::Error::from_raw_os_error),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        Box::pin(std::future::ready(read))
    }
}
