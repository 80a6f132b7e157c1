//! What reads say of remaining time, while nothing is written and the group's clock stands still.

mod cmd_support;

use cmd_support::machine::Machine;
use cmd_support::script::words;
use slotcore_engine::cmd::{NoReply, debug_object};

#[test]
fn remaining_time_goes_by_the_wall_clock() {
    const NOW: u64 = 1_700_000_000_000;
    let mut machine = Machine::new();
    machine.set_time(NOW);
    machine.execute(&words("set k v px 10000"));
    machine.execute(&words("hset h f v"));
    machine.execute(&words("hpexpire h 10000 FIELDS 1 f"));
    machine.ks.set_time(NOW, NOW + 3000);
    for (line, reply) in [
        ("pttl k", "7000"),
        ("ttl k", "7"),
        ("expiretime k", "1700000010"),
        ("hpttl h FIELDS 1 f", "[7000]"),
        ("httl h FIELDS 1 f", "[7]"),
    ] {
        assert_eq!(machine.execute(&words(line)).to_string(), reply, "{line}");
    }
    assert!(!machine.ks.take_needs_tick());
    machine.ks.set_time(NOW, NOW + 11_000);
    assert_eq!(machine.execute(&words("pttl k")).to_string(), "0");
    assert!(machine.ks.take_needs_tick(), "the answer is thrown away");
}

/// It runs beside the log, so nobody looks whether its answer should be thrown away: the next command's would be.
#[test]
fn debug_object_leaves_nothing_behind_for_the_next_command() {
    const NOW: u64 = 1_700_000_000_000;
    let mut machine = Machine::new();
    machine.set_time(NOW);
    machine.execute(&words("set k v px 10"));
    machine.ks.set_time(NOW, NOW + 11);
    debug_object(&mut machine.ks, b"k", &mut NoReply);
    assert!(!machine.ks.take_needs_tick());
}
