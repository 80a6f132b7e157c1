//! Backups of a running server: each is a state that was, with everything that had been acknowledged before it began.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::PATIENCE;
use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::{Server, binary};

const SMALL: &[&str] = &["--segment-bytes", "1mb"];
/// So little memory that keys are in sorted files, which are merged all the time.
const LARGER: &[&str] = &["--segment-bytes", "1mb", "--memory", "16mb", "--log-target", "8mb"];
/// Keys that are written in turn.
const KEYS: u64 = 97;
/// The same with [`LARGER`].
const KEYS_LARGER: u64 = 3_000;

fn backup(server: &Server, to: &Path) -> Output {
    let from = format!("127.0.0.1:{}", server.port);
    Command::new(binary())
        .args(["backup", "--json", "--from", &from, "--to"])
        .arg(to)
        .output()
        .unwrap()
}

fn restore(from: &Path, dir: &Path) -> Output {
    let mut command = Command::new(binary());
    command
        .args(["restore", "--json", "--from"])
        .arg(from)
        .arg("--dir")
        .arg(dir);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{}\n{out}{err}", output.status)
}

/// The number behind `"name":` in what was printed.
fn printed(output: &Output, name: &str) -> u64 {
    let text = said(output);
    let behind = text.split(&format!("\"{name}\":")).nth(1);
    let digits: String = behind
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

/// Step `n` of the writer: what it did before can be told from the counter.
fn step<S: std::io::Read + std::io::Write>(client: &mut Client<S>, n: u64) {
    client.ok(&["INCR", "counter"]);
    client.ok(&["SET", &format!("k{}", n % KEYS), &format!("{n}")]);
}

#[test]
fn a_backup_under_load_is_a_state_that_was() {
    let scratch = Scratch::new();
    let (data, to, restored) = (scratch.join("data"), scratch.join("backup"), scratch.join("restored"));
    let server = Server::start(&data, SMALL);
    let (stop, steps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = {
        let (mut client, stop, steps) = (server.client(), stop.clone(), steps.clone());
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let n = steps.load(Ordering::Relaxed) + 1;
                step(&mut client, n);
                steps.store(n, Ordering::Release);
            }
        })
    };
    let began = Instant::now();
    while steps.load(Ordering::Acquire) < 150 {
        assert!(began.elapsed() < PATIENCE, "the writer does not get on");
        thread::yield_now();
    }
    let before = steps.load(Ordering::Acquire);
    let taken = backup(&server, &to);
    let after = steps.load(Ordering::Acquire);
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(taken.status.success(), "{}", said(&taken));
    server.stop();

    let made = restore(&to, &restored);
    assert!(made.status.success(), "{}", said(&made));
    let server = Server::start(&restored, SMALL);
    let mut client = server.client();
    let counter: u64 = client.ok(&["GET", "counter"]).text().parse().unwrap();
    assert!(
        (before..=after + 1).contains(&counter),
        "{before} <= {counter} <= {after}"
    );
    let last = client.ok(&["GET", &format!("k{}", counter % KEYS)]);
    let whole = last == Reply::Bulk(counter.to_string().into_bytes());
    let digest = client.ok(&["DEBUG", "DIGEST"]);
    drop(client);
    server.stop();

    // The same steps, from the beginning to there.
    let server = Server::start(&scratch.join("again"), SMALL);
    let mut client = server.client();
    for n in 1..counter {
        step(&mut client, n);
    }
    client.ok(&["INCR", "counter"]);
    if whole {
        client.ok(&["SET", &format!("k{}", counter % KEYS), &format!("{counter}")]);
    }
    assert_eq!(client.ok(&["DEBUG", "DIGEST"]), digest, "after {counter} steps");
}

/// What step `n` of a writer with [`LARGER`] writes.
fn large_step(n: u64) -> [Vec<u8>; 2] {
    let value = format!("{n}.").repeat(300);
    [
        request(&["INCR", "counter"]),
        request(&["SET", &format!("k{}", n % KEYS_LARGER), &value]),
    ]
}

fn large_steps(client: &mut Client<std::net::TcpStream>, steps: std::ops::Range<u64>) {
    let asked: Vec<u8> = steps.clone().flat_map(large_step).flatten().collect();
    client.send(&asked).unwrap();
    for n in steps {
        assert_eq!(client.reply().unwrap(), Reply::Integer(n as i64));
        assert_eq!(client.reply().unwrap(), Reply::Simple("OK".into()));
    }
}

fn store_files(data: &Path) -> BTreeSet<String> {
    let found = fs::read_dir(data.join("core-0/store")).unwrap();
    found
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_backup_of_more_than_memory_is_a_state_that_was() {
    let scratch = Scratch::new();
    let (data, to, restored) = (scratch.join("data"), scratch.join("backup"), scratch.join("restored"));
    let server = Server::start(&data, LARGER);
    let mut client = server.client();
    for round in 0..100 {
        large_steps(&mut client, round * 50 + 1..round * 50 + 51);
    }
    let (stop, steps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(5_000)));
    let writer = {
        let (stop, steps) = (stop.clone(), steps.clone());
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let n = steps.load(Ordering::Relaxed) + 1;
                large_steps(&mut client, n..n + 20);
                steps.store(n + 19, Ordering::Release);
            }
        })
    };
    let before = steps.load(Ordering::Acquire);
    let taken = backup(&server, &to);
    let after = steps.load(Ordering::Acquire);
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(taken.status.success(), "{}", said(&taken));
    server.stop();

    let made = restore(&to, &restored);
    assert!(made.status.success(), "{}", said(&made));
    assert!(!store_files(&restored).is_empty(), "nothing was in files");
    let server = Server::start(&restored, LARGER);
    let mut client = server.client();
    let counter: u64 = client.ok(&["GET", "counter"]).text().parse().unwrap();
    assert!(
        (before..=after + 20).contains(&counter),
        "{before} <= {counter} <= {after}"
    );
    for key in 0..KEYS_LARGER {
        // The last step that wrote it; only the very last one may have come to half of what it does.
        let last = counter - (counter - key) % KEYS_LARGER;
        let found = client.ok(&["GET", &format!("k{key}")]).text();
        let right = |n: u64| found == format!("{n}.").repeat(300);
        assert!(
            right(last) || (last == counter && right(last - KEYS_LARGER)),
            "k{key} after {counter} steps"
        );
    }
    server.stop();
}

#[test]
fn files_that_were_merged_stay_until_a_backup_ends() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), LARGER);
    let mut client = server.client();
    client.ok(&["BACKUP", "BEGIN"]);
    let (mut seen, mut from) = (BTreeSet::new(), 1);
    let mut write = |client: &mut _| {
        large_steps(client, from..from + 50);
        from += 50;
    };
    for round in 0..300 {
        write(&mut client);
        if round % 30 == 0 {
            client.ok(&["BACKUP", "STATE"]);
            seen.extend(store_files(scratch.path()));
        }
    }
    let there = store_files(scratch.path());
    assert!(seen.len() > 8, "nothing was merged: {seen:?}");
    assert!(there.is_superset(&seen), "{there:?} were {seen:?}");
    client.ok(&["BACKUP", "END"]);
    let began = Instant::now();
    while store_files(scratch.path()).is_superset(&seen) {
        assert!(began.elapsed() < PATIENCE, "nothing is deleted after the backup");
        write(&mut client);
    }
    server.stop();
}

#[test]
fn what_is_there_is_not_copied_again_and_damage_is_named() {
    let scratch = Scratch::new();
    let (data, to, restored) = (scratch.join("data"), scratch.join("backup"), scratch.join("restored"));
    let options = &["--cores", "2", "--segment-bytes", "1mb"];
    let server = Server::start(&data, options);
    let mut client = server.client();
    let fill = |client: &mut Client<_>, round: u32| {
        for n in 0..200 {
            client.ok(&["SET", &format!("key:{n}"), &format!("{round}").repeat(20_000)]);
        }
    };
    fill(&mut client, 1);
    let first = backup(&server, &to);
    assert!(first.status.success(), "{}", said(&first));
    assert!(printed(&first, "files") > 4, "{}", said(&first));
    assert_eq!(printed(&first, "files"), printed(&first, "copied_files"));
    fill(&mut client, 2);
    let digest = client.ok(&["DEBUG", "DIGEST"]);
    let second = backup(&server, &to);
    assert!(second.status.success(), "{}", said(&second));
    assert!(
        printed(&second, "copied_files") < printed(&second, "files"),
        "{}",
        said(&second)
    );
    // One at a time; a program that went away is waited for.
    client.ok(&["BACKUP", "BEGIN"]);
    assert!(client.call(&["BACKUP", "BEGIN"]).is_error());
    let refused = backup(&server, &to);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    client.ok(&["BACKUP", "END"]);
    server.stop();

    let made = restore(&to, &restored);
    assert!(made.status.success(), "{}", said(&made));
    let again = restore(&to, &restored);
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));
    assert!(said(&again).contains("is not empty"), "{}", said(&again));
    let server = Server::start(&restored, options);
    assert_eq!(server.client().ok(&["DEBUG", "DIGEST"]), digest);
    server.stop();

    // A damaged file of the backup is named, and nothing is made of the rest.
    let folder = to.join("files/core-1/log");
    let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let refused = restore(&to, &scratch.join("other"));
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains(&*file.to_string_lossy()), "{}", said(&refused));
    let left = fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        left.map(|name| name.to_string_lossy().into_owned())
            .all(|name| !name.starts_with("other"))
    );
}

#[test]
fn saving_makes_everything_acknowledged_durable() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), &["--cores", "2", "--durability", "off"]);
    let mut client = server.client();
    for n in 0..50 {
        client.ok(&["SET", &format!("key:{n}"), "value"]);
    }
    assert_eq!(client.ok(&["SAVE"]), Reply::Simple("OK".into()));
    assert_eq!(client.info("rdb_changes_since_last_save"), "0");
    let started = Reply::Simple("Background saving started".into());
    assert_eq!(client.ok(&["BGSAVE"]), started);
    assert_eq!(client.ok(&["BGSAVE", "schedule"]), started);
    assert!(client.call(&["BGSAVE", "now"]).is_error());
    let started = Reply::Simple("Background append only file rewriting started".into());
    assert_eq!(client.ok(&["BGREWRITEAOF"]), started);
    assert!(matches!(client.ok(&["LASTSAVE"]), Reply::Integer(1..)));
}
