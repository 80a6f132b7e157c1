//! Ends of the process under load, ordered and not, and what the next start finds.

use std::net::TcpStream;

use slotcore_rt::rng::SeededRng;

use crate::client::{Client, Reply};
use crate::load::{Ledger, Load, ledgers};
use crate::scratch::Scratch;
use crate::server::Server;

/// Connections that write at the same time.
const WRITERS: u64 = 4;
/// Small segments: every run crosses their borders.
const SMALL: &[&str] = &["--segment-bytes", "1mb"];

fn check_all(ledgers: &mut [Ledger], client: &mut Client<TcpStream>) {
    for ledger in ledgers {
        ledger.check(client);
    }
}

fn with<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [SMALL, options].concat()
}

#[test]
fn sigterm_drains_and_seals_in_every_mode() {
    for mode in ["always", "everysec", "off"] {
        let scratch = Scratch::new();
        let options = with(&["--durability", mode]);
        let server = Server::start(scratch.path(), &options);
        let load = Load::start(server.port, ledgers(WRITERS));
        load.acknowledged(5_000);
        server.stop();
        let mut known = load.broken();

        let server = Server::start(scratch.path(), &options);
        let mut client = server.client();
        check_all(&mut known, &mut client);
        let digest = client.ok(&["DEBUG", "DIGEST"]);
        server.stop();
        let server = Server::start(scratch.path(), &options);
        assert_eq!(server.client().ok(&["DEBUG", "DIGEST"]), digest, "{mode}");
        server.stop();
    }
}

#[test]
fn shutdown_command_ends_in_order() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), SMALL);
    let load = Load::start(server.port, ledgers(WRITERS));
    load.acknowledged(2_000);
    let mut client = server.client();
    client.send(b"SHUTDOWN\r\n").unwrap();
    let ended = server.ended();
    assert!(ended.status.success(), "{}\n{}", ended.status, ended.log);
    let mut known = load.broken();
    let server = Server::start(scratch.path(), SMALL);
    check_all(&mut known, &mut server.client());
}

#[test]
fn kill_loses_nothing_acknowledged_and_recovers_twice_alike() {
    const SEED: u64 = 3;
    const ROUNDS: usize = 5;
    let scratch = Scratch::new();
    let options = with(&["--durability", "always"]);
    let mut rng = SeededRng::new(SEED);
    let mut known = ledgers(WRITERS);
    for round in 0..ROUNDS {
        let server = Server::start(scratch.path(), &options);
        let load = Load::start(server.port, known);
        load.acknowledged(rng.range(1..2_000));
        server.kill();
        known = load.broken();

        let server = Server::start(scratch.path(), &options);
        let mut client = server.client();
        check_all(&mut known, &mut client);
        let digest = client.ok(&["DEBUG", "DIGEST"]);
        server.kill();
        let server = Server::start(scratch.path(), &options);
        let again = server.client().ok(&["DEBUG", "DIGEST"]);
        assert_eq!(again, digest, "seed {SEED}, round {round}");
        server.kill();
    }
}

#[test]
fn types_and_expiries_survive_a_kill() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), SMALL);
    let mut client = server.client();
    for words in [
        &["SET", "string", "v", "PX", "100000000"][..],
        &["RPUSH", "list", "a", "b", "c"],
        &["HSET", "hash", "f", "1", "g", "2"],
        &["SADD", "set", "x", "y"],
        &["ZADD", "zset", "1.5", "m", "2", "n"],
        &["SET", "gone", "v"],
        &["DEL", "gone"],
    ] {
        client.ok(words);
    }
    let digest = client.ok(&["DEBUG", "DIGEST"]);
    let expires = client.ok(&["PEXPIRETIME", "string"]);
    server.kill();
    let server = Server::start(scratch.path(), SMALL);
    let mut client = server.client();
    assert_eq!(client.ok(&["DEBUG", "DIGEST"]), digest);
    assert_eq!(client.ok(&["PEXPIRETIME", "string"]), expires);
    assert_eq!(client.ok(&["DBSIZE"]), Reply::Integer(5));
    assert_eq!(client.ok(&["ZSCORE", "zset", "m"]), Reply::Bulk(b"1.5".to_vec()));
    server.stop();
}
