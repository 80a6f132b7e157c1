//! [`Settings`]: what `CONFIG SET` can change while the server runs. Everything else of the configuration is fixed at
//! start.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use slotcore_engine::cmd::EncodingLimits;
use slotcore_engine::eviction::EvictionPolicy;

use super::notify::NotifyEvents;
use super::output_limits::OutputBufferLimits;

/// When a write is acknowledged (`--durability`, `CONFIG SET durability`, `CONFIG SET appendfsync`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After it is durable: survives power loss.
    Always,
    /// After it is applied; made durable once a second. Power loss may cost the last one to two seconds.
    EverySec,
    /// After it is applied; written to the log, never waited for. Power loss may cost everything since the last flush.
    Off,
}

impl Durability {
    /// Names of our own parameter, in the order of the variants.
    pub const NAMES: [&str; 3] = ["always", "everysec", "off"];

    /// The variant at a position of [`Durability::NAMES`].
    pub fn from_position(at: usize) -> Self {
        [Self::Always, Self::EverySec, Self::Off][at]
    }

    /// As `--durability` spells it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// As Redis's `appendfsync` spells it.
    pub fn appendfsync_name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySec => "everysec",
            Self::Off => "no",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a leader of several replicas makes sure that nobody has led since (`--read-mode`, `CONFIG SET read-mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// By a promise of the others that holds for some time: clocks must run at about the same rate.
    Lease,
    /// By asking a quorum each time: trusts no clock.
    ReadIndex,
}

impl ReadMode {
    /// Names, in the order of the variants.
    pub const NAMES: [&str; 2] = ["lease", "read-index"];

    /// The variant at a position of [`ReadMode::NAMES`].
    pub fn from_position(at: usize) -> Self {
        [Self::Lease, Self::ReadIndex][at]
    }

    /// As `--read-mode` spells it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// Also what will soon need one.
    Warn,
    /// Also the milestones: start, stop, changes of configuration.
    Info,
    /// Also single connections.
    Debug,
}

impl LogLevel {
    /// Names of our own parameter, in the order of the variants.
    pub const NAMES: [&str; 4] = ["error", "warn", "info", "debug"];
    /// Names of Redis's `loglevel`, from most to least; `verbose` and `notice` both mean [`LogLevel::Info`].
    pub const REDIS_NAMES: [&str; 4] = ["debug", "verbose", "notice", "warning"];

    /// The variant at a position of [`LogLevel::NAMES`].
    pub fn from_position(at: usize) -> Self {
        [Self::Error, Self::Warn, Self::Info, Self::Debug][at]
    }

    /// The variant for a position of [`LogLevel::REDIS_NAMES`].
    pub fn from_redis_position(at: usize) -> Self {
        [Self::Debug, Self::Info, Self::Info, Self::Warn][at]
    }

    /// As `--log-level` spells it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// As Redis's `loglevel` spells it. Redis knows nothing quieter than `warning`.
    pub fn redis_name(self) -> &'static str {
        match self {
            Self::Error | Self::Warn => "warning",
            Self::Info => "notice",
            Self::Debug => "debug",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything `CONFIG SET` can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// When a write is acknowledged.
    pub durability: Durability,
    /// Bytes of memory the server may use; 0 = a share of the machine's. What does not fit is in files.
    pub memory_bytes_max: u64,
    /// Bytes that all keys together may take, in memory and in files; 0 = no limit.
    pub dataset_bytes_max: u64,
    /// Bytes a second that the scrubber reads; 0 = it does not.
    pub scrub_bytes_per_s: u64,
    /// How reads of replicated groups are made sure of.
    pub read_mode: ReadMode,
    /// Seconds after which replicas of a node that does not answer are rebuilt on others; 0 = never.
    pub repair_after_s: u32,
    /// Seconds between two rounds in which replicas compare what they have; 0 = never.
    pub compare_every_s: u32,
    /// Which keys go at that limit.
    pub eviction_policy: EvictionPolicy,
    /// Keys drawn at random for each that goes.
    pub eviction_samples: u32,
    /// How slowly the counters of uses grow.
    pub lfu_log_factor: u32,
    /// Minutes after which such a counter falls by one; 0 = never.
    pub lfu_decay_minutes: u32,
    /// The password of every connection; empty = none needed.
    pub password: String,
    /// How much is logged.
    pub log_level: LogLevel,
    /// Connections served at once; one more is told so and closed.
    pub clients_max: u32,
    /// Seconds after which a silent connection is closed; 0 = never.
    pub idle_timeout_s: u32,
    /// Seconds of silence before TCP probes the peer; 0 = never.
    pub tcp_keepalive_s: u32,
    /// Longest argument of a command, in bytes.
    pub bulk_bytes_max: u64,
    /// Bytes of a command that may be buffered before it is complete.
    pub query_buffer_bytes_max: u64,
    /// Bytes of replies a client may leave unread.
    pub output_buffer_limits: OutputBufferLimits,
    /// Which keyspace events are published.
    pub notify_keyspace_events: NotifyEvents,
    /// Keys that clients may be noted to hold copies of, over all cores; 0 = no limit.
    pub tracking_keys_max: u64,
    /// Commands slower than this many microseconds enter the slow log; 0 = all, -1 = none.
    pub slow_log_slower_than_us: i64,
    /// Entries the slow log keeps.
    pub slow_log_len_max: u32,
    /// Entries that `ACL LOG` keeps.
    pub acl_log_len_max: usize,
    /// Events of at least this many milliseconds enter the latency monitor; 0 = off.
    pub latency_threshold_ms: u32,
    /// Microseconds a busy core looks for work before it sleeps; 0 = sleeps at once.
    pub spin_us: u32,
    /// Values that were set of parameters without effect, by name.
    pub remembered: BTreeMap<&'static str, String>,
}

impl Settings {
    /// After how long the replicas of a node that does not answer are rebuilt on others; `None`: never.
    pub fn repair_after(&self) -> Option<Duration> {
        (self.repair_after_s > 0).then(|| Duration::from_secs(self.repair_after_s.into()))
    }

    /// How often a round begins in which replicas compare what they have; zero: never.
    pub fn compare_every(&self) -> Duration {
        Duration::from_secs(self.compare_every_s.into())
    }

    /// From which sizes on OBJECT ENCODING calls collections large.
    pub fn encoding_limits(&self) -> EncodingLimits {
        let mut limits = EncodingLimits::default();
        for (name, limit) in [
            ("hash-max-listpack-entries", &mut limits.hash.entries),
            ("hash-max-listpack-value", &mut limits.hash.bytes),
            ("zset-max-listpack-entries", &mut limits.zset.entries),
            ("zset-max-listpack-value", &mut limits.zset.bytes),
            ("set-max-intset-entries", &mut limits.intset_entries),
        ] {
            if let Some(set) = self.remembered.get(name).and_then(|text| text.parse().ok()) {
                *limit = set;
            }
        }
        limits
    }
}

/// Names one member of [`Settings`], so that whoever applies a change looks at what changed only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is named like the member of Settings it stands for")]
pub enum Setting {
    Durability,
    MemoryBytesMax,
    DatasetBytesMax,
    ScrubRate,
    ReadMode,
    RepairAfter,
    /// How often replicas compare what they have.
    CompareEvery,
    /// `maxmemory-policy` and what belongs to it.
    Eviction,
    Password,
    LogLevel,
    ClientsMax,
    IdleTimeout,
    TcpKeepalive,
    BulkBytesMax,
    QueryBufferBytesMax,
    OutputBufferLimits,
    NotifyKeyspaceEvents,
    TrackingKeysMax,
    SlowLogSlowerThan,
    /// `acllog-max-len`.
    AclLogLenMax,
    SlowLogLenMax,
    LatencyThreshold,
    SpinUs,
}
