//! What memory the process uses and may use.

use std::{fs, io};

/// Bytes of the process held in RAM now (resident set). Costs a system call and a small read: for reports, not for turns.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn resident_bytes() -> io::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|field| field.parse::<u64>().ok());
    pages
        .map(|pages| pages * page_bytes())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/statm has no resident field"))
}

/// The system's page size.
pub fn page_bytes() -> u64 {
    // SAFETY: the call takes no pointers.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).expect("every Linux reports its page size")
}

/// Bytes of RAM the machine has, or the limit of the control group the process is in where that is lower.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn machine_bytes() -> io::Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let total_kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo has no MemTotal"))?;
    let group_limit = fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    Ok((total_kib * 1024).min(group_limit.unwrap_or(u64::MAX)))
}

/// Bytes the process may lock in RAM; `None` is no limit. The soft limit is first raised to the hard one.
///
/// # Errors
/// As `getrlimit(2)`.
pub fn memlock_limit() -> io::Result<Option<u64>> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid and exclusively borrowed for the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit {
            rlim_cur: limit.rlim_max,
            ..limit
        };
        // SAFETY: `raised` is valid for the call. A refusal leaves the soft limit, which is what is then reported.
        if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raised) } == 0 {
            limit = raised;
        }
    }
    Ok((limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_lies_between_a_megabyte_and_the_machine() {
        let resident = resident_bytes().unwrap();
        assert!(resident > 1 << 20, "{resident}");
        assert!(resident < machine_bytes().unwrap(), "{resident}");
    }
}
