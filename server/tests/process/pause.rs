//! `CLIENT PAUSE`: which commands are held, on which cores, and that all of them are carried out in the end.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use slotcore_engine::ord::slot_of;

use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

type Conn = Client<TcpStream>;

fn server(dir: &Scratch, cores: u16) -> Server {
    let cores = cores.to_string();
    Server::start(dir.path(), &["--cores", &cores, "--durability", "everysec"])
}

/// A key of every core.
fn keys(cores: u16) -> Vec<String> {
    let owner = |key: &str| u32::from(slot_of(key.as_bytes())) * u32::from(cores) / 16_384;
    let of_core = |core: u16| (0..).map(|n| format!("k{n}")).find(|key| owner(key) == u32::from(core));
    (0..cores).filter_map(of_core).collect()
}

/// Waits until so many connections are held.
fn until_held(client: &mut Conn, count: usize) {
    let began = Instant::now();
    while client.info("blocked_clients") != count.to_string() {
        assert!(began.elapsed() < crate::PATIENCE, "{count} clients are never held");
    }
}

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

#[test]
fn writes_are_held_and_reads_pass() {
    for cores in [1, 2, 4] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut admin = server.client();
        for key in keys(cores) {
            admin.ok(&["SET", &key, "0"]);
            assert_eq!(admin.call(&["CLIENT", "PAUSE", "60000", "WRITE"]), ok());
            let mut writers: Vec<Conn> = (0..3).map(|_| server.client()).collect();
            for (n, writer) in writers.iter_mut().enumerate() {
                let pipeline = [request(&["GET", &key]), request(&["INCR", &key]), request(&["PING"])];
                writer.send(&pipeline.concat()).unwrap();
                assert_eq!(writer.reply().unwrap(), bulk("0"));
                until_held(&mut admin, n + 1);
            }
            assert_eq!(admin.call(&["GET", &key]), bulk("0"));
            // What is wrong is said at once.
            assert!(admin.call(&["INCR"]).is_error());
            // Who goes is not waited for.
            drop(writers.pop());
            until_held(&mut admin, 2);
            assert_eq!(admin.call(&["CLIENT", "UNPAUSE"]), ok());
            for writer in &mut writers {
                assert!(matches!(writer.reply().unwrap(), Reply::Integer(1 | 2)));
                assert_eq!(writer.reply().unwrap(), Reply::Simple("PONG".into()));
            }
            assert_eq!(admin.call(&["GET", &key]), bulk("2"));
            assert_eq!(admin.info("blocked_clients"), "0");
        }
        server.stop();
    }
}

#[test]
fn a_transaction_is_held_when_it_writes() {
    for cores in [1, 2] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut admin = server.client();
        for key in keys(cores) {
            let (mut reader, mut writer, mut publisher) = (server.client(), server.client(), server.client());
            for (client, command) in [
                (&mut reader, &["GET", &key][..]),
                (&mut writer, &["SET", &key, "1"]),
                (&mut publisher, &["PUBLISH", "c", "m"]),
            ] {
                client.ok(&["MULTI"]);
                client.ok(command);
            }
            admin.ok(&["CLIENT", "PAUSE", "60000", "WRITE"]);
            assert_eq!(reader.call(&["EXEC"]), Reply::Array(vec![Reply::Nil]));
            // All in one piece: what is kept is known only when that has been carried out.
            let pipeline = [request(&["MULTI"]), request(&["GET", &key]), request(&["EXEC"])];
            reader.send(&pipeline.concat()).unwrap();
            assert_eq!(reader.reply().unwrap(), ok());
            assert_eq!(reader.reply().unwrap(), Reply::Simple("QUEUED".into()));
            assert_eq!(reader.reply().unwrap(), Reply::Array(vec![Reply::Nil]));
            for (n, client) in [&mut writer, &mut publisher].into_iter().enumerate() {
                client.send(&request(&["EXEC"])).unwrap();
                until_held(&mut admin, n + 1);
            }
            admin.ok(&["CLIENT", "UNPAUSE"]);
            assert_eq!(writer.reply().unwrap(), Reply::Array(vec![ok()]));
            assert_eq!(publisher.reply().unwrap(), Reply::Array(vec![Reply::Integer(0)]));
        }
        server.stop();
    }
}

#[test]
fn a_pause_of_everything_ends_by_itself() {
    for cores in [1, 2, 4] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut admin = server.client();
        let mut others: Vec<Conn> = (0..cores).map(|_| server.client()).collect();
        for client in &mut others {
            client.ok(&["PING"]);
        }
        let began = Instant::now();
        admin.ok(&["CLIENT", "PAUSE", "30"]);
        for client in &mut others {
            assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
            assert!(began.elapsed() >= Duration::from_millis(30));
        }
        server.stop();
    }
}

#[test]
fn a_later_pause_makes_the_first_one_longer_and_wider_but_never_less() {
    let dir = Scratch::new();
    let server = server(&dir, 1);
    let (mut admin, mut client) = (server.client(), server.client());
    client.ok(&["SET", "k", "1"]);
    let began = Instant::now();
    admin.ok(&["CLIENT", "PAUSE", "40", "WRITE"]);
    // It would end earlier, and so it does not; but now reads are held, too.
    admin.ok(&["CLIENT", "PAUSE", "1", "ALL"]);
    assert_eq!(client.call(&["GET", "k"]), bulk("1"));
    assert!(began.elapsed() >= Duration::from_millis(40));
    server.stop();
}
