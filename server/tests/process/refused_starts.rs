//! Starts that cannot succeed: the exit code is not 0, and the text names the trouble and the way out. Nothing is served
//! and nothing is damaged.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::client::Reply;
use crate::scratch::Scratch;
use crate::server::{Ended, Server};

/// The start is refused with code 1 and a message that contains all of `words`.
fn refused(dir: &Path, options: &[&str], words: &[&str]) -> Ended {
    let ended = Server::refused(dir, options);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let message = ended.log.lines().find(|line| line.starts_with("slotcore: "));
    let message = message.unwrap_or_else(|| panic!("no message in\n{}", ended.log));
    let rest = &ended.log[ended.log.find(message).unwrap()..];
    for word in words {
        assert!(rest.contains(word), "'{word}' is not said:\n{rest}");
    }
    ended
}

#[test]
fn a_taken_port() {
    let scratch = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let says = ["taken by another program", "ss -ltnp", &port];
    refused(
        scratch.path(),
        &["--port", &port],
        &[&says[..], &["another port with --port"]].concat(),
    );
    refused(
        scratch.path(),
        &["--admin-port", &port],
        &[&says[..], &["another port with --admin-port"]].concat(),
    );
    // The directory is as good as new.
    let server = Server::start(scratch.path(), &[]);
    assert_eq!(server.client().ok(&["DBSIZE"]), Reply::Integer(0));
}

#[test]
fn an_address_of_another_machine() {
    let scratch = Scratch::new();
    refused(scratch.path(), &["--bind", "192.0.2.1"], &["192.0.2.1", "--bind"]);
}

#[test]
fn a_directory_in_use() {
    let scratch = Scratch::new();
    let first = Server::start(scratch.path(), &[]);
    first.client().ok(&["SET", "k", "v"]);
    let holder = format!("process {}", first.pid());
    let path = scratch.path().to_str().unwrap();
    refused(
        scratch.path(),
        &[],
        &["in use by", &holder, path, "another directory with --dir"],
    );
    // The holder goes on, and its successor finds what it wrote.
    assert_eq!(first.client().ok(&["GET", "k"]), Reply::Bulk(b"v".to_vec()));
    first.kill();
    let second = Server::start(scratch.path(), &[]);
    assert_eq!(second.client().ok(&["GET", "k"]), Reply::Bulk(b"v".to_vec()));
}

#[test]
fn a_directory_that_cannot_be_written() {
    // sysfs takes no directories from anybody, root included.
    refused(
        Path::new("/sys/slotcore-data"),
        &[],
        &["/sys/slotcore-data", "can be written to", "--dir"],
    );
    let scratch = Scratch::new();
    let file = scratch.join("file");
    fs::write(&file, "mine").unwrap();
    refused(&file, &[], &[file.to_str().unwrap(), "--dir"]);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_bad_option() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    refused(&data, &["--port", "70000"], &["--port", "\"70000\"", "65535"]);
    refused(
        &data,
        &["--durability", "sometimes"],
        &["--durability", "always", "everysec", "off"],
    );
    refused(&data, &["--segment-bytes", "5"], &["--segment-bytes"]);
    let ended = Server::refused(&data, &["--no-such-option"]);
    assert!(!ended.status.success());
    assert!(ended.log.contains("--no-such-option"), "{}", ended.log);
    assert!(!data.exists(), "looked at before anything is made");
}

#[test]
fn a_bad_configuration_file() {
    let scratch = Scratch::new();
    let file = scratch.join("slotcore.toml");
    let name = file.to_str().unwrap();
    let with = |text: &str, words: &[&str]| {
        fs::write(&file, text).unwrap();
        refused(
            &scratch.join("data"),
            &["--config", name],
            &[&[name][..], words].concat(),
        );
    };
    with("port = 0\nthis is no toml\n", &["line 2"]);
    with(
        "# Mine.\nport = 0\n\nmaxclient = 5\n",
        &["line 4", "unknown option 'maxclient'", "--help"],
    );
    with(
        "port = 0\ndurability = \"sometimes\"\n",
        &["line 2", "durability", "always"],
    );
    with(
        "port = 0\nmaxclients = [1]\nmaxclients = 2\n",
        &["line 3", "maxclients"],
    );
    with("port = 0\n[network]\nbind = \"::1\"\n", &["line 2", "network"]);
    let missing = scratch.join("missing.toml");
    let missing = missing.to_str().unwrap();
    refused(
        &scratch.join("data"),
        &["--config", missing],
        &[missing, "No such file"],
    );
}
