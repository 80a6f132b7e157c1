//! Exchanging two databases.
//!
//! A key is stored with its database ([`crate::database`]), so each key is moved. A key has the same slot in all
//! databases, and the order of keys begins with the slot: slot after slot is walked whole, and then its keys are moved,
//! which none that lies ahead of the walk is met by twice.

use super::{EventClasses, Keyspace};
use crate::database::{Database, stored, users_key};
use crate::ord::{SLOT_SHIFT, slot_of_bytes};

/// Keys that are looked at in one step of the walk.
const WALK_STEP_KEYS: usize = 1024;

impl Keyspace {
    /// Gives the keys of each of two databases to the other one. Values do not change their place in memory, but those
    /// that lie only in files are read. Clients that wait for keys of either are served as after any write.
    pub fn swap_databases(&mut self, one: Database, other: Database) {
        // Beyond memory the counts may be wrong.
        let are_empty = self.is_complete() && self.len_of(one) + self.len_of(other) == 0;
        if one == other || are_empty {
            return;
        }
        let heard = self.listening.wanted;
        // Redis tells nobody of new keys here.
        self.listen_to(EventClasses(heard.0 & !EventClasses::NEW.0));
        let mut cursor = 0;
        let mut found: Vec<Box<[u8]>> = Vec::new();
        loop {
            let known = found.len();
            let next = self.scan(cursor, WALK_STEP_KEYS, &mut |key, _| {
                if one.has(key) || other.has(key) {
                    found.push(users_key(key).into());
                }
            });
            if self.has_missed() {
                found.truncate(known);
                if !self.supply_missed() {
                    break;
                }
                continue;
            }
            // What the files have been asked for ends here: the next step asks anew, and not for ever more.
            self.lend_keys(None);
            let walked = match next {
                0 => found.len(),
                next => found.partition_point(|key| u64::from(slot_of_bytes(key)) < next >> SLOT_SHIFT),
            };
            let mut whole: Vec<Box<[u8]>> = found.drain(..walked).collect();
            whole.sort_unstable();
            whole.dedup();
            for key in &whole {
                self.swap_values(&stored(one, key), &stored(other, key));
            }
            if next == 0 {
                break;
            }
            cursor = next;
        }
        self.listen_to(heard);
        // Clients that keep copies do not tell databases apart.
        self.note(EventClasses::CLEARED, "cleared", b"");
    }

    /// Gives each of two keys what the other one holds.
    fn swap_values(&mut self, one: &[u8], other: &[u8]) {
        if !self.is_complete() {
            self.make_known(one);
            self.make_known(other);
        }
        let (one_hash, other_hash) = (self.key_hash(one), self.key_hash(other));
        // Whether each is there is asked first: looking at a key whose time has passed removes it, which moves others.
        let (has_one, has_other) = (self.exists(one), self.exists(other));
        let mut take = |there: bool, hash, key: &[u8]| {
            let spot = there.then(|| self.live(hash, key)).flatten()?;
            Some(self.detach(hash, spot))
        };
        let (first, second) = (take(has_one, one_hash, one), take(has_other, other_hash, other));
        for (value, key) in [(first, other), (second, one)] {
            if let Some((shape, expire, value)) = value {
                self.attach(key, shape, expire, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::{Args, Exec, NoReply, resolve};
    use crate::keyspace::KeyspaceOptions;
    use std::collections::BTreeMap;

    fn run(ks: &mut Keyspace, words: &[&[u8]]) {
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        for word in words {
            spans.push((bytes.len() as u32, word.len() as u32));
            bytes.extend_from_slice(word);
        }
        let args = Args::new(&bytes, &spans);
        let crate::cmd::Run::Data(f) = resolve(&args).unwrap().run else {
            panic!("a command about keys")
        };
        f(&mut Exec::new(ks, args, 1), &mut NoReply);
    }

    /// By user's key: the digest of its value in each database.
    fn values(ks: &mut Keyspace, databases: [Database; 3]) -> [BTreeMap<Box<[u8]>, u128>; 3] {
        databases.map(|database| {
            let mut keys = Vec::new();
            let mut cursor = 0;
            loop {
                cursor = ks.scan(cursor, 64, &mut |key, _| {
                    if database.has(key) {
                        keys.push(users_key(key).into());
                    }
                });
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(ks.len_of(database), keys.len() as u64);
            let digest = |key: Box<[u8]>| {
                let found = ks.value_digest(&stored(database, &key)).unwrap();
                (key, found)
            };
            keys.into_iter().map(digest).collect()
        })
    }

    #[test]
    fn every_value_changes_its_database_and_nothing_else() {
        let databases = [0, 5, 9].map(|number| Database::new(number).unwrap());
        let mut ks = Keyspace::new(KeyspaceOptions::default());
        ks.set_time(1_000, 1_000);
        for (at, database) in databases.into_iter().enumerate() {
            for key in 0..3_000 {
                // Some are in one database, some in several; with one tag all have one slot.
                if key % (at + 2) == 0 {
                    continue;
                }
                let tag = if key % 3 == 0 { "{tag}" } else { "" };
                let key = stored(database, format!("{tag}{key}").as_bytes()).into_owned();
                let value = format!("{at}").repeat(1 + key.len() % 7 * 40);
                match key.len() % 3 {
                    0 => run(&mut ks, &[b"set", &key, value.as_bytes()]),
                    1 => run(&mut ks, &[b"set", &key, value.as_bytes(), b"px", b"5000"]),
                    _ => {
                        run(&mut ks, &[b"hset", &key, b"f", value.as_bytes(), b"g", b"1"]);
                        run(&mut ks, &[b"hpexpire", &key, b"4000", b"fields", b"1", b"g"]);
                    }
                }
            }
        }
        let [zero, five, nine] = values(&mut ks, databases);
        assert!(!zero.is_empty() && !five.is_empty() && zero.keys().any(|key| five.contains_key(key)));
        ks.listen_to(EventClasses::ALL.and(EventClasses::NEW).and(EventClasses::CLEARED));
        ks.swap_databases(databases[0], databases[1]);
        let noted: Vec<&str> = ks.events().map(|event| event.name).collect();
        assert_eq!(noted, ["cleared"]);
        ks.forget_events();
        assert_eq!(values(&mut ks, databases), [five.clone(), zero.clone(), nine.clone()]);
        // Expiries came with the values, those of fields as well.
        let before = ks.volatile_counts().total();
        ks.swap_databases(databases[1], databases[0]);
        ks.swap_databases(databases[2], databases[2]);
        assert_eq!(ks.volatile_counts().total(), before);
        assert_eq!(values(&mut ks, databases), [zero, five, nine]);
        ks.set_time(4_500, 4_500);
        while ks.expire_work(1_000) > 0 {}
        let digests = values(&mut ks, databases);
        ks.set_time(6_000, 6_000);
        while ks.expire_work(1_000) > 0 {}
        assert_eq!(ks.volatile_counts().total(), 0);
        assert!(values(&mut ks, databases)[0].len() < digests[0].len());
    }
}
