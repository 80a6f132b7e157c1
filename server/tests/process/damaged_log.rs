//! What the next start makes of a log that was changed under it: a flipped bit is refused by file and offset, a tail that
//! was never finished is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use slotcore_rt::rng::SeededRng;

use crate::PATIENCE;
use crate::client::Reply;
use crate::scratch::Scratch;
use crate::server::Server;

/// Unit of the log's writes, in bytes.
const BLOCK: usize = 4096;
/// First bytes of every frame, and where its header says how long its records are (docs/formats/log.md, "Frame").
const MAGIC: &[u8] = b"SLFR";
const BODY_LEN_AT: usize = 40;
const HEADER_BYTES: usize = 64;
/// Segments small enough to be read whole, and never full here.
const SMALL: &[&str] = &["--segment-bytes", "1mb"];

/// The newest segment that frames were written to, in data directory `dir`.
fn newest_used_segment(dir: &Path) -> PathBuf {
    let entries = fs::read_dir(dir.join("core-0/log")).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| fs::read(path).unwrap().starts_with(MAGIC));
    found.sort();
    found.pop().expect("something was written")
}

/// Where each frame begins, and its bytes of header and records.
fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() && bytes[at..].starts_with(MAGIC) {
        let field = bytes[at + BODY_LEN_AT..at + BODY_LEN_AT + 4].try_into().unwrap();
        let len = HEADER_BYTES + u32::from_le_bytes(field) as usize;
        found.push((at, len));
        at += len.next_multiple_of(BLOCK);
    }
    found
}

#[test]
fn a_flipped_bit_is_refused_by_file_and_offset() {
    const SEED: u64 = 11;
    const FLIPS: usize = 12;
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), SMALL);
    let mut client = server.client();
    for n in 0..50 {
        client.ok(&["SET", &format!("key:{n}"), &"value".repeat(200)]);
    }
    let digest = client.ok(&["DEBUG", "DIGEST"]);
    server.stop();

    let path = newest_used_segment(scratch.path());
    let sound = fs::read(&path).unwrap();
    let frames = frames(&sound);
    assert!(frames.len() > 20, "{frames:?}");
    let mut rng = SeededRng::new(SEED);
    for _ in 0..FLIPS {
        // Any frame but the last ones, whose loss nothing later contradicts.
        let (frame, len) = frames[rng.index(frames.len() - 3)];
        let (at, bit) = (frame + rng.index(len), rng.below(8));
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << bit;
        fs::write(&path, &damaged).unwrap();

        let ended = Server::refused(scratch.path(), SMALL);
        assert_eq!(
            ended.status.code(),
            Some(1),
            "seed {SEED}, bit {bit} of byte {at}\n{}",
            ended.log
        );
        let said = format!("in {} at byte {frame}.", path.display());
        for words in ["the log is damaged", &said, "copy the directory away"] {
            assert!(
                ended.log.contains(words),
                "'{words}' is not said of byte {at}:\n{}",
                ended.log
            );
        }
        assert_eq!(fs::read(&path).unwrap(), damaged, "a refused start changes nothing");
    }
    fs::write(&path, &sound).unwrap();
    let server = Server::start(scratch.path(), SMALL);
    assert_eq!(server.client().ok(&["DEBUG", "DIGEST"]), digest);
}

#[test]
fn a_torn_tail_is_dropped() {
    const SMALL_KEYS: usize = 20;
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), SMALL);
    let mut client = server.client();
    for n in 0..SMALL_KEYS {
        client.ok(&["SET", &format!("key:{n}"), "small"]);
    }
    // From here on nothing is promised for a power cut, and the last frame is not the one of the small keys.
    client.ok(&["CONFIG", "SET", "durability", "off"]);
    // Several blocks, and small enough to stay in one frame.
    let value = "last".repeat(4 * BLOCK);
    client.ok(&["SET", "last", &value]);
    let began = Instant::now();
    let (path, last) = loop {
        // Seen in the file once the log has handed it over.
        let path = newest_used_segment(scratch.path());
        let bytes = fs::read(&path).unwrap();
        let big = frames(&bytes).into_iter().find(|&(_, len)| len > value.len());
        if let Some((at, len)) = big
            && bytes[at + len - HEADER_BYTES..at + len]
                .windows(4)
                .any(|word| word == b"last")
        {
            break (path, (at, len));
        }
        assert!(began.elapsed() < PATIENCE, "the last write never reached its file");
    };
    server.kill();

    let mut bytes = fs::read(&path).unwrap();
    // As if the power had gone in the middle: the front is there, the rest never came.
    bytes[last.0 + last.1 / 2 / BLOCK * BLOCK..].fill(0);
    fs::write(&path, &bytes).unwrap();
    let server = Server::start(scratch.path(), SMALL);
    let mut client = server.client();
    assert_eq!(client.ok(&["GET", "last"]), Reply::Nil);
    assert_eq!(client.ok(&["DBSIZE"]), Reply::Integer(SMALL_KEYS as i64));
    // It goes on behind the cut, and that is found again.
    client.ok(&["SET", "after", "1"]);
    server.stop();
    let server = Server::start(scratch.path(), SMALL);
    assert_eq!(server.client().ok(&["DBSIZE"]), Reply::Integer(SMALL_KEYS as i64 + 1));
}
