//! The configuration as an operator meets it: flags, file, who wins, what is refused with which words, and the help text.
#![allow(clippy::disallowed_methods, reason = "tests make their own files")]

use std::ffi::OsString;
use std::path::PathBuf;

use slotcore_server::config::{self, Begin, ClusterConfig, Config, ConfigError, Durability, Invocation, LogLevel};

/// A file that is gone when the test is.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("slotcore-{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn parse(args: &[&str]) -> Result<Config, ConfigError> {
    let args = ["slotcore"].iter().chain(args).map(OsString::from);
    config::from_command_line(args).map(|invocation| match invocation {
        Invocation::Server(config) => *config,
        Invocation::Upkeep(command) => panic!("{command:?} is no server"),
        Invocation::Ctl(options) => panic!("{options:?} is no server"),
    })
}

fn refused(args: &[&str]) -> String {
    parse(args).unwrap_err().to_string()
}

#[test]
fn defaults_are_safe() {
    let config = parse(&[]).unwrap();
    assert_eq!((config.port, config.admin_port, config.cores), (6379, Some(9379), 0));
    assert!(config.bind.iter().all(|address| address.is_loopback()));
    assert_eq!(config.settings.durability, Durability::Always);
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
}

#[test]
fn the_subcommand_server_is_the_default() {
    assert_eq!(parse(&["server", "--port", "7000"]).unwrap().port, 7000);
    assert_eq!(parse(&["--port", "7000"]).unwrap().port, 7000);
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_defaults() {
    let file = TempFile::new(
        "precedence",
        "port = 7001\ndurability = \"everysec\"\nmemory = \"2gb\"\nbind = [\"127.0.0.1\", \"::1\"]\n\
         slowlog-log-slower-than = -1\n",
    );
    for subcommand in [&["server"][..], &[]] {
        let args = [subcommand, &["--config", file.path(), "--port", "7002"]].concat();
        let config = parse(&args).unwrap();
        assert_eq!(config.port, 7002);
        assert_eq!(config.settings.durability, Durability::EverySec);
        assert_eq!(config.settings.memory_bytes_max, 2 << 30);
        assert_eq!(config.bind.len(), 2);
        assert_eq!(config.settings.slow_log_slower_than_us, -1);
        assert_eq!(config.settings.log_level, LogLevel::Info);
        assert_eq!(config.file.as_deref(), Some(file.0.as_path()));
    }
}

#[test]
fn a_bad_file_is_refused_by_name() {
    assert!(refused(&["--config", "/no/such/file.toml"]).contains("/no/such/file.toml"));
    for (text, words) in [
        ("prot = 1\n", "unknown option 'prot'"),
        ("config = \"x\"\n", "'config' cannot stand in the file itself"),
        ("[server]\nport = 1\n", "unknown option 'server'"),
        ("port = { a = 1 }\n", "port: a table cannot be an option's value"),
        ("port = \n", "TOML parse error at line 1"),
        (
            "port = 70000\n",
            "line 1: port: argument must be between 0 and 65535 inclusive",
        ),
    ] {
        let file = TempFile::new("bad", text);
        let error = refused(&["--config", file.path()]);
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn a_value_out_of_range_is_refused_with_the_range() {
    for (flag, value, words) in [
        ("--port", "abc", "couldn't be parsed into an integer"),
        ("--bind", "localhost", "'localhost' is not an IPv4 or IPv6 address"),
        ("--bind", "", "at least one address"),
        ("--cores", "1025", "between 0 and 1024"),
        (
            "--durability",
            "sometimes",
            "one of the following: always, everysec, off",
        ),
        ("--memory", "1.5gb", "must be a memory value"),
        ("--segment-bytes", "1mib", "must be a memory value"),
        ("--segment-bytes", "1048577", "multiple of 4096"),
        ("--segment-bytes", "4k", "between 1048576 and 1073741824"),
        ("--log-level", "loud", "error, warn, info, debug"),
        ("--log-format", "xml", "text, json"),
        ("--spin-us", "5000", "between 0 and 1000"),
        ("--metrics-prefix", "1st", "a letter, then"),
        ("--dir", "", "a directory is needed"),
        ("--core-port-base", "65536", "between 0 and 65535"),
        ("--announce-host", "0.0.0.0", "nobody can connect"),
        ("--announce-host", "::", "nobody can connect"),
        ("--announce-host", "a b", "a host name is needed"),
        ("--announce-host", "a,b", "a host name is needed"),
        ("--enable-debug-command", "maybe", "no, yes, local"),
        ("--zone", "rack 7", "without spaces"),
        ("--proto-max-bulk-len", "1gb", "between 1048576 and 536870912"),
    ] {
        let error = refused(&[flag, value]);
        assert!(
            error.starts_with(&format!("{flag}: ")) && error.contains(words),
            "{error}"
        );
    }
    assert!(refused(&["--prot", "1"]).contains("--prot"));
}

#[test]
fn a_node_finds_itself_in_the_list_of_first_nodes() {
    let list = ["--initial-cluster", "127.0.0.1:7000,127.0.0.1:7100@9000,localhost:7200"];
    let cluster = |args: &[&str]| parse(&[&list, args].concat()).unwrap().cluster.unwrap();
    let me = |found: &ClusterConfig| match &found.begin {
        Begin::First { nodes, me } => (*me, nodes[*me].port, nodes[*me].peer_port),
        other => panic!("{other:?}"),
    };
    let found = cluster(&["--port", "7100"]);
    assert_eq!((me(&found), found.listen_port), ((1, 7100, 9000), 9000));
    let found = cluster(&["--announce", "localhost:7200", "--peer-port", "9100"]);
    assert_eq!((me(&found), found.listen_port), ((2, 7200, 17200), 9100));
    assert!(parse(&[]).unwrap().cluster.is_none());
    let refusals: [(&[&str], &str); 6] = [
        (&["--port", "7001"], "--announce HOST:PORT"),
        (&["--port", "7000", "--durability", "everysec"], "only \"always\""),
        (&["--port", "7000", "--core-port-base", "8000"], "leave this option out"),
        (&["--port", "7000", "--cluster-secret", "short"], "at least 16"),
        (
            &["--port", "7000", "--cluster-secret-file", "/no/such/file"],
            "No such file",
        ),
        (&["--initial-cluster", "10.0.0.1:7000,127.0.0.1:6379"], "need a secret"),
    ];
    for (args, words) in refusals {
        let error = refused(&[&list, args].concat());
        assert!(error.contains(words), "{args:?}: {error}");
    }
}

#[test]
fn a_node_that_joins_says_where_it_will_be_reached() {
    let join = ["--join", "127.0.0.1:17000,localhost:17100"];
    let cluster = |args: &[&str]| parse(&[&join, args].concat()).unwrap().cluster.unwrap();
    let own = |found: &ClusterConfig| match &found.begin {
        Begin::Join { seeds, own } => {
            assert_eq!(*seeds, [("127.0.0.1".into(), 17000), ("localhost".into(), 17100)]);
            (own.name(), found.listen_port)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        own(&cluster(&["--port", "7300"])),
        ("127.0.0.1:7300@17300".into(), 17300)
    );
    assert_eq!(
        own(&cluster(&["--port", "7300", "--peer-port", "9000"])),
        ("127.0.0.1:7300@9000".into(), 9000)
    );
    let outside = ["--announce", "localhost:1@2", "--port", "7300", "--peer-port", "9000"];
    assert_eq!(own(&cluster(&outside)), ("localhost:1@2".into(), 9000));
    let refusals: [(&[&str], &str); 6] = [
        (&["--port", "0"], "have to know the port"),
        (&["--port", "60000"], "--peer-port"),
        (&["--durability", "off"], "only \"always\""),
        (&["--initial-cluster", "127.0.0.1:6379"], "leave --initial-cluster"),
        (&["--join", "10.0.0.1:17000"], "cannot reach this one"),
        (&["--join", "10.0.0.1:17000", "--bind", "10.0.0.4"], "need a secret"),
    ];
    for (args, words) in refusals {
        let error = refused(&[&join, args].concat());
        assert!(error.contains(words), "{args:?}: {error}");
    }
}

#[test]
fn doubtful_configurations_are_warned_about() {
    let warned = |args: &[&str], words: &str| {
        let warnings = parse(args).unwrap().warnings();
        assert!(warnings.iter().any(|warning| warning.contains(words)), "{warnings:?}");
    };
    warned(&["--bind", "0.0.0.0"], "without a password");
    warned(&["--bind", "0.0.0.0"], "set --announce-host");
    warned(&["--durability", "off"], "loses acknowledged writes");
    warned(&["--client-query-buffer-limit", "1mb"], "can never arrive");
    assert!(
        parse(&["--bind", "0.0.0.0", "--requirepass", "x", "--announce-host", "10.0.0.5"])
            .unwrap()
            .warnings()
            .is_empty()
    );
}

#[test]
fn core_ports_follow_the_port_or_the_base() {
    let ports = |args: &[&str]| {
        let config = parse(args).unwrap();
        [0, 3].map(|core| config.core_port(core))
    };
    assert_eq!(ports(&[]), [Some(6380), Some(6383)]);
    assert_eq!(ports(&["--port", "65533"]), [Some(65534), None]);
    assert_eq!(ports(&["--port", "65535"]), [None, None]);
    assert_eq!(ports(&["--port", "0"]), [Some(0), Some(0)]);
    assert_eq!(ports(&["--core-port-base", "0"]), [Some(0), Some(0)]);
    assert_eq!(
        ports(&["--port", "0", "--core-port-base", "7000"]),
        [Some(7000), Some(7003)]
    );
    assert_eq!(ports(&["--core-port-base", "65534"]), [Some(65534), None]);
    assert_eq!(ports(&["--core-port-base", ""]), [Some(6380), Some(6383)]);
}

#[test]
fn a_host_is_announced_that_somebody_can_connect_to() {
    let host = |args: &[&str]| parse(args).unwrap().announced_host();
    assert_eq!(host(&[]), "127.0.0.1");
    assert_eq!(host(&["--bind", "10.0.0.5 127.0.0.1"]), "10.0.0.5");
    assert_eq!(host(&["--bind", "0.0.0.0"]), "127.0.0.1");
    assert_eq!(host(&["--bind", "::"]), "127.0.0.1");
    assert_eq!(
        host(&["--bind", "::", "--announce-host", "db-1.example"]),
        "db-1.example"
    );
    assert_eq!(host(&["--announce-host", "2001:db8::1"]), "2001:db8::1");
    assert_eq!(host(&["--announce-host", ""]), "127.0.0.1");
    let file = TempFile::new("announce", "announce-host = \"10.1.1.1\"\ncore-port-base = 7000\n");
    let config = parse(&["--config", file.path()]).unwrap();
    assert_eq!(
        (config.announced_host().as_str(), config.core_port(1)),
        ("10.1.1.1", Some(7001))
    );
}

#[test]
fn zero_turns_the_admin_port_off() {
    assert_eq!(parse(&["--admin-port", "0"]).unwrap().admin_port, None);
}

#[test]
fn the_help_text_is_the_one_that_was_reviewed() {
    let Err(ConfigError::CommandLine(help)) = parse(&["--help"]) else {
        panic!("--help is not a configuration")
    };
    assert_eq!(help.exit_code(), 0);
    let text: String = help
        .to_string()
        .lines()
        .map(|line| line.trim_end().to_string() + "\n")
        .collect();
    assert!(
        text.lines().all(|line| line.chars().count() <= 130),
        "a terminal is not that wide"
    );
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/help.txt");
    if std::env::var_os("SLOTCORE_UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(
        text,
        std::fs::read_to_string(&path).unwrap(),
        "SLOTCORE_UPDATE=1 cargo test writes the new text"
    );
}

#[test]
fn the_version_is_the_crates() {
    let Err(ConfigError::CommandLine(version)) = parse(&["--version"]) else {
        panic!("--version is not a configuration")
    };
    assert_eq!(version.to_string(), format!("slotcore {}\n", env!("CARGO_PKG_VERSION")));
}
