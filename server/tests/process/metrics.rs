//! `/metrics`, `/health` and `/ready` of a running server: Prometheus can read every line, and the numbers move.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::PATIENCE;
use crate::scratch::Scratch;
use crate::server::Server;

/// The series that dashboards made for RaftKV look at, without their prefix.
const PROMISED: [&str; 5] = [
    "operations_total",
    "operation_duration_seconds",
    "raft_term",
    "raft_commit_index",
    "storage_disk_usage_bytes",
];

/// A port that nobody listened on a moment ago: 0 means "off" for the admin port.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What `GET path` answers: head and body.
pub fn http_get(port: u16, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP response");
    (head.to_string(), body.to_string())
}

/// A page as Prometheus takes it in: the type of each metric, the value of each series.
struct Page {
    types: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Page {
    fn fetch(port: u16) -> Self {
        let (head, body) = http_get(port, "/metrics");
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        Self::parse(&body)
    }

    /// Reads the text format 0.0.4; panics on what it does not allow.
    fn parse(body: &str) -> Self {
        let mut page = Self {
            types: BTreeMap::new(),
            series: BTreeMap::new(),
        };
        assert!(body.ends_with('\n'));
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(page.types.insert(name.into(), kind.into()), None, "{line}");
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            assert!(is_name(name), "{line}");
            for label in labels
                .strip_suffix('}')
                .unwrap()
                .split(',')
                .filter(|label| !label.is_empty())
            {
                let (key, value) = label.split_once('=').unwrap();
                assert!(is_name(key) && value.len() >= 2, "{line}");
                assert!(value.starts_with('"') && value.ends_with('"'), "{line}");
            }
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|ending| name.strip_suffix(ending))
                .find(|base| page.types.get(*base).is_some_and(|kind| kind == "histogram"));
            assert!(page.types.contains_key(base.unwrap_or(name)), "no type: {line}");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert_eq!(page.series.insert(series.into(), value), None, "twice: {line}");
        }
        page.check_histograms();
        page
    }

    /// Buckets rise, and the last one is the count.
    fn check_histograms(&self) {
        let mut last: Option<(String, f64)> = None;
        let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (series, &value) in &self.series {
            if let Some((front, bound)) = series.split_once("le=\"") {
                let bound = bound.trim_end_matches(['"', '}']);
                let bound = if bound == "+Inf" {
                    f64::INFINITY
                } else {
                    bound.parse().unwrap()
                };
                buckets.entry(front.to_string()).or_default().push((bound, value));
            }
        }
        assert!(!buckets.is_empty());
        for (front, mut steps) in buckets {
            steps.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(
                steps.windows(2).all(|pair| pair[0].1 <= pair[1].1),
                "{front}: {steps:?}"
            );
            let count = front.trim_end_matches(',').replace("_bucket{", "_count{") + "}";
            let (bound, total) = *steps.last().unwrap();
            assert!(bound.is_infinite(), "{front}");
            assert_eq!(self.series.get(&count), Some(&total), "{count}");
            last = Some((count, total));
        }
        assert!(last.is_some());
    }

    /// The sum of a metric over its series that contain `label`.
    fn sum(&self, name: &str, label: &str) -> f64 {
        let of_it = |series: &str| series.split('{').next() == Some(name) && series.contains(label);
        let found: Vec<f64> = self.series.iter().filter(|(s, _)| of_it(s)).map(|(_, v)| *v).collect();
        assert!(!found.is_empty(), "no {name} with {label}");
        found.iter().sum()
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

#[test]
fn the_page_is_prometheus_and_its_numbers_move() {
    let scratch = Scratch::new();
    let port = free_port();
    let server = Server::start(scratch.path(), &["--admin-port", &port.to_string()]);
    let mut client = server.client();
    // The admin port is opened a moment after the first client was let in.
    let mut server = server;
    server
        .next_line_with("serving /metrics")
        .expect("the admin port is served");
    client.ok(&["SET", "k", "v"]);
    client.ok(&["GET", "k"]);
    let before = Page::fetch(port);
    for name in PROMISED {
        assert!(before.types.contains_key(&format!("slotcore_{name}")), "{name}");
    }
    assert_eq!(before.types["slotcore_operations_total"], "counter");
    assert_eq!(before.types["slotcore_operation_duration_seconds"], "histogram");

    for n in 0..100 {
        client.ok(&["SET", &format!("k{n}"), "v"]);
        client.ok(&["GET", "k"]);
    }
    client.ok(&["LPUSH", "list", "a"]);
    assert!(client.call(&["LPUSH", "k", "a"]).is_error());
    let mut broken = server.client();
    broken.send(b"*1\r\n!\r\n").unwrap();
    broken.rest();
    let after = Page::fetch(port);
    let grew = |name: &str, label: &str| {
        let name = format!("slotcore_{name}");
        after.sum(&name, label) - before.sum(&name, label)
    };
    assert_eq!(grew("commands_total", "command=\"set\""), 100.0);
    assert_eq!(grew("commands_total", "command=\"get\""), 100.0);
    assert_eq!(grew("operations_total", "family=\"string\""), 200.0);
    assert_eq!(grew("operation_duration_seconds_count", "family=\"string\""), 200.0);
    assert!(grew("operation_duration_seconds_sum", "family=\"string\"") > 0.0);
    assert_eq!(grew("protocol_errors_total", ""), 1.0);
    assert_eq!(grew("error_replies_total", ""), 2.0);
    assert_eq!(grew("connections_total", ""), 1.0);
    assert!(
        grew("raft_commit_index", "") >= 100.0,
        "one entry a turn, one turn a command"
    );
    assert!(grew("log_bytes_total", "") > 0.0 && grew("net_input_bytes_total", "") > 0.0);
    assert_eq!(after.sum("slotcore_keys", ""), 102.0);
    assert!(after.sum("slotcore_raft_term", "") >= 1.0);
    assert!(after.sum("slotcore_storage_disk_usage_bytes", "") > 0.0);

    assert_eq!(http_get(port, "/health").1, "ok\n");
    assert_eq!(http_get(port, "/ready").1, "ready\n");
    assert!(http_get(port, "/other").0.starts_with("HTTP/1.1 404"));
    server.stop();
}

#[test]
fn another_prefix_gives_the_names_of_others() {
    let scratch = Scratch::new();
    let port = free_port();
    let options = ["--admin-port", &port.to_string(), "--metrics-prefix", "raftkv"];
    let mut server = Server::start(scratch.path(), &options);
    server
        .next_line_with("serving /metrics")
        .expect("the admin port is served");
    server.client().ok(&["SET", "k", "v"]);
    let page = Page::fetch(port);
    for name in PROMISED {
        assert!(page.types.contains_key(&format!("raftkv_{name}")), "{name}");
    }
    assert!(page.types.keys().all(|name| name.starts_with("raftkv_")));
}
