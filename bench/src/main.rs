//! Load, floors, side-by-side comparison, instruction counts, and a loop that kills the server under load.
//! How to use them: `docs/benchmarking.md`.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark drives real processes, sockets and clocks"
)]

mod ask;
mod compare;
mod cpu_time;
mod etcd;
mod floor;
mod kill_loop;
mod larger;
mod load;
mod machine;
mod output;
mod peer;
mod profile;
mod report;
mod scale;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "slotcore-bench", about = "Measures Slotcore beside Redis, and hurts it")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts slotcore and its peers in turn, drives all with the same requests, prints tables of medians.
    Compare(compare::Options),
    /// Sends requests to a running server and measures how it answers.
    Load(load::Options),
    /// Measures what this machine can do at most: network, disk, memory.
    Floor(floor::Options),
    /// Measures a data set ten times the memory beside one in memory, and what the disk does for it.
    Larger(larger::Options),
    /// Counts the instructions of each command and shows what has changed.
    Profile(profile::Options),
    /// Makes a page with pictures of results, and the tables of other pages.
    Report(report::Options),
    /// Works out what thousands of nodes would cost, and simulates their placement, heartbeats and failover.
    Scale(scale::Options),
    /// Kills the server under load again and again; every acknowledged write must be there afterwards.
    KillLoop(kill_loop::Options),
}

/// Where things are.
#[derive(clap::Args, Clone)]
struct Place {
    /// The release binary to measure.
    #[arg(long, default_value = "target/release/slotcore")]
    server: PathBuf,
    /// Directory for data, on the disk to be measured; emptied and removed by the run.
    #[arg(long, default_value = "target/bench-data")]
    dir: PathBuf,
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Compare(options) => compare::run(&options),
        Command::Load(options) => load::run(&options),
        Command::Floor(options) => floor::run(&options),
        Command::Larger(options) => larger::run(&options),
        Command::Profile(options) => profile::run(&options),
        Command::Report(options) => report::run(&options),
        Command::Scale(options) => scale::run(&options),
        Command::KillLoop(options) => kill_loop::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slotcore-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
