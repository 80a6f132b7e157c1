//! The table of everything `CONFIG GET` knows: what can be set while running, what was fixed at start, and what Redis
//! clients ask for that has one truthful answer here.

use super::notify::NotifyEvents;
use super::parse::{choice, integer, memory, memory_or_percent, save_points};
use super::settings::{Durability, LogLevel, ReadMode, Setting, Settings};
use super::{BULK_BYTES_FLOOR, BULK_BYTES_LIMIT, Config, EVICTION_SAMPLES_MAX, SLOW_LOG_LEN_MAX, SPIN_US_MAX};
use slotcore_engine::eviction::EvictionPolicy;

/// One parameter of `CONFIG`.
pub struct Parameter {
    /// Its name, in lower case.
    pub name: &'static str,
    /// The option of flags and file that stands for it; `None` for aliases and fixed answers, which no file holds.
    pub option: Option<&'static str>,
    /// How it is read and changed.
    pub access: Access,
}

/// How a parameter is read and changed.
pub enum Access {
    /// Can be set while running.
    Live {
        /// What it changes.
        setting: Setting,
        /// Its value as text that `set` accepts.
        get: fn(&Settings) -> String,
        /// Sets it, or says in Redis's words why not.
        set: fn(&mut Settings, &str) -> Result<(), String>,
    },
    /// Chosen at start.
    Startup(fn(&Config) -> String),
    /// Redis lets it be set, here it has one value: setting that value is accepted, any other refused.
    Only {
        /// The value.
        value: &'static str,
        /// Says in Redis's words why a value is none for Redis either.
        check: Check,
    },
    /// It tunes how Redis works inside, or asks for what is done anyway: what Redis accepts is accepted and read back, and
    /// has no effect.
    Remembered {
        /// The name under which the value is kept: aliases share one.
        key: &'static str,
        /// Redis's default.
        default: &'static str,
        /// Says in Redis's words why a value is none.
        check: Check,
    },
    /// Redis does not let it be set either.
    Fixed(&'static str),
}

/// Says in Redis's words why a text is no value of a parameter.
pub type Check = fn(&str) -> Result<(), String>;

/// A live parameter under our own name, which is also the option's.
const fn live(
    name: &'static str,
    setting: Setting,
    get: fn(&Settings) -> String,
    set: fn(&mut Settings, &str) -> Result<(), String>,
) -> Parameter {
    Parameter {
        name,
        option: Some(name),
        access: Access::Live { setting, get, set },
    }
}

/// A live parameter under Redis's name for it.
const fn alias(
    name: &'static str,
    setting: Setting,
    get: fn(&Settings) -> String,
    set: fn(&mut Settings, &str) -> Result<(), String>,
) -> Parameter {
    Parameter {
        name,
        option: None,
        access: Access::Live { setting, get, set },
    }
}

const fn startup(name: &'static str, get: fn(&Config) -> String) -> Parameter {
    Parameter {
        name,
        option: Some(name),
        access: Access::Startup(get),
    }
}

const fn only(name: &'static str, value: &'static str) -> Parameter {
    only_checked(name, value, |_| Ok(()))
}

const fn only_checked(name: &'static str, value: &'static str, check: Check) -> Parameter {
    Parameter {
        name,
        option: None,
        access: Access::Only { value, check },
    }
}

const fn remembered(name: &'static str, key: &'static str, default: &'static str) -> Parameter {
    remembered_checked(name, key, default, |text| integer(text, i64::MIN, i64::MAX).map(|_| ()))
}

const fn remembered_checked(name: &'static str, key: &'static str, default: &'static str, check: Check) -> Parameter {
    Parameter {
        name,
        option: None,
        access: Access::Remembered { key, default, check },
    }
}

const fn fixed(name: &'static str, value: &'static str) -> Parameter {
    Parameter {
        name,
        option: None,
        access: Access::Fixed(value),
    }
}

/// Bounds of parameters that count seconds or milliseconds: those of Redis.
const TIME_MAX: i64 = i32::MAX as i64;

/// Every parameter.
pub static PARAMETERS: &[Parameter] = &[
    live(
        "durability",
        Setting::Durability,
        |s| s.durability.name().to_string(),
        |s, t| choice(t, &Durability::NAMES).map(|at| s.durability = Durability::from_position(at)),
    ),
    alias(
        "appendfsync",
        Setting::Durability,
        |s| s.durability.appendfsync_name().to_string(),
        set_appendfsync,
    ),
    live(
        "memory",
        Setting::MemoryBytesMax,
        |s| s.memory_bytes_max.to_string(),
        |s, t| memory(t, 0, i64::MAX as u64).map(|bytes| s.memory_bytes_max = bytes),
    ),
    live(
        "dataset-limit",
        Setting::DatasetBytesMax,
        |s| s.dataset_bytes_max.to_string(),
        set_dataset,
    ),
    // What Redis bounds by it is its data, all of which is in memory there.
    alias(
        "maxmemory",
        Setting::DatasetBytesMax,
        |s| s.dataset_bytes_max.to_string(),
        set_dataset,
    ),
    live(
        "scrub-rate",
        Setting::ScrubRate,
        |s| s.scrub_bytes_per_s.to_string(),
        |s, t| memory(t, 0, i64::MAX as u64).map(|bytes| s.scrub_bytes_per_s = bytes),
    ),
    live(
        "read-mode",
        Setting::ReadMode,
        |s| s.read_mode.name().to_string(),
        |s, t| choice(t, &ReadMode::NAMES).map(|at| s.read_mode = ReadMode::from_position(at)),
    ),
    live(
        "repair-after",
        Setting::RepairAfter,
        |s| s.repair_after_s.to_string(),
        |s, t| integer(t, 0, TIME_MAX).map(|n| s.repair_after_s = n as u32),
    ),
    live(
        "compare-every",
        Setting::CompareEvery,
        |s| s.compare_every_s.to_string(),
        |s, t| integer(t, 0, TIME_MAX).map(|n| s.compare_every_s = n as u32),
    ),
    live(
        "maxmemory-policy",
        Setting::Eviction,
        |s| s.eviction_policy.name().to_string(),
        |s, t| choice(t, &EvictionPolicy::NAMES).map(|at| s.eviction_policy = EvictionPolicy::from_position(at)),
    ),
    live(
        "maxmemory-samples",
        Setting::Eviction,
        |s| s.eviction_samples.to_string(),
        |s, t| integer(t, 1, EVICTION_SAMPLES_MAX).map(|n| s.eviction_samples = n as u32),
    ),
    live(
        "lfu-log-factor",
        Setting::Eviction,
        |s| s.lfu_log_factor.to_string(),
        |s, t| integer(t, 0, TIME_MAX).map(|n| s.lfu_log_factor = n as u32),
    ),
    live(
        "lfu-decay-time",
        Setting::Eviction,
        |s| s.lfu_decay_minutes.to_string(),
        |s, t| integer(t, 0, TIME_MAX).map(|n| s.lfu_decay_minutes = n as u32),
    ),
    live(
        "requirepass",
        Setting::Password,
        |s| s.password.clone(),
        |s, t| {
            s.password = t.to_string();
            Ok(())
        },
    ),
    live(
        "log-level",
        Setting::LogLevel,
        |s| s.log_level.name().to_string(),
        |s, t| choice(t, &LogLevel::NAMES).map(|at| s.log_level = LogLevel::from_position(at)),
    ),
    alias(
        "loglevel",
        Setting::LogLevel,
        |s| s.log_level.redis_name().to_string(),
        |s, t| choice(t, &LogLevel::REDIS_NAMES).map(|at| s.log_level = LogLevel::from_redis_position(at)),
    ),
    live(
        "maxclients",
        Setting::ClientsMax,
        |s| s.clients_max.to_string(),
        |s, t| integer(t, 1, i64::from(u32::MAX)).map(|n| s.clients_max = n as u32),
    ),
    live(
        "timeout",
        Setting::IdleTimeout,
        |s| s.idle_timeout_s.to_string(),
        |s, t| integer(t, 0, TIME_MAX).map(|n| s.idle_timeout_s = n as u32),
    ),
    live(
        "tcp-keepalive",
        Setting::TcpKeepalive,
        |s| s.tcp_keepalive_s.to_string(),
        |s, t| integer(t, 0, TIME_MAX).map(|n| s.tcp_keepalive_s = n as u32),
    ),
    live(
        "proto-max-bulk-len",
        Setting::BulkBytesMax,
        |s| s.bulk_bytes_max.to_string(),
        |s, t| memory(t, BULK_BYTES_FLOOR, BULK_BYTES_LIMIT).map(|n| s.bulk_bytes_max = n),
    ),
    live(
        "client-query-buffer-limit",
        Setting::QueryBufferBytesMax,
        |s| s.query_buffer_bytes_max.to_string(),
        |s, t| memory(t, BULK_BYTES_FLOOR, i64::MAX as u64).map(|n| s.query_buffer_bytes_max = n),
    ),
    live(
        "client-output-buffer-limit",
        Setting::OutputBufferLimits,
        |s| s.output_buffer_limits.to_string(),
        |s, t| s.output_buffer_limits.update(t),
    ),
    live(
        "notify-keyspace-events",
        Setting::NotifyKeyspaceEvents,
        |s| s.notify_keyspace_events.to_string(),
        |s, t| NotifyEvents::parse(t).map(|events| s.notify_keyspace_events = events),
    ),
    live(
        "tracking-table-max-keys",
        Setting::TrackingKeysMax,
        |s| s.tracking_keys_max.to_string(),
        |s, t| integer(t, 0, i64::MAX).map(|n| s.tracking_keys_max = n as u64),
    ),
    live(
        "slowlog-log-slower-than",
        Setting::SlowLogSlowerThan,
        |s| s.slow_log_slower_than_us.to_string(),
        |s, t| integer(t, -1, i64::MAX).map(|n| s.slow_log_slower_than_us = n),
    ),
    live(
        "slowlog-max-len",
        Setting::SlowLogLenMax,
        |s| s.slow_log_len_max.to_string(),
        |s, t| integer(t, 0, SLOW_LOG_LEN_MAX).map(|n| s.slow_log_len_max = n as u32),
    ),
    live(
        "acllog-max-len",
        Setting::AclLogLenMax,
        |s| s.acl_log_len_max.to_string(),
        |s, t| integer(t, 0, SLOW_LOG_LEN_MAX).map(|n| s.acl_log_len_max = n as usize),
    ),
    live(
        "latency-monitor-threshold",
        Setting::LatencyThreshold,
        |s| s.latency_threshold_ms.to_string(),
        |s, t| integer(t, 0, TIME_MAX).map(|n| s.latency_threshold_ms = n as u32),
    ),
    live(
        "spin-us",
        Setting::SpinUs,
        |s| s.spin_us.to_string(),
        |s, t| integer(t, 0, SPIN_US_MAX).map(|n| s.spin_us = n as u32),
    ),
    startup("bind", |c| {
        c.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }),
    startup("port", |c| c.port.to_string()),
    startup("core-port-base", |c| {
        c.core_port_base.map(|port| port.to_string()).unwrap_or_default()
    }),
    startup("announce-host", |c| c.announce_host.clone().unwrap_or_default()),
    startup("initial-cluster", |c| c.cluster_texts.initial_cluster.clone()),
    startup("join", |c| c.cluster_texts.join.clone()),
    startup("announce", |c| c.cluster_texts.announce.clone()),
    startup("peer-port", |c| c.cluster_texts.peer_port.clone()),
    startup("zone", |c| c.zone.as_ref().map(ToString::to_string).unwrap_or_default()),
    startup("cluster-secret", |c| c.cluster_texts.secret.clone()),
    startup("cluster-secret-file", |c| c.cluster_texts.secret_file.clone()),
    startup("peer-tls-cert", |c| c.cluster_texts.tls_cert.clone()),
    startup("peer-tls-key", |c| c.cluster_texts.tls_key.clone()),
    startup("peer-tls-ca", |c| c.cluster_texts.tls_ca.clone()),
    startup("admin-port", |c| c.admin_port.unwrap_or(0).to_string()),
    startup("dir", |c| c.dir.display().to_string()),
    startup("cores", |c| c.cores.to_string()),
    startup("segment-bytes", |c| c.segment_bytes.to_string()),
    startup("log-target", |c| c.log_bytes_target.to_string()),
    startup("log-format", |c| c.log_format.name().to_string()),
    startup("metrics-prefix", |c| c.metrics_prefix.clone()),
    startup("aclfile", |c| {
        c.acl_file
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default()
    }),
    startup("enable-debug-command", |c| c.debug_command.name().to_string()),
    // Every write is in the log, always; there are no snapshots to schedule and no rewrite to trigger.
    remembered_checked("save", "save", "", save_points),
    // Scripts are stopped by what they do, before anybody would be told that one is busy.
    only("busy-reply-threshold", "0"),
    only("lua-time-limit", "0"),
    only("appendonly", "yes"),
    only("no-appendfsync-on-rewrite", "no"),
    only("auto-aof-rewrite-percentage", "0"),
    only("auto-aof-rewrite-min-size", "0"),
    only("aof-use-rdb-preamble", "no"),
    only("stop-writes-on-bgsave-error", "yes"),
    only_checked("maxmemory-clients", "0", |text| memory_or_percent(text).map(|_| ())),
    // Nodes know each other by the secret of the cluster and --peer-tls-cert; there is no replication of Redis to log in to, and
    // no TLS for clients.
    only("masterauth", ""),
    only("masteruser", ""),
    only("tls-key-file-pass", ""),
    only("tls-client-key-file-pass", ""),
    // Values are freed in bounded slices by whoever owns them: what Redis calls lazy, for every command.
    only("lazyfree-lazy-eviction", "yes"),
    only("lazyfree-lazy-expire", "yes"),
    only("lazyfree-lazy-server-del", "yes"),
    only("lazyfree-lazy-user-del", "yes"),
    only("lazyfree-lazy-user-flush", "yes"),
    // Where Redis changes the form of a collection. Forms here have limits of their own; OBJECT ENCODING goes by these.
    remembered("hash-max-listpack-entries", "hash-max-listpack-entries", "512"),
    remembered("hash-max-ziplist-entries", "hash-max-listpack-entries", "512"),
    remembered("hash-max-listpack-value", "hash-max-listpack-value", "64"),
    remembered("hash-max-ziplist-value", "hash-max-listpack-value", "64"),
    remembered("zset-max-listpack-entries", "zset-max-listpack-entries", "128"),
    remembered("zset-max-ziplist-entries", "zset-max-listpack-entries", "128"),
    remembered("zset-max-listpack-value", "zset-max-listpack-value", "64"),
    remembered("zset-max-ziplist-value", "zset-max-listpack-value", "64"),
    remembered("list-max-listpack-size", "list-max-listpack-size", "-2"),
    remembered("list-max-ziplist-size", "list-max-listpack-size", "-2"),
    remembered("set-max-intset-entries", "set-max-intset-entries", "512"),
    remembered("list-compress-depth", "list-compress-depth", "0"),
    remembered("stream-node-max-entries", "stream-node-max-entries", "100"),
    remembered("stream-node-max-bytes", "stream-node-max-bytes", "4096"),
    remembered("hll-sparse-max-bytes", "hll-sparse-max-bytes", "3000"),
    remembered("hz", "hz", "10"),
    remembered("rdb-key-save-delay", "rdb-key-save-delay", "0"),
    remembered("key-load-delay", "key-load-delay", "0"),
    remembered("repl-timeout", "repl-timeout", "60"),
    remembered("repl-ping-replica-period", "repl-ping-replica-period", "10"),
    only("activedefrag", "no"),
    only("latency-tracking", "yes"),
    only("latency-tracking-info-percentiles", "50 99 99.9"),
    only("min-replicas-to-write", "0"),
    remembered("repl-backlog-size", "repl-backlog-size", "1048576"),
    only("cluster-require-full-coverage", "yes"),
    only("cluster-allow-reads-when-down", "no"),
    only("cluster-node-timeout", "15000"),
    only("protected-mode", "no"),
    only("io-threads", "1"),
    fixed("cluster-enabled", "no"),
    fixed("databases", "16"),
    fixed("daemonize", "no"),
    fixed("supervised", "no"),
    fixed("tls-port", "0"),
    fixed("unixsocket", ""),
    only("rename-command", ""),
    fixed("logfile", ""),
    fixed("replicaof", ""),
    fixed("slaveof", ""),
    fixed("enable-module-command", "no"),
    fixed("enable-protected-configs", "no"),
];

/// Parameters for tests of Redis: they are not listed, and must be asked for by name.
const HIDDEN: [&str; 2] = ["key-load-delay", "rdb-key-save-delay"];

/// Whether a pattern must not find the parameter of this name.
pub fn is_hidden(name: &str) -> bool {
    HIDDEN.contains(&name)
}

/// The parameter of this name, in any case.
pub fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS
        .iter()
        .find(|parameter| parameter.name.eq_ignore_ascii_case(name))
}

fn set_appendfsync(settings: &mut Settings, text: &str) -> Result<(), String> {
    // Redis lists the words in this order when it refuses one.
    let meaning = [Durability::EverySec, Durability::Always, Durability::Off];
    choice(text, &meaning.map(Durability::appendfsync_name)).map(|at| settings.durability = meaning[at])
}

fn set_dataset(settings: &mut Settings, text: &str) -> Result<(), String> {
    memory(text, 0, i64::MAX as u64).map(|bytes| settings.dataset_bytes_max = bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_option_of_the_command_line_is_a_parameter() {
        let names: BTreeSet<_> = PARAMETERS.iter().map(|p| p.name).collect();
        assert_eq!(names.len(), PARAMETERS.len());
        let options: BTreeSet<String> = PARAMETERS.iter().filter_map(|p| p.option).map(str::to_string).collect();
        let mut flags: BTreeSet<String> = super::super::file::option_names().into_iter().collect();
        assert!(flags.remove("config"));
        assert_eq!(flags, options);
    }
}
