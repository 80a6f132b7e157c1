//! MEMORY STATS, DOCTOR, PURGE, MALLOC-STATS. MEMORY USAGE is a command on a key and runs in the engine.

use slotcore_engine::cmd::Reply;
use slotcore_rt::process;

use super::Flow;
use super::shown::Shown;

/// Bytes of data below which nothing can be said about memory; as in Redis.
const LITTLE_MEMORY_BYTES: u64 = 5 << 20;
/// Resident memory over memory in use beyond which the difference is worth a word; as in Redis.
const OVERHEAD_RATIO: f64 = 1.4;

/// `MEMORY STATS`: the fields of Redis that have a meaning here.
pub(super) fn stats(shown: &Shown<'_>, out: &mut dyn Reply) -> Flow {
    let memory = shown.data.memory;
    let total = memory.total() as u64;
    let overhead = (memory.index + memory.timers) as u64;
    let keys = shown.data.keys.total();
    let peak = shown.metrics.memory_bytes_peak.max(total);
    let rss = process::process_use().rss_bytes;
    let integers = [
        ("peak.allocated", peak),
        ("total.allocated", total),
        ("startup.allocated", 0),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("clients.normal", shown.conns.total_bytes),
        ("cluster.links", 0),
        ("aof.buffer", 0),
        ("lua.caches", 0),
        ("functions.caches", 0),
        ("overhead.total", overhead),
        ("keys.count", keys),
        ("keys.bytes-per-key", total / keys.max(1)),
        ("dataset.bytes", total - overhead),
        ("allocator.resident", rss),
    ];
    let doubles = [
        ("dataset.percentage", percent(total - overhead, total)),
        ("peak.percentage", percent(total, peak)),
        ("fragmentation", ratio(rss, total)),
    ];
    out.map(integers.len() + doubles.len());
    for (name, value) in integers {
        out.bulk(name.as_bytes());
        out.int(i64::try_from(value).unwrap_or(i64::MAX));
    }
    for (name, value) in doubles {
        out.bulk(name.as_bytes());
        out.double(value);
    }
    Flow::Done
}

/// `MEMORY DOCTOR`
pub(super) fn doctor(shown: &Shown<'_>, out: &mut dyn Reply) -> Flow {
    let memory = shown.data.memory;
    let total = memory.total() as u64;
    let rss = process::process_use().rss_bytes;
    let (limit, dataset) = (
        shown.config.settings().dataset_bytes_max,
        shown.facts.store.dataset_bytes,
    );
    let mut text = String::new();
    if total < LITTLE_MEMORY_BYTES {
        text.push_str("There is too little data to say anything about its memory.\n");
    } else {
        if ratio(rss, total) > OVERHEAD_RATIO {
            text.push_str(
                "Much more memory is resident than the data uses: it was larger before, or many values grew.\n",
            );
        }
        if memory.garbage as u64 > total / 4 {
            text.push_str("Deleted values are waiting to be freed; this takes place in small steps and will end.\n");
        }
        if limit > 0 && dataset > limit / 10 * 9 {
            text.push_str("The limit of the data (--dataset-limit) is nearly reached.\n");
        }
        if text.is_empty() {
            text.push_str("No trouble with memory found.\n");
        }
    }
    out.verbatim(text.as_bytes());
    Flow::Done
}

/// `MEMORY PURGE`: the allocator returns what is free by itself; asking is answered as in Redis without jemalloc.
pub(super) fn purge(out: &mut dyn Reply) -> Flow {
    out.ok();
    Flow::Done
}

/// `MEMORY MALLOC-STATS`: answered as in Redis without jemalloc.
pub(super) fn malloc_stats(out: &mut dyn Reply) -> Flow {
    out.bulk(b"Stats not supported for the current allocator");
    Flow::Done
}

pub(super) fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

pub(super) fn percent(part: u64, whole: u64) -> f64 {
    ratio(part, whole) * 100.0
}
