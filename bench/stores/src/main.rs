//! `slotcore-bench-stores`: Slotcore's engine beside fjall and RocksDB, in one process each after the other, without a
//! network: point reads hot and cold, overwrites, a walk, space. How to read it: `docs/benchmarking.md`, "Stores".

#![allow(clippy::disallowed_methods, reason = "a benchmark drives real files and clocks")]

mod contestant;
mod fjall;
mod measure;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod slotcore;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use contestant::{Contestant, Failure};
use measure::{Figures, Sizes, measure};

#[derive(Parser)]
#[command(about = "Measures Slotcore's engine beside other embedded stores")]
struct Options {
    /// Keys that are loaded.
    #[arg(long, default_value_t = 2_000_000)]
    keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Memory of each store, in MiB.
    #[arg(long, default_value_t = 64)]
    memory_mib: u64,
    /// Rounds; the tables hold medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Directory for data, on the disk to be measured; what the run leaves in it is removed.
    #[arg(long, default_value = "target/bench-stores")]
    dir: PathBuf,
    /// Write the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

type Open = fn(&Path, u64) -> Result<Box<dyn Contestant>, Failure>;

/// In the order of the table; ours first.
const CONTESTANTS: &[Open] = &[
    |dir, memory| Ok(Box::new(slotcore::Slotcore::open(dir, memory)?)),
    |dir, memory| Ok(Box::new(fjall::Fjall::open(dir, memory)?)),
    #[cfg(feature = "rocksdb")]
    |dir, memory| Ok(Box::new(rocksdb::RocksDb::open(dir, memory, rocksdb::Tuning::Default)?)),
    #[cfg(feature = "rocksdb")]
    |dir, memory| Ok(Box::new(rocksdb::RocksDb::open(dir, memory, rocksdb::Tuning::Tuned)?)),
];

fn run(options: &Options) -> Result<(), Failure> {
    let sizes = Sizes {
        keys: options.keys,
        value_bytes: options.value_bytes,
    };
    let mut found: Vec<Vec<Figures>> = Vec::new();
    for round in 0..options.rounds.max(1) {
        for (number, open) in CONTESTANTS.iter().enumerate() {
            let dir = options.dir.join(format!("{round}-{number}"));
            fs::create_dir_all(&dir)?;
            let mut store = open(&dir, options.memory_mib << 20)?;
            let figures = measure(store.as_mut(), &sizes, &dir)?;
            eprintln!("round {} of {}: {}", round + 1, options.rounds, figures.name);
            drop(store);
            fs::remove_dir_all(&dir)?;
            if found.len() <= number {
                found.push(Vec::new());
            }
            found[number].push(figures);
        }
    }
    let medians: Vec<Figures> = found.iter().map(|rounds| measure::median(rounds)).collect();
    print!(
        "{}",
        measure::table(&medians, &sizes, options.memory_mib, options.rounds)
    );
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&medians)? + "\n")?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slotcore-bench-stores: {error}");
            ExitCode::FAILURE
        }
    }
}
