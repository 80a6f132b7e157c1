//! `slotcore-bench floor`: what this machine can do at most, so that a rate can be given as a part of it.

mod bandwidth;
mod disk;
mod echo;
mod epoll;
mod memory;
mod reads;

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use echo::{By, echo};

use crate::machine::Machine;
use crate::output;
use crate::peer::{CLIENT_CPU, SERVER_CPU};

/// Connections of the echo, as in the comparison.
const CONNECTIONS: usize = 50;
/// Pipelines of the echo.
const PIPELINES: [usize; 3] = [1, 16, 64];
/// Bytes in a MiB.
const MIB: usize = 1 << 20;

/// What `floor` is asked to do.
#[derive(clap::Args)]
pub struct Options {
    /// Directory for the files, on the disk to be measured.
    #[arg(long, default_value = "target/bench-data")]
    dir: PathBuf,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Size of the file that is read at random, in MiB: above what the disk's own cache holds.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    read_mib: u32,
    /// Size of the memory that is read and copied, in MiB: far above any cache. Twice as much is taken.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    memory_mib: u32,
    /// Write the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// All floors.
#[derive(Serialize)]
struct Floors {
    machine: Machine,
    echoes: Vec<EchoFloor>,
    appends: Vec<AppendFloor>,
    reads: Vec<reads::Reads>,
    loops: Loops,
    bandwidth: bandwidth::Bandwidth,
}

#[derive(Serialize)]
struct EchoFloor {
    by: &'static str,
    connections: usize,
    pipeline: usize,
    rate: f64,
    p50_us: f64,
    server_cpu_us: f64,
}

#[derive(Serialize)]
struct AppendFloor {
    depth: usize,
    with_write: disk::Appends,
    after_write: disk::Appends,
}

#[derive(Serialize)]
struct Loops {
    get_ns: f64,
    set_ns: f64,
}

/// Measures, prints each table as soon as it is known, and writes all of them as JSON if asked.
///
/// # Errors
/// No io_uring, no O_DIRECT, a full disk, a result that cannot be written.
pub fn run(options: &Options) -> io::Result<()> {
    let time = Duration::try_from_secs_f64(options.seconds).map_err(io::Error::other)?;
    let echoes = echoes(time)?;
    output::print(&echo_table(&echoes))?;
    let appends = appends(options, time)?;
    output::print(&append_table(&appends))?;
    let reads = reads::reads(&options.dir, options.read_mib as usize * MIB, time)?;
    output::print(&read_table(options.read_mib, &reads))?;
    let [get_ns, set_ns] = memory::loops(memory::KEYS, time)?;
    let loops = Loops { get_ns, set_ns };
    let bandwidth = bandwidth::bandwidth(options.memory_mib as usize * MIB, time);
    output::print(&memory_tables(&loops, &bandwidth))?;
    let Some(path) = &options.json else { return Ok(()) };
    let floors = Floors {
        machine: Machine::here(&options.dir),
        echoes,
        appends,
        reads,
        loops,
        bandwidth,
    };
    let text = serde_json::to_string_pretty(&floors).map_err(io::Error::other)?;
    output::save(path, &(text + "\n"))
}

fn echoes(time: Duration) -> io::Result<Vec<EchoFloor>> {
    let shapes = PIPELINES.map(|pipeline| (CONNECTIONS, pipeline));
    let mut found = Vec::new();
    for (by, name) in [(By::Ring, "io_uring"), (By::Epoll, "epoll")] {
        for (connections, pipeline) in shapes.into_iter().chain([(1, 1)]) {
            let echo = echo(by, connections, pipeline, time)?;
            found.push(EchoFloor {
                by: name,
                connections,
                pipeline,
                rate: echo.rate,
                p50_us: echo.p50_us,
                server_cpu_us: echo.server_cpu_us,
            });
        }
    }
    Ok(found)
}

fn echo_table(echoes: &[EchoFloor]) -> String {
    let mut out = format!(
        "Echo over loopback, 57 bytes each way, server on processor {}, client on {}:\n\n\
         | server | connections | pipeline | echoes/s | p50 us | server CPU us/echo |\n|---|---|---|---|---|---|\n",
        SERVER_CPU.0, CLIENT_CPU.0
    );
    for e in echoes {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.0} | {:.0} | {:.2} |",
            e.by, e.connections, e.pipeline, e.rate, e.p50_us, e.server_cpu_us
        );
    }
    out
}

fn appends(options: &Options, time: Duration) -> io::Result<Vec<AppendFloor>> {
    let each = disk::DEPTHS.map(|depth| {
        let [with_write, after_write] = disk::appends(&options.dir, depth, time)?;
        Ok(AppendFloor {
            depth,
            with_write,
            after_write,
        })
    });
    each.into_iter().collect()
}

fn append_table(appends: &[AppendFloor]) -> String {
    let mut out = "\nDurable appends of 4 KiB to a file of zeros, O_DIRECT:\n\n\
         | depth | RWF_DSYNC per s | p50 us | p99 us | write, then fdatasync per s | p50 us | p99 us |\n|---|---|---|---|---|---|---|\n"
        .to_owned();
    for AppendFloor {
        depth,
        with_write: a,
        after_write: b,
    } in appends
    {
        let _ = writeln!(
            out,
            "| {depth} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            a.rate, a.p50_us, a.p99_us, b.rate, b.p50_us, b.p99_us
        );
    }
    out
}

fn read_table(file_mib: u32, reads: &[reads::Reads]) -> String {
    let mut out = format!(
        "\nRandom reads of 4 KiB from a file of {file_mib} MiB, O_DIRECT:\n\n\
         | depth | reads/s | p50 us | p99 us |\n|---|---|---|---|\n"
    );
    for r in reads {
        let _ = writeln!(
            out,
            "| {} | {:.0} | {:.0} | {:.0} |",
            r.depth, r.rate, r.p50_us, r.p99_us
        );
    }
    out
}

fn memory_tables(loops: &Loops, bandwidth: &bandwidth::Bandwidth) -> String {
    format!(
        "\nIn memory, {} keys, one thread, 64 requests at a time, parse, probe a flat table, copy:\n\n\
         | request | ns |\n|---|---|\n| GET | {:.0} |\n| SET | {:.0} |\n\
         \nMemory of one thread, far above any cache:\n\n\
         | | GB/s |\n|---|---|\n| read | {:.1} |\n| copy | {:.1} |\n",
        memory::KEYS,
        loops.get_ns,
        loops.set_ns,
        bandwidth.read_gb_s,
        bandwidth.copy_gb_s
    )
}
