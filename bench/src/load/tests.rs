//! Load on a small server inside the test: every request is answered once, and what goes wrong is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use clap::{Args, FromArgMatches};
use slotcore_engine::ord::slot_of;
use slotcore_netio::resp::decode::{Decoder, Limits, Request};

use super::*;

/// What a server answers to a request, given its number and its words; nothing closes the connection.
type Answer = Arc<dyn Fn(u64, &[&[u8]]) -> Vec<u8> + Send + Sync>;

/// A server of a few lines.
struct Server {
    addr: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Server {
    /// Answers by the number of the request and its command.
    fn start(reply: fn(u64, &[u8]) -> &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(
            listener,
            Arc::new(move |number, words| reply(number, words[0]).to_vec()),
        )
    }

    fn on(listener: TcpListener, answer: Answer) -> Self {
        let addr = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        // Ends with the process: it holds nothing that must be given back.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (counter, answer) = (Arc::clone(&counter), Arc::clone(&answer));
                thread::spawn(move || serve(stream.unwrap(), &counter, &answer));
            }
        });
        Self { addr, requests }
    }

    fn seen(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, counter: &AtomicU64, answer: &Answer) {
    let (mut input, mut spans, mut decoder) = (Vec::new(), Vec::new(), Decoder::default());
    let mut chunk = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        input.extend_from_slice(&chunk[..n]);
        loop {
            spans.clear();
            let Request::Complete(bytes) = decoder.next(&input, &Limits::default(), &mut spans).unwrap() else {
                break;
            };
            let word = |&(at, len): &(u32, u32)| &input[at as usize..][..len as usize];
            let words: Vec<&[u8]> = spans.iter().map(word).collect();
            let reply = answer(counter.fetch_add(1, Ordering::SeqCst), &words);
            if reply.is_empty() || stream.write_all(&reply).is_err() {
                return;
            }
            input.drain(..bytes);
        }
    }
}

/// Two nodes with half of the slots each, which say `MOVED` for the other's. Which keys each has set is in `owners`.
fn cluster(told_boundary: u16, owners: &Arc<Mutex<Vec<Vec<u8>>>>) -> SocketAddr {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = [0, 1].map(|node: usize| listeners[node].local_addr().unwrap().port());
    let mut addrs = Vec::new();
    for (node, listener) in listeners.into_iter().enumerate() {
        let owners = Arc::clone(owners);
        let answer = move |_: u64, words: &[&[u8]]| match words[0] {
            b"CLUSTER" => format!(
                "*2\r\n*3\r\n:0\r\n:{}\r\n*2\r\n$9\r\n127.0.0.1\r\n:{}\r\n\
                 *3\r\n:{told_boundary}\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{}\r\n",
                told_boundary - 1,
                ports[0],
                ports[1]
            )
            .into_bytes(),
            b"SET" => {
                let slot = slot_of(words[1]);
                let owner = usize::from(slot >= 8192);
                if owner != node {
                    return format!("-MOVED {slot} 127.0.0.1:{}\r\n", ports[owner]).into_bytes();
                }
                owners.lock().unwrap().push(words[1].to_vec());
                b"+OK\r\n".to_vec()
            }
            _ => b"+PONG\r\n".to_vec(),
        };
        addrs.push(Server::on(listener, Arc::new(answer)).addr);
    }
    addrs[0]
}

#[test]
fn requests_go_to_the_nodes_that_own_their_keys_and_follow_those_that_moved() {
    // A map that is true, and one that is not.
    for boundary in [8192, 7000] {
        let owners = Arc::new(Mutex::new(Vec::new()));
        let addr = cluster(boundary, &owners);
        for shape in [
            ["--connections", "4", "--pipeline", "1"],
            ["--connections", "3", "--pipeline", "9"],
        ] {
            owners.lock().unwrap().clear();
            let server = Server {
                addr,
                requests: Arc::default(),
            };
            let work = [
                "--cluster",
                "--requests",
                "500",
                "--command",
                "set",
                "--distribution",
                "sequential",
            ];
            let asked = options(&server, &[shape.as_slice(), &work].concat());
            let rows = measure(&Options { keys: 500, ..asked }).unwrap();
            assert_eq!(
                (rows[0].requests, rows[0].errors),
                (500, 0),
                "{:?}",
                rows[0].first_error
            );
            assert_eq!(rows[0].moved > 0, boundary != 8192, "{}", rows[0].moved);
            let mut keys: Vec<Vec<u8>> = owners.lock().unwrap().clone();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!((keys.len(), owners.lock().unwrap().len()), (500, 500));
        }
    }
}

#[test]
fn a_cluster_that_is_none_is_told() {
    let server = Server::start(|_, command| match command {
        b"CLUSTER" => b"-ERR This instance has cluster support disabled\r\n",
        _ => b"-MOVED 7 127.0.0.1:1\r\n",
    });
    let error = measure(&options(&server, &["--cluster"])).unwrap_err().to_string();
    assert!(
        error.contains("refused CLUSTER SLOTS: ERR This instance has cluster support disabled"),
        "{error}"
    );
    let answers = Server::start(|_, command| match command {
        b"PING" => b"+PONG\r\n",
        _ => b"-MOVED 7 127.0.0.1:1\r\n",
    });
    let error = run(&options(&answers, &["--requests", "1", "--command", "get"]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("1 of 1 requests") && error.contains("--cluster"),
        "{error}"
    );
    let addr = cluster(8192, &Arc::default());
    let server = Server {
        addr,
        requests: Arc::default(),
    };
    let error = measure(&options(&server, &["--cluster", "--command", "mset"])).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("mset: a cluster refuses requests with keys of different slots")
    );
}

#[test]
fn resp3_is_asked_for_on_every_connection() {
    let server = Server::start(|_, command| match command {
        b"HELLO" => b"%1\r\n$5\r\nproto\r\n:3\r\n",
        b"PING" => b"+PONG\r\n",
        b"GET" => b">2\r\n+invalidate\r\n*0\r\n_\r\n",
        _ => b"%1\r\n$1\r\na\r\n#t\r\n",
    });
    let work = ["--requests", "40", "--command", "get,hgetall", "--connections", "4"];
    let rows = measure(&options(&server, &[&work[..], &["--resp", "3"]].concat())).unwrap();
    assert_eq!(server.seen(), 4 + 1 + 80);
    assert_eq!((rows[0].requests, rows[0].nulls, rows[1].requests), (40, 40, 40));
}

fn options(server: &Server, args: &[&str]) -> Options {
    let command = Options::augment_args(clap::Command::new("load").no_binary_name(true));
    let port = server.addr.port().to_string();
    let fixed = ["--port", &port, "--warmup-seconds", "0", "--keys", "100", "--quiet"];
    let matches = command.get_matches_from(fixed.iter().chain(args));
    Options::from_arg_matches(&matches).unwrap()
}

fn by_command(_: u64, command: &[u8]) -> &'static [u8] {
    match command {
        b"GET" => b"$3\r\nabc\r\n",
        b"LRANGE" => b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$-1\r\n",
        b"INCR" => b":1\r\n",
        _ => b"+OK\r\n",
    }
}

#[test]
fn every_request_is_sent_once_and_answered_once() {
    let server = Server::start(by_command);
    for (connections, pipeline) in [("1", "1"), ("1", "7"), ("10", "1"), ("5", "16")] {
        let before = server.seen();
        let shape = ["--connections", connections, "--pipeline", pipeline];
        let work = ["--requests", "103", "--command", "set,get,mixed,incr,lrange_600,mset"];
        let rows = measure(&options(&server, &[shape.as_slice(), &work].concat())).unwrap();
        // And the question that is asked first.
        assert_eq!(server.seen() - before, 6 * 103 + 1);
        for row in rows {
            assert_eq!((row.requests, row.errors), (103, 0), "{}", row.workload);
            assert_eq!(row.nulls, if row.workload == "lrange_600" { 103 } else { 0 });
            assert!(
                row.p50_us > 0.0 && row.p50_us <= row.p99_us && row.p99_us <= row.max_us * 1.001,
                "{row:?}"
            );
            assert!(row.client_busy_percent > 0.0 && row.client_busy_percent <= 100.0);
        }
    }
}

#[test]
fn every_key_is_filled_once() {
    let server = Server::start(by_command);
    let rows = measure(&options(&server, &["--fill", "--requests", "10", "--command", "get"])).unwrap();
    assert_eq!((server.seen(), rows[0].requests), (111, 10));
}

#[test]
fn an_open_loop_keeps_its_rate_and_counts_waiting() {
    let server = Server::start(by_command);
    let calm = [
        "--rate",
        "2000",
        "--seconds",
        "0.2",
        "--command",
        "ping",
        "--connections",
        "4",
    ];
    let rows = measure(&options(&server, &calm)).unwrap();
    assert_eq!(rows[0].requests, 400);
    assert!(rows[0].seconds > 0.19, "{}", rows[0].seconds);
    assert!(!rows[0].series.is_empty());
    let curve = &rows[0].percentiles_us;
    assert!(
        curve.len() > 5 && curve.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1),
        "{curve:?}"
    );
    assert_eq!(curve.last().unwrap().0, 100.0);
    // All 400 are due within 4 us, but one connection sends one at a time: the last one has waited for all the others.
    let flood = [
        "--rate",
        "100000000",
        "--requests",
        "400",
        "--command",
        "ping",
        "--connections",
        "1",
    ];
    let rows = measure(&options(&server, &flood)).unwrap();
    let whole_us = rows[0].seconds * 1e6;
    assert!(rows[0].max_us > whole_us * 0.9, "{} of {whole_us}", rows[0].max_us);
}

#[test]
fn error_replies_are_counted_and_fail_the_run() {
    let server = Server::start(|number, command| match command {
        b"SET" if number % 5 == 1 => b"-OOM no\r\n",
        _ => b"+OK\r\n",
    });
    let asked = options(&server, &["--requests", "100", "--command", "set"]);
    let rows = measure(&asked).unwrap();
    assert_eq!((rows[0].errors, rows[0].first_error.as_deref()), (20, Some("OOM no")));
    let message = run(&asked).unwrap_err().to_string();
    assert_eq!(
        message,
        "set: 20 of 100 requests were answered with an error, the first: OOM no"
    );
}

#[test]
fn a_server_that_breaks_off_or_speaks_something_else_is_told() {
    let closes = Server::start(|number, _| if number < 30 { b"+OK\r\n" } else { b"" });
    let work = ["--requests", "100", "--connections", "3"];
    measure(&options(&closes, &work)).unwrap_err();
    let babbles = Server::start(|_, _| b"HTTP/1.1 400 Bad Request\r\n");
    let error = measure(&options(&babbles, &work)).unwrap_err();
    assert!(
        error.to_string().contains("is no RESP server: not a RESP reply"),
        "{error}"
    );
    let answers_twice = Server::start(|number, _| if number == 0 { b"+PONG\r\n" } else { b"+OK\r\n+OK\r\n" });
    let error = measure(&options(&answers_twice, &["--requests", "1", "--connections", "1"])).unwrap_err();
    assert!(error.to_string().contains("nobody asked for"), "{error}");
    let wants_password = Server::start(|_, _| b"-NOAUTH Authentication required.\r\n");
    let error = measure(&options(&wants_password, &work)).unwrap_err();
    assert!(error.to_string().contains("(--password)"), "{error}");
    let mut nobody = options(&closes, &work);
    nobody.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = measure(&nobody).unwrap_err().to_string();
    assert!(
        error.contains("cannot connect") && error.contains("nobody listens"),
        "{error}"
    );
}

#[test]
fn the_result_file_says_where_and_what() {
    let server = Server::start(by_command);
    let asked = options(&server, &["--requests", "10", "--command", "set"]);
    let rows = measure(&asked).unwrap();
    let report = Report {
        kind: report::KIND.to_owned(),
        format: report::FORMAT,
        machine: Machine::here(std::path::Path::new(".")),
        server: ServerFacts::default(),
        options: &asked,
        rows,
    };
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["options"]["value_bytes"], 50);
    assert_eq!(json["rows"][0]["requests"], 10);
    assert!(
        json["machine"]["kernel"]
            .as_str()
            .is_some_and(|kernel| !kernel.is_empty())
    );
    assert!(table(&report.rows).lines().count() == 3);
}
