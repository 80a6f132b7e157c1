//! What a program may rely on with this disk, and what it may not.

use std::collections::BTreeSet;

use super::*;

const SEED_COUNT: u64 = 200;

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(SeededRng::new(seed))
}

fn filled(byte: u8, sectors: usize) -> AlignedBuf {
    let mut buf = AlignedBuf::with_capacity(sectors * SECTOR_BYTES);
    buf.extend_from_slice(&vec![byte; sectors * SECTOR_BYTES]);
    buf
}

fn write(file: FileId, sector: u64, byte: u8, sectors: usize, sync: bool) -> DiskOp {
    DiskOp::Write {
        file,
        offset: sector * SECTOR_BYTES as u64,
        buf: filled(byte, sectors),
        sync,
    }
}

/// Lets everything in flight complete; returns tokens and results in order.
fn settle(disk: &mut SimDisk) -> Vec<(u64, Result<(), i32>)> {
    let mut done = Vec::new();
    while let Some(due) = disk.next_due() {
        disk.poll(due, &mut done);
    }
    done.iter().map(|done| (done.token, done.result)).collect()
}

/// A disk with a durable file of 8 sectors.
fn with_file(seed: u64) -> (SimDisk, FileId) {
    let mut disk = disk(seed);
    let file = disk.create("a", 8 * SECTOR_BYTES as u64).unwrap();
    disk.submit(Tick::ZERO, 0, DiskOp::SyncDir);
    settle(&mut disk);
    (disk, file)
}

/// First byte of each of the file's sectors; a sector must be of one piece.
fn sectors(disk: &mut SimDisk, file: FileId) -> Vec<u8> {
    let bytes = disk.read(file, 0, 8 * SECTOR_BYTES).unwrap();
    let (sectors, _) = bytes.as_chunks::<SECTOR_BYTES>();
    sectors
        .iter()
        .for_each(|sector| assert!(sector.iter().all(|byte| *byte == sector[0]), "torn inside a sector"));
    sectors.iter().map(|sector| sector[0]).collect()
}

#[test]
fn synced_writes_survive_every_cut() {
    for seed in 0..SEED_COUNT {
        let (mut disk, file) = with_file(seed);
        disk.submit(Tick::ZERO, 1, write(file, 0, 1, 2, true));
        disk.submit(Tick::ZERO, 2, write(file, 2, 2, 2, false));
        settle(&mut disk);
        disk.submit(Tick::ZERO, 3, DiskOp::Sync { file });
        settle(&mut disk);
        disk.power_cut();
        assert_eq!(sectors(&mut disk, file), [1, 1, 2, 2, 0, 0, 0, 0], "seed {seed}");
    }
}

#[test]
fn unsynced_writes_are_kept_lost_torn_and_reordered() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEED_COUNT {
        let (mut disk, file) = with_file(seed);
        disk.submit(Tick::ZERO, 1, write(file, 0, 1, 2, false));
        settle(&mut disk);
        disk.submit(Tick::ZERO, 2, write(file, 2, 2, 1, false));
        // In flight at the cut, and asked to be durable: no promise was given yet.
        disk.submit(Tick::ZERO, 3, write(file, 3, 3, 1, true));
        disk.power_cut();
        assert_eq!(disk.in_flight(), 0);
        seen.insert(sectors(&mut disk, file)[..4].to_vec());
    }
    for expected in [
        [0, 0, 0, 0],
        [1, 1, 2, 3],
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 3],
        [0, 0, 2, 0],
    ] {
        assert!(seen.contains(&expected[..]), "{expected:?} never happened");
    }
}

#[test]
fn a_sync_covers_only_what_had_completed_when_it_was_submitted() {
    let lost = (0..SEED_COUNT).any(|seed| {
        let (mut disk, file) = with_file(seed);
        disk.submit(Tick::ZERO, 1, write(file, 0, 1, 1, false));
        disk.submit(Tick::ZERO, 2, DiskOp::Sync { file });
        settle(&mut disk);
        disk.power_cut();
        sectors(&mut disk, file)[0] == 0
    });
    assert!(lost);
}

#[test]
fn a_failed_sync_is_not_mended_by_the_next_one() {
    let lost = (0..SEED_COUNT).any(|seed| {
        let (mut disk, file) = with_file(seed);
        disk.submit(Tick::ZERO, 1, write(file, 0, 1, 1, false));
        settle(&mut disk);
        disk.faults().sync_error = Rate::ALWAYS;
        disk.submit(Tick::ZERO, 2, DiskOp::Sync { file });
        disk.faults().sync_error = Rate::NEVER;
        disk.submit(Tick::ZERO, 3, DiskOp::Sync { file });
        let mut results = settle(&mut disk);
        results.sort_unstable();
        assert_eq!(results, [(2, Err(libc::EIO)), (3, Ok(()))]);
        assert_eq!(sectors(&mut disk, file)[0], 1, "still readable");
        disk.power_cut();
        sectors(&mut disk, file)[0] == 0
    });
    assert!(lost);
}

#[test]
fn completions_come_out_of_order_and_the_same_for_a_seed() {
    let order = |seed| {
        let (mut disk, file) = with_file(seed);
        (0..8).for_each(|i| disk.submit(Tick::ZERO, i, write(file, i, 1, 1, false)));
        settle(&mut disk)
            .into_iter()
            .map(|(token, _)| token)
            .collect::<Vec<_>>()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    assert_ne!(order(1), (0..8).collect::<Vec<_>>());
}

#[test]
fn names_are_lost_from_the_end_until_the_directory_is_synced() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEED_COUNT {
        let (mut disk, _) = with_file(seed);
        disk.create("b", 512).unwrap();
        disk.rename("a", "c").unwrap();
        disk.power_cut();
        seen.insert(disk.list().map(|(name, _)| name).collect::<Vec<_>>().join(" "));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["a", "a b", "b c"]);
}

#[test]
fn a_killed_process_loses_nothing_it_handed_over() {
    for seed in 0..SEED_COUNT {
        let (mut disk, file) = with_file(seed);
        disk.submit(Tick::ZERO, 1, write(file, 0, 1, 8, false));
        assert!(disk.process_killed());
        assert_eq!(sectors(&mut disk, file), [1; 8]);
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let (mut disk, _) = with_file(0);
    disk.faults().capacity_bytes = 9 * SECTOR_BYTES as u64;
    assert_eq!(disk.create("b", 1024), Err(libc::ENOSPC));
    disk.delete("a").unwrap();
    assert!(disk.create("b", 1024).is_ok());
    assert_eq!(disk.create("b", 512), Err(libc::EEXIST));
    assert_eq!(disk.used(), 1024);
}

#[test]
fn writes_outside_or_across_sectors_are_refused() {
    let (mut disk, file) = with_file(0);
    disk.submit(Tick::ZERO, 1, write(file, 7, 1, 2, true));
    disk.submit(
        Tick::ZERO,
        2,
        DiskOp::Write {
            file,
            offset: 1,
            buf: filled(1, 1),
            sync: true,
        },
    );
    assert!(settle(&mut disk).iter().all(|(_, result)| *result == Err(libc::EINVAL)));
    assert_eq!(sectors(&mut disk, file), [0; 8]);
}

#[test]
fn injected_damage_is_really_there() {
    let (mut disk, file) = with_file(3);
    disk.flip_bit(file, 700, 3);
    assert_eq!(disk.read(file, 700, 1).unwrap(), [8]);
    disk.faults().misdirect = Rate::ALWAYS;
    disk.faults().write_error = Rate::NEVER;
    let strayed = (0..20).any(|_| {
        disk.submit(Tick::ZERO, 1, write(file, 0, 9, 1, true));
        settle(&mut disk);
        let at = disk.read(file, 0, 8 * SECTOR_BYTES).unwrap();
        (1..8).any(|sector| at[sector * SECTOR_BYTES] == 9)
    });
    assert!(strayed);
    assert!(disk.lose_entry("a") && disk.open("a").is_none());
    disk.faults().read_error = Rate::ALWAYS;
    assert_eq!(disk.read(file, 0, 1), Err(libc::EIO));
}

#[test]
fn a_failed_write_leaves_any_part_behind() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEED_COUNT {
        let (mut disk, file) = with_file(seed);
        disk.faults().write_error = Rate::ALWAYS;
        disk.submit(Tick::ZERO, 1, write(file, 0, 1, 2, true));
        assert_eq!(settle(&mut disk), [(1, Err(libc::EIO))]);
        seen.insert(sectors(&mut disk, file)[..2].to_vec());
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn spikes_stretch_the_delay() {
    let (mut disk, file) = with_file(0);
    disk.faults().spikes = Rate::ALWAYS;
    disk.submit(Tick::ZERO, 1, DiskOp::Sync { file });
    assert!(disk.next_due().unwrap() >= Tick::ZERO + disk.faults().spike);
}

#[test]
fn a_shorn_sector_is_neither_old_nor_new_and_only_where_a_write_was_in_flight() {
    let mut shorn = 0;
    for seed in 0..SEED_COUNT {
        let (mut disk, file) = with_file(seed);
        disk.faults().shorn = Rate::ALWAYS;
        disk.submit(Tick::ZERO, 1, write(file, 4, 7, 4, true));
        settle(&mut disk);
        disk.submit(Tick::ZERO, 2, write(file, 0, 1, 2, true));
        disk.power_cut();
        let bytes = disk.read(file, 0, 8 * SECTOR_BYTES).unwrap();
        let garbage = |sector: &&[u8; SECTOR_BYTES]| sector.iter().any(|byte| *byte != sector[0]);
        let (sectors, _) = bytes.as_chunks::<SECTOR_BYTES>();
        assert!(sectors[4..].iter().all(|sector| *sector == [7; SECTOR_BYTES]));
        shorn += sectors[..2].iter().filter(garbage).count();
    }
    assert_eq!(shorn as u64, SEED_COUNT);
}
