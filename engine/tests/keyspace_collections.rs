//! Collections as values of keys: types, life and death, copies, digests, memory.

mod support;

use slotcore_engine::collections::{Elements, End};
use slotcore_engine::keyspace::{Expire, Keyspace, Kind, WrongType};
use support::{Rng, keyspace};

/// One key of each type.
fn fill(ks: &mut Keyspace) {
    ks.set_str(b"str", b"text", Expire::Clear);
    ks.list_or_create(b"list").expect("new").push(b"a", End::Back);
    ks.set_or_create(b"set").expect("new").insert(b"a");
    ks.hash_or_create(b"hash").expect("new").insert(b"f", b"v");
    ks.zset_or_create(b"zset").expect("new").insert(b"a", 1.5);
}

#[test]
fn each_type_is_served_by_its_own_calls_only() {
    let mut ks = keyspace();
    fill(&mut ks);
    let keys: [(&[u8], Kind); 5] = [
        (b"str", Kind::Str),
        (b"list", Kind::List),
        (b"set", Kind::Set),
        (b"hash", Kind::Hash),
        (b"zset", Kind::ZSet),
    ];
    for (key, kind) in keys {
        assert_eq!(ks.kind(key), Some(kind));
        let right = |k: Kind| if k == kind { Ok(true) } else { Err(WrongType) };
        assert_eq!(ks.get_str(key).map(|x| x.is_some()), right(Kind::Str));
        assert_eq!(ks.resize_str(key, 4).map(|_| true), right(Kind::Str));
        assert_eq!(ks.list(key).map(|x| x.is_some()), right(Kind::List));
        assert_eq!(ks.set_mut(key).map(|x| x.is_some()), right(Kind::Set));
        assert_eq!(ks.hash_or_create(key).map(|_| true), right(Kind::Hash));
        assert_eq!(ks.zset(key).map(|x| x.is_some()), right(Kind::ZSet));
    }
    assert!(matches!(ks.list(b"none"), Ok(None)) && matches!(ks.zset_mut(b"none"), Ok(None)));
    assert_eq!(ks.len(), 5, "looking creates nothing");
}

#[test]
fn an_empty_collection_goes_and_a_string_does_not() {
    let mut ks = keyspace();
    fill(&mut ks);
    assert!(!ks.drop_if_empty(b"set") && !ks.drop_if_empty(b"str") && !ks.drop_if_empty(b"none"));
    ks.set_str(b"str", b"", Expire::Clear);
    assert!(!ks.drop_if_empty(b"str"));
    assert!(ks.set_mut(b"set").expect("a set").expect("there").remove(b"a"));
    assert!(ks.drop_if_empty(b"set"));
    assert_eq!((ks.kind(b"set"), ks.len()), (None, 4));
}

#[test]
fn an_expired_collection_is_not_added_to() {
    let mut ks = keyspace();
    ks.set_time(1_000, 1_000);
    ks.set_or_create(b"s").expect("new").insert(b"old");
    assert!(ks.set_expire(b"s", Some(2_000)));
    assert!(
        ks.set(b"s").expect("a set").expect("there").contains(b"old"),
        "an expiry keeps the value"
    );
    ks.set_time(2_000, 2_000);
    let fresh = ks.set_or_create(b"s").expect("the old one is gone");
    assert!(!fresh.contains(b"old"));
    fresh.insert(b"new");
    assert_eq!((ks.expire_at(b"s"), ks.len(), ks.volatile_len()), (Some(None), 1, 0));
    ks.set_expire(b"s", Some(3_000));
    ks.set_time(3_000, 3_000);
    ks.list_or_create(b"s")
        .expect("any type may follow")
        .push(b"x", End::Front);
    assert_eq!(ks.kind(b"s"), Some(Kind::List));
}

#[test]
fn copies_are_deep_and_renames_carry_everything() {
    let mut ks = keyspace();
    ks.set_time(1_000, 1_000);
    fill(&mut ks);
    ks.set_expire(b"hash", Some(9_000));
    assert!(ks.copy(b"hash", b"twin", false) && !ks.copy(b"set", b"twin", false));
    ks.hash_mut(b"twin")
        .expect("a hash")
        .expect("there")
        .insert(b"f", b"changed");
    let value = |ks: &mut Keyspace, key: &[u8]| {
        ks.hash(key)
            .expect("a hash")
            .and_then(|h| h.get(b"f").map(<[u8]>::to_vec))
    };
    assert_eq!(value(&mut ks, b"hash").as_deref(), Some(&b"v"[..]));
    assert!(ks.rename(b"twin", b"str"));
    assert_eq!(
        (value(&mut ks, b"str").as_deref(), ks.expire_at(b"str")),
        (Some(&b"changed"[..]), Some(Some(9_000)))
    );
    assert!(ks.copy(b"zset", b"list", true));
    assert_eq!(ks.kind(b"list"), Some(Kind::ZSet));
    assert!(ks.rename(b"set", b"set") && !ks.copy(b"set", b"set", true));
    assert_eq!((ks.len(), ks.volatile_len()), (5, 2));
}

#[test]
fn digests_of_unordered_types_do_not_depend_on_history() {
    let (mut up, mut down, mut rng) = (keyspace(), keyspace(), Rng(4));
    let member = |i: u64| format!("member {i}").into_bytes();
    let add = |ks: &mut Keyspace, i: u64| {
        ks.set_or_create(b"set").expect("a set").insert(&member(i));
        ks.hash_or_create(b"hash")
            .expect("a hash")
            .insert(&member(i), &member(i * 2));
        ks.zset_or_create(b"zset")
            .expect("a sorted set")
            .insert(&member(i), i as f64 / 3.0);
    };
    (0..1_000).for_each(|i| add(&mut up, i));
    for i in (0..1_000).rev() {
        add(&mut down, i);
        let extra = 5_000 + rng.below(1_000);
        add(&mut down, extra);
        assert!(
            down.set_mut(b"set")
                .expect("a set")
                .expect("there")
                .remove(&member(extra))
        );
        assert!(
            down.hash_mut(b"hash")
                .expect("a hash")
                .expect("there")
                .remove(&member(extra))
        );
        assert!(
            down.zset_mut(b"zset")
                .expect("a sorted set")
                .expect("there")
                .remove(&member(extra))
        );
    }
    assert_eq!(up.digest(), down.digest());
    down.zset_mut(b"zset")
        .expect("a sorted set")
        .expect("there")
        .insert(&member(7), -1.0);
    assert_ne!(up.digest(), down.digest(), "a score is part of the state");
    let before = up.digest();
    up.list_or_create(b"list").expect("a list").push(b"a", End::Back);
    up.list_or_create(b"list").expect("a list").push(b"b", End::Back);
    down.zset_mut(b"zset")
        .expect("a sorted set")
        .expect("there")
        .insert(&member(7), 7.0 / 3.0);
    down.list_or_create(b"list").expect("a list").push(b"b", End::Back);
    down.list_or_create(b"list").expect("a list").push(b"a", End::Back);
    assert_ne!(up.digest(), down.digest(), "the order of a list is part of the state");
    down.del(b"list");
    assert_eq!(down.digest(), before);
}

#[test]
fn a_huge_collection_is_counted_and_freed_in_slices() {
    let mut ks = keyspace();
    let empty = ks.memory();
    for i in 0..100_000u64 {
        ks.set_or_create(b"set").expect("a set").insert(&i.to_le_bytes());
    }
    assert!(
        ks.memory().objects > empty.objects + 800_000,
        "elements count: {:?}",
        ks.memory()
    );
    assert!(ks.key_memory(b"set").expect("there") > 800_000);
    ks.set_str(b"set", b"another life", Expire::Clear);
    assert!(ks.memory().garbage > 800_000, "not freed at once: {:?}", ks.memory());
    let mut calls = 0;
    while ks.free_work(1_000) >= 1_000 {
        calls += 1;
    }
    assert!(calls >= 50, "freed in {calls} calls");
    assert_eq!(
        (ks.memory().garbage, ks.get_str(b"set")),
        (0, Ok(Some(&b"another life"[..])))
    );
    assert_eq!(Elements::len(ks.set_or_create(b"other").expect("new")), 0);
}
