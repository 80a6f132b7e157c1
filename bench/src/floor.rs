//! `slotcore-bench floor`: what this machine can do at most, so that a rate can be given as a part of it.

mod bandwidth;
mod disk;
mod echo;
mod epoll;
mod memory;
pub mod reads;
mod wake;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use echo::{By, echo};

use crate::machine::Machine;
use crate::machine::stolen::Watch;
use crate::output;
use crate::peer::{CLIENT_CPU, SERVER_CPU};
use crate::report::tables::{self, Plain, Tables};

/// Connections of the echo, as in the comparison.
const CONNECTIONS: usize = 50;
/// Pipelines of the echo.
const PIPELINES: [usize; 3] = [1, 16, 64];
/// Figures of shorter measurements say nothing.
const GOOD_SECONDS: f64 = 0.5;
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
    #[serde(flatten)]
    shown: Tables,
    machine: Machine,
    echoes: Vec<EchoFloor>,
    wakes: wake::Lateness,
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
    let watch = Watch::begin();
    let echoes = echoes(time)?;
    let mut shown = Vec::new();
    let mut show = |table: Plain| {
        let printed = output::print(&format!("{}\n", table.markdown()));
        shown.push(table);
        printed
    };
    show(echo_table(&echoes))?;
    let wakes = wake::lateness(time)?;
    show(wake_table(&wakes))?;
    let appends = appends(options, time)?;
    show(append_table(&appends))?;
    let reads = reads::reads(&options.dir, options.read_mib as usize * MIB, time)?;
    show(read_table(options.read_mib, &reads))?;
    let [get_ns, set_ns] = memory::loops(memory::KEYS, time)?;
    let loops = Loops { get_ns, set_ns };
    let bandwidth = bandwidth::bandwidth(options.memory_mib as usize * MIB, time);
    memory_tables(&loops, &bandwidth).into_iter().try_for_each(show)?;
    let stolen = watch.end();
    let Some(path) = &options.json else { return Ok(()) };
    let machine = Machine {
        stolen: Some(stolen),
        ..Machine::here(&options.dir)
    };
    let floors = Floors {
        shown: Tables {
            kind: tables::KIND.to_owned(),
            format: tables::FORMAT,
            name: "floor".to_owned(),
            title: "What this machine can do at most".to_owned(),
            about: format!(
                "`slotcore-bench floor`, each for {} s; {}.",
                options.seconds,
                machine.line()
            ),
            commit: machine.commit.clone(),
            quick: options.seconds < GOOD_SECONDS,
            tables: shown,
        },
        machine,
        echoes,
        wakes,
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

/// Cells of a table whose head is `head`.
fn plain(title: String, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Plain {
    let head = head.iter().map(|&cell| cell.to_owned()).collect();
    Plain {
        title,
        rows: std::iter::once(head).chain(rows).collect(),
    }
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn echo_table(echoes: &[EchoFloor]) -> Plain {
    let title = format!(
        "Echo over loopback, 57 bytes each way, server on processor {}, client on {}",
        SERVER_CPU.0, CLIENT_CPU.0
    );
    let head = [
        "server",
        "connections",
        "pipeline",
        "echoes/s",
        "p50 us",
        "server CPU us/echo",
    ];
    let row = |e: &EchoFloor| {
        let shape = [e.by.to_owned(), e.connections.to_string(), e.pipeline.to_string()];
        let figures = [whole(e.rate), whole(e.p50_us), format!("{:.2}", e.server_cpu_us)];
        [shape, figures].concat()
    };
    plain(title, &head, echoes.iter().map(row))
}

fn wake_table(late: &wake::Lateness) -> Plain {
    let title = format!(
        "How late a thread on processor {} is woken that sleeps for 100 us at a time, while processor {} is busy: in every latency \
         at a fixed rate",
        CLIENT_CPU.0, SERVER_CPU.0
    );
    let row = [late.p50_us, late.p99_us, late.p999_us].map(whole).to_vec();
    plain(title, &["p50 us", "p99 us", "p99.9 us"], [row])
}

fn append_table(appends: &[AppendFloor]) -> Plain {
    let head = [
        "depth",
        "RWF_DSYNC per s",
        "p50 us",
        "p99 us",
        "write, then fdatasync per s",
        "p50 us",
        "p99 us",
    ];
    let row = |one: &AppendFloor| {
        let ways = [one.with_write, one.after_write];
        let figures = ways
            .iter()
            .flat_map(|way| [way.rate, way.p50_us, way.p99_us].map(whole));
        std::iter::once(one.depth.to_string()).chain(figures).collect()
    };
    let title = "Durable appends of 4 KiB to a file of zeros, O_DIRECT".to_owned();
    plain(title, &head, appends.iter().map(row))
}

fn read_table(file_mib: u32, reads: &[reads::Reads]) -> Plain {
    let title = format!("Random reads of 4 KiB from a file of {file_mib} MiB, O_DIRECT");
    let row = |r: &reads::Reads| vec![r.depth.to_string(), whole(r.rate), whole(r.p50_us), whole(r.p99_us)];
    plain(title, &["depth", "reads/s", "p50 us", "p99 us"], reads.iter().map(row))
}

fn memory_tables(loops: &Loops, bandwidth: &bandwidth::Bandwidth) -> [Plain; 2] {
    let title = format!(
        "In memory, {} keys, one thread, 64 requests at a time, parse, probe a flat table, copy",
        memory::KEYS
    );
    let named = |name: &str, figure: String| vec![name.to_owned(), figure];
    let requests = [named("GET", whole(loops.get_ns)), named("SET", whole(loops.set_ns))];
    let tenths = |value: f64| format!("{value:.1}");
    let bytes = [
        named("read", tenths(bandwidth.read_gb_s)),
        named("copy", tenths(bandwidth.copy_gb_s)),
    ];
    let far = "Memory of one thread, far above any cache".to_owned();
    [
        plain(title, &["request", "ns"], requests),
        plain(far, &["", "GB/s"], bytes),
    ]
}
