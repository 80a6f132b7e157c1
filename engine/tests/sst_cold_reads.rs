//! Counted, not timed: what a filter costs and how often it is wrong, and how many blocks a cold lookup reads.

mod sst_support;

use slotcore_engine::sst::{Family, FileId, FilterBits, Kind, Run, SstOptions};
use sst_support::*;
use std::collections::HashSet;
use std::rc::Rc;

fn value() -> Value {
    Value::plain(Kind::Str, vec![b'v'; 30])
}

/// Bits a key, and wrong answers in a million.
fn filter_cost(bits: FilterBits) -> (f64, f64) {
    let mut rng = Rng(21);
    let model: Model = (0..100_000).map(|_| ((rng.next(), b"k".to_vec()), value())).collect();
    let filter_bits = bits;
    let (_, run) = single(
        &model,
        SstOptions {
            filter_bits,
            ..options(1, Family::Keys)
        },
    );
    let reader = &run.files()[0].reader;
    let probes = 1_000_000;
    let passed = (0..probes)
        .filter(|_| {
            let (ord, tail) = (rng.next(), &b"k"[..]);
            reader.locate(slotcore_engine::sst::SstKey { ord, tail }).is_some()
        })
        .count();
    (
        reader.filter_bytes() as f64 * 8.0 / model.len() as f64,
        passed as f64 * 1e6 / f64::from(probes),
    )
}

#[test]
fn filters_cost_and_err_as_the_format_page_says() {
    let (bits, wrong) = filter_cost(FilterBits::Eight);
    println!("8 bits of fingerprint: {bits:.2} bits a key, {wrong:.0} wrong answers in a million");
    assert!(
        bits < 11.5 && wrong < 4_500.0,
        "{bits} bits a key, {wrong} wrong in a million"
    );
    let (bits, wrong) = filter_cost(FilterBits::Sixteen);
    println!("16 bits of fingerprint: {bits:.2} bits a key, {wrong:.0} wrong answers in a million");
    assert!(
        bits < 23.0 && wrong < 60.0,
        "{bits} bits a key, {wrong} wrong in a million"
    );
}

/// A tree: how many records each run has, newest first; the last is the lowest level.
fn tree(rng: &mut Rng, keys: &[u64], sizes: &[usize]) -> (Disk, Vec<Run>, HashSet<u64>) {
    const FILE_RECORDS: usize = 10_000;
    let (mut disk, mut runs, mut live) = (Disk::new(), Vec::new(), HashSet::new());
    for (level, &size) in sizes.iter().enumerate() {
        let lowest = level + 1 == sizes.len();
        let mut records = Model::new();
        while records.len() < size {
            let ord = keys[rng.below(keys.len() as u64) as usize];
            records.insert((ord, ord.to_be_bytes().to_vec()), value());
        }
        live.extend(records.keys().map(|(ord, _)| *ord));
        let records: Vec<_> = records.into_iter().collect();
        let mut files = Vec::new();
        for part in records.chunks(FILE_RECORDS) {
            let id = FileId(disk.len() as u64 + 1);
            let options = SstOptions {
                filter_bits: if lowest { FilterBits::Eight } else { FilterBits::Sixteen },
                ..options(id.0, Family::Keys)
            };
            let (file, _) = build(options, &part.iter().cloned().collect());
            files.push(Rc::new(open(id, &file).unwrap()));
            disk.insert(id, file);
        }
        runs.push(Run::new(files));
    }
    (disk, runs, live)
}

#[test]
fn a_cold_lookup_reads_one_block_and_a_miss_reads_none() {
    let mut rng = Rng(22);
    let keys: Vec<u64> = (0..80_000).map(|_| rng.next()).collect();
    // Just settled; before a merge of fresh runs; the most runs that the choice of compactions lets stand.
    let shapes: [&[usize]; 3] = [
        &[60_000],
        &[1_500, 1_500, 1_500, 1_500, 1_500, 1_500, 1_500, 60_000],
        &[
            1_000, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000, 8_000, 8_000, 8_000, 8_000, 60_000,
        ],
    ];
    for sizes in shapes {
        let (disk, runs, live) = tree(&mut rng, &keys, sizes);
        let mut hits = [0u32; 3];
        for &ord in keys.iter().filter(|k| live.contains(k)).take(20_000) {
            let (found, reads) = get(&disk, &runs, ord, &ord.to_be_bytes()).unwrap();
            assert!(found.is_some() && reads >= 1);
            hits[reads.min(2) as usize] += 1;
        }
        let mut misses = [0u32; 2];
        for _ in 0..20_000 {
            let ord = rng.next();
            let (found, reads) = get(&disk, &runs, ord, &ord.to_be_bytes()).unwrap();
            assert!(found.is_none());
            misses[reads.min(1) as usize] += 1;
        }
        let one = f64::from(hits[1]) / f64::from(hits[1] + hits[2]);
        let none = f64::from(misses[0]) / f64::from(misses[0] + misses[1]);
        println!(
            "{} runs: one block in {:.2} % of hits, none in {:.2} % of misses",
            runs.len(),
            one * 100.0,
            none * 100.0
        );
        assert!(
            one >= 0.96 && none >= 0.99,
            "{sizes:?}: {one} of hits, {none} of misses"
        );
    }
}

/// The bytes of one fixed file: they change only together with the format's version. Above all this watches over the
/// filters, which a crate builds.
#[test]
fn the_format_is_the_one_that_was_released() {
    let mut rng = Rng(23);
    let mut model = Model::new();
    for n in 0..3_000u64 {
        let expire_ms = n.is_multiple_of(5).then_some(1_700_000_000_000 + n);
        let what = What::Inline(Kind::Str, n.to_string().into_bytes());
        model.insert((rng.next(), format!("key:{n}").into_bytes()), Value { expire_ms, what });
    }
    let sum = |filter_bits| {
        let options = SstOptions {
            filter_bits,
            ..options(5, Family::Keys)
        };
        crc32c::crc32c(&build(options, &model).0)
    };
    assert_eq!(
        [sum(FilterBits::Eight), sum(FilterBits::Sixteen)],
        [2237544314, 2150948975]
    );
}
