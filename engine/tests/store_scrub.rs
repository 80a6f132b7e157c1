//! The scrubber: it finds every flipped bit of every file, names the place, and finds nothing where there is nothing, whatever
//! else goes on.

mod cmd_support;
mod store_support;

use cmd_support::random::Random;
use cmd_support::script;
use slotcore_engine::store::{FileKind, ScrubFinding};
use store_support::{Node, START, side, tiny};

fn work(node: &mut Node, r: &mut Random, commands: usize) {
    for n in 0..commands {
        let line = match r.below(8) {
            0 => format!("set b{} {}", r.below(30), "B".repeat(1000 + r.below(30_000))),
            1 => format!("sadd t{} m{n} x{n}", r.below(9)),
            2 => format!("del s{}", r.below(200)),
            _ => format!("set s{} {}", r.below(200), "v".repeat(r.below(500))),
        };
        node.execute(&script::words(&line), START).expect("no damage");
        node.background().expect("no damage");
        if r.below(3) == 0 {
            node.store.scrub(4096 * (1 + r.below(8)));
        }
    }
}

/// Goes through all files from the beginning of a round to its end.
fn round(node: &mut Node) -> Vec<ScrubFinding> {
    let mut findings = Vec::new();
    let rounds = node.store.scrub_stats().rounds;
    // The one under way, and a whole one.
    while node.store.scrub_stats().rounds < rounds + 2 {
        node.store.scrub(10_000);
        node.turn().expect("a damage that only the scrubber meets ends nothing");
        findings.extend(node.store.take_scrub_findings());
    }
    findings
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    for seed in 0..4 {
        let (mut node, mut r) = (Node::new(tiny(), seed), Random::new(seed + 9));
        work(&mut node, &mut r, 600);
        assert_eq!(round(&mut node), []);
        let stats = node.store.scrub_stats();
        assert!(stats.bytes > node.disk.file_bytes() && stats.damages == 0, "{stats:?}");
    }
}

#[test]
fn every_flipped_bit_is_found_and_told_once() {
    let (mut sorted, mut blobs) = (0, 0);
    for seed in 0..40 {
        let (mut node, mut r) = (Node::new(tiny(), seed), Random::new(seed + 9));
        work(&mut node, &mut r, 150);
        node.settle().expect("no damage");
        let at = node.applied();
        node.store.begin_flush(&mut node.machine.ks, at, vec![side(at)]);
        node.settle().expect("no damage");
        assert_eq!(round(&mut node), []);
        let names = node.disk.names();
        let file = names[r.below(names.len())];
        let bytes = node.disk.bytes_mut(file);
        let (at, bit) = (r.below(bytes.len()), r.below(8));
        bytes[at] ^= 1 << bit;
        let found = round(&mut node);
        assert!(!found.is_empty(), "seed {seed}: bit {bit} of byte {at} of {file}");
        assert!(
            found.iter().all(|finding| finding.file == file),
            "seed {seed}: {found:?}"
        );
        assert!(found[0].offset <= at as u64, "seed {seed}: byte {at}: {found:?}");
        match file.kind {
            FileKind::Sorted => sorted += 1,
            FileKind::Blob => blobs += 1,
        }
        assert_eq!(round(&mut node), [], "seed {seed}: told once");
        assert_eq!(node.store.scrub_stats().damages, found.len() as u64);
    }
    assert!(sorted > 5 && blobs > 5, "{sorted} {blobs}");
}
