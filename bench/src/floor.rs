//! `slotcore-bench floor`: what this machine can do at most, so that a rate can be given as a part of it.

mod disk;
mod echo;
mod memory;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use echo::echo;

use crate::peer::{CLIENT_CPU, SERVER_CPU};

/// Connections of the echo, as in the comparison.
const CONNECTIONS: usize = 50;
/// Pipelines of the echo.
const PIPELINES: [usize; 3] = [1, 16, 64];

/// What `floor` is asked to do.
#[derive(clap::Args)]
pub struct Options {
    /// Directory for the file, on the disk to be measured.
    #[arg(long, default_value = "target/bench-data")]
    dir: PathBuf,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

/// Measures and prints the tables.
///
/// # Errors
/// No io_uring, no O_DIRECT.
pub fn run(options: &Options) -> io::Result<()> {
    let time = Duration::try_from_secs_f64(options.seconds).map_err(io::Error::other)?;
    println!(
        "Echo over loopback by io_uring, 57 bytes each way, server on processor {}, client on {}:\n\n\
         | connections | pipeline | echoes/s | p50 us | server CPU us/echo |\n|---|---|---|---|---|",
        SERVER_CPU.0, CLIENT_CPU.0
    );
    for (connections, pipeline) in PIPELINES.map(|p| (CONNECTIONS, p)).into_iter().chain([(1, 1)]) {
        let echo = echo(connections, pipeline, time)?;
        println!(
            "| {connections} | {pipeline} | {:.0} | {:.0} | {:.2} |",
            echo.rate, echo.p50_us, echo.server_cpu_us
        );
    }
    println!(
        "\nDurable appends of 4 KiB to a file of zeros, O_DIRECT:\n\n\
         | depth | RWF_DSYNC per s | p50 us | p99 us | write, then fdatasync per s | p50 us | p99 us |\n|---|---|---|---|---|---|---|"
    );
    for depth in disk::DEPTHS {
        let [with_write, after_write] = disk::appends(&options.dir, depth, time)?;
        println!(
            "| {depth} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            with_write.rate,
            with_write.p50_us,
            with_write.p99_us,
            after_write.rate,
            after_write.p50_us,
            after_write.p99_us
        );
    }
    let [get, set] = memory::loops(memory::KEYS, time)?;
    println!(
        "\nIn memory, {} keys, one thread, 64 requests at a time, parse, probe a flat table, copy:\n\n\
         | request | ns |\n|---|---|\n| GET | {get:.0} |\n| SET | {set:.0} |",
        memory::KEYS
    );
    Ok(())
}
