//! Damaged copies of a stopped data directory, each started: it serves everything, or refuses and names the file.
//!
//! `SLOTCORE_DAMAGED_COPIES` asks for another number of them, `SLOTCORE_SEED` for other ones: `.ci/damage` does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use slotcore_rt::rng::SeededRng;

use crate::client::Reply;
use crate::scratch::Scratch;
use crate::server::{Server, binary};

/// Copies without being asked for more: each is a start of the whole server.
const COPIES: usize = 8;
const OPTIONS: &[&str] = &["--cores", "2", "--segment-bytes", "1mb"];
const BLOCK: usize = 4096;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// A directory that was opened three times, once killed; and its keys.
fn stopped(dir: &Path) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for round in 0..3 {
        let server = Server::start(dir, OPTIONS);
        let mut client = server.client();
        for n in 0..60 {
            let key = format!("key:{}", (n * 7 + round * 13) % 100);
            let value = format!("{round}.{n}.").repeat(1 + n * 40);
            client.ok(&["SET", &key, &value]);
            keys.insert(key, value);
        }
        if round == 1 {
            server.kill();
        } else {
            server.stop();
        }
    }
    keys
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.file_name().is_some_and(|name| name != "LOCK") {
            found.push(path);
        }
    }
    found.sort();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Damages a file in one of the ways that disks and people have. Says how.
fn damage(file: &Path, rng: &mut SeededRng) -> String {
    let mut bytes = fs::read(file).unwrap();
    // Most of a segment was never written to: damage there is nobody's.
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(1, |at| at + 1);
    match rng.index(4) {
        0 => {
            fs::remove_file(file).unwrap();
            "deleted".to_string()
        }
        1 => {
            let len = if rng.index(2) == 0 {
                rng.index(used)
            } else {
                rng.index(used) / BLOCK * BLOCK
            };
            bytes.truncate(len);
            fs::write(file, &bytes).unwrap();
            format!("cut to {len}")
        }
        _ => {
            let (at, bit) = (rng.index(used), rng.below(8));
            bytes[at] ^= 1 << bit;
            fs::write(file, &bytes).unwrap();
            format!("bit {bit} of byte {at} flipped")
        }
    }
}

/// What `slotcore check` makes of a directory.
fn check(dir: &Path) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .args(["check", "--json", "--dir"])
        .arg(dir)
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code(), text)
}

#[test]
fn damaged_copies_serve_everything_or_refuse_and_name_the_file() {
    let seed = number("SLOTCORE_SEED", 5);
    let copies = number("SLOTCORE_DAMAGED_COPIES", COPIES as u64);
    let scratch = Scratch::new();
    let sound = scratch.join("sound");
    let keys = stopped(&sound);
    let (code, said) = check(&sound);
    assert_eq!(code, Some(0), "{said}");
    let mut all = Vec::new();
    files(&sound, &mut all);
    let mut rng = SeededRng::new(seed);
    let (mut served, mut refused) = (0, 0);
    for round in 0..copies {
        let dir = scratch.join("copy");
        copy(&sound, &dir);
        let file = &all[rng.index(all.len())];
        let below = file.strip_prefix(&sound).unwrap();
        let how = format!(
            "seed {seed}, copy {round}: {} {}",
            below.display(),
            damage(&dir.join(below), &mut rng)
        );
        let (code, said) = check(&dir);
        match Server::launch(&dir, OPTIONS) {
            Ok(server) => {
                assert_eq!(code, Some(0), "{how} is served, and the check says\n{said}");
                let mut client = server.client();
                for (key, value) in &keys {
                    let found = client.ok(&["GET", key]);
                    assert_eq!(found, Reply::Bulk(value.clone().into_bytes()), "{how}: {key}");
                }
                assert_eq!(client.ok(&["DBSIZE"]), Reply::Integer(keys.len() as i64), "{how}");
                server.stop();
                served += 1;
            }
            Err(ended) => {
                assert_eq!(ended.status.code(), Some(1), "{how}\n{}", ended.log);
                let name = below.file_name().unwrap().to_string_lossy();
                assert!(ended.log.contains(&*name), "{how} is not named:\n{}", ended.log);
                assert_eq!(code, Some(1), "{how} is refused, and the check says\n{said}");
                assert!(said.contains(&*name), "{how} is not named by the check:\n{said}");
                refused += 1;
            }
        }
        fs::remove_dir_all(&dir).unwrap();
    }
    println!("{copies} damaged copies: {served} served everything, {refused} were refused by name, 0 lost anything");
}

/// What a command prints, which must end with `code`.
fn printed(code: i32, words: &[&str], dir: &Path) -> String {
    let output = Command::new(binary())
        .args(words)
        .arg("--dir")
        .arg(dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}\n{text}{errors}");
    text
}

#[test]
fn what_is_stored_can_be_seen_and_nothing_is_touched() {
    let scratch = Scratch::new();
    let dir = scratch.join("data");
    let keys = stopped(&dir);
    let shown = printed(0, &["inspect", "keys", "--json"], &dir);
    let lines = shown.lines().filter(|line| line.contains("\"type\":\"key\""));
    assert_eq!(lines.count(), keys.len(), "{shown}");
    let shown = printed(0, &["inspect", "log"], &dir);
    for words in [
        "segment core=0",
        "segment core=1",
        "flags=seal,clean",
        "name=set argc=2",
        "kind=vote",
    ] {
        assert!(shown.contains(words), "no {words} in\n{shown}");
    }
    assert!(!printed(0, &["inspect", "log", "--core", "1"], &dir).contains("core=0"));
    assert_eq!(printed(0, &["inspect", "log", "--limit", "5"], &dir).lines().count(), 6);
    assert!(printed(0, &["inspect", "manifest"], &dir).contains("manifest core=1 group=0"));
    printed(0, &["inspect", "sst"], &dir);
    printed(2, &["inspect", "log", "--core", "2"], &dir);
    printed(2, &["check"], &scratch.join("nowhere"));
    let server = Server::start(&dir, OPTIONS);
    printed(2, &["check"], &dir);
    assert_eq!(server.client().ok(&["DBSIZE"]), Reply::Integer(keys.len() as i64));
}

#[test]
fn a_log_is_cut_at_a_damage_that_somebody_gives_up() {
    let scratch = Scratch::new();
    let dir = scratch.join("data");
    let one = &["--segment-bytes", "1mb"];
    let server = Server::start(&dir, one);
    let mut client = server.client();
    for n in 1..=50 {
        client.ok(&["SET", &format!("key:{n}"), &"v".repeat(3000)]);
    }
    drop(client);
    server.stop();
    let log = dir.join("core-0/log");
    let mut segments = Vec::new();
    files(&log, &mut segments);
    let used = segments
        .iter()
        .find(|path| fs::read(path).unwrap().starts_with(b"SLFR"))
        .unwrap();
    let mut bytes = fs::read(used).unwrap();
    let end = bytes.iter().rposition(|&byte| byte == b'v').unwrap();
    bytes[end / 2] ^= 1;
    fs::write(used, &bytes).unwrap();

    assert!(printed(1, &["check", "--repair"], &dir).contains("result=damaged"));
    let name = format!("core-0/log/{}", used.file_name().unwrap().to_string_lossy());
    let said = printed(0, &["check", "--repair", "--lose", &name], &dir);
    assert!(said.contains("everything written after entry"), "{said}");
    let mut kept = Vec::new();
    files(&dir.join("damaged"), &mut kept);
    assert!(
        kept.iter().any(|path| fs::read(path).unwrap() == bytes),
        "the damaged file is kept: {kept:?}"
    );
    let server = Server::start(&dir, one);
    let mut client = server.client();
    let Reply::Integer(left) = client.ok(&["DBSIZE"]) else {
        panic!("a number")
    };
    assert!((10..40).contains(&left), "{left} keys are left");
    for n in 1..=left {
        assert_eq!(
            client.ok(&["EXISTS", &format!("key:{n}")]),
            Reply::Integer(1),
            "what is left is the beginning"
        );
    }
}
