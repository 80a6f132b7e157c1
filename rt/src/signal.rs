//! Termination signals, taken by one thread that waits for them.

use std::io;
use std::time::Duration;

/// The signals that ask for an orderly end.
fn ending() -> libc::sigset_t {
    // SAFETY: `sigset_t` is plain data; `sigemptyset` initialises it before use, and both signal numbers exist.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGINT);
        set
    }
}

/// Blocks SIGTERM and SIGINT in the calling thread and in all it starts from now on, and ignores SIGPIPE. Call it first.
pub fn block_ending_signals() -> io::Result<()> {
    let set = ending();
    // SAFETY: `set` is initialised; the old mask is not asked for. Ignoring SIGPIPE installs no handler of ours.
    let rc = unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut())
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(rc))
    }
}

/// Sleeps until SIGTERM or SIGINT arrives and returns its number; `None` when none has come within `patience`.
/// [`block_ending_signals`] must have been called before any thread was started.
pub fn wait_for_ending_signal(patience: Duration) -> io::Result<Option<i32>> {
    let set = ending();
    let patience = libc::timespec {
        tv_sec: patience.as_secs().cast_signed(),
        tv_nsec: patience.subsec_nanos().into(),
    };
    // SAFETY: the pointers are valid for the duration of the call; what is known of the signal is not asked for.
    let number = unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), &patience) };
    if number > 0 {
        return Ok(Some(number));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR) => Ok(None),
        _ => Err(error),
    }
}

/// Sends SIGTERM to this process: a core that ends by itself wakes the thread that waits.
pub fn raise_term() {
    // SAFETY: signalling our own process touches no memory.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGTERM);
    }
}
