//! The scrubber: a flipped bit in a file that nobody reads is named, and nothing else happens.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::client::request;
use crate::cluster::wait_until;
use crate::scratch::Scratch;
use crate::server::{Server, binary};

const OPTIONS: &[&str] = &[
    "--memory",
    "16mb",
    "--segment-bytes",
    "1mb",
    "--log-target",
    "8mb",
    "--scrub-rate",
    "1gb",
    "--durability",
    "off",
];

/// The name of a file that the manifest of the stopped server has. Others may lie beside it: of a flush that was under way,
/// for one, which the next start removes.
fn a_file_that_counts(dir: &Path) -> String {
    let output = Command::new(binary())
        .args(["inspect", "manifest", "--json", "--dir"])
        .arg(dir)
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let first = shown
        .lines()
        .find(|line| line.contains("\"type\":\"file\""))
        .expect(&shown);
    let words = first.split("\"file\":").nth(1).unwrap();
    let id: u64 = words.split([',', '}']).next().unwrap().parse().expect(first);
    format!("{id:020}.sst")
}

#[test]
fn a_flipped_bit_that_nobody_reads_is_named() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), OPTIONS);
    let mut client = server.client();
    let value = "v".repeat(900);
    // A few flushes, and not enough of them for a merge: every file is one that counts.
    for n in 0..2_500 {
        client.send(&request(&["SET", &format!("k:{n}"), &value])).unwrap();
        assert!(!client.reply().unwrap().is_error());
    }
    wait_until("a flush ends", || client.info("upper_runs").parse::<u32>().unwrap() > 0);
    assert_eq!(client.info("merges"), "0", "files that were merged would be gone");
    server.stop();
    let file = scratch.join("core-0/store").join(a_file_that_counts(scratch.path()));
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 16;
    fs::write(&file, bytes).unwrap();
    let mut server = Server::start(scratch.path(), OPTIONS);
    let line = server.next_line_with("a file of keys is damaged").expect("it is told");
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(line.contains(name) && line.contains("slots"), "{line}");
    let mut client = server.client();
    client.ok(&["PING"]);
    wait_until("the damage is counted", || client.info("scrub_damages") == "1");
    assert!(client.info("scrub_last_damage").starts_with(name));
    server.stop();
}
