//! A process without descriptors: alone in its test binary, because the limit is the process's.

mod echo;

use std::os::fd::{FromRawFd, OwnedFd};

use echo::{Client, Server, reply, request};
use slotcore_netio::NetOptions;

/// Descriptors this test's process may have: far above what it has at its start.
const DESCRIPTORS_MAX: u64 = 200;

fn limit_descriptors() {
    let limit = libc::rlimit {
        rlim_cur: DESCRIPTORS_MAX,
        rlim_max: DESCRIPTORS_MAX,
    };
    // SAFETY: reads one structure.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

/// Takes every descriptor that is left.
fn take_all() -> Vec<OwnedFd> {
    let mut all = Vec::new();
    loop {
        // SAFETY: makes a descriptor, touches no memory.
        let fd = unsafe { libc::dup(0) };
        if fd < 0 {
            return all;
        }
        // SAFETY: made just now.
        all.push(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

#[test]
fn without_descriptors_accepting_waits_for_some() {
    limit_descriptors();
    let mut server = Server::new(NetOptions::default());
    let mut first = server.connect();
    let mut late: Vec<Client> = (0..3).map(|_| Client::connect(server.address)).collect();
    let mut taken = take_all();

    // Those wait with the kernel; the core is not kept busy by them, and who is there is served.
    let mut completions = 0;
    for _ in 0..20 {
        server.send(&mut first, &request(&[b"PING"]));
        assert_eq!(server.read(&mut first, 10), reply(&[b"PING"]));
        completions += server.turn_at_once();
    }
    assert!(server.net.stats().accept_failures >= 1);
    assert!(
        completions < 20,
        "{completions} completions beside those of the commands"
    );
    assert_eq!(server.opened, 1);

    // Descriptors that others give back are found by the timer,
    taken.truncate(taken.len() - 2);
    server.until(|server| server.opened == 3);
    // those of our own connections at once.
    drop(first);
    server.until(|server| server.opened == 4 && server.closed == 1);
    for client in &mut late {
        server.send(client, &request(&[b"PING"]));
        assert_eq!(server.read(client, 10), reply(&[b"PING"]));
    }
}
