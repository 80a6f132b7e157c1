//! INFO: what the server knows of itself, in the sections and under the names of Redis where it has such a thing.
//!
//! Fields of Redis that can have no value here (forks, RDB) are left out, except those that clients are known to
//! read: these tell the truth in Redis's words (no save is under way, the last one succeeded).

use std::fmt::{Display, Write as _};

use slotcore_engine::cmd::{Args, Reply};
use slotcore_engine::database::Database;
use slotcore_rt::process::{self, ProcessUse};

use super::arguments::is;
use super::connection::mode;
use super::memory::{percent, ratio};
use super::replication::{followers_of, master_of};
use super::shown::Shown;
use super::{Flow, REDIS_VERSION};
use crate::clients::Endpoint;
use crate::config::Durability;
use crate::metrics::Queue;

/// Sections that `default` stands for.
const DEFAULT: u8 = 1;
/// Sections that `all` stands for, besides.
const ALL: u8 = 2;

type Section = (&'static str, u8, fn(&Shown<'_>, &ProcessUse, &mut Page));

/// Every section, in the order in which they are shown.
const SECTIONS: &[Section] = &[
    ("server", DEFAULT, server),
    ("clients", DEFAULT, clients),
    ("memory", DEFAULT, memory),
    ("persistence", DEFAULT, persistence),
    ("store", ALL, store),
    ("stats", DEFAULT, stats),
    ("replication", DEFAULT, replication),
    ("cpu", DEFAULT, cpu),
    ("raft", DEFAULT, raft),
    ("commandstats", ALL, command_stats),
    ("errorstats", DEFAULT, error_stats),
    ("latencystats", ALL, latency_stats),
    ("cluster", DEFAULT, cluster),
    ("keyspace", DEFAULT, keyspace),
];

/// `INFO [section...]`
pub(super) fn info(shown: &Shown<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let wanted = |name: &str, class: u8| {
        if args.len() == 1 {
            return class == DEFAULT;
        }
        args.iter_from(1).any(|word| {
            is(word, name) || is(word, "all") || is(word, "everything") || (is(word, "default") && class == DEFAULT)
        })
    };
    let used = process::process_use();
    let mut page = Page(String::with_capacity(4096));
    for (name, class, write) in SECTIONS {
        if wanted(name, *class) {
            page.begin(name);
            write(shown, &used, &mut page);
        }
    }
    out.verbatim(page.0.as_bytes());
    Flow::Done
}

struct Page(String);

impl Page {
    fn begin(&mut self, section: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        let title = if section == "cpu" {
            "CPU".to_string()
        } else {
            section[..1].to_ascii_uppercase() + &section[1..]
        };
        self.line(format_args!("# {title}"));
    }

    fn put(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("{name}:{value}"));
    }

    /// A number of bytes, twice: exactly, and for people.
    fn bytes(&mut self, name: &str, value: u64) {
        self.put(name, value);
        self.line(format_args!("{name}_human:{}", human(value)));
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        write!(self.0, "{text}\r\n").expect("a String takes whatever is written to it");
    }
}

fn server(shown: &Shown<'_>, _: &ProcessUse, page: &mut Page) {
    let identity = shown.identity;
    let uptime_s = shown.now.since(identity.started_at).as_secs();
    page.put("redis_version", REDIS_VERSION);
    page.put("slotcore_version", env!("CARGO_PKG_VERSION"));
    page.put("redis_mode", mode(shown.endpoint));
    page.put(
        "os",
        format_args!("Linux {} {}", identity.kernel_release, std::env::consts::ARCH),
    );
    page.put("arch_bits", usize::BITS);
    page.put("monotonic_clock", "POSIX clock_gettime");
    page.put("multiplexing_api", "io_uring");
    page.put("process_id", identity.process_id);
    page.put("run_id", &identity.run_id);
    page.put(
        "tcp_port",
        match shown.endpoint {
            Endpoint::AnySlot => identity.port,
            Endpoint::Core => shown.cluster.node(shown.core).port,
        },
    );
    page.put("server_time_usec", shown.wall_us);
    page.put("uptime_in_seconds", uptime_s);
    page.put("uptime_in_days", uptime_s / 86_400);
    page.put("executable", &identity.executable);
    let file = shown
        .config
        .config()
        .file
        .as_ref()
        .map(|path| path.display().to_string());
    page.put("config_file", file.unwrap_or_default());
    page.put("io_threads_active", 0);
    let me = shown.view.and_then(|view| view.nodes.node(view.nodes.me));
    if let Some(zone) = me.and_then(|me| me.zone.as_ref()) {
        page.put("availability_zone", zone);
    }
    page.put("cores", shown.cluster.cores());
}

fn clients(shown: &Shown<'_>, _: &ProcessUse, page: &mut Page) {
    page.put("connected_clients", shown.conns.clients);
    page.put("cluster_connections", 0);
    page.put("maxclients", shown.config.settings().clients_max);
    page.put("client_recent_max_input_buffer", shown.conns.input_buffer_bytes_max);
    page.put("client_recent_max_output_buffer", shown.conns.output_buffer_bytes_max);
    page.put("blocked_clients", shown.facts.blocked_clients);
    page.put("tracking_clients", shown.facts.tracking_clients);
    page.put("watching_clients", shown.facts.watching_clients);
    page.put("clients_in_timeout_table", 0);
    page.put("total_watched_keys", shown.facts.watched_keys);
    page.put("commands_in_flight", shown.facts.commands_in_flight);
}

fn memory(shown: &Shown<'_>, used: &ProcessUse, page: &mut Page) {
    let memory = shown.data.memory;
    let total = memory.total() as u64;
    let peak = shown.metrics.memory_bytes_peak.max(total);
    let overhead = (memory.index + memory.timers) as u64;
    page.bytes("used_memory", total);
    page.bytes("used_memory_rss", used.rss_bytes);
    page.bytes("used_memory_peak", peak);
    page.put("used_memory_peak_perc", format_args!("{:.2}%", percent(total, peak)));
    page.put("used_memory_overhead", overhead);
    page.put("used_memory_startup", 0);
    page.put("used_memory_dataset", total - overhead);
    page.put(
        "used_memory_dataset_perc",
        format_args!("{:.2}%", percent(total - overhead, total)),
    );
    page.put("used_memory_index", memory.index);
    page.put("used_memory_records", memory.records);
    page.put("used_memory_objects", memory.objects);
    page.put("used_memory_timers", memory.timers);
    page.put("used_memory_rss_peak", used.rss_bytes_peak);
    page.bytes("total_system_memory", shown.identity.machine_memory_bytes);
    let scripts = shown.data.scripts;
    page.bytes("used_memory_lua", scripts.heap_bytes);
    page.bytes("used_memory_vm_total", scripts.heap_bytes);
    page.bytes("used_memory_scripts", scripts.cached_bytes);
    page.put("used_memory_scripts_eval", scripts.cached_bytes);
    page.put("number_of_cached_scripts", scripts.cached);
    page.put("number_of_functions", scripts.functions);
    page.put("number_of_libraries", scripts.libraries);
    page.bytes("maxmemory", shown.config.settings().dataset_bytes_max);
    page.bytes("dataset", shown.facts.store.dataset_bytes);
    page.put("maxmemory_policy", shown.config.settings().eviction_policy.name());
    page.put(
        "mem_fragmentation_ratio",
        format_args!("{:.2}", ratio(used.rss_bytes, total)),
    );
    page.put("mem_fragmentation_bytes", used.rss_bytes as i64 - total as i64);
    page.put("mem_not_counted_for_evict", 0);
    page.put("mem_allocator", "mimalloc");
    page.put("active_defrag_running", 0);
    page.put("lazyfree_pending_objects", memory.garbage_objects);
    page.put("lazyfreed_objects", shown.data.stats.freed_in_slices);
    page.put("lazyfree_pending_bytes", memory.garbage);
}

fn persistence(shown: &Shown<'_>, _: &ProcessUse, page: &mut Page) {
    let (facts, durability) = (shown.facts, shown.config.settings().durability);
    page.put("loading", u8::from(facts.loading));
    page.put("async_loading", 0);
    page.put("durability", durability);
    // Redis's words for it: what tools ask before they trust a server with data.
    page.put("rdb_changes_since_last_save", facts.writes_not_durable);
    page.put("rdb_bgsave_in_progress", 0);
    page.put("rdb_last_save_time", facts.last_durable_at_s);
    page.put("rdb_last_bgsave_status", "ok");
    page.put("rdb_last_bgsave_time_sec", -1);
    page.put("rdb_current_bgsave_time_sec", -1);
    page.put("aof_enabled", 1);
    page.put("aof_rewrite_in_progress", 0);
    page.put("aof_rewrite_scheduled", 0);
    page.put("aof_last_rewrite_time_sec", -1);
    page.put("aof_current_rewrite_time_sec", -1);
    page.put("aof_last_bgrewrite_status", "ok");
    page.put("aof_last_write_status", if facts.disk_full { "err" } else { "ok" });
    page.put("aof_fsync", durability.appendfsync_name());
    page.put("aof_current_size", facts.log_bytes);
    page.put(
        "aof_pending_bio_fsync",
        u8::from(durability == Durability::EverySec && facts.writes_not_durable > 0),
    );
    page.put("log_frames", facts.log_frames);
    page.put("log_frames_in_flight", facts.log_frames_in_flight);
    page.put("log_payload_bytes", facts.log_payload_bytes);
    page.put("log_segments", facts.log_segments);
    page.put("log_disk_bytes", facts.disk_bytes);
    let write = &shown.metrics.log_write;
    page.put("log_write_usec_p50", write.percentile_ns(50.0) / 1000);
    page.put("log_write_usec_p99", write.percentile_ns(99.0) / 1000);
    page.put("log_write_usec_max", write.max_ns() / 1000);
}

fn store(shown: &Shown<'_>, _: &ProcessUse, page: &mut Page) {
    let (facts, log) = (&shown.facts.store, shown.facts);
    let stats = &facts.stats;
    page.put("dirty_bytes", facts.dirty_bytes);
    page.put("clean_bytes", facts.clean_bytes);
    page.put("frozen_bytes", facts.frozen_bytes);
    page.put("filter_and_index_bytes", facts.memory_bytes);
    page.put("files", stats.files);
    page.put("file_bytes", stats.file_bytes);
    page.put("upper_runs", stats.upper_runs);
    page.put("flushes", stats.flushes);
    page.put("flushed_bytes", stats.flushed_bytes);
    page.put("merges", stats.merges);
    page.put("merge_read_bytes", stats.merge_read_bytes);
    page.put("merge_written_bytes", stats.merge_written_bytes);
    let amplification = facts.write_amplification_percent(log.log_bytes, log.log_payload_bytes);
    page.put(
        "write_amplification",
        format_args!("{:.2}", amplification as f64 / 100.0),
    );
    page.put("cold_lookups", stats.lookups);
    page.put("cold_lookups_filtered", stats.filtered);
    page.put("cold_lookups_found", stats.found);
    page.put("cold_lookups_joined", stats.joined);
    page.put("cold_block_reads", stats.block_reads);
    page.put("cold_blob_reads", stats.blob_reads);
    page.put("cold_range_reads", stats.ranges);
    page.put("commands_waited_for_files", facts.cold.waits);
    page.put("commands_run_again", facts.cold.reruns);
    page.put("writes_held_back", facts.cold.writes_held);
    page.put("scrub_rounds", facts.scrub.rounds);
    page.put("scrub_read_bytes", facts.scrub.bytes);
    page.put("scrub_round_bytes", facts.scrub.round_bytes);
    page.put("scrub_damages", facts.scrub.damages);
    let damage = facts.scrub_last_damage;
    let damage = damage.map(|(file, offset)| format!("{file} at byte {offset}"));
    page.put("scrub_last_damage", damage.unwrap_or_default());
    page.put("cache_evicted_keys", facts.evicted_keys);
    page.put("cache_evicted_bytes", facts.evicted_bytes);
}

fn stats(shown: &Shown<'_>, _: &ProcessUse, page: &mut Page) {
    let (metrics, net, data) = (shown.metrics, shown.metrics.net, shown.data.stats);
    let kbps = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    page.put("total_connections_received", net.connections_total);
    page.put("total_commands_processed", metrics.commands.calls_total());
    page.put("instantaneous_ops_per_sec", metrics.command_rate.per_second());
    page.put("total_net_input_bytes", net.input_bytes);
    page.put("total_net_output_bytes", net.output_bytes);
    page.put("instantaneous_input_kbps", kbps(metrics.input_rate.per_second()));
    page.put("instantaneous_output_kbps", kbps(metrics.output_rate.per_second()));
    page.put("rejected_connections", net.rejected_connections);
    page.put(
        "client_query_buffer_limit_disconnections",
        net.query_limit_disconnections,
    );
    page.put(
        "client_output_buffer_limit_disconnections",
        net.output_limit_disconnections,
    );
    page.put("protocol_errors", net.protocol_errors);
    page.put("commands_forwarded", net.commands_forwarded);
    page.put("commands_for_others", net.commands_for_others);
    page.put("connections_given", net.connections_given);
    page.put("connections_taken", net.connections_taken);
    page.put("transactions_executed", metrics.transactions.executed);
    page.put("transactions_aborted", metrics.transactions.aborted);
    page.put("transactions_discarded", metrics.transactions.discarded);
    page.put("transactions_failed_watches", metrics.transactions.failed_watches);
    page.put("sync_full", 0);
    page.put("sync_partial_ok", 0);
    page.put("sync_partial_err", 0);
    page.put("expired_keys", data.expired);
    page.put("evicted_keys", data.evicted);
    page.put("total_eviction_exceeded_time", shown.facts.over_limit_ms);
    page.put("current_eviction_exceeded_time", shown.facts.over_limit_now_ms);
    page.put("evicted_clients", 0);
    page.put("oom_refusals", net.oom_refusals);
    page.put("keyspace_hits", data.hits);
    page.put("keyspace_misses", data.misses);
    page.put("pubsub_channels", shown.facts.channels);
    page.put("pubsub_patterns", shown.facts.patterns);
    page.put("tracking_total_keys", shown.facts.tracked_keys);
    page.put("tracking_total_items", shown.facts.tracked_items);
    page.put("tracking_total_prefixes", shown.facts.tracking_prefixes);
    page.put("latest_fork_usec", 0);
    page.put("total_forks", 0);
    page.put("total_error_replies", metrics.errors.total());
    page.put("acl_access_denied_auth", net.auth_failures);
    page.put("acl_access_denied_cmd", net.denials.commands);
    page.put("acl_access_denied_key", net.denials.keys);
    page.put("acl_access_denied_channel", net.denials.channels);
    for queue in Queue::ALL {
        let slices = metrics.stalls.queue(queue);
        page.put(
            &format!("longest_slice_usec_{}", queue.name()),
            slices.longest.as_micros(),
        );
    }
}

fn replication(shown: &Shown<'_>, _: &ProcessUse, page: &mut Page) {
    let offset = shown.facts.raft_commit_index;
    match master_of(shown) {
        None => page.put("role", "master"),
        Some(master) => {
            page.put("role", "slave");
            page.put("master_host", &master.host);
            page.put("master_port", master.port);
            page.put("master_link_status", "up");
            page.put("master_last_io_seconds_ago", 0);
            page.put("master_sync_in_progress", 0);
            page.put("slave_read_repl_offset", offset);
            page.put("slave_repl_offset", offset);
            page.put("slave_priority", 100);
            page.put("slave_read_only", 1);
            page.put("replica_announced", 1);
        }
    }
    let replicas = followers_of(shown);
    page.put("connected_slaves", replicas.len());
    for (number, replica) in replicas.iter().enumerate() {
        page.line(format_args!(
            "slave{number}:ip={},port={},state=online,offset={},lag=0",
            replica.host, replica.port, replica.offset
        ));
    }
    page.put("master_failover_state", "no-failover");
    page.put("master_replid", &shown.identity.run_id);
    page.put("master_replid2", "0000000000000000000000000000000000000000");
    page.put("master_repl_offset", offset);
    page.put("second_repl_offset", -1);
    page.put("repl_backlog_active", 0);
    page.put("repl_backlog_size", 0);
    page.put("repl_backlog_first_byte_offset", 0);
    page.put("repl_backlog_histlen", 0);
}

fn cpu(_: &Shown<'_>, used: &ProcessUse, page: &mut Page) {
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    page.put("used_cpu_sys", seconds(used.cpu_system_us));
    page.put("used_cpu_user", seconds(used.cpu_user_us));
    page.put("used_cpu_sys_children", seconds(0));
    page.put("used_cpu_user_children", seconds(0));
}

fn raft(shown: &Shown<'_>, _: &ProcessUse, page: &mut Page) {
    page.put("raft_term", shown.facts.raft_term);
    page.put("raft_commit_index", shown.facts.raft_commit_index);
    page.put("raft_applied_index", shown.facts.raft_applied_index);
    let compared = shown.facts.compared;
    page.put("replicas_found_alike", compared.alike);
    page.put("replicas_found_different", compared.differences);
    page.put("replicas_undecided", compared.undecided);
    page.put("replicas_diverged", compared.diverged);
    page.put("replicas_rebuilt", compared.rebuilt);
}

fn command_stats(shown: &Shown<'_>, _: &ProcessUse, page: &mut Page) {
    for command in shown.metrics.commands.iter() {
        let usec = command.run_time.sum_ns() / 1000;
        page.line(format_args!(
            "cmdstat_{}:calls={},usec={usec},usec_per_call={:.2},rejected_calls={},failed_calls={}",
            command.name,
            command.calls,
            ratio(command.run_time.sum_ns(), command.calls) / 1000.0,
            command.rejected_calls,
            command.failed_calls
        ));
    }
}

fn error_stats(shown: &Shown<'_>, _: &ProcessUse, page: &mut Page) {
    for (kind, count) in shown.metrics.errors.iter() {
        page.line(format_args!("errorstat_{kind}:count={count}"));
    }
}

fn latency_stats(shown: &Shown<'_>, _: &ProcessUse, page: &mut Page) {
    for command in shown.metrics.commands.iter().filter(|command| command.calls > 0) {
        let at = |percent| command.run_time.percentile_ns(percent) as f64 / 1000.0;
        page.line(format_args!(
            "latency_percentiles_usec_{}:p50={:.3},p99={:.3},p99.9={:.3}",
            command.name,
            at(50.0),
            at(99.0),
            at(99.9)
        ));
    }
}

fn cluster(shown: &Shown<'_>, _: &ProcessUse, page: &mut Page) {
    page.put("cluster_enabled", u8::from(shown.endpoint == Endpoint::Core));
}

fn keyspace(shown: &Shown<'_>, _: &ProcessUse, page: &mut Page) {
    for database in Database::all() {
        let keys = shown.data.keys.of(database);
        if keys > 0 {
            let expires = shown.data.volatile_keys.of(database);
            page.put(
                &format!("db{database}"),
                format_args!("keys={keys},expires={expires},avg_ttl=0"),
            );
        }
    }
}

/// Bytes as Redis prints them for people: `12B`, `3.50K`, `1.00G`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["K", "M", "G", "T"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_are_printed_for_people() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (916_568, "895.09K"),
            (25_276_518_400, "23.54G"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
