//! A core's thread: everything it owns is made on it, and never leaves it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::{Receiver, Sender};
use std::task::Poll;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};
use slotcore_engine::log::CoreLog;
use slotcore_netio::mesh::MeshPort;
use slotcore_netio::{Net, NetOptions};
use slotcore_raft_shard::peer::hub::PATIENCE;
use slotcore_raft_shard::peer::{Links, PeerHub};
use slotcore_raft_shard::runtime::timers;
use slotcore_raft_shard::{CoreLogHandle, Group, GroupOptions, GroupState, LogHub, NoPeers, OpenError};
use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::disk::{Opening, SegmentClient, SegmentDir, SnapshotDir, StoreClient, StoreDir, StoreIo};
use slotcore_rt::ids::{CoreId, GroupId};
use slotcore_rt::kernel;
use slotcore_rt::ring::Ring;
use slotcore_rt::rng::SeededRng;
use slotcore_rt::wake::Waker;

use crate::boot::{OnDisk, open_log, replica_of};
use crate::cluster_file::ClusterFile;
use crate::cluster_map::ClusterMap;
use crate::cluster_turn::Peers;
use crate::commands::{ServerIdentity, ServerState};
use crate::config::Config;
use crate::core_loop::{CoreControl, CoreFailure, CoreLoop};
use crate::core_state::CoreState;
use crate::leadership::ClusterView;
use crate::log_driver::{FrameReader, LogDriver, SegmentReader};
use crate::log_shortening::LogShortening;
use crate::logging::LogControl;
use crate::mesh::Mesh;
use crate::metadata_turn::{Metadata, Parts};
use crate::old_snapshot;
use crate::parcel::Parcel;
use crate::peer_driver::{PeerDriver, PeerEntrance};
use crate::pubsub::Interest;
use crate::shard_machine::ShardMachine;
use crate::snapshot_files::SnapshotFiles;
use crate::snapshot_landing::Place;
use crate::startup::{StartupError, memlock_needed};
use crate::store_driver::StoreDriver;
use crate::store_work::StoreWork;
use crate::transaction::spanning::recovery::{Found, Missing};

/// Submission slots of a core's ring: more than a turn usually queues; a full queue is handed over early.
const RING_ENTRIES: u32 = 1024;
/// How long the one task queue of the executor runs before the executor looks at its own events, of which there are none but
/// nudges. A thread that is off its processor for as long at the wrong moment makes the executor park although tasks are ready, and
/// before its first task has run nobody can nudge it: see `docs/decisions/0006-executor-kept-awake.md`.
const PREEMPT: Duration = Duration::from_secs(1);
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
    /// Where its files of keys are.
    pub files_dir: StoreDir,
    /// Clients were served from the data directory before.
    pub was_served: bool,
    /// Where files come that other nodes send; `None`: there are none.
    pub snapshots: Option<SnapshotDir>,
    /// What `INFO server` tells.
    pub identity: ServerIdentity,
    /// Who owns which slots.
    pub cluster: Arc<ClusterMap>,
    /// The other nodes; `None`: there are none.
    pub view: Option<ClusterView>,
    /// What this node keeps of them.
    pub kept: Option<Arc<ClusterFile>>,
    /// Where their cores dial this one.
    pub peer_socket: Option<OwnedFd>,
    /// Its rings to and from the other cores.
    pub mesh: MeshPort<Parcel>,
    /// What the clients of all cores listen to.
    pub interest: Arc<Interest>,
    /// Where it listens once all cores are open.
    pub listeners: Vec<ListenAt>,
    /// Connections there are, over all cores.
    pub open_total: Arc<AtomicUsize>,
    /// Makes its log files: called with an eventfd that wakes the core.
    pub segments: Box<dyn FnOnce(OwnedFd) -> SegmentClient + Send>,
    /// Makes and opens its files of keys: the same.
    pub files: Box<dyn FnOnce(OwnedFd) -> StoreClient + Send>,
    /// How others reach it.
    pub control: CoreControl,
    /// To change the level of the process's log.
    pub log_control: LogControl,
    /// Told once the core is open, or cannot be.
    pub ready: Sender<Result<Step, StartupError>>,
    /// Says when all of them have taken this step, and what is to be done in the next; ends without a word when one has not.
    pub go: Receiver<Vec<Missing>>,
    /// Where transactions over cores get their numbers, once all cores are open.
    pub spanning_numbers: Arc<AtomicU64>,
}

/// What a core has done of its start, one after the other.
pub enum Step {
    /// It is open, and this is what it has found of transactions over cores.
    Opened(Found),
    /// It has what was missing.
    Whole,
    /// It listens.
    Listening,
}

/// A bound socket that a core will listen on.
pub struct ListenAt {
    /// The socket.
    pub fd: OwnedFd,
    /// Where it is bound.
    pub address: SocketAddr,
    /// Whoever connects there is for any core.
    pub spread: bool,
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
        let nudge = plan.control.nudge.clone();
        poll_fn(|cx| Poll::Ready(nudge.set(cx.waker().clone()))).await.ok();
        match open(plan).await {
            Ok(Some(mut core)) => core.turns.run(&mut core.group).await,
            Ok(None) => Ok(()),
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

fn no_group(error: OpenError) -> StartupError {
    StartupError::Resource {
        what: "the first Raft group",
        error: std::io::Error::other(error),
    }
}

/// Segments of another length than before are about to be made: until that is done, no length can be relied on.
fn forget_segment_bytes(dir: &SegmentDir, segment_bytes: u64) -> Result<(), StartupError> {
    match dir.opened().map_err(StartupError::Disk)? {
        Some(opening) if opening.segment_bytes != segment_bytes => {
            let segment_bytes = 0;
            let opening = Opening {
                segment_bytes,
                ..opening
            };
            dir.set_opened(opening).map_err(StartupError::Disk)
        }
        _ => Ok(()),
    }
}

/// Says in which segment the log went on, once that is durable: if the segment is lost, the next start must notice.
fn remember_opening(dir: &SegmentDir, log: &RefCell<CoreLog>, turns: &mut CoreLoop) -> Result<(), Refused> {
    let reached = log.borrow().appended();
    log.borrow_mut().request_sync();
    while log.borrow().durable() < reached {
        turns.pump_log()?;
    }
    let log = log.borrow();
    if let Some(segment) = log.newest_segment() {
        let segment_bytes = log.segment_bytes();
        let opening = Opening { segment, segment_bytes };
        dir.set_opened(opening).map_err(StartupError::Disk)?;
    }
    Ok(())
}

/// Opens the core and waits for the others; `None`: another one cannot be opened.
async fn open(plan: CorePlan) -> Result<Option<Core>, Refused> {
    let memlock = memlock_needed(plan.config.cores);
    let mut ring = Ring::new(RING_ENTRIES).map_err(|e| StartupError::Kernel(kernel::uring_problem(e, memlock)))?;
    let mut rng = SeededRng::from_os().map_err(refused("random numbers"))?;
    let wake_fd = plan.mesh.wake_fd().map_err(refused("an eventfd"))?;
    let waker = Waker::new(&mut ring, wake_fd).map_err(refused("an eventfd"))?;
    let worker_wake = waker.handle().map_err(refused("an eventfd"))?;
    let mut driver = LogDriver::new(
        (plan.segments)(worker_wake),
        plan.dir.clone(),
        rng.derive("segment salts"),
    );

    let store_wake = waker.handle().map_err(refused("an eventfd"))?;
    let store_io = StoreIo::new(plan.files_dir.clone(), (plan.files)(store_wake));

    let nodes = plan.view.as_ref().map(|view| view.nodes.clone());
    let old = plan.snapshots.as_ref().map_or(Ok(None), old_snapshot::read);
    let old = old.map_err(refused("the snapshot"))?;
    let on_disk = OnDisk {
        log: &plan.dir,
        files: &plan.files_dir,
        old: old.clone(),
        was_served: plan.was_served,
    };
    let opened = open_log(plan.core, on_disk, &plan.config, nodes.as_deref(), &mut rng)?;
    let snapshots = plan.snapshots.map(|dir| {
        // What files have is not needed twice.
        let old = old.filter(|(at, _)| at.index > opened.store.borrow().flushed().index);
        if old.is_none() {
            dir.remove().map_err(StartupError::Disk)?;
        }
        Ok(SnapshotFiles::new(plan.files_dir.clone(), dir, old))
    });
    let snapshots = snapshots.transpose().map_err(Refused::Startup)?;
    let log = Rc::new(RefCell::new(opened.log));
    forget_segment_bytes(&plan.dir, log.borrow().segment_bytes())?;
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

    let options = NetOptions {
        clients_max: plan.config.settings.clients_max as usize,
        keepalive_s: plan.config.settings.tcp_keepalive_s,
        open_total: plan.open_total,
        ..NetOptions::default()
    };
    let net = Net::new(&ring, options).map_err(refused("receive buffers"))?;
    let group_id = GroupId(opened.keyspace.hash_seed());
    let (origin, seed) = (rng.next_u64(), rng.next_u64());
    let peer_tls = plan.config.peer_tls.clone();
    let mut server = ServerState::new(plan.config, plan.identity, plan.cluster, plan.core);
    let view = plan.view;
    server.view = view.clone();
    let mesh = Mesh::new(plan.mesh);
    let flushed = opened.store.borrow().flushed().index;
    let mut state = CoreState::new(
        opened.keyspace,
        opened.store,
        net,
        server,
        mesh,
        plan.interest,
        origin,
        seed,
    );
    state.spanning_numbers = plan.spanning_numbers;
    if let Some(nodes) = &nodes {
        state.set_far_nodes(nodes);
    }
    let state = Rc::new(RefCell::new(state));

    let reader = Rc::new(FrameReader(RefCell::new(SegmentReader::new(plan.dir.clone()))));
    let part = CoreLogHandle::open(log.clone(), group_id, reader.clone()).map_err(|error| StartupError::Resource {
        what: "the first record of the log",
        error: std::io::Error::other(error),
    })?;
    let hub = LogHub::new();
    let metadata_hub = hub.clone();
    let mut turns = CoreLoop::new(
        ring,
        waker,
        log.clone(),
        driver,
        StoreWork::new(StoreDriver::new(store_io), opened.tail_bytes),
        hub.clone(),
        state.clone(),
        plan.control,
        plan.log_control,
    );
    if snapshots.is_some() {
        turns.shortening = Some(LogShortening::new(flushed));
    }
    let place = Place {
        core: plan.core,
        hash_seed: group_id.0,
        manifest_bytes_max: log.borrow().manifest_bytes_max(),
    };
    let landing = snapshots.as_ref().map(|files| files.landing(place));
    let machine = Rc::new(RefCell::new(ShardMachine::new(state.clone(), snapshots)));
    let facts = Rc::new(GroupState::default());
    let mut group = match (nodes, plan.peer_socket, plan.kept) {
        (Some(nodes), Some(socket), Some(kept)) => {
            // Raft's timers shall be exact: this core's loop ends them.
            timers::drive_here();
            let now = SystemClock.tick();
            let messages = PeerHub::new(PATIENCE, SystemClock.wall_us() * 1000);
            let links = Links {
                hub: messages.clone(),
                group: group_id,
            };
            let options = GroupOptions::among(nodes.me.replica(plan.core), nodes.first_replicas_of(plan.core));
            let opening = Group::open(options, part, hub, links, machine, opened.at, facts);
            let group = turns.until_open(opening).await?.map_err(no_group)?;
            match landing {
                Some(landing) => messages.serve_landing(group_id, group.inbound(), Box::new(landing)),
                None => messages.serve(group_id, group.inbound()),
            }
            if let (CoreId(0), Some(view)) = (plan.core, view) {
                let parts = Parts {
                    log: log.clone(),
                    reader,
                    hub: metadata_hub,
                    messages: messages.clone(),
                    view,
                    kept: kept.clone(),
                };
                let metadata = turns.until_open(Metadata::open(parts)).await??;
                turns.metadata = Some(Box::new(metadata));
            }
            let rng = rng.derive("links to other nodes");
            let entrance = PeerEntrance {
                listener: socket,
                tls: peer_tls,
            };
            let driver = PeerDriver::new(nodes, plan.core, kept, entrance, messages, rng, now)
                .map_err(refused("a socket for peers"))?;
            turns.peers = Some(Peers::new(driver, group_id, now));
            group
        }
        _ => {
            let options = GroupOptions::alone(replica_of(plan.core, None));
            let opening = Group::open(options, part, hub, NoPeers, machine, opened.at, facts);
            let mut group = turns.until_open(opening).await?.map_err(no_group)?;
            turns.until_leading(&mut group).await?;
            group
        }
    };
    remember_opening(&plan.dir, &log, &mut turns)?;
    let found = {
        // What was found to be committed only now, or else what was known to be.
        let mut state = state.borrow_mut();
        let later = state.ops.take_last_spanning();
        Found {
            core: plan.core.0,
            number: state.keyspace.last_spanning(),
            last: later.or(opened.last_spanning),
        }
    };
    let _ = plan.ready.send(Ok(Step::Opened(found)));
    let Ok(missing) = plan.go.recv() else {
        return Ok(None);
    };
    for copy in missing.iter().filter(|missing| missing.core == plan.core.0) {
        turns.bring(&mut group, &copy.operation).await?;
    }
    let _ = plan.ready.send(Ok(Step::Whole));
    if plan.go.recv().is_err() {
        return Ok(None);
    }
    for ListenAt { fd, address, spread } in plan.listeners {
        let listening = state.borrow_mut().net.listen(fd, spread);
        listening.map_err(|error| StartupError::from_listen("port", address, error))?;
    }
    let _ = plan.ready.send(Ok(Step::Listening));
    Ok(Some(Core { turns, group }))
}
