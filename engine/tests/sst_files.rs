//! Sorted files against a `BTreeMap`: everything pushed is found and scanned, under all options, and nothing else.

mod sst_support;

use slotcore_engine::sst::{
    BLOB_VALUE_BYTES_MAX, BlobBuilder, BlobCheck, BlobPtr, Bounds, Damage, Element, Family, FileId, FilterBits, Kind,
    Run, RunFile, SstError, SstOptions, blob_value,
};
use sst_support::*;
use std::rc::Rc;

fn random_value(rng: &mut Rng, kind: Kind) -> Value {
    let expire_ms = (rng.below(4) == 0).then(|| 1_000 + rng.below(1_000));
    let what = match rng.below(20) {
        0 | 1 => What::Tombstone,
        2 if kind != Kind::Meta => {
            let ptr = BlobPtr {
                file: FileId(1 + rng.below(3)),
                offset: rng.below(1 << 40),
                len: rng.below(1 << 20) as u32,
                crc: rng.next() as u32,
            };
            What::Blob(kind, ptr)
        }
        3 if kind == Kind::Str => What::Inline(Kind::Meta, rng.bytes(8 + 3)),
        n => {
            let len = if n == 4 { rng.below(9_000) } else { rng.below(120) };
            // Half random, half not, so that compression has something to do.
            let mut bytes = rng.bytes(len as usize);
            bytes[len as usize / 2..].fill(b'x');
            What::Inline(kind, bytes)
        }
    };
    Value { expire_ms, what }
}

fn random_keys(rng: &mut Rng, n: usize) -> Model {
    let mut model = Model::new();
    while model.len() < n {
        // A third of the orders is used by several keys, which no real hash does: the rare path, often.
        let ord = if rng.below(3) == 0 { rng.below(50) } else { rng.next() };
        let key = format!("user:{}", rng.below(1 << 20)).into_bytes();
        model.insert((ord, key), random_value(rng, Kind::Str));
    }
    model
}

fn random_elements(rng: &mut Rng, n: usize) -> Model {
    let mut model = Model::new();
    while model.len() < n {
        let collection = rng.below(20);
        let mut tail = Vec::new();
        let dead = rng.below(200) == 0;
        let kind = if dead { 0 } else { 1 + rng.below(3) as u8 };
        let name = rng.below(1 << 20).to_string();
        let key = if dead { &b""[..] } else { name.as_bytes() };
        Element { collection, kind, key }.put(&mut tail);
        let value = match dead {
            true => Value {
                expire_ms: None,
                what: What::Dead,
            },
            false => random_value(rng, Kind::Element),
        };
        model.insert((collection / 4 * 1_000, tail), value);
    }
    model
}

fn every_option() -> Vec<SstOptions> {
    let mut all = Vec::new();
    for family in [Family::Keys, Family::Elements] {
        for filter_bits in [FilterBits::Eight, FilterBits::Sixteen] {
            for compress in [false, true] {
                all.push(SstOptions {
                    filter_bits,
                    compress,
                    ..options(7, family)
                });
            }
        }
    }
    all
}

fn random_model(rng: &mut Rng, family: Family, n: usize) -> Model {
    match family {
        Family::Keys => random_keys(rng, n),
        Family::Elements => random_elements(rng, n),
    }
}

#[test]
fn what_was_pushed_is_found_and_scanned() {
    let mut rng = Rng(1);
    for options in every_option() {
        for n in [1, 2, 15, 16, 17, 300, 6_000] {
            let model = random_model(&mut rng, options.family, n);
            let (disk, run) = single(&model, options);
            for read_bytes in [1, 16 << 10, 1 << 20] {
                assert!(scan(&disk, &run, Bounds::default(), read_bytes).unwrap() == model);
            }
            let runs = [run];
            for (at, (key, value)) in model.iter().enumerate() {
                if at % (1 + n / 300) == 0 {
                    let live = !matches!(value.what, What::Tombstone | What::Dead);
                    let (found, reads) = get(&disk, &runs, key.0, &key.1).unwrap();
                    assert_eq!(
                        (found.as_ref(), reads),
                        (live.then_some(value), 1),
                        "{options:?} {key:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn keys_next_to_what_was_pushed_are_absent() {
    let mut rng = Rng(2);
    for options in every_option() {
        let model = random_model(&mut rng, options.family, 2_000);
        let (disk, run) = single(&model, options);
        let runs = [run];
        for (ord, tail) in model.keys().step_by(7) {
            let longer = [&tail[..], b"!"].concat();
            let shorter = &tail[..tail.len() - 1];
            for (ord, tail) in [
                (*ord, &longer[..]),
                (*ord, shorter),
                (ord + 1, tail),
                (ord.wrapping_sub(1), tail),
            ] {
                if !model.contains_key(&(ord, tail.to_vec())) {
                    assert_eq!(get(&disk, &runs, ord, tail).unwrap().0, None);
                }
            }
        }
    }
}

#[test]
fn bounded_scans_return_the_part() {
    let mut rng = Rng(3);
    for options in every_option() {
        let model = random_model(&mut rng, options.family, 3_000);
        let (disk, run) = single(&model, options);
        let keys: Vec<_> = model.keys().cloned().collect();
        for _ in 0..30 {
            let from = keys[rng.below(keys.len() as u64) as usize].clone();
            let to = keys[rng.below(keys.len() as u64) as usize].0;
            let expected: Model = model
                .range(from.clone()..)
                .filter(|(key, _)| key.0 < to)
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            let bounds = Bounds {
                from_ord: from.0,
                from_tail: from.1,
                to_ord: Some(to),
            };
            assert!(scan(&disk, &run, bounds, 32 << 10).unwrap() == expected);
        }
    }
}

#[test]
fn a_run_of_several_files_reads_as_one() {
    let mut rng = Rng(4);
    for family in [Family::Keys, Family::Elements] {
        let model = random_model(&mut rng, family, 4_000);
        let (mut disk, mut readers) = (Disk::new(), Vec::new());
        let (mut part, mut parts) = (Model::new(), Vec::new());
        for (key, value) in &model {
            let cut = part.len() >= 500 && (family == Family::Elements || part.last_key_value().unwrap().0.0 != key.0);
            if cut {
                parts.push(std::mem::take(&mut part));
            }
            part.insert(key.clone(), value.clone());
        }
        parts.push(part);
        for (n, part) in parts.iter().enumerate() {
            let options = options(100 + n as u64, family);
            let (file, _) = build(options, part);
            readers.push(Rc::new(open(options.file, &file).unwrap()));
            disk.insert(options.file, file);
        }
        let run = Run::new(readers);
        assert!(scan(&disk, &run, Bounds::default(), 64 << 10).unwrap() == model);
        let runs = [run];
        for (key, value) in model.iter().step_by(3) {
            let live = !matches!(value.what, What::Tombstone | What::Dead);
            let (found, _) = get(&disk, &runs, key.0, &key.1).unwrap();
            assert_eq!(found.as_ref(), live.then_some(value));
        }
    }
}

#[test]
fn what_was_merged_away_from_a_file_is_not_read_any_more() {
    let mut rng = Rng(10);
    for family in [Family::Keys, Family::Elements] {
        let (old, new) = (
            random_model(&mut rng, family, 3_000),
            random_model(&mut rng, family, 3_000),
        );
        let orders: Vec<u64> = old.keys().map(|k| k.0).collect();
        let from_ord = orders[orders.len() / 2];
        let newer: Model = new.into_iter().filter(|(k, _)| k.0 < from_ord).collect();
        let (mut disk, mut files) = (Disk::new(), Vec::new());
        for (id, model, from_ord) in [(1, &newer, 0), (2, &old, from_ord)] {
            let (file, _) = build(options(id, family), model);
            let reader = Rc::new(open(FileId(id), &file).unwrap());
            files.push(RunFile { reader, from_ord });
            disk.insert(FileId(id), file);
        }
        let mut expected = newer.clone();
        expected.extend(
            old.iter()
                .filter(|(k, _)| k.0 >= from_ord)
                .map(|(k, v)| (k.clone(), v.clone())),
        );
        let run = Run::of_parts(files);
        for read_bytes in [1, 1 << 20] {
            assert!(scan(&disk, &run, Bounds::default(), read_bytes).unwrap() == expected);
        }
        let runs = [run];
        for key in old.keys().chain(newer.keys()).step_by(5) {
            let found = get(&disk, &runs, key.0, &key.1).unwrap().0;
            let live = expected
                .get(key)
                .filter(|v| !matches!(v.what, What::Tombstone | What::Dead));
            assert_eq!(found.as_ref(), live);
        }
    }
}

#[test]
fn properties_are_those_of_the_records_and_come_back() {
    let mut rng = Rng(5);
    for options in every_option() {
        let model = random_model(&mut rng, options.family, 2_000);
        let (file, finished) = build(options, &model);
        let reader = open(options.file, &file).unwrap();
        let props = reader.props();
        assert_eq!(*props, finished.props);
        assert_eq!(
            (reader.blocks(), reader.filter_bytes() as u64),
            (finished.blocks as usize, finished.filter_bytes)
        );
        let records: Vec<_> = model.iter().map(|(k, v)| v.record(k)).collect();
        assert_eq!(props.entries, records.len() as u64);
        assert_eq!(
            props.user_bytes,
            records.iter().map(|r| r.user_bytes() as u64).sum::<u64>()
        );
        assert_eq!(props.ord_min, records[0].key.ord);
        assert_eq!(props.ord_max, records[records.len() - 1].key.ord);
        assert_eq!(
            props.expiring,
            model.values().filter(|v| v.expire_ms.is_some()).count() as u64
        );
        assert_eq!(
            Some(props.expire_min_ms),
            model.values().filter_map(|v| v.expire_ms).min()
        );
        assert_eq!(
            Some(props.expire_max_ms),
            model.values().filter_map(|v| v.expire_ms).max()
        );
        let blob = |value: &Value| match &value.what {
            What::Blob(_, ptr) => Some(*ptr),
            _ => None,
        };
        for refs in &props.blobs {
            let values: Vec<_> = model
                .values()
                .filter_map(blob)
                .filter(|p| p.file == refs.file)
                .collect();
            assert_eq!(refs.values, values.len() as u64);
            assert_eq!(refs.bytes, values.iter().map(|p| u64::from(p.len)).sum::<u64>());
        }
        assert_eq!(
            props.blobs.iter().map(|r| r.values).sum::<u64>(),
            model.values().filter_map(blob).count() as u64
        );
        assert_eq!(props.expired_bytes_estimate(999), 0);
        assert_eq!(props.expired_bytes_estimate(5_000), props.expiring_bytes);
        let half = props.expired_bytes_estimate(1_500);
        assert!(half > 0 && half < props.expiring_bytes);
    }
}

#[test]
fn compression_makes_files_smaller_only_where_it_helps() {
    let mut model = Model::new();
    let mut rng = Rng(6);
    for n in 0..2_000 {
        model.insert((n << 30, vec![b'k'; 8]), Value::plain(Kind::Str, vec![b'v'; 200]));
    }
    let plain = options(1, Family::Keys);
    let packed = SstOptions {
        compress: true,
        ..plain
    };
    let bytes = |options, model: &Model| build(options, model).1.file_bytes;
    assert!(bytes(packed, &model) * 2 < bytes(plain, &model));
    for value in model.values_mut() {
        *value = Value::plain(Kind::Str, rng.bytes(200));
    }
    assert!(bytes(packed, &model) <= bytes(plain, &model) + (8 << 10));
}

#[test]
fn collections_are_filtered_as_a_whole() {
    let mut rng = Rng(7);
    let model = random_elements(&mut rng, 8_000);
    let (_, run) = single(&model, options(1, Family::Elements));
    let reader = &run.files()[0].reader;
    for collection in 0..20 {
        assert!(reader.may_hold_collection(collection / 4 * 1_000, collection));
    }
    let passed = (20..5_020)
        .filter(|c| reader.may_hold_collection(c % 5 * 1_000, *c))
        .count();
    assert!(passed < 5_000 / 64, "{passed} of 5000 absent collections passed");
}

#[test]
fn a_foreign_file_is_named() {
    let model = random_keys(&mut Rng(8), 100);
    let (file, _) = build(options(7, Family::Keys), &model);
    let refused = |id, file: &[u8]| match open(FileId(id), file).unwrap_err() {
        SstError::Corrupt { damage, file, .. } => (damage, file),
        other => panic!("{other}"),
    };
    assert_eq!(refused(8, &file), (Damage::Identity, FileId(8)));
    assert_eq!(refused(8, &vec![0; 8192]), (Damage::Magic, FileId(8)));
    let mut blob = BlobBuilder::new(FileId(7));
    blob.push(b"value");
    blob.finish();
    assert_eq!(refused(7, &blob.take_chunk().unwrap().buf), (Damage::Magic, FileId(7)));
}

#[test]
fn blob_values_come_back() {
    let mut rng = Rng(9);
    let mut builder = BlobBuilder::new(FileId(3));
    let (mut file, mut values) = (Vec::new(), Vec::new());
    for n in 0..200 {
        let len = if n % 20 == 0 {
            rng.below(400_000)
        } else {
            rng.below(9_000)
        };
        let value = rng.bytes(len as usize);
        values.push((builder.push(&value), value));
        while let Some(chunk) = builder.take_chunk() {
            assert_eq!(chunk.offset, file.len() as u64);
            file.extend_from_slice(&chunk.buf);
        }
    }
    assert_eq!(builder.values().0, 200);
    let bytes = builder.finish();
    while let Some(chunk) = builder.take_chunk() {
        file.extend_from_slice(&chunk.buf);
    }
    assert_eq!(bytes, file.len() as u64);
    assert!(values.iter().all(|(_, v)| v.len() < BLOB_VALUE_BYTES_MAX));
    for (ptr, value) in &values {
        assert_eq!(blob_value(ptr, slice(&file, ptr.range())).unwrap(), value);
        let elsewhere = BlobPtr { crc: !ptr.crc, ..*ptr };
        assert!(blob_value(&elsewhere, slice(&file, ptr.range())).is_err());
    }
    let check = BlobCheck::whole(FileId(3), &file).unwrap();
    assert_eq!(
        (check.values, check.value_bytes),
        (200, values.iter().map(|(_, v)| v.len() as u64).sum())
    );
}
