//! Processor time of this thread, and of children that have ended.

use std::time::Duration;

/// Of the calling thread so far.
pub fn of_thread() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid and exclusively borrowed for the call.
    let rc = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(rc, 0, "every thread has a clock of its processor time");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Of children that have ended and were waited for.
pub fn of_children() -> Duration {
    // SAFETY: all zeroes is a value of this plain struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is valid and exclusively borrowed for the call.
    let rc = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    assert_eq!(rc, 0, "every process may ask for its own use");
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}
