//! `CONFIG SET durability` while clients write: each mode is in force from its reply on, and `always` means it again.

use crate::client::Reply;
use crate::load::{Load, ledgers};
use crate::scratch::Scratch;
use crate::server::Server;

/// Commands acknowledged between two changes.
const BETWEEN: u64 = 500;
/// Every change from one mode to another at least once; begins and ends in `always`.
const MODES: [&str; 7] = ["always", "everysec", "off", "everysec", "always", "off", "always"];

fn redis_name(mode: &str) -> &str {
    if mode == "off" { "no" } else { mode }
}

#[test]
fn the_mode_changes_under_load_and_always_holds_afterwards() {
    let scratch = Scratch::new();
    let options = ["--segment-bytes", "1mb", "--durability", "off"];
    let server = Server::start(scratch.path(), &options);
    let mut operator = server.client();
    let load = Load::start(server.port, ledgers(3));
    for mode in MODES {
        assert_eq!(
            operator.ok(&["CONFIG", "SET", "durability", mode]),
            Reply::Simple("OK".into())
        );
        let told = operator.ok(&["CONFIG", "GET", "durability", "appendfsync"]);
        let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        let Reply::Array(told) = told else { panic!("{told:?}") };
        for (name, value) in [("durability", mode), ("appendfsync", redis_name(mode))] {
            let at = told.iter().position(|word| *word == bulk(name)).unwrap();
            assert_eq!(told[at + 1], bulk(value), "{name}");
        }
        assert_eq!(operator.info("durability"), mode);
        load.acknowledged(BETWEEN);
    }
    // The other name is the same parameter.
    operator.ok(&["CONFIG", "SET", "appendfsync", "no"]);
    assert_eq!(operator.info("durability"), "off");
    operator.ok(&["CONFIG", "SET", "appendfsync", "always"]);
    assert!(operator.call(&["CONFIG", "SET", "durability", "sometimes"]).is_error());
    assert_eq!(operator.info("durability"), "always");
    load.acknowledged(BETWEEN);
    server.kill();

    let mut known = load.broken();
    let server = Server::start(scratch.path(), &options);
    let mut client = server.client();
    for ledger in &mut known {
        ledger.check(&mut client);
    }
    server.stop();
}
