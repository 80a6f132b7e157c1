//! `slotcore-sim run`: episodes, one after the other, until enough power was cut or enough time has passed.
//! `slotcore-sim cluster`: long lives of clusters, one seed each.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use slotcore_rt::clock::{Clock as _, SystemClock};
use slotcore_rt::rng;
use slotcore_sim::cluster_episode;
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
    /// Lets clusters live for minutes to hours each, with everything going wrong, and checks them at every step.
    Cluster(Cluster),
}

#[derive(Args)]
struct Cluster {
    /// Seed of the first cluster; the following ones count up. Without it: a fresh one, printed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many clusters.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// How long each lives, in seconds of virtual time. A thousand of 360 seconds are a hundred hours.
    #[arg(long, default_value_t = 360)]
    seconds_each: u64,
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
    match Cli::parse().command {
        Command::Run(run) => cut_power(&run),
        Command::Cluster(cluster) => let_live(&cluster),
    }
}

fn on_panic(reproducer: impl Fn(u64) -> String + Send + Sync + 'static) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        hook(info);
        eprintln!("reproduce: {}", reproducer(SEED.load(Ordering::Relaxed)));
    }));
}

fn fresh() -> u64 {
    rng::os_seed().expect("a booted system gives entropy") >> 1
}

/// After so many clusters there is a line of totals.
const TOTALS_EVERY: u64 = 25;

fn let_live(asked: &Cluster) -> ExitCode {
    let seconds = asked.seconds_each;
    let reproducer = move |seed| format!("slotcore-sim cluster --seed {seed} --seeds 1 --seconds-each {seconds}");
    on_panic(reproducer);
    let first = asked.seed.unwrap_or_else(fresh);
    println!("clusters from seed {first}");
    let started = SystemClock.tick();
    let (mut total, mut failed) = (cluster_episode::Report::default(), 0);
    for count in 1..=asked.seeds {
        let seed = first + count - 1;
        SEED.store(seed, Ordering::Relaxed);
        match cluster_episode::live(seed, Duration::from_secs(seconds), core_disk::Plant::None) {
            Ok(report) => total += report,
            Err(what) => {
                failed += 1;
                eprintln!("FAILED: {what}\nreproduce: {}", reproducer(seed));
            }
        }
        if count % TOTALS_EVERY == 0 || count == asked.seeds {
            let hours = total.simulated.as_secs_f64() / 3600.0;
            let real = SystemClock.tick().since(started).as_secs_f64();
            println!("{count} seeds, {failed} failed, {hours:.2} cluster-hours in {real:.0} s: {total:?}");
        }
    }
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn cut_power(run: &Run) -> ExitCode {
    on_panic(reproducer);
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
