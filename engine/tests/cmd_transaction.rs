//! A transaction is one operation: carried out later it does what its operations do one by one, and again at every replay.

mod cmd_support;

use cmd_support::machine::pack;
use cmd_support::random::{Random, random_command};
use cmd_support::script::words;
use slotcore_engine::cmd::op::{decode_op, encode_op, op_seed};
use slotcore_engine::cmd::transaction::{carrier, for_each_operation, replay};
use slotcore_engine::cmd::{Args, Exec, Flags, NoReply, Run, by_id, lookup, resolve};
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};

const TIME_MS: u64 = 1_700_000_000_000;

fn keyspace() -> Keyspace {
    let mut ks = Keyspace::new(KeyspaceOptions::default());
    ks.set_time(TIME_MS, TIME_MS);
    ks
}

/// Commands as operations, and the transaction that holds them as the log has it.
fn transaction(commands: &[Vec<Vec<u8>>]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let operations: Vec<Vec<u8>> = commands
        .iter()
        .filter_map(|words| {
            let (buf, spans) = pack(words);
            let args = Args::new(&buf, &spans);
            let spec = resolve(&args).ok()?;
            let mut operation = Vec::new();
            encode_op(&mut operation, spec.id, &args);
            Some(operation)
        })
        .collect();
    let (mut words, mut whole) = (vec![Vec::new()], Vec::new());
    words.extend(operations.iter().cloned());
    let (buf, spans) = pack(&words);
    encode_op(&mut whole, carrier(true, true).id, &Args::new(&buf, &spans));
    (operations, whole)
}

fn one_by_one(ks: &mut Keyspace, operations: &[Vec<u8>], seed: u64) {
    let mut spans = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        let (id, _) = decode_op(operation, &mut spans).unwrap();
        let Run::Data(f) = by_id(id).unwrap().run else {
            panic!("{id:?}")
        };
        let args = Args::new(operation, &spans);
        f(&mut Exec::nested(ks, args, op_seed(seed, number as u64)), &mut NoReply);
    }
}

#[test]
fn a_transaction_does_what_its_operations_do_and_does_it_again() {
    let mut r = Random::new(9);
    let (mut whole, mut again, mut apart) = (keyspace(), keyspace(), keyspace());
    for step in 0..2000 {
        let count = r.below(12);
        let commands: Vec<_> = (0..count).map(|_| words(&random_command(&mut r))).collect();
        let (operations, encoded) = transaction(&commands);
        let mut spans = Vec::new();
        let (id, used) = decode_op(&encoded, &mut spans).unwrap();
        assert!(by_id(id).unwrap().run.is_carrier() && used == encoded.len());
        let args = Args::new(&encoded, &spans);
        replay(&mut whole, &args, step, &mut NoReply);
        replay(&mut again, &args, step, &mut NoReply);
        one_by_one(&mut apart, &operations, step);
        if step % 100 == 0 {
            assert_eq!(whole.digest(), apart.digest(), "step {step}");
            assert_eq!(whole.digest(), again.digest(), "step {step}");
        }
    }
    assert!(!whole.is_empty());
    assert_eq!((whole.digest(), again.digest()), (apart.digest(), apart.digest()));
}

#[test]
fn operations_come_in_order_each_with_a_seed_of_its_own() {
    let (_, encoded) = transaction(&[words("set k v"), words("spop s"), words("spop s")]);
    let mut spans = Vec::new();
    decode_op(&encoded, &mut spans).unwrap();
    let mut seen = Vec::new();
    for_each_operation(&Args::new(&encoded, &spans), 7, |spec, args, seed| {
        seen.push((spec.name, args.get(1).to_vec(), seed));
    });
    assert_eq!(
        seen.iter().map(|(name, key, _)| (*name, &key[..])).collect::<Vec<_>>(),
        [("set", &b"k"[..]), ("spop", b"s"), ("spop", b"s")]
    );
    assert!(seen[1].2 != seen[2].2 && seen[1].2 == op_seed(7, 1));
}

#[test]
fn carriers_are_known_by_number_alone_and_say_what_they_may_do() {
    let flags = |writes, grows| carrier(writes, grows).flags;
    assert_eq!(flags(false, false), Flags::READONLY);
    assert_eq!(flags(true, false), Flags::WRITE);
    assert_eq!(flags(true, true), Flags::WRITE.and(Flags::DENYOOM));
    assert_eq!(carrier(false, false).id, carrier(false, true).id);
    let numbers = [(false, false), (true, false), (true, true)].map(|(w, g)| carrier(w, g).id.0);
    assert_eq!(numbers, [965, 966, 967], "they are on disk");
    assert!(!lookup(b"exec").unwrap().run.is_carrier());
}

#[test]
#[should_panic(expected = "an operation of a transaction cannot be read")]
fn a_damaged_operation_is_not_skipped() {
    let args = Args::new(&[1, 0, 5], &[(0, 0), (0, 3)]);
    replay(&mut keyspace(), &args, 1, &mut NoReply);
}
