//! Each command of `slotcore-bench` as a process, in a tiny size: what it prints, what it says when something is wrong, and
//! its exit code.
#![allow(clippy::disallowed_methods, reason = "drives real processes and sockets")]

mod no_room;
mod peer;
mod peers;
mod program;

use std::fs::{self, File};
use std::net::SocketAddr;

use peer::{nobody, server, well};
use program::{command, directory, failed, fails, succeeds};

#[test]
fn load_says_what_is_wrong_with_its_peer() {
    let port = |addr: SocketAddr| addr.port().to_string();
    let said = fails(&["load", "--port", &port(nobody())]);
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

    let page = dir.join("page.md");
    let marks = |name: &str| format!("<!-- bench: {name} -->\n<!-- bench: end -->\n");
    let picture = "pictures redis-default-0-get-requests-per-second";
    fs::write(&page, marks("summary") + &marks("one-client") + &marks(picture)).unwrap();
    let (page, into) = (page.to_str().unwrap(), dir.join("into"));
    let update = [
        "report",
        out,
        "--update",
        page,
        "--complete",
        "--into",
        into.to_str().unwrap(),
    ];
    // There is one server only, so no table of ours beside theirs.
    assert!(fails(&update).contains("there are no results for summary of "));
    let pictures = dir.join("pictures");
    let update = [&update[..], &["--pictures", pictures.to_str().unwrap()]].concat();
    fs::write(page, marks("one-client") + &marks(picture)).unwrap();
    succeeds(&update);
    let text = fs::read_to_string(page).unwrap();
    assert!(
        text.contains("### One client") && text.contains("](pictures/redis-default-0-get"),
        "{text}"
    );
    assert!(pictures.join("redis-default-0-get-requests-per-second.svg").exists());
    fs::write(page, marks("pictures no-such-picture")).unwrap();
    assert!(fails(&update).contains("no results for pictures no-such-picture"));
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
    let gone = nobody();
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
    assert!(
        fails(&[
            "larger",
            "--server",
            "/no/slotcore",
            "--seconds",
            "0.02",
            "--quick",
            "--dir",
            data
        ])
        .contains("/no/slotcore is not there")
    );
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
    assert!(fails(&["profile", "--command", "nonsense"]).contains("\"nonsense\" is not counted"));
    assert!(fails(&["profile", "--update"]).contains("only the counts of the builds release and ci are kept"));
    let without = command(&["profile", "--command", "get"])
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    assert!(failed(without, &["profile"]).contains("valgrind cannot be run"));
    if program::is_installed("valgrind") {
        assert!(succeeds(&["profile", "--command", "get"]).contains("| get | | "));
    }
    assert!(fails(&["report", dir.to_str().unwrap()]).contains("has no results"));
    assert!(fails(&["scale", "--results", dir.to_str().unwrap()]).contains("has no results"));
}
