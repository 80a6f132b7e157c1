//! The commands about connection and server, told as stories: each file in `tests/commands/` is a script of commands and
//! the answers they gave. `SLOTCORE_UPDATE=1 cargo test -p slotcore-server` writes the answers of today into the files.
//!
//! ```text
//! # A remark.
//! > command with "quoted arguments"      runs it for the present client; its answer follows, two spaces deeper a level
//! ! client b                             from here on another client speaks (made when it is new)
//! ! wait 1500                            so many milliseconds pass
//! ! again 99 command                     the command is run so many times, its answers are not told
//! ! password secret                      the server asks for a password; clients made later must give it
//! ! ran get 20000                        a command ran for so many microseconds
//! ! latency command 120                  a moment of so many milliseconds was seen
//! ! set key value                        a key exists
//! ! core 2                               this is core 2 of three
//! ! next core                            from here on this is the next of three cores, which shows what all did so far
//! ! endpoint core                        the present client came in by the port of this core
//! ```
//!
//! Answers: `+simple`, `-error`, `:integer`, `,double`, `"bulk"`, `(nil)`, `(nil array)`, `=` verbatim text with `|` in front
//! of each line, `*3` array, `%2` map, `~1` set. What must happen outside the command stands behind `=>`.
#![allow(clippy::disallowed_methods, reason = "tests read and write their own scripts")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slotcore_engine::cmd::{self, Args, Reply, Run};
use slotcore_engine::keyspace::{Expire, Keyspace, KeyspaceOptions};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::CoreId;
use slotcore_server::clients::{BufferUse, Buffers, ClientState, Endpoint};
use slotcore_server::cluster_map::{ClusterMap, CoreNode, node_id};
use slotcore_server::commands::{self, Around, Conditions, Flow, ServerIdentity, ServerState};
use slotcore_server::config::{self, Config, ConfigRegistry, Invocation};
use slotcore_server::metrics::{CoreFacts, CoreMetrics, CoreSnapshot, LatencyKind};

#[test]
fn connection() {
    check("connection");
}

#[test]
fn acl() {
    check("acl");
}

#[test]
fn auth() {
    check("auth");
}

#[test]
fn client() {
    check("client");
}

#[test]
fn configuration() {
    check("config");
}

#[test]
fn info() {
    check("info");
}

#[test]
fn insight() {
    check("insight");
}

#[test]
fn command() {
    check("command");
}

#[test]
fn cluster() {
    check("cluster");
}

#[test]
fn all_cores() {
    check("all_cores");
}

#[test]
fn lifecycle() {
    check("lifecycle");
}

#[test]
fn config_rewrite_writes_what_is_in_force() {
    let path = std::env::temp_dir().join(format!("slotcore-rewrite-{}.toml", std::process::id()));
    std::fs::write(&path, "# Mine.\nmaxclients = 7\n").unwrap();
    let args = ["slotcore".into(), "--config".into(), path.clone().into_os_string()];
    let Ok(Invocation::Server(config)) = config::from_command_line(args) else {
        panic!("the options are a server's");
    };
    let mut world = World::new();
    world.server.config = ConfigRegistry::new(*config);
    let told = world.tell("> config set maxclients 8 appendfsync no\n> config rewrite\n");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(told.ends_with("> config rewrite\n  +OK\n"), "{told}");
    assert_eq!(
        text,
        "# Mine.\nmaxclients = 8\n# Added by CONFIG REWRITE.\ndurability = \"off\"\n"
    );
}

/// Runs a script and compares the answers, or writes them down.
fn check(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/commands")
        .join(name)
        .with_extension("txt");
    let script = std::fs::read_to_string(&path).unwrap();
    let told = World::new().tell(&script);
    if std::env::var_os("SLOTCORE_UPDATE").is_some() {
        std::fs::write(&path, told).unwrap();
    } else {
        compare(&path, &script, &told);
    }
}

fn compare(path: &Path, script: &str, told: &str) {
    for (number, (expected, found)) in script.lines().zip(told.lines()).enumerate() {
        assert_eq!(expected, found, "{}:{}", path.display(), number + 1);
    }
    assert_eq!(script.lines().count(), told.lines().count(), "{}", path.display());
}

/// What clients are told of a machine with three cores.
fn three_cores() -> ClusterMap {
    let node = |core: u16| CoreNode {
        id: node_id(0xabc, CoreId(core)),
        port: 6380 + core,
    };
    ClusterMap {
        host: "10.9.8.7".into(),
        any_slot_port: 6379,
        nodes: (0..3).map(node).collect(),
    }
}

/// Buffers with something in them.
struct SomeBytes;

impl Buffers for SomeBytes {
    fn of(&self, slot: usize) -> BufferUse {
        let output_bytes = if slot == 0 { 0 } else { 100 };
        BufferUse {
            query_bytes: 26,
            query_free_bytes: 1024,
            output_bytes,
            total_bytes: 2048,
        }
    }
}

/// Everything a command can touch.
struct World {
    server: ServerState,
    keyspace: Keyspace,
    now: Tick,
    wall_us: u64,
    names: BTreeMap<String, usize>,
    /// What the cores before this one did.
    others: Vec<CoreSnapshot>,
}

impl World {
    fn new() -> Self {
        let identity = ServerIdentity {
            run_id: "0123456789abcdef0123456789abcdef01234567".into(),
            kernel_release: "6.1.0".into(),
            process_id: 42,
            port: 6379,
            executable: "/usr/bin/slotcore".into(),
            machine_memory_bytes: 8 << 30,
            started_at: Tick::ZERO,
        };
        let cluster = Arc::new(ClusterMap::single("127.0.0.1", 6379, 6380));
        let mut server = ServerState::new(Config::defaults(), identity, cluster, CoreId(0));
        server.facts = CoreFacts {
            last_durable_at_s: 1_700_000_000,
            log_frames: 7,
            raft_term: 2,
            ..CoreFacts::default()
        };
        Self {
            server,
            keyspace: Keyspace::new(KeyspaceOptions::default()),
            now: Tick::ZERO + Duration::from_secs(10),
            wall_us: 1_700_000_010_000_250,
            names: BTreeMap::new(),
            others: Vec::new(),
        }
    }

    /// The script with the answers of today.
    fn tell(&mut self, script: &str) -> String {
        let mut told = String::new();
        let mut speaker = self.slot_of("a");
        for line in script.lines() {
            if let Some(command) = line.strip_prefix("> ") {
                told += &format!("{line}\n{}", self.run(speaker, &split(command)));
            } else if let Some(event) = line.strip_prefix("! ") {
                told += &format!("{line}\n");
                let words: Vec<&str> = event.split(' ').collect();
                match words[..] {
                    ["client", name] => speaker = self.slot_of(name),
                    ["core", core] => {
                        self.server.cluster = Arc::new(three_cores());
                        self.server.core = CoreId(core.parse().unwrap());
                        self.server.metrics = CoreMetrics::of_core(self.server.core, 3);
                    }
                    ["next", "core"] => {
                        self.next_core();
                        speaker = self.slot_of("a");
                    }
                    ["endpoint", "core"] => {
                        self.server.clients.get_mut(speaker).unwrap().endpoint = Endpoint::Core;
                    }
                    ["again", times, ..] => {
                        let command = words[2..].join(" ");
                        for _ in 0..times.parse().unwrap() {
                            self.run(speaker, &split(&command));
                        }
                    }
                    _ => self.happen(&words),
                }
            } else if line.is_empty() || line.starts_with("# ") {
                told += &format!("{line}\n");
            }
            // Everything else is an answer of yesterday.
        }
        told
    }

    fn next_core(&mut self) {
        let snapshot = self.server.snapshot(&self.keyspace, &SomeBytes);
        let (identity, facts) = (self.server.identity.clone(), self.server.facts.clone());
        let core = CoreId(snapshot.core.0 + 1);
        self.server = ServerState::new(Config::defaults(), identity, Arc::new(three_cores()), core);
        self.server.facts = CoreFacts {
            last_durable_at_s: facts.last_durable_at_s - 5,
            raft_term: facts.raft_term + 1,
            ..facts
        };
        self.keyspace = Keyspace::new(KeyspaceOptions::default());
        self.names.clear();
        self.others.push(snapshot);
    }

    fn happen(&mut self, event: &[&str]) {
        match *event {
            ["wait", ms] => {
                let passed = Duration::from_millis(ms.parse().unwrap());
                self.now = self.now + passed;
                self.wall_us += passed.as_micros() as u64;
            }
            ["password", password] => {
                self.server.config.set(&[("requirepass", password)]).unwrap();
                self.server.acl.set_default_password(password);
            }
            ["ran", name, us] => {
                let spec = cmd::lookup(name.as_bytes()).unwrap();
                let us: u64 = us.parse().unwrap();
                self.server
                    .metrics
                    .commands
                    .ran(spec.id.0, spec.full_name, us * 1000, 1);
                let args = [name.as_bytes(), b"argument"];
                self.server.metrics.slow_log.push(
                    self.wall_us / 1_000_000,
                    us,
                    args.into_iter(),
                    "127.0.0.1:9".into(),
                    b"n",
                    128,
                );
            }
            ["latency", kind, ms] => {
                let kind = LatencyKind::from_name(kind.as_bytes()).unwrap();
                self.server
                    .metrics
                    .latency
                    .note(kind, self.wall_us / 1_000_000, ms.parse().unwrap(), 1);
            }
            ["set", key, value] => self.keyspace.set_str(key.as_bytes(), value.as_bytes(), Expire::Clear),
            _ => panic!("unknown event {event:?}"),
        }
    }

    fn slot_of(&mut self, name: &str) -> usize {
        if let Some(&slot) = self.names.get(name) {
            return slot;
        }
        let slot = self.names.len();
        self.names.insert(name.to_string(), slot);
        let id = self.server.clients.issue_id();
        let peer = format!("10.0.0.{}:{}", id.0, 5000 + id.0).parse().unwrap();
        let local = "127.0.0.1:6379".parse().unwrap();
        let needs_password = self.server.acl.needs_login();
        self.server.clients.insert(
            slot,
            ClientState::new(id, peer, local, 8 + slot as i32, self.now, needs_password),
        );
        slot
    }

    /// What the core loop does with a command, as far as these commands are concerned.
    fn run(&mut self, slot: usize, words: &[Vec<u8>]) -> String {
        let mut buf = Vec::new();
        let mut spans = Vec::new();
        for word in words {
            spans.push((buf.len() as u32, word.len() as u32));
            buf.extend_from_slice(word);
        }
        let args = Args::new(&buf, &spans);
        let conn = self
            .server
            .clients
            .get_mut(slot)
            .expect("a client that was closed says nothing more");
        let mut out = Told::new(conn.proto);
        let mut outside = String::new();
        let mut killed = Vec::new();
        match cmd::resolve(&args) {
            Err(error) => out.error(&error),
            Ok(spec) => {
                if let Some(refusal) = commands::refusal(spec, conn, Conditions::default()) {
                    return format!("  -{refusal}\n");
                }
                let Run::Server(command) = spec.run else {
                    panic!("{} is not the server's", spec.full_name)
                };
                conn.begin_command(spec.full_name, self.now);
                let (keyspace, now, wall_us) = (&mut self.keyspace, self.now, self.wall_us);
                let around = Around {
                    keyspace,
                    buffers: &SomeBytes,
                    now,
                    wall_us,
                };
                let flow = if commands::shows_all_cores(command) && !self.others.is_empty() {
                    self.server
                        .run_merged(command, slot, args, around, &self.others, &mut out)
                } else {
                    self.server.run(command, slot, args, around, &mut out)
                };
                let conn = self.server.clients.get_mut(slot).unwrap();
                match flow {
                    Flow::Done => out.assert_one_value(matches!(spec.full_name, "client|reply")),
                    Flow::Hello => {
                        out = Told::new(conn.proto);
                        commands::hello_reply(conn, None, CoreId(0), &mut out);
                    }
                    Flow::Kill(slots) => {
                        if !slots.is_empty() {
                            outside = format!("  => Kill({slots:?})\n");
                        }
                        killed = slots;
                    }
                    Flow::Shutdown { .. } => outside = format!("  => {flow:?}\n"),
                    Flow::Reconfigure(_)
                    | Flow::Sleep(_)
                    | Flow::Unblock { .. }
                    | Flow::Pause(_)
                    | Flow::Unpause
                    | Flow::Lead => {
                        out.assert_one_value(false);
                        outside = format!("  => {flow:?}\n");
                    }
                }
                if !conn.wants_reply() && !out.text.is_empty() {
                    out.text = "  (muted)\n".into();
                }
                conn.end_command();
            }
        }
        killed
            .into_iter()
            .for_each(|slot| drop(self.server.clients.remove(slot)));
        if self.server.clients.get(slot).is_some_and(|conn| conn.close_after_reply) {
            outside.push_str("  => close\n");
        }
        out.text + &outside
    }
}

/// Splits at spaces; `"…"` may hold spaces and `\r`, `\n`, `\"`, `\\`.
fn split(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(&first) = chars.peek() {
        let mut word = String::new();
        if first == ' ' {
            chars.next();
            continue;
        } else if first == '"' {
            chars.next();
            while let Some(c) = chars.next().filter(|&c| c != '"') {
                word.push(match c {
                    '\\' => match chars.next() {
                        Some('r') => '\r',
                        Some('n') => '\n',
                        Some(other) => other,
                        None => '\\',
                    },
                    other => other,
                });
            }
        } else {
            while let Some(c) = chars.next_if(|&c| c != ' ') {
                word.push(c);
            }
        }
        words.push(word.into_bytes());
    }
    words
}

/// An answer as text.
struct Told {
    proto: u8,
    text: String,
    /// Values still to come in each open aggregate, outermost first.
    open: Vec<usize>,
    values: usize,
}

impl Told {
    fn new(proto: u8) -> Self {
        Self {
            proto,
            text: String::new(),
            open: Vec::new(),
            values: 0,
        }
    }

    fn value(&mut self, text: &str, inside: usize) {
        self.text += &format!("{}{text}\n", "  ".repeat(self.open.len() + 1));
        match self.open.last_mut() {
            Some(left) => *left -= 1,
            None => self.values += 1,
        }
        if inside > 0 {
            self.open.push(inside);
        }
        while self.open.last() == Some(&0) {
            self.open.pop();
        }
    }

    fn assert_one_value(&self, or_none: bool) {
        assert!(self.open.is_empty(), "the answer ends too early:\n{}", self.text);
        assert!(
            self.values == 1 || (or_none && self.values == 0),
            "{} values:\n{}",
            self.values,
            self.text
        );
    }
}

impl Reply for Told {
    fn simple(&mut self, text: &str) {
        self.value(&format!("+{text}"), 0);
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.value(&format!("\"{}\"", bytes.escape_ascii()), 0);
    }
    fn verbatim(&mut self, text: &[u8]) {
        let depth = "  ".repeat(self.open.len() + 1);
        let text = String::from_utf8_lossy(text).replace("\r\n", "\n");
        let lines: String = text.lines().map(|line| format!("\n{depth}|{}", mask(line))).collect();
        self.value(&format!("={lines}"), 0);
    }
    fn null(&mut self) {
        self.value("(nil)", 0);
    }
    fn null_array(&mut self) {
        self.value("(nil array)", 0);
    }
    fn int(&mut self, value: i64) {
        self.value(&format!(":{value}"), 0);
    }
    fn double(&mut self, value: f64) {
        self.value(&format!(",{value}"), 0);
    }
    fn double_text(&mut self, text: &str) {
        self.value(&format!(",{text}"), 0);
    }
    fn bool(&mut self, value: bool) {
        self.value(&format!("#{value}"), 0);
    }
    fn array(&mut self, len: usize) {
        self.value(&format!("*{len}"), len);
    }
    fn map(&mut self, len: usize) {
        self.value(&format!("%{len}"), len * 2);
    }
    fn set(&mut self, len: usize) {
        self.value(&format!("~{len}"), len);
    }
    fn error(&mut self, text: &str) {
        assert!(!text.contains(['\r', '\n']), "an error is one line: {text:?}");
        self.value(&format!("-{text}"), 0);
    }
    fn proto(&self) -> u8 {
        self.proto
    }
}

/// Hides what differs from machine to machine and from version to version.
fn mask(line: &str) -> String {
    const DIFFERENT: [&str; 5] = [
        "mem_fragmentation",
        "used_cpu",
        "slotcore_version",
        "os:",
        "used_memory",
    ];
    match line.split_once(':') {
        Some((name, _)) if DIFFERENT.iter().any(|different| line.starts_with(different)) => format!("{name}:..."),
        _ => line.to_string(),
    }
}
