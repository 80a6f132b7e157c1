//! Damaged copies of stopped data directories, each started: it serves everything, or refuses or ends and names the file.
//!
//! `SLOTCORE_DAMAGED_COPIES` asks for another number of them, `SLOTCORE_SEED` for other ones: `.ci/damage` does.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use slotcore_rt::rng::SeededRng;

use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::{Ended, Server, binary};

/// Copies without being asked for more: each is a start of the whole server.
const COPIES: usize = 8;
const OPTIONS: &[&str] = &["--cores", "2", "--segment-bytes", "1mb"];
/// So little memory that most keys are in sorted files, and large values in blob files.
const SMALL: &[&str] = &[
    "--cores",
    "2",
    "--segment-bytes",
    "1mb",
    "--memory",
    "32mb",
    "--log-target",
    "16mb",
];
const BLOCK: usize = 4096;
/// Keys that are asked for before their values are read.
const PIPELINE: usize = 64;

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

/// The same with [`SMALL`] memory: a part of the keys is in files alone, a part in the log alone.
fn stopped_larger(dir: &Path) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for round in 0..3 {
        let server = Server::start(dir, SMALL);
        let mut client = server.client();
        for n in 0..1_600 {
            let key = format!("key:{}", (n * 7 + round * 13) % 2_000);
            let bytes = if n % 16 == 0 { 9_000 } else { 100 + n % 1_500 };
            let value = format!("{round}.{n}.").repeat(bytes / 6);
            client.send(&request(&["SET", &key, &value])).unwrap();
            keys.insert(key, value);
            if (n + 1) % PIPELINE == 0 {
                (0..PIPELINE).for_each(|_| assert_eq!(client.reply().unwrap(), Reply::Simple("OK".into())));
            }
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

/// Folders below `dir` that a start makes.
fn folders(dir: &Path) -> Vec<PathBuf> {
    let of_core = |core: &str| ["", "log", "store"].map(|name| dir.join(core).join(name));
    ["core-0", "core-1"].iter().flat_map(|core| of_core(core)).collect()
}

/// Damages a file in one of the ways that disks and people have. Says how.
fn damage(file: &Path, rng: &mut SeededRng) -> String {
    if file.is_dir() {
        fs::remove_dir_all(file).unwrap();
        return "deleted with all in it".to_string();
    }
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
pub fn check(dir: &Path) -> (Option<i32>, String) {
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

/// Reads every key. An error: the server ended.
fn read_all(client: &mut Client<TcpStream>, keys: &BTreeMap<String, String>, how: &str) -> io::Result<()> {
    let all: Vec<_> = keys.iter().collect();
    for some in all.chunks(PIPELINE) {
        let asked: Vec<u8> = some.iter().flat_map(|(key, _)| request(&["GET", key])).collect();
        client.send(&asked)?;
        for (key, value) in some {
            let found = client.reply()?;
            assert!(
                found == Reply::Bulk(value.as_bytes().to_vec()),
                "{how}: {key} is {found:?}"
            );
        }
    }
    Ok(())
}

/// What copies are made of.
struct Sound<'a> {
    path: &'a Path,
    keys: &'a BTreeMap<String, String>,
    options: &'a [&'a str],
}

/// How copies fared.
#[derive(Debug, Default)]
struct Counts {
    /// Everything was there, and the check found nothing damaged that counts.
    served: u64,
    /// Everything was there; the check names damage that no key needs.
    unharmed: u64,
    /// The start was refused by name.
    refused: u64,
    /// The server ended by name when it met the damage.
    ended: u64,
}

/// Starts a damaged copy and reads everything.
fn try_copy(sound: &Sound<'_>, dir: &Path, below: &Path, how: &str, counts: &mut Counts) {
    let Sound { path, keys, options } = sound;
    // A folder is named with the core it is of.
    let name = match path.join(below).is_dir() {
        true => below.to_string_lossy(),
        // Which of both kinds it is, a reader of blobs does not say; numbers are of both.
        false if below.extension().is_some_and(|kind| kind == "blob") => below.file_stem().unwrap().to_string_lossy(),
        false => below.file_name().unwrap().to_string_lossy(),
    };
    let (code, said) = check(dir);
    let refused = |ended: &Ended| {
        assert!(!ended.status.success(), "{how}\n{}", ended.log);
        assert!(ended.log.contains(&*name), "{how} is not named:\n{}", ended.log);
        assert_eq!(code, Some(1), "{how} is refused, and the check says\n{said}");
        assert!(said.contains(&*name), "{how} is not named by the check:\n{said}");
    };
    let server = match Server::launch(dir, options) {
        Ok(server) => server,
        Err(ended) => {
            assert_eq!(ended.status.code(), Some(1), "{how}\n{}", ended.log);
            refused(&ended);
            counts.refused += 1;
            return;
        }
    };
    let read = read_all(&mut server.client(), keys, how);
    if read.is_ok() {
        server.terminate();
    }
    let ended = server.ended();
    if read.is_err() || !ended.status.success() {
        refused(&ended);
        counts.ended += 1;
    } else if code == Some(0) {
        counts.served += 1;
    } else {
        assert_eq!(code, Some(1), "{how} is served, and the check says\n{said}");
        assert!(said.contains(&*name), "{how} is not named by the check:\n{said}");
        // Only what is in files is read when it is asked for; a log is read as a whole.
        assert!(
            below.components().any(|part| part.as_os_str() == "store"),
            "{how} is served, and the check says\n{said}"
        );
        counts.unharmed += 1;
    }
}

fn damaged_copies(name: &str, make: fn(&Path) -> BTreeMap<String, String>, options: &[&str]) {
    let seed = number("SLOTCORE_SEED", 5);
    let copies = number("SLOTCORE_DAMAGED_COPIES", COPIES as u64);
    let scratch = Scratch::new();
    let sound = scratch.join("sound");
    let keys = make(&sound);
    let (code, said) = check(&sound);
    assert_eq!(code, Some(0), "{said}");
    let mut all = Vec::new();
    files(&sound, &mut all);
    if options.contains(&"--memory") {
        let has = |kind: &str| {
            all.iter()
                .any(|file| file.extension().is_some_and(|found| found == kind))
        };
        assert!(has("sst") && has("blob"), "not all kinds of files are there: {all:?}");
    }
    all.extend(folders(&sound));
    let mut rng = SeededRng::new(seed);
    let mut counts = Counts::default();
    for round in 0..copies {
        let dir = scratch.join("copy");
        copy(&sound, &dir);
        let file = &all[rng.index(all.len())];
        let below = file.strip_prefix(&sound).unwrap();
        let how = format!(
            "{name}, seed {seed}, copy {round}: {} {}",
            below.display(),
            damage(&dir.join(below), &mut rng)
        );
        let of = Sound {
            path: &sound,
            keys: &keys,
            options,
        };
        try_copy(&of, &dir, below, &how, &mut counts);
        fs::remove_dir_all(&dir).unwrap();
    }
    let Counts {
        served,
        unharmed,
        refused,
        ended,
    } = counts;
    println!(
        "{copies} damaged copies, {name}: {served} served everything, {unharmed} more although a file is damaged where no key \
         needs it, {refused} were refused by name, {ended} ended by name when they met the damage, 0 lost anything"
    );
}

#[test]
fn damaged_copies_serve_everything_or_refuse_and_name_the_file() {
    damaged_copies("log only", stopped, OPTIONS);
}

#[test]
fn damaged_copies_of_more_than_memory_serve_everything_or_refuse_and_name_the_file() {
    damaged_copies("larger than memory", stopped_larger, SMALL);
}

/// What lets older segments go may stand in the part that is cut off: they are not to be named in place of the one that was cut.
#[test]
fn a_segment_that_was_cut_is_named_wherever_it_was_cut() {
    let scratch = Scratch::new();
    let (path, dir) = (scratch.join("sound"), scratch.join("copy"));
    let keys = stopped_larger(&path);
    let sound = Sound {
        path: &path,
        keys: &keys,
        options: SMALL,
    };
    let mut segments = Vec::new();
    files(&path.join("core-0/log"), &mut segments);
    segments.retain(|file| file.extension().is_some_and(|kind| kind == "seg"));
    let numbers = segments
        .iter()
        .filter_map(|file| file.file_stem()?.to_str()?.parse().ok());
    assert!(
        numbers.max() > Some(segments.len()),
        "the log has forgotten nothing: {segments:?}"
    );
    let mut counts = Counts::default();
    for file in &segments {
        let bytes = fs::metadata(file).unwrap().len();
        for left in [0, 4096, bytes / 12, bytes / 2, bytes - 4096] {
            copy(&path, &dir);
            let below = file.strip_prefix(&path).unwrap();
            let cut = fs::File::options().write(true).open(dir.join(below)).unwrap();
            cut.set_len(left).unwrap();
            let how = format!("{} cut to {left}", below.display());
            try_copy(&sound, &dir, below, &how, &mut counts);
            fs::remove_dir_all(&dir).unwrap();
        }
    }
    // What is behind the end of a segment that was followed by another is missed by nobody.
    assert!(counts.refused >= 3 * segments.len() as u64, "{counts:?}");
    assert_eq!(counts.refused + counts.served, 5 * segments.len() as u64, "{counts:?}");
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
    // Not in what fills a block behind a frame, where it would be nobody's.
    let at = (end / 2..end).find(|&at| bytes[at..at + 8] == *b"vvvvvvvv").unwrap();
    bytes[at] ^= 1;
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
