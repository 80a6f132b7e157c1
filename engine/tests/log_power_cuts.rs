//! Power cuts: what was reported durable is there afterwards, what was refused or truncated is not, and recovering twice
//! gives the same.

mod log_model;

use log_model::{Bug, Sim, small_options};

/// Runs `cuts` power cuts from one seed; returns what was violated.
fn run(seed: u64, cuts: u64, bug: Bug) -> Result<(), String> {
    let mut sim = Sim::new(seed, small_options(), bug);
    while sim.cuts < cuts {
        sim.act();
        if sim.rng.one_in(60) {
            sim.check_running()
                .map_err(|e| format!("seed {seed} cut {}: {e}", sim.cuts))?;
        }
        if sim.rng.one_in(80) {
            sim.crash().map_err(|e| format!("seed {seed} cut {}: {e}", sim.cuts))?;
            // Sometimes again at once: what the first recovery found need not have been durable.
            if sim.rng.one_in(4) {
                sim.crash()
                    .map_err(|e| format!("seed {seed} second cut {}: {e}", sim.cuts))?;
            }
        }
    }
    Ok(())
}

#[test]
fn no_durable_record_is_lost_in_a_thousand_power_cuts() {
    for seed in 0..40 {
        if let Err(violation) = run(seed, 60, Bug::None) {
            panic!("{violation}");
        }
    }
}

#[test]
fn power_may_fail_at_every_event() {
    // The same run again and again, each time cut one event later.
    for seed in [7, 8] {
        let mut at = 0;
        loop {
            let mut sim = Sim::new(seed, small_options(), Bug::None);
            while sim.events < at && sim.events < 250 {
                sim.act();
            }
            if at >= 250 {
                break;
            }
            if let Err(violation) = sim.crash() {
                panic!("seed {seed} event {at}: {violation}");
            }
            at += 1;
        }
    }
}

fn is_caught(bug: Bug) -> bool {
    (0..20).any(|seed| run(seed, 40, bug).is_err())
}

#[test]
fn ack_before_durable_prefix_is_caught() {
    assert!(
        is_caught(Bug::AckAnyCompletion),
        "acknowledging past a hole went unnoticed"
    );
}

#[test]
fn rewritten_tail_block_is_caught() {
    assert!(is_caught(Bug::RewriteTail), "rewriting a durable block went unnoticed");
}
