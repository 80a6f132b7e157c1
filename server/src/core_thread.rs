//! A core's thread: everything it owns is made on it, and never leaves it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};
use slotcore_netio::{Net, NetOptions};
use slotcore_raft_shard::{CoreLogHandle, Group, GroupOptions, GroupState, LogHub, NoPeers};
use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::disk::{SegmentClient, SegmentDir};
use slotcore_rt::ids::{CoreId, GroupId};
use slotcore_rt::kernel;
use slotcore_rt::ring::Ring;
use slotcore_rt::rng::SeededRng;
use slotcore_rt::wake::{Waker, eventfd};

use crate::boot::{REPLICA, open_log};
use crate::commands::{ServerIdentity, ServerState};
use crate::config::Config;
use crate::core_loop::{CoreControl, CoreFailure, CoreLoop, ShardMachine};
use crate::core_state::CoreState;
use crate::log_driver::{FrameReader, LogDriver, SegmentReader};
use crate::logging::LogControl;
use crate::startup::{StartupError, memlock_needed};

/// Submission slots of a core's ring: more than a turn usually queues; a full queue is handed over early.
const RING_ENTRIES: u32 = 1024;
/// How long one task queue of the executor runs before the others, and its timers, get a look.
const PREEMPT: Duration = Duration::from_millis(2);
/// Memory of the executor's own I/O buffers, in bytes: it does none on the way of a command.
const EXECUTOR_IO_BYTES: usize = 64 << 10;

/// What a core is given.
pub struct CorePlan {
    /// Its number.
    pub core: CoreId,
    /// The configuration, already checked.
    pub config: Config,
    /// Where its log is.
    pub dir: SegmentDir,
    /// What `INFO server` tells; the port is filled in once it is bound.
    pub identity: ServerIdentity,
    /// Makes its log files: called with an eventfd that wakes the core.
    pub segments: Box<dyn FnOnce(OwnedFd) -> SegmentClient + Send>,
    /// How others reach it.
    pub control: CoreControl,
    /// To change the level of the process's log.
    pub log_control: LogControl,
    /// Told once the core serves, or cannot.
    pub ready: Sender<Result<CoreReady, StartupError>>,
}

/// A core that serves.
pub struct CoreReady {
    /// Addresses it listens on.
    pub addresses: Vec<SocketAddr>,
    /// Written to, wakes it.
    pub wake: OwnedFd,
}

/// Runs a core until it is told to stop. To be called on its own thread.
///
/// # Errors
/// [`CoreFailure`]: the process must end. What kept a core from starting goes to [`CorePlan::ready`].
pub fn run(plan: CorePlan) -> Result<(), CoreFailure> {
    let ready = plan.ready.clone();
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .name(&format!("core-{}", plan.core))
        .preempt_timer(PREEMPT)
        .io_memory(EXECUTOR_IO_BYTES)
        .make();
    let executor = match executor {
        Ok(executor) => executor,
        Err(error) => {
            let error = std::io::Error::other(error.to_string());
            let _ = ready.send(Err(StartupError::Resource {
                what: "an executor",
                error,
            }));
            return Ok(());
        }
    };
    executor.run(async move {
        match open(plan).await {
            Ok(mut core) => core.turns.run(&mut core.group).await,
            Err(Refused::Startup(error)) => {
                let _ = ready.send(Err(error));
                Ok(())
            }
            Err(Refused::Failure(failure)) => Err(failure),
        }
    })
}

struct Core {
    turns: CoreLoop,
    group: Group<slotcore_raft_shard::runtime::glommio::GlommioRuntime, ShardMachine>,
}

enum Refused {
    Startup(StartupError),
    Failure(CoreFailure),
}

impl From<StartupError> for Refused {
    fn from(error: StartupError) -> Self {
        Self::Startup(error)
    }
}

impl From<CoreFailure> for Refused {
    fn from(failure: CoreFailure) -> Self {
        Self::Failure(failure)
    }
}

fn refused(what: &'static str) -> impl Fn(std::io::Error) -> Refused {
    move |error| Refused::Startup(StartupError::Resource { what, error })
}

async fn open(plan: CorePlan) -> Result<Core, Refused> {
    let memlock = memlock_needed(plan.config.cores);
    let mut ring = Ring::new(RING_ENTRIES).map_err(|e| StartupError::Kernel(kernel::uring_problem(e, memlock)))?;
    let mut rng = SeededRng::from_os().map_err(refused("random numbers"))?;
    let waker = Waker::new(&mut ring, eventfd().map_err(refused("an eventfd"))?).map_err(refused("an eventfd"))?;
    let handle = || waker.handle().map_err(refused("an eventfd"));
    let (worker_wake, others_wake) = (handle()?, handle()?);
    let mut driver = LogDriver::new(
        (plan.segments)(worker_wake),
        plan.dir.clone(),
        rng.derive("segment salts"),
    );

    let opened = open_log(plan.core, &plan.dir, &plan.config, &mut rng)?;
    let log = Rc::new(RefCell::new(opened.log));
    // The first new segment: no record is taken before it is there.
    while !log.borrow().takes_records() {
        let now = SystemClock.tick();
        driver
            .step(&mut log.borrow_mut(), now, &mut ring)
            .map_err(CoreFailure::from)?;
        driver.wait_report(&mut log.borrow_mut(), now);
        if let Some(errno) = log.borrow().stats().segment_errno {
            return Err(match errno {
                libc::ENOSPC | libc::EDQUOT => StartupError::DiskFull {
                    dir: plan.dir.path().to_owned(),
                    needed_bytes: log.borrow().segment_bytes(),
                },
                errno => StartupError::Resource {
                    what: "the first log segment",
                    error: std::io::Error::from_raw_os_error(errno),
                },
            }
            .into());
        }
    }

    let net = open_net(&ring, &plan.config)?;
    let (net, addresses) = net;
    let mut identity = plan.identity;
    identity.port = addresses.first().map_or(plan.config.port, SocketAddr::port);
    let group_id = GroupId(opened.keyspace.hash_seed());
    let (origin, seed) = (rng.next_u64(), rng.next_u64());
    let server = ServerState::new(plan.config, identity);
    let state = Rc::new(RefCell::new(CoreState::new(opened.keyspace, net, server, origin, seed)));

    let reader = Rc::new(FrameReader(RefCell::new(SegmentReader::new(plan.dir))));
    let part = CoreLogHandle::open(log.clone(), group_id, reader).map_err(|error| StartupError::Resource {
        what: "the first record of the log",
        error: std::io::Error::other(error),
    })?;
    let hub = LogHub::new();
    let mut turns = CoreLoop::new(
        ring,
        waker,
        log,
        driver,
        hub.clone(),
        state.clone(),
        plan.control,
        plan.log_control,
    );
    let machine = Rc::new(RefCell::new(ShardMachine(state)));
    let facts = Rc::new(GroupState::default());
    let opening = Group::open(
        GroupOptions::alone(REPLICA),
        part,
        hub,
        NoPeers,
        machine,
        opened.at,
        facts,
    );
    let mut group = turns
        .until_open(opening)
        .await?
        .map_err(|error| StartupError::Resource {
            what: "the first Raft group",
            error: std::io::Error::other(error),
        })?;
    turns.until_leading(&mut group).await?;
    let ready = CoreReady {
        addresses,
        wake: others_wake,
    };
    let _ = plan.ready.send(Ok(ready));
    Ok(Core { turns, group })
}

fn open_net(ring: &Ring, config: &Config) -> Result<(Net, Vec<SocketAddr>), Refused> {
    let options = NetOptions {
        clients_max: config.settings.clients_max as usize,
        keepalive_s: config.settings.tcp_keepalive_s,
        ..NetOptions::default()
    };
    let mut net = Net::new(ring, options).map_err(refused("receive buffers"))?;
    let mut addresses = Vec::new();
    for ip in &config.bind {
        let address = SocketAddr::new(*ip, config.port);
        addresses.push(
            net.listen(address)
                .map_err(|error| StartupError::from_listen("port", address, error))?,
        );
    }
    Ok((net, addresses))
}
