//! The `slotcore` binary.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;

use slotcore_engine::collections::seed_hashes;
use slotcore_netio::mesh::mesh;
use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::disk::{DataDir, DirectIo, Layout, SegmentDir, SegmentWorker, SnapshotDir, StoreDir, StoreWorker};
use slotcore_rt::ids::CoreId;
use slotcore_rt::rng::{os_entropy, os_seed};
use slotcore_rt::thread::CpuId;
use slotcore_rt::{admin_socket, signal, thread, wake};
use slotcore_server::admin::{self, Admin, CoreHandle};
use slotcore_server::cluster_file::{ClusterFile, Found};
use slotcore_server::cluster_map::ClusterMap;
use slotcore_server::commands::ServerIdentity;
use slotcore_server::config::{Begin, CORES_MAX, ClusterConfig, Config, ConfigError, Invocation, from_command_line};
use slotcore_server::core_loop::{CoreControl, ProcessControl};
use slotcore_server::core_thread::{self, CorePlan, Step};
use slotcore_server::ctl;
use slotcore_server::host_names;
use slotcore_server::joining::JoinRequest;
use slotcore_server::joining::ask::{self, AtSeeds};
use slotcore_server::leadership::ClusterView;
use slotcore_server::logging::{self, Event};
use slotcore_server::pubsub::Interest;
use slotcore_server::sockets;
use slotcore_server::startup::{StartupError, check_machine};
use slotcore_server::transaction::spanning::recovery::{self, Missing};
use slotcore_server::upkeep;
use slotcore_server::watch::{CoreWatch, Finding, LOOK_EVERY};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match from_command_line(std::env::args_os()) {
        Ok(Invocation::Server(config)) => *config,
        Ok(Invocation::Upkeep(command)) => return upkeep::run(&command),
        Ok(Invocation::Ctl(options)) => return ctl::run(&options),
        Err(ConfigError::CommandLine(error)) => error.exit(),
        Err(error) => return refuse(&StartupError::Config(error)),
    };
    match serve(config) {
        Ok(code) => code,
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &StartupError) -> ExitCode {
    eprintln!("slotcore: {error}");
    ExitCode::from(StartupError::EXIT_CODE as u8)
}

fn resource(what: &'static str) -> impl Fn(std::io::Error) -> StartupError {
    move |error| StartupError::Resource { what, error }
}

/// Opens everything, serves until told to stop, closes everything.
fn serve(mut config: Config) -> Result<ExitCode, StartupError> {
    signal::block_ending_signals().map_err(resource("signal handling"))?;
    let log_control = logging::start(config.log_format, config.settings.log_level);
    Event::Starting {
        version: env!("CARGO_PKG_VERSION"),
        dir: &config.dir,
        durability: config.settings.durability,
    }
    .log();
    if config.cores == 0 {
        let cpus = thread::allowed_cpus().map_err(resource("the list of processors"))?;
        config.cores = u16::try_from(cpus.len().max(1)).unwrap_or(u16::MAX).min(CORES_MAX);
    }
    for warning in check_machine(&mut config)? {
        Event::Warning(&warning).log();
    }

    // Before any set or hash is made: clients must not be able to choose members that collide.
    seed_hashes(os_seed().map_err(resource("random numbers"))?);
    let data = DataDir::open(&config.dir).map_err(StartupError::DataDir)?;
    let mut id = [0; 16];
    os_entropy(&mut id).map_err(resource("random numbers"))?;
    let wanted = Layout {
        id: u128::from_le_bytes(id),
        cores: config.cores,
    };
    let layout = data.layout(wanted).map_err(StartupError::Layout)?;
    if layout.cores != config.cores {
        Event::CoresAsLaidOut {
            wanted: config.cores,
            cores: layout.cores,
        }
        .log();
        config.cores = layout.cores;
    }
    let cores = layout.cores;
    let was_served = data.was_served().map_err(StartupError::Disk)?;
    let found = ClusterFile::open(&mut config, layout.id, cores)?;
    let (cluster, listeners) = sockets::bind_all(&config, cores, layout.id)?;
    let cluster = Arc::new(cluster);
    let peer_sockets = match &config.cluster {
        Some(told) => sockets::bind_for_peers(&config, cores, told.listen_port)?,
        None => Vec::new(),
    };
    let kept = match found {
        Found::Alone => None,
        Found::Member(file) => {
            check_joins(&config, &file)?;
            Some(file)
        }
        Found::Joins => match join(&config, layout, was_served)? {
            Some(file) => Some(Arc::new(file)),
            None => return Ok(ExitCode::SUCCESS),
        },
    };
    let view = kept.as_ref().map(|kept| ClusterView::new(kept.list()));
    let mut peer_sockets = peer_sockets.into_iter();
    let process = Arc::new(ProcessControl::default());
    let open_total = Arc::new(AtomicUsize::new(0));
    let worker = SegmentWorker::start().map_err(resource("a thread"))?;
    let file_worker = StoreWorker::start().map_err(resource("a thread"))?;
    let identity = ServerIdentity::of_this_process(cluster.any_slot_port, SystemClock.tick())
        .map_err(resource("random numbers"))?;
    let (ready, outcomes) = mpsc::channel();
    let mut addresses: Vec<SocketAddr> = listeners.iter().flatten().map(|at| at.address).collect();
    let ports = mesh(usize::from(cores)).map_err(resource("eventfds"))?;
    let interest = Arc::new(Interest::new(usize::from(cores)));
    let spanning_numbers = Arc::new(AtomicU64::new(1));
    let mut running = Vec::new();
    for (number, (port, listeners)) in ports.into_iter().zip(listeners).enumerate() {
        let core = CoreId(number as u16);
        let path = data.core_log(core).map_err(StartupError::Disk)?;
        let dir = SegmentDir::open(&path, DirectIo::Preferred).map_err(StartupError::Disk)?;
        let control = CoreControl {
            process: process.clone(),
            ..CoreControl::default()
        };
        let wake = port.wake_fd().map_err(resource("an eventfd"))?;
        let (go, wait_for_go) = mpsc::channel();
        let segments = worker.client_maker(core, dir.clone());
        let path = data.core_store(core).map_err(StartupError::Disk)?;
        let files_dir = StoreDir::new(&path, DirectIo::Preferred);
        let files = file_worker.client_maker(core, files_dir.clone());
        let snapshots = match &view {
            Some(_) => {
                let path = data.core_snapshot(core).map_err(StartupError::Disk)?;
                Some(SnapshotDir::open(&path).map_err(StartupError::Disk)?)
            }
            None => None,
        };
        let plan = CorePlan {
            core,
            config: config.clone(),
            dir,
            files_dir,
            snapshots,
            was_served,
            files: Box::new(files),
            identity: identity.clone(),
            cluster: cluster.clone(),
            view: view.clone(),
            kept: kept.clone(),
            peer_socket: peer_sockets.next(),
            mesh: port,
            interest: interest.clone(),
            listeners,
            open_total: open_total.clone(),
            segments: Box::new(segments),
            control: control.clone(),
            log_control: log_control.clone(),
            ready: ready.clone(),
            go: wait_for_go,
            spanning_numbers: spanning_numbers.clone(),
        };
        let thread = thread::spawn(&format!("core-{core}"), cpu_of(core)?, move || run_core(plan));
        running.push(RunningCore {
            thread: thread.map_err(resource("a thread"))?,
            control,
            wake,
            go,
        });
    }
    // First every core opens its log; then each gets what it lacks of transactions over several; then they listen, all at
    // once, as each needs the others.
    let mut found = Vec::new();
    for _ in 0..3 {
        for _ in &running {
            match next_outcome(&outcomes, &running) {
                Some(Ok(Step::Opened(of_core))) => found.push(of_core),
                Some(Ok(Step::Whole | Step::Listening)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(ExitCode::FAILURE),
            }
        }
        // The log of each core is durable: from now on none may be missing.
        data.set_served().map_err(StartupError::Disk)?;
        let missing = recovery::missing(&found);
        spanning_numbers.fetch_max(recovery::next_number(&found), Ordering::Relaxed);
        found.clear();
        for core in &running {
            // A core that is gone has told why, or ends the process.
            let _ = core.go.send(missing.clone());
        }
    }
    addresses.sort_by_key(|address| address.port() != cluster.any_slot_port);
    for address in addresses {
        Event::Listening { address }.log();
    }
    let admin_ready = Arc::new(AtomicBool::new(true));
    let admin = start_admin(&config, &running, admin_ready.clone(), cluster.clone(), view.clone());
    let refused = match admin {
        // The cores serve already: they end in order, and the reason is told after that.
        Err(error) => {
            signal::raise_term();
            Err(error)
        }
        Ok(admin) => Ok(admin),
    };

    watch_until_signal(&running)?;
    Event::Stopping { reason: "signal" }.log();
    admin_ready.store(false, Ordering::Release);
    process.stop.store(true, Ordering::Relaxed);
    running.iter().for_each(|core| wake::wake(&core.wake));
    // An executor may sleep by mistake at any time.
    while !running.iter().all(|core| core.thread.is_finished()) {
        running.iter().for_each(RunningCore::nudge);
        // Another signal changes nothing: what is acknowledged is being sealed.
        signal::wait_for_ending_signal(LOOK_EVERY).map_err(resource("signal handling"))?;
    }
    let mut ended = true;
    for core in running {
        ended &= core.thread.join().is_ok();
    }
    if let Some(admin) = refused? {
        admin.stop();
    }
    drop(data);
    if process.removed.load(Ordering::Relaxed) {
        return Err(StartupError::Removed { dir: config.dir });
    }
    if ended {
        Event::Stopped.log();
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::FAILURE)
    }
}

/// Makes this node one of the cluster that `--join` names. `None`: the process is to end before that.
fn join(config: &Config, layout: Layout, was_served: bool) -> Result<Option<ClusterFile>, StartupError> {
    let Some(ClusterConfig {
        begin: Begin::Join { seeds, own },
        listen_port,
        secret,
    }) = &config.cluster
    else {
        return Ok(None);
    };
    if was_served {
        // It has keys of its own, which are not the cluster's.
        return Err(StartupError::OtherCluster {
            dir: config.dir.clone(),
        });
    }
    let request = JoinRequest {
        incarnation: layout.id,
        host: own.host.clone(),
        address: host_names::find(&own.host)?,
        port: own.port,
        peer_port_base: own.peer_port,
        cores: layout.cores,
        zone: config.zone.clone(),
    };
    let Some(list) = ask::join(seeds, &request, secret, config.peer_tls.as_ref())? else {
        return Ok(None);
    };
    let (node, nodes) = (list.me, list.nodes.len());
    let file = ClusterFile::create(config, *listen_port, layout.id, list)?;
    Event::Joined { node, nodes }.log();
    Ok(Some(file))
}

/// `--join` beside what the node knows of its cluster must name the same one, and may know more of it.
fn check_joins(config: &Config, file: &ClusterFile) -> Result<(), StartupError> {
    let Some(ClusterConfig {
        begin: Begin::Join { seeds, .. },
        ..
    }) = &config.cluster
    else {
        return Ok(());
    };
    match ask::look_at(seeds, &file.list(), file.incarnation(), config.peer_tls.as_ref())? {
        AtSeeds::Nothing => Ok(()),
        AtSeeds::Another => Err(StartupError::OtherCluster {
            dir: config.dir.clone(),
        }),
        AtSeeds::Newer(list) => file.keep(&list).map_err(|error| StartupError::Resource {
            what: "the newer list of nodes",
            error,
        }),
    }
}

/// What a core says next of its start; `None`: one has ended without a word. Nobody counts turns yet, so all cores are nudged all
/// the time: an executor may sleep by mistake as soon as it runs.
fn next_outcome(
    outcomes: &mpsc::Receiver<Result<Step, StartupError>>,
    running: &[RunningCore],
) -> Option<Result<Step, StartupError>> {
    loop {
        // Before the look at the outcomes: what has ended has said all it had to say.
        let ended = running.iter().any(|core| core.thread.is_finished());
        match outcomes.recv_timeout(LOOK_EVERY) {
            Ok(outcome) => return Some(outcome),
            Err(_) if ended => return None,
            Err(_) => running.iter().for_each(RunningCore::nudge),
        }
    }
}

/// Waits for the signal to end; meanwhile wakes and names cores that do not turn.
fn watch_until_signal(running: &[RunningCore]) -> Result<(), StartupError> {
    let mut watch = CoreWatch::new(running.len(), SystemClock.tick());
    let signal = || signal::wait_for_ending_signal(LOOK_EVERY).map_err(resource("signal handling"));
    while signal()?.is_none() {
        let now = SystemClock.tick();
        for (number, core) in running.iter().enumerate() {
            let id = CoreId(number as u16);
            let turns = core.control.turns.load(Ordering::Relaxed);
            let resting = core.control.resting.load(Ordering::Relaxed);
            let finding = watch.look(id, turns, resting, now);
            match finding {
                Some(Finding::Stuck(time)) => Event::CoreStuck { core: id, time }.log(),
                Some(Finding::Back(time)) => Event::CoreBack { core: id, time }.log(),
                Some(Finding::Nudge) | None => {}
            }
            if matches!(finding, Some(Finding::Nudge | Finding::Stuck(_))) {
                core.nudge();
            }
        }
    }
    Ok(())
}

/// A core as the main thread knows it.
struct RunningCore {
    thread: std::thread::JoinHandle<()>,
    control: CoreControl,
    wake: OwnedFd,
    go: mpsc::Sender<Vec<Missing>>,
}

impl RunningCore {
    /// Wakes its executor, if that has run at all.
    fn nudge(&self) {
        if let Some(waker) = self.control.nudge.get() {
            waker.wake_by_ref();
        }
    }
}

/// A core's thread from beginning to end.
fn run_core(plan: CorePlan) {
    let core = plan.core;
    let _guard = AbortOnPanic;
    if let Err(failure) = core_thread::run(plan) {
        Event::Fatal {
            core,
            failure: &failure,
        }
        .log();
        // Nothing more may be acknowledged, and nothing is left to be saved in order.
        std::process::abort();
    }
}

/// Ends the process when a core's thread panics, in builds whose panics unwind too: the others would go on without it, and nobody
/// would start it again.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// The processor a core runs on: cores are spread over those this process may use.
fn cpu_of(core: CoreId) -> Result<Option<CpuId>, StartupError> {
    let cpus = thread::allowed_cpus().map_err(resource("the list of processors"))?;
    Ok((!cpus.is_empty()).then(|| cpus[usize::from(core.0) % cpus.len()]))
}

fn start_admin(
    config: &Config,
    cores: &[RunningCore],
    ready: Arc<AtomicBool>,
    map: Arc<ClusterMap>,
    view: Option<ClusterView>,
) -> Result<Option<admin_socket::AdminSocket>, StartupError> {
    let Some(port) = config.admin_port else { return Ok(None) };
    let cores = cores.iter().map(|core| {
        let wake = core.wake.try_clone().map_err(resource("an eventfd"))?;
        Ok(CoreHandle {
            slot: core.control.metrics.clone(),
            wake: Box::new(move || wake::wake(&wake)),
        })
    });
    let admin = Admin {
        metrics_prefix: config.metrics_prefix.clone(),
        memory_bytes_max: config.settings.memory_bytes_max,
        started_at: SystemClock.tick(),
        cores: cores.collect::<Result<_, StartupError>>()?,
        ready,
        map,
        view,
    };
    let socket = admin::serve(port, admin)?;
    Event::AdminListening {
        address: socket.address(),
    }
    .log();
    Ok(Some(socket))
}
