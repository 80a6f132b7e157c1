//! Load on a small server inside the test: every request is answered once, and what goes wrong is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::{Args, FromArgMatches};
use slotcore_netio::resp::decode::{Decoder, Limits, Request};

use super::*;

/// Answers requests with what `reply` says to each, given its number and its command; an empty reply closes the connection.
struct Server {
    addr: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Server {
    fn start(reply: fn(u64, &[u8]) -> &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        // Ends with the process: it holds nothing that must be given back.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let counter = Arc::clone(&counter);
                thread::spawn(move || serve(stream.unwrap(), &counter, reply));
            }
        });
        Self { addr, requests }
    }

    fn seen(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, counter: &AtomicU64, reply: fn(u64, &[u8]) -> &'static [u8]) {
    let (mut input, mut spans, mut decoder) = (Vec::new(), Vec::new(), Decoder::default());
    let mut chunk = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        input.extend_from_slice(&chunk[..n]);
        loop {
            spans.clear();
            let Request::Complete(bytes) = decoder.next(&input, &Limits::default(), &mut spans).unwrap() else {
                break;
            };
            let (at, len) = spans[0];
            let command = &input[at as usize..][..len as usize];
            let answer = reply(counter.fetch_add(1, Ordering::SeqCst), command);
            if answer.is_empty() || stream.write_all(answer).is_err() {
                return;
            }
            input.drain(..bytes);
        }
    }
}

fn options(server: &Server, args: &[&str]) -> Options {
    let command = Options::augment_args(clap::Command::new("load").no_binary_name(true));
    let port = server.addr.port().to_string();
    let fixed = ["--port", &port, "--warmup-seconds", "0", "--keys", "100"];
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
        assert_eq!(server.seen() - before, 6 * 103);
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
    assert_eq!((server.seen(), rows[0].requests), (110, 10));
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
    // All 400 are due within 4 us, but one connection sends one at a time: most of their latency is waiting.
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
    assert!(
        (0.2..0.8).contains(&(rows[0].p50_us / whole_us)),
        "{:?} of {whole_us}",
        rows[0].p50_us
    );
    assert!(rows[0].max_us > whole_us * 0.9);
}

#[test]
fn error_replies_are_counted_and_fail_the_run() {
    let server = Server::start(|number, _| if number % 5 == 0 { b"-OOM no\r\n" } else { b"+OK\r\n" });
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
    assert!(error.to_string().contains("not a RESP2 reply"), "{error}");
    let answers_twice = Server::start(|_, _| b"+OK\r\n+OK\r\n");
    let error = measure(&options(&answers_twice, &["--requests", "1", "--connections", "1"])).unwrap_err();
    assert!(error.to_string().contains("nobody asked for"), "{error}");
    let mut nobody = options(&closes, &work);
    nobody.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert!(measure(&nobody).unwrap_err().to_string().contains("cannot connect"));
}

#[test]
fn the_result_file_says_where_and_what() {
    let server = Server::start(by_command);
    let asked = options(&server, &["--requests", "10", "--command", "set"]);
    let rows = measure(&asked).unwrap();
    let report = Report {
        machine: Machine::here(),
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
