//! Named threads, bound to a processor where asked.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Longest thread name the kernel keeps, in bytes (`TASK_COMM_LEN` less the final zero).
pub const NAME_BYTES_MAX: usize = 15;

/// A processor's number as the kernel counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(pub u16);

/// Starts a thread called `name` (cut to [`NAME_BYTES_MAX`] bytes), running on `cpu` only when one is given.
///
/// # Errors
/// The system's refusal to start a thread. `EINVAL` when `cpu` is not among [`allowed_cpus`]; `body` then never runs.
pub fn spawn<T: Send + 'static>(
    name: &str,
    cpu: Option<CpuId>,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    if let Some(cpu) = cpu
        && !allowed_cpus()?.contains(&cpu)
    {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    Builder::new().name(name[..end].to_owned()).spawn(move || {
        if let Some(cpu) = cpu {
            // A processor taken away since the check costs speed, not correctness.
            let _ = pin_current(cpu);
        }
        body()
    })
}

/// Starts a thread on any processor that the process may use, wherever the caller is bound to; nobody waits for it.
///
/// # Errors
/// The system's refusal to start a thread; `body` then never runs.
pub fn spawn_beside(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    spawn(name, None, move || {
        // Staying where the caller is costs the caller speed, not correctness.
        let _ = unpin_current();
        body();
    })
    .map(drop)
}

/// Lets the calling thread run wherever the process's first thread may.
fn unpin_current() -> io::Result<()> {
    let first = libc::pid_t::try_from(std::process::id()).map_err(io::Error::other)?;
    // SAFETY: `cpu_set_t` is plain data for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: both calls are given a set that lives on this stack, and its size.
    let rc = unsafe {
        match libc::sched_getaffinity(first, size_of::<libc::cpu_set_t>(), &raw mut set) {
            0 => libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set),
            failed => failed,
        }
    };
    match rc {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Holds the calling thread for `time`. For `DEBUG SLEEP`, which is meant to hold everything.
pub fn hold(time: std::time::Duration) {
    std::thread::sleep(time);
}

/// Binds the calling thread to `cpu`.
///
/// # Errors
/// `EINVAL` when the process may not run there.
pub fn pin_current(cpu: CpuId) -> io::Result<()> {
    // SAFETY: `cpu_set_t` is plain data for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if usize::from(cpu.0) >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: the index was checked against the set's size; the call reads a set that lives on this stack.
    let rc = unsafe {
        libc::CPU_SET(usize::from(cpu.0), &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The processors the calling thread may use, in ascending order. Taken on the main thread, this is what the process
/// was given (`taskset`, a container's cpuset).
///
/// # Errors
/// As `sched_getaffinity(2)`; on machines of more than 1,024 processors `EINVAL`.
pub fn allowed_cpus() -> io::Result<Vec<CpuId>> {
    // SAFETY: `cpu_set_t` is plain data for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most the given size into the exclusively borrowed set.
    let rc = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    let all = 0..libc::CPU_SETSIZE as u16;
    // SAFETY: every index is below the set's size.
    Ok(all
        .filter(|&cpu| unsafe { libc::CPU_ISSET(usize::from(cpu), &set) })
        .map(CpuId)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_where_and_under_the_name_it_was_given() {
        let cpu = *allowed_cpus().unwrap().last().unwrap();
        let body = || {
            (
                std::thread::current().name().map(str::to_owned),
                allowed_cpus().unwrap(),
            )
        };
        let (name, cpus) = spawn("a-name-that-is-too-long", Some(cpu), body)
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(name.as_deref(), Some("a-name-that-is-"));
        assert_eq!(cpus, [cpu]);
    }

    #[test]
    fn a_thread_beside_a_bound_one_runs_anywhere() {
        let all = allowed_cpus().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let tell = move || sender.send(allowed_cpus().unwrap()).unwrap();
        let bound = spawn("bound", Some(all[0]), || spawn_beside("beside", tell));
        bound.unwrap().join().unwrap().unwrap();
        assert_eq!(receiver.recv().unwrap(), all);
    }

    #[test]
    fn a_processor_that_is_not_there_is_refused() {
        let error = spawn("core", Some(CpuId(u16::MAX)), || ()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
