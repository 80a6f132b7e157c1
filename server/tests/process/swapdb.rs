//! SWAPDB as others see it: those who wait, who watch on other cores, who keep copies; what is refused; and a kill.
//! What it answers, and what it does to random keys, is in `databases.rs`.

use crate::client::{Client, Reply};
use crate::scratch::Scratch;
use crate::server::Server;

const CORES: [&str; 2] = ["1", "3"];

fn start(cores: &str, dir: &Scratch) -> Server {
    Server::start(dir.path(), &["--cores", cores, "--durability", "everysec"])
}

fn waiting(client: &mut Client<std::net::TcpStream>, count: usize) {
    let wanted = format!("blocked_clients:{count}\r\n");
    while !client.ok(&["INFO", "clients"]).text().contains(&wanted) {}
}

#[test]
fn who_waits_gets_what_the_other_database_had() {
    for cores in CORES {
        let dir = Scratch::new();
        let server = start(cores, &dir);
        let (mut client, mut first, mut second) = (server.client(), server.client(), server.client());
        first.ok(&["SELECT", "9"]);
        first.send(b"BRPOP k other 0\r\n").unwrap();
        waiting(&mut client, 1);
        second.ok(&["SELECT", "9"]);
        second.send(b"BLPOP k 0\r\n").unwrap();
        waiting(&mut client, 2);
        client.ok(&["SELECT", "1"]);
        client.ok(&["RPUSH", "k", "a", "b"]);
        client.ok(&["SWAPDB", "1", "9"]);
        let popped = |element: &str| Reply::Array(vec![Reply::Bulk(b"k".to_vec()), Reply::Bulk(element.into())]);
        assert_eq!(first.reply().unwrap(), popped("b"));
        assert_eq!(second.reply().unwrap(), popped("a"));
        assert_eq!(client.ok(&["EXISTS", "k"]), Reply::Integer(0));
        server.stop();
    }
}

#[test]
fn a_stream_that_is_swapped_away_ends_the_wait_of_its_group() {
    for other in [None, Some(["RPUSH", "s", "x"])] {
        let dir = Scratch::new();
        let server = start("1", &dir);
        let (mut client, mut reader) = (server.client(), server.client());
        client.ok(&["XADD", "s", "1-1", "f", "v"]);
        client.ok(&["XGROUP", "CREATE", "s", "g", "$"]);
        reader.send(b"XREADGROUP GROUP g me BLOCK 0 STREAMS s >\r\n").unwrap();
        waiting(&mut client, 1);
        client.ok(&["SELECT", "4"]);
        if let Some(push) = other {
            client.ok(&push);
        }
        client.ok(&["SWAPDB", "0", "4"]);
        let told = reader.reply().unwrap().text();
        assert!(told.contains("no longer exists"), "{told}");
        server.stop();
    }
}

#[test]
fn a_transaction_fails_whose_watched_key_was_exchanged_on_any_core() {
    let dir = Scratch::new();
    let server = start("3", &dir);
    let (mut client, mut watcher) = (server.client(), server.client());
    // One key on each core.
    for key in ["b", "foo", "a"] {
        for (here, there, fails) in [("0", "1", true), ("1", "0", true), ("2", "3", false)] {
            client.ok(&["SET", key, "v"]);
            watcher.ok(&["WATCH", key]);
            client.ok(&["SWAPDB", here, there]);
            watcher.ok(&["MULTI"]);
            watcher.ok(&["PING"]);
            let found = watcher.ok(&["EXEC"]);
            let carried = Reply::Array(vec![Reply::Simple("PONG".into())]);
            assert_eq!(found, if fails { Reply::Nil } else { carried }, "{key} {here} {there}");
            client.ok(&["FLUSHALL"]);
        }
    }
    server.stop();
}

#[test]
fn copies_of_clients_are_void() {
    for cores in CORES {
        let dir = Scratch::new();
        let server = start(cores, &dir);
        let (mut client, mut keeper) = (server.client(), server.client());
        keeper.ok(&["HELLO", "3"]);
        keeper.ok(&["CLIENT", "TRACKING", "on"]);
        client.ok(&["SET", "a", "1"]);
        keeper.ok(&["GET", "a"]);
        client.ok(&["SWAPDB", "0", "1"]);
        let Reply::Push(told) = keeper.reply().unwrap() else {
            panic!("no push")
        };
        assert_eq!(told[0].text(), "invalidate");
        server.stop();
    }
}

#[test]
fn scripts_may_not_call_it() {
    let dir = Scratch::new();
    let server = start("1", &dir);
    let refused = server
        .client()
        .call(&["EVAL", "return redis.call('swapdb', 0, 1)", "0"]);
    let Reply::Error(text) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        text.starts_with("ERR This Redis command is not allowed from script"),
        "{text}"
    );
    server.stop();
}

#[test]
fn every_core_has_exchanged_them_after_a_kill_or_none() {
    let dir = Scratch::new();
    let keys: Vec<String> = (0..60).map(|key| format!("k{key}")).collect();
    let mut swaps = 0;
    for round in 0..6 {
        let server = Server::start(dir.path(), &["--cores", "3"]);
        let mut client = server.client();
        if round == 0 {
            keys.iter().for_each(|key| drop(client.ok(&["SET", key, "v"])));
        }
        let counts = |client: &mut Client<std::net::TcpStream>| {
            ["0", "1"].map(|database| {
                client.ok(&["SELECT", database]);
                client.ok(&["DBSIZE"])
            })
        };
        let (all, none) = (Reply::Integer(keys.len() as i64), Reply::Integer(0));
        let found = counts(&mut client);
        let either = [[all.clone(), none.clone()], [none, all]];
        assert!(either.contains(&found), "{found:?}");
        // Those that were answered have happened; of the one behind them nobody knows.
        if round % 2 == 1 {
            assert_eq!(found, either[swaps % 2], "after {swaps}");
        }
        swaps = usize::from(found == either[1]);
        for _ in 0..=round {
            client.ok(&["SWAPDB", "0", "1"]);
            swaps += 1;
        }
        if round % 2 == 1 {
            client.send(b"SWAPDB 1 0\r\n").unwrap();
        }
        server.kill();
    }
}

#[test]
fn what_lies_in_files_is_exchanged_as_long_as_it_is_not_much() {
    let dir = Scratch::new();
    let tiny = [
        "--memory",
        "16mb",
        "--segment-bytes",
        "1mb",
        "--log-target",
        "4mb",
        "--durability",
        "everysec",
    ];
    let server = Server::start(dir.path(), &tiny);
    let mut client = server.client();
    let value = |key: usize| format!("{key}{}", "v".repeat(100_000));
    let write = |client: &mut Client<std::net::TcpStream>, keys: std::ops::Range<usize>| {
        for key in keys {
            client.ok(&["SET", &format!("k{key}"), &value(key)]);
        }
    };
    write(&mut client, 0..300);
    client.ok(&["SWAPDB", "0", "1"]);
    client.ok(&["SELECT", "1"]);
    for key in (0..300).step_by(17) {
        assert_eq!(client.ok(&["GET", &format!("k{key}")]).text(), value(key));
    }
    write(&mut client, 300..1200);
    let Reply::Error(text) = client.call(&["SWAPDB", "0", "1"]) else {
        panic!("it is too much")
    };
    assert!(text.contains("more than 64 MiB in files"), "{text}");
    client.ok(&["MULTI"]);
    client.ok(&["SWAPDB", "0", "1"]);
    let Reply::Error(text) = client.call(&["EXEC"]) else {
        panic!("it is too much")
    };
    assert!(text.starts_with("EXECABORT"), "{text}");
    assert_eq!(client.ok(&["GET", "k7"]).text(), value(7));
    server.stop();
}
