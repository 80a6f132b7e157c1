//! Comparisons with real peers, where they are installed; what is said where they are not; and peers that misbehave.

use crate::peer::{nobody, server, well};
use crate::program::{self, directory, fails, is_installed, succeeds};

/// Compares in the smallest size.
fn tiny<'a>(suite: &'a str, data: &'a str, peer: &'a str) -> Vec<&'a str> {
    vec!["compare", suite, "--quick", "--dir", data, "--peer", peer]
}

#[test]
fn peers_that_are_installed_are_measured_and_others_are_told() {
    let dir = directory("peers");
    let data = dir.to_str().unwrap();
    for (suite, peer, only) in [
        ("one-client", "redis-server", "SET"),
        ("one-client", "valkey-server", "SET"),
        ("replicated", "etcd", "50 clients"),
    ] {
        let args = [&tiny(suite, data, peer)[..], &["--peers-only", "--only", only]].concat();
        if is_installed(peer) {
            let said = succeeds(&args);
            assert!(said.contains(&format!("| {only} | {peer}")), "{said}");
        } else {
            let said = fails(&args);
            assert!(said.contains(&format!("{peer} cannot be run")), "{said}");
        }
    }
}

#[test]
fn our_server_is_measured_alone_and_as_three_nodes() {
    let Some(ours) = program::server() else { return };
    let dir = directory("ours");
    let peer = format!("mine={}", server(well));
    let args = tiny("replicated", dir.to_str().unwrap(), &peer);
    let said = succeeds(&[&args[..], &["--server", &ours, "--only", "50 clients"]].concat());
    assert!(
        said.contains("| 50 clients | Slotcore always, 3 nodes |") && said.contains("| 50 clients | Slotcore always |"),
        "{said}"
    );
    let killed = succeeds(&[
        "kill-loop",
        "--server",
        &ours,
        "--dir",
        dir.to_str().unwrap(),
        "--rounds",
        "1",
    ]);
    assert!(killed.contains("lost=0"), "{killed}");
}

#[test]
fn a_peer_that_misbehaves_ends_the_comparison() {
    let dir = directory("misbehaving");
    let compare = |peer: String| {
        let data = dir.to_str().unwrap();
        fails(&[&tiny("one-client", data, &format!("x={peer}"))[..], &["--peers-only"]].concat())
    };
    let refusing = server(|command| match command {
        b"SET" => b"-OOM command not allowed\r\n",
        command => well(command),
    });
    assert!(compare(refusing.to_string()).contains("keys cannot be loaded: OOM"));
    let later = server(|command| match command {
        b"GET" => b"-WRONGTYPE of all\r\n",
        command => well(command),
    });
    assert!(compare(later.to_string()).contains("answered with an error, the first: WRONGTYPE"));
    let web = server(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(compare(web.to_string()).contains("is no RESP server"));
    assert!(compare(nobody().to_string()).contains("nobody listens there"));
    assert!(compare("nowhere".to_owned()).contains("is no address"));
}
