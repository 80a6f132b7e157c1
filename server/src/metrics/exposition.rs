//! The page behind `/metrics`: every number of every core, under names that stay.
//!
//! Five names are those of RaftKV (with `--metrics-prefix raftkv`): `operations_total`, `operation_duration_seconds`,
//! `raft_term`, `raft_commit_index`, `storage_disk_usage_bytes`.

use std::sync::Arc;
use std::time::Duration;

use slotcore_engine::cmd::Group;
use slotcore_rt::process::ProcessUse;

use super::prometheus::{MetricKind, TextWriter};
use super::snapshot::CoreSnapshot;
use super::stall::Queue;

use MetricKind::{Counter, Gauge, Histogram};

/// One number of a core.
type OfCore = (&'static str, MetricKind, &'static str, fn(&CoreSnapshot) -> u64);

/// Numbers that every core has one of.
const OF_CORE: &[OfCore] = &[
    ("connections", Gauge, "Connections open now.", |s| s.facts.clients),
    ("connections_total", Counter, "Connections accepted.", |s| {
        s.metrics.net.connections_total
    }),
    (
        "connections_rejected_total",
        Counter,
        "Connections turned away: too many.",
        |s| s.metrics.net.rejected_connections,
    ),
    ("net_input_bytes_total", Counter, "Bytes received from clients.", |s| {
        s.metrics.net.input_bytes
    }),
    ("net_output_bytes_total", Counter, "Bytes sent to clients.", |s| {
        s.metrics.net.output_bytes
    }),
    (
        "commands_forwarded_total",
        Counter,
        "Commands sent to the core that owns their keys.",
        |s| s.metrics.net.commands_forwarded,
    ),
    (
        "commands_for_others_total",
        Counter,
        "Commands carried out for connections of other cores.",
        |s| s.metrics.net.commands_for_others,
    ),
    (
        "connections_given_total",
        Counter,
        "Connections handed over to the core they ask most of.",
        |s| s.metrics.net.connections_given,
    ),
    (
        "connections_taken_total",
        Counter,
        "Connections taken over from other cores.",
        |s| s.metrics.net.connections_taken,
    ),
    (
        "transactions_executed_total",
        Counter,
        "Transactions carried out.",
        |s| s.metrics.transactions.executed,
    ),
    (
        "transactions_aborted_total",
        Counter,
        "Transactions refused at EXEC because of a command in them.",
        |s| s.metrics.transactions.aborted,
    ),
    (
        "transactions_discarded_total",
        Counter,
        "Transactions given up by DISCARD.",
        |s| s.metrics.transactions.discarded,
    ),
    (
        "transactions_failed_watches_total",
        Counter,
        "Transactions not carried out because a watched key had been changed.",
        |s| s.metrics.transactions.failed_watches,
    ),
    ("watching_clients", Gauge, "Connections that watch keys.", |s| {
        s.facts.watching_clients
    }),
    ("protocol_errors_total", Counter, "Malformed requests.", |s| {
        s.metrics.net.protocol_errors
    }),
    ("auth_failures_total", Counter, "Wrong passwords.", |s| {
        s.metrics.net.auth_failures
    }),
    (
        "oom_refusals_total",
        Counter,
        "Commands refused at the memory limit.",
        |s| s.metrics.net.oom_refusals,
    ),
    ("error_replies_total", Counter, "Error replies.", |s| {
        s.metrics.errors.total()
    }),
    (
        "commands_in_flight",
        Gauge,
        "Commands waiting for their log entry.",
        |s| s.facts.commands_in_flight,
    ),
    (
        "blocked_clients",
        Gauge,
        "Commands waiting for a key to have something.",
        |s| s.facts.blocked_clients,
    ),
    ("slow_commands", Gauge, "Entries in the slow log.", |s| {
        s.metrics.slow_log.len() as u64
    }),
    ("keys", Gauge, "Keys held.", |s| s.data.keys.total()),
    ("keys_volatile", Gauge, "Keys with an expiry.", |s| {
        s.data.volatile_keys.total()
    }),
    ("keyspace_hits_total", Counter, "Reads that found their key.", |s| {
        s.data.stats.hits
    }),
    ("keyspace_misses_total", Counter, "Reads that did not.", |s| {
        s.data.stats.misses
    }),
    (
        "expired_keys_total",
        Counter,
        "Keys removed because their time had come.",
        |s| s.data.stats.expired,
    ),
    (
        "evicted_keys_total",
        Counter,
        "Keys deleted because the data had reached --dataset-limit.",
        |s| s.data.stats.evicted,
    ),
    (
        "dataset_bytes",
        Gauge,
        "Bytes of all keys and values, in memory or in files: what --dataset-limit bounds.",
        |s| s.facts.store.dataset_bytes,
    ),
    ("log_frames_total", Counter, "Frames written to the log.", |s| {
        s.facts.log_frames
    }),
    (
        "log_bytes_total",
        Counter,
        "Bytes written to the log, padding included.",
        |s| s.facts.log_bytes,
    ),
    (
        "log_payload_bytes_total",
        Counter,
        "Bytes of commands in the log.",
        |s| s.facts.log_payload_bytes,
    ),
    (
        "log_frames_in_flight",
        Gauge,
        "Frames submitted and not yet durable.",
        |s| s.facts.log_frames_in_flight,
    ),
    ("log_segments", Gauge, "Files of the log.", |s| s.facts.log_segments),
    ("log_refuses_writes", Gauge, "1 while the disk is full.", |s| {
        u64::from(s.facts.disk_full)
    }),
    (
        "writes_not_durable",
        Gauge,
        "Writes acknowledged and not yet durable.",
        |s| s.facts.writes_not_durable,
    ),
    (
        "store_dirty_bytes",
        Gauge,
        "Bytes of keys in memory that no file has.",
        |s| s.facts.store.dirty_bytes,
    ),
    (
        "store_clean_bytes",
        Gauge,
        "Bytes of keys in memory that files have, too.",
        |s| s.facts.store.clean_bytes,
    ),
    (
        "store_filter_bytes",
        Gauge,
        "Bytes of filters, indexes and buffers of files.",
        |s| s.facts.store.memory_bytes,
    ),
    ("store_files", Gauge, "Files of keys.", |s| s.facts.store.stats.files),
    ("store_file_bytes", Gauge, "Bytes of files of keys.", |s| {
        s.facts.store.stats.file_bytes
    }),
    (
        "store_runs",
        Gauge,
        "Runs above the lowest level: what a lookup may have to ask.",
        |s| s.facts.store.stats.upper_runs,
    ),
    ("store_flushed_bytes_total", Counter, "Bytes written by flushes.", |s| {
        s.facts.store.stats.flushed_bytes
    }),
    ("store_merged_bytes_total", Counter, "Bytes written by merges.", |s| {
        s.facts.store.stats.merge_written_bytes
    }),
    ("store_lookups_total", Counter, "Keys looked up in files.", |s| {
        s.facts.store.stats.lookups
    }),
    (
        "store_reads_total",
        Counter,
        "Blocks and large values read for them.",
        |s| s.facts.store.stats.block_reads + s.facts.store.stats.blob_reads,
    ),
    ("store_waits_total", Counter, "Commands that waited for files.", |s| {
        s.facts.store.cold.waits
    }),
    (
        "store_writes_held_total",
        Counter,
        "Times a write was held back because flushes were behind.",
        |s| s.facts.store.cold.writes_held,
    ),
    (
        "store_evicted_keys_total",
        Counter,
        "Clean keys that left the memory.",
        |s| s.facts.store.evicted_keys,
    ),
    (
        "scrub_read_bytes_total",
        Counter,
        "Bytes of files that the scrubber has read.",
        |s| s.facts.store.scrub.bytes,
    ),
    (
        "scrub_damages",
        Gauge,
        "Damaged places in files that the scrubber has found.",
        |s| s.facts.store.scrub.damages,
    ),
    (
        "replicas_found_alike_total",
        Counter,
        "Slices of groups that this node leads and all replicas that answered have alike.",
        |s| s.facts.compared.alike,
    ),
    (
        "replicas_found_different_total",
        Counter,
        "Slices of groups that this node leads and a replica has not as most others.",
        |s| s.facts.compared.differences,
    ),
    (
        "replicas_undecided_total",
        Counter,
        "Slices of which it could not be told which replica is right.",
        |s| s.facts.compared.undecided,
    ),
    (
        "replicas_diverged",
        Gauge,
        "Replicas of this node whose state is wrong: they answer nothing until they have another's.",
        |s| s.facts.compared.diverged,
    ),
    (
        "replicas_rebuilt_total",
        Counter,
        "Replicas of this node that were wrong and got another's state.",
        |s| s.facts.compared.rebuilt,
    ),
    ("raft_term", Gauge, "Raft's election counter.", |s| s.facts.raft_term),
    (
        "raft_commit_index",
        Gauge,
        "Log position known to be on a quorum.",
        |s| s.facts.raft_commit_index,
    ),
    ("raft_applied_index", Gauge, "Log position applied to the data.", |s| {
        s.facts.raft_applied_index
    }),
    (
        "storage_disk_usage_bytes",
        Gauge,
        "Bytes the data takes on disk.",
        |s| s.facts.disk_bytes,
    ),
    ("memory_data_bytes", Gauge, "Bytes of memory the data takes.", |s| {
        s.data.memory.total() as u64
    }),
    ("memory_index_bytes", Gauge, "Of these, the index.", |s| {
        s.data.memory.index as u64
    }),
    (
        "memory_garbage_bytes",
        Gauge,
        "Of these, deleted and not yet freed.",
        |s| s.data.memory.garbage as u64,
    ),
];

/// What the page says of the process as a whole.
#[derive(Clone, Copy, Debug)]
pub struct ProcessFacts {
    /// Memory and processor time.
    pub used: ProcessUse,
    /// Since the server was ready.
    pub uptime: Duration,
    /// The configured limit of memory in bytes; 0 = none.
    pub memory_bytes_max: u64,
}

/// The page.
pub fn page(prefix: &str, cores: &[Arc<CoreSnapshot>], process: &ProcessFacts) -> String {
    let mut page = TextWriter::new(prefix);
    page.metric("build_info", Gauge, "Always 1; the version is a label.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.metric("uptime_seconds", Gauge, "Time since the server was ready.")
        .sample(&[], process.uptime.as_secs());
    page.metric("process_resident_memory_bytes", Gauge, "Memory resident now.")
        .sample(&[], process.used.rss_bytes);
    page.metric("memory_limit_bytes", Gauge, "The limit of --memory; 0 = none.")
        .sample(&[], process.memory_bytes_max);
    let cpu = page.metric("process_cpu_seconds_total", Counter, "Processor time used.");
    for (mode, us) in [
        ("user", process.used.cpu_user_us),
        ("system", process.used.cpu_system_us),
    ] {
        cpu.sample(&[("mode", mode)], us as f64 / 1e6);
    }
    // Decimal labels are made once; every metric below uses them.
    let cores: Vec<(String, &CoreSnapshot)> = cores.iter().map(|core| (core.core.to_string(), &**core)).collect();
    for (name, kind, help, value) in OF_CORE {
        page.metric(name, *kind, help);
        for (core, snapshot) in &cores {
            page.sample(&[("core", core)], value(snapshot));
        }
    }
    commands(&mut page, &cores);
    operations(&mut page, &cores);
    stalls(&mut page, &cores);
    page.metric(
        "log_write_duration_seconds",
        Histogram,
        "From submitting a frame to its being durable.",
    );
    for (core, snapshot) in &cores {
        page.histogram(&[("core", core)], &snapshot.metrics.log_write);
    }
    page.finish()
}

fn commands(page: &mut TextWriter<'_>, cores: &[(String, &CoreSnapshot)]) {
    let counts = || {
        cores
            .iter()
            .flat_map(|(core, s)| s.metrics.commands.iter().map(move |command| (core, command)))
    };
    page.metric("commands_total", Counter, "Commands carried out.");
    for (core, command) in counts() {
        page.sample(&[("core", core), ("command", command.name)], command.calls);
    }
    page.metric(
        "commands_failed_total",
        Counter,
        "Commands refused or answered with an error.",
    );
    for (core, command) in counts() {
        let failed = command.failed_calls + command.rejected_calls;
        page.sample(&[("core", core), ("command", command.name)], failed);
    }
    page.metric(
        "command_run_seconds_total",
        Counter,
        "Time in commands, waiting for the disk not included.",
    );
    for (core, command) in counts() {
        page.sample(
            &[("core", core), ("command", command.name)],
            command.run_time.sum_ns() as f64 / 1e9,
        );
    }
}

fn operations(page: &mut TextWriter<'_>, cores: &[(String, &CoreSnapshot)]) {
    let families = || {
        cores.iter().flat_map(|(core, s)| {
            Group::ALL
                .into_iter()
                .map(move |family| (core, family.name(), s.metrics.operations(family)))
        })
    };
    page.metric("operations_total", Counter, "Commands answered, by family.");
    for (core, family, times) in families() {
        page.sample(&[("core", core), ("family", family)], times.count());
    }
    page.metric(
        "operation_duration_seconds",
        Histogram,
        "From a command's arrival to its reply, durability included.",
    );
    for (core, family, times) in families().filter(|(_, _, times)| times.count() > 0) {
        page.histogram(&[("core", core), ("family", family)], times);
    }
}

fn stalls(page: &mut TextWriter<'_>, cores: &[(String, &CoreSnapshot)]) {
    let queues = || {
        cores.iter().flat_map(|(core, s)| {
            Queue::ALL
                .into_iter()
                .map(move |queue| (core, queue.name(), s.metrics.stalls.queue(queue)))
        })
    };
    page.metric(
        "longest_slice_seconds",
        Gauge,
        "Longest time a task queue held its core.",
    );
    for (core, queue, slices) in queues() {
        page.sample(&[("core", core), ("queue", queue)], slices.longest.as_secs_f64());
    }
    page.metric("busy_seconds_total", Counter, "Time a task queue held its core.");
    for (core, queue, slices) in queues() {
        page.sample(&[("core", core), ("queue", queue)], slices.busy.as_secs_f64());
    }
    page.metric("stalls_total", Counter, "Slices of 10 milliseconds or more.");
    for (core, queue, slices) in queues() {
        page.sample(&[("core", core), ("queue", queue)], slices.stalls);
    }
}
