//! Manifests: random flushes and merges, as the choice of compactions wants them, keep all files in their places; every
//! version comes back from its bytes; damaged bytes are refused or mean something, and never panic.

mod sst_support;

use slotcore_engine::compact::{Pick, PickOptions, pick};
use slotcore_engine::database::Counts;
use slotcore_engine::log::LogPos;
use slotcore_engine::manifest::{BlobFile, Edit, EditError, FileRef, ManifestError, SideState, Version};
use slotcore_engine::sst::{BlobRefs, Family, FileId, Props};
use slotcore_rt::ids::{LogIndex, Term};
use sst_support::Rng;
use std::collections::BTreeSet;

fn file(id: &mut u64, bytes: u64, ord_min: u64, ord_max: u64) -> FileRef {
    *id += 1;
    FileRef {
        file: FileId(*id),
        file_bytes: bytes,
        footer_crc: *id as u32,
        from_ord: 0,
        props: Props {
            ord_min,
            ord_max,
            ..Props::default()
        },
    }
}

fn flush(id: &mut u64, version: &Version, rng: &mut Rng) -> Edit {
    let flushed = LogPos {
        term: Term(1),
        index: LogIndex(version.flushed.index.0 + 1 + rng.below(9)),
    };
    let cut = 1 + rng.below(u64::MAX - 2);
    let mut keys = vec![
        file(id, 64 << 20, rng.below(cut), cut),
        file(id, 8 << 20, cut + 1, u64::MAX),
    ];
    *id += 1;
    let (blob, bytes) = (FileId(*id), 1 << 20);
    let (values, value_bytes) = (3, bytes);
    keys[0].props.blobs.push(BlobRefs {
        file: blob,
        values,
        bytes,
    });
    Edit::Flush {
        flushed,
        clock_ms: version.clock_ms + rng.below(100),
        keys,
        elements: Vec::new(),
        key_count: Counts::new(std::array::from_fn(|_| rng.below(1 << 40))),
        side: vec![SideState {
            kind: 7,
            bytes: rng.bytes(5),
        }],
        anew: false,
        blobs: vec![BlobFile {
            file: blob,
            file_bytes: 2 << 20,
            value_bytes,
        }],
    }
}

/// The result of a merge as far as files go: one file between the orders it covers, with all blobs of the inputs.
fn merged(id: &mut u64, version: &Version, pick: &Pick) -> Edit {
    let family = Family::Keys;
    let inputs = version.inputs(family, pick);
    let read: Vec<_> = version.files().filter(|f| inputs.contains(&f.file)).collect();
    let bytes = read.iter().map(|f| f.file_bytes).sum::<u64>() / 2;
    let (from, to) = match pick {
        Pick::Sink { from_ord, to_ord, .. } => (*from_ord, to_ord.map_or(u64::MAX, |to| to - 1)),
        _ => (0, u64::MAX),
    };
    let mut result = file(id, bytes, from, to);
    let blobs: BTreeSet<FileId> = read.iter().flat_map(|f| &f.props.blobs).map(|b| b.file).collect();
    let refs = |file| BlobRefs {
        file,
        values: 1,
        bytes: 1 << 19,
    };
    result.props.blobs = blobs.into_iter().map(refs).collect();
    Edit::Merge {
        family,
        pick: pick.clone(),
        upper_runs: version.keys.upper.len(),
        inputs,
        result: vec![result],
        blobs: Vec::new(),
        expired_keys: Counts::default(),
    }
}

#[test]
fn versions_follow_one_another_and_come_back_from_their_bytes() {
    let mut rng = Rng(61);
    let (mut version, mut id) = (Version::default(), 0);
    let (mut tiers, mut sinks) = (0, 0);
    let mut pending: Option<Edit> = None;
    for _ in 0..600 {
        let edit = match pending.take() {
            // Flushes come while a merge is under way.
            Some(merge) if rng.below(3) > 0 => merge,
            other => {
                pending = other;
                flush(&mut id, &version, &mut rng)
            }
        };
        match &edit {
            Edit::Merge {
                pick: Pick::Tier { .. },
                ..
            } => tiers += 1,
            Edit::Merge {
                pick: Pick::Sink { .. },
                ..
            } => sinks += 1,
            _ => {}
        }
        let before: BTreeSet<FileId> = version.files().map(|f| f.file).collect();
        let (next, gone) = version.apply(edit).unwrap();
        let after: BTreeSet<FileId> = next.files().map(|f| f.file).collect();
        assert!(gone.iter().all(|f| !after.contains(f)));
        assert!(
            before.difference(&after).all(|f| gone.contains(f)),
            "every file that goes is named"
        );
        assert_eq!(Version::decode(&next.encode()), Ok(next.clone()));
        assert!(next.files().all(|f| f.file < next.next_file));
        assert!(
            next.keys
                .bottom
                .windows(2)
                .all(|w| w[0].props.ord_max < w[1].from_ord.max(w[1].props.ord_min))
        );
        assert_eq!(
            next.shape_of_keys().bottom.len(),
            next.keys.bottom.len(),
            "picks name files by their place"
        );
        version = next;
        if pending.is_none() {
            let picked = pick(&version.shape_of_keys(), &PickOptions::default());
            pending = picked.map(|pick| merged(&mut id, &version, &pick));
        }
    }
    assert!(tiers > 10 && sinks > 10, "{tiers} {sinks}");
    assert!(version.blobs.len() > 10 && version.sparse_blobs(500).len() <= version.blobs.len());
}

#[test]
fn edits_that_do_not_fit_are_refused() {
    let mut rng = Rng(62);
    let mut id = 0;
    let first = flush(&mut id, &Version::default(), &mut rng);
    let (version, gone) = Version::default().apply(first.clone()).unwrap();
    assert!(gone.is_empty());
    assert_eq!(version.apply(first).unwrap_err(), EditError::FlushedBefore);

    let mut reused = flush(&mut id, &version, &mut rng);
    if let Edit::Flush { keys, .. } = &mut reused {
        keys[0].file = FileId(1);
    }
    assert_eq!(version.apply(reused).unwrap_err(), EditError::Result);

    let mut overlapping = flush(&mut id, &version, &mut rng);
    if let Edit::Flush { keys, .. } = &mut overlapping {
        keys.swap(0, 1);
    }
    assert_eq!(version.apply(overlapping).unwrap_err(), EditError::Result);

    let mut missing_blob = flush(&mut id, &version, &mut rng);
    if let Edit::Flush { blobs, .. } = &mut missing_blob {
        blobs.clear();
    }
    assert_eq!(version.apply(missing_blob).unwrap_err(), EditError::Result);

    let sink = Pick::Sink {
        runs: 0..1,
        from_ord: 0,
        to_ord: None,
        bottom: 0..0,
    };
    let merge = merged(&mut id, &version, &sink);
    let (sunk, gone) = version.apply(merge.clone()).unwrap();
    assert_eq!((sunk.keys.upper.len(), sunk.keys.bottom.len(), gone.len()), (0, 1, 2));
    assert_eq!(sunk.apply(merge).unwrap_err(), EditError::Stale);
}

#[test]
fn a_sink_ends_when_its_pieces_have_left_its_runs_nothing() {
    let (mut id, mut rng) = (0, Rng(63));
    let mut first = flush(&mut id, &Version::default(), &mut rng);
    if let Edit::Flush { keys, .. } = &mut first {
        keys[1].props.ord_max = u64::MAX - 10;
    }
    let (version, _) = Version::default().apply(first).unwrap();
    let piece = Pick::Sink {
        runs: 0..1,
        from_ord: 0,
        to_ord: Some(u64::MAX - 5),
        bottom: 0..0,
    };
    let (version, _) = version.apply(merged(&mut id, &version, &piece)).unwrap();
    assert!(version.keys.upper[0].files.is_empty());

    // Another run comes meanwhile, and is not taken for a part of the sink.
    let end = pick(&version.shape_of_keys(), &PickOptions::default()).expect("the sink goes on");
    let mut edit = merged(&mut id, &version, &end);
    if let Edit::Merge { inputs, result, .. } = &mut edit {
        assert!(inputs.is_empty());
        result.clear();
    }
    let (with_newer, _) = version.apply(flush(&mut id, &version, &mut rng)).unwrap();
    let (ended, gone) = with_newer.apply(edit.clone()).unwrap();
    assert_eq!(
        (ended.keys.upper.len(), ended.keys.upper[0].files.len(), gone.len()),
        (1, 2, 0)
    );
    assert_eq!(ended.apply(edit).unwrap_err(), EditError::Stale);
}

#[test]
fn damaged_manifests_are_refused_or_mean_something() {
    let mut rng = Rng(63);
    let (mut version, mut id) = (Version::default(), 0);
    for _ in 0..5 {
        version = version.apply(flush(&mut id, &version, &mut rng)).unwrap().0;
    }
    let bytes = version.encode();
    assert_eq!(Version::decode(&[]), Ok(Version::default()));
    for len in 1..bytes.len() {
        assert!(
            Version::decode(&bytes[..len]).is_err(),
            "{len} of {} bytes",
            bytes.len()
        );
    }
    assert!(Version::decode(&[&bytes[..], &[0]].concat()).is_err());
    let mut newer = bytes.clone();
    newer[0] = 5;
    assert_eq!(Version::decode(&newer), Err(ManifestError::Version(5)));
    for _ in 0..20_000 {
        let mut bytes = bytes.clone();
        let at = rng.below(bytes.len() as u64) as usize;
        bytes[at] = rng.next() as u8;
        if let Ok(odd) = Version::decode(&bytes) {
            assert_eq!(odd.encode(), bytes, "what is accepted means what it says");
            let shape = odd.shape_of_keys();
            let _ = shape.bottom.len();
        }
    }
}

/// What `bytes`, of one run of keys and nothing else, were in the formats where each tree began with four more bytes.
fn with_figures_of_trees(version: &Version, mut bytes: Vec<u8>) -> Vec<u8> {
    let keys_at = 4 + 4 * 8;
    let keys_only = Version {
        keys: version.keys.clone(),
        ..Version::default()
    };
    // After the trees come the counts of blobs (4), of keys (8 for each database) and of side states (4).
    let trees_end = keys_only.encode().len() - 4 - 16 * 8 - 4;
    // A tree without files is two counts.
    let elements_at = trees_end - 4 - 4;
    for at in [elements_at, keys_at] {
        bytes.splice(at..at, 777u32.to_le_bytes());
    }
    bytes
}

#[test]
fn the_format_with_figures_of_trees_is_read() {
    let mut rng = Rng(67);
    let version = Version::default()
        .apply(flush(&mut 0, &Version::default(), &mut rng))
        .unwrap()
        .0;
    let mut bytes = with_figures_of_trees(&version, version.encode());
    bytes[0] = 3;
    assert_eq!(Version::decode(&bytes), Ok(version));
}

#[test]
fn the_first_format_is_read() {
    let mut rng = Rng(64);
    let mut version = Version::default()
        .apply(flush(&mut 0, &Version::default(), &mut rng))
        .unwrap()
        .0;
    (version.key_count, version.side) = (Counts::default(), Vec::new());
    let mut bytes = with_figures_of_trees(&version, version.encode());
    // It ended before the numbers of keys (8 bytes each) and the count of side states (4).
    bytes.truncate(bytes.len() - 16 * 8 - 4);
    bytes[0] = 1;
    assert_eq!(Version::decode(&bytes), Ok(version));
}

#[test]
fn the_format_of_one_database_is_read() {
    let mut rng = Rng(66);
    let mut version = Version::default()
        .apply(flush(&mut 0, &Version::default(), &mut rng))
        .unwrap()
        .0;
    let mut keys = [0; 16];
    keys[0] = 1 << 33;
    version.key_count = Counts::new(keys);
    let mut bytes = with_figures_of_trees(&version, version.encode());
    // One side state of 5 bytes stands at the end, and before it 15 more numbers than there were.
    let counts_end = bytes.len() - 4 - 4 - 4 - 5;
    bytes.drain(counts_end - 15 * 8..counts_end);
    bytes[0] = 2;
    assert_eq!(Version::decode(&bytes), Ok(version));
}

#[test]
fn a_flush_after_everything_was_deleted_keeps_nothing_of_before() {
    let (mut rng, mut id) = (Rng(65), 0);
    let mut version = Version::default();
    for _ in 0..3 {
        version = version.apply(flush(&mut id, &version, &mut rng)).unwrap().0;
    }
    let mut edit = flush(&mut id, &version, &mut rng);
    let before: BTreeSet<FileId> = version
        .files()
        .map(|f| f.file)
        .chain(version.blobs.iter().map(|b| b.file))
        .collect();
    if let Edit::Flush { anew, .. } = &mut edit {
        *anew = true;
    }
    let (next, gone) = version.apply(edit).unwrap();
    assert_eq!((next.files().count(), next.blobs.len()), (2, 1));
    assert_eq!(BTreeSet::from_iter(gone), before);
}
