//! A snapshot that comes goes to disk part by part, and is installed from there, whatever comes meanwhile.

use std::fs;

use bytes::Bytes;
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};
use slotcore_raft_shard::Applied;
use slotcore_raft_shard::peer::Landing;
use slotcore_rt::disk::SnapshotDir;
use slotcore_rt::ids::{CoreId, LogIndex, Term};
use slotcore_server::group_snapshot;
use slotcore_server::snapshot_files::{SnapshotFiles, SnapshotLanding};

use crate::scratch::Scratch;

const SEED: u64 = 9;

fn at(index: u64) -> Applied {
    Applied {
        index: LogIndex(index),
        term: Term(3),
        ..Applied::default()
    }
}

/// A state that is told from others by this number.
fn state(number: u64) -> Vec<u8> {
    let mut keyspace = Keyspace::new(KeyspaceOptions { hash_seed: SEED });
    keyspace.set_last_spanning(number);
    let (mut export, mut state) = (group_snapshot::export(&keyspace), Vec::new());
    while export.next(&keyspace, 100, &mut state) {}
    state
}

fn begin(landing: &mut SnapshotLanding, number: u64) {
    landing.begin(&at(number), state(number).len() as u64).unwrap();
    let state = state(number);
    state.chunks(7).for_each(|part| landing.append(part).unwrap());
}

fn land(landing: &mut SnapshotLanding, number: u64) -> Bytes {
    begin(landing, number);
    landing.finish().unwrap()
}

fn install(files: &mut SnapshotFiles, number: u64, state: &Bytes) {
    loop {
        if let Some(keyspace) = files.install(&at(number), state, SEED).unwrap() {
            assert_eq!(keyspace.last_spanning(), number);
            return;
        }
    }
}

/// What is in the directory, in order.
fn names(dir: &Scratch) -> Vec<String> {
    let files = fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn open(dir: &Scratch) -> SnapshotFiles {
    SnapshotFiles::new(SnapshotDir::open(dir.path()).unwrap())
}

#[test]
fn what_has_come_is_installed_from_its_file() {
    let dir = Scratch::new();
    let mut files = open(&dir);
    let mut landing = files.landing(CoreId(0));
    let came = land(&mut landing, 41);
    assert_eq!(came, state(41));
    assert_eq!(names(&dir), ["snapshot.sent-1"], "and nowhere else");
    install(&mut files, 41, &came);
    assert_eq!(names(&dir), ["snapshot"]);
    let kept = open(&dir).read().unwrap();
    assert_eq!(kept, Some((at(41), state(41).into())));
}

#[test]
fn another_one_that_comes_takes_nothing_from_the_one_before() {
    let dir = Scratch::new();
    let mut files = open(&dir);
    let mut landing = files.landing(CoreId(0));
    // Both have come before the first is installed.
    let (first, second) = (land(&mut landing, 41), land(&mut landing, 42));
    install(&mut files, 41, &first);
    install(&mut files, 42, &second);
    assert_eq!(open(&dir).read().unwrap(), Some((at(42), state(42).into())));
    // The next one comes while the one before is being installed.
    let third = land(&mut landing, 43);
    assert!(files.install(&at(43), &third, SEED).unwrap().is_none(), "one slice");
    begin(&mut landing, 44);
    install(&mut files, 43, &third);
    assert_eq!(names(&dir), ["snapshot", "snapshot.sent-4"]);
    let fourth = landing.finish().unwrap();
    install(&mut files, 44, &fourth);
    assert_eq!(names(&dir), ["snapshot"]);
    assert_eq!(open(&dir).read().unwrap(), Some((at(44), state(44).into())));
}

#[test]
fn what_cannot_be_kept_leaves_the_one_before() {
    let dir = Scratch::new();
    let mut files = open(&dir);
    let mut landing = files.landing(CoreId(0));
    let came = land(&mut landing, 41);
    install(&mut files, 41, &came);
    // Half a snapshot, and the process ends.
    begin(&mut landing, 42);
    let (mut files, mut landing) = (open(&dir), landing);
    assert_eq!(names(&dir), ["snapshot"]);
    // What went with the files cannot be finished, and the next try begins anew.
    assert!(landing.finish().is_err());
    assert!(landing.append(b"!").is_err());
    assert_eq!(files.read().unwrap(), Some((at(41), state(41).into())));
    landing = files.landing(CoreId(0));
    let came = land(&mut landing, 43);
    install(&mut files, 43, &came);
    assert_eq!(files.read().unwrap(), Some((at(43), state(43).into())));
}
