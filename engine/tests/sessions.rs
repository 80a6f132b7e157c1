//! Writes that are lost, repeated, held back and sent again in any pattern: each counts once, in order, and is answered
//! with what it was answered first.

use std::collections::BTreeMap;

use slotcore_engine::sessions::{
    ALL_BYTES_MAX, ANSWER_BYTES_MAX, BadSessions, IDLE_MS_MAX, Once, SESSION_BYTES_MAX, SESSIONS_MAX, SessionId,
    Sessions, Verdict,
};
use slotcore_rt::rng::SeededRng;

fn once(session: u128, serial: u64) -> Once {
    Once {
        session: SessionId(session),
        serial,
        floor: 0,
        after: 0,
        proto: 2,
    }
}

/// One sender whose writes belong to a few lanes, each a chain.
#[derive(Default)]
struct Sender {
    next: u64,
    /// By serial: its lane.
    unsettled: BTreeMap<u64, u64>,
    answers: BTreeMap<u64, Vec<u8>>,
}

impl Sender {
    fn begin(&mut self, lane: u64) -> u64 {
        self.next += 1;
        self.unsettled.insert(self.next, lane);
        self.next
    }

    /// The write as it is sent now.
    fn write(&self, session: u128, serial: u64) -> Once {
        let lane = self.unsettled[&serial];
        let before = self.unsettled.range(..serial).rev().find(|(_, other)| **other == lane);
        Once {
            floor: self.unsettled.first_key_value().map_or(0, |(first, _)| *first),
            after: before.map_or(0, |(before, _)| *before),
            ..once(session, serial)
        }
    }
}

#[test]
fn whatever_is_lost_repeated_and_held_back_counts_once_and_in_order() {
    for seed in 0..300 {
        let mut rng = SeededRng::new(seed);
        let mut table = Sessions::default();
        let mut senders: [Sender; 2] = Default::default();
        let mut lanes: BTreeMap<(usize, u64), u64> = BTreeMap::new();
        let mut executed: BTreeMap<(usize, u64), Vec<u8>> = BTreeMap::new();
        let mut flying: Vec<(usize, Once)> = Vec::new();
        let mut steps = 0;
        while steps < 600 || senders.iter().any(|sender| !sender.unsettled.is_empty()) {
            steps += 1;
            assert!(steps < 100_000, "seed {seed}: somebody is never answered");
            let who = (rng.next_u64() % 2) as usize;
            let sender = &mut senders[who];
            match rng.next_u64() % 6 {
                0 if steps < 600 => {
                    let lane = rng.next_u64() % 3;
                    let serial = sender.begin(lane);
                    flying.push((who, sender.write(who as u128, serial)));
                }
                // Sent again, perhaps for no reason.
                1 if !sender.unsettled.is_empty() => {
                    let nth = rng.next_u64() as usize % sender.unsettled.len();
                    let serial = *sender.unsettled.keys().nth(nth).unwrap();
                    flying.push((who, sender.write(who as u128, serial)));
                }
                // Lost; or, rarely, repeated by the network.
                2 if !flying.is_empty() && rng.chance(1, 3) => {
                    let at = rng.next_u64() as usize % flying.len();
                    flying.swap_remove(at);
                }
                3 if !flying.is_empty() && rng.chance(1, 3) => {
                    flying.push(flying[rng.next_u64() as usize % flying.len()]);
                }
                _ if !flying.is_empty() => {
                    let at = rng.next_u64() as usize % flying.len();
                    let (who, write) = flying.swap_remove(at);
                    let waited_for = senders[who].unsettled.contains_key(&write.serial);
                    let answer = match table.admit(&write, steps) {
                        Verdict::Execute => {
                            let lane = senders[who].unsettled.get(&write.serial).copied();
                            let lane = lane.expect("a settled write is executed");
                            let last = lanes.insert((who, lane), write.serial);
                            assert!(last < Some(write.serial), "seed {seed}: out of order");
                            let answer = format!("{who} {} at {steps}", write.serial).into_bytes();
                            table.executed(&write, &answer);
                            let first = executed.insert((who, write.serial), answer.clone());
                            assert_eq!(first, None, "seed {seed}: executed twice");
                            Some(answer)
                        }
                        Verdict::Known(answer) => answer.map(<[u8]>::to_vec),
                        Verdict::Early => None,
                        Verdict::Settled => {
                            assert!(!waited_for, "seed {seed}: somebody waits for it");
                            None
                        }
                    };
                    // The answer may be lost on its way, too.
                    if let Some(answer) = answer
                        && waited_for
                        && rng.chance(2, 3)
                    {
                        senders[who].unsettled.remove(&write.serial);
                        senders[who].answers.insert(write.serial, answer);
                    }
                }
                _ => {}
            }
            if rng.chance(1, 50) {
                let mut bytes = Vec::new();
                table.export(&mut bytes);
                let read = Sessions::import(&bytes).unwrap();
                assert_eq!(read, table, "seed {seed}");
                table = read;
            }
        }
        for (who, sender) in senders.iter().enumerate() {
            for (serial, answer) in &sender.answers {
                assert_eq!(executed.get(&(who, *serial)), Some(answer), "seed {seed}");
            }
        }
    }
}

#[test]
fn what_is_settled_is_forgotten_and_not_executed_any_more() {
    let mut table = Sessions::default();
    for serial in 1..=3 {
        assert_eq!(table.admit(&once(1, serial), 0), Verdict::Execute);
        table.executed(&once(1, serial), b"+OK\r\n");
    }
    let fourth = Once { floor: 3, ..once(1, 4) };
    assert_eq!(table.admit(&fourth, 0), Verdict::Execute);
    assert_eq!(table.admit(&once(1, 2), 0), Verdict::Settled);
    assert_eq!(table.admit(&once(1, 3), 0), Verdict::Known(Some(b"+OK\r\n")));
    // Without its answer having been kept, it may come again: nothing says that it was executed.
    assert_eq!(table.admit(&fourth, 0), Verdict::Execute);
}

#[test]
fn a_write_whose_predecessor_is_missing_waits_until_that_is_there_or_settled() {
    let mut table = Sessions::default();
    let second = Once { after: 1, ..once(1, 2) };
    assert_eq!(table.admit(&second, 0), Verdict::Early);
    assert_eq!(table.admit(&once(1, 1), 0), Verdict::Execute);
    table.executed(&once(1, 1), b"");
    assert_eq!(table.admit(&second, 0), Verdict::Execute);
    table.executed(&second, b"");
    let fifth = Once {
        after: 4,
        floor: 5,
        ..once(1, 5)
    };
    assert_eq!(table.admit(&fifth, 0), Verdict::Execute);
}

#[test]
fn long_answers_are_not_kept_but_what_they_answered_is_not_executed_again() {
    let mut table = Sessions::default();
    let long = vec![b'x'; ANSWER_BYTES_MAX + 1];
    assert_eq!(table.admit(&once(1, 1), 0), Verdict::Execute);
    table.executed(&once(1, 1), &long);
    assert_eq!(table.admit(&once(1, 1), 0), Verdict::Known(None));
    let fitting = SESSION_BYTES_MAX / ANSWER_BYTES_MAX;
    for serial in 2..=fitting as u64 + 2 {
        assert_eq!(table.admit(&once(1, serial), 0), Verdict::Execute);
        table.executed(&once(1, serial), &long[..ANSWER_BYTES_MAX]);
    }
    assert_eq!(table.admit(&once(1, 2), 0), Verdict::Known(None), "the oldest gave way");
    assert!(matches!(table.admit(&once(1, 3), 0), Verdict::Known(Some(_))));
}

#[test]
fn idle_sessions_and_too_many_of_them_are_forgotten_oldest_first() {
    let mut table = Sessions::default();
    for session in 0..SESSIONS_MAX as u128 {
        table.admit(&once(session, 1), 5);
        table.executed(&once(session, 1), b"");
    }
    assert_eq!(table.admit(&once(0, 1), 6), Verdict::Known(Some(b"")));
    table.admit(&once(u128::MAX, 1), 6);
    assert_eq!(table.len(), SESSIONS_MAX);
    assert_eq!(table.admit(&once(0, 1), 6), Verdict::Known(Some(b"")));
    // Of those that wrote at 5, it was the first.
    assert_eq!(table.admit(&once(2, 1), 6), Verdict::Known(Some(b"")));
    table.admit(&once(0, 2), 6 + IDLE_MS_MAX);
    assert_eq!(table.len(), 3, "those that wrote at 6 are still there");
    table.admit(&once(0, 2), 7 + IDLE_MS_MAX);
    assert_eq!(table.len(), 1);
}

#[test]
fn no_prefix_of_the_bytes_and_no_other_version_is_taken_for_sessions() {
    let mut table = Sessions::default();
    for serial in 1..4 {
        table.admit(&once(9, serial), 70);
        table.executed(&once(9, serial), b":1\r\n");
    }
    table.admit(&once(8, 1), 71);
    let mut bytes = Vec::new();
    table.export(&mut bytes);
    assert_eq!(Sessions::import(&bytes), Ok(table));
    for end in 0..bytes.len() {
        assert!(Sessions::import(&bytes[..end]).is_err(), "{end}");
    }
    bytes.push(0);
    assert_eq!(Sessions::import(&bytes), Err(BadSessions::Malformed));
    bytes[0] = 2;
    assert_eq!(Sessions::import(&bytes), Err(BadSessions::Version(2)));
}

#[test]
fn all_sessions_together_keep_no_more_than_a_manifest_may_have() {
    let mut table = Sessions::default();
    let answer = vec![b'a'; ANSWER_BYTES_MAX];
    let each = SESSION_BYTES_MAX / ANSWER_BYTES_MAX;
    let sessions = ALL_BYTES_MAX / SESSION_BYTES_MAX + 2;
    for session in 0..sessions {
        for serial in 1..=each as u64 {
            let once = once(session as u128, serial);
            assert_eq!(table.admit(&once, 1 + session as u64), Verdict::Execute);
            table.executed(&once, &answer);
        }
    }
    let known = |table: &mut Sessions, session| table.admit(&once(session, 1), 100) == Verdict::Known(Some(&answer));
    let mut bytes = Vec::new();
    table.export(&mut bytes);
    assert!(bytes.len() < ALL_BYTES_MAX + ALL_BYTES_MAX / 8);
    for mut table in [Sessions::import(&bytes).unwrap(), table] {
        assert!(
            !known(&mut table, 0) && !known(&mut table, 1),
            "who wrote least recently"
        );
        assert_eq!(
            table.admit(&once(0, 1), 100),
            Verdict::Known(None),
            "it was executed all the same"
        );
        assert!((2..sessions as u128).all(|session| known(&mut table, session)));
    }
}
