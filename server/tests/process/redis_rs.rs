//! redis-rs, unmodified: what a Rust program does with a server, over RESP2 and RESP3.

use std::collections::{HashMap, HashSet};
use std::thread;

use redis::{Commands, Connection, ErrorKind, ServerErrorKind, Value};

use crate::PATIENCE;
use crate::scratch::Scratch;
use crate::server::Server;

/// Commands of one pipeline.
const PIPELINE: usize = 1000;

fn connect(server: &Server, parameters: &str) -> Connection {
    let url = format!("redis://127.0.0.1:{}/{parameters}", server.port);
    let connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection
}

#[test]
fn a_session_over_each_protocol() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), &[]);
    for (parameters, version) in [("", 2), ("?protocol=resp3", 3)] {
        let mut con = connect(&server, parameters);
        () = redis::cmd("FLUSHALL").query(&mut con).unwrap();
        strings(&mut con);
        collections(&mut con);
        pipelines(&mut con);
        scans(&mut con);
        errors(&mut con);
        let hello: HashMap<String, Value> = redis::cmd("HELLO").query(&mut con).unwrap();
        assert_eq!(hello["proto"], Value::Int(version));
    }
    server.stop();
}

fn strings(con: &mut Connection) {
    () = con.set("text", "value").unwrap();
    assert_eq!(con.get::<_, String>("text").unwrap(), "value");
    assert_eq!(con.get::<_, Option<String>>("missing").unwrap(), None);
    assert_eq!(con.append::<_, _, usize>("text", "!").unwrap(), 6);
    assert_eq!(con.incr::<_, _, i64>("count", 41).unwrap(), 41);
    assert_eq!(con.incr::<_, _, f64>("real", 1.5).unwrap(), 1.5);
    let binary: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    () = con.set("binary", &binary).unwrap();
    assert_eq!(con.get::<_, Vec<u8>>("binary").unwrap(), binary);
    () = con.mset(&[("a", 1), ("b", 2)]).unwrap();
    assert_eq!(
        con.mget::<_, Vec<Option<i64>>>(&["a", "none", "b"]).unwrap(),
        [Some(1), None, Some(2)]
    );
    assert!(con.set_nx::<_, _, bool>("once", 1).unwrap());
    assert!(!con.set_nx::<_, _, bool>("once", 2).unwrap());
    () = con.set_ex("soon", 1, 100).unwrap();
    assert!((1..=100).contains(&con.ttl::<_, i64>("soon").unwrap()));
    assert!(con.persist::<_, bool>("soon").unwrap());
    assert_eq!(con.del::<_, i64>(&["a", "b", "none"]).unwrap(), 2);
    assert!(con.exists::<_, bool>("text").unwrap());
}

fn collections(con: &mut Connection) {
    () = con.hset_multiple("hash", &[("f", "1"), ("g", "2")]).unwrap();
    let hash: HashMap<String, i64> = con.hgetall("hash").unwrap();
    assert_eq!(hash, HashMap::from([("f".into(), 1), ("g".into(), 2)]));
    assert_eq!(con.hincr::<_, _, _, i64>("hash", "f", 4).unwrap(), 5);
    assert_eq!(con.rpush::<_, _, i64>("list", &["a", "b", "c"]).unwrap(), 3);
    assert_eq!(con.lrange::<_, Vec<String>>("list", 0, -1).unwrap(), ["a", "b", "c"]);
    assert_eq!(
        con.lpop::<_, Option<String>>("list", None).unwrap().as_deref(),
        Some("a")
    );
    assert_eq!(con.sadd::<_, _, i64>("set", &["x", "y", "x"]).unwrap(), 2);
    let members: HashSet<String> = con.smembers("set").unwrap();
    assert_eq!(members, HashSet::from(["x".into(), "y".into()]));
    assert!(con.sismember::<_, _, bool>("set", "x").unwrap());
    () = con.zadd_multiple("zset", &[(1.5, "m"), (-2.0, "n")]).unwrap();
    let ranked: Vec<(String, f64)> = con.zrange_withscores("zset", 0, -1).unwrap();
    assert_eq!(ranked, [("n".into(), -2.0), ("m".into(), 1.5)]);
    assert_eq!(con.zscore::<_, _, Option<f64>>("zset", "m").unwrap(), Some(1.5));
    assert_eq!(con.key_type::<_, String>("zset").unwrap(), "zset");
}

fn pipelines(con: &mut Connection) {
    let mut pipe = redis::pipe();
    for n in 0..PIPELINE {
        pipe.set(format!("p:{n}"), n).ignore().get(format!("p:{n}"));
    }
    let replies: Vec<usize> = pipe.query(con).unwrap();
    assert!(replies.into_iter().eq(0..PIPELINE));
}

fn scans(con: &mut Connection) {
    let found: HashSet<String> = con.scan_match("p:*").unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), PIPELINE);
    let fields: HashMap<String, i64> = con.hscan("hash").unwrap().map(Result::unwrap).collect();
    assert_eq!(fields.len(), 2);
    assert!(redis::cmd("DBSIZE").query::<usize>(con).unwrap() > PIPELINE);
}

fn errors(con: &mut Connection) {
    let error = con.lpush::<_, _, i64>("text", "x").unwrap_err();
    assert_eq!(error.code(), Some("WRONGTYPE"));
    let error = redis::cmd("NOSUCH").query::<Value>(con).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ResponseError));
    assert!(error.to_string().contains("unknown command"), "{error}");
    let error = con.incr::<_, _, i64>("text", 1).unwrap_err();
    assert!(error.to_string().contains("not an integer"), "{error}");
    // The connection is as good as before.
    assert_eq!(con.get::<_, String>("text").unwrap(), "value!");
}

#[test]
fn a_password_is_asked_for() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), &["--requirepass", "secret"]);
    let url = |user: &str| format!("redis://{user}127.0.0.1:{}/", server.port);
    let open = |user: &str| redis::Client::open(url(user)).unwrap().get_connection();
    let Err(wrong) = open(":wrong@") else {
        panic!("let in with a wrong password")
    };
    assert_eq!(wrong.kind(), ErrorKind::AuthenticationFailed);
    let mut none = open("").unwrap();
    assert_eq!(none.get::<_, String>("k").unwrap_err().code(), Some("NOAUTH"));
    let mut right = open(":secret@").unwrap();
    () = right.set("k", "v").unwrap();
    assert_eq!(right.get::<_, String>("k").unwrap(), "v");
}

/// Increments of each client in [`transactions_with_watched_keys_lose_no_increment`].
const INCREMENTS: usize = 100;

#[test]
fn transactions_with_watched_keys_lose_no_increment() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), &["--cores", "2", "--durability", "everysec"]);
    let keys = ["count{x}", "double{x}"];
    thread::scope(|scope| {
        for _ in 0..4 {
            let mut con = connect(&server, "?protocol=resp3");
            scope.spawn(move || {
                for _ in 0..INCREMENTS {
                    let (_,): (usize,) = redis::transaction(&mut con, &keys, |con, pipe| {
                        let count: Option<usize> = con.get(keys[0])?;
                        let next = count.unwrap_or(0) + 1;
                        let pipe = pipe.set(keys[0], next).ignore().set(keys[1], 2 * next).ignore();
                        pipe.get(keys[0]).query(con)
                    })
                    .unwrap();
                }
            });
        }
    });
    let mut con = connect(&server, "");
    let (count, double): (usize, usize) = redis::pipe()
        .atomic()
        .get(keys[0])
        .get(keys[1])
        .query(&mut con)
        .unwrap();
    assert_eq!((count, double), (4 * INCREMENTS, 8 * INCREMENTS));
    server.stop();
}
