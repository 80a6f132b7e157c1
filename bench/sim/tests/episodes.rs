//! Fixed seeds of the simulation, and the bugs it must catch.

use slotcore_sim::episode::{self, Report};
use slotcore_sim::machine::Plant;

/// Episodes of the plain run; `slotcore-sim run` does many more.
const EPISODE_COUNT: u64 = 30;
/// Episodes within which a planted bug must be caught.
const CATCH_WITHIN: u64 = 30;

fn reproduce(seed: u64, what: String) -> ! {
    panic!("{what}\nreproduce: slotcore-sim run --seed {seed} --cuts 1")
}

#[test]
fn no_acknowledged_write_is_lost_and_no_answer_is_wrong() {
    let mut total = Report::default();
    for seed in 0..EPISODE_COUNT {
        total += episode::run(seed, Plant::None).unwrap_or_else(|what| reproduce(seed, what));
    }
    // The rare paths were really taken.
    assert!(
        total.cuts > 100 && total.kills > 10 && total.device_failures > 0,
        "{total:?}"
    );
    assert!(
        total.answered > 1_000 && total.refused > 0 && total.flips_detected > 0,
        "{total:?}"
    );
}

/// Numbers of frames that recovery had dropped were taken for durable ones; a segment that the last one named, still
/// empty, was recycled before the log had gone on elsewhere.
#[test]
fn a_second_cut_right_after_recovery_is_no_corruption() {
    for seed in [10_007, 20_064] {
        episode::run(seed, Plant::None).unwrap_or_else(|what| reproduce(seed, what));
    }
}

#[test]
fn one_seed_is_one_episode() {
    for seed in 0..3 {
        assert_eq!(episode::run(seed, Plant::None), episode::run(seed, Plant::None));
    }
}

/// The first failure with `plant`.
fn caught(plant: Plant) -> String {
    let failure = (0..CATCH_WITHIN).find_map(|seed| episode::run(seed, plant).err());
    failure.unwrap_or_else(|| panic!("{plant:?} went unnoticed for {CATCH_WITHIN} episodes"))
}

#[test]
fn ack_before_durable_prefix_is_caught() {
    let what = caught(Plant::AckBeforeDurablePrefix);
    assert!(what.contains("were promised"), "{what}");
}

#[test]
fn rewritten_tail_block_is_caught() {
    let what = caught(Plant::RewrittenTailBlock);
    assert!(
        what.contains("were promised") || what.contains("recovery refused"),
        "{what}"
    );
}

#[test]
fn local_clock_expiry_is_caught() {
    let what = caught(Plant::LocalClockExpiry);
    assert!(what.contains("expected") || what.contains("digest"), "{what}");
}
