//! The program as a process, and what tests ask of it.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The program with these arguments.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotcore-bench"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs it, demands that it fails, and returns what it said.
pub fn fails(args: &[&str]) -> String {
    failed(command(args).output().unwrap(), args)
}

/// What a run said that must have failed as a program does that knows what is wrong.
pub fn failed(output: Output, args: &[&str]) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    assert!(
        said.contains("slotcore-bench: ") && !said.contains("panicked"),
        "{args:?}: {said}"
    );
    said
}

/// Runs it, demands that it succeeds, and returns what it printed.
pub fn succeeds(args: &[&str]) -> String {
    let output = command(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs it, and all it starts, where no file can become larger than `bytes`, as on a disk with no more room than that.
/// Demands that it fails, and returns what it said.
pub fn fails_without_room(bytes: u64, args: &[&str]) -> String {
    let mut command = command(args);
    let limit = move || {
        let limit = libc::rlimit {
            rlim_cur: bytes,
            rlim_max: bytes,
        };
        // SAFETY: `limit` is valid for the call.
        let set = unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) };
        // So that the write fails; by default the signal ends the process.
        // SAFETY: no handler is installed.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        if set == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    };
    // SAFETY: both calls are allowed between fork and exec.
    unsafe { command.pre_exec(limit) };
    failed(command.output().unwrap(), args)
}

/// A directory of its own for a test, on a file system that has O_DIRECT.
pub fn directory(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// True where `program` can be run.
pub fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// The server's program, where `SLOTCORE_SERVER` names it, as the gate does: cargo does not build it for these tests, and
/// one that happens to lie there may be old.
pub fn server() -> Option<String> {
    std::env::var("SLOTCORE_SERVER").ok()
}
