//! `WAIT` and `WAITAOF`: who waits, for how long, and how many copies there are then.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::{Client, Reply, request};
use crate::cluster::{Cluster, wait_until};
use crate::scratch::Scratch;
use crate::server::Server;

fn server(dir: &Scratch, cores: &str, durability: &str) -> Server {
    Server::start(dir.path(), &["--cores", cores, "--durability", durability])
}

fn both(local: i64, replicas: i64) -> Reply {
    Reply::Array(vec![Reply::Integer(local), Reply::Integer(replicas)])
}

fn until_blocked(client: &mut Client<TcpStream>, count: &str) {
    wait_until("others wait", || client.info("blocked_clients") == count);
}

#[test]
fn alone_there_are_no_replicas_and_who_wants_some_waits() {
    for cores in ["1", "2"] {
        let dir = Scratch::new();
        let server = server(&dir, cores, "always");
        let (mut client, mut watcher) = (server.client(), server.client());
        assert_eq!(client.call(&["WAIT", "0", "0"]), Reply::Integer(0));
        assert_eq!(client.call(&["WAIT", "-1", "0"]), Reply::Integer(0));
        let began = Instant::now();
        assert_eq!(client.call(&["WAIT", "1", "30"]), Reply::Integer(0));
        assert!(began.elapsed() >= Duration::from_millis(30));
        assert_eq!(client.call(&["WAITAOF", "0", "1", "500"]), both(1, 0));
        // What was sent behind it waits, too, and the order stays.
        let several = [
            &["SET", "k", "1"][..],
            &["WAIT", "1", "5"],
            &["INCR", "k"],
            &["WAITAOF", "1", "0", "0"],
            &["GET", "k"],
        ];
        let bytes: Vec<u8> = several.iter().flat_map(|words| request(words)).collect();
        client.send(&bytes).unwrap();
        let replies: Vec<Reply> = several.iter().map(|_| client.reply().unwrap()).collect();
        let expected = [
            Reply::Simple("OK".into()),
            Reply::Integer(0),
            Reply::Integer(2),
            both(1, 0),
            Reply::Bulk(b"2".to_vec()),
        ];
        assert_eq!(replies, expected);
        // Nobody waits in a transaction.
        for words in [
            &["MULTI"][..],
            &["INCR", "k"],
            &["WAIT", "1", "0"],
            &["WAITAOF", "1", "1", "0"],
        ] {
            client.ok(words);
        }
        let expected = Reply::Array(vec![Reply::Integer(3), Reply::Integer(0), both(1, 0)]);
        assert_eq!(client.call(&["EXEC"]), expected);
        // For ever.
        let id = client.ok(&["CLIENT", "ID"]).text();
        for (reason, expected) in [
            ("TIMEOUT", Reply::Integer(0)),
            (
                "ERROR",
                Reply::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".into()),
            ),
        ] {
            client.send(&request(&["WAIT", "1", "0"])).unwrap();
            until_blocked(&mut watcher, "1");
            assert_eq!(watcher.call(&["CLIENT", "UNBLOCK", &id, reason]), Reply::Integer(1));
            assert_eq!(client.reply().unwrap(), expected);
        }
        assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
        let mut gone = server.client();
        gone.send(&request(&["WAIT", "1", "0"])).unwrap();
        until_blocked(&mut watcher, "1");
        drop(gone);
        until_blocked(&mut watcher, "0");
        // Nor does it hold up whoever ends the server.
        client.send(&request(&["WAIT", "1", "0"])).unwrap();
        until_blocked(&mut watcher, "1");
        let began = Instant::now();
        server.stop();
        assert!(began.elapsed() < crate::PATIENCE);
    }
}

#[test]
fn bad_arguments_are_refused_as_by_redis() {
    let dir = Scratch::new();
    let server = server(&dir, "1", "off");
    let mut client = server.client();
    let not_a_number = "ERR value is not an integer or out of range";
    let no_timeout = "ERR timeout is not an integer or out of range";
    for (words, expected) in [
        (&["WAIT", "x", "0"][..], not_a_number),
        (&["WAIT", "1", "x"], no_timeout),
        (&["WAIT", "1", "-1"], "ERR timeout is negative"),
        (
            &["WAITAOF", "2", "0", "0"],
            "ERR value is out of range, value must between 0 and 1",
        ),
        (&["WAITAOF", "x", "0", "0"], not_a_number),
        (
            &["WAITAOF", "0", "-1", "0"],
            "ERR value is out of range, must be positive",
        ),
        (&["WAITAOF", "0", "0", "x"], no_timeout),
        (
            &["WAITAOF", "0", "0"],
            "ERR wrong number of arguments for 'waitaof' command",
        ),
    ] {
        assert_eq!(client.call(words), Reply::Error(expected.into()), "{words:?}");
    }
    assert_eq!(
        client.call(&["EVAL", "return redis.pcall('wait', 0, 0).err ~= nil", "0"]),
        Reply::Integer(1)
    );
    client.ok(&["ACL", "SETUSER", "app", "on", "nopass", "+@all", "-wait"]);
    client.ok(&["AUTH", "app", "x"]);
    assert!(client.call(&["WAIT", "0", "0"]).text().starts_with("NOPERM "));
    server.stop();
}

#[test]
fn whoever_wants_it_durable_waits_for_the_disk_in_every_mode() {
    for (cores, durability) in [("1", "off"), ("1", "everysec"), ("1", "always"), ("2", "off")] {
        let dir = Scratch::new();
        let server = server(&dir, cores, durability);
        let mut client = server.client();
        for n in 0..50 {
            client.ok(&["SET", &format!("k{n}"), "v"]);
            assert_eq!(client.call(&["WAITAOF", "1", "0", "0"]), both(1, 0), "{durability}");
        }
        // Nothing was written since.
        assert_eq!(client.call(&["WAITAOF", "1", "0", "0"]), both(1, 0), "{durability}");
        assert_eq!(server.client().info("blocked_clients"), "0");
        server.stop();
    }
}

#[test]
fn in_a_cluster_copies_are_counted_and_a_majority_is_certain() {
    let cluster = Cluster::start(3, 1);
    let leader = cluster.leader_of(0);
    let mut client = Client::connect(cluster.core_port(leader, 0));
    for n in 0..20 {
        client.ok(&["SET", "k", &n.to_string()]);
        assert_eq!(client.call(&["WAIT", "2", "0"]), Reply::Integer(2));
        assert_eq!(client.call(&["WAITAOF", "1", "2", "0"]), both(1, 2));
    }
    let followers: Vec<usize> = cluster.running().into_iter().filter(|&node| node != leader).collect();
    for &node in &followers {
        let mut other = cluster.node(node).client();
        other.ok(&["INCR", "n"]);
        assert_eq!(other.call(&["WAIT", "1", "0"]), Reply::Integer(1));
        assert_eq!(other.call(&["WAITAOF", "1", "1", "0"]), both(1, 1));
    }
    cluster.node(followers[0]).freeze();
    client.ok(&["SET", "k", "x"]);
    assert_eq!(client.call(&["WAIT", "1", "0"]), Reply::Integer(1));
    assert_eq!(client.call(&["WAIT", "2", "50"]), Reply::Integer(1));
    client.send(&request(&["WAIT", "2", "0"])).unwrap();
    cluster.node(followers[0]).thaw();
    assert_eq!(client.reply().unwrap(), Reply::Integer(2));
}
