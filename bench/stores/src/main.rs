//! `slotcore-bench-stores`: Slotcore's engine beside fjall and RocksDB, in one process each after the other, without a
//! network: point reads hot and cold, overwrites, a walk, space. How to read it: `docs/benchmarking.md`, "Stores".

#![allow(clippy::disallowed_methods, reason = "a benchmark drives real files and clocks")]

mod contestant;
mod fjall;
mod measure;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod shown;
mod slotcore;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use contestant::{Contestant, Failure};
use measure::{Figures, Sizes, measure};
use shown::Shown;

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
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// One round of a hundredth of the keys: shows that everything runs, measures nothing.
    #[arg(long)]
    quick: bool,
    /// Directory for data, on the disk to be measured; what the run leaves in it is removed.
    #[arg(long, default_value = "target/bench-stores")]
    dir: PathBuf,
    /// Write the figures and their table to this file, too: `slotcore-bench report` shows it.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How many times less a quick run does.
const QUICK_PART: u64 = 100;

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
    let (keys, rounds) = match options.quick {
        true => ((options.keys / QUICK_PART).max(1), 1),
        false => (options.keys, options.rounds),
    };
    let sizes = Sizes {
        keys,
        value_bytes: options.value_bytes,
    };
    let mut found: Vec<Vec<Figures>> = Vec::new();
    for round in 0..rounds {
        for (number, open) in CONTESTANTS.iter().enumerate() {
            let dir = options.dir.join(format!("{round}-{number}"));
            // Of a run that was cut short.
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir).map_err(|e| format!("cannot make the directory {}: {e}", dir.display()))?;
            let mut store = open(&dir, options.memory_mib << 20)?;
            let figures = measure(store.as_mut(), &sizes, &dir)?;
            eprintln!("round {} of {}: {}", round + 1, rounds, figures.name);
            drop(store);
            fs::remove_dir_all(&dir)?;
            if found.len() <= number {
                found.push(Vec::new());
            }
            found[number].push(figures);
        }
    }
    let medians: Vec<Figures> = found.iter().map(|rounds| measure::median(rounds)).collect();
    let shown = Shown::new(options, &sizes, rounds, medians);
    print!("{}", shown.text());
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&shown)? + "\n";
        fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
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
