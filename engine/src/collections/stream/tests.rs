//! A stream against a sorted map of its entries, and its groups against a list of what is pending.

use super::*;
use crate::collections::testing::Random;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

const LIMITS: [NodeLimits; 3] = [
    NodeLimits {
        entries: 100,
        bytes: 4096,
    },
    NodeLimits { entries: 7, bytes: 0 },
    NodeLimits { entries: 0, bytes: 150 },
];

fn slices(pairs: &Pairs) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
}

fn some_pairs(r: &mut Random) -> Pairs {
    let value = |r: &mut Random| vec![b'v'; [0, 5, 9, 300][r.below(4) as usize]];
    let mut pairs: Pairs = vec![(b"a".to_vec(), value(r)), (b"b".to_vec(), value(r))];
    match r.below(6) {
        0 => pairs.truncate(1),
        1 => pairs.reverse(),
        2 => pairs.push((b"a".to_vec(), value(r))),
        _ => {}
    }
    pairs
}

fn some_id(r: &mut Random, last: StreamId) -> StreamId {
    StreamId {
        ms: r.below(last.ms + 2),
        seq: r.below(4),
    }
}

/// What a visit hands out, in its order.
fn visited(stream: &Stream, range: (StreamId, StreamId), reverse: bool, limit: usize) -> Vec<(StreamId, Pairs)> {
    let mut all = Vec::new();
    stream.entries().visit(range, reverse, limit, |id, fields| {
        let pairs: Pairs = fields
            .iter()
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        assert_eq!(pairs.len(), fields.len());
        all.push((id, pairs));
    });
    all
}

fn check(stream: &Stream, model: &BTreeMap<StreamId, Pairs>, r: &mut Random) {
    let entries = stream.entries();
    assert_eq!((entries.len(), stream.len()), (model.len(), model.len()));
    assert_eq!(entries.first_id(), model.keys().next().copied());
    assert_eq!(entries.last_id(), model.keys().next_back().copied());
    let (a, b) = (some_id(r, stream.last_id), some_id(r, stream.last_id));
    assert_eq!(entries.get(a).map(|fields| fields.len()), model.get(&a).map(Vec::len));
    let limit = [1, 3, usize::MAX][r.below(3) as usize];
    let inside = |id: &StreamId| (a..=b).contains(id);
    let mut expected: Vec<_> = model
        .iter()
        .filter(|(id, _)| inside(id))
        .map(|(id, p)| (*id, p.clone()))
        .collect();
    assert_eq!(entries.count(a, b, limit), expected.len().min(limit));
    let reverse = r.below(2) == 0;
    if reverse {
        expected.reverse();
    }
    expected.truncate(limit);
    assert_eq!(visited(stream, (a, b), reverse, limit), expected);
}

#[test]
fn entries_behave_like_a_sorted_map() {
    for seed in 0..12 {
        let mut r = Random(seed);
        let limits = LIMITS[seed as usize % 3];
        let (mut stream, mut model) = (Stream::default(), BTreeMap::new());
        for _ in 0..3000 {
            match r.below(20) {
                0..=11 => {
                    let near = StreamId {
                        ms: stream.last_id.ms + r.below(2),
                        seq: r.below(3),
                    };
                    let id = near.max(stream.last_id.next().unwrap());
                    let pairs = some_pairs(&mut r);
                    stream.push(id, slices(&pairs), limits);
                    model.insert(id, pairs);
                }
                12..=16 => {
                    let id = some_id(&mut r, stream.last_id);
                    assert_eq!(stream.remove(id), model.remove(&id).is_some());
                }
                17 => {
                    let keep = (model.len() as u64).saturating_sub(r.below(30));
                    let removed = stream.trim(Trim::Len(keep), false, u64::MAX);
                    assert_eq!(removed, model.len() as u64 - keep.min(model.len() as u64));
                    (0..removed).for_each(|_| drop(model.pop_first()));
                }
                18 => {
                    let first = model.keys().next().map_or(0, |id| id.ms);
                    let id = StreamId {
                        ms: first + r.below(6),
                        seq: 1,
                    };
                    let left = model.split_off(&id);
                    assert_eq!(stream.trim(Trim::MinId(id), false, u64::MAX), model.len() as u64);
                    model = left;
                }
                // About a length: whole chunks, so fewer go, and never more than asked for or allowed.
                _ => {
                    let (keep, limit) = (r.below(200), r.below(150));
                    let removed = stream.trim(Trim::Len(keep), true, limit);
                    assert!(removed <= limit && removed <= (model.len() as u64).saturating_sub(keep));
                    (0..removed).for_each(|_| drop(model.pop_first()));
                }
            }
            check(&stream, &model, &mut r);
        }
        let all = (StreamId::MIN, StreamId::MAX);
        assert_eq!(
            visited(&stream, all, false, usize::MAX),
            model.into_iter().collect::<Vec<_>>()
        );
        while stream.free_some(10) > 0 {}
        assert_eq!(stream.memory(), size_of::<Stream>());
    }
}

#[test]
fn what_is_pending_is_so_in_the_group_and_with_one_consumer() {
    let mut r = Random(3);
    let (mut group, mut model) = (Group::default(), BTreeMap::<StreamId, (Vec<u8>, u64)>::new());
    let empty = group.memory();
    for step in 0..5000 {
        let (name, id) = (
            vec![b'a' + r.below(5) as u8],
            StreamId {
                ms: r.below(300),
                seq: 0,
            },
        );
        match r.below(10) {
            0..=4 => {
                let consumer = group.meet(&name, step);
                group.set_pending(
                    id,
                    Pending {
                        consumer,
                        delivered_ms: step,
                        deliveries: 1,
                    },
                );
                model.insert(id, (name, step));
            }
            5..=8 => assert_eq!(group.acknowledge(id), model.remove(&id).is_some()),
            _ if r.below(20) == 0 => {
                let before = model.len();
                model.retain(|_, (owner, _)| *owner != name);
                assert_eq!(group.remove_consumer(&name).unwrap_or(0), before - model.len());
            }
            _ => {}
        }
        let all = StreamId::MIN..=StreamId::MAX;
        let pending = group.pending(all.clone());
        let pending: Vec<_> = pending
            .map(|(id, p)| (id, (group.consumer(p.consumer).name().to_vec(), p.delivered_ms)))
            .collect();
        assert!(pending.iter().map(|(id, what)| (id, what)).eq(&model));
        for consumer in group.consumers() {
            let ids: Vec<_> = consumer.pending(all.clone()).collect();
            let owned = model.iter().filter(|(_, (owner, _))| owner == consumer.name());
            assert!(ids.iter().eq(owned.map(|(id, _)| id)));
        }
    }
    while group.free_some(7) > 0 {}
    for name in [b"a", b"b", b"c", b"d", b"e"] {
        group.remove_consumer(name);
    }
    assert!(group.memory() >= empty && group.pending_len() == 0);
}

#[test]
fn memory_follows_what_groups_hold() {
    let mut stream = Stream::default();
    let empty = stream.memory();
    stream.add_group(b"g", Group::default());
    for n in 1..1000 {
        let id = StreamId { ms: n, seq: 0 };
        stream.with_group(b"g", |group, _| {
            let consumer = group.meet(b"c", 0);
            group.set_pending(
                id,
                Pending {
                    consumer,
                    delivered_ms: 0,
                    deliveries: 1,
                },
            );
        });
    }
    assert!(stream.memory() > empty + 1000 * size_of::<StreamId>() * 2);
    let mut taken = stream.take_group(b"g").unwrap();
    assert_eq!(stream.memory(), empty);
    let mut slices = 0;
    while taken.free_some(100) > 0 {
        slices += 1;
    }
    assert!((10..13).contains(&slices), "{slices}");
    assert_eq!(taken.memory(), empty);
}
