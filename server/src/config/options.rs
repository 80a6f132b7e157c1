//! [`RawOptions`]: what the command line says of the server, still as text. [`super::Config::check`] turns it into values.
//!
//! The doc comments here are what `slotcore --help` prints: unit, default, why that default, what breaks at the extremes.

use clap::Args;

/// The server's options as text.
#[derive(Args, Clone, Debug)]
pub struct RawOptions {
    /// TOML file with options of the same names as these flags.
    ///
    /// Flags win over the file. CONFIG REWRITE writes the present values back to it.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub config: Option<String>,

    /// Addresses to listen on, separated by spaces.
    ///
    /// The default is reachable from this machine only. `0.0.0.0` or `::` opens every interface: set --requirepass too.
    #[arg(
        long,
        value_name = "ADDRESSES",
        default_value = "127.0.0.1",
        help_heading = "Network",
        verbatim_doc_comment
    )]
    pub bind: String,

    /// TCP port that answers for every key, like one big Redis; 0 lets the system choose one (it is logged).
    ///
    /// Any client can use it. Cluster-aware ones learn from it where each core listens (--core-port-base), and then reach
    /// each key without a detour.
    #[arg(
        long,
        value_name = "PORT",
        default_value = "6379",
        help_heading = "Network",
        verbatim_doc_comment
    )]
    pub port: String,

    /// First of the ports of the cores: core i is a node of a Redis Cluster at this port + i; 0 = any free ports.
    ///
    /// By default they follow --port, so that one block of ports is all a firewall or a container has to open. Clients are
    /// told these numbers, so they must be the same on the outside.
    #[arg(long, value_name = "PORT", help_heading = "Network", verbatim_doc_comment)]
    pub core_port_base: Option<String>,

    /// Host that cluster clients are told to connect to: an address or a name.
    ///
    /// By default the first address of --bind, or 127.0.0.1 when that stands for every interface: then clients on other
    /// machines need this option. Behind NAT or in a container it is the address of the outside.
    #[arg(long, value_name = "HOST", help_heading = "Network", verbatim_doc_comment)]
    pub announce_host: Option<String>,

    /// The first nodes of a cluster, by the addresses that clients use: HOST:PORT,HOST:PORT,HOST:PORT.
    ///
    /// The same list in the same order on every node: the first is node 1. Each holds a replica of everything; three lose
    /// nothing and go on when one fails. Nodes reach each other at PORT + 10000 and the ports behind it, one for each core;
    /// HOST:PORT@PEER-PORT names another one. All nodes run with the same number of --cores.
    #[arg(long, value_name = "NODES", help_heading = "Cluster", verbatim_doc_comment)]
    pub initial_cluster: Option<String>,

    /// Joins the cluster of a node that listens for others there: HOST:PEER-PORT, or several with commas between.
    ///
    /// For a new directory. The node gets a number, and then replicas of what the cluster holds; it can be started again
    /// without this option. It needs the secret of the cluster, and as many --cores as the others have. Clients are told
    /// its --port; other nodes reach it at PORT + 10000 and behind it, unless --announce HOST:PORT@PEER-PORT says more.
    #[arg(long, value_name = "NODES", help_heading = "Cluster", verbatim_doc_comment)]
    pub join: Option<String>,

    /// Which node of --initial-cluster this one is: HOST:PORT as it stands there. With --join, where it will be reached.
    ///
    /// By default the one with the announced host (--announce-host, or --bind) and --port.
    #[arg(long, value_name = "HOST:PORT", help_heading = "Cluster", verbatim_doc_comment)]
    pub announce: Option<String>,

    /// First of the ports that this node listens on for the others; by default the one they are told.
    #[arg(long, value_name = "PORT", help_heading = "Cluster", verbatim_doc_comment)]
    pub peer_port: Option<String>,

    /// Where this node is: the name of its rack, power feed or availability zone, up to 64 characters, no spaces.
    ///
    /// Replicas of each group are spread over zones as evenly as nodes allow. A node without a name is a zone of its
    /// own. The name is kept until the node is started with another one: then replicas may move.
    #[arg(long, value_name = "NAME", help_heading = "Cluster", verbatim_doc_comment)]
    pub zone: Option<String>,

    /// What only the nodes of the cluster know: they prove it to each other. At least 16 characters.
    ///
    /// Needed when nodes are on several machines. Other users of this machine can read the command line: better use
    /// --cluster-secret-file, or the file of --config.
    #[arg(
        long,
        value_name = "SECRET",
        default_value = "",
        hide_default_value = true,
        help_heading = "Cluster",
        verbatim_doc_comment
    )]
    pub cluster_secret: String,

    /// A file with that secret, which nobody else may read (`chmod 600`).
    #[arg(long, value_name = "FILE", help_heading = "Cluster", verbatim_doc_comment)]
    pub cluster_secret_file: Option<String>,

    /// This node's certificate (PEM): with it all links between nodes are encrypted. Given with the next two, at each start.
    ///
    /// Good for the host by which other nodes reach this one, as server and as client. Nodes with and without certificates
    /// refuse each other. The secret is needed besides.
    #[arg(long, value_name = "FILE", help_heading = "Cluster", verbatim_doc_comment)]
    pub peer_tls_cert: Option<String>,

    /// The key of that certificate (PEM), which nobody else may read (`chmod 600`).
    #[arg(long, value_name = "FILE", help_heading = "Cluster", verbatim_doc_comment)]
    pub peer_tls_key: Option<String>,

    /// Certificates of authorities (PEM): one of them has signed that of each node.
    #[arg(long, value_name = "FILE", help_heading = "Cluster", verbatim_doc_comment)]
    pub peer_tls_ca: Option<String>,

    /// How a leader makes sure before it answers a read that nobody has led since: lease or read-index (live).
    ///
    /// lease: the others have promised not to elect anybody for some time; clocks must run at about the same rate, and pauses
    /// of machines are no danger as long as their clocks go on. read-index: it asks a majority each time, one question for
    /// all reads of a moment; a read takes a round trip longer. Reads are linearizable in both.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "lease",
        help_heading = "Cluster",
        verbatim_doc_comment
    )]
    pub read_mode: String,

    /// Seconds without an answer after which a node's replicas are rebuilt on others; 0 = never (live).
    ///
    /// Needs nodes that have none of them yet, and a majority of each group; the number of replicas stays. The leader of
    /// the metadata group goes by its own value: set the same on all. The default outlasts a restart; below a minute every
    /// pause may have data copied, and with 0 a group stays one failure nearer to its end.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "600",
        help_heading = "Cluster",
        verbatim_doc_comment
    )]
    pub repair_after: String,

    /// Seconds from one round in which replicas compare what they have to the next; 0 = never (live).
    ///
    /// The leader of each group sets the pace: some 500 keys in a tenth of a second, at which every replica looks when it
    /// executes the same entry of the log. One that has not what most have answers nothing from then on, and gets its
    /// leader's state.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "600",
        help_heading = "Cluster",
        verbatim_doc_comment
    )]
    pub compare_every: String,

    /// Port of /metrics, /health and /ready over HTTP, on 127.0.0.1 only; 0 turns it off.
    ///
    /// `slotcore ctl` looks at the cluster through it. There is no password on it, no data behind it, and nothing can be
    /// changed by it; it never listens on another interface.
    #[arg(
        long,
        value_name = "PORT",
        default_value = "9379",
        help_heading = "Network",
        verbatim_doc_comment
    )]
    pub admin_port: String,

    /// Connections served at once (live).
    ///
    /// One more is answered with an error and closed. An idle connection costs under 4 KiB, so the default of Redis
    /// is kept; the limit on open files (`ulimit -n`) must exceed it by about 100.
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "10000",
        help_heading = "Network",
        verbatim_doc_comment
    )]
    pub maxclients: String,

    /// Seconds after which a silent connection is closed; 0 = never (live).
    ///
    /// Clients keep pools of idle connections, so the default leaves them alone. A value below the pool's own idle
    /// time makes clients meet closed connections.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "0",
        help_heading = "Network",
        verbatim_doc_comment
    )]
    pub timeout: String,

    /// Seconds of silence before TCP checks whether the peer still lives; 0 = never (live).
    ///
    /// 300 finds dead peers within minutes and costs nothing. With 0 a peer that lost power holds its connection for
    /// ever; below 10 a slow network looks dead.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "300",
        help_heading = "Network",
        verbatim_doc_comment
    )]
    pub tcp_keepalive: String,

    /// Longest argument of a command, from 1mb to 512mb (live).
    ///
    /// A client that announces more is told so and disconnected. Large values hold a core for as long as they are
    /// copied: lower it when latency matters more.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "512mb",
        help_heading = "Network",
        verbatim_doc_comment
    )]
    pub proto_max_bulk_len: String,

    /// Bytes of one unfinished command kept for a client, from 1mb (live).
    ///
    /// Must exceed --proto-max-bulk-len, or the largest arguments can never arrive. A client above it is disconnected.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "1gb",
        help_heading = "Network",
        verbatim_doc_comment
    )]
    pub client_query_buffer_limit: String,

    /// Bytes of unread replies per class of clients: `<class> <hard> <soft> <seconds>`, repeated (live).
    ///
    /// Classes: normal, replica, pubsub. A client above `hard`, or above `soft` for `seconds`, is disconnected; 0 = no
    /// limit. A normal client needs none: when its replies pile up it is no longer read, so its memory is bounded.
    #[arg(
        long,
        value_name = "LIMITS",
        default_value = "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60",
        help_heading = "Network",
        verbatim_doc_comment
    )]
    pub client_output_buffer_limit: String,

    /// Password that AUTH or HELLO must give; empty = none (live).
    ///
    /// Stands in the process list when given as a flag: prefer the file of --config, readable by the server alone.
    #[arg(
        long,
        value_name = "PASSWORD",
        default_value = "",
        help_heading = "Network",
        verbatim_doc_comment
    )]
    pub requirepass: String,

    /// Directory of the data; made when missing, locked while the server runs.
    ///
    /// Needs a file system with O_DIRECT (ext4, xfs, btrfs; not tmpfs) on the disk whose durability you trust.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./slotcore-data",
        help_heading = "Storage",
        verbatim_doc_comment
    )]
    pub dir: String,

    /// When a write is acknowledged: always, everysec or off (live).
    ///
    ///   always    after it is on disk: a power cut loses no acknowledged write. Many writes share one disk write.
    ///   everysec  when applied; on disk within a second: a power cut loses the last one to two seconds.
    ///   off       when applied: a power cut loses everything the system had not written by itself.
    ///
    /// A store should not lose what it acknowledged, hence the default. A killed process loses nothing acknowledged in
    /// `always`, and in the others only what had not reached the kernel.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "always",
        help_heading = "Storage",
        verbatim_doc_comment
    )]
    pub durability: String,

    /// Size of one file of the log, from 1mb to 1gb, a multiple of 4096.
    ///
    /// Files are written with zeros once and used again for ever, which makes durable writes cheap. Small files rotate
    /// often; large ones take long to prepare and hold space. On a disk too small for four of them a smaller size is
    /// chosen and logged.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "64mb",
        help_heading = "Storage",
        verbatim_doc_comment
    )]
    pub segment_bytes: String,

    /// Bytes the log may take on disk, from 4mb.
    ///
    /// Changes are in the log until their keys are written to files; then the log forgets them. A start executes what is in
    /// the log, about a second for each 500 MB and core. Small values write keys that change often again and again. Each core
    /// needs four files of --segment-bytes at least.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "1gb",
        help_heading = "Storage",
        verbatim_doc_comment
    )]
    pub log_target: String,

    /// Bytes a second of files that are read again to find damage before somebody needs them; 0 = none (live).
    ///
    /// All files once a day, if the rate allows: 4 MB a second are 340 GB a day. Damage is logged, and shown by INFO store and
    /// /metrics. A high rate takes reads of the device away from clients.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "4mb",
        help_heading = "Storage",
        verbatim_doc_comment
    )]
    pub scrub_rate: String,

    /// Memory the server may use; 0 = seven tenths of the machine's, or of the control group's limit (live).
    ///
    /// No limit of the data: what does not fit is in files, and read from there when it is asked for. Each core takes 64 MB
    /// of it for buffers. With less than the keys in daily use need, most commands wait for the disk; with more than the
    /// machine has, the kernel ends the process.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "0",
        help_heading = "Cores and memory",
        verbatim_doc_comment
    )]
    pub memory: String,

    /// Bytes that all keys together may take, those that lie only in files among them; 0 = no limit (live).
    ///
    /// `maxmemory` of Redis. What would make the data grow beyond it is refused with OOM; reads and deletions go on. Each core
    /// has an equal part of it. Independent of --memory: a limit above it bounds the disk, one below it the memory.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "0",
        help_heading = "Cores and memory",
        verbatim_doc_comment
    )]
    pub dataset_limit: String,

    /// What happens at --dataset-limit: which keys go, or, with noeviction, that writes are refused (live).
    ///
    ///   noeviction                         none: what needs more room is answered with OOM.
    ///   allkeys-lru, allkeys-lfu           those that were not used for longest, or are used least often.
    ///   allkeys-random                     any.
    ///   volatile-lru, -lfu, -random, -ttl  the same among keys with an expiry; -ttl: those that expire first.
    ///
    /// A key that goes is deleted, durably and on every replica: this makes a cache of the store. Data is no cache by default.
    /// Noting how keys are used, for -lru and -lfu, takes a 32nd of --memory.
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "noeviction",
        help_heading = "Cores and memory",
        verbatim_doc_comment
    )]
    pub maxmemory_policy: String,

    /// Keys drawn at random for each key that goes, from 1 to 64 (live). More find better ones and cost time.
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "5",
        help_heading = "Cores and memory",
        verbatim_doc_comment
    )]
    pub maxmemory_samples: String,

    /// How slowly the counters of -lfu grow with the uses of a key (live). Those of Redis, with its default.
    #[arg(
        long,
        value_name = "FACTOR",
        default_value = "10",
        help_heading = "Cores and memory",
        verbatim_doc_comment
    )]
    pub lfu_log_factor: String,

    /// Minutes without use after which the counter of a key falls by one; 0 = never (live).
    #[arg(
        long,
        value_name = "MINUTES",
        default_value = "1",
        help_heading = "Cores and memory",
        verbatim_doc_comment
    )]
    pub lfu_decay_time: String,

    /// Cores: threads that each own a part of the keys, up to 1024; 0 = one for each processor this process may use.
    ///
    /// Fixed when the data directory is made. With fewer processors later, several cores share one; that costs speed only.
    /// Each core needs about 64 MB for buffers and 256 MB on disk for its log.
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "0",
        help_heading = "Cores and memory",
        verbatim_doc_comment
    )]
    pub cores: String,

    /// Microseconds a busy core looks for new work before it sleeps, from 0 to 1000 (live).
    ///
    /// Waking a sleeping core costs 20 to 100 microseconds, more in virtual machines. An idle server sleeps whatever is
    /// set here. 0 saves power and helps when cores are shared; above 200 a core is hardly ever given back.
    #[arg(
        long,
        value_name = "MICROSECONDS",
        default_value = "50",
        help_heading = "Cores and memory",
        verbatim_doc_comment
    )]
    pub spin_us: String,

    /// How much is logged: error, warn, info or debug (live).
    ///
    /// `debug` logs every connection and is not meant for a loaded server.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        help_heading = "Insight",
        verbatim_doc_comment
    )]
    pub log_level: String,

    /// Form of the log on standard error: text, or json (one object a line).
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Insight",
        verbatim_doc_comment
    )]
    pub log_format: String,

    /// Commands that run longer enter the slow log, in microseconds; 0 = all, -1 = none (live).
    #[arg(
        long,
        value_name = "MICROSECONDS",
        default_value = "10000",
        help_heading = "Insight",
        allow_hyphen_values = true,
        verbatim_doc_comment
    )]
    pub slowlog_log_slower_than: String,

    /// Entries the slow log keeps, from 0 to 100000 (live). Each holds up to 4 KiB.
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "128",
        help_heading = "Insight",
        verbatim_doc_comment
    )]
    pub slowlog_max_len: String,

    /// Entries that ACL LOG keeps, from 0 to 100000 (live).
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "128",
        help_heading = "Insight",
        verbatim_doc_comment
    )]
    pub acllog_max_len: String,

    /// Events of at least this many milliseconds enter LATENCY HISTORY; 0 = off (live).
    #[arg(
        long,
        value_name = "MILLISECONDS",
        default_value = "0",
        help_heading = "Insight",
        verbatim_doc_comment
    )]
    pub latency_monitor_threshold: String,

    /// Which changes of keys are published, by letters as in Redis; empty = none (live).
    ///
    /// `K` on channels `__keyspace@0__:<key>`, `E` on channels `__keyevent@0__:<event>`; and of which kinds: `g` generic, `$`
    /// strings, `l` lists, `s` sets, `h` hashes, `z` sorted sets, `t` streams, `x` expired, `A` all of these, `n` new keys, `m`
    /// misses. Each event costs a write a little, and each listener a message.
    #[arg(
        long,
        value_name = "LETTERS",
        default_value = "",
        help_heading = "Insight",
        verbatim_doc_comment
    )]
    pub notify_keyspace_events: String,

    /// Keys that clients with CLIENT TRACKING may be noted to hold copies of; 0 = no limit (live).
    ///
    /// Each takes about 100 bytes. Beyond the limit some are told as if they had changed: too few make copies useless.
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "1000000",
        help_heading = "Insight",
        verbatim_doc_comment
    )]
    pub tracking_table_max_keys: String,

    /// First word of every metric's name: letters, digits and underscores.
    ///
    /// `raftkv` gives the names that dashboards of the RaftKV store expect.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "slotcore",
        help_heading = "Insight",
        verbatim_doc_comment
    )]
    pub metrics_prefix: String,

    /// File with users and what they may do, a line each as ACL LIST shows them; none by default.
    ///
    /// With it the password of the default user stands there, and --requirepass must be empty. ACL SAVE writes to it,
    /// ACL LOAD reads it again.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true,
        help_heading = "Network",
        verbatim_doc_comment
    )]
    pub aclfile: String,

    /// Who may use DEBUG, which can stop the server for a while: no, yes, or local (connections from this machine).
    #[arg(
        long,
        value_name = "WHO",
        default_value = "local",
        help_heading = "Insight",
        verbatim_doc_comment
    )]
    pub enable_debug_command: String,
}
