//! Nodes whose links are secured by certificates: they do what nodes without do, and strangers are told why they are refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::authority::{Authority, Signed};
use crate::client::{Client, Reply};
use crate::cluster::{Cluster, Place, wait_until};
use crate::joining::nodes;
use crate::metrics::free_port;
use crate::scratch::Scratch;
use crate::server::Server;

const SECRET: [&str; 2] = ["--cluster-secret", "known to the nodes of a test"];

/// Writes the files of a node, and says with which options it is started.
fn files(dir: &Path, name: &str, signed: &Signed, authorities: &str) -> Vec<String> {
    let write = |ending: &str, text: &str, mode: u32| {
        let path = dir.join(format!("{name}.{ending}"));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    vec![
        "--peer-tls-cert".into(),
        write("crt", &signed.certificate, 0o644),
        "--peer-tls-key".into(),
        write("key", &signed.key, 0o600),
        "--peer-tls-ca".into(),
        write("ca", authorities, 0o644),
    ]
}

/// The options of a node of the cluster.
fn options(dir: &Path, name: &str, authority: &Authority) -> Vec<String> {
    let mut options = files(dir, name, &authority.signs("127.0.0.1"), &authority.pem);
    options.extend(SECRET.map(str::to_owned));
    options
}

fn words(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

#[test]
fn nodes_with_certificates_replicate_come_back_and_are_joined_and_strangers_are_not_let_in() {
    let scratch = Scratch::new();
    let authority = Authority::new("ours");
    let admin: Vec<String> = (0..4).map(|_| free_port().to_string()).collect();
    let options_of = |node: usize| {
        let mut options = options(scratch.path(), &format!("node-{node}"), &authority);
        options.extend(["--admin-port".into(), admin[node].clone()]);
        options
    };
    let place = |node| Place {
        options: options_of(node),
        ..Place::default()
    };
    let mut cluster = Cluster::prepare_at((0..3).map(place).collect(), 2);
    (0..3).for_each(|node| cluster.start_node(node));
    let mut client = cluster.client();
    let ok = Reply::Simple("OK".into());
    assert_eq!(client.call(&["SET", "{a}1", "1"]), ok);

    // Both kill and order; with another certificate of the same authority, and without a word about the others.
    cluster.kill_node(1);
    assert_eq!(client.call(&["SET", "{a}1", "2"]), ok);
    let long = "x".repeat(3 << 20);
    assert_eq!(client.call(&["SET", "{b}long", &long]), ok);
    options_of(1);
    cluster.start_node_untold_with(1);
    cluster.stop_node(0);
    assert_eq!(client.call(&["GET", "{a}1"]), bulk("2"));
    assert_eq!(client.call(&["GET", "{b}long"]), bulk(&long));
    cluster.start_node(0);

    // A stranger's certificate, and none.
    let theirs = Authority::new("theirs");
    let mut refused = |options: &[String], words_told: &str| {
        let node = cluster.add_node(&words(options));
        let options = cluster.join_options(node, &[0]);
        let ended = Server::refused(&cluster.node_dir(node), &words(&options));
        assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
        assert!(ended.log.contains(words_told), "{words_told}: {}", ended.log);
    };
    refused(
        &options(scratch.path(), "stranger", &theirs),
        "the certificate of the other node is not accepted",
    );
    refused(&SECRET.map(str::to_owned), "one of the two nodes uses TLS");
    cluster.wait_for_line(0, "it does not accept this node's certificate (UnknownCA)");
    cluster.wait_for_line(0, "one of the two nodes uses TLS");

    // A node of theirs whom the stranger trusts does not trust it.
    let both = format!("{}{}", authority.pem, theirs.pem);
    let mut trusting = files(scratch.path(), "trusting", &theirs.signs("127.0.0.1"), &both);
    trusting.extend(SECRET.map(str::to_owned));
    let node = cluster.add_node(&words(&trusting));
    let trusting = cluster.join_options(node, &[0]);
    let mut asks = Server::begin(&[], &cluster.node_dir(node), &words(&trusting));
    cluster.wait_for_line(0, "the certificate of the other node is not accepted");
    // It may hear of a closed connection before it hears why, and asks again then.
    asks.next_line_with("it does not accept this node's certificate (UnknownCA)")
        .expect("it is told");
    asks.kill();

    let joins = cluster.add_node(&words(&options_of(3)));
    cluster.start_joining(joins, &[1, 0]);
    for port in &admin {
        let port = port.parse().unwrap();
        wait_until("all know four nodes", || nodes(port) == [1, 2, 3, 4]);
    }
    let mut joined = Client::connect(cluster.port(joins));
    wait_until("it answers for every key", || {
        joined.call(&["GET", "{b}long"]) == bulk(&long)
    });
    assert_eq!(client.call(&["SET", "{a}1", "3"]), ok);
}

#[test]
fn files_that_cannot_be_used_are_named_before_anything_is_made() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let good = files(scratch.path(), "good", &ours.signs("127.0.0.1"), &ours.pem);
    let other = files(scratch.path(), "other", &theirs.signs("127.0.0.1"), &theirs.pem);
    let empty = scratch.join("empty");
    fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    let refused = |options: &[&str], words: &[&str]| {
        let ended = Server::refused(&data, options);
        assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
        for word in words {
            assert!(ended.log.contains(word), "'{word}' is not said: {}", ended.log);
        }
        assert!(!data.exists(), "looked at before anything is made");
    };
    let with = |at: usize, file: &str, words_told: &[&str]| {
        let mut options = words(&good);
        let name = options[at];
        options[at + 1] = file;
        refused(&options, &[&[name, file][..], words_told].concat());
    };
    for at in [0, 2, 4] {
        with(at, "/no/such/file", &["No such file"]);
    }
    with(0, empty, &["no certificate in it"]);
    with(4, empty, &["no certificate in it"]);
    with(2, &other[3], &["does not belong to the certificate"]);
    let key = Path::new(&other[3]);
    fs::set_permissions(key, fs::Permissions::from_mode(0o640)).unwrap();
    with(2, &other[3], &["others may read this file", "chmod 600"]);
    refused(
        &words(&good[..4]),
        &["--peer-tls-cert", &good[1], "--peer-tls-ca is missing"],
    );
    refused(
        &words(&good[2..]),
        &["--peer-tls-key", &good[3], "--peer-tls-cert is missing"],
    );
    let server = Server::start(&data, &words(&good));
    let told = server.client().ok(&["CONFIG", "GET", "peer-tls-ca"]);
    assert_eq!(told, Reply::Array(vec![bulk("peer-tls-ca"), bulk(&good[5])]));
}
