//! Damage: a flipped bit anywhere in a log is named or harmless, never served; so are lost files and arbitrary bytes.

mod log_model;

use log_model::{Bug, Disk, Rng, Sim, recover_error, recover_state, small_options};
use slotcore_engine::log::frame::{FRAME_HEADER_BYTES, FrameFlags, FrameHeader};
use slotcore_engine::log::fuzz::{FUZZ_SEGMENT_BYTES, fuzz_options, fuzz_recover};
use slotcore_engine::log::{RecoverError, SyncPolicy, Tail};
use slotcore_rt::ids::SegmentId;

/// A log that ran for a while and was sealed.
fn sealed(seed: u64, acts: u64) -> Sim {
    let mut sim = Sim::new(seed, small_options(), Bug::None);
    for _ in 0..acts {
        sim.act();
    }
    sim.log.set_sync(SyncPolicy::Each);
    sim.log.seal();
    sim.settle();
    assert!(sim.log.is_sealed(), "the end of a healthy log becomes durable");
    sim
}

struct Frame {
    segment: SegmentId,
    offset: usize,
    header: FrameHeader,
}

/// The frames of this use of each segment, in order.
fn frames(disk: &Disk) -> Vec<Frame> {
    let mut found = Vec::new();
    for (&segment, file) in &disk.files {
        let mut offset = 0;
        while let Some(raw) = file.durable.get(offset..)
            && let Ok(header) = FrameHeader::decode(raw)
            && header.segment == segment
        {
            found.push(Frame {
                segment,
                offset,
                header,
            });
            offset += header.frame_bytes();
        }
    }
    found
}

#[test]
fn a_flipped_bit_is_named_or_harmless() {
    let mut flips = 0;
    for seed in [1, 2, 3] {
        let mut sim = sealed(seed, 900);
        let live: Vec<_> = {
            let (log, state) = recover_state(&sim.opts, &mut sim.disk).expect("the log is sound");
            assert_eq!(log.recovery().tail, Tail::Clean);
            assert_eq!(state, sim.state);
            frames(&sim.disk)
        };
        let mut rng = Rng(seed);
        for frame in &live {
            let body = frame.header.body_len as usize;
            let header_bytes = (0..FRAME_HEADER_BYTES).filter(|b| b % 5 == flips % 5);
            let places: Vec<usize> = header_bytes
                .chain((0..12).map(|_| FRAME_HEADER_BYTES + rng.below(body.max(1) as u64) as usize))
                .collect();
            for place in places {
                flips += 1;
                let at = frame.offset + place;
                let bit = 1 << rng.below(8);
                let file =
                    |disk: &mut Disk| disk.files.get_mut(&frame.segment).expect("a live file").durable[at] ^= bit;
                file(&mut sim.disk);
                match recover_state(&sim.opts, &mut sim.disk) {
                    Ok((_, state)) => {
                        assert_eq!(
                            state, sim.state,
                            "a flip at {} + {at} changed what is served",
                            frame.segment
                        );
                        let padding = place >= FRAME_HEADER_BYTES + body;
                        let unneeded = frame.header.flags.has(FrameFlags::SEAL) || padding;
                        let dead = !sim_live(&sim, frame.segment);
                        assert!(unneeded || dead, "a flip at {} + {at} went unnoticed", frame.segment);
                    }
                    Err(_) => {
                        let error = recover_error(&sim.opts, &mut sim.disk).expect("it failed just now");
                        // A damaged version field cannot be told from damage by its checksum alone.
                        let RecoverError::Corrupt {
                            segment,
                            offset,
                            frame: number,
                            ..
                        } = error
                        else {
                            panic!("a flip is corruption, not {error}");
                        };
                        assert_eq!(
                            (segment, offset),
                            (frame.segment, frame.offset as u64),
                            "the wrong place was named"
                        );
                        assert_eq!(number, frame.header.frame_no);
                    }
                }
                file(&mut sim.disk);
            }
        }
    }
    assert!(flips > 1500, "only {flips} flips");
}

/// True when the log still counts the segment among its own.
fn sim_live(sim: &Sim, segment: SegmentId) -> bool {
    let mut disk = sim.disk.clone();
    let mut seen = false;
    let visited = slotcore_engine::log::CoreLog::recover(sim.opts.clone(), &mut disk, &mut |r| {
        seen |= r.at.segment == segment;
    });
    visited.is_ok() && seen
}

#[test]
fn a_lost_segment_is_named() {
    let sim = sealed(5, 1500);
    let live = frames(&sim.disk);
    let newest = live.last().expect("there are frames").segment;
    let mut named = 0;
    for &segment in sim.disk.files.keys().filter(|&&s| s < newest && sim_live(&sim, s)) {
        let mut disk = sim.disk.clone();
        disk.files.remove(&segment);
        match recover_error(&sim.opts, &mut disk) {
            Some(RecoverError::Corrupt { segment: found, .. }) => {
                assert_eq!(found, segment);
                named += 1;
            }
            Some(error) => panic!("unexpected {error}"),
            None => {
                let (_, state) = recover_state(&sim.opts, &mut disk).expect("it worked just now");
                assert_eq!(state, sim.state, "without {segment} something else was served");
            }
        }
    }
    assert!(named > 0, "no segment was needed");
}

#[test]
fn arbitrary_bytes_never_panic() {
    // Seeds: logs as they are, then mutated with and without mended checksums.
    let mut sim = Sim::new(9, fuzz_options(), Bug::None);
    while sim.disk.files.len() < 5 {
        sim.act();
    }
    sim.settle();
    let segments: Vec<Vec<u8>> = sim.disk.files.values().map(|f| f.durable.clone()).collect();
    let mut rng = Rng(77);
    for round in 0..400u64 {
        let mut data = vec![(round & 1) as u8];
        for (k, segment) in segments.iter().enumerate().take(4) {
            let mut segment = segment.clone();
            // Recovery reads them as segments 1, 2, …: the headers must say so.
            for at in (0..FUZZ_SEGMENT_BYTES).step_by(512) {
                if FrameHeader::decode(&segment[at..]).is_ok() {
                    segment[at + 56..at + 64].copy_from_slice(&(k as u64 + 1).to_le_bytes());
                    segment[at + 52..at + 54].copy_from_slice(&0u16.to_le_bytes());
                }
            }
            data.extend_from_slice(&segment);
        }
        for _ in 0..rng.below(30) {
            // Mostly in frames' heads, where the structure is.
            let block = rng.below(data.len() as u64 / 512) * 512 + 1;
            let at = if rng.one_in(4) {
                rng.below(data.len() as u64)
            } else {
                block + rng.below(140)
            } as usize;
            if let Some(byte) = data.get_mut(at) {
                *byte = if rng.one_in(3) { 0xff } else { rng.next() as u8 };
            }
        }
        if rng.one_in(5) {
            data.truncate(rng.below(data.len() as u64) as usize);
        }
        fuzz_recover(&data);
    }
}
