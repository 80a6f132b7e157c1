//! The clock's floor for latencies: how late a thread that sleeps is woken while the server's processor is busy.
//!
//! A load at a fixed rate sleeps between its requests, and counts from the moment a request was due. What it is woken late is
//! in every one of its latencies; on a machine that shares its processors it can be all of them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::ring::Ring;
use slotcore_rt::thread;

use crate::peer::{CLIENT_CPU, SERVER_CPU, if_there};

/// How long each sleep is.
const SLEEP: Duration = Duration::from_micros(100);

/// How much later than it was due a wake-up came.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Lateness {
    /// Half were less late, in microseconds.
    pub p50_us: f64,
    /// 99 % were.
    pub p99_us: f64,
    /// 99.9 % were.
    pub p999_us: f64,
}

/// Of sleeps one after the other for `time`, in the client's ring.
///
/// # Errors
/// No io_uring.
pub fn lateness(time: Duration) -> io::Result<Lateness> {
    let ended = Arc::new(AtomicBool::new(false));
    let until = ended.clone();
    let busy = thread::spawn("wake-busy", if_there(SERVER_CPU), move || {
        while !until.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    })?;
    let sleeper = thread::spawn("wake-sleeper", if_there(CLIENT_CPU), move || sleep_for(time))?;
    let late = sleeper.join().expect("the sleeper does not panic");
    ended.store(true, Ordering::Relaxed);
    busy.join().expect("the other thread does not panic");
    late
}

fn sleep_for(time: Duration) -> io::Result<Lateness> {
    let mut ring = Ring::new(8)?;
    let mut late_ns = Histogram::<u64>::new(3).expect("three digits are allowed");
    let end = SystemClock.tick() + time;
    loop {
        let due = SystemClock.tick() + SLEEP;
        ring.submit_and_wait(1, SLEEP)?;
        let woken = SystemClock.tick();
        late_ns.saturating_record(woken.since(due).as_nanos() as u64);
        if woken >= end {
            break;
        }
    }
    let at = |quantile| late_ns.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Lateness {
        p50_us: at(0.5),
        p99_us: at(0.99),
        p999_us: at(0.999),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_woken_early_on_average() {
        let late = lateness(Duration::from_millis(20)).unwrap();
        assert!(
            0.0 < late.p50_us && late.p50_us <= late.p99_us && late.p99_us <= late.p999_us,
            "{late:?}"
        );
    }
}
