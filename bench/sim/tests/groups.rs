//! Fixed seeds of the episodes through Raft, and the bugs they must catch.

use std::time::Duration;

use slotcore_engine::log::LogOptions;
use slotcore_rt::ids::{CoreId, ReplicaId};
use slotcore_sim::cluster_episode;
use slotcore_sim::core_disk::Plant;
use slotcore_sim::group_episode::{self, Report};
use slotcore_sim::world::{End, World};

/// Episodes of the plain runs; `slotcore-sim run` does many more.
const EPISODE_COUNT: u64 = 20;
/// Episodes within which a planted bug must be caught.
const CATCH_WITHIN: u64 = 40;

type Run = fn(u64, Plant) -> Result<Report, String>;

fn sum(run: Run) -> Report {
    let mut total = Report::default();
    for seed in 0..EPISODE_COUNT {
        total += run(seed, Plant::None)
            .unwrap_or_else(|what| panic!("{what}\nreproduce: slotcore-sim run --seed {seed} --cuts 1"));
    }
    total
}

fn caught(run: Run, plant: Plant) -> String {
    let failure = (0..CATCH_WITHIN).find_map(|seed| run(seed, plant).err());
    failure.unwrap_or_else(|| panic!("{plant:?} went unnoticed for {CATCH_WITHIN} episodes"))
}

#[test]
fn a_single_voter_keeps_what_its_mode_promises() {
    let total = sum(group_episode::alone);
    assert!(
        total.cuts > 100 && total.kills > 10 && total.device_failures > 0,
        "{total:?}"
    );
    assert!(total.executed > 500 && total.refused > 0, "{total:?}");
}

#[test]
fn three_replicas_lose_nothing_and_never_read_the_past() {
    let total = sum(group_episode::three);
    assert!(total.cuts > 50 && total.kills > 10 && total.terms > 40, "{total:?}");
    assert!(total.executed > 500, "{total:?}");
}

/// A life of a cluster, in virtual time; `slotcore-sim cluster` does a thousand longer ones.
const LIFE: Duration = Duration::from_secs(60);

#[test]
fn clusters_live_on_whatever_happens_to_them() {
    let mut total = cluster_episode::Report::default();
    for seed in 0..6 {
        total += cluster_episode::live(seed, LIFE, Plant::None).unwrap_or_else(|what| {
            let seconds = LIFE.as_secs();
            panic!("{what}\nreproduce: slotcore-sim cluster --seed {seed} --seeds 1 --seconds-each {seconds}")
        });
    }
    assert!(total.crashes > 20 && total.cuts > 20 && total.freezes > 5, "{total:?}");
    assert!(
        total.member_steps > 20 && total.terms > 12 && total.executed > 200,
        "{total:?}"
    );
}

#[test]
fn entries_that_count_too_early_are_caught_in_the_life_of_a_cluster() {
    let life = |seed| cluster_episode::live(seed, LIFE, Plant::CountBeforeDurable).err();
    let what = (0..CATCH_WITHIN)
        .find_map(life)
        .expect("the planted bug goes unnoticed");
    assert!(what.contains("committed") || what.contains("another batch"), "{what}");
}

#[test]
fn a_read_that_an_older_answer_confirms_is_caught_in_the_life_of_a_cluster() {
    let life = |seed| cluster_episode::live(seed, LIFE, Plant::AnyAnswerConfirms).err();
    let what = (0..CATCH_WITHIN)
        .find_map(life)
        .expect("the planted bug goes unnoticed");
    assert!(what.contains("by ReadIndex"), "{what}");
}

#[test]
fn one_seed_is_one_episode() {
    for run in [group_episode::alone as Run, group_episode::three] {
        assert_eq!(run(3, Plant::None), run(3, Plant::None));
    }
    let life = || cluster_episode::live(3, LIFE / 6, Plant::None);
    assert_eq!(life(), life());
}

#[test]
fn an_entry_that_counts_before_it_is_durable_is_caught() {
    let what = caught(group_episode::alone, Plant::CountBeforeDurable);
    assert!(what.contains("were promised"), "{what}");
    // All three lose power before their disks have what two of them called theirs.
    caught(group_episode::three, Plant::CountBeforeDurable);
}

#[test]
fn an_interval_without_a_flush_is_caught() {
    // In `always`, where nothing executes then, the patience ends that a healthy replica is given: not what is meant.
    let lost = |seed| {
        group_episode::alone(seed, Plant::FlushNever)
            .err()
            .filter(|what| what.contains("Every"))
    };
    let what = (0..CATCH_WITHIN)
        .find_map(lost)
        .expect("what everysec loses goes unnoticed");
    assert!(what.contains("were promised"), "{what}");
}

/// The leader hands over, gives its vote for that and forgets it in a power cut. The third replica, which has heard of
/// nothing, asks for a vote in the same term.
fn forgotten_vote(seed: u64, plant: Plant) -> Result<(), String> {
    let mut world = World::new(seed, 3, LogOptions::new(CoreId(0)).with_segment_bytes(1 << 20), plant);
    for id in world.ids() {
        world.start(id)?;
    }
    let second = Duration::from_secs(1);
    world.run_until(5 * second, |world| world.reader().is_some());
    let old = world.reader().ok_or("nobody leads")?;
    world.run_for(second / 10);
    let [heir, deaf] = world.ids().filter(|id| *id != old).collect::<Vec<_>>()[..] else {
        unreachable!("three replicas")
    };
    world
        .net
        .partition(&[World::address(deaf)], &[World::address(old), World::address(heir)]);
    let healthy = world.disk(old).borrow_mut().faults().clone();
    {
        let mut disk = world.disk(old).borrow_mut();
        (disk.faults().delay_min, disk.faults().delay_max) = (second / 20, second / 15);
    }
    world
        .ask(old, |group| group.transfer_leader(ReplicaId(heir)))
        .ok_or("the leader is down")?
        .map_err(|error| format!("{error:?}"))?;
    world.run_until(second, |world| world.leader() == Some(heir));
    world.end(old, End::PowerLost);
    *world.disk(old).borrow_mut().faults() = healthy;
    world.net.heal();
    world
        .net
        .partition(&[World::address(heir)], &[World::address(old), World::address(deaf)]);
    world.start(old)?;
    world.run_for(3 * second);
    world.witness.borrow().verdict()
}

#[test]
fn a_vote_that_counts_before_it_is_durable_is_caught() {
    for seed in 0..8 {
        forgotten_vote(seed, Plant::None).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
    let what = (0..8).find_map(|seed| forgotten_vote(seed, Plant::PromiseBeforeDurable).err());
    let what = what.expect("a forgotten vote goes unnoticed");
    assert!(what.contains("both lead in term"), "{what}");
}
