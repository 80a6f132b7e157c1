//! What tasks of a simulated world may rely on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::clock::Tick;

const MS: Duration = Duration::from_millis(1);

/// Ten tasks that sleep and yield at random; returns the order in which they acted and the world's digest.
fn run(seed: u64) -> (Vec<u32>, u64) {
    let sim = Sim::new(seed);
    let order = Rc::new(RefCell::new(Vec::new()));
    for task in 0..10 {
        let order = Rc::clone(&order);
        sim.spawn_on(NodeId(task), async move {
            let mut rng = rng(&format!("task {task}"));
            for _ in 0..20 {
                order.borrow_mut().push(task);
                match rng.below(2) {
                    0 => yield_now().await,
                    _ => sleep(Duration::from_micros(rng.below(5))).await,
                }
            }
        });
    }
    assert_eq!(sim.run_for(Duration::from_secs(1)), RunEnd::Stalled);
    (order.take(), sim.trace_digest())
}

#[test]
fn one_seed_is_one_run() {
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn time_jumps_when_nobody_can_run() {
    let sim = Sim::new(0);
    let woke = sim.block_on(Duration::from_secs(3600), async {
        sleep(Duration::from_secs(1000)).await;
        now()
    });
    assert!(woke.unwrap().since(Tick::ZERO) < Duration::from_secs(1001));
}

#[test]
fn a_task_that_only_yields_does_not_stop_time() {
    let sim = Sim::new(0);
    let spinner = sim.spawn_on(NodeId(0), async {
        loop {
            yield_now().await;
        }
    });
    assert_eq!(sim.run_for(MS), RunEnd::Deadline);
    spinner.abort();
    assert_eq!(sim.task_count(), 0);
}

#[test]
fn timeouts_end_late_work_and_leave_timely_work() {
    let sim = Sim::new(0);
    let (late, timely) = sim
        .block_on(Duration::from_secs(1), async {
            (
                timeout(MS, sleep(2 * MS)).await,
                timeout(2 * MS, async { sleep(MS).await }).await,
            )
        })
        .unwrap();
    assert_eq!((late, timely), (Err(Elapsed), Ok(())));
}

#[test]
fn a_killed_node_drops_its_tasks_and_no_others() {
    struct Dropped(Rc<Cell<bool>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            // Destructors may use the executor.
            spawn_on(NodeId::WORLD, async {});
            self.0.set(true);
        }
    }
    let sim = Sim::new(0);
    let dropped = Rc::new(Cell::new(false));
    let held = Dropped(Rc::clone(&dropped));
    let victim = sim.spawn_on(NodeId(1), async move {
        let child = spawn(std::future::pending::<()>());
        child.await.ok();
        drop(held);
    });
    let survivor = sim.spawn_on(NodeId(2), sleep_long());
    sim.run_for(MS);
    sim.kill(NodeId(1));
    assert!(dropped.get() && victim.is_finished());
    assert_eq!(sim.block_on(Duration::from_secs(2), victim), Some(Err(Aborted)));
    assert_eq!(sim.block_on(Duration::from_secs(2), survivor), Some(Ok(7)));
}

async fn sleep_long() -> u32 {
    sleep(Duration::from_secs(1)).await;
    7
}

#[test]
fn a_task_may_kill_its_own_node() {
    let sim = Sim::new(0);
    let after = Rc::new(Cell::new(false));
    let seen = Rc::clone(&after);
    sim.spawn_on(NodeId(1), async move {
        kill(node());
        yield_now().await;
        seen.set(true);
    });
    assert_eq!(sim.run_for(MS), RunEnd::Stalled);
    assert!(!after.get());
}

#[test]
fn a_frozen_node_stands_still_until_thawed() {
    let sim = Sim::new(0);
    let task = sim.spawn_on(NodeId(1), async {
        sleep(MS).await;
        now()
    });
    sim.freeze(NodeId(1));
    // Something must go on elsewhere, or the world has nothing to wait for.
    let elsewhere = sim.spawn_on(NodeId(2), async { sleep(100 * MS).await });
    sim.run_for(200 * MS);
    assert!(elsewhere.is_finished() && !task.is_finished());
    let thawed_at = sim.now();
    sim.thaw(NodeId(1));
    assert!(sim.block_on(10 * MS, task).unwrap().unwrap() >= thawed_at);
}
