//! Each command of `slotcore-bench` as a process, in a tiny size: what it prints, what it says when something is wrong, and
//! its exit code.
#![allow(clippy::disallowed_methods, reason = "drives real processes and sockets")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use slotcore_netio::resp::decode::{Decoder, Limits, Request};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotcore-bench"));
    command.args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// Runs it, demands that it fails, and returns what it said.
fn fails(args: &[&str]) -> String {
    failed(run(args), args)
}

fn failed(output: Output, args: &[&str]) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    assert!(
        said.contains("slotcore-bench: ") && !said.contains("panicked"),
        "{args:?}: {said}"
    );
    said
}

fn succeeds(args: &[&str]) -> String {
    let output = run(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A server that answers requests by their command until the test's process ends.
fn server(answer: fn(&[u8]) -> &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap(), answer));
        }
    });
    addr
}

fn serve(mut stream: TcpStream, answer: fn(&[u8]) -> &'static [u8]) {
    let (mut input, mut output, mut spans) = (Vec::new(), Vec::new(), Vec::new());
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        input.extend_from_slice(&chunk[..n]);
        let mut at = 0;
        loop {
            spans.clear();
            let found = Decoder::default().next(&input[at..], &Limits::default(), &mut spans);
            let Ok(Request::Complete(bytes)) = found else { break };
            let (from, len) = spans[0];
            output.extend_from_slice(answer(&input[at + from as usize..][..len as usize]));
            at += bytes;
        }
        input.drain(..at);
        if stream.write_all(&output).is_err() {
            return;
        }
        output.clear();
    }
}

fn well(command: &[u8]) -> &'static [u8] {
    match command {
        b"PING" => b"+PONG\r\n",
        b"GET" => b"$1\r\nx\r\n",
        b"INFO" => b"$21\r\nredis_version:0.0.1\r\n\r\n",
        b"CONFIG" => b"*0\r\n",
        _ => b"+OK\r\n",
    }
}

/// A directory of its own for a test, on a file system that has O_DIRECT.
fn directory(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn load_says_what_is_wrong_with_its_peer() {
    let port = |addr: SocketAddr| addr.port().to_string();
    // Bound and let go: nobody listens there.
    let nobody = port(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let said = fails(&["load", "--port", &nobody]);
    assert!(
        said.contains("cannot connect to 127.0.0.1") && said.contains("nobody listens there"),
        "{said}"
    );
    let web = port(server(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    assert!(fails(&["load", "--port", &web]).contains("is no RESP server"));
    let angry = port(server(|command| match command {
        b"PING" => b"+PONG\r\n",
        _ => b"-OOM command not allowed\r\n",
    }));
    let said = fails(&[
        "load",
        "--port",
        &angry,
        "--requests",
        "20",
        "--command",
        "set",
        "--quiet",
    ]);
    assert!(
        said.contains("20 of 20 requests were answered with an error, the first: OOM"),
        "{said}"
    );
    assert!(fails(&["load", "--port", &angry, "--fill", "--keys", "10"]).contains("keys cannot be loaded: OOM"));
    assert!(fails(&["load", "--command", "nonsense"]).contains("no workload is called \"nonsense\""));
}

#[test]
fn load_says_when_its_result_cannot_be_written() {
    let port = server(well).port().to_string();
    let args = [
        "load",
        "--port",
        &port,
        "--requests",
        "20",
        "--warmup-seconds",
        "0",
        "--keys",
        "10",
        "--quiet",
    ];
    let full = "/dev/full";
    let said = fails(&[&args[..], &["--json", full]].concat());
    assert!(
        said.contains("cannot write /dev/full: No space left on device"),
        "{said}"
    );
    let output = command(&args).stdout(File::create(full).unwrap()).output().unwrap();
    let said = failed(output, &args);
    assert!(
        said.contains("cannot write to standard output: No space left on device"),
        "{said}"
    );
    let json = directory("load").join("result.json");
    succeeds(&[&args[..], &["--json", json.to_str().unwrap()]].concat());
    let result: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(result["rows"][0]["requests"], 20);
    assert_eq!(result["server"]["version"]["redis_version"], "0.0.1");
}

#[test]
fn a_comparison_becomes_a_report() {
    let dir = directory("compare");
    let (out, data) = (dir.join("results"), dir.join("data"));
    let (out, data) = (out.to_str().unwrap(), data.to_str().unwrap());
    let peer = format!("mine={}", server(well));
    let place = ["--dir", data, "--out", out, "--peer", &peer, "--peers-only", "--quick"];
    let table = succeeds(&[&["compare", "redis-default", "one-client", "latency"][..], &place[..]].concat());
    assert!(
        table.contains("| SET P=64 | mine |") && table.contains("the figures mean nothing"),
        "{table}"
    );
    let said = succeeds(&["report", out]);
    assert!(
        said.contains("report.html") && dir.join("results/report.html").exists(),
        "{said}"
    );
    assert!(succeeds(&["report", out, "--text"]).contains("### One client, one command at a time"));
    assert!(fails(&["report", out, "--update", "/dev/null"]).contains("quick run"));
}

#[test]
fn compare_says_what_is_missing() {
    let dir = directory("missing");
    let data = dir.to_str().unwrap();
    assert!(fails(&["compare", "nonsense"]).contains("no comparison is called \"nonsense\""));
    assert!(fails(&["compare", "--peer", "no-such-server"]).contains("no-such-server cannot be run"));
    let peer = format!("mine={}", server(well));
    let said = fails(&[
        "compare",
        "--quick",
        "--server",
        "/no/slotcore",
        "--dir",
        data,
        "--peer",
        &peer,
    ]);
    assert!(said.contains("/no/slotcore is not there"), "{said}");
    let said = fails(&[
        "compare",
        "--quick",
        "--peers-only",
        "--peer",
        &peer,
        "--out",
        "/dev/full/results",
    ]);
    assert!(said.contains("cannot make the directory /dev/full/results"), "{said}");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = fails(&[
        "compare",
        "one-client",
        "--quick",
        "--peers-only",
        "--dir",
        data,
        "--peer",
        &format!("gone={gone}"),
    ]);
    assert!(said.contains("nobody listens there"), "{said}");
    assert!(fails(&["kill-loop", "--server", "/no/slotcore", "--dir", data]).contains("/no/slotcore is not there"));
}

#[test]
fn the_other_commands_run_in_a_tiny_size() {
    let dir = directory("others");
    let json = directory("floor").join("floor.json");
    let tiny = "floor --seconds 0.02 --read-mib 1 --memory-mib 1 --dir".split(' ');
    let tiny: Vec<&str> = tiny.chain([dir.to_str().unwrap(), "--json"]).collect();
    let floor = succeeds(&[&tiny[..], &[json.to_str().unwrap()]].concat());
    assert!(
        [
            "| epoll | 50 |",
            "Durable appends",
            "Random reads",
            "| GET |",
            "| copy |"
        ]
        .iter()
        .all(|part| floor.contains(part)),
        "{floor}"
    );
    let figures: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(figures["reads"].as_array().map(Vec::len), Some(4), "{figures}");
    assert!(fails(&[&tiny[..], &["/dev/full"]].concat()).contains("cannot write /dev/full"));
    assert!(succeeds(&["scale", "--nodes", "30", "--cores", "4"]).contains("| groups led by a node |"));
    // What is counted under callgrind, without it.
    succeeds(&["profile", "--body", "get"]);
    assert!(fails(&["report", dir.to_str().unwrap()]).contains("has no results"));
    assert!(fails(&["scale", "--results", dir.to_str().unwrap()]).contains("has no results"));
}
