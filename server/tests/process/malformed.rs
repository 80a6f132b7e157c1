//! Bytes that are no RESP: Redis's error text, that connection is closed, and everybody else is answered as before.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use slotcore_rt::rng::SeededRng;

use crate::PATIENCE;
use crate::client::{Client, Reply, request};
use crate::load::assert_answers;
use crate::scratch::Scratch;
use crate::server::Server;

/// A name, what is sent, and everything that comes back until the server closes.
struct Case {
    name: &'static str,
    sent: Vec<u8>,
    answer: &'static str,
}

fn case(name: &'static str, sent: impl AsRef<[u8]>, answer: &'static str) -> Case {
    Case {
        name,
        sent: sent.as_ref().to_vec(),
        answer,
    }
}

/// What must be refused, and the connection closed.
fn refused() -> Vec<Case> {
    let long = "1".repeat(70_000);
    let letters = "a".repeat(70_000);
    vec![
        case(
            "a count beyond every limit",
            "*2147483648\r\n",
            "-ERR Protocol error: invalid multibulk length\r\n",
        ),
        case(
            "a count that overflows",
            "*99999999999999999999\r\n",
            "-ERR Protocol error: invalid multibulk length\r\n",
        ),
        case(
            "a count of letters",
            "*abc\r\n",
            "-ERR Protocol error: invalid multibulk length\r\n",
        ),
        case(
            "an empty count",
            "*\r\n",
            "-ERR Protocol error: invalid multibulk length\r\n",
        ),
        case(
            "a count with a sign",
            "*+1\r\n",
            "-ERR Protocol error: invalid multibulk length\r\n",
        ),
        case(
            "a count without end",
            format!("*{long}"),
            "-ERR Protocol error: too big mbulk count string\r\n",
        ),
        case(
            "a negative length",
            "*1\r\n$-5\r\n",
            "-ERR Protocol error: invalid bulk length\r\n",
        ),
        case(
            "no length",
            "*1\r\n$\r\n",
            "-ERR Protocol error: invalid bulk length\r\n",
        ),
        case(
            "a length beyond the limit",
            "*1\r\n$536870913\r\n",
            "-ERR Protocol error: invalid bulk length\r\n",
        ),
        case(
            "a length of letters, later",
            "*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$1x\r\n",
            "-ERR Protocol error: invalid bulk length\r\n",
        ),
        case(
            "a length without end",
            format!("*1\r\n${long}"),
            "-ERR Protocol error: too big bulk count string\r\n",
        ),
        case(
            "an integer for a bulk",
            "*1\r\n:5\r\n",
            "-ERR Protocol error: expected '$', got ':'\r\n",
        ),
        case(
            "an array in an array",
            "*1\r\n*1\r\n$4\r\nPING\r\n",
            "-ERR Protocol error: expected '$', got '*'\r\n",
        ),
        case(
            "a bulk too few",
            "*2\r\n$4\r\nPING\r\nPING\r\n",
            "-ERR Protocol error: expected '$', got 'P'\r\n",
        ),
        case(
            "an open double quote",
            "set x \"abc\r\n",
            "-ERR Protocol error: unbalanced quotes in request\r\n",
        ),
        case(
            "an open single quote",
            "set x 'abc\r\n",
            "-ERR Protocol error: unbalanced quotes in request\r\n",
        ),
        case(
            "text behind a closing quote",
            "set x \"abc\"d\r\n",
            "-ERR Protocol error: unbalanced quotes in request\r\n",
        ),
        case(
            "an inline request without end",
            letters,
            "-ERR Protocol error: too big inline request\r\n",
        ),
        case(
            "a good command before",
            "*1\r\n$4\r\nPING\r\n*1\r\n!\r\n",
            "+PONG\r\n-ERR Protocol error: expected '$', got '!'\r\n",
        ),
        case(
            "a write before",
            "*3\r\n$3\r\nSET\r\n$6\r\nbefore\r\n$1\r\n1\r\n*1\r\n$x\r\n",
            "+OK\r\n-ERR Protocol error: invalid bulk length\r\n",
        ),
    ]
}

/// What Redis lets pass: the answer is followed by that of a PING on the same connection.
fn let_pass() -> Vec<Case> {
    vec![
        case("an empty array", "*0\r\n", ""),
        case("a negative count", "*-1\r\n", ""),
        case("empty lines", "\r\n\r\n\n", ""),
        case("words between spaces", "   echo    hi  \r\n", "$2\r\nhi\r\n"),
        case("a line without carriage return", "echo hi\n", "$2\r\nhi\r\n"),
        case(
            "an unknown command",
            "*1\r\n$3\r\nfoo\r\n",
            "-ERR unknown command 'foo', with args beginning with: \r\n",
        ),
        case(
            "an unknown command with a line break in it",
            "*2\r\n$5\r\nf\r\noo\r\n$3\r\na\nb\r\n",
            "-ERR unknown command 'f  oo', with args beginning with: 'a b' \r\n",
        ),
        case(
            "a command with no argument",
            "*1\r\n$3\r\nGET\r\n",
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
        case(
            "an empty command name",
            "*1\r\n$0\r\n\r\n",
            "-ERR unknown command '', with args beginning with: \r\n",
        ),
    ]
}

/// Checks all cases against what `connect` connects to; `between` is called after each.
fn check<S: Read + Write>(mut connect: impl FnMut() -> Client<S>, mut between: impl FnMut(&str)) {
    for Case { name, sent, answer } in refused() {
        let mut client = connect();
        // The server may close before everything was sent.
        let _ = client.send(&sent);
        assert_eq!(String::from_utf8_lossy(&client.rest()), answer, "{name}");
        between(name);
    }
    for Case { name, sent, answer } in let_pass() {
        let mut client = connect();
        client.send(&sent).unwrap();
        client.send(&request(&["QUIT"])).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&client.rest()),
            format!("{answer}+OK\r\n"),
            "{name}"
        );
        between(name);
    }
}

#[test]
fn each_kind_gets_its_error_and_others_notice_nothing() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), &["--durability", "off"]);
    let mut good = server.client();
    let mut count = 0;
    check(
        || server.client(),
        |name| {
            count += 1;
            assert_eq!(good.call(&["INCR", "good"]), Reply::Integer(count), "after {name}");
        },
    );
    assert_eq!(good.call(&["GET", "before"]), Reply::Bulk(b"1".to_vec()));
    let refused = refused().len();
    let unknown_or_incomplete = 4;
    assert_eq!(
        good.info("total_error_replies"),
        (refused + unknown_or_incomplete).to_string()
    );
    server.stop();
}

#[test]
fn redis_answers_the_same() {
    let scratch = Scratch::new();
    let socket = scratch.join("redis");
    let started = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .args(["--dir".as_ref(), scratch.path().as_os_str()])
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut redis) = started else {
        eprintln!("left out: redis-server is not installed");
        return;
    };
    let mut stdout = std::io::BufReader::new(redis.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready to accept connections") {
        line.clear();
        let read = std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        assert!(read > 0, "redis-server ended");
    }
    let outcome = std::panic::catch_unwind(|| {
        check(
            || {
                let stream = UnixStream::connect(&socket).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Client::over(stream)
            },
            |_| {},
        );
    });
    redis.kill().unwrap();
    redis.wait().unwrap();
    outcome.unwrap();
}

#[test]
fn junk_of_all_kinds_stops_nobody() {
    const SEED: u64 = 7;
    const ROUNDS: usize = 300;
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), &["--durability", "off"]);
    let mut good = server.client();
    let mut rng = SeededRng::new(SEED);
    for round in 0..ROUNDS {
        let mut junk = vec![0; rng.range(1..2000) as usize];
        rng.fill(&mut junk);
        if round % 2 == 0 {
            // Good requests with a few bytes replaced: gets further than noise.
            junk = (0..20)
                .flat_map(|n| request(&["SET", &format!("k{n}"), "value"]))
                .collect();
            for _ in 0..rng.range(1..6) {
                let at = rng.index(junk.len());
                junk[at] = rng.below(256) as u8;
            }
        }
        let mut client = server.client();
        client.send(&junk).unwrap();
        if round % 3 == 0 {
            // Some wait for what comes back; others are simply gone, with replies under way.
            assert_answers(&mut good);
            let _ = client.send(b"\r\n");
        }
        drop(client);
        assert_answers(&mut good);
    }
    // The last ones are noticed to be gone a moment later.
    let began = Instant::now();
    while good.info("connected_clients") != "1" {
        assert!(began.elapsed() < PATIENCE, "connections stay, seed {SEED}");
    }
    server.stop();
}
