//! [`Config`]: everything the server was told, checked. Flags and file become one raw struct ([`RawOptions`]), one
//! function ([`Config::check`]) turns it into typed values; parts of the server get their own small options from here,
//! never flags or the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use slotcore_engine::eviction::EvictionPolicy;
use slotcore_netio::peer::PeerTls;
use slotcore_rt::config_file;

use crate::acl::AclTable;
use crate::ctl::options::CtlOptions;
use crate::nodes::Zone;
use crate::upkeep::UpkeepCommand;

pub mod cluster;
pub mod command_line;
pub mod file;
pub mod notify;
pub mod options;
pub mod output_limits;
pub mod parameters;
pub mod parse;
pub mod peer_tls;
pub mod registry;
pub mod settings;

pub use cluster::{Begin, ClusterConfig, ClusterTexts, NodeAddress};
pub use notify::NotifyEvents;
pub use options::RawOptions;
pub use output_limits::{OutputBufferLimits, OutputLimit};
pub use registry::{ConfigRegistry, ConfigSetError};
pub use settings::{Durability, LogLevel, ReadMode, Setting, Settings};

/// Longest argument of a command, in bytes: Redis's own default, and what one log entry is sized for.
pub const BULK_BYTES_LIMIT: u64 = 512 << 20;
/// Smallest allowed `proto-max-bulk-len` and query buffer, in bytes: as in Redis.
pub const BULK_BYTES_FLOOR: u64 = 1 << 20;
/// Bounds of `--segment-bytes`: below, rotation dominates; above, preparing one file takes many seconds.
pub const SEGMENT_BYTES_BOUNDS: (u64, u64) = (1 << 20, 1 << 30);
/// `--segment-bytes` is a multiple of this many bytes: the log writes whole blocks of this size.
pub const SEGMENT_BYTES_STEP: u64 = 4096;
/// Smallest `--log-target`, in bytes: a few of the smallest files.
pub const LOG_TARGET_MIN: u64 = 4 << 20;
/// Longest `--announce-host`: the longest name the domain name system has.
pub const HOST_BYTES_MAX: usize = 253;
/// Longest `--spin-us`: beyond, a core would hardly ever be given back.
pub const SPIN_US_MAX: i64 = 1000;
/// Most entries the slow log may keep: at up to 4 KiB each this bounds it to 400 MiB.
pub const SLOW_LOG_LEN_MAX: i64 = 100_000;

/// Most keys drawn for each that goes (`--maxmemory-samples`): beyond, choosing would hold a core.
pub const EVICTION_SAMPLES_MAX: i64 = 64;

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Who may use DEBUG, which can stop the server for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugCommand {
    /// Nobody.
    No,
    /// Everybody.
    Yes,
    /// Connections from this machine.
    Local,
}

impl DebugCommand {
    const NAMES: [&str; 3] = ["no", "yes", "local"];

    /// As `--enable-debug-command` spells it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl LogFormat {
    const NAMES: [&str; 2] = ["text", "json"];

    /// As `--log-format` spells it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Everything the server was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file given with `--config`; `CONFIG REWRITE` writes to it.
    pub file: Option<PathBuf>,
    /// Addresses to listen on; at least one.
    pub bind: Vec<IpAddr>,
    /// Port that answers for every key; 0 = any free one.
    pub port: u16,
    /// First of the cores' own ports, 0 = any free ones; `None` = they follow `port`. See [`Config::core_port`].
    pub core_port_base: Option<u16>,
    /// What clients are told to connect to; `None` = see [`Config::announced_host`].
    pub announce_host: Option<String>,
    /// The other nodes; `None` = this one is alone.
    pub cluster: Option<ClusterConfig>,
    /// What was said about them.
    pub cluster_texts: ClusterTexts,
    /// What this node may fail together with; `None`: it was not said.
    pub zone: Option<Zone>,
    /// The certificates that links between nodes are secured with; `None`: they are not encrypted.
    pub peer_tls: Option<PeerTls>,
    /// Port of the admin HTTP server on the loopback address; `None` = off.
    pub admin_port: Option<u16>,
    /// Directory of the data.
    pub dir: PathBuf,
    /// Cores to use.
    pub cores: u16,
    /// Size of one log file, in bytes; the log may choose less on a small disk.
    pub segment_bytes: u64,
    /// Bytes the log may take on disk, over all cores; cores round it up to whole files.
    pub log_bytes_target: u64,
    /// Form of the log lines.
    pub log_format: LogFormat,
    /// First word of every metric's name.
    pub metrics_prefix: String,
    /// Who may use DEBUG.
    pub debug_command: DebugCommand,
    /// The file of `--aclfile`; `ACL SAVE` writes to it.
    pub acl_file: Option<PathBuf>,
    /// Users at the start: those of the file, or the default one with `--requirepass`.
    pub users: AclTable,
    /// What `CONFIG SET` can change.
    pub settings: Settings,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run the server.
    Server(Box<Config>),
    /// Look after a data directory.
    Upkeep(UpkeepCommand),
    /// Look at a running cluster, and change it.
    Ctl(CtlOptions),
}

/// Why the configuration was refused.
#[derive(Debug)]
pub enum ConfigError {
    /// clap's own message: unknown flag, missing value, or the text of `--help` and `--version` (which are no failure).
    CommandLine(clap::Error),
    /// The file of `--config` could not be read.
    FileUnreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file of `--config` is not what it should be.
    FileInvalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong, with the line where known.
        message: String,
    },
    /// An option has a value that cannot be used.
    Option {
        /// The option's name without dashes.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        message: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine(error) => write!(f, "{error}"),
            Self::FileUnreadable { path, error } => {
                write!(
                    f,
                    "cannot read the configuration file {}: {error}. Check the path given to --config.",
                    path.display()
                )
            }
            Self::FileInvalid { path, message } => write!(f, "configuration file {}: {message}", path.display()),
            Self::Option { name, value, message } => write!(f, "--{name}: {message} (got \"{value}\")"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Reads the command line (program name first) and the file it names, and checks both.
///
/// # Errors
/// See [`ConfigError`]. `--help` and `--version` arrive as [`ConfigError::CommandLine`] with clap's exit code 0.
pub fn from_command_line(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, ConfigError> {
    use clap::Parser as _;
    use command_line::{Command, CommandLine};

    let mut args: Vec<OsString> = args.into_iter().collect();
    let options_of = |line: CommandLine| match line.command {
        None => Ok(line.server),
        Some(Command::Server(options)) => Ok(*options),
        Some(Command::Inspect(options)) => Err(Invocation::Upkeep(UpkeepCommand::Inspect(options))),
        Some(Command::Check(options)) => Err(Invocation::Upkeep(UpkeepCommand::Check(options))),
        Some(Command::Backup(options)) => Err(Invocation::Upkeep(UpkeepCommand::Backup(options))),
        Some(Command::Restore(options)) => Err(Invocation::Upkeep(UpkeepCommand::Restore(options))),
        Some(Command::Ctl(options)) => Err(Invocation::Ctl(options)),
    };
    let parse = |args: &[OsString]| CommandLine::try_parse_from(args).map_err(ConfigError::CommandLine);
    let mut raw = match options_of(parse(&args)?) {
        Ok(raw) => raw,
        Err(invocation) => return Ok(invocation),
    };
    let file = raw.config.clone().map(PathBuf::from);
    if let Some(path) = &file {
        // The file's options go in front of the flags, so that the later ones, the flags, win.
        let from_file = file::as_flags(path)?;
        let at = if args.get(1).is_some_and(|word| word == "server") {
            2
        } else {
            1
        };
        args.splice(at..at, from_file.into_iter().map(OsString::from));
        raw = options_of(parse(&args)?).unwrap_or(raw);
    }
    match Config::check(raw) {
        Ok(config) => Ok(Invocation::Server(Box::new(config))),
        Err(error) => Err(match &file {
            Some(path) => file::blame(path, error),
            None => error,
        }),
    }
}

impl Config {
    /// What holds when nothing is said.
    pub fn defaults() -> Self {
        match from_command_line(["slotcore".into()]) {
            Ok(Invocation::Server(config)) => *config,
            Ok(Invocation::Upkeep(_) | Invocation::Ctl(_)) => unreachable!("without a subcommand the server is meant"),
            Err(error) => panic!("the defaults pass their own checks: {error}"),
        }
    }

    /// Turns text into values.
    ///
    /// # Errors
    /// [`ConfigError::Option`] for the first value that cannot be used.
    pub fn check(raw: RawOptions) -> Result<Self, ConfigError> {
        use parse::{choice, integer, memory};

        let told = raw.clone();
        let port = |name, text: &str| option(name, text, |t| integer(t, 0, 65535)).map(|port| port as u16);
        let seconds = |name, text| option(name, text, |t| integer(t, 0, i64::from(i32::MAX))).map(|s| s as u32);
        let bulk_bytes_max = option("proto-max-bulk-len", &raw.proto_max_bulk_len, |t| {
            memory(t, BULK_BYTES_FLOOR, BULK_BYTES_LIMIT)
        })?;
        let acl_file = given(Some(raw.aclfile)).map(PathBuf::from);
        if acl_file.is_some() && !raw.requirepass.is_empty() {
            return Err(ConfigError::Option {
                name: "aclfile",
                value: String::new(),
                message: "with an ACL file the password of the default user stands there: leave out requirepass".into(),
            });
        }
        let settings = Settings {
            durability: Durability::from_position(option("durability", &raw.durability, |t| {
                choice(t, &Durability::NAMES)
            })?),
            memory_bytes_max: option("memory", &raw.memory, |t| memory(t, 0, i64::MAX as u64))?,
            dataset_bytes_max: option("dataset-limit", &raw.dataset_limit, |t| memory(t, 0, i64::MAX as u64))?,
            scrub_bytes_per_s: option("scrub-rate", &raw.scrub_rate, |t| memory(t, 0, i64::MAX as u64))?,
            read_mode: ReadMode::from_position(option("read-mode", &raw.read_mode, |t| choice(t, &ReadMode::NAMES))?),
            repair_after_s: seconds("repair-after", &raw.repair_after)?,
            compare_every_s: seconds("compare-every", &raw.compare_every)?,
            eviction_policy: EvictionPolicy::from_position(option("maxmemory-policy", &raw.maxmemory_policy, |t| {
                choice(t, &EvictionPolicy::NAMES)
            })?),
            eviction_samples: option("maxmemory-samples", &raw.maxmemory_samples, |t| {
                integer(t, 1, EVICTION_SAMPLES_MAX)
            })? as u32,
            lfu_log_factor: seconds("lfu-log-factor", &raw.lfu_log_factor)?,
            lfu_decay_minutes: seconds("lfu-decay-time", &raw.lfu_decay_time)?,
            password: raw.requirepass,
            log_level: LogLevel::from_position(option("log-level", &raw.log_level, |t| choice(t, &LogLevel::NAMES))?),
            clients_max: option("maxclients", &raw.maxclients, |t| integer(t, 1, i64::from(u32::MAX)))? as u32,
            idle_timeout_s: seconds("timeout", &raw.timeout)?,
            tcp_keepalive_s: seconds("tcp-keepalive", &raw.tcp_keepalive)?,
            bulk_bytes_max,
            query_buffer_bytes_max: option("client-query-buffer-limit", &raw.client_query_buffer_limit, |t| {
                memory(t, BULK_BYTES_FLOOR, i64::MAX as u64)
            })?,
            output_buffer_limits: option("client-output-buffer-limit", &raw.client_output_buffer_limit, |t| {
                let mut limits = OutputBufferLimits::default();
                limits.update(t).map(|()| limits)
            })?,
            notify_keyspace_events: option(
                "notify-keyspace-events",
                &raw.notify_keyspace_events,
                NotifyEvents::parse,
            )?,
            tracking_keys_max: option("tracking-table-max-keys", &raw.tracking_table_max_keys, |t| {
                integer(t, 0, i64::MAX)
            })? as u64,
            slow_log_slower_than_us: option("slowlog-log-slower-than", &raw.slowlog_log_slower_than, |t| {
                integer(t, -1, i64::MAX)
            })?,
            acl_log_len_max: option("acllog-max-len", &raw.acllog_max_len, |t| {
                integer(t, 0, SLOW_LOG_LEN_MAX)
            })? as usize,
            slow_log_len_max: option("slowlog-max-len", &raw.slowlog_max_len, |t| {
                integer(t, 0, SLOW_LOG_LEN_MAX)
            })? as u32,
            latency_threshold_ms: seconds("latency-monitor-threshold", &raw.latency_monitor_threshold)?,
            spin_us: option("spin-us", &raw.spin_us, |t| integer(t, 0, SPIN_US_MAX))? as u32,
            remembered: BTreeMap::new(),
        };
        let mut config = Self {
            file: raw.config.map(PathBuf::from),
            bind: option("bind", &raw.bind, addresses)?,
            port: port("port", &raw.port)?,
            core_port_base: given(raw.core_port_base)
                .map(|text| port("core-port-base", &text))
                .transpose()?,
            announce_host: given(raw.announce_host)
                .map(|text| option("announce-host", &text, host))
                .transpose()?,
            admin_port: Some(port("admin-port", &raw.admin_port)?).filter(|&port| port != 0),
            dir: option("dir", &raw.dir, |t| {
                if t.is_empty() {
                    Err("a directory is needed".to_string())
                } else {
                    Ok(PathBuf::from(t))
                }
            })?,
            cores: option("cores", &raw.cores, cores)?,
            segment_bytes: option("segment-bytes", &raw.segment_bytes, segment_bytes)?,
            log_bytes_target: option("log-target", &raw.log_target, |t| {
                memory(t, LOG_TARGET_MIN, i64::MAX as u64)
            })?,
            log_format: option("log-format", &raw.log_format, |t| {
                choice(t, &LogFormat::NAMES).map(|at| [LogFormat::Text, LogFormat::Json][at])
            })?,
            metrics_prefix: option("metrics-prefix", &raw.metrics_prefix, metrics_prefix)?,
            debug_command: option("enable-debug-command", &raw.enable_debug_command, |t| {
                choice(t, &DebugCommand::NAMES).map(|at| [DebugCommand::No, DebugCommand::Yes, DebugCommand::Local][at])
            })?,
            users: users(acl_file.as_deref(), &settings.password)?,
            acl_file,
            settings,
            cluster: None,
            cluster_texts: ClusterTexts::of(&told),
            zone: given(raw.zone)
                .map(|name| option("zone", &name, Zone::parse))
                .transpose()?,
            peer_tls: peer_tls::read(&told)?,
        };
        config.cluster = ClusterConfig::check(&told, (config.announced_host(), config.port))?;
        config.check_for_cluster()?;
        Ok(config)
    }

    /// What holds for a node on its own and not for one of several.
    pub(crate) fn check_for_cluster(&self) -> Result<(), ConfigError> {
        let refused = |name, value: String, message: &str| {
            Err(ConfigError::Option {
                name,
                value,
                message: message.into(),
            })
        };
        if self.cluster.is_none() {
            return Ok(());
        }
        if self.settings.durability != Durability::Always {
            return refused(
                "durability",
                self.settings.durability.name().into(),
                "a cluster counts on what its nodes have said to be on disk: only \"always\" is possible there",
            );
        }
        if let Some(base) = self
            .core_port_base
            .filter(|&base| self.port.checked_add(1) != Some(base))
        {
            return refused(
                "core-port-base",
                base.to_string(),
                "the other nodes of a cluster expect the cores' ports behind --port: leave this option out",
            );
        }
        Ok(())
    }

    /// Where a core listens: the base and its number, 0 for any free port. `None`: there is no such port.
    pub fn core_port(&self, core: u16) -> Option<u16> {
        match (self.core_port_base, self.port) {
            (Some(0), _) | (None, 0) => Some(0),
            (Some(base), _) => base.checked_add(core),
            (None, port) => port.checked_add(1)?.checked_add(core),
        }
    }

    /// The host that clients are told: never one that stands for every interface.
    pub fn announced_host(&self) -> String {
        match (&self.announce_host, self.bind.first()) {
            (Some(host), _) => host.clone(),
            (None, Some(ip)) if !ip.is_unspecified() => ip.to_string(),
            _ => "127.0.0.1".to_string(),
        }
    }

    /// What an operator should think about, though the server can start: one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.users.needs_login() && self.bind.iter().any(|address| !address.is_loopback()) {
            warnings.push(
                "listening beyond this machine without a password: anybody who reaches the port can read and change \
                 everything; set --requirepass or a narrower --bind"
                    .to_string(),
            );
        }
        if self.announce_host.is_none() && self.bind.first().is_some_and(IpAddr::is_unspecified) {
            warnings.push(
                "cluster clients are told 127.0.0.1, which only those on this machine can use: set --announce-host"
                    .to_string(),
            );
        }
        if self.settings.query_buffer_bytes_max <= self.settings.bulk_bytes_max {
            warnings.push(format!(
                "--client-query-buffer-limit ({}) does not exceed --proto-max-bulk-len ({}): the largest arguments \
                 can never arrive",
                self.settings.query_buffer_bytes_max, self.settings.bulk_bytes_max
            ));
        }
        if self.settings.durability == Durability::Off {
            warnings.push("--durability off: a power cut loses acknowledged writes".to_string());
        }
        warnings
    }
}

/// The users of the ACL file, if there is one.
fn users(file: Option<&Path>, password: &str) -> Result<AclTable, ConfigError> {
    let Some(path) = file else {
        return Ok(AclTable::new(password));
    };
    let path = path.to_path_buf();
    let text = config_file::read(&path).map_err(|error| ConfigError::FileUnreadable {
        path: path.clone(),
        error,
    })?;
    AclTable::from_file(&text).map_err(|error| ConfigError::FileInvalid {
        path,
        message: error.to_string(),
    })
}

/// Runs one option's parser and names the option in its error. A password never gets here: any text is one.
fn option<T>(name: &'static str, text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, ConfigError> {
    parse(text).map_err(|message| ConfigError::Option {
        name,
        value: text.to_string(),
        message,
    })
}

/// An option that may be left out; the empty text leaves it out, too.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// A host as clients can read it from `CLUSTER NODES`, where it stands between other things.
pub(crate) fn host(text: &str) -> Result<String, String> {
    if text.len() > HOST_BYTES_MAX {
        return Err(format!("a host has at most {HOST_BYTES_MAX} characters"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
    match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Err("nobody can connect to an address that stands for every interface".into()),
        Err(_) if !text.chars().all(plain) => Err("an IPv4 or IPv6 address or a host name is needed".into()),
        _ => Ok(text.to_string()),
    }
}

fn addresses(text: &str) -> Result<Vec<IpAddr>, String> {
    let bind: Result<Vec<IpAddr>, String> = text
        .split_ascii_whitespace()
        .map(|word| {
            word.parse()
                .map_err(|_| format!("'{word}' is not an IPv4 or IPv6 address"))
        })
        .collect();
    match bind {
        Ok(bind) if bind.is_empty() => Err("at least one address is needed".to_string()),
        other => other,
    }
}

/// Most cores of one process: beyond, a core would own too few slots to be worth it.
pub const CORES_MAX: u16 = 1024;

fn cores(text: &str) -> Result<u16, String> {
    let cores = parse::integer(text, 0, i64::from(CORES_MAX))?;
    Ok(cores as u16)
}

fn segment_bytes(text: &str) -> Result<u64, String> {
    let bytes = parse::memory(text, SEGMENT_BYTES_BOUNDS.0, SEGMENT_BYTES_BOUNDS.1)?;
    if bytes.is_multiple_of(SEGMENT_BYTES_STEP) {
        Ok(bytes)
    } else {
        Err(format!("argument must be a multiple of {SEGMENT_BYTES_STEP}"))
    }
}

fn metrics_prefix(text: &str) -> Result<String, String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    if first && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(text.to_string())
    } else {
        Err("a letter, then letters, digits and underscores are allowed".to_string())
    }
}
