//! Damaged files: every flipped bit is told, truncated files are refused, and arbitrary bytes under right checksums may be
//! refused but never panic.

mod sst_support;

use slotcore_engine::sst::{
    BlobBuilder, BlobCheck, Bounds, Element, Family, FileId, Kind, PAGE_BYTES, Run, SstError, SstOptions,
};
use sst_support::*;
use std::rc::Rc;

fn model(family: Family) -> Model {
    let mut rng = Rng(11);
    let mut model = Model::new();
    for n in 0..400u64 {
        let len = rng.below(60) as usize;
        let value = rng.bytes(len);
        match family {
            Family::Keys => {
                model.insert((rng.next(), n.to_string().into_bytes()), Value::plain(Kind::Str, value));
            }
            Family::Elements => {
                let mut tail = Vec::new();
                let key = &n.to_be_bytes();
                let (collection, kind) = (n / 100, 1);
                Element { collection, kind, key }.put(&mut tail);
                model.insert((5, tail), Value::plain(Kind::Element, value));
            }
        }
    }
    model
}

fn files() -> Vec<(SstOptions, Vec<u8>)> {
    let mut files = Vec::new();
    for family in [Family::Keys, Family::Elements] {
        for compress in [false, true] {
            let options = SstOptions {
                compress,
                ..options(9, family)
            };
            files.push((options, build(options, &model(family)).0));
        }
    }
    files
}

/// Opens and reads everything.
fn read_all(id: FileId, file: &[u8]) -> Result<Model, SstError> {
    let run = Run::new(vec![Rc::new(open(id, file)?)]);
    scan(&Disk::from([(id, file.to_vec())]), &run, Bounds::default(), 1 << 20)
}

#[test]
fn every_flipped_bit_is_told() {
    let mut rng = Rng(12);
    for (options, mut file) in files() {
        // One random bit in each 16 bytes: a checksum covers far more than that.
        for at in (0..file.len()).step_by(16) {
            let at = at + rng.below(16) as usize;
            let bit = 1 << rng.below(8);
            file[at] ^= bit;
            let error = read_all(options.file, &file).expect_err("a flipped bit");
            let SstError::Corrupt { file: id, offset, .. } = error else {
                panic!("{error} at {at}");
            };
            // The place named is the start of the checksummed part, so not behind the bit.
            assert!(id == options.file && offset <= at as u64, "{error}: the bit is at {at}");
            file[at] ^= bit;
        }
        read_all(options.file, &file).expect("all bits are as they were");
    }
}

#[test]
fn every_flipped_bit_of_a_blob_file_is_told() {
    let mut rng = Rng(13);
    let mut builder = BlobBuilder::new(FileId(4));
    for len in [0, 1, 7, 8, 5_000, 4_096, 13] {
        builder.push(&rng.bytes(len));
    }
    builder.finish();
    let mut file = builder.take_chunk().unwrap().buf.to_vec();
    for at in 0..file.len() {
        let bit = 1 << rng.below(8);
        file[at] ^= bit;
        BlobCheck::whole(FileId(4), &file).expect_err("a flipped bit");
        file[at] ^= bit;
    }
    BlobCheck::whole(FileId(4), &file).unwrap();
    for len in 0..file.len() {
        BlobCheck::whole(FileId(4), &file[..len]).expect_err("a truncated file");
    }
}

#[test]
fn truncated_and_lengthened_files_are_refused() {
    for (options, mut file) in files() {
        for len in (0..file.len()).step_by(511).chain((0..file.len()).step_by(PAGE_BYTES)) {
            open(options.file, &file[..len]).expect_err("a truncated file");
        }
        let last_page = file[file.len() - PAGE_BYTES..].to_vec();
        file.extend_from_slice(&last_page);
        open(options.file, &file).expect_err("a file that goes on, even with its own footer");
    }
}

#[test]
fn pages_in_the_wrong_place_are_told() {
    for (options, file) in files() {
        let pages = file.len() / PAGE_BYTES;
        for (a, b) in (0..pages).flat_map(|a| (a + 1..pages).map(move |b| (a, b))) {
            let mut swapped = file.clone();
            let (left, right) = swapped.split_at_mut(b * PAGE_BYTES);
            left[a * PAGE_BYTES..][..PAGE_BYTES].swap_with_slice(&mut right[..PAGE_BYTES]);
            if swapped != file {
                read_all(options.file, &swapped).expect_err("swapped pages");
            }
        }
    }
}

/// What only an attacker or a bug produces: wrong contents with all checksums right.
#[test]
fn arbitrary_contents_under_right_checksums_do_not_panic() {
    let mut rng = Rng(14);
    let (mut refused, mut accepted) = (0, 0);
    for (options, file) in files() {
        for _ in 0..1_500 {
            let mut file = file.clone();
            // Mostly the first bytes of a page: heads, counts and the first entries.
            let page = rng.below((file.len() / PAGE_BYTES) as u64) as usize;
            for _ in 0..=rng.below(3) {
                let reach = 1 << (3 + rng.below(10));
                let at = page * PAGE_BYTES + rng.below(reach) as usize;
                file[at] = rng.next() as u8;
            }
            checksums_made_right(&mut file);
            match read_all(options.file, &file) {
                Ok(_) => accepted += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(
        refused > 500 && accepted > 500,
        "{refused} refused, {accepted} accepted"
    );
}

/// Follows `docs/formats/sst.md`, as far as the file can be followed.
fn checksums_made_right(file: &mut [u8]) {
    let footer = file.len() - PAGE_BYTES;
    let u32_at = |file: &[u8], at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let u64_at = |file: &[u8], at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    let mut sections = [(0, 0); 3];
    let mut end = footer as u64;
    for (n, section) in sections.iter_mut().enumerate().rev() {
        let bytes = u64_at(file, footer + 25 + 12 * n);
        let Some(start) = end.checked_sub(bytes).filter(|s| *s >= PAGE_BYTES as u64) else {
            return;
        };
        *section = (start as usize, end as usize);
        end = start;
    }
    let (mut at, index_end) = (sections[1].0 + 4, sections[1].1);
    let mut start_page = 1;
    for _ in 0..u32_at(file, sections[1].0) {
        if at + 20 > index_end {
            break;
        }
        let end_page = u32_at(file, at + 8);
        if start_page < end_page && end_page * PAGE_BYTES <= sections[0].0 {
            let crc = crc32c::crc32c(&file[start_page * PAGE_BYTES..end_page * PAGE_BYTES]);
            file[at + 12..at + 16].copy_from_slice(&crc.to_le_bytes());
        }
        start_page = end_page;
        at += 20 + u32_at(file, at + 16);
    }
    for (n, (start, end)) in sections.into_iter().enumerate() {
        let crc = crc32c::crc32c(&file[start..end]);
        file[footer + 33 + 12 * n..][..4].copy_from_slice(&crc.to_le_bytes());
    }
    for page in [0, footer] {
        let crc = crc32c::crc32c(&file[page..page + PAGE_BYTES - 4]);
        file[page + PAGE_BYTES - 4..page + PAGE_BYTES].copy_from_slice(&crc.to_le_bytes());
    }
}
