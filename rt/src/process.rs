//! What this process is and has used up: its kernel's release, open files, memory, processor time. Read when asked.

use std::fs;
use std::mem::MaybeUninit;

/// The kernel's release as `uname -r` prints it, `"Linux "` not included.
pub fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|text| text.trim().to_string())
        .unwrap_or_default()
}

/// Gives this process the lowest priority, of the processor and of the device: for work that must not disturb a server.
/// Where the system does not let it, the work goes on all the same.
pub fn be_modest() {
    /// The class of those who get the device when nobody else wants it (`linux/ioprio.h`).
    const IOPRIO_IDLE: libc::c_int = 3 << 13;
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const NICEST: libc::c_int = 19;
    // SAFETY: both calls take integers alone.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICEST);
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
    }
}

/// Path of the running program; empty when the kernel does not say.
pub fn executable() -> String {
    fs::read_link("/proc/self/exe")
        .map(|path| path.display().to_string())
        .unwrap_or_default()
}

/// Files and sockets this process may hold open (`ulimit -n`); `u64::MAX` = no limit.
pub fn open_files_max() -> u64 {
    open_files_limit().rlim_cur
}

/// Raises the limit on open files to what the system allows, at most `wanted`. Returns the limit now in force.
pub fn raise_open_files(wanted: u64) -> u64 {
    let mut limit = open_files_limit();
    if limit.rlim_cur < wanted {
        limit.rlim_cur = wanted.min(limit.rlim_max);
        // SAFETY: `limit` is a valid rlimit for the duration of the call. A refusal leaves the old limit in force,
        // which is read below.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    }
    open_files_max()
}

fn open_files_limit() -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid, exclusively borrowed rlimit for the duration of the call.
    let rc = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(rc, 0, "getrlimit of a known resource cannot fail");
    limit
}

/// What this process has used up so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUse {
    /// Bytes of memory resident now.
    pub rss_bytes: u64,
    /// Most bytes that were ever resident.
    pub rss_bytes_peak: u64,
    /// Microseconds of processor time in the program itself.
    pub cpu_user_us: u64,
    /// Microseconds of processor time in the kernel on its behalf.
    pub cpu_system_us: u64,
}

/// What this process has used up so far; zeros where the kernel does not say.
pub fn process_use() -> ProcessUse {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` points to writable memory of the right size; the kernel fills it.
    let rc = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    assert_eq!(rc, 0, "getrusage of this process cannot fail");
    // SAFETY: all zeros is a valid rusage, and the call above has filled it.
    let usage = unsafe { usage.assume_init() };
    ProcessUse {
        rss_bytes: field_kib(&status, "VmRSS:").unwrap_or(0) * 1024,
        rss_bytes_peak: field_kib(&status, "VmHWM:").unwrap_or(0) * 1024,
        cpu_user_us: microseconds(usage.ru_utime),
        cpu_system_us: microseconds(usage.ru_stime),
    }
}

fn microseconds(time: libc::timeval) -> u64 {
    // Processor time is never negative.
    time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64
}

fn field_kib(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_has_limits() {
        let used = process_use();
        assert!(used.rss_bytes > 0 && used.rss_bytes_peak >= used.rss_bytes);
        assert!(open_files_max() > 0 && !kernel_release().is_empty() && !executable().is_empty());
        assert!(raise_open_files(1) >= 1);
    }
}
