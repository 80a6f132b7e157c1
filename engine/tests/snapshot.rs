//! A snapshot holds all that later commands depend on, and damage to it is always told.

mod cmd_support;

use cmd_support::families::FAMILIES;
use cmd_support::machine::{Machine, pack};
use cmd_support::random::{Random, random_command, random_of_family};
use cmd_support::script;
use slotcore_engine::cmd::{Args, Exec, NoReply, Run, resolve};
use slotcore_engine::snapshot::{Export, Import, SnapshotError, export, import};

/// A command over few keys, so that they meet each other; now and then one whose outcome depends on positions.
fn line(r: &mut Random) -> String {
    match r.below(10) {
        0 => format!("spop k{} {}", r.below(6), r.below(4)),
        1 => format!("sadd k{} m{} m{} {}", r.below(6), r.below(90), r.below(90), r.below(90)),
        2 => format!("pexpire k{} {}", r.below(6), r.below(20_000)),
        3 => format!("set long{} {}", r.below(4), "v".repeat(r.below(3000))),
        4..=7 => {
            let family = r.below(FAMILIES.len());
            random_of_family(r, &FAMILIES[family])
        }
        _ => random_command(r),
    }
}

fn machine_after(r: &mut Random, steps: usize) -> Machine {
    let mut machine = Machine::new();
    for _ in 0..steps {
        machine.set_time(machine.ks.now_ms() + r.below(200) as u64);
        machine.apply(&script::words(&line(r)));
    }
    machine
}

/// A replica made of `machine`'s snapshot.
fn replica_of(machine: &Machine) -> Machine {
    let imported = import(&export(&machine.ks, b"beside")).expect("what was written is read");
    assert_eq!(imported.server, b"beside");
    Machine {
        ks: imported.keyspace,
        proto: machine.proto,
        executed: machine.executed,
    }
}

#[test]
fn a_replica_made_of_a_snapshot_answers_as_the_one_it_was_taken_of() {
    for seed in 0..8 {
        let mut r = Random::new(seed);
        let mut leader = machine_after(&mut r, 2000);
        for round in 0..3 {
            let mut replica = replica_of(&leader);
            assert_eq!(replica.ks.digest(), leader.ks.digest(), "seed {seed}, round {round}");
            assert_eq!(replica.ks.now_ms(), leader.ks.now_ms());
            for _ in 0..600 {
                let now = leader.ks.now_ms() + r.below(200) as u64;
                leader.set_time(now);
                replica.set_time(now);
                let line = line(&mut r);
                let words = script::words(&line);
                let reply = leader.execute(&words);
                assert_eq!(replica.execute(&words), reply, "seed {seed}, round {round}: {line}");
            }
            assert_eq!(replica.ks.digest(), leader.ks.digest(), "seed {seed}, round {round}");
            leader = replica;
        }
    }
}

/// Written and read in slices of any length, it is the same state.
#[test]
fn slices_make_the_same_state() {
    let mut r = Random::new(11);
    let machine = machine_after(&mut r, 1500);
    for bytes in [1, 300, 5_000] {
        let (mut export, mut written, mut slices) = (Export::begin(b"beside"), Vec::new(), 0_u64);
        while export.next(&machine.ks, bytes, &mut written) {
            slices += 1;
        }
        let mut import = Import::default();
        let imported = loop {
            slices += 1;
            if let Some(imported) = import.next(&written, bytes).unwrap() {
                break imported;
            }
        };
        assert_eq!(imported.keyspace.digest(), machine.ks.digest(), "slices of {bytes}");
        assert_eq!(imported.server, b"beside");
        assert!(
            slices > 2 * machine.ks.len() / (1 + bytes as u64),
            "{slices} slices of {bytes}"
        );
    }
}

#[test]
fn expired_keys_are_left_out_and_others_expire_as_before() {
    let mut leader = Machine::new();
    let now = leader.ks.now_ms();
    leader.text("set gone 1 px 10");
    leader.text("set soon 1 px 1000");
    leader.text("hset h f v");
    leader.text("hpexpire h 1000 fields 1 f");
    leader.set_time(now + 10);
    let mut replica = replica_of(&leader);
    assert_eq!(replica.ks.len(), 2);
    assert_eq!(replica.text("pttl soon"), leader.text("pttl soon"));
    replica.set_time(now + 1000);
    assert!(!replica.ks.exists(b"soon") && !replica.ks.exists(b"h"));
}

#[test]
fn commands_that_wait_go_on_waiting() {
    let mut leader = Machine::new();
    leader.ks.waiters_mut().begin_entry(7, 1);
    let (buf, spans) = pack(&script::words("blpop list 0"));
    let args = Args::new(&buf, &spans);
    let Run::Data(blpop) = resolve(&args).expect("a command").run else {
        panic!("BLPOP works on keys");
    };
    blpop(&mut Exec::logged(&mut leader.ks, args, 1, 0), &mut NoReply);
    assert_eq!(leader.ks.waiters().len(), 1);
    assert_eq!(replica_of(&leader).ks.waiters().len(), 1);
}

#[test]
fn functions_come_along() {
    let mut leader = Machine::new();
    let library =
        "#!lua name=lib\nredis.register_function('add', function(keys) return redis.call('incr', keys[1]) end)";
    let load = [b"function".to_vec(), b"load".to_vec(), library.into()];
    leader.execute(&load);
    let mut replica = replica_of(&leader);
    assert_eq!(replica.ks.digest(), leader.ks.digest());
    assert_eq!(replica.text("fcall add 1 n"), leader.text("fcall add 1 n"));
}

/// Each flipped bit and each cut is noticed.
#[test]
fn damage_is_told() {
    let mut r = Random::new(5);
    let bytes = export(&machine_after(&mut r, 400).ks, b"beside");
    for _ in 0..3000 {
        let mut damaged = bytes.clone();
        let at = r.below(bytes.len());
        match r.below(3) {
            0 => damaged.truncate(at),
            1 => damaged[at] ^= 1 << r.below(8),
            _ => damaged.insert(at, r.below(256) as u8),
        }
        if damaged != bytes {
            assert!(import(&damaged).is_err(), "damaged at {at}");
        }
    }
}

#[test]
fn another_version_and_no_snapshot_are_told_apart() {
    let bytes = export(&Machine::new().ks, b"");
    let mut other = bytes.clone();
    other[4] = 9;
    assert_eq!(import(&other).err(), Some(SnapshotError::Version(9)));
    assert_eq!(import(b"SLSH\x01").err(), Some(SnapshotError::Magic));
    assert_eq!(import(b"").err(), Some(SnapshotError::Magic));
    assert_eq!(import(&bytes[..5]).err(), Some(SnapshotError::Truncated { offset: 5 }));
    assert!(import(&bytes).is_ok());
}

/// Sections are cut between keys: many of them come back as one state.
#[test]
fn a_state_of_many_sections_comes_back_whole() {
    let mut leader = Machine::new();
    for n in 0..4000 {
        leader.text(&format!("set key{n} {}", "x".repeat(1000)));
    }
    let replica = replica_of(&leader);
    assert_eq!((replica.ks.len(), replica.ks.digest()), (4000, leader.ks.digest()));
}
