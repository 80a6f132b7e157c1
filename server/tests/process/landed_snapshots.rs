//! A snapshot that comes goes to disk file by file, and stays there as long as somebody wants to install it.

use std::{fs, io};

use bytes::Bytes;
use slotcore_engine::manifest::{BlobFile, FileRef, Version};
use slotcore_engine::sst::FileId;
use slotcore_raft_shard::Applied;
use slotcore_raft_shard::peer::{Landed, Landing};
use slotcore_rt::disk::{DirectIo, SnapshotDir, StoreDir};
use slotcore_rt::ids::CoreId;
use slotcore_rt::ids::LogIndex;
use slotcore_server::group_snapshot::{encode_head, files_of};
use slotcore_server::snapshot_files::SnapshotFiles;
use slotcore_server::snapshot_landing::{Place, SnapshotLanding};

use crate::scratch::Scratch;

/// What two blob files are called, and so many bytes of each: nothing in them is looked at that no key needs.
const NAMES: [&str; 2] = ["00000000000000000003.blob", "00000000000000000007.blob"];
const FILE_BYTES: usize = 8192;
const PLACE: Place = Place {
    core: CoreId(0),
    hash_seed: 1,
    manifest_bytes_max: 600,
};

/// A manifest of two files, and the snapshot, whose files consist of `number`.
fn snapshot(number: u8) -> (Vec<u8>, Vec<u8>) {
    let blob = |id| BlobFile {
        file: FileId(id),
        file_bytes: FILE_BYTES as u64,
        value_bytes: 1,
    };
    let version = Version {
        blobs: [3, 7].map(blob).to_vec(),
        ..Version::default()
    };
    of(version, number)
}

fn of(mut version: Version, number: u8) -> (Vec<u8>, Vec<u8>) {
    version.flushed.index.0 = u64::from(number);
    let manifest = version.encode();
    let mut bytes = encode_head(&manifest);
    bytes.resize(4096, 0);
    bytes.resize(4096 + files_of(&version).len() * FILE_BYTES, number);
    (manifest, bytes)
}

fn stands_for(number: u8) -> Applied {
    Applied {
        index: LogIndex(number.into()),
        ..Applied::default()
    }
}

fn begin(landing: &mut SnapshotLanding, number: u8) {
    let (_, bytes) = snapshot(number);
    landing.begin(&stands_for(number), bytes.len() as u64).unwrap();
    bytes.chunks(700).for_each(|part| landing.append(part).unwrap());
}

fn land(landing: &mut SnapshotLanding, number: u8) -> Bytes {
    begin(landing, number);
    finish(landing).unwrap()
}

fn finish(landing: &mut SnapshotLanding) -> io::Result<Bytes> {
    loop {
        match landing.finish()? {
            Landed::More => {}
            Landed::Whole(manifest) => return Ok(manifest),
        }
    }
}

/// What is in the directory, in order, and of which numbers the files consist.
fn found(dir: &Scratch) -> Vec<(String, u8)> {
    let mut found: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            let bytes = fs::read(file.path()).unwrap();
            assert!(bytes.len() == FILE_BYTES && bytes.iter().all(|byte| *byte == bytes[0]));
            (file.file_name().into_string().unwrap(), bytes[0])
        })
        .collect();
    found.sort();
    found
}

fn sent(count: usize, number: u8) -> Vec<(String, u8)> {
    NAMES
        .map(|name| (format!("snapshot.sent-{count}.{name}"), number))
        .to_vec()
}

fn landing(dir: &Scratch) -> SnapshotLanding {
    landing_at(dir, PLACE)
}

fn landing_at(dir: &Scratch, place: Place) -> SnapshotLanding {
    let store = StoreDir::new(dir.path(), DirectIo::Preferred);
    SnapshotFiles::new(store, SnapshotDir::open(dir.path()).unwrap(), None).landing(place)
}

#[test]
fn what_has_come_is_there_until_nobody_wants_it() {
    let dir = Scratch::new();
    let mut landing = landing(&dir);
    let first = land(&mut landing, 41);
    assert_eq!(first, snapshot(41).0, "whoever installs it is given the manifest");
    assert_eq!(found(&dir), sent(1, 41));
    let second = land(&mut landing, 42);
    assert_eq!(found(&dir), [sent(1, 41), sent(2, 42)].concat());
    drop(first);
    landing.settle();
    assert_eq!(found(&dir), sent(2, 42), "one that is not installed goes");
    drop(second);
    landing.settle();
    assert_eq!(found(&dir), []);
}

#[test]
fn what_is_cut_short_or_no_snapshot_leaves_nothing() {
    let dir = Scratch::new();
    let mut landing = landing(&dir);
    let (_, bytes) = snapshot(41);
    landing.begin(&Applied::default(), bytes.len() as u64).unwrap();
    landing.append(&bytes[..bytes.len() / 2]).unwrap();
    assert!(finish(&mut landing).is_err());
    assert_eq!(found(&dir), []);
    assert!(landing.append(&bytes).is_err(), "it begins anew");
    landing.begin(&Applied::default(), 9).unwrap();
    assert!(landing.append(b"something else that is long enough").is_err());
    assert_eq!(found(&dir), []);
    // Half of one, when another one begins; and when the process ends.
    begin(&mut landing, 42);
    begin(&mut landing, 43);
    assert_eq!(found(&dir).len(), 2);
    std::mem::forget(landing);
    SnapshotDir::open(dir.path()).unwrap();
    assert_eq!(found(&dir), []);
}

/// What the landing says of this snapshot, all of which has come; nothing may be left of it.
fn refused(dir: &Scratch, (_, bytes): (Vec<u8>, Vec<u8>), at: u8) -> String {
    let mut landing = landing(dir);
    landing.begin(&stands_for(at), bytes.len() as u64).unwrap();
    landing.append(&bytes).unwrap();
    let refused = finish(&mut landing).unwrap_err().to_string();
    assert_eq!(found(dir), []);
    assert!(finish(&mut landing).is_err(), "nothing is left of it");
    refused
}

#[test]
fn what_is_damaged_or_something_else_than_was_said_is_not_kept() {
    let dir = Scratch::new();
    let mut damaged = Version::default();
    damaged.keys.bottom.push(FileRef {
        file: FileId(3),
        file_bytes: FILE_BYTES as u64,
        ..FileRef::default()
    });
    let said = refused(&dir, of(damaged, 41), 41);
    assert!(said.contains("damaged") && said.contains("3.sst"), "{said}");
    let said = refused(&dir, snapshot(41), 42);
    assert!(said.contains("another entry"), "{said}");
}

#[test]
fn what_does_not_fit_into_disk_or_log_is_not_kept() {
    let dir = Scratch::new();
    let mut small = landing_at(
        &dir,
        Place {
            manifest_bytes_max: 10,
            ..PLACE
        },
    );
    begin(&mut small, 41);
    let said = finish(&mut small).unwrap_err().to_string();
    assert!(said.contains("--segment-bytes"), "{said}");
    assert_eq!(found(&dir), []);
    let mut landing = landing(&dir);
    let error = landing.begin(&stands_for(41), 1 << 60).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(found(&dir), []);
}
