//! Merges against a fold over maps: random runs, merged by neighbours in random groups until one is left.

mod sst_support;

use slotcore_engine::compact::{DeadCollection, Merge, MergeOptions, MergeStep};
use slotcore_engine::sst::{Bounds, Element, Family, FileId, Kind, Run, SstOptions, SstScan};
use sst_support::*;
use std::collections::BTreeSet;

/// One layer of writes, as a flush would store it.
fn layer(rng: &mut Rng, family: Family, time: u64) -> Model {
    let mut model = Model::new();
    for _ in 0..rng.below(400) {
        let expire_ms = (rng.below(5) == 0).then(|| time * 10 + rng.below(40));
        match family {
            Family::Keys => {
                let key = rng.below(300);
                let what = match rng.below(6) {
                    0 => What::Tombstone,
                    // Few ids, so that a newer record often names the same one.
                    1 => What::Inline(Kind::Meta, (key * 4 + rng.below(3)).to_be_bytes().to_vec()),
                    _ => What::Inline(Kind::Str, rng.bytes(20)),
                };
                let value = Value { expire_ms, what };
                model.insert((key / 2, key.to_string().into_bytes()), value);
            }
            Family::Elements => {
                // A collection lives for three layers, then its mark is written and no element any more.
                let collection = rng.below(12);
                let born = collection / 2;
                let (kind, what) = match time {
                    t if t < born || t > born + 3 => continue,
                    t if t == born + 3 => (0, What::Dead),
                    _ if rng.below(6) == 0 => (1, What::Tombstone),
                    _ => (1, What::Inline(Kind::Element, rng.bytes(10))),
                };
                let name = rng.below(60).to_string();
                let key = if kind == 0 { &b""[..] } else { name.as_bytes() };
                let mut tail = Vec::new();
                Element { collection, kind, key }.put(&mut tail);
                let expire_ms = expire_ms.filter(|_| kind != 0);
                model.insert((collection / 3, tail), Value { expire_ms, what });
            }
        }
    }
    model
}

fn meta_id(value: &Value) -> Option<u64> {
    match &value.what {
        What::Inline(Kind::Meta, id) => Some(u64::from_be_bytes(id[..8].try_into().unwrap())),
        _ => None,
    }
}

/// What a merge of these layers, newest first, must give.
fn expected(layers: &[&Model], options: MergeOptions) -> (Model, Vec<DeadCollection>) {
    let (mut merged, mut dead) = (Model::new(), Vec::new());
    let marks: BTreeSet<(u64, Vec<u8>)> = layers
        .iter()
        .flat_map(|l| l.iter())
        .filter(|(_, v)| v.what == What::Dead)
        .map(|((ord, tail), _)| (*ord, tail[..8].to_vec()))
        .collect();
    let keys: BTreeSet<_> = layers.iter().flat_map(|l| l.keys()).collect();
    for key in keys {
        let mut values = layers.iter().filter_map(|l| l.get(key));
        let newest = values.next().unwrap();
        for id in values.filter_map(meta_id).filter(|id| meta_id(newest) != Some(*id)) {
            dead.push(DeadCollection {
                ord: key.0,
                collection: id,
            });
        }
        let of_dead = options.family == Family::Elements && marks.contains(&(key.0, key.1[..8].to_vec()));
        if of_dead && newest.what != What::Dead {
            continue;
        }
        let gone = matches!(newest.what, What::Tombstone | What::Dead);
        if newest.expire_ms.is_some_and(|at| at <= options.clock_ms) && !gone {
            dead.extend(meta_id(newest).map(|collection| DeadCollection { ord: key.0, collection }));
            if !options.bottom {
                merged.insert(key.clone(), Value::tombstone());
            }
        } else if !(gone && options.bottom) {
            merged.insert(key.clone(), newest.clone());
        }
    }
    (merged, dead)
}

fn merge(layers: &[&Model], options: MergeOptions) -> (Model, Vec<DeadCollection>) {
    let (mut disk, mut scans) = (Disk::new(), Vec::new());
    for (n, layer) in layers.iter().enumerate() {
        if layer.is_empty() {
            continue;
        }
        let (files, run): (Disk, Run) = single(
            layer,
            SstOptions {
                file: FileId(n as u64),
                ..sst_support::options(0, options.family)
            },
        );
        disk.extend(files);
        scans.push(SstScan::new(&run, Bounds::default(), 8 << 10));
    }
    let mut merge = Merge::new(scans, options);
    let (mut merged, mut dead) = (Model::new(), Vec::new());
    loop {
        let step = merge.step().unwrap();
        dead.extend(merge.take_dead());
        match step {
            MergeStep::Need { source, file, range } => merge.feed(source, aligned(slice(&disk[&file], range))).unwrap(),
            MergeStep::Ready => {
                let (key, value) = owned(&merge.record());
                assert!(merged.insert(key, value).is_none(), "each place once");
                merge.advance().unwrap();
            }
            MergeStep::Pause => {}
            MergeStep::End => {
                let read = layers.iter().map(|l| l.len() as u64).sum::<u64>();
                let stats = merge.stats();
                let kept = merged.len() as u64;
                let left_out = stats.shadowed + stats.tombstones + stats.dead_elements;
                let expired = if options.bottom { stats.expired } else { 0 };
                assert_eq!((stats.read, kept + left_out + expired), (read, read), "{stats:?}");
                return (merged, dead);
            }
        }
    }
}

#[test]
fn a_merge_gives_what_a_fold_gives() {
    let mut rng = Rng(31);
    for round in 0..60 {
        let family = if round % 2 == 0 { Family::Keys } else { Family::Elements };
        let layers: Vec<_> = (0..10).map(|time| layer(&mut rng, family, time)).rev().collect();
        for bottom in [false, true] {
            let options = MergeOptions {
                family,
                bottom,
                clock_ms: rng.below(140),
            };
            let newest_first: Vec<_> = layers.iter().collect();
            let ((got, mut got_dead), (want, mut want_dead)) =
                (merge(&newest_first, options), expected(&newest_first, options));
            assert!(got == want, "round {round}, {options:?}");
            got_dead.sort_unstable();
            want_dead.sort_unstable();
            assert_eq!(got_dead, want_dead, "round {round}, {options:?}");
        }
    }
}

/// In whatever groups neighbours are merged first, the bottom ends up the same, and every lost collection is reported.
#[test]
fn merging_in_steps_gives_what_merging_at_once_gives() {
    let mut rng = Rng(32);
    for round in 0..60 {
        let family = if round % 2 == 0 { Family::Keys } else { Family::Elements };
        let mut layers: Vec<_> = (0..10).map(|time| layer(&mut rng, family, time)).rev().collect();
        let last_clock = 150;
        let all: Vec<_> = layers.iter().collect();
        let options = |bottom, clock_ms| MergeOptions {
            family,
            bottom,
            clock_ms,
        };
        let (want, want_dead) = expected(&all, options(true, last_clock));
        let mut dead: BTreeSet<DeadCollection> = BTreeSet::new();
        while layers.len() > 1 {
            let from = rng.below(layers.len() as u64 - 1) as usize;
            let to = (from + 2 + rng.below(3) as usize).min(layers.len());
            let group: Vec<_> = layers[from..to].iter().collect();
            let bottom = to == layers.len();
            let (merged, found) = merge(&group, options(bottom, rng.below(last_clock)));
            dead.extend(found);
            layers.splice(from..to, [merged]);
        }
        let (merged, found) = merge(&[&layers[0]], options(true, last_clock));
        dead.extend(found);
        assert!(merged == want, "round {round}");
        assert!(
            want_dead.iter().all(|d| dead.contains(d)),
            "round {round}: a collection was lost"
        );
    }
}
