//! Audits of damaged cores: whatever a start would refuse is found by file and place, damage behind it as well, and a
//! sound core has no damage.

mod cmd_support;
mod log_model;
mod store_support;

use cmd_support::random::Random;
use cmd_support::script;
use log_model::{Bug, Rng, Sim, recover_error, small_options};
use slotcore_engine::audit::{AuditedFile, CoreAudit, Verdict, audit_core, audit_log};
use slotcore_engine::log::frame::{FRAME_HEADER_BYTES, FrameHeader};
use slotcore_engine::log::{Record, RecoverError, SyncPolicy};
use slotcore_engine::store::{FileKind, StoreOptions};
use slotcore_rt::ids::{CoreId, GroupId, GroupSlot, LogIndex, SegmentId};
use store_support::{Node, START, side, tiny};

/// The core of [`small_options`].
const CORE: CoreId = CoreId(3);

/// A log that ran for a while and was sealed.
fn sealed(seed: u64, acts: u64) -> Sim {
    let mut sim = Sim::new(seed, small_options(), Bug::None);
    for _ in 0..acts {
        sim.act();
    }
    sim.log.set_sync(SyncPolicy::Each);
    sim.log.seal();
    sim.settle();
    sim
}

/// The frames of a segment's present use: where they are, and their bytes of header and records.
fn frames(disk: &log_model::Disk, segment: SegmentId) -> Vec<(usize, usize)> {
    let bytes = &disk.files[&segment].durable;
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(raw) = bytes.get(at..)
        && let Ok(header) = FrameHeader::decode(raw)
        && header.segment == segment
    {
        found.push((at, FRAME_HEADER_BYTES + header.body_len as usize));
        at += header.frame_bytes();
    }
    found
}

#[test]
fn what_recovery_refuses_is_found_with_all_that_is_behind_it() {
    let (mut refused, mut harmless) = (0, 0);
    for seed in [1, 2] {
        let sim = sealed(seed, 900);
        let sound = audit_log(CORE, &mut sim.disk.clone()).expect("it can be read");
        assert!(
            sound.refused.is_none() && sound.findings.is_empty(),
            "{:?}",
            sound.findings
        );
        assert!(sound.chain.len() > 1, "{:?}", sound.chain);
        let mut rng = Rng(seed + 10);
        for round in 0..150 {
            let mut disk = sim.disk.clone();
            let segment = sound.chain[rng.below(sound.chain.len() as u64) as usize];
            let frames = frames(&disk, segment);
            let mut hit = Vec::new();
            let file = disk.files.get_mut(&segment).expect("a segment in use");
            match round % 5 {
                0 => drop(disk.files.remove(&segment)),
                1 => {
                    let len = rng.below(frames.last().map_or(1, |(at, _)| *at as u64 + 1));
                    file.durable.truncate(len as usize);
                }
                _ => {
                    for _ in 0..2 {
                        let (at, len) = frames[rng.below(frames.len() as u64) as usize];
                        file.durable[at + rng.below(len as u64) as usize] ^= 1 << rng.below(8);
                        hit.push(at as u64);
                    }
                }
            }
            // What lies behind the last frame that counts was dropped long ago.
            let anchor = sound.segments.iter().rev().find(|survey| survey.checkpoint.is_some());
            let older = anchor.and_then(|anchor| anchor.checkpoint.as_ref());
            let old = older.and_then(|list| list.iter().find(|old| old.id == segment));
            let end = old.map_or(u64::MAX, |old| old.end);
            let error = recover_error(&sim.opts, &mut disk.clone());
            let audit = audit_log(CORE, &mut disk).expect("it can be read");
            let corrupt = || {
                audit
                    .findings
                    .iter()
                    .filter(|finding| finding.verdict == Verdict::Corrupt)
            };
            match error {
                None => {
                    assert_eq!(corrupt().count(), 0, "seed {seed}, round {round}: {:?}", audit.findings);
                    harmless += 1;
                }
                Some(RecoverError::Corrupt {
                    segment: named, offset, ..
                }) => {
                    let there = |finding: &&slotcore_engine::audit::Finding| {
                        finding.file == AuditedFile::Segment(named)
                            && (finding.offset..=finding.offset + finding.bytes).contains(&offset)
                    };
                    assert!(
                        corrupt().any(|f| there(&f)),
                        "seed {seed}, round {round}: {:?}",
                        audit.findings
                    );
                    // Two flips may undo each other, and the last frame's loss nothing contradicts.
                    let last = frames.last().map_or(0, |(at, _)| *at as u64);
                    for at in hit.iter().filter(|&&at| at < last.min(end) && hit[0] != hit[1]) {
                        let covered = audit.findings.iter().any(|f| {
                            f.file == AuditedFile::Segment(segment)
                                && (f.offset..f.offset + f.bytes.max(1)).contains(at)
                        });
                        assert!(
                            covered,
                            "seed {seed}, round {round}: {at} of {hit:?} in {:?}",
                            audit.findings
                        );
                    }
                    refused += 1;
                }
                Some(error) => panic!("seed {seed}, round {round}: {error}"),
            }
        }
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(refused > 100 && harmless > 10, "{refused} refused, {harmless} harmless");
}

/// A core with files, and a log whose manifest names them.
fn core(seed: u64, options: StoreOptions) -> (log_model::Disk, store_support::Disk) {
    let (mut node, mut r) = (Node::new(options, seed), Random::new(seed));
    for n in 0..500 {
        let line = match r.below(8) {
            0 => format!("set b{} {}", r.below(30), "B".repeat(1000 + r.below(3000))),
            1 => format!("sadd t{} m{n} x{n}", r.below(9)),
            2 => format!("del s{}", r.below(200)),
            _ => format!("set s{} {}", r.below(200), "v".repeat(r.below(500))),
        };
        node.execute(&script::words(&line), START).expect("no damage");
        node.background().expect("no damage");
    }
    node.settle().expect("no damage");
    let at = node.applied();
    node.store.begin_flush(&mut node.machine.ks, at, vec![side(at)]);
    node.settle().expect("no damage");
    let mut sim = Sim::new(seed, small_options(), Bug::None);
    sim.settle();
    let group = GroupSlot(0);
    let bytes = node.disk.manifest.clone().into();
    for record in [
        Record::GroupCreate { group, id: GroupId(1) },
        Record::Manifest { group, bytes },
    ] {
        sim.append(record).expect("there is room");
    }
    sim.log.seal();
    sim.settle();
    (sim.disk, node.disk)
}

fn audit(log: &log_model::Disk, disk: &store_support::Disk) -> CoreAudit {
    audit_core(CORE, &mut log.clone(), &mut disk.clone(), LogIndex(0)).expect("it can be read")
}

#[test]
fn damage_of_files_is_found_by_name_and_place() {
    let mut found = 0;
    for seed in 0..2 {
        let (log, disk) = core(seed, tiny());
        let sound = audit(&log, &disk);
        assert!(sound.findings.is_empty(), "{:?}", sound.findings);
        let names = disk.names();
        assert!(names.iter().any(|name| name.kind == FileKind::Blob), "{names:?}");
        let mut r = Random::new(seed + 50);
        for round in 0..120 {
            let mut disk = disk.clone();
            let file = names[r.below(names.len())];
            let bytes = disk.bytes_mut(file);
            let mut at = None;
            match round % 4 {
                0 => {
                    let len = r.below(bytes.len());
                    bytes.truncate(len);
                }
                1 => disk.remove(file),
                _ => {
                    let place = r.below(bytes.len());
                    bytes[place] ^= 1 << r.below(8);
                    at = Some(place as u64);
                }
            }
            let audit = audit(&log, &disk);
            let hits: Vec<_> = audit
                .findings
                .iter()
                .filter(|f| f.file == AuditedFile::Store(file))
                .collect();
            assert!(
                hits.iter()
                    .any(|f| f.verdict != Verdict::LeftOver && f.groups == [GroupSlot(0)]),
                "seed {seed}, round {round}, {file} at {at:?}: {:?}",
                audit.findings
            );
            if file.kind == FileKind::Sorted {
                // Which keys are hit is always known.
                assert!(
                    hits.iter().all(|f| f.ords.is_some() || f.verdict == Verdict::Unused),
                    "{hits:?}"
                );
                assert!(
                    hits.iter().all(|f| at.is_none_or(|at| f.offset <= at)),
                    "{at:?}: {hits:?}"
                );
            }
            found += 1;
        }
    }
    println!("{found} found");
}

#[test]
fn one_damaged_block_hides_no_other() {
    // Blocks of one page each, several in a file.
    let options = StoreOptions {
        file_bytes_target: 48 << 10,
        compress: false,
        ..tiny()
    };
    let (log, disk) = core(7, options);
    let sorted = disk.names().into_iter().filter(|name| name.kind == FileKind::Sorted);
    let file = sorted
        .max_by_key(|&name| disk.clone().bytes_mut(name).len())
        .expect("there are files");
    let mut disk = disk.clone();
    let bytes = disk.bytes_mut(file);
    // Five pages hold no data.
    assert!(bytes.len() >= 7 * 4096, "{} bytes", bytes.len());
    bytes[4096 + 100] ^= 1;
    bytes[2 * 4096 + 100] ^= 1;
    let audit = audit(&log, &disk);
    let offsets: Vec<u64> = audit.findings.iter().map(|f| f.offset).collect();
    assert_eq!(offsets, [4096, 8192], "{:?}", audit.findings);
}
