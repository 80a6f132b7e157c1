//! The `slotcore` binary.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use slotcore_engine::collections::seed_hashes;
use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::disk::{DataDir, DirectIo, SegmentDir, SegmentWorker};
use slotcore_rt::ids::CoreId;
use slotcore_rt::rng::os_seed;
use slotcore_rt::thread::CpuId;
use slotcore_rt::{admin_socket, signal, thread, wake};
use slotcore_server::admin::{self, Admin, CoreHandle};
use slotcore_server::commands::ServerIdentity;
use slotcore_server::config::{Config, ConfigError, Invocation, from_command_line};
use slotcore_server::core_loop::CoreControl;
use slotcore_server::core_thread::{self, CorePlan, CoreReady};
use slotcore_server::logging::{self, Event};
use slotcore_server::startup::{StartupError, check_machine};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match from_command_line(std::env::args_os()) {
        Ok(Invocation::Server(config)) => *config,
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
    for warning in check_machine(&mut config)? {
        Event::Warning(&warning).log();
    }

    // Before any set or hash is made: clients must not be able to choose members that collide.
    seed_hashes(os_seed().map_err(resource("random numbers"))?);
    let data = DataDir::open(&config.dir).map_err(StartupError::DataDir)?;
    let core = CoreId(0);
    let path = data.core_log(core).map_err(StartupError::Disk)?;
    let dir = SegmentDir::open(&path, DirectIo::Preferred).map_err(StartupError::Disk)?;
    let worker = SegmentWorker::start().map_err(resource("a thread"))?;
    let control = CoreControl::default();
    let (ready, outcome) = mpsc::channel();
    let segments = worker.client_maker(core, dir.clone());
    let plan = CorePlan {
        core,
        config: config.clone(),
        dir,
        identity: ServerIdentity::of_this_process(config.port, SystemClock.tick())
            .map_err(resource("random numbers"))?,
        segments: Box::new(segments),
        control: control.clone(),
        log_control,
        ready,
    };
    let cpu = cpu_of(core)?;
    let running = thread::spawn("core-0", cpu, move || {
        let outcome = core_thread::run(plan);
        if let Err(failure) = &outcome {
            Event::Fatal(failure).log();
            // Nothing more may be acknowledged, and nothing is left to be saved in order.
            std::process::abort();
        }
        signal::raise_term();
    })
    .map_err(resource("a thread"))?;
    let core = match outcome.recv() {
        Ok(Ok(core)) => core,
        Ok(Err(error)) => return Err(error),
        Err(_) => return Ok(ExitCode::FAILURE),
    };
    for address in &core.addresses {
        Event::Listening { address: *address }.log();
    }
    let admin_ready = Arc::new(AtomicBool::new(true));
    let admin = start_admin(&config, &control, &core, admin_ready.clone());
    let refused = match admin {
        // The core serves already: it ends in order, and the reason is told after that.
        Err(error) => {
            signal::raise_term();
            Err(error)
        }
        Ok(admin) => Ok(admin),
    };

    signal::wait_for_ending_signal().map_err(resource("signal handling"))?;
    admin_ready.store(false, Ordering::Release);
    control.stop.store(true, Ordering::Relaxed);
    wake::wake(&core.wake);
    let ended = running.join();
    if let Some(admin) = refused? {
        admin.stop();
    }
    drop(data);
    match ended {
        Ok(()) => {
            Event::Stopped.log();
            Ok(ExitCode::SUCCESS)
        }
        Err(_) => Ok(ExitCode::FAILURE),
    }
}

/// The processor a core runs on: cores are spread over those this process may use.
fn cpu_of(core: CoreId) -> Result<Option<CpuId>, StartupError> {
    let cpus = thread::allowed_cpus().map_err(resource("the list of processors"))?;
    Ok((!cpus.is_empty()).then(|| cpus[usize::from(core.0) % cpus.len()]))
}

fn start_admin(
    config: &Config,
    control: &CoreControl,
    core: &CoreReady,
    ready: Arc<AtomicBool>,
) -> Result<Option<admin_socket::AdminSocket>, StartupError> {
    let Some(port) = config.admin_port else { return Ok(None) };
    let wake = core.wake.try_clone().map_err(resource("an eventfd"))?;
    let admin = Admin {
        metrics_prefix: config.metrics_prefix.clone(),
        memory_bytes_max: config.settings.memory_bytes_max,
        started_at: SystemClock.tick(),
        cores: vec![CoreHandle {
            slot: control.metrics.clone(),
            wake: Box::new(move || wake::wake(&wake)),
        }],
        ready,
    };
    let socket = admin::serve(port, admin)?;
    Event::AdminListening {
        address: socket.address(),
    }
    .log();
    Ok(Some(socket))
}
