//! `slotcore-sim run`: episodes, one after the other, until enough power was cut or enough time has passed.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use slotcore_rt::clock::{Clock as _, SystemClock};
use slotcore_rt::rng;
use slotcore_sim::core_disk;
use slotcore_sim::episode::{self, Report};
use slotcore_sim::group_episode;
use slotcore_sim::machine::Plant;

/// Everything met so far: by logs alone, by groups of one replica, by groups of three.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    logs: Report,
    alone: group_episode::Report,
    three: group_episode::Report,
}

impl Total {
    fn cuts(&self) -> u64 {
        self.logs.cuts + self.alone.cuts + self.three.cuts
    }

    /// The three episodes of one seed.
    fn add(&mut self, seed: u64) -> Result<(), String> {
        self.logs += episode::run(seed, Plant::None)?;
        self.alone +=
            group_episode::alone(seed, core_disk::Plant::None).map_err(|what| format!("one replica: {what}"))?;
        self.three +=
            group_episode::three(seed, core_disk::Plant::None).map_err(|what| format!("three replicas: {what}"))?;
        Ok(())
    }
}

/// The seed from which `--seconds` begins its first half, so that every run covers the same ground once.
const FIXED_SEED: u64 = 1;

/// Simulates Slotcore's core on a disk that fails.
#[derive(Parser)]
#[command(name = "slotcore-sim")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Cuts the power again and again and checks what is left.
    Run(Run),
}

#[derive(Args)]
struct Run {
    /// Seed of the first episodes; the following ones count up. Without it: a fresh one, printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Stop after the seed with which this many power cuts are reached.
    #[arg(long, default_value_t = 1_000)]
    cuts: u64,
    /// Go on for so many seconds instead: half of them over fixed seeds, half over fresh ones.
    #[arg(long, conflicts_with_all = ["seed", "cuts"])]
    seconds: Option<u64>,
}

/// The episode under way, for whoever panics.
static SEED: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    let Command::Run(run) = Cli::parse().command;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        hook(info);
        eprintln!("reproduce: {}", reproducer(SEED.load(Ordering::Relaxed)));
    }));
    let fresh = || rng::os_seed().expect("a booted system gives entropy") >> 1;
    let started = SystemClock.tick();
    let passed = || SystemClock.tick().since(started);
    let mut total = Total::default();
    let result = match run.seconds.map(Duration::from_secs) {
        Some(time) => go_on(FIXED_SEED, &mut total, |_| passed() < time / 2)
            .and_then(|()| go_on(fresh(), &mut total, |_| passed() < time)),
        None => go_on(run.seed.unwrap_or_else(fresh), &mut total, |total| {
            total.cuts() < run.cuts
        }),
    };
    println!("{total:?} in {:.1} s", passed().as_secs_f64());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((seed, what)) => {
            eprintln!("FAILED: {what}\nreproduce: {}", reproducer(seed));
            ExitCode::FAILURE
        }
    }
}

/// Episodes from `seed` on while `more` says so, those of one seed at least.
fn go_on(seed: u64, total: &mut Total, more: impl Fn(&Total) -> bool) -> Result<(), (u64, String)> {
    println!("episodes from seed {seed}");
    let mut seed = seed;
    loop {
        SEED.store(seed, Ordering::Relaxed);
        total.add(seed).map_err(|what| (seed, what))?;
        seed += 1;
        if !more(total) {
            return Ok(());
        }
    }
}

fn reproducer(seed: u64) -> String {
    format!("slotcore-sim run --seed {seed} --cuts 1")
}
