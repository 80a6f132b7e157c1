//! Termination signals, taken by one thread that waits for them.

use std::io;

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

/// Sleeps until SIGTERM or SIGINT arrives and returns its number. [`block_ending_signals`] must have been called before
/// any thread was started.
pub fn wait_for_ending_signal() -> io::Result<i32> {
    let set = ending();
    let mut number = 0;
    // SAFETY: both pointers are valid for the duration of the call.
    let rc = unsafe { libc::sigwait(&set, &mut number) };
    if rc == 0 {
        Ok(number)
    } else {
        Err(io::Error::from_raw_os_error(rc))
    }
}

/// Sends SIGTERM to this process: a core that ends by itself wakes the thread that waits.
pub fn raise_term() {
    // SAFETY: signalling our own process touches no memory.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGTERM);
    }
}
